/* log/retain_test.c - retention under a clock that jumps (spec/reliability.md G10): what is deleted has been kept for as long as it
 * should be, by the time that really passed, and what is not deleted has not. usage: retain_test [JUMPS [SEED]] */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "log/log_test_kit.h"
#include "log/log_writer.h"

#define SECOND ((int64_t)1000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)
enum { KEPT_DAYS = 10, RECORD_BYTES = 20000, RECORDS_MAX = 20000 };

static unsigned long jumps = 300, seed = 1;

/* A partition to which a record is written now and then, each in a segment of its own; and what really happens meanwhile. */
struct world {
    char               folder[64];
    struct log        *log;
    struct log_writer *writer;
    struct log_batch  *batch;
    struct log_topic_options options;
    struct steady_now  now;             /* what the machine's clocks say */
    int64_t            ran_us;          /* for so long it ran, in all */
    int64_t            at_us[RECORDS_MAX]; /* when each record was written, by that */
};

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static void writer_open(struct world *world)
{
    struct err err;

    log_writer_close(world->writer);
    world->writer = NULL;
    MUST(log_writer_open(world->log, "t", 0, &world->options, &world->writer, &err));
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct err    err;

    (void)snprintf(world->folder, sizeof world->folder, "/dev/shm/penstock-retain-XXXXXX"); /* nothing here is about syncs */
    assert_non_null(mkdtemp(world->folder));
    world->options = (struct log_topic_options){ .segment_bytes = 16 << 10, .retention_us = KEPT_DAYS * DAY, .clock_guard = true };
    world->now = (struct steady_now){ 1700000000 * SECOND, 5000 * SECOND, 1 };
    world->batch = log_batch_new();
    MUST(log_open(&(struct log_options){ .folder = world->folder }, &world->log, &err));
    writer_open(world);
    MUST(log_writer_retain_at(world->writer, &world->now, &err));
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    log_writer_close(world->writer);
    log_close(world->log);
    log_batch_free(world->batch);
    kit_remove(world->folder);
    free(world);
    return 0;
}

static void write_one(struct world *world)
{
    uint64_t   base;
    struct err err;

    log_batch_reset(world->batch);
    kit_add(world->batch, RECORD_BYTES, log_writer_end(world->writer));
    MUST(log_writer_append(world->writer, world->batch, world->now.wall_us, &base, &err));
    MUST(log_writer_sync(world->writer, &err));
    log_writer_publish(world->writer, log_writer_end(world->writer));
    assert_true(base < RECORDS_MAX);
    world->at_us[base] = world->ran_us;
}

static void retain(struct world *world)
{
    struct err err;

    MUST(log_writer_retain_at(world->writer, &world->now, &err));
}

/* So much time passes, and the wall clock goes as it should. */
static void pass(struct world *world, int64_t us)
{
    world->now.wall_us += us;
    world->now.boot_us += us;
    world->ran_us += us;
}

static void days(struct world *world, int count)
{
    for (int i = 0; i < count; i++) {
        write_one(world);
        pass(world, DAY);
        retain(world);
    }
}

static uint64_t start(struct world *world)
{
    struct log_reader *reader;
    struct err         err;
    uint64_t           found;

    MUST(log_reader_open(world->log, "t", 0, 0, &reader, &err));
    found = log_reader_start(reader);
    log_reader_close(reader);
    return found;
}

static void info_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors, size_t cursor_count)
{
    struct log_partition_info *out = ctx;

    (void)cursors;
    (void)cursor_count;
    *out = *info;
}

static struct log_partition_info info(struct world *world)
{
    struct log_partition_info found = { .held_bytes = 0 }, clock = found;
    struct err                err;

    MUST(log_info(world->log, info_seen, &found, &err));
    MUST(log_clock_info(world->log, info_seen, &clock, &err)); /* what is asked for often says the same */
    assert_int_equal(clock.held_segments, found.held_segments);
    assert_int_equal(clock.held_bytes, found.held_bytes);
    assert_int_equal(clock.held_us, found.held_us);
    assert_int_equal(clock.clock_jumped, found.clock_jumped);
    return found;
}

/* What is gone was kept for as long as it should be; what is there, but for that day's, was not. */
static void expect_by_time(struct world *world, int64_t early_us, int64_t late_us, const char *when)
{
    uint64_t from = start(world), end = log_writer_end(world->writer);
    int64_t  kept_us = KEPT_DAYS * DAY;

    if (from > 0 && world->ran_us - world->at_us[from - 1] < kept_us - early_us)
        fail_msg("%s: record %" PRIu64 " was deleted after %.2f days", when, from - 1, (double)(world->ran_us - world->at_us[from - 1]) / DAY);
    if (from + 1 < end && world->ran_us - world->at_us[from + 1] > kept_us + late_us)
        fail_msg("%s: record %" PRIu64 " is there after %.2f days", when, from + 1, (double)(world->ran_us - world->at_us[from + 1]) / DAY);
}

static void a_clock_that_jumps_forward_deletes_nothing(void **state)
{
    struct world *world = *state;

    days(world, 8);
    assert_false(info(world).clock_jumped);
    world->now.wall_us += 30 * DAY;
    retain(world);
    assert_int_equal(start(world), 0);
    assert_int_equal(info(world).held_segments, 7); /* all but the one that is being written */
    assert_in_range(info(world).held_bytes, 7 * RECORD_BYTES, 7 * 2 * RECORD_BYTES);
    assert_int_equal(info(world).held_us, 30 * DAY);
    for (int i = 0; i < 60; i++) { /* an hour, as the server looks */
        pass(world, 60 * SECOND);
        retain(world);
        assert_int_equal(start(world), 0);
    }
    for (int i = 0; i < 40; i++) { /* one after another they become as old as they are kept */
        days(world, 1);
        expect_by_time(world, 0, 2 * DAY, "after a jump forward");
    }
    assert_in_range(start(world), 48 - KEPT_DAYS - 2, 48 - KEPT_DAYS);
    assert_int_equal(info(world).held_segments, 0);
    assert_false(info(world).clock_jumped);
}

static void who_confirms_it_has_it_deleted(void **state)
{
    struct world *world = *state;
    struct err    err;

    days(world, 8);
    world->now.wall_us += 30 * DAY;
    retain(world);
    MUST(log_clock_confirm(world->log, "t", 0, &err));
    MUST(log_clock_confirm(world->log, "other", 0, &err)); /* there is no such topic, and there will be none */
    retain(world);
    assert_int_equal(start(world), 7);
    assert_int_equal(info(world).held_segments, 0);
    assert_false(info(world).clock_jumped);
    world->now.wall_us += 30 * DAY; /* it was said of the jump of before */
    days(world, 2);
    assert_int_equal(start(world), 7);
}

static void a_machine_that_was_off_is_taken_for_a_jump(void **state)
{
    struct world *world = *state;

    days(world, 8);
    world->now = (struct steady_now){ world->now.wall_us + 30 * DAY, 20 * SECOND, 2 };
    writer_open(world);
    retain(world);
    assert_int_equal(start(world), 0);
    assert_int_equal(info(world).held_segments, 7);
    for (int i = 0; i < 15; i++) {
        days(world, 1);
        expect_by_time(world, 0, 2 * DAY, "after a start");
    }
    /* Off each night: it keeps as many days of running as ever, not more and more. */
    for (int i = 0; i < 100; i++) {
        write_one(world);
        pass(world, DAY / 2);
        retain(world);
        world->now = (struct steady_now){ world->now.wall_us + DAY / 2, 20 * SECOND, 3 + (uint64_t)i };
        writer_open(world);
        retain(world);
        expect_by_time(world, 0, DAY, "off each night");
    }
}

static void a_clock_that_was_ahead_keeps_nothing_for_ever(void **state)
{
    struct world *world = *state;

    world->now.wall_us += 10 * YEAR; /* before anything is known of it */
    days(world, 5);
    world->now.wall_us -= 10 * YEAR;
    for (int i = 0; i < 20; i++) {
        days(world, 1);
        expect_by_time(world, 0, 2 * DAY, "after a jump back");
    }
}

static void a_step_there_and_back_changes_nothing(void **state)
{
    struct world *world = *state;

    days(world, 8);
    world->now.wall_us += 10 * YEAR;
    days(world, 1);
    world->now.wall_us -= 10 * YEAR;
    retain(world);
    assert_int_equal(start(world), 0);
    assert_int_equal(info(world).held_segments, 0);
    for (int i = 0; i < 20; i++) {
        days(world, 1);
        expect_by_time(world, 0, 2 * DAY, "there and back");
    }
}

/* Whatever is between the jump and the look that sees it was stamped after, and taken for before. */
static void segments_between_a_jump_and_the_look_go_too(void **state)
{
    struct world *world = *state;

    days(world, 3);
    world->now.wall_us += 10 * YEAR;
    for (int i = 0; i < 4; i++)
        write_one(world);
    retain(world);
    assert_int_equal(start(world), 0);
    for (int i = 0; i < 25; i++) {
        days(world, 1);
        expect_by_time(world, 0, 2 * DAY, "seen late");
    }
}

static void a_limit_of_size_goes_by_no_clock(void **state)
{
    struct world *world = *state;

    days(world, 8);
    world->options.retention_bytes = 3 * 32 << 10;
    writer_open(world);
    world->now.wall_us += 30 * DAY;
    retain(world);
    assert_in_range(start(world), 4, 6);
}

static void without_its_note_what_is_written_down_last_counts(void **state)
{
    struct world *world = *state;
    char          path[100];

    days(world, 8); /* the files themselves are changed today, years after */
    log_writer_close(world->writer);
    world->writer = NULL;
    (void)snprintf(path, sizeof path, "%s/t/0/head", world->folder);
    assert_int_equal(remove(path), 0);
    writer_open(world);
    retain(world);
    assert_int_equal(start(world), 0);
}

/* G10: jumps of 1 ms to 10 years, both ways, the machine or the process started anew between. */
static void whatever_the_clock_does(void **state)
{
    struct world *world = *state;
    uint64_t      random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (unsigned long i = 0; i < jumps; i++) {
        int64_t jump_us = SECOND / 1000;

        for (uint64_t k = kit_random(&random) % 39; k > 0; k--)
            jump_us *= 2;
        if (jump_us > 10 * YEAR)
            jump_us = 10 * YEAR;
        if (world->now.wall_us > 1700000000 * SECOND + 20 * YEAR || (world->now.wall_us > 1700000000 * SECOND - 20 * YEAR && kit_random(&random) % 2 == 0))
            jump_us = -jump_us;
        world->now.wall_us += jump_us;
        switch (kit_random(&random) % 6) {
        case 0:
            world->now.boot_us = 10 * SECOND;
            world->now.boot_id++;
            writer_open(world);
            break;
        case 1: writer_open(world); break;
        case 2: write_one(world); break;
        default: break;
        }
        retain(world);
        for (uint64_t k = kit_random(&random) % 5; k > 0; k--)
            days(world, 1);
        expect_by_time(world, (int64_t)(i + 1) * SECOND, 3 * DAY, "at random");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_clock_that_jumps_forward_deletes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(who_confirms_it_has_it_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_that_was_off_is_taken_for_a_jump, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_was_ahead_keeps_nothing_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_there_and_back_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_between_a_jump_and_the_look_go_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_limit_of_size_goes_by_no_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(without_its_note_what_is_written_down_last_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(whatever_the_clock_does, setup, teardown),
    };

    if (argc > 1)
        jumps = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
