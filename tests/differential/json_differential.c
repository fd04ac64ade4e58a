/* tests/differential/json_differential.c - our reader beside jansson and simdjson.
 *
 * usage: json_differential [SEED [SECONDS]]
 *
 * Documents are made at random, and most are then damaged. All three must give the same answer, and the
 * same meaning, but for differences that are known and written down here:
 *  - we take every number as text; both others refuse what no double holds, jansson also integers
 *    beyond int64, simdjson beyond uint64
 *  - we stop at JSON_DEPTH_MAX
 *  - jansson takes no NUL in a key, and overlooks a NUL byte behind a number, a word or the document
 *  - half surrogate pairs: we and jansson refuse them, simdjson takes some */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "json_other.h"
#include "wire/json.h"

static uint64_t seed;

static uint32_t chance(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

/* --- documents ---------------------------------------------------------------------------------- */

static const char *one_of(const char *const *list, size_t count)
{
    return list[chance((uint32_t)count)];
}

#define ONE_OF(list) one_of(list, sizeof list / sizeof list[0])

static void make_space(struct buf *buf)
{
    static const char *const spaces[] = { " ", "\n", "\t", "\r\n", "  " };

    if (chance(8) == 0)
        buf_add_text(buf, ONE_OF(spaces));
}

static void make_string(struct buf *buf)
{
    static const char *const parts[] = {
        "a", "b", "k", "key", "$set", "plain words here", " ", "/", "\\\"", "\\\\", "\\/", "\\n", "\\u0041", "\\u00e9",
        "\\u20AC", "\\ud83d\\ude39", "\\u0000", "\\uFFFF", "\\b\\f\\r\\t", "\xc3\xa9", "\xe2\x82\xac",
        "\xf0\x9f\x98\xb9", "\xed\x9f\xbf", "\x7f", "{[,:]}",
        "a longer text that goes well past the first forty bytes, and then on for some more of them",
    };

    buf_add_byte(buf, '"');
    for (uint32_t count = chance(4); count > 0; count--)
        buf_add_text(buf, ONE_OF(parts));
    buf_add_byte(buf, '"');
}

static void make_number(struct buf *buf)
{
    static const char *const odd[] = {
        "-0", "0", "-0.0", "1e400", "-1e400", "1e-400", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616", "0.1",
        "5e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "1e22", "1e23",
        "123456789012345678901234567890", "0.30000000000000004", "9007199254740993.0", "1E+2", "1e0",
    };

    if (chance(4) == 0)
        buf_add_text(buf, ONE_OF(odd));
    else if (chance(2) == 0)
        buf_add_format(buf, "%s%u", chance(4) == 0 ? "-" : "", chance(1u << (1 + chance(30))));
    else
        buf_add_format(buf, "%s%u.%ue%d", chance(4) == 0 ? "-" : "", chance(100000), chance(100000000),
                       (int)chance(60) - 30);
}

static void make_value(struct buf *buf, unsigned depth)
{
    static const char *const words[] = { "true", "false", "null" };
    uint32_t                 kind = chance(depth < 6 ? 8 : 4);

    make_space(buf);
    if (kind < 2)
        make_string(buf);
    else if (kind < 3)
        make_number(buf);
    else if (kind < 4)
        buf_add_text(buf, ONE_OF(words));
    else {
        uint32_t members = chance(chance(20) == 0 ? 40 : 6);

        buf_add_byte(buf, kind < 6 ? '{' : '[');
        for (uint32_t i = 0; i < members; i++) {
            if (i > 0)
                buf_add_byte(buf, ',');
            make_space(buf);
            if (kind < 6) {
                make_string(buf);
                make_space(buf);
                buf_add_byte(buf, ':');
            }
            make_value(buf, depth + 1);
        }
        make_space(buf);
        buf_add_byte(buf, kind < 6 ? '}' : ']');
    }
    make_space(buf);
}

static void damage(struct buf *buf)
{
    static const char bytes[] = "\"\\{}[]:,0123456789-+.eEtrufalsn \n\t\r/u\x01\x1f\x7f\x80\xa0\xc0\xc3\xe2\xed\xf0\xf4\xff";
    uint32_t          at, count;

    if (buf->bytes == 0)
        return;
    at = chance((uint32_t)buf->bytes);
    count = 1 + chance((uint32_t)(buf->bytes - at) < 6 ? (uint32_t)(buf->bytes - at) : 6);
    count = count > buf->bytes - at ? (uint32_t)(buf->bytes - at) : count;
    switch (chance(5)) {
    case 0: buf->at[at] = (uint8_t)bytes[chance(sizeof bytes)]; break; /* the NUL too */
    case 1: buf->at[at] ^= (uint8_t)(1u << chance(8)); break;
    case 2: /* something missing */
        memmove(buf->at + at, buf->at + at + count, buf->bytes - at - count);
        buf->bytes -= count;
        break;
    case 3: /* something twice */
        if (buf_reserve(buf, count) != NULL) {
            memmove(buf->at + at + count, buf->at + at, buf->bytes - at);
            buf->bytes += count;
        }
        break;
    default: /* something more */
        if (buf_reserve(buf, 1) != NULL) {
            memmove(buf->at + at + 1, buf->at + at, buf->bytes - at);
            buf->at[at] = (uint8_t)bytes[chance(sizeof bytes)];
            buf->bytes++;
        }
    }
}

/* --- meaning: one text for equal values, whoever read them ---------------------------------------- */

struct seen {
    bool no_double, no_int64, no_uint64, nul_key, nul_after;
};

static void mean_string(struct buf *out, struct span text)
{
    buf_add_format(out, "s%zu:", text.bytes);
    buf_add(out, text);
}

static void mean_number(struct buf *out, const struct json_value *value, struct seen *seen)
{
    int64_t integer;
    double  number = json_double(value);

    if (json_int64(value, &integer)) {
        buf_add_format(out, "i%" PRId64 ";", integer);
        return;
    }
    buf_add_format(out, "d%.17g;", number);
    seen->no_double |= isinf(number);
    if (memchr(value->raw.at, '.', value->raw.bytes) == NULL && memchr(value->raw.at, 'e', value->raw.bytes) == NULL &&
        memchr(value->raw.at, 'E', value->raw.bytes) == NULL) {
        seen->no_int64 = true;
        /* 2^64 as a double is also what 2^64-1 reads as: let both answers pass there */
        seen->no_uint64 |= number < 0 || number >= 18446744073709551616.0;
    }
}

static int mean_ours(struct json_reader *reader, struct buf *out, struct arena *arena, struct seen *seen)
{
    struct json_value value;
    struct span       text;
    int               more, kind = json_peek(reader);

    if (kind == JSON_OBJECT) {
        buf_add_byte(out, '{');
        if (json_object_enter(reader) < 0)
            return -1;
        while ((more = json_object_next(reader, &value)) > 0) {
            text = json_text(&value, arena);
            mean_string(out, text);
            seen->nul_key |= memchr(text.at, 0, text.bytes) != NULL;
            if (mean_ours(reader, out, arena, seen) < 0)
                return -1;
        }
        buf_add_byte(out, '}');
        return more;
    }
    if (kind == JSON_ARRAY) {
        buf_add_byte(out, '[');
        if (json_array_enter(reader) < 0)
            return -1;
        while ((more = json_array_next(reader)) > 0)
            if (mean_ours(reader, out, arena, seen) < 0)
                return -1;
        buf_add_byte(out, ']');
        return more;
    }
    if (kind < 0 || json_skip(reader, &value) < 0)
        return -1;
    if (kind == JSON_STRING)
        mean_string(out, json_text(&value, arena));
    else if (kind == JSON_NUMBER)
        mean_number(out, &value, seen);
    else
        buf_add_byte(out, kind == JSON_NULL ? 'n' : kind == JSON_TRUE ? 't' : 'f');
    return 0;
}

static int read_ours(struct span text, struct buf *out, struct arena *arena, struct seen *seen,
                     enum json_problem *problem)
{
    struct json_reader reader;
    int                rc;

    buf_reset(out);
    json_reader_init(&reader, text, 0);
    rc = mean_ours(&reader, out, arena, seen) < 0 ? -1 : json_finish(&reader);
    *problem = reader.problem;
    seen->nul_after = rc < 0 && reader.at < reader.end && *reader.at == 0;
    return rc;
}

/* --- the comparison --------------------------------------------------------------------------------- */

static struct {
    size_t documents, accepted, refused, known_jansson, known_simdjson;
} tally;

static void differ(const char *who, const char *what, struct span text, struct span ours, struct span theirs)
{
    struct buf shown;

    buf_init(&shown, 1 << 20);
    json_write_string(&shown, text); /* so that control bytes can be seen */
    text = buf_span(&shown);
    fprintf(stderr, "%s: %s, document %zu\ntext:   %.*s\nours:   %.*s\ntheirs: %.*s\n", who, what, tally.documents,
            SPAN_ARG(text), SPAN_ARG(ours), SPAN_ARG(theirs));
    exit(1);
}

/* known: a difference that is written at the top explains it when just one of the two accepts. */
static void compare(const char *who, struct span text, int rc, struct span ours, char *theirs, size_t theirs_bytes,
                    bool known, size_t *known_count)
{
    struct span their_span = span_of(theirs == NULL ? "" : theirs, theirs_bytes);

    if ((rc == 0) != (theirs != NULL)) {
        if (!known)
            differ(who, rc == 0 ? "refuses what we accept" : "accepts what we refuse", text, ours, their_span);
        ++*known_count;
    } else if (rc == 0 && !span_equal(ours, their_span))
        differ(who, "reads another meaning", text, ours, their_span);
    free(theirs);
}

static void compare_document(struct span text, struct arena *arena, struct buf *out)
{
    struct seen       seen = { .nul_key = false };
    enum json_problem problem;
    struct span       unique;
    struct err        err;
    size_t            bytes = 0;
    char             *theirs;
    int               rc = read_ours(text, out, arena, &seen, &problem);

    tally.accepted += rc == 0;
    tally.refused += rc < 0;
    theirs = json_simdjson_meaning((const char *)text.at, text.bytes, &bytes);
    compare("simdjson", text, rc, buf_span(out), theirs, bytes,
            seen.no_double || seen.no_uint64 || problem == JSON_TOO_DEEP || problem == JSON_LONE_SURROGATE,
            &tally.known_simdjson);

    /* jansson keeps one of two equal keys, as json_dedupe does */
    if (rc == 0) {
        if (json_dedupe(text, arena, &unique, &err) < 0 || read_ours(unique, out, arena, &seen, &problem) < 0)
            differ("json_dedupe", "failed", text, SPAN(""), SPAN(""));
    }
    theirs = json_jansson_meaning((const char *)text.at, text.bytes, &bytes);
    compare("jansson", text, rc, buf_span(out), theirs, bytes,
            seen.no_double || seen.no_int64 || seen.nul_key || seen.nul_after || problem == JSON_TOO_DEEP,
            &tally.known_jansson);
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_new(1 << 20, 1 << 26);
    struct buf    text, out;
    int64_t       until;

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    until = clock_mono_us() + (argc > 2 ? atoi(argv[2]) : 3) * 1000000ll;
    buf_init(&text, 1 << 20);
    buf_init(&out, 1 << 24);
    while (clock_mono_us() < until) {
        uint32_t damages = chance(3);

        buf_reset(&text);
        make_value(&text, 0);
        for (; damages > 0; damages--)
            damage(&text);
        if (text.bytes >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
            continue; /* only we pass over the mark */
        tally.documents++;
        compare_document(buf_span(&text), arena, &out);
        arena_reset(arena);
    }
    printf("%zu documents: %zu accepted, %zu refused; known differences: jansson %zu, simdjson %zu\n", tally.documents,
           tally.accepted, tally.refused, tally.known_jansson, tally.known_simdjson);
    arena_free(arena);
    buf_fini(&text);
    buf_fini(&out);
    /* Both sides of the fence must have been visited. */
    return tally.accepted * 10 > tally.documents && tally.refused * 10 > tally.documents ? 0 : 1;
}
