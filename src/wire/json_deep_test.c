/* wire/json_deep_test.c - the same answers as json_skip where that has one, and answers where it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "wire/json.h"

static const struct { const char *text; enum json_problem problem; } rows[] = {
    { "{}", JSON_FINE },
    { "[]", JSON_FINE },
    { " [ ] ", JSON_FINE },
    { "7", JSON_FINE },
    { "\"a\"", JSON_FINE },
    { "[1,[2,{\"a\":[3]}],{}]", JSON_FINE },
    { "{\"a\" : {\"b\":null} , \"c\":[true]}", JSON_FINE },
    { "[1,]", JSON_SYNTAX },
    { "[,1]", JSON_SYNTAX },
    { "[1 2]", JSON_SYNTAX },
    { "{\"a\"}", JSON_SYNTAX },
    { "{\"a\":}", JSON_SYNTAX },
    { "{\"a\":1,}", JSON_SYNTAX },
    { "{a:1}", JSON_SYNTAX },
    { "{1:1}", JSON_SYNTAX },
    { "{\"a\":1]", JSON_SYNTAX },
    { "[1}", JSON_SYNTAX },
    { "[", JSON_END_EARLY },
    { "{", JSON_END_EARLY },
    { "{\"a\"", JSON_END_EARLY },
    { "{\"a\":", JSON_END_EARLY },
    { "[1", JSON_END_EARLY },
    { "[[[1,2],", JSON_END_EARLY },
    { "[nul]", JSON_SYNTAX },
    { "[\"\x01\"]", JSON_BAD_STRING },
    { "[01]", JSON_BAD_NUMBER },
    { "[1] 2", JSON_TRAILING },
    { "", JSON_END_EARLY },
};

/* Each row alone, and inside containers so deep that json_skip does not reach it. */
static void same_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned levels = 0; levels <= 200; levels += 25) {
            char               text[1024];
            size_t             bytes = 0;
            struct json_reader reader;
            struct json_value  value;
            int                rc;

            for (unsigned level = 0; level < levels; level++)
                bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, level % 2 ? "[" : "{\"k\":");
            bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "%s", rows[i].text);
            if (rows[i].problem == JSON_FINE || rows[i].problem == JSON_TRAILING)
                for (unsigned level = levels; level-- > 0;)
                    text[bytes++] = level % 2 ? ']' : '}';
            json_reader_init(&reader, span_of(text, bytes), 0);
            rc = json_skip_deep(&reader, &value);
            if (rc == 0)
                rc = json_finish(&reader);
            if (rc != (rows[i].problem == JSON_FINE ? 0 : -1))
                fail_msg("%s in %u levels: %d", rows[i].text, levels, (int)reader.problem);
            if (levels == 0 || (rows[i].problem != JSON_TRAILING && rows[i].problem != JSON_FINE))
                assert_int_equal(reader.problem, rows[i].problem);
            if (rc == 0 && levels > 0)
                assert_int_equal(value.raw.bytes, bytes);
        }
}

static void count_stop(void *ctx)
{
    ++*(unsigned *)ctx;
}

/* The same answers for who stops in between; who stops does so at each part, be it of a list or of an object, whatever is in it. */
static void stops_between(void **state)
{
    static const struct { const char *begin, *element, *end; bool stops; } texts[] = {
        { "[0", ",0", "]", true },           { "{\"a\":0", ",\"b\":0", "}", true }, { "[0", ",{\"a\":[]}", "]", true },
        { "[\"", "a", "\"]", false },        { "[0", ",0", "}", true },
    };
    enum { ROOM = 4 * BETWEEN_BYTES };
    char *text = malloc(ROOM);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t             bytes = (size_t)sprintf(text, "%s", texts[i].begin);
        struct json_reader reader, again;
        struct json_value  value = { 0 }, value_again = { 0 };
        unsigned           stops = 0;
        struct between     between = { count_stop, &stops };
        int                rc;

        while (bytes + 20 < ROOM)
            bytes += (size_t)sprintf(text + bytes, "%s", texts[i].element);
        bytes += (size_t)sprintf(text + bytes, "%s", texts[i].end);
        json_reader_init(&reader, span_of(text, bytes), 0);
        json_reader_init(&again, span_of(text, bytes), 0);
        rc = json_skip_deep(&reader, &value);
        assert_int_equal(json_skip_deep_between(&again, &between, &value_again), rc);
        assert_int_equal(reader.problem, again.problem);
        assert_ptr_equal(reader.at, again.at);
        assert_true(value.kind == value_again.kind && value.raw.at == value_again.raw.at && value.raw.bytes == value_again.raw.bytes);
        assert_int_equal(stops, texts[i].stops ? 3 : 0);
    }
    free(text);
}

static void how_deep(void **state)
{
    enum { DEEPEST = JSON_DEEP_MAX + JSON_DEPTH_MAX + 1 };
    char              *text = malloc((size_t)2 * DEEPEST);
    struct json_reader reader, again;
    struct json_value  value;
    unsigned           stops = 0;
    struct between     between = { count_stop, &stops };

    (void)state;
    assert_non_null(text);
    for (unsigned depth = 1; depth <= DEEPEST; depth++) {
        int rc;

        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        json_reader_init(&reader, span_of(text, 2 * (size_t)depth), 0);
        json_reader_init(&again, span_of(text, 2 * (size_t)depth), 0);
        rc = json_skip_deep(&reader, &value);
        if (depth <= JSON_DEEP_MAX) {
            assert_int_equal(rc, 0);
        } else if (depth > JSON_DEEP_MAX + JSON_DEPTH_MAX) { /* what the last levels' own parts may have beside */
            assert_int_equal(rc, -1);
            assert_int_equal(reader.problem, JSON_TOO_DEEP);
        }
        assert_int_equal(json_skip_deep_between(&again, &between, &value), rc); /* the same limit for who stops in between */
        assert_int_equal(again.problem, reader.problem);
        assert_ptr_equal(again.at, reader.at);
    }
    free(text);
}

/* In the middle of something else: the reader goes on behind it, at its own depth. */
static void in_between(void **state)
{
    struct json_reader reader;
    struct json_value  key, value;

    (void)state;
    json_reader_init(&reader, SPAN("{\"a\":[[1],{}],\"b\":2}"), 0);
    assert_int_equal(json_object_enter(&reader), 0);
    assert_int_equal(json_object_next(&reader, &key), 1);
    assert_int_equal(json_skip_deep(&reader, &value), 0);
    assert_true(span_is(value.raw, "[[1],{}]") && value.kind == JSON_ARRAY);
    assert_int_equal(json_object_next(&reader, &key), 1);
    assert_int_equal(json_skip_deep(&reader, &value), 0);
    assert_true(span_is(value.raw, "2"));
    assert_int_equal(json_object_next(&reader, &key), 0);
    assert_int_equal(json_finish(&reader), 0);
}

/* The worst: at each level something long beside something deep. Nothing is read more than some times. */
static void bounded_work(void **state)
{
    enum { BESIDE = 4000 };
    size_t             room = (size_t)JSON_DEEP_MAX * (BESIDE + 8), bytes = 0;
    char              *text = malloc(room);
    struct json_reader reader;
    struct json_value  value;
    clock_t            from = clock();

    (void)state;
    for (unsigned level = 0; level < JSON_DEEP_MAX; level++) {
        bytes += (size_t)sprintf(text + bytes, "[\"");
        memset(text + bytes, 'x', BESIDE);
        bytes += BESIDE;
        bytes += (size_t)sprintf(text + bytes, "\",");
    }
    text[bytes++] = '0';
    memset(text + bytes, ']', JSON_DEEP_MAX);
    json_reader_init(&reader, span_of(text, bytes + JSON_DEEP_MAX), 0);
    assert_int_equal(json_skip_deep(&reader, &value), 0);
    assert_true(clock() - from < CLOCKS_PER_SEC); /* 4 MB: some 10 ms; a pass for each level would take minutes */
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_answers),
        cmocka_unit_test(stops_between),
        cmocka_unit_test(how_deep),
        cmocka_unit_test(in_between),
        cmocka_unit_test(bounded_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
