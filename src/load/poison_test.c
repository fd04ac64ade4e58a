/* load/poison_test.c - who is suspected after which death, and how much of which topic comes next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/note_test_kit.h"
#include "load/poison.h"

enum { MANY = 100000 };

static char folder[64];
static bool dear; /* what a commit costs */

static int folder_make(void **state)
{
    (void)state;
    dear = false;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-poison-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int folder_drop(void **state)
{
    char path[96];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/load.attempt", folder);
    (void)unlink(path);
    return rmdir(folder);
}

static struct poison *start(void)
{
    struct poison *poison;
    struct err     err = { 0 };

    assert_int_equal(poison_open(folder, dear, &poison, &err), 0);
    return poison;
}

/* Rows [from, end) of topic 0, all added. */
static void add(struct poison *poison, uint64_t from, uint64_t end)
{
    for (uint64_t offset = from; offset < end; offset++) {
        poison_mark(poison, 0, offset);
        poison_added(poison, 0, offset);
    }
}

/* The process is gone and there is another one. */
static struct poison *die(struct poison *poison, uint64_t next)
{
    poison_close(poison); /* no poison_end */
    poison = start();
    poison_end(poison, (uint64_t[POISON_TOPICS]){ next });
    return poison;
}

static void nothing_happened(void **state)
{
    struct poison *poison = start();

    (void)state;
    add(poison, 0, 10);
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 10 });
    poison_close(poison);
    poison = start();
    assert_int_equal(poison_limit(poison, 0, 10, 0, MANY), MANY);
    assert_false(poison_hurries(poison));
    poison_close(poison);
}

static void a_noted_row_is_taken_alone_and_condemned_the_third_time(void **state)
{
    struct poison *poison = start();
    bool           blind = true;

    (void)state;
    add(poison, 0, 7);
    poison_mark(poison, 0, 7); /* row 7 ends it, in the middle of a batch */
    poison = die(poison, 0);
    assert_true(poison_hurries(poison));
    assert_int_equal(poison_limit(poison, 0, 0, 0, MANY), 7);   /* its predecessors first */
    assert_int_equal(poison_limit(poison, 1, 0, 0, MANY), 0);   /* and no other topic */
    assert_true(poison_condemned(poison, 0, &blind) == POISON_NONE);
    add(poison, 0, 7);
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 7 });
    for (int crash = 2; crash <= 3; crash++) {
        assert_int_equal(poison_limit(poison, 0, 7, 0, MANY), 1); /* alone */
        assert_int_equal(poison_limit(poison, 0, 7, 3, MANY), 3); /* not into a batch that has rows */
        assert_true(poison_condemned(poison, 0, &blind) == POISON_NONE);
        poison_mark(poison, 0, 7);
        if (crash == 3)
            poison_added(poison, 0, 7); /* this time in the commit: the only row stays noted */
        poison = die(poison, 7);
    }
    assert_true(poison_condemned(poison, 0, &blind) == 7);
    assert_false(blind);
    assert_true(poison_condemned(poison, 1, &blind) == POISON_NONE);
    poison_mark(poison, 0, 7); /* its dead letter ends it as well */
    poison = die(poison, 7);
    assert_true(poison_condemned(poison, 0, &blind) == 7 && blind);
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 8 });
    assert_true(poison_condemned(poison, 0, &blind) == POISON_NONE);
    assert_int_equal(poison_limit(poison, 1, 0, 0, MANY), MANY);
    poison_close(poison);
}

static void another_death_is_another_suspect(void **state)
{
    struct poison *poison = start();
    bool           blind;

    (void)state;
    for (uint64_t row = 5; row < 15; row++) { /* killed from outside, ten times, at another row each time */
        poison_mark(poison, 0, row);
        poison = die(poison, 0);
        assert_true(poison_condemned(poison, 0, &blind) == POISON_NONE);
    }
    poison_close(poison);
}

static void a_death_in_the_commit_makes_batches_smaller(void **state)
{
    struct poison *poison = start();
    bool           blind;

    (void)state;
    add(poison, 0, 6400);
    poison = die(poison, 0);
    assert_int_equal(poison_limit(poison, 0, 0, 0, MANY), 100);
    assert_int_equal(poison_limit(poison, 1, 0, 40, MANY), 40); /* none of another topic */
    add(poison, 0, 100);
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 100 });
    assert_int_equal(poison_limit(poison, 0, 100, 0, MANY), 100); /* the others of that batch, too */
    add(poison, 100, 200);
    poison = die(poison, 100);
    assert_int_equal(poison_limit(poison, 0, 100, 0, MANY), 1);
    add(poison, 100, 101);
    poison = die(poison, 100); /* alone: now it is known who, and its neighbours need not wait */
    assert_int_equal(poison_limit(poison, 0, 100, 0, MANY), 1);
    assert_true(poison_condemned(poison, 0, &blind) == POISON_NONE);
    poison_mark(poison, 0, 100);
    poison = die(poison, 100);
    assert_true(poison_condemned(poison, 0, &blind) == 100); /* once with others, twice alone */
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 101 });
    assert_int_equal(poison_limit(poison, 0, 101, 0, MANY), MANY);
    add(poison, 101, 200);
    poison = die(poison, 101);
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 6400 });
    assert_int_equal(poison_limit(poison, 0, 6400, 0, MANY), MANY);
    poison_close(poison);
}

/* What an earlier death rolled back is not of the batch of the next one: its thousands of rows need not go one by one. */
static void a_second_death_suspects_its_own_batch_only(void **state)
{
    struct poison *poison = start();

    (void)state;
    add(poison, 0, 6400);
    for (uint64_t offset = 0; offset < 6400; offset++) {
        poison_mark(poison, 1, offset);
        poison_added(poison, 1, offset);
    }
    poison = die(poison, 0);
    assert_int_equal(poison_limit(poison, 0, 0, 0, MANY), 200);
    add(poison, 0, 200);
    poison = die(poison, 0);
    assert_int_equal(poison_limit(poison, 0, 0, 0, MANY), 1);
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 199 });
    assert_int_equal(poison_limit(poison, 0, 199, 0, MANY), 1);
    assert_int_equal(poison_limit(poison, 1, 0, 0, MANY), 0); /* those are suspected no more */
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 200 });
    assert_int_equal(poison_limit(poison, 1, 0, 0, MANY), MANY);
    assert_false(poison_hurries(poison));
    poison_close(poison);
}

/* Committed, and killed before it could be noted. */
static void what_is_loaded_is_no_suspect(void **state)
{
    struct poison *poison = start();

    (void)state;
    add(poison, 5, 6);
    poison = die(poison, 6);
    assert_false(poison_hurries(poison));
    assert_int_equal(poison_limit(poison, 3, 0, 0, MANY), MANY);
    poison_close(poison);
}

static void a_rollback_suspects_nobody(void **state)
{
    struct poison *poison = start();

    (void)state;
    add(poison, 0, 1);
    poison_end(poison, NULL);
    poison = die(poison, 0);
    assert_false(poison_hurries(poison));
    poison_close(poison);
    poison_mark(NULL, 0, 1);
    poison_added(NULL, 0, 1);
    poison_end(NULL, NULL);
}

/* Whatever the file holds, load starts, and looks at no topic that does not exist. */
static void a_strange_file_tells_nothing(void **state)
{
    static const struct { const char *name; struct poison_state was; } rows[] = {
        { "another version", { .version = 7, .busy = 1, .current = 3, .suspect = 3, .crashes = 9 } },
        { "a topic that does not exist is suspected", { .version = 1, .current = POISON_NONE, .suspect = UINT64_MAX - 1, .crashes = 9 } },
        { "a topic that does not exist was in work", { .version = 1, .busy = 1, .current = (uint64_t)9 << 60, .suspect = POISON_NONE } },
    };
    char path[96];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/load.attempt", folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE          *file = fopen(path, "w");
        struct poison *poison;

        assert_non_null(file);
        assert_int_equal(fwrite(&rows[i].was, sizeof rows[i].was, 1, file), 1);
        assert_int_equal(fclose(file), 0);
        poison = start();
        if (poison_hurries(poison) || poison_limit(poison, 0, 3, 0, MANY) != MANY)
            fail_msg("%s", rows[i].name);
        poison_end(poison, (uint64_t[POISON_TOPICS]){ 1 });
        poison_close(poison);
    }
}

/* Starts and dies over row 7, which it has taken alone. */
static void die_at_7(void *ctx)
{
    struct poison *poison = start();

    (void)ctx;
    poison_end(poison, (uint64_t[POISON_TOPICS]){ 7 });
    poison_mark(poison, 0, 7);
}

static struct poison_state left_behind(void)
{
    struct poison_state left;
    char                path[96];
    FILE               *file;

    (void)snprintf(path, sizeof path, "%s/load.attempt", folder);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(&left, sizeof left, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    return left;
}

/* Whoever is in work when the whole server is killed has no part in it, however often that is; a death that the server
 * outlived is another matter, and is remembered over the ends of servers. */
static void a_killed_server_blames_nobody(void **state)
{
    static const struct { unsigned lives; uint64_t crashes; } servers[] = {
        { 1, 0 }, { 1, 0 }, { 1, 0 }, { 1, 0 }, { 2, 1 }, { 1, 1 }, { 3, 3 }, { 1, 3 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        struct poison_state left;

        kit_serve(servers[i].lives, die_at_7, NULL);
        left = left_behind();
        if (left.crashes != servers[i].crashes || (left.crashes > 0 && left.suspect != 7))
            fail_msg("server %zu: %d crashes are held against the row, expected %d", i, (int)left.crashes, (int)servers[i].crashes);
    }
}

/* A file of before servers were noted is understood: who is suspected stays so. */
static void a_file_of_version_1_counts(void **state)
{
    const struct poison_state was = { .version = 1, .busy = 1, .current = 3, .suspect = 3, .crashes = 2 };
    struct poison            *poison;
    char                      path[96];
    FILE                     *file;
    bool                      blind;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/load.attempt", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(&was, offsetof(struct poison_state, supervisor), 1, file), 1);
    assert_int_equal(fclose(file), 0);
    poison = start();
    assert_int_equal(poison_condemned(poison, 0, &blind), 3);
    poison_close(poison);
    assert_int_equal(left_behind().version, 2);
}

/* Rows of which the process died, commits until all are loaded when it does not again. */
static void few_commits_where_they_are_dear(void **state)
{
    static const struct { uint64_t rows; bool dear; unsigned commits_most; } rows[] = {
        { 200, true, 10 }, { 256, true, 10 }, { 5000, true, 10 }, { 8, true, 8 }, { 1, true, 1 }, { 256, false, 256 }, { 6400, false, 64 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct poison *poison;
        unsigned       commits = 0;
        uint64_t       next = 0;

        dear = rows[i].dear;
        poison = start();
        add(poison, 0, rows[i].rows);
        poison_added(poison, 0, rows[i].rows - 1); /* the last one is done, too: nobody is noted */
        for (poison = die(poison, 0); next < rows[i].rows; commits++) {
            size_t some = poison_limit(poison, 0, next, 0, MANY);

            assert_in_range(some, 1, MANY);
            some = next + some < rows[i].rows ? some : rows[i].rows - next;
            add(poison, next, next + some);
            next += some;
            poison_end(poison, (uint64_t[POISON_TOPICS]){ next });
        }
        assert_in_range(commits, 1, rows[i].commits_most);
        assert_false(poison_hurries(poison));
        poison_close(poison);
    }
}

/* Of the batch that died the first and the second topic had so many rows; of the first so many more wait behind them. */
static void what_came_later_waits_for_what_died(void **state)
{
    static const struct { const char *name; uint64_t first, second, later; bool dear; unsigned commits_most; } rows[] = {
        { "a few rows each", 4, 4, 3000, true, 8 }, { "the second alone", 0, 5, 3000, true, 5 }, { "many rows", 630, 546, 3000, true, 11 },
        { "cheap commits", 100, 20, 50000, false, 120 }, { "cheap commits, many rows", 6000, 400, 50000, false, 66 },
        { "nothing behind them", 4, 4, 0, true, 8 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint64_t end[2] = { rows[i].first + rows[i].later, rows[i].second };
        uint64_t       next[POISON_TOPICS] = { 0 };
        struct poison *poison;
        unsigned       commits = 0;

        dear = rows[i].dear;
        poison = start();
        add(poison, 0, rows[i].first);
        for (uint64_t offset = 0; offset < rows[i].second; offset++) {
            poison_mark(poison, 1, offset);
            poison_added(poison, 1, offset);
        }
        for (poison = die(poison, 0); poison_hurries(poison); commits++) {
            size_t pending = 0;

            for (int topic = 0; topic < 2; topic++) /* as the loader fills a batch */
                while (next[topic] < end[topic] && pending < poison_limit(poison, topic, next[topic], pending, MANY)) {
                    poison_mark(poison, topic, next[topic]);
                    poison_added(poison, topic, next[topic]++);
                    pending++;
                }
            if (pending == 0 || commits > rows[i].commits_most)
                fail_msg("%s: %u commits and no end, %d rows in the last", rows[i].name, commits, (int)pending);
            poison_end(poison, next);
        }
        if (next[0] != rows[i].first || next[1] != rows[i].second)
            fail_msg("%s: %d and %d rows went in small batches", rows[i].name, (int)next[0], (int)next[1]);
        poison_close(poison);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_drop)
    const struct CMUnitTest tests[] = {
        TEST(nothing_happened), TEST(a_noted_row_is_taken_alone_and_condemned_the_third_time),
        TEST(another_death_is_another_suspect), TEST(a_death_in_the_commit_makes_batches_smaller),
        TEST(a_second_death_suspects_its_own_batch_only),
        TEST(what_is_loaded_is_no_suspect), TEST(a_rollback_suspects_nobody),
        TEST(a_strange_file_tells_nothing), TEST(a_killed_server_blames_nobody), TEST(a_file_of_version_1_counts),
        TEST(few_commits_where_they_are_dear), TEST(what_came_later_waits_for_what_died),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
