/* log/steady_test.c - what is a jump, how much each segment's stamp is moved by all, and what is left of it after a restart. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "log/log_test_kit.h"
#include "log/steady.h"

#define SECOND ((int64_t)1000000)
#define DAY    (86400 * SECOND)
#define YEAR   (365 * DAY)
#define START  (1700000000 * SECOND)

/* One step: the wall clock and the other one move by so much; what the look says. */
static const struct { const char *name; int64_t wall_us, boot_us; uint64_t boot_id; int64_t jump_us, lag_us; } rows[] = {
    { "time passes", 5 * SECOND, 5 * SECOND, 1, 0, 0 },
    { "kept right by 0.9 s", 5 * SECOND + 900000, 5 * SECOND, 1, 0, 0 },
    { "kept right the other way", 4 * SECOND + 100000, 5 * SECOND, 1, 0, 0 },
    { "suspended for a night, which both clocks count", DAY / 2, DAY / 2, 1, 0, 0 },
    { "a second forward", 6 * SECOND, 5 * SECOND, 1, SECOND, SECOND },
    { "a second back", 4 * SECOND, 5 * SECOND, 1, -SECOND, -SECOND },
    { "ten years forward", 10 * YEAR, 5 * SECOND, 1, 10 * YEAR - 5 * SECOND, 10 * YEAR - 5 * SECOND },
    { "ten years back", -10 * YEAR, 0, 1, -10 * YEAR, -10 * YEAR },
    { "stands still for an hour", 0, 3600 * SECOND, 1, -3600 * SECOND, -3600 * SECOND },
    { "the machine starts again: how long it was off nobody knows", 30 * DAY, -500 * SECOND, 2, 30 * DAY, 30 * DAY },
    { "and its clock is behind then", -30 * DAY, -500 * SECOND, 2, -30 * DAY, -30 * DAY },
    { "the same start cannot be younger", 3 * DAY, -5 * SECOND, 1, 3 * DAY, 3 * DAY },
};

static void a_look_tells_a_jump_from_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct steady_now now = { START, 1000 * SECOND, 1 };
        struct steady     steady;

        steady_begin(&steady, START);
        assert_int_equal(steady_look(&steady, &now, 7), 0);
        now = (struct steady_now){ START + rows[i].wall_us, 1000 * SECOND + rows[i].boot_us, rows[i].boot_id };
        if (steady_look(&steady, &now, 7) != rows[i].jump_us || steady.lag_us != rows[i].lag_us)
            fail_msg("%s: lag %lld", rows[i].name, (long long)steady.lag_us);
        assert_int_equal(steady_moved_us(&steady, 8), 0); /* made after it */
        assert_int_equal(steady_moved_us(&steady, 7), rows[i].jump_us);
        assert_int_equal(steady_us(&steady), now.wall_us - rows[i].lag_us);
        assert_int_equal(steady.jumped_us != INT64_MIN, rows[i].jump_us >= 60 * SECOND);
    }
}

/* The machine runs on, and its clock jumps by us while the segment at base is open. */
static void jump(struct steady *steady, struct steady_now *now, uint64_t base, int64_t us)
{
    for (int i = 0; i < 2; i++) {
        now->wall_us += i * us + 5 * SECOND;
        now->boot_us += 5 * SECOND;
        assert_int_equal(steady_look(steady, now, base), i * us);
    }
}

static void begin(struct steady *steady, struct steady_now *now)
{
    *now = (struct steady_now){ START, 1000 * SECOND, 1 };
    steady_begin(steady, START);
    assert_int_equal(steady_look(steady, now, 0), 0);
}

static void each_jump_moves_what_was_before_it(void **state)
{
    struct steady_now now;
    struct steady     steady;

    (void)state;
    begin(&steady, &now);
    jump(&steady, &now, 10, 3 * DAY);
    jump(&steady, &now, 20, 2 * DAY);
    jump(&steady, &now, 20, DAY); /* nothing was sealed meanwhile: one */
    jump(&steady, &now, 30, -4 * DAY);
    assert_int_equal(steady.count, 3);
    assert_int_equal(steady_moved_us(&steady, 10), 2 * DAY);
    assert_int_equal(steady_moved_us(&steady, 11), -DAY);
    assert_int_equal(steady_moved_us(&steady, 30), -4 * DAY);
    assert_int_equal(steady_moved_us(&steady, 31), 0);
    steady_forget(&steady, 20); /* the segment at 20 is the oldest: none is left of before that jump */
    assert_int_equal(steady.count, 1);
    assert_int_equal(steady_moved_us(&steady, 21), -4 * DAY);
    jump(&steady, &now, 30, 4 * DAY); /* there and back */
    assert_int_equal(steady.count, 0);
    assert_int_equal(steady.lag_us, 6 * DAY);
}

/* Segments 10 to 30 were sealed between two looks, before or after the jump: none of them gets older by it. */
static void what_is_not_known_gets_younger(void **state)
{
    struct steady_now now;
    struct steady     steady;

    (void)state;
    begin(&steady, &now);
    assert_int_equal(steady_look(&steady, &now, 10), 0);
    now.wall_us += DAY;
    assert_int_equal(steady_look(&steady, &now, 30), DAY);
    assert_int_equal(steady_moved_us(&steady, 30), DAY);
    begin(&steady, &now);
    assert_int_equal(steady_look(&steady, &now, 10), 0);
    now.wall_us -= DAY;
    assert_int_equal(steady_look(&steady, &now, 30), -DAY);
    assert_int_equal(steady_moved_us(&steady, 10), -DAY);
    assert_int_equal(steady_moved_us(&steady, 11), 0);
}

static void a_confirmation_makes_nothing_younger_but_what_was_ahead(void **state)
{
    struct steady_now now;
    struct steady     steady;

    (void)state;
    begin(&steady, &now);
    jump(&steady, &now, 10, 30 * DAY); /* was off for a month */
    steady_confirm(&steady);
    assert_int_equal(steady.count, 0);
    assert_int_equal(steady.jumped_us, INT64_MIN);
    assert_int_equal(steady.lag_us, 30 * DAY); /* T1 */
    /* Ten years ahead for a while, put right: what was stamped then is no older than it is, what was before neither. */
    jump(&steady, &now, 20, 10 * YEAR);
    jump(&steady, &now, 30, -10 * YEAR);
    steady_confirm(&steady);
    assert_int_equal(steady_moved_us(&steady, 15), 0);
    assert_int_equal(steady_moved_us(&steady, 20), 0);
    assert_int_equal(steady_moved_us(&steady, 25), -10 * YEAR);
    assert_int_equal(steady_moved_us(&steady, 31), 0);
}

static void of_too_many_the_oldest_is_believed(void **state)
{
    struct steady_now now;
    struct steady     steady;

    (void)state;
    begin(&steady, &now);
    for (uint64_t i = 1; i <= STEADY_JUMPS_MAX + 2; i++)
        jump(&steady, &now, i * 10, DAY);
    assert_int_equal(steady.count, STEADY_JUMPS_MAX);
    assert_int_equal(steady_moved_us(&steady, 0), STEADY_JUMPS_MAX * DAY);
}

static void it_outlives_its_writer(void **state)
{
    char              folder[64];
    struct steady_now now;
    struct steady     steady, found;
    struct part       part;
    struct head       head;
    struct head_place place = { 5, 0, 0 };
    struct err        err;
    uint32_t          seq;

    (void)state;
    kit_folder(folder);
    part = (struct part){ .dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .label = "t/0" };
    assert_true(part.dir_fd >= 0);
    assert_int_equal(head_open_writer(&head, &part, &err), 0);
    assert_false(steady_load(&head, 0, &found)); /* zeros are no note, whosever id they are taken for */
    begin(&steady, &now);
    for (uint64_t i = 1; i <= STEADY_JUMPS_MAX; i++)
        jump(&steady, &now, i * 10, (int64_t)i * SECOND);
    steady.held_bytes = 12345, steady.held_segments = 6, steady.held_us = 7 * DAY;
    steady_store(&head, 77, &steady);
    head_set(&head, &place);
    assert_true(steady_load(&head, 77, &found));
    assert_int_equal(found.count, STEADY_JUMPS_MAX);
    assert_memory_equal(found.jumps, steady.jumps, sizeof found.jumps);
    assert_int_equal(found.wall_us, now.wall_us);
    assert_int_equal(found.boot_us, now.boot_us);
    assert_int_equal(found.boot_id, 1);
    assert_int_equal(found.lag_us, steady.lag_us);
    assert_int_equal(found.jumped_us, steady.jumped_us);
    assert_int_equal(found.held_bytes, 12345);
    assert_int_equal(found.held_segments, 6);
    assert_int_equal(found.held_us, 7 * DAY);
    assert_int_equal(found.base, STEADY_JUMPS_MAX * 10);
    assert_false(steady_load(&head, 78, &found)); /* another partition's head */
    assert_true(head_load(&head, &place, &seq));
    assert_int_equal(place.end, 5); /* the slots are not touched */
    for (size_t at = 192; at < 4096; at += 1 + at % 7) {
        head.map[at] ^= 0x10;
        if (steady_load(&head, 77, &found) && memcmp(found.jumps, steady.jumps, sizeof found.jumps) != 0)
            fail_msg("damage at %zu was believed", at);
        head.map[at] ^= 0x10;
    }
    assert_true(steady_load(&head, 77, &found));
    head_close(&head);
    (void)close(part.dir_fd);
    kit_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_tells_a_jump_from_time),
        cmocka_unit_test(what_is_not_known_gets_younger),
        cmocka_unit_test(each_jump_moves_what_was_before_it),
        cmocka_unit_test(a_confirmation_makes_nothing_younger_but_what_was_ahead),
        cmocka_unit_test(of_too_many_the_oldest_is_believed),
        cmocka_unit_test(it_outlives_its_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
