/* people/hot_test.c - hot.h against a table that forgets nothing, in rings so small that they turn all the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "people/hot.h"

enum { KEYS = 300, GIVEN_MAX = 64 };

static uint64_t dice_state;

static uint64_t dice(void)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return dice_state >> 33;
}

/* What the table would hold: each value is told by its key and a number. */
static struct { bool there; size_t bytes; uint8_t mark; } model[2][KEYS];

static struct span key_of(size_t n, char *room, size_t room_bytes)
{
    return span_of(room, (size_t)snprintf(room, room_bytes, "%s-%zu", n % 7 == 0 ? "a key that is somewhat longer than the others" : "key", n));
}

static bool is_value(struct span value, size_t bytes, uint8_t mark)
{
    for (size_t i = 0; i < value.bytes; i++)
        if (value.at[i] != (uint8_t)(mark + i))
            return false;
    return value.bytes == bytes;
}

/* Puts, forgets, gets at random. A get may know nothing, but never anything else than the model; and what it gave
 * stays until the transaction ends (H1). */
static void against_a_model(void **state)
{
    static uint8_t value[20000];
    size_t known = 0, unknown = 0;

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct hot *hot = hot_new(HOT_BYTES_MIN + (size_t)(round * 9000));
        struct { struct span value; size_t bytes; uint8_t mark; unsigned table; size_t n; } given[GIVEN_MAX];
        size_t given_count = 0;

        assert_non_null(hot);
        dice_state = round;
        memset(model, 0, sizeof model);
        for (unsigned step = 0; step < 40000; step++) {
            unsigned    table = (unsigned)(dice() % 2);
            size_t      n = (size_t)(dice() % 3 == 0 ? dice() % KEYS : dice() % 20), bytes = (size_t)(dice() % (dice() % 50 == 0 ? sizeof value : 400));
            char        room[80];
            struct span key = key_of(n, room, sizeof room), got;
            uint8_t     mark = (uint8_t)dice();

            if (step % 797 == 0) {
                for (size_t i = 0; i < given_count; i++)
                    assert_true(is_value(given[i].value, given[i].bytes, given[i].mark));
                given_count = 0;
                if (dice() % 4 == 0) { /* the transaction came to nothing: as if the table had other values */
                    hot_clear(hot);
                    memset(model, 0, sizeof model);
                }
                hot_begin(hot);
            }
            switch (dice() % 6) {
            case 0:
                for (size_t i = 0; i < bytes; i++)
                    value[i] = (uint8_t)(mark + i);
                model[table][n].there = true, model[table][n].bytes = bytes, model[table][n].mark = mark;
                if (dice() % 2 == 0) {
                    got = hot_put(hot, table, key, span_of(value, bytes));
                } else { /* what was given of this key is nobody's any more */
                    for (size_t i = given_count; i-- > 0;)
                        if (given[i].table == table && given[i].n == n)
                            given[i] = given[--given_count];
                    got = hot_replace(hot, table, key, span_of(value, bytes));
                }
                assert_true(got.at == NULL || is_value(got, bytes, mark));
                break;
            case 1:
                model[table][n].there = false;
                if (dice() % 2 == 0)
                    hot_forget(hot, table, key);
                else
                    hot_put_absent(hot, table, key);
                break;
            default:
                switch (hot_get(hot, table, key, &got)) {
                case HOT_UNKNOWN:
                    unknown++;
                    break;
                case HOT_ABSENT:
                    assert_false(model[table][n].there);
                    known++;
                    break;
                case HOT_THERE:
                    assert_true(model[table][n].there);
                    assert_true(is_value(got, model[table][n].bytes, model[table][n].mark));
                    known++;
                    if (given_count < GIVEN_MAX)
                        given[given_count].value = got, given[given_count].bytes = got.bytes, given[given_count].table = table,
                        given[given_count].n = n, given[given_count++].mark = model[table][n].mark;
                    break;
                }
            }
        }
        hot_free(hot);
    }
    assert_true(known * 2 > unknown); /* it is of use, too */
}

/* Values that change all the time push nothing out, if they are replaced: larger and smaller, and longer ones than before once. */
static void what_changes_takes_no_room(void **state)
{
    static uint8_t value[500];
    struct hot    *hot = hot_new(HOT_BYTES_MIN);
    struct span    got;

    (void)state;
    assert_non_null(hot);
    memset(value, 'v', sizeof value);
    hot_begin(hot);
    assert_non_null(hot_put(hot, 0, SPAN("still"), SPAN("here")).at);
    for (unsigned i = 0; i < 20000; i++) {
        char        room[16];
        struct span key = span_of(room, (size_t)snprintf(room, sizeof room, "k%u", i % 6));

        if (i % 100 == 0)
            hot_begin(hot);
        got = hot_replace(hot, 0, key, span_of(value, i < 12 ? sizeof value / (i < 6 ? 2 : 1) : i % sizeof value));
        assert_non_null(got.at);
        assert_int_equal(hot_get(hot, 0, key, &got), HOT_THERE);
        assert_int_equal(got.bytes, i < 12 ? sizeof value / (i < 6 ? 2 : 1) : i % sizeof value);
    }
    assert_int_equal(hot_get(hot, 0, SPAN("still"), &got), HOT_THERE);
    assert_true(span_is(got, "here"));
    hot_free(hot);
}

/* What is asked for again and again stays, however much passes by. */
static void what_is_used_stays(void **state)
{
    struct hot *hot = hot_new(1 << 20);
    struct span got;
    uint8_t     value[1000] = { 7 };
    char        room[80];

    (void)state;
    assert_non_null(hot);
    (void)hot_put(hot, 0, SPAN("used"), span_of(value, sizeof value));
    for (size_t i = 0; i < 20000; i++) {
        hot_begin(hot);
        (void)hot_put(hot, 0, key_of(i, room, sizeof room), span_of(value, sizeof value));
        assert_int_equal(hot_get(hot, 0, SPAN("used"), &got), HOT_THERE);
    }
    assert_int_equal(hot_get(hot, 0, key_of(1, room, sizeof room), &got), HOT_UNKNOWN);
    assert_int_equal(hot_get(hot, 0, key_of(19999, room, sizeof room), &got), HOT_THERE);
    assert_int_equal(hot_get(hot, 1, key_of(19999, room, sizeof room), &got), HOT_UNKNOWN);
    hot_free(hot);
}

static size_t smalls_known(struct hot *hot, size_t count)
{
    size_t known = 0;

    for (size_t i = 0; i < count; i++) {
        char        room[80];
        struct span key = key_of(i, room, sizeof room), got;

        if (hot_get(hot, 0, key, &got) != HOT_THERE)
            continue;
        assert_true(span_equal(got, key)); /* its value */
        known++;
    }
    return known;
}

static void larges_pass(struct hot *hot, size_t first, size_t count)
{
    static uint8_t value[1000];

    for (size_t i = first; i < first + count; i++) {
        char room[80];

        if (i % 10 == 0)
            hot_begin(hot);
        (void)hot_put(hot, 1, key_of(i, room, sizeof room), span_of(value, 600 + i % 400));
    }
}

static void smalls_put(struct hot *hot, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        char        room[80];
        struct span key = key_of(i, room, sizeof room);

        if (i % 10 == 0)
            hot_begin(hot);
        (void)hot_put(hot, 0, key, key);
    }
}

/* Small ones outlive many turns of large ones, though nobody asks for them. */
static void small_ones_stay(void **state)
{
    enum { SMALLS = 1000, TURN = 1200 };
    struct hot *hot = hot_new(1 << 20);
    size_t      known;

    (void)state;
    assert_non_null(hot);
    for (size_t first = 0; first < SMALLS; first += 10) {
        smalls_put(hot, first, 10);
        larges_pass(hot, first, 10);
    }
    for (size_t turn = 0; turn < 10; turn++)
        larges_pass(hot, turn * TURN, TURN);
    hot_begin(hot);
    known = smalls_known(hot, SMALLS);
    if (known * 100 < SMALLS * 95)
        fail_msg("%zu of %d small ones are known", known, SMALLS);
    hot_free(hot);
}

/* However many small ones there are, they leave half of the memory to the large ones. */
static void small_ones_leave_room(void **state)
{
    enum { SMALLS = 100000, LARGES = 300 };
    struct hot *hot = hot_new(1 << 20);
    size_t      known = 0;

    (void)state;
    assert_non_null(hot);
    smalls_put(hot, 0, SMALLS);
    larges_pass(hot, 0, 2000); /* as much again as there is room for */
    hot_begin(hot);
    for (size_t i = 2000 - LARGES; i < 2000; i++) {
        char        room[80];
        struct span got;

        known += hot_get(hot, 1, key_of(i, room, sizeof room), &got) == HOT_THERE;
    }
    if (known * 100 < LARGES * 95)
        fail_msg("%zu of the last %d large ones are known", known, LARGES);
    hot_free(hot);
}

/* The largest small one takes 128 bytes of the ring, with its head; others in these tests more. Gives what is kept. */
static struct span fill(struct hot *hot, size_t n, size_t ring_bytes)
{
    static uint8_t value[1024];
    char           room[16];

    memset(value, (int)n, sizeof value);
    hot_begin(hot);
    return hot_put(hot, 0, span_of(room, (size_t)snprintf(room, sizeof room, "k%06zu", n)), span_of(value, ring_bytes - 16 - 7));
}

/* Nothing is written over that was given in this transaction, also not by small ones that are written anew (H1). */
static void small_ones_touch_nothing_given(void **state)
{
    enum { RING = 3584 * 16 /* of HOT_BYTES_MIN */, SMALLS = RING / 2 / 128, LARGE = 320, LARGES = RING / 2 / LARGE - 1 };

    (void)state;
    for (size_t bytes = 160; bytes < 1000; bytes += 16) {
        struct hot *hot = hot_new(HOT_BYTES_MIN);
        struct span given[LARGES];
        uint8_t     value[1000] = { 0 };
        size_t      puts = 0;

        assert_non_null(hot);
        for (size_t n = 0; n < SMALLS; n++)
            assert_non_null(fill(hot, n, 128).at);
        for (size_t n = 0; n < LARGES; n++) {
            given[n] = fill(hot, SMALLS + n, LARGE);
            assert_non_null(given[n].at);
        }
        hot_begin(hot); /* they are less than half a turn old: a get gives them as they lie here */
        while (hot_put(hot, 1, span_of(&puts, sizeof puts), span_of(value, bytes)).at != NULL)
            puts++;
        assert_true(puts > 0);
        for (size_t n = 0; n < LARGES; n++)
            for (size_t b = 0; b < given[n].bytes; b++)
                assert_int_equal(given[n].at[b], (uint8_t)(SMALLS + n));
        hot_free(hot);
    }
}

/* As asked_for_late, with small ones in front of it that are written anew before it is. */
static void asked_for_behind_small_ones(void **state)
{
    enum { SMALLS = 100 };
    uint8_t value[900];
    size_t  known = 0;

    (void)state;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 7);
    for (size_t passed = HOT_BYTES_MIN / 2; passed < HOT_BYTES_MIN; passed += 16) {
        struct hot *hot = hot_new(HOT_BYTES_MIN);
        struct span got;
        size_t      n = 0, bytes = 0;

        assert_non_null(hot);
        while (n < SMALLS)
            (void)fill(hot, n++, 128);
        (void)hot_put(hot, 1, SPAN("late"), span_of(value, sizeof value));
        for (; bytes + 512 < passed; bytes += 256)
            (void)fill(hot, n++, 256);
        (void)fill(hot, n, passed - bytes);
        hot_begin(hot);
        if (hot_get(hot, 1, SPAN("late"), &got) == HOT_THERE) {
            assert_true(got.bytes == sizeof value && memcmp(got.at, value, sizeof value) == 0);
            known++;
        }
        hot_free(hot);
    }
    assert_true(known > 0);
}

/* The index begins small and grows with what is put; what was known before stays known. */
static void what_is_known_stays_known_as_it_grows(void **state)
{
    enum { COUNT = 1500 };
    struct hot *hot = hot_new(8 << 20);
    uint8_t     value[1000];
    char        room[80];
    size_t      known = 0;

    (void)state;
    assert_non_null(hot);
    for (size_t i = 0; i < COUNT; i++) {
        memset(value, (int)i, sizeof value);
        hot_begin(hot);
        (void)hot_put(hot, i % 2, key_of(i, room, sizeof room), span_of(value, 500 + i % 500));
        if (i % 100 != 99)
            continue;
        known = 0;
        for (size_t k = 0; k <= i; k++) {
            struct span got;

            if (hot_get(hot, k % 2, key_of(k, room, sizeof room), &got) != HOT_THERE)
                continue;
            assert_int_equal(got.bytes, 500 + k % 500);
            assert_int_equal(((const uint8_t *)got.at)[0], (uint8_t)k);
            known++;
        }
        if (known * 100 < (i + 1) * 99)
            fail_msg("%zu of %zu are known", known, i + 1);
    }
    hot_free(hot);
}

/* One that is asked for just before it would be written over: known or not, but never with others' bytes in it. */
static void asked_for_late(void **state)
{
    static uint8_t value[4000], other[512];
    char           room[80];

    (void)state;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 7);
    for (size_t passed = HOT_BYTES_MIN / 2; passed < HOT_BYTES_MIN + 8000; passed += 16) {
        struct hot *hot = hot_new(HOT_BYTES_MIN);
        struct span got;

        assert_non_null(hot);
        (void)hot_put(hot, 0, SPAN("late"), span_of(value, sizeof value));
        for (size_t bytes = 0, n = 0; bytes < passed; n++) {
            size_t some = passed - bytes < sizeof other ? passed - bytes : sizeof other;

            hot_begin(hot);
            (void)hot_put(hot, 0, key_of(n, room, sizeof room), span_of(other, some));
            bytes += some + 48; /* with head, key and padding, about */
        }
        hot_begin(hot);
        if (hot_get(hot, 0, SPAN("late"), &got) == HOT_THERE)
            assert_true(got.bytes == sizeof value && memcmp(got.at, value, sizeof value) == 0);
        hot_free(hot);
    }
}

/* A value too large to be kept takes the older one with it. */
static void too_large(void **state)
{
    struct hot *hot = hot_new(HOT_BYTES_MIN);
    uint8_t    *value = calloc(1, HOT_BYTES_MIN);
    struct span got;

    (void)state;
    assert_non_null(hot);
    assert_non_null(value);
    assert_non_null(hot_put(hot, 0, SPAN("k"), span_of(value, 100)).at);
    assert_null(hot_put(hot, 0, SPAN("k"), span_of(value, HOT_BYTES_MIN / 4)).at);
    assert_int_equal(hot_get(hot, 0, SPAN("k"), &got), HOT_UNKNOWN);
    assert_non_null(hot_put(hot, 0, SPAN("k"), SPAN("")).at);
    assert_int_equal(hot_get(hot, 0, SPAN("k"), &got), HOT_THERE);
    assert_int_equal(got.bytes, 0);
    free(value);
    hot_free(hot);
}

static void expected(void **state)
{
    struct hot *hot = hot_new(HOT_BYTES_MIN);
    struct span got = SPAN("");

    (void)state;
    assert_non_null(hot);
    hot_expect(hot, hot_hash(3, SPAN("k")));
    assert_false(hot_near(hot, hot_hash(3, SPAN("k")), 1 << 20, &got));
    (void)hot_put(hot, 3, SPAN("k"), SPAN("value"));
    assert_true(hot_near(hot, hot_hash(3, SPAN("k")), 1 << 20, NULL));
    assert_true(hot_near(hot, hot_hash(3, SPAN("k")), 0, &got));
    assert_true(span_is(got, "value"));
    hot_free(hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_model), cmocka_unit_test(what_changes_takes_no_room), cmocka_unit_test(what_is_used_stays), cmocka_unit_test(asked_for_late),
        cmocka_unit_test(what_is_known_stays_known_as_it_grows),
        cmocka_unit_test(small_ones_stay), cmocka_unit_test(small_ones_leave_room),
        cmocka_unit_test(small_ones_touch_nothing_given), cmocka_unit_test(asked_for_behind_small_ones),
        cmocka_unit_test(too_large),
        cmocka_unit_test(expected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
