/* wire/json_deep.c - passing values that are deeper than events ever are: recordings of pages, whose elements stand in
 * each other as deep as their authors like.
 *
 * Still no recursion and a bounded stack: a bit for each open container. Shallow parts, which are nearly all, go through
 * json_skip; where that finds them too deep, 64 levels are walked token by token before it is asked again, so
 * that nothing is read more often than JSON_DEEP_MAX / 64 times. Who wants to stop in between has the first level walked so,
 * as a stop inside of json_skip would be a question at each token of everybody's. */
#include "wire/json_scan.h"

enum { ASK_AGAIN = 64 };

struct deep {
    struct json_reader   *reader;
    const struct between *between;
    const uint8_t        *stopped; /* there, for the last time */
    unsigned              depth;
    uint64_t              objects[JSON_DEEP_MAX / 64]; /* bit n: the container at depth n is one */
};

static int fail(struct json_reader *reader)
{
    return json_scan_fail(reader, reader->at, reader->at == reader->end ? JSON_END_EARLY : JSON_SYNTAX);
}

static uint8_t next_byte(struct json_reader *reader)
{
    reader->at = json_pass_space(reader->at, reader->end);
    return reader->at == reader->end ? 0 : *reader->at;
}

/* A key and its colon. */
static int pass_key(struct json_reader *reader)
{
    struct json_value key;

    if (next_byte(reader) != '"')
        return fail(reader);
    if (json_skip(reader, &key) < 0)
        return -1;
    if (next_byte(reader) != ':')
        return fail(reader);
    reader->at++;
    return 0;
}

/* 1: went in, a value follows; 0: it was empty; -1. */
static int go_in(struct deep *deep, bool object)
{
    struct json_reader *reader = deep->reader;

    if (deep->depth == JSON_DEEP_MAX)
        return json_scan_fail(reader, reader->at, JSON_TOO_DEEP);
    reader->at++;
    if (next_byte(reader) == (object ? '}' : ']')) {
        reader->at++;
        return 0;
    }
    deep->objects[deep->depth / 64] &= ~(UINT64_C(1) << deep->depth % 64);
    deep->objects[deep->depth / 64] |= (uint64_t)object << deep->depth % 64;
    deep->depth++;
    return object && pass_key(reader) < 0 ? -1 : 1;
}

/* After a value. 1: another one follows; 0: all containers are closed; -1. */
static int go_on(struct deep *deep)
{
    struct json_reader *reader = deep->reader;

    while (deep->depth > 0) {
        bool    object = (deep->objects[(deep->depth - 1) / 64] >> (deep->depth - 1) % 64 & 1) != 0;
        uint8_t byte = next_byte(reader);

        if (byte == ',') {
            reader->at++;
            return object && pass_key(reader) < 0 ? -1 : 1;
        }
        if (byte != (object ? '}' : ']'))
            return fail(reader);
        reader->at++;
        deep->depth--;
    }
    return 0;
}

static void stop(struct deep *deep)
{
    if (deep->reader->at - deep->stopped < BETWEEN_BYTES)
        return;
    deep->stopped = deep->reader->at;
    between_parts(deep->between);
}

static int deep_walk(struct deep *deep)
{
    struct json_reader *reader = deep->reader;
    unsigned            ask_from = deep->between->call != NULL; /* depth */
    int                 more = 1;

    while (more == 1) {
        int               kind = json_peek(reader);
        bool              container = kind == JSON_OBJECT || kind == JSON_ARRAY;
        const uint8_t    *at = reader->at;
        struct json_value value;

        if (kind < 0)
            return -1;
        stop(deep);
        if (!container || deep->depth >= ask_from) {
            if (json_skip(reader, &value) == 0) {
                more = go_on(deep);
                continue;
            }
            if (reader->problem != JSON_TOO_DEEP)
                return -1;
            reader->at = at;
            reader->problem = JSON_FINE;
            ask_from = (deep->depth / ASK_AGAIN + 1) * ASK_AGAIN; /* at the same depths, be the first level walked or not: one limit */
        }
        more = go_in(deep, kind == JSON_OBJECT);
        if (more == 0)
            more = go_on(deep);
    }
    return more;
}

int json_skip_deep_between(struct json_reader *reader, const struct between *between, struct json_value *value_out)
{
    struct deep    deep = { .reader = reader, .between = between };
    unsigned       depth = reader->depth;
    const uint8_t *first;
    int            kind = json_peek(reader), rc;

    if (kind < 0)
        return -1;
    if (kind != JSON_OBJECT && kind != JSON_ARRAY)
        return json_skip(reader, value_out);
    first = deep.stopped = reader->at;
    reader->depth = 0; /* all of its levels are free for the parts that it passes */
    rc = deep_walk(&deep);
    reader->depth = depth;
    if (rc < 0)
        return -1;
    *value_out = (struct json_value){ .kind = (enum json_kind)kind, .raw = span_of(first, (size_t)(reader->at - first)) };
    return 0;
}

int json_skip_deep(struct json_reader *reader, struct json_value *value_out)
{
    static const struct between nobody = { 0 };

    return json_skip_deep_between(reader, &nobody, value_out);
}
