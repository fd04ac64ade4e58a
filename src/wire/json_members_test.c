/* wire/json_members_test.c - members by name, duplicates, and the cost of a million keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <time.h>

#include "wire/json.h"
#include "wire/json_keys.h"

static struct arena *arena;

static int arena_setup(void **state)
{
    (void)state;
    arena = arena_new(1 << 16, (size_t)1 << 30);
    return arena == NULL ? -1 : 0;
}

static int arena_teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void members_are_first_place_last_value(void **state)
{
    static const struct {
        const char *object, *want; /* "key=value " each, in order */
    } rows[] = {
        { "{}", "" },
        { " { \"a\" : 1 , \"b\" : [ 2 ] } ", "a=1 b=[ 2 ] " },
        { "{\"a\":1,\"b\":2,\"a\":3}", "a=3 b=2 " },
        { "{\"a\":1,\"a\":2,\"a\":{\"a\":4}}", "a={\"a\":4} " },
        { "{\"\\u0061\":1,\"a\":2,\"\\u0062\":3}", "a=2 b=3 " },
        { "{\"\":1,\"\":2}", "=2 " },
        { "{\"\\ud83d\\ude39\":1,\"\xf0\x9f\x98\xb9\":2}", "\xf0\x9f\x98\xb9=2 " },
        { "{\"A\":1,\"a\":2}", "A=1 a=2 " },
    };
    struct json_members members;
    struct err          err;
    struct buf          buf;

    (void)state;
    buf_init(&buf, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_reset(&buf);
        arena_reset(arena);
        assert_int_equal(json_members_read(span_text(rows[i].object), arena, &members, &err), 0);
        for (size_t m = 0; m < members.count; m++)
            buf_add_format(&buf, "%.*s=%.*s ", SPAN_ARG(members.at[m].key), SPAN_ARG(members.at[m].value.raw));
        if (!span_is(buf_span(&buf), rows[i].want))
            fail_msg("%s: %.*s", rows[i].object, SPAN_ARG(buf_span(&buf)));
    }
    buf_fini(&buf);
}

static void what_is_no_object(void **state)
{
    static const char *const rows[] = { "", "[]", "1", "null", "{", "{\"a\":1", "{\"a\":1,}", "{} x", "{\"a\":tru}",
        "{\"\\ud800\":1}" };
    struct json_members      members = { .count = 77 };
    struct err               err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        err.kind = ERR_NONE;
        assert_int_equal(json_members_read(span_text(rows[i]), arena, &members, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_int_equal(members.count, 77);
    }
}

static void object_of(struct buf *buf, size_t keys, size_t distinct)
{
    buf_reset(buf);
    buf_add_byte(buf, '{');
    for (size_t i = 0; i < keys; i++)
        buf_add_format(buf, "%s\"%s%zu\":%zu", i == 0 ? "" : ",", i % 3 ? "k" : "\\u006b", i % distinct, i);
    buf_add_byte(buf, '}');
}

/* Around each size at which the index appears or grows; with and without duplicates. */
static void many_members(void **state)
{
    static const size_t sizes[] = { 1, 15, 16, 17, 18, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300, 1000, 5000 };
    struct buf          buf;

    (void)state;
    buf_init(&buf, 1 << 24);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (unsigned repeats = 1; repeats <= 3; repeats++) {
            struct json_members members;
            struct err          err;
            size_t              distinct = sizes[s];
            char                key[32];

            arena_reset(arena);
            object_of(&buf, distinct * repeats, distinct);
            assert_int_equal(json_members_read(buf_span(&buf), arena, &members, &err), 0);
            assert_int_equal(members.count, distinct);
            for (unsigned copy = 0; copy < 2; copy++) { /* with the index, then without */
                for (size_t i = 0; i < distinct; i++) {
                    int64_t             value;
                    struct json_member *member;

                    snprintf(key, sizeof key, "k%zu", i);
                    member = json_members_find(&members, span_text(key));
                    assert_ptr_equal(member, &members.at[i]);
                    assert_true(json_int64(&member->value, &value));
                    assert_int_equal(value, distinct * (repeats - 1) + i);
                }
                assert_null(json_members_find(&members, SPAN("k")));
                assert_null(json_members_find(&members, SPAN("")));
                assert_null(json_members_find(&members, SPAN("k5000")));
                if (distinct > 1000)
                    break;
                members.slots = NULL;
            }
        }
    buf_fini(&buf);
}

/* Quadratic would be hours here; linear is a fraction of a second. The bound is generous because it
 * also runs under sanitizers. */
static void a_million_keys_are_linear(void **state)
{
    enum { KEYS = 1000000, SECONDS_MAX = 20 };
    struct json_members members;
    struct span         same;
    struct err          err;
    struct buf          buf;
    clock_t             start, took;

    (void)state;
    buf_init(&buf, 1 << 26);
    buf_add_byte(&buf, '{');
    for (size_t i = 0; i < KEYS; i++)
        buf_add_format(&buf, "%s\"k%zu\":%zu", i == 0 ? "" : ",", i, i);
    buf_add_byte(&buf, '}');
    start = clock();
    arena_reset(arena);
    assert_int_equal(json_members_read(buf_span(&buf), arena, &members, &err), 0);
    assert_int_equal(members.count, KEYS);
    arena_reset(arena);
    assert_int_equal(json_dedupe(buf_span(&buf), arena, &same, &err), 0);
    assert_ptr_equal(same.at, buf.at);
    object_of(&buf, KEYS, 17);
    assert_int_equal(json_dedupe(buf_span(&buf), arena, &same, &err), 0);
    assert_int_equal(json_members_read(same, arena, &members, &err), 0);
    assert_int_equal(members.count, 17);
    took = clock() - start; /* of this process: on a busy machine the clock on the wall tells of others */
    arena_reset(arena);
    buf_fini(&buf);
    assert_true(took < (clock_t)SECONDS_MAX * CLOCKS_PER_SEC);
}

/* Who wants keys to collide must know the seed: two seeds order the same keys differently. */
static void hashes_depend_on_the_seed(void **state)
{
    size_t same = 0;
    char   key[16];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%u", i);
        same += (json_keys_hash(span_text(key), 1) & 1023) == (json_keys_hash(span_text(key), 2) & 1023);
    }
    assert_true(same < 20);
    assert_true(json_keys_seed() != 0 && json_keys_seed() == json_keys_seed());
}

static void dedupes(void **state)
{
    static const struct {
        const char *raw, *want; /* NULL: the same bytes at the same place */
    } rows[] = {
        { "1", NULL },
        { "[]", NULL },
        { "{ \"a\" : 1 , \"b\" : { \"a\" : 2 } }", NULL },
        { "[{\"a\":1},{\"a\":2}]", NULL },
        { "{\"a\":1,\"a\":2}", "{\"a\":2}" },
        { "{ \"a\" : 1 , \"b\" : 2 , \"a\" : [ 3 ] }", "{\"a\":[3],\"b\":2}" },
        { "{\"b\":{\"x\":1,\"x\":2},\"c\":3}", "{\"b\":{\"x\":2},\"c\":3}" },
        { "[0,{\"x\":\"1\",\"x\":null},2]", "[0,{\"x\":null},2]" },
        { "{\"a\":{\"x\":1,\"x\":2},\"a\":{\"y\":3,\"y\":4,\"z\":5}}", "{\"a\":{\"y\":4,\"z\":5}}" },
        { "{\"a\":1,\"\\u0061\":2}", "{\"a\":2}" },
        { "{\"\\u0061\":1,\"a\":2}", "{\"\\u0061\":2}" },
        { "{\"q\\\"\":1,\"b\":\"\\\"\",\"q\\u0022\":2}", "{\"q\\\"\":2,\"b\":\"\\\"\"}" },
        { "{\"a\":1,\"b\":2,\"a\":3,\"b\":4,\"a\":5}", "{\"a\":5,\"b\":4}" },
        { "{\"n\":1.50e0,\"n\":12345678901234567890.10}", "{\"n\":12345678901234567890.10}" },
        { "{\"a\":{\"b\":{\"c\":1,\"c\":2},\"b\":{\"c\":3,\"c\":4}},\"z\":[{\"k\":1,\"k\":2}]}",
          "{\"a\":{\"b\":{\"c\":4}},\"z\":[{\"k\":2}]}" },
        { "{\"\":1,\"\":2}", "{\"\":2}" },
    };
    struct err  err;
    struct span out, again;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span raw = span_text(rows[i].raw);

        arena_reset(arena);
        assert_int_equal(json_dedupe(raw, arena, &out, &err), 0);
        if (rows[i].want == NULL)
            assert_true(out.at == raw.at && out.bytes == raw.bytes);
        else if (!span_is(out, rows[i].want))
            fail_msg("%s: %.*s", rows[i].raw, SPAN_ARG(out));
        assert_int_equal(json_dedupe(out, arena, &again, &err), 0);
        assert_true(again.at == out.at && again.bytes == out.bytes);
    }
}

/* More open keys than the stack holds, and an object with more keys than the small index. */
static void dedupes_large_objects(void **state)
{
    struct json_members members;
    struct span         out;
    struct err          err;
    struct buf          buf;

    (void)state;
    buf_init(&buf, 1 << 22);
    for (size_t distinct = 1; distinct < 600; distinct += 23) {
        arena_reset(arena);
        object_of(&buf, distinct * 2, distinct);
        assert_int_equal(json_dedupe(buf_span(&buf), arena, &out, &err), 0);
        assert_int_equal(json_members_read(out, arena, &members, &err), 0);
        assert_int_equal(members.count, distinct);
        for (size_t i = 0; i < distinct; i++) {
            int64_t value;

            assert_true(json_int64(&members.at[i].value, &value));
            assert_int_equal(value, distinct + i);
        }
    }
    /* Sixty-four levels, each with a duplicate before and after the next level. */
    buf_reset(&buf);
    for (int level = 0; level < JSON_DEPTH_MAX; level++)
        buf_add_text(&buf, "{\"a\":1,\"b\":");
    buf_add_text(&buf, "null");
    for (int level = 0; level < JSON_DEPTH_MAX; level++)
        buf_add_text(&buf, ",\"a\":2}");
    arena_reset(arena);
    assert_int_equal(json_dedupe(buf_span(&buf), arena, &out, &err), 0);
    for (int level = 0; level < JSON_DEPTH_MAX; level++) {
        assert_int_equal(json_members_read(out, arena, &members, &err), 0);
        assert_int_equal(members.count, 2);
        assert_true(span_is(members.at[0].value.raw, "2"));
        out = members.at[1].value.raw;
    }
    assert_true(span_is(out, "null"));
    buf_fini(&buf);
}

/* Whatever the arena's ceiling, the answer is ERR_FULL or right. */
static void arenas_that_are_too_small(void **state)
{
    struct json_members members;
    struct span         out;
    struct buf          buf;
    size_t              full_members = 0, full_dedupe = 0;

    (void)state;
    buf_init(&buf, 1 << 20);
    object_of(&buf, 800, 400);
    for (size_t bytes_max = 0; bytes_max < 360000; bytes_max += 1500) {
        struct arena *small = arena_new(256, bytes_max);
        struct err    err = { ERR_NONE, "" };

        if (json_members_read(buf_span(&buf), small, &members, &err) < 0) {
            assert_int_equal(err.kind, ERR_FULL);
            full_members++;
        } else
            assert_int_equal(members.count, 400);
        arena_reset(small);
        if (json_dedupe(buf_span(&buf), small, &out, &err) < 0) {
            assert_int_equal(err.kind, ERR_FULL);
            full_dedupe++;
        } else
            assert_true(out.bytes < buf.bytes);
        arena_free(small);
    }
    assert_true(full_members > 10 && full_members < 240);
    assert_true(full_dedupe > 10 && full_dedupe < 240);
    buf_fini(&buf);
}

/* Rows: what an object is read as by who wants keys of 1 and 3 bytes; "!" ends what is wrong. */
static void few_members(void **state)
{
    static const struct { const char *object, *want; } rows[] = {
        { "{}", "" },
        { "{\"a\":1}", "a " },
        { "{\"bb\":1}", "" },
        { "{ \"bb\" : [1,{\"a\":2}] , \"c\" : {} , \"dddd\":\"a\" }", "c " },
        { "{\"bb\":1,\"ccc\":2,\"bb\":3,\"ccc\":4,\"\":5}", "ccc ccc " },
        { "{\"\\u0062b\":1,\"bb\":2}", "\\u0062b " }, /* an escape: not known without reading it */
        { "{\"0123456789012345678901234567890123456789012345678901234567890123\":1}",
          "0123456789012345678901234567890123456789012345678901234567890123 " },
        { "{\"012345678901234567890123456789012345678901234567890123456789012\":1}", "" },
        { "{\"bb\":1x,\"a\":2}", "!" },   { "{\"bb\":,\"a\":2}", "!" },
        { "{\"bb\":1 \"a\":2}", "!" },    { "{\"bb\":[1,\"a\":2}", "!" },
        { "{\"bb\":1,}", "!" },            { "{\"bb\" 1}", "!" },
        { "{\"bb\":", "!" },               { "{\"bb\":1", "!" },
        { "{\"bb\":\"\xff\"}", "!" },     { "{\"a\":1,\"bb\":2,\"ccc\":3]", "a ccc !" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned path = 0; path < 3; path++) {
            static const unsigned paths[] = { 0, JSON_NARROW, JSON_PORTABLE };
            struct json_reader reader;
            struct json_value  key, value;
            char               got[200] = "";
            size_t             at = 0;
            int                more;

            json_reader_init(&reader, span_text(rows[i].object), paths[path]);
            assert_int_equal(json_object_enter(&reader), 0);
            while ((more = json_object_next_of(&reader, 1u << 1 | 1u << 3, &key)) == 1) {
                at += (size_t)snprintf(got + at, sizeof got - at, "%.*s ", (int)key.raw.bytes - 2, key.raw.at + 1);
                if (json_skip(&reader, &value) < 0)
                    break;
            }
            if (more != 0 || json_finish(&reader) < 0)
                (void)snprintf(got + at, sizeof got - at, "!");
            assert_string_equal(got, rows[i].want);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_members),
        cmocka_unit_test(members_are_first_place_last_value), cmocka_unit_test(what_is_no_object),
        cmocka_unit_test(many_members),                       cmocka_unit_test(a_million_keys_are_linear),
        cmocka_unit_test(hashes_depend_on_the_seed),          cmocka_unit_test(dedupes),
        cmocka_unit_test(dedupes_large_objects),              cmocka_unit_test(arenas_that_are_too_small),
    };

    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
