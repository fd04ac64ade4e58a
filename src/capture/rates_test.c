/* capture/rates_test.c - buckets and windows, moment by moment. Expected values are worked out by hand. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "capture/rates.h"

#define S INT64_C(1000000)

static void buckets(void **state)
{
    /* 10 events a second, 5 at once; times in us from a start. */
    static const struct { int64_t at_us; uint64_t events; int64_t wait_us; const char *name; } rows[] = {
        { 0, 5, 0, "the burst" },
        { 0, 1, 100000, "full: one place is free after a tenth of a second" },
        { 99999, 1, 1, "a moment too early" },
        { 100000, 1, 0, "now" },
        { 100000, 0, 0, "nothing is always taken" },
        { 10 * S, 5, 0, "after a pause no more than the burst" },
        { 10 * S, 1, 100000, "full again" },
        { 20 * S, 25, 0, "larger than the burst: taken, on credit" },
        { 20 * S, 1, 2100000, "25 fill 2.5 s; one fits after 2.5 - 0.4 s" },
        { 22 * S, 1, 100000, "still" },
        { 22 * S + 100000, 1, 0, "paid back" },
    };
    struct rates        *rates = rates_new();
    struct catalog_limit limit = { .id = 7, .kind = CATALOG_LIMIT_TOKEN, .events = 10, .burst = 5 };
    struct catalog_limit other = { .id = 7 + RATES_LIMITS_MAX, .kind = CATALOG_LIMIT_TOKEN, .events = 10, .burst = 1 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t got = rates_take(rates, &limit, rows[i].events, 1000 * S + rows[i].at_us);

        if (got != rows[i].wait_us)
            fail_msg("%s: %lld", rows[i].name, (long long)got);
    }
    assert_int_equal(rates_take(rates, &other, 1, 1022 * S), 0); /* its place in the table is another's: no shared bucket */
    assert_int_equal(rates_take(rates, &other, 1, 1022 * S), 100000);
    other.id = 9;
    other.events = 1;
    other.burst = CATALOG_LIMIT_MAX;
    assert_int_equal(rates_take(rates, &other, 100000, INT64_MAX / 2000), 0); /* the largest numbers there can be */
    rates_free(rates);
}

struct sender { struct rates *rates; atomic_uint *taken; };

static void *send_many(void *arg)
{
    struct sender       *sender = arg;
    struct catalog_limit limit = { .id = 1, .kind = CATALOG_LIMIT_TOKEN, .events = 1000, .burst = 100 };

    for (int64_t i = 0; i < 20000; i++)
        if (rates_take(sender->rates, &limit, 1, S + i * 50) == 0) /* one second in all */
            atomic_fetch_add(sender->taken, 1);
    return NULL;
}

/* However many loops share a bucket, no more comes through: the burst and a second's worth. Their clocks differ. */
static void a_shared_bucket(void **state)
{
    atomic_uint   taken = 0;
    struct sender sender = { rates_new(), &taken };
    pthread_t     threads[4];

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &sender), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(taken >= 1000 && taken <= 1100);
    rates_free(sender.rates);
}

static unsigned over_of(struct rates *rates, const struct catalog_limit *limit, const char *id, unsigned events, int64_t at_us)
{
    unsigned over = 0;

    for (unsigned i = 0; i < events; i++)
        over += rates_id_over(rates, limit, span_text(id), at_us);
    return over;
}

static void windows(void **state)
{
    struct rates        *rates = rates_new();
    struct catalog_limit limit = { .id = 3, .kind = CATALOG_LIMIT_DISTINCT_ID, .events = 100 }, other = limit;
    char                 name[160];
    int64_t              t = 600 * S;

    (void)state;
    assert_int_equal(over_of(rates, &limit, "ada", 100, t), 0);
    assert_int_equal(over_of(rates, &limit, "ada", 10, t + 59 * S), 10);
    assert_int_equal(over_of(rates, &limit, "bob", 100, t + 59 * S), 0); /* an id of its own */
    other.id = 4;
    assert_int_equal(over_of(rates, &other, "ada", 100, t + 59 * S), 0); /* a limit of its own */
    /* 110 in the minute before: at its middle half of them count, so 45 more are within. */
    assert_int_equal(over_of(rates, &limit, "ada", 50, t + 90 * S), 5);
    assert_int_equal(over_of(rates, &limit, "ada", 100, t + 240 * S), 0); /* two minutes of silence: forgotten */
    /* Two ids that begin with the same 128 characters are one. */
    (void)snprintf(name, sizeof name, "%0128d-a", 0);
    assert_int_equal(over_of(rates, &limit, name, 100, t), 0);
    (void)snprintf(name, sizeof name, "%0128d-b", 0);
    assert_int_equal(over_of(rates, &limit, name, 3, t), 3);
    rates_free(rates);
}

/* A flood of new ids takes the places of those that send least: never that of one that is above its limit, and nobody
 * who sends little is found above it. */
static void many_ids(void **state)
{
    struct rates        *rates = rates_new();
    struct catalog_limit limit = { .id = 3, .kind = CATALOG_LIMIT_DISTINCT_ID, .events = 50 };
    char                 name[32];

    (void)state;
    assert_int_equal(over_of(rates, &limit, "hot", 60, 60 * S), 10);
    for (unsigned i = 0; i < 2 * RATES_IDS_MAX; i++) {
        (void)snprintf(name, sizeof name, "id-%u", i);
        assert_false(rates_id_over(rates, &limit, span_text(name), 61 * S));
    }
    assert_int_equal(over_of(rates, &limit, "hot", 5, 62 * S), 5);
    rates_free(rates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets),
        cmocka_unit_test(a_shared_bucket),
        cmocka_unit_test(windows),
        cmocka_unit_test(many_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
