/* ingest/attempt_test.c - who is suspected after which death, and how large the next batch is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/note_test_kit.h"
#include "ingest/attempt.h"

static struct attempt *start(const char *folder)
{
    struct attempt *attempt;
    struct err      err = { 0 };

    assert_int_equal(attempt_open(folder, &attempt, &err), 0);
    return attempt;
}

/* As if all were in one input. */
static size_t limit_of(const struct attempt *attempt, uint64_t next, size_t limit)
{
    const uint64_t nexts[INPUT_COUNT] = { next }, lags[INPUT_COUNT] = { 10000 };
    size_t         caps[INPUT_COUNT], got = attempt_limit(attempt, nexts, lags, limit, caps);

    assert_true(caps[INPUT_RAW] == got);
    return got;
}

static void begin(struct attempt *attempt, uint64_t first, uint64_t count)
{
    attempt_begin(attempt, (uint64_t[INPUT_COUNT]){ first }, (uint64_t[INPUT_COUNT]){ first + count });
}

static void end(struct attempt *attempt, uint64_t next)
{
    attempt_end(attempt, (uint64_t[INPUT_COUNT]){ next });
}

/* A start that dies inside the batch [first, first + count), while it looks at `at`. */
static void die(const char *folder, uint64_t first, size_t count, uint64_t at)
{
    struct attempt *attempt = start(folder);

    begin(attempt, first, count);
    attempt_mark(attempt, 0, at);
    attempt_close(attempt); /* the file stays as a kill would leave it */
}

static void test_suspect(void **state)
{
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;

    (void)state;
    assert_non_null(mkdtemp(folder));
    attempt = start(folder);
    assert_int_equal(limit_of(attempt, 100, 50), 50);
    attempt_close(attempt);

    die(folder, 100, 50, 110);
    attempt = start(folder);
    assert_int_equal(limit_of(attempt, 100, 50), 10); /* its predecessors first */
    begin(attempt, 100, 10);
    end(attempt, 110);
    assert_int_equal(limit_of(attempt, 110, 50), 1); /* then it, alone */
    assert_int_equal(attempt_crashes(attempt, 110), 1);
    assert_int_equal(attempt_crashes(attempt, 111), 0);
    begin(attempt, 110, 1);
    end(attempt, 111);
    assert_int_equal(limit_of(attempt, 111, 50), 50);
    assert_int_equal(attempt_crashes(attempt, 110), 0); /* it was not the one */
    attempt_close(attempt);

    for (int i = 0; i < 3; i++)
        die(folder, 200, 1, 200);
    attempt = start(folder);
    assert_int_equal(attempt_crashes(attempt, 200), ATTEMPT_CRASHES_MAX);
    attempt_close(attempt);
    die(folder, 200, 2, 201); /* another one starts at one; that one is still where it was */
    attempt = start(folder);
    assert_int_equal(attempt_crashes(attempt, 200), ATTEMPT_CRASHES_MAX);
    assert_int_equal(attempt_crashes(attempt, 201), 1);
    end(attempt, 202);
    assert_int_equal(attempt_crashes(attempt, 200) + attempt_crashes(attempt, 201), 0);
    attempt_close(attempt);
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

/* Deaths that nobody can be blamed for: the batches shrink, and grow again after its records. */
static void test_careful(void **state)
{
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;

    (void)state;
    assert_non_null(mkdtemp(folder));
    die(folder, 0, 640, ATTEMPT_NONE);
    attempt = start(folder);
    assert_int_equal(limit_of(attempt, 0, 1000), 80);
    attempt_close(attempt);
    die(folder, 0, 80, ATTEMPT_NONE);
    die(folder, 0, 10, ATTEMPT_NONE);
    attempt = start(folder);
    assert_int_equal(limit_of(attempt, 0, 1000), 1);
    begin(attempt, 0, 1);
    end(attempt, 1);
    assert_int_equal(limit_of(attempt, 1, 1000), 1);
    for (uint64_t i = 1; i < 7; i++) {
        begin(attempt, i, 1);
        end(attempt, i + 1);
        assert_int_equal(limit_of(attempt, i + 1, 1000), 1);
    }
    begin(attempt, 7, 1); /* given up without harm: it proves nothing */
    end(attempt, 7);
    assert_int_equal(limit_of(attempt, 7, 1000), 1);
    begin(attempt, 7, 1);
    end(attempt, 8);
    assert_int_equal(limit_of(attempt, 8, 1000), 2); /* eight went well */
    begin(attempt, 8, 632);
    end(attempt, 640);
    assert_int_equal(limit_of(attempt, 640, 1000), 1000);
    attempt_close(attempt);
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

/* The suspect's lane goes first and alone, whatever waits in others; what is done in another lane does not clear it. */
static void test_lanes(void **state)
{
    uint64_t        next[INPUT_COUNT] = { 50, 7, 0, 0 }, ends[INPUT_COUNT] = { 60, 17, 0, 0 }, lag[INPUT_COUNT] = { 100, 100, 0, 0 };
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;
    size_t          caps[INPUT_COUNT];

    (void)state;
    assert_non_null(mkdtemp(folder));
    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, next, lag, 30, caps), 30);
    assert_true(caps[INPUT_RAW] == 30 && caps[INPUT_HISTORICAL] == 30);
    attempt_begin(attempt, next, ends);
    attempt_mark(attempt, 0, place_make(INPUT_HISTORICAL, 9));
    attempt_close(attempt);

    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, next, lag, 30, caps), 2);
    assert_true(caps[INPUT_RAW] == 0 && caps[INPUT_HISTORICAL] == 2);
    attempt_end(attempt, (uint64_t[INPUT_COUNT]){ 1000, 9 }); /* offset 9 of raw is not it */
    next[INPUT_HISTORICAL] = 9;
    assert_int_equal(attempt_crashes(attempt, 9), 0);
    assert_int_equal(attempt_crashes(attempt, place_make(INPUT_HISTORICAL, 9)), 1);
    assert_int_equal(attempt_limit(attempt, next, lag, 30, caps), 1);
    assert_true(caps[INPUT_RAW] == 0 && caps[INPUT_HISTORICAL] == 1);
    lag[INPUT_HISTORICAL] = 0; /* it is not there any more: nobody waits for it */
    assert_int_equal(attempt_limit(attempt, next, lag, 30, caps), 30);
    attempt_end(attempt, (uint64_t[INPUT_COUNT]){ 1000, 10 });
    assert_int_equal(attempt_crashes(attempt, place_make(INPUT_HISTORICAL, 9)), 0);

    attempt_begin(attempt, (uint64_t[INPUT_COUNT]){ 0, 0 }, (uint64_t[INPUT_COUNT]){ 40, 40 });
    attempt_close(attempt); /* nobody to blame: careful until both lanes are past */
    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, (uint64_t[INPUT_COUNT]){ 40, 39 }, lag, 30, caps), 10);
    attempt_end(attempt, (uint64_t[INPUT_COUNT]){ 40, 39 });
    assert_int_equal(attempt_limit(attempt, (uint64_t[INPUT_COUNT]){ 40, 40 }, lag, 30, caps), 30);
    attempt_close(attempt);
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

/* Several threads were at work: each of their events is taken alone, and only the guilty one ever counts further. */
static void test_hands(void **state)
{
    const uint64_t  marks[] = { 130, 104, 117 }, first[INPUT_COUNT] = { 100 }, last[INPUT_COUNT] = { 140 };
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;

    (void)state;
    assert_non_null(mkdtemp(folder));
    attempt = start(folder);
    attempt_begin(attempt, first, last);
    for (unsigned hand = 0; hand < 3; hand++)
        attempt_mark(attempt, hand, marks[hand]);
    attempt_mark(attempt, ATTEMPT_HANDS_MAX - 1, 139);
    attempt_unmark(attempt, ATTEMPT_HANDS_MAX - 1); /* had nothing in hand */
    attempt_close(attempt);

    attempt = start(folder);
    assert_int_equal(attempt_crashes(attempt, 139), 0);
    for (uint64_t next = 100, alone = 0; next < 140; alone = 0) { /* predecessors, then one alone, and so on */
        size_t count = limit_of(attempt, next, 1000);

        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
            assert_true(count == 1 || next > marks[i] || next + count <= marks[i] || attempt_crashes(attempt, marks[i]) == 0);
            alone += next == marks[i];
        }
        assert_true(alone == 0 || count == 1);
        if (next == 117)
            break;
        count = count < 140 - next ? count : 140 - next;
        begin(attempt, next, count);
        end(attempt, next + count);
        next += count;
    }
    assert_int_equal(attempt_crashes(attempt, 104), 0); /* lived through it */
    assert_int_equal(attempt_crashes(attempt, 117), 1);
    assert_int_equal(attempt_crashes(attempt, 130), 1);
    attempt_close(attempt);
    die(folder, 117, 1, 117);
    die(folder, 117, 1, 117);
    die(folder, 117, 20, 130); /* not alone: it was a suspect before and is no more of one */
    attempt = start(folder);
    assert_int_equal(attempt_crashes(attempt, 117), ATTEMPT_CRASHES_MAX);
    assert_int_equal(attempt_crashes(attempt, 130), 1);
    end(attempt, 140);
    assert_int_equal(limit_of(attempt, 140, 1000), 1000);

    for (unsigned round = 0; round < 4; round++) { /* more than there is room for: the first ones count */
        const uint64_t from[INPUT_COUNT] = { 200 }, to[INPUT_COUNT] = { 400 };

        attempt_begin(attempt, from, to);
        for (unsigned hand = 0; hand < ATTEMPT_HANDS_MAX; hand++)
            attempt_mark(attempt, hand, 300 - 20 * round + hand);
        attempt_close(attempt);
        attempt = start(folder);
    }
    assert_int_equal(attempt_crashes(attempt, 240), 1);
    assert_int_equal(attempt_crashes(attempt, 275), 1);
    assert_int_equal(attempt_crashes(attempt, 280), 0);
    attempt_close(attempt);
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

/* What a Penstock with one thread left behind is understood. */
static void test_file_of_before(void **state)
{
    const uint64_t words[] = { 3, 1, 100, 0, 0, 0, 101, 0, 0, 0, 100, 100, 2, 0, 0, 0, 0, 0, 0 };
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;
    FILE           *out;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(words, sizeof words, 1, out), 1);
    assert_int_equal(fclose(out), 0);
    attempt = start(folder); /* died twice over record 100, and now once more */
    assert_int_equal(attempt_crashes(attempt, 100), ATTEMPT_CRASHES_MAX);
    assert_int_equal(limit_of(attempt, 100, 50), 1);
    attempt_close(attempt);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

/* Dies over record 100, which it has taken alone. */
static void die_at_100(void *folder)
{
    die(folder, 100, 1, 100);
}

/* Whoever is in work when the whole server is killed has no part in it, however often that is; a death that the server
 * outlived is another matter, and is remembered over the ends of servers. */
static void test_killed_server(void **state)
{
    static const struct { unsigned lives; uint64_t crashes; } servers[] = {
        { 1, 0 }, { 1, 0 }, { 1, 0 }, { 1, 0 }, { 2, 1 }, { 1, 1 }, { 3, 3 }, { 1, 3 },
    };
    char                 folder[] = "/tmp/penstock-attempt-XXXXXX", path[64];
    struct attempt_state left;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/ingest.attempt", folder);
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        FILE    *file;
        uint64_t crashes;

        kit_serve(servers[i].lives, die_at_100, folder);
        file = fopen(path, "r");
        assert_non_null(file);
        assert_int_equal(fread(&left, sizeof left, 1, file), 1);
        assert_int_equal(fclose(file), 0);
        crashes = left.suspect_count == 0 ? 0 : left.suspects[0].crashes;
        if (crashes != servers[i].crashes)
            fail_msg("server %zu: %d crashes are held against the record, expected %d", i, (int)crashes, (int)servers[i].crashes);
    }
    assert_int_equal(unlink(path) + rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_suspect), cmocka_unit_test(test_careful),
                                        cmocka_unit_test(test_lanes), cmocka_unit_test(test_hands),
                                        cmocka_unit_test(test_file_of_before), cmocka_unit_test(test_killed_server) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
