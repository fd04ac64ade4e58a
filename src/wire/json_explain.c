/* wire/json_explain.c - what is wrong with somebody's JSON, in words that help to repair it.
 *
 * The reader keeps only a kind and a place; this looks again at the bytes there and guesses at the
 * usual mistakes. Runs once per refused request, so it may take its time. */
#include "wire/json_scan.h"

#include <stdio.h>

/* How the byte at the problem is shown: 'x', or a number when it cannot be printed. */
static const char *shown(uint8_t byte, char to[16])
{
    snprintf(to, 16, byte > 0x20 && byte < 0x7f ? "'%c'" : "byte 0x%02x", byte);
    return to;
}

static bool begins_with(struct span rest, const char *word)
{
    return span_starts(rest, span_text(word));
}

/* The last byte before `at` that is no white space; 0 at the start. */
static uint8_t byte_before(const struct json_reader *reader, const uint8_t *at)
{
    while (at > reader->start)
        if (!json_is_space(*--at))
            return *at;
    return 0;
}

static bool looks_like_utf16(const struct json_reader *reader)
{
    const uint8_t *at = reader->start;
    size_t         bytes = (size_t)(reader->end - at);

    return bytes >= 2 && ((at[0] == 0xff && at[1] == 0xfe) || (at[0] == 0xfe && at[1] == 0xff) || at[0] == 0 ||
                          at[1] == 0);
}

/* A guess at the mistake behind unexpected bytes; "" when there is none. Ends in a space. */
static const char *guess(const struct json_reader *reader, struct span rest)
{
    static const struct {
        const char *word, *hint;
    } words[] = {
        { "NaN", "NaN is not JSON, use null: " },
        { "nan", "NaN is not JSON, use null: " },
        { "Infinity", "Infinity is not JSON, use null: " },
        { "inf", "Infinity is not JSON, use null: " },
        { "undefined", "undefined is not JSON, use null: " },
        { "None", "None is not JSON, use null: " },
        { "True", "write true in lower case: " },
        { "TRUE", "write true in lower case: " },
        { "False", "write false in lower case: " },
        { "FALSE", "write false in lower case: " },
        { "NULL", "write null in lower case: " },
        { "'", "single quotes? JSON has only double quotes: " },
        { "//", "comment? JSON has none: " },
        { "/*", "comment? JSON has none: " },
        { "#", "comment? JSON has none: " },
        { "+", "a number has no plus sign in front: " },
        { ".", "a number needs a digit before its point: " },
    };
    uint8_t before = byte_before(reader, rest.at);

    if (looks_like_utf16(reader))
        return "this looks like UTF-16 or UTF-32, send UTF-8: ";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (begins_with(rest, words[i].word))
            return words[i].hint;
    if (before == ',' && (rest.at[0] == '}' || rest.at[0] == ']'))
        return "trailing comma? ";
    if ((before == '{' || before == ',') &&
        ((uint8_t)((rest.at[0] | 0x20) - 'a') < 26 || rest.at[0] == '_' || rest.at[0] == '$'))
        return "a key needs double quotes: ";
    if (rest.at[0] == '"' && before != ',')
        return "missing comma or colon? ";
    return "";
}

static const char *number_guess(const struct json_reader *reader, struct span rest)
{
    const char *word = guess(reader, rest);

    if (begins_with(rest, "I") || begins_with(rest, "i") || begins_with(rest, "N") || begins_with(rest, "n"))
        return word;
    if (rest.at > reader->start && rest.at[-1] == '0' && json_is_digit(rest.at[0]) &&
        (rest.at - 1 == reader->start || !json_is_digit(rest.at[-2])))
        return "a number has no leading zero: ";
    return "";
}

static int explain_string(struct span rest, size_t at, struct err *err)
{
    uint8_t byte = rest.at[0];
    char    text[16];

    if (byte != '\\')
        return err_set(err, ERR_INPUT, "control character 0x%02x in a string must be written as \\u%04x, at byte %zu",
                       byte, byte, at);
    if (rest.bytes > 1 && rest.at[1] == 'u')
        return err_set(err, ERR_INPUT, "\\u needs four hex digits, at byte %zu", at);
    return err_set(err, ERR_INPUT, "unknown escape: backslash before %s, at byte %zu",
                   rest.bytes > 1 ? shown(rest.at[1], text) : "the end", at);
}

static int explain_trailing(const struct json_reader *reader, struct span rest, size_t at, struct err *err)
{
    char        text[16];
    const char *hint = "";

    if (rest.at[0] == '{' || rest.at[0] == '[')
        hint = " (a second document? send one array instead of newline-delimited JSON)";
    else if (*guess(reader, rest) != '\0')
        return err_set(err, ERR_INPUT, "%sunexpected %s after the JSON value at byte %zu", guess(reader, rest),
                       shown(rest.at[0], text), at);
    return err_set(err, ERR_INPUT, "unexpected %s after the JSON value at byte %zu%s", shown(rest.at[0], text), at,
                   hint);
}

int json_explain(const struct json_reader *reader, struct err *err)
{
    size_t      at = json_problem_at(reader);
    struct span rest = span_of(reader->at, (size_t)(reader->end - reader->at));
    char        text[16];

    if (reader->problem == JSON_FINE)
        return err_set(err, ERR_INPUT, "unexpected kind of JSON value at byte %zu", at);
    if (reader->problem == JSON_END_EARLY || rest.bytes == 0)
        return at == 0 ? err_set(err, ERR_INPUT, "empty text where JSON was expected, at byte 0")
                       : err_set(err, ERR_INPUT, "the JSON text ends early, at byte %zu (was it cut off?)", at);
    switch (reader->problem) {
    case JSON_TOO_DEEP:
        return err_set(err, ERR_INPUT, "nested too deep at byte %zu: at most %d objects and arrays inside each other",
                       at, JSON_DEPTH_MAX);
    case JSON_BAD_STRING: return explain_string(rest, at, err);
    case JSON_BAD_UTF8: return err_set(err, ERR_INPUT, "byte 0x%02x at byte %zu is not UTF-8", rest.at[0], at);
    case JSON_LONE_SURROGATE:
        return err_set(err, ERR_INPUT, "half a surrogate pair (%.6s) at byte %zu", (const char *)rest.at, at);
    case JSON_TRAILING: return explain_trailing(reader, rest, at, err);
    case JSON_BAD_NUMBER:
        return err_set(err, ERR_INPUT, "%sunexpected %s in a number at byte %zu", number_guess(reader, rest),
                       shown(rest.at[0], text), at);
    default:
        return err_set(err, ERR_INPUT, "%sunexpected %s at byte %zu", guess(reader, rest), shown(rest.at[0], text), at);
    }
}
