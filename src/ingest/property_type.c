/* ingest/property_type.c - the rules, in the order in which they win. They go by the look of a value, not by
 * whether there is such a day: what a client writes as a date is meant as one. */
#include "ingest/property_type.h"

#include "wire/time.h"
#include "wire/white_space.h"

enum { NUMBER_BYTES_MAX = 20, HALF_YEAR_S = 15768000 };

struct span property_type_name(enum definition_type type)
{
    static const char *const names[DEFINITION_TYPE_COUNT] = {
        [DEFINITION_UNTYPED] = "", [DEFINITION_DATETIME] = "DateTime", [DEFINITION_STRING] = "String",
        [DEFINITION_NUMERIC] = "Numeric", [DEFINITION_BOOLEAN] = "Boolean"
    };

    return span_text(names[type]);
}

/* --- names ------------------------------------------------------------------------------------- */

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

/* Whether `word`, in small letters, stands at the start, whatever the case. Only ASCII has small letters here: no
 * other letter's small form is in a word that is looked for. */
static bool begins(struct span text, const char *word)
{
    size_t i = 0;

    for (; word[i] != '\0'; i++)
        if (i == text.bytes || lower(text.at[i]) != (uint8_t)word[i])
            return false;
    return true;
}

static bool name_is_text(struct span name)
{
    return begins(name, "utm_") || begins(name, "$initial_utm_") || begins(name, "$feature/") ||
           (name.bytes == sizeof "$feature_flag_response" - 1 && begins(name, "$feature_flag_response")) ||
           begins(name, "$survey_response");
}

static bool name_is_time(struct span name)
{
    static const char *const words[] = { "time", "date", "_at", "-at", "createdat", "updatedat" };

    for (size_t from = 0; from < name.bytes; from++)
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (begins(span_from(name, from), words[i]))
                return true;
    return false;
}

/* --- values ------------------------------------------------------------------------------------ */

static struct span trim(struct span text)
{
    size_t white;

    while ((white = white_space_bytes(WHITE_UNICODE, text)) > 0)
        text = span_from(text, white);
    for (size_t length = 1; length <= 3 && length <= text.bytes; length++)
        if (white_space_bytes(WHITE_UNICODE, span_from(text, text.bytes - length)) == length) {
            text.bytes -= length;
            length = 0; /* and again */
        }
    return text;
}

/* Each byte against a pattern: 0 1 2 3 6 9 are digits up to that one, everything else is itself, `/` also `-` and
 * `T` also a blank. */
static bool looks(struct span text, const char *pattern)
{
    size_t i = 0;

    for (; pattern[i] != '\0'; i++) {
        uint8_t byte = i < text.bytes ? text.at[i] : 0;

        if (pattern[i] >= '0' && pattern[i] <= '9' ? byte < '0' || byte > (uint8_t)pattern[i]
            : pattern[i] == '/'                    ? byte != '/' && byte != '-'
            : pattern[i] == 'T'                    ? byte != 'T' && byte != ' '
                                                   : byte != (uint8_t)pattern[i])
            return false;
    }
    return true;
}

static bool is_date(struct span text)
{
    struct span rest = span_from(text, 10);

    if (!looks(text, "9999/29/39") && !looks(text, "29/39/9999"))
        return false;
    return rest.bytes == 0 || (looks(rest, "T29:69:69") && memchr(rest.at, '\n', rest.bytes) == NULL);
}

static bool take_letters(struct span *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (i >= text->bytes || lower(text->at[i]) < 'a' || lower(text->at[i]) > 'z')
            return false;
    *text = span_from(*text, count);
    return true;
}

static bool take_blank(struct span *text)
{
    bool taken = text->bytes > 0 && text->at[0] == ' ';

    while (text->bytes > 0 && text->at[0] == ' ')
        *text = span_from(*text, 1);
    return taken;
}

static bool take_looks(struct span *text, const char *pattern)
{
    if (!looks(*text, pattern))
        return false;
    *text = span_from(*text, strlen(pattern));
    return true;
}

/* RFC 2822: `[Tue, ]3 Feb 2026 04:05[:06] +0000`; whether there is such an instant is time.h's to say. */
static bool is_mail_date(struct span text)
{
    struct span rest = text;
    int64_t     ignored_us;

    if (take_letters(&rest, 3) && (!take_looks(&rest, ",") || !take_blank(&rest)))
        return false;
    if ((!take_looks(&rest, "99") && !take_looks(&rest, "9")) || !take_blank(&rest) || !take_letters(&rest, 3) ||
        !take_blank(&rest) || !take_looks(&rest, "9999") || !take_blank(&rest) || !take_looks(&rest, "29:69"))
        return false;
    (void)take_looks(&rest, ":69");
    return take_blank(&rest) && rest.bytes > 0 && time_parse_lenient(text, &ignored_us);
}

static bool is_time(struct span text)
{
    int64_t ignored_us;

    return time_parse_rfc3339(text, &ignored_us, NULL) || is_date(text) || is_mail_date(text);
}

/* An unsigned integer of seconds (or more) not long ago, or in the future. */
static bool is_unix_time(struct span number, int64_t now_us)
{
    uint64_t value = 0;

    if (number.bytes > NUMBER_BYTES_MAX)
        return false;
    for (size_t i = 0; i < number.bytes; i++)
        if (number.at[i] < '0' || number.at[i] > '9' || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(number.at[i] - '0'), &value))
            return false;
    return value >= (uint64_t)(now_us / TIME_US_S - HALF_YEAR_S);
}

/* --- both -------------------------------------------------------------------------------------- */

bool property_type_told(struct span name, const struct json_value *value)
{
    return (value->kind != JSON_NULL && value->kind != JSON_ARRAY && value->kind != JSON_OBJECT) || name_is_text(name);
}

static enum definition_type type_of_text(struct span text)
{
    struct span bare = trim(text);

    if (span_is(bare, "true") || span_is(bare, "false") || span_is(bare, "TRUE") || span_is(bare, "FALSE"))
        return DEFINITION_BOOLEAN;
    return is_time(bare) ? DEFINITION_DATETIME : DEFINITION_STRING;
}

enum definition_type property_type_detect(struct span name, const struct json_value *value, int64_t now_us,
                                          struct arena *arena)
{
    struct span text;

    if (name_is_text(name))
        return DEFINITION_STRING;
    switch (value->kind) {
    case JSON_TRUE: case JSON_FALSE:
        return DEFINITION_BOOLEAN;
    case JSON_NUMBER:
        return name_is_time(name) && is_unix_time(value->raw, now_us) ? DEFINITION_DATETIME : DEFINITION_NUMERIC;
    case JSON_STRING:
        text = json_text(value, arena);
        return text.at == NULL ? DEFINITION_UNTYPED : type_of_text(text);
    default:
        return DEFINITION_UNTYPED;
    }
}
