/* log/kafka_way_test.c - the way of batches, fact by fact, with brokers that do what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "log/kafka_way_test_kit.h"

static void brokers_answer(void **state)
{
    (void)state;
    world_begin(true, 0, 100000);
    for (int i = 0; i < 200; i++) {
        submit(1 + draw(20), 30);
        turn(3000);
    }
    settle();
    assert_int_equal(0, look().spooled_records);
    assert_true(look().messages * 2 < look().records); /* lingering joins */
    world_end();
}

/* One client waits for nobody but the brokers; of many that come in a steady stream a message holds what comes within the
 * linger; and those that all wait for answers are not kept waiting for more. */
static void records_wait_for_others_that_can_come(void **state)
{
    uint64_t messages;
    int      early = 0;

    (void)state;
    world_begin(true, 0, 100000);
    settle();
    now_us += 1000000;
    for (int i = 0; i < 50; i++) { /* one event, now and then */
        messages = look().messages;
        now_us += 100000;
        submit(1, 30);
        (void)way_step(way, now_us);
        assert_int_equal(messages + 1, look().messages);
        settle();
    }
    messages = look().messages;
    for (int i = 0; i < 1000; i++) { /* a stream: one every 200 us, so 25 in 5 ms */
        submit(1, 30);
        turn(200);
    }
    settle();
    assert_true(look().messages - messages < 1000 / 25 * PARTITIONS * 2);
    for (int i = 0; i < 200; i++) { /* 60 together, again when they are answered */
        now_us += 1000;
        messages = look().messages;
        submit(60, 30);
        (void)way_step(way, now_us);
        early += look().messages > messages;
        for (int k = 0; k < 10000 && !way_idle(way); k++)
            turn(300);
        assert_true(way_idle(way));
    }
    assert_true(early > 160);
    early = 0;
    for (int i = 0; i < 200; i++) { /* the same, when those whose answers came first do not wait for the rest */
        now_us += 1000;
        messages = look().messages;
        submit(i % 2 == 0 ? 64 : 14, 30);
        (void)way_step(way, now_us);
        early += look().messages > messages;
        for (int k = 0; k < 10000 && !way_idle(way); k++)
            turn(300);
        assert_true(way_idle(way));
    }
    assert_true(early > 160);
    settle();
    world_end();
}

static void disk_answers_within_its_time(void **state)
{
    int64_t asked_us;

    (void)state;
    world_begin(true, 0, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    submit(5, 30);
    asked_us = now_us;
    while (sender.answered < 1 && now_us - asked_us < 10000000)
        turn(10000);
    assert_true(now_us - asked_us <= 1200000);
    assert_int_equal(YES, sender.answer[0]);
    assert_int_equal(LOG_WAY_SPOOLING, look().way);
    assert_int_equal(5, look().spool_records);
    submit(5, 30); /* and from now on nobody waits for brokers */
    turn(1000);
    assert_int_equal(2, sender.answered);
    settle();
    assert_int_equal(10, look().drained_records);
    world_end();
}

static void without_a_spool_it_is_no(void **state)
{
    int64_t asked_us;

    (void)state;
    world_begin(false, 0, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    submit(5, 30);
    submit(5, 30);
    asked_us = now_us;
    while (sender.answered < 2 && now_us - asked_us < 10000000)
        turn(10000);
    assert_true(now_us - asked_us <= 1200000);
    assert_int_equal(NO, sender.answer[0]);
    assert_int_equal(ERR_RETRY, sender.kind_last);
    assert_int_equal(LOG_WAY_AWAY, look().way);
    submit(1, 30);
    turn(1000);
    assert_int_equal(3, sender.answered); /* at once */
    brokers.mode = BROKERS_UP;
    turn(1000);
    submit(7, 30);
    settle();
    assert_int_equal(YES, sender.answer[3]);
    world_end();
}

static void a_full_spool_says_no(void **state)
{
    (void)state;
    world_begin(true, 3000, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    for (int i = 0; i < 40; i++) {
        submit(1, 200);
        turn(100000);
    }
    turn(2000000);
    turn(1000);
    assert_int_equal(40, sender.answered);
    assert_int_equal(YES, sender.answer[0]);
    assert_int_equal(NO, sender.answer[39]);
    assert_int_equal(ERR_FULL, sender.kind_last);
    assert_true(look().spool_bytes <= 3000);
    settle();
    submit(1, 200);
    settle();
    assert_int_equal(YES, sender.answer[40]); /* there is room again */
    world_end();
}

static void nothing_is_wedged_by_its_size(void **state)
{
    (void)state;
    for (int with_spool = 0; with_spool < 2; with_spool++) {
        world_begin(with_spool, 0, 100000);
        turn(1000);
        brokers.bytes_max = 900; /* the topic takes less than everybody thought, and less than one of the records */
        for (int i = 0; i < 30; i++) {
            submit(40, i == 7 ? 40000 : 60); /* LZ4 makes them small; that of 40000 is not random, so ... */
            turn(3000);
        }
        settle();
        for (int i = 0; i < 30; i++) {
            submit(3, 60);
            turn(3000);
        }
        settle();
        world_end();
    }
}

/* A topic may be gone: what stands behind its messages would be sent again and again. */
static void after_a_failure_somebody_looks_first(void **state)
{
    uint64_t messages;

    (void)state;
    world_begin(true, 0, 100000);
    turn(1000);
    assert_false(way_wants_reach(way));
    brokers.mode = BROKERS_SILENT;
    submit(5, 30);
    for (int i = 0; i < 120 && look().way == LOG_WAY_DIRECT; i++) {
        now_us += 10000;
        (void)way_step(way, now_us);
        way_listen(way, 0);
    }
    assert_int_equal(LOG_WAY_SPOOLING, look().way);
    assert_true(way_wants_reach(way));
    brokers.mode = BROKERS_UP;
    messages = brokers.messages;
    for (int i = 0; i < 1000; i++) {
        now_us += 100000;
        (void)way_step(way, now_us);
        brokers_work(20);
        way_listen(way, 0);
    }
    assert_int_equal(messages, brokers.messages);
    settle();
    assert_int_equal(5, look().drained_records);
    world_end();
}

static void a_full_spool_of_the_last_time_goes_first(void **state)
{
    (void)state;
    world_begin(true, 0, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    for (int i = 0; i < 50; i++) {
        submit(10, 100);
        turn(100000);
    }
    turn(2000000);
    turn(1000);
    assert_int_equal(sender.count, sender.answered);
    process_again(true, 100000);
    assert_int_equal(LOG_WAY_SPOOLING, look().way);
    assert_int_equal(500, look().spool_records);
    submit(3, 100);
    turn(1000);
    assert_int_equal(sender.count, sender.answered); /* by the disk */
    settle();
    assert_int_equal(503, look().drained_records);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brokers_answer),       cmocka_unit_test(records_wait_for_others_that_can_come),
        cmocka_unit_test(disk_answers_within_its_time),
        cmocka_unit_test(without_a_spool_it_is_no), cmocka_unit_test(a_full_spool_says_no),
        cmocka_unit_test(nothing_is_wedged_by_its_size), cmocka_unit_test(after_a_failure_somebody_looks_first), cmocka_unit_test(a_full_spool_of_the_last_time_goes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
