/* fuzz/json.c - any bytes: all paths and both ways to walk agree, and what rewrites does it once. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wire/json.h"

/* Unlike assert, stays in every build. */
struct answer {
    int               rc;
    enum json_problem problem;
    size_t            at;
    unsigned          surrogates, nuls;
};

static int walk(struct json_reader *reader, struct arena *arena)
{
    struct json_value value;
    int64_t           integer;
    int               more, kind = json_peek(reader);

    if (kind == JSON_OBJECT) {
        if (json_object_enter(reader) < 0)
            return -1;
        while ((more = json_object_next(reader, &value)) > 0) {
            MUST(json_text(&value, arena).at != NULL);
            if (walk(reader, arena) < 0)
                return -1;
        }
        return more;
    }
    if (kind == JSON_ARRAY) {
        if (json_array_enter(reader) < 0)
            return -1;
        while ((more = json_array_next(reader)) > 0)
            if (walk(reader, arena) < 0)
                return -1;
        return more;
    }
    if (kind < 0 || json_skip(reader, &value) < 0)
        return -1;
    MUST((int)value.kind == kind);
    if (kind == JSON_STRING) {
        struct span text = json_text(&value, arena);

        MUST(text.at != NULL && text.bytes <= value.raw.bytes);
        if (memchr(text.at, 0, text.bytes) == NULL) {
            char *copy = calloc(1, text.bytes + 1);

            memcpy(copy, text.at, text.bytes);
            MUST(json_text_is(&value, copy));
            free(copy);
        }
    }
    if (kind == JSON_NUMBER) {
        double number = json_double(&value);

        MUST(number == number);
        MUST(!json_int64(&value, &integer) || number == (double)integer);
    }
    return 0;
}

/* On a copy of exactly this size, so that the sanitizer sees one byte too many. */
static struct answer answer_of(struct span text, unsigned flags, bool walking, uint8_t *copy, struct arena *arena)
{
    struct json_reader reader;
    struct json_value  value;
    struct err         err;
    struct answer      answer;

    if (text.bytes > 0)
        memcpy(copy, text.at, text.bytes);
    json_reader_init(&reader, span_of(copy, text.bytes), flags);
    answer.rc = (walking ? walk(&reader, arena) : json_skip(&reader, &value)) < 0 ? -1 : json_finish(&reader);
    answer.problem = reader.problem;
    answer.at = json_problem_at(&reader);
    answer.surrogates = reader.surrogates_repaired;
    answer.nuls = reader.nuls_repaired;
    MUST((answer.rc < 0) == (answer.problem != JSON_FINE) && answer.at <= text.bytes);
    if (answer.rc < 0)
        MUST(json_explain(&reader, &err) == -1 && err.kind == ERR_INPUT);
    return answer;
}

enum { PATHS = 3 };

/* What the CPU has, the same without its widest instructions, and without any. */
static unsigned path_of(unsigned way)
{
    static const unsigned paths[PATHS] = { 0, JSON_NARROW, JSON_PORTABLE };

    return paths[way % PATHS];
}

static void agree(struct span text, unsigned flags, struct arena *arena)
{
    uint8_t      *copy = malloc(text.bytes), *other_copy = malloc(text.bytes);
    struct answer first = answer_of(text, flags, false, copy, arena), other;

    for (unsigned way = 1; way < 2 * PATHS; way++) {
        other = answer_of(text, flags | path_of(way), way >= PATHS, other_copy, arena);
        MUST(other.rc == first.rc && other.problem == first.problem && other.at == first.at);
        MUST(other.surrogates == first.surrogates && other.nuls == first.nuls);
        MUST(text.bytes == 0 || memcmp(copy, other_copy, text.bytes) == 0);
    }
    if ((flags & JSON_REPAIR) && first.rc == 0) { /* J5: nothing is left to repair */
        other = answer_of(span_of(copy, text.bytes), JSON_REPAIR, false, other_copy, arena);
        MUST(other.rc == 0 && other.surrogates == 0 && other.nuls == 0);
    }
    free(copy);
    free(other_copy);
}

/* json_members_read against a walk that keeps the first place and the last value by looking at all. */
static void members_agree(struct span object, struct arena *arena)
{
    struct json_members members;
    struct json_reader  reader;
    struct json_value   key, value;
    struct err          err;
    size_t              keys = 0, count = 0;

    MUST(json_members_read(object, arena, &members, &err) == 0);
    json_reader_init(&reader, object, JSON_PORTABLE);
    MUST(json_object_enter(&reader) == 0);
    while (json_object_next(&reader, &key) > 0) {
        struct json_member *member = json_members_find(&members, json_text(&key, arena));

        MUST(member != NULL && json_skip(&reader, &value) == 0);
        MUST(member->value.raw.at >= value.raw.at); /* this one or a later one */
        count += member->value.raw.at == value.raw.at;
        keys++;
    }
    MUST(count == members.count && keys >= count);
    for (size_t i = 1; i < members.count; i++)
        MUST(members.at[i].key_raw.at > members.at[i - 1].key_raw.at);
}

static void rewrites(struct span text, struct arena *arena)
{
    struct json_reader reader;
    struct json_value  value;
    struct span        once, again;
    struct buf         compact, twice;
    struct err         err;

    MUST(json_dedupe(text, arena, &once, &err) == 0);
    MUST(json_dedupe(once, arena, &again, &err) == 0);
    MUST(again.at == once.at && again.bytes == once.bytes && once.bytes <= text.bytes);
    json_reader_init(&reader, once, 0);
    MUST(json_skip(&reader, &value) == 0 && json_finish(&reader) == 0);

    buf_init(&compact, text.bytes);
    buf_init(&twice, text.bytes);
    json_write_compact(&compact, value.raw);
    json_write_compact(&twice, buf_span(&compact));
    MUST(!compact.failed && span_equal(buf_span(&compact), buf_span(&twice)));
    json_reader_init(&reader, buf_span(&compact), 0);
    MUST(json_skip(&reader, &value) == 0 && json_finish(&reader) == 0);
    if (value.kind == JSON_OBJECT)
        members_agree(value.raw, arena);
    if (value.kind == JSON_STRING) { /* decoded and written again, it means the same */
        struct span       string = json_text(&value, arena);
        struct json_value written;
        struct buf        buf;

        buf_init(&buf, 6 * text.bytes + 16);
        json_write_string(&buf, string);
        json_reader_init(&reader, buf_span(&buf), 0);
        MUST(!buf.failed && json_skip(&reader, &written) == 0 && json_finish(&reader) == 0);
        MUST(span_equal(json_text(&written, arena), string));
        buf_fini(&buf);
    }
    buf_fini(&compact);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena      *arena = arena_new(1 << 16, (size_t)1 << 30);
    struct span        text = span_of(data, bytes);
    struct json_reader reader;
    struct json_value  value;

    agree(text, 0, arena);
    agree(text, JSON_REPAIR, arena);
    json_reader_init(&reader, text, 0);
    if (json_skip(&reader, &value) == 0 && json_finish(&reader) == 0) {
        rewrites(value.raw, arena);
        if (value.kind == JSON_OBJECT)
            members_agree(value.raw, arena);
    }
    arena_free(arena);
    return 0;
}
