/* command/account_letters.c - see account_letters.h. The warehouse has the letters, and the catalog what was decided, also of letters that are
 * no more: an erasure takes letters out, a warehouse that is built anew from part of the log has fewer. Only then is it asked which of the
 * decided ones are there. */
#include "command/account_letters.h"

#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "command/catalog_access.h"
#include "command/letter.h"
#include "command/question.h"

enum { KEYS_BYTES = 48 << 10 /* a statement is shorter than 64 KiB */ };

struct decided {
    const char *data;
    struct buf  keys[2]; /* discarded, replayed */
    uint64_t    there[2];
};

static int keys_ask(struct decided *decided, int replayed, struct err *err)
{
    uint64_t count = 0;

    if (decided->keys[replayed].bytes == 0)
        return 0;
    if (letter_count_keys(decided->data, buf_span(&decided->keys[replayed]), &count, err) < 0)
        return -1;
    decided->there[replayed] += count;
    buf_reset(&decided->keys[replayed]);
    return 0;
}

static int key_take(void *ctx, struct span letter, bool replayed, struct err *err)
{
    struct decided *decided = ctx;

    letter_add_key(&decided->keys[replayed], letter);
    return decided->keys[replayed].bytes < KEYS_BYTES ? 0 : keys_ask(decided, replayed, err);
}

static int decided_there(const char *data, struct catalog *catalog, struct account *out, struct err *err)
{
    struct decided decided = { .data = data };
    int            rc;

    for (int i = 0; i < 2; i++)
        buf_init(&decided.keys[i], 2 * KEYS_BYTES);
    rc = catalog_letters_decided(catalog, key_take, &decided, err);
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = keys_ask(&decided, i, err);
    for (int i = 0; i < 2; i++)
        buf_fini(&decided.keys[i]);
    out->letters_discarded = decided.there[0];
    out->letters_replayed = decided.there[1];
    return rc;
}

/* Letters that the warehouse has, and how many erasures took out. */
static int rows_read(const char *data, uint64_t *rows_out, uint64_t *erased_out, struct err *err)
{
    struct buf  answer;
    const char *at;
    char       *end;
    int         rc;

    *rows_out = *erased_out = 0;
    if (!question_possible(data))
        return 0;
    buf_init(&answer, 1 << 16);
    rc = question_csv(data, "SELECT count(*) AS letters, (SELECT coalesce(sum(dead_letters), 0) FROM receipts) AS erased FROM dead_letters", &answer, err);
    buf_add_byte(&answer, '\0');
    if (rc == 0 && !answer.failed && (at = strchr((const char *)answer.at, '\n')) != NULL) {
        *rows_out = strtoull(at + 1, &end, 10);
        *erased_out = *end == ',' ? strtoull(end + 1, NULL, 10) : 0;
    }
    buf_fini(&answer);
    return rc;
}

int account_letters_read(const char *data, struct account *out, struct err *err)
{
    struct catalog *catalog = NULL;
    uint64_t        rows, there, erased, decided;
    int             rc = 0;

    if (out->dead_lettered == 0 || !command_catalog_there(data)) /* most have none */
        return 0;
    if (rows_read(data, &rows, &erased, err) < 0 || command_catalog_of(data, &catalog, err) < 0)
        return -1;
    there = rows + out->letters_waiting;
    rc = catalog_letter_counts(catalog, &out->letters_replayed, &out->letters_discarded, err);
    decided = out->letters_replayed + out->letters_discarded;
    if (rc == 0 && decided > 0 && (erased > 0 || there < out->dead_lettered))
        rc = decided_there(data, catalog, out, err);
    catalog_close(catalog);
    decided = out->letters_replayed + out->letters_discarded;
    out->letters_open = there > decided ? there - decided : 0;
    return rc;
}
