/* command/plan_test.c - the arithmetic of plan.h beside figures that were reckoned by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <math.h>

#include "command/plan_costs.h"

#define A_SECOND 2629800.0 /* events a month that are one a second: a twelfth of 365.25 days */

static double number[PLAN_NUMBER_COUNT];

static void numbers_usual(void)
{
    for (int i = 0; i < PLAN_NUMBER_COUNT; i++)
        number[i] = plan_numbers[i].usual;
}

static void check(const char *what, double have, double expected)
{
    if (!(fabs(have - expected) <= 1e-9 * fabs(expected) + 1e-12))
        fail_msg("%s: %.12g, expected %.12g", what, have, expected);
}

static void a_thousand_a_second(void **state)
{
    struct plan plan;

    (void)state;
    numbers_usual();
    plan_make(1000 * A_SECOND, number, &plan);
    check("rate", plan.rate, 1000);
    check("peak", plan.peak, 3000);
    check("capture: 3000 x (2.7 + 1.0) us", plan.parts[PLAN_PART_CAPTURE].cores, 0.0111);
    check("capture in: 3000 x 210 B", plan.parts[PLAN_PART_CAPTURE].in_bits, 5.04e6);
    check("brokers: 3000 x 2 x (3 x 3.5 + 3 x 0.5) us", plan.parts[PLAN_PART_BROKER].cores, 0.072);
    check("brokers: 1000 x 86400 x 3 days x 1225 B x 3", plan.parts[PLAN_PART_BROKER].disk_bytes, 952560e6);
    check("ingest: 3000 x (12.1 + 1 + 0.3 + 1) us", plan.parts[PLAN_PART_INGEST].cores, 0.0432);
    check("PostgreSQL: 3000 x (0.1 x 44 + 3.5) us", plan.parts[PLAN_PART_POSTGRES].cores, 0.0237);
    check("PostgreSQL: (2629800000 / 50 x 3500 + 86400000 x 28 x 32) x 2", plan.parts[PLAN_PART_POSTGRES].disk_bytes, 523000.8e6);
    check("load: 3000 x 3.8 us", plan.parts[PLAN_PART_LOAD].cores, 0.0114);
    check("ClickHouse: 3000 x 32.4 us x 2 / 0.5", plan.parts[PLAN_PART_WAREHOUSE].cores, 0.3888);
    check("ClickHouse: 86400000 x 365 x 300 x 2", plan.parts[PLAN_PART_WAREHOUSE].disk_bytes, 18921.6e9);
    assert_int_equal(plan.parts[PLAN_PART_WAREHOUSE].machines, 2); /* 18.9 TB / 11.2 TB */
    assert_string_equal(plan.parts[PLAN_PART_WAREHOUSE].because, "disk");
    assert_int_equal(plan.parts[PLAN_PART_BROKER].machines, 3);
    assert_string_equal(plan.parts[PLAN_PART_BROKER].because, "zones");
    assert_int_equal(plan.partitions, 8);
    check("a partition: 1e6 / 6 x 0.5", plan.unit_rate, 83333.333333333);
    /* 31557600 s x 1000 x (1225 x (2 x 2/3 + 2) + 815 x (2/3 + 1)) */
    check("traffic", plan.traffic_bytes, 31557600e3 * (1225 * (2 * 2 / 3.0 + 2) + 815 * (2 / 3.0 + 1)));
    check("machines: (2 + 3 + 2 + 2 + 2 + 2) x 16 x 350", plan.machine_cost, 13 * 5600);
    check("disks", plan.disk_cost, (952560e6 + 523000.8e6 + 18921.6e9) / 0.7 / 1e9 * 0.96);
}

static void what_grows_grows_in_step(void **state)
{
    struct plan small, large;

    (void)state;
    numbers_usual();
    plan_make(1e9, number, &small);
    plan_make(1e12, number, &large);
    for (int i = 0; i < PLAN_PART_COUNT; i++) {
        check("cores", large.parts[i].cores, 1000 * small.parts[i].cores);
        check("disk", large.parts[i].disk_bytes, 1000 * small.parts[i].disk_bytes);
        assert_true(large.parts[i].machines >= small.parts[i].machines);
    }
    assert_true(large.partitions > small.partitions);
    assert_int_equal(large.partitions % 8, 0);
    assert_true((double)large.partitions * large.unit_rate >= large.peak); /* no partition is the neck */
}

static void numbers_count(void **state)
{
    struct plan usual, other;

    (void)state;
    numbers_usual();
    plan_make(1e12, number, &usual);
    number[PLAN_zones] = 1;
    plan_make(1e12, number, &other);
    assert_true(other.traffic_bytes == 0);
    check("in one place nothing stands by: 380257 x 3 x 14.4 us / 0.5 / 16", (double)other.parts[PLAN_PART_INGEST].machines, 3);
    assert_int_equal(usual.parts[PLAN_PART_INGEST].machines, 4); /* and half as much again in three */
    numbers_usual();
    number[PLAN_ingest_order_us] = 100;
    plan_make(1e12, number, &other);
    assert_int_equal(other.partitions, 232); /* 1140771 / 5000 = 228.2, in eights */
    number[PLAN_catch_up_hours] = 0.25;
    plan_make(1e12, number, &other);
    assert_int_equal(other.partitions, 384); /* 380257 x 5 / 5000 = 380.3 */
    assert_true(other.catch_up > 0);
    numbers_usual();
    number[PLAN_machine_net] = 1e9;
    plan_make(1e12, number, &other);
    assert_string_equal(other.parts[PLAN_PART_CAPTURE].because, "network"); /* 3.7 Gbit/s of frames out */
}

static void a_machine_is_measured(void **state)
{
    double factor = plan_measure();

    (void)state;
    assert_true(factor > 0.01 && factor < 1000); /* debug builds on busy machines are slow */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_a_second),
        cmocka_unit_test(what_grows_grows_in_step),
        cmocka_unit_test(numbers_count),
        cmocka_unit_test(a_machine_is_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
