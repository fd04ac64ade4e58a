/* warehouse/text_checked.c - see the header. */
#include "warehouse/text_checked.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "wire/utf8.h"

/* duckdb::UnicodeType. text_checked_use asks the engine whether they still are what it says. */
enum { TEXT_INVALID, TEXT_ASCII, TEXT_UTF8 };

typedef int analyze(const char *text, size_t bytes, void *reason_out, size_t *place_out);

/* Written before the engine is opened; read by all of its threads. */
static _Atomic(analyze *) engine_analyze;
static atomic_bool        engine_agrees;

static _Thread_local bool checked;

void text_checked_use(void *library)
{
    void    *symbol = dlsym(library, TEXT_ANALYZE_SYMBOL);
    analyze *found;

    if (symbol == NULL)
        return;
    memcpy(&found, &symbol, sizeof found);
    if (found == text_analyze)
        return;
    atomic_store(&engine_analyze, found);
    atomic_store(&engine_agrees, found("a", 1, NULL, NULL) == TEXT_ASCII && found("\xc3\xa9", 2, NULL, NULL) == TEXT_UTF8 &&
                                     found("\xff", 1, NULL, NULL) == TEXT_INVALID);
}

void text_checked_begin(void)
{
    assert(!checked);
    checked = true;
}

void text_checked_end(void)
{
    assert(checked);
    checked = false;
}

static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] >= 0x80)
            return false;
    return true;
}

int text_analyze(const char *text, size_t bytes, void *reason_out, size_t *place_out)
{
    analyze    *own = atomic_load_explicit(&engine_analyze, memory_order_relaxed);
    struct span span = span_of(text, bytes);

    if (checked && bytes >= TEXT_CHECKED_BYTES_MIN && atomic_load_explicit(&engine_agrees, memory_order_relaxed))
        return TEXT_UTF8;
    if (own != NULL)
        return own(text, bytes, reason_out, place_out);
    return !utf8_valid(span) ? TEXT_INVALID : is_ascii(span) ? TEXT_ASCII : TEXT_UTF8; /* nobody's: the engine is not there yet */
}
