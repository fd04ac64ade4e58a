/* log/log_claim_test.c - who claims the log writes alone: nobody else before he has done, and nobody claims what is not free.
 * That many threads do so beside a committer is in log_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "log/log_test_kit.h"

static char               path[64];
static struct log        *opened;
static struct log_commit *commit;
static atomic_int         order; /* of what follows, from 1 */
static atomic_int         done_at[3], rested_at;

static int setup(void **state)
{
    struct log_topic_options topic = { .segment_bytes = 64 << 10 };
    struct log_options       options = { path };
    struct log_writer       *writer;
    struct err               err;

    (void)state;
    kit_folder(path);
    atomic_store(&order, 0);
    atomic_store(&rested_at, 0);
    for (int i = 0; i < 3; i++)
        atomic_store(&done_at[i], 0);
    if (log_open(&options, &opened, &err) < 0 || log_writer_open(opened, "raw", 0, &topic, &writer, &err) < 0 ||
        log_commit_start(writer, NULL, &commit, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_commit_stop(commit);
    log_close(opened);
    kit_remove(path);
    return 0;
}

static void done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    assert_true(result->ok);
    atomic_store((atomic_int *)ctx, atomic_fetch_add(&order, 1) + 1);
    log_batch_free(batch_take);
}

static struct log_batch *batch_of(size_t bytes)
{
    struct log_batch *batch = log_batch_new();

    kit_add(batch, bytes, 0);
    return batch;
}

static void submit(int number)
{
    struct err err;

    if (log_commit_submit(commit, batch_of(100), done, &done_at[number], &err) < 0)
        fail_msg("%s", err.text);
}

static bool becomes(const atomic_int *what)
{
    for (int i = 0; i < 60000 && atomic_load(what) == 0; i++)
        (void)usleep(1000);
    return atomic_load(what) != 0;
}

static void others_wait(void **state)
{
    struct log_batch *mine = batch_of(100), *other = batch_of(100);

    (void)state;
    assert_true(log_commit_claim(commit, mine));
    assert_false(log_commit_claim(commit, other));
    log_batch_free(other);
    submit(1);
    submit(2);
    (void)usleep(20000); /* a committer that does not wait would have written by now, mostly */
    assert_int_equal(atomic_load(&done_at[1]), 0);
    log_commit_write(commit, mine, done, &done_at[0]);
    assert_int_equal(atomic_load(&done_at[0]), 1);
    assert_true(becomes(&done_at[1]) && becomes(&done_at[2]));
    assert_int_equal(atomic_load(&done_at[1]), 2);
    assert_int_equal(atomic_load(&done_at[2]), 3);
}

static void *rest(void *arg)
{
    struct err err;

    (void)arg;
    if (log_commit_rest(commit, &err) == 0)
        atomic_store(&rested_at, atomic_fetch_add(&order, 1) + 1);
    return NULL;
}

/* The partition is handed over behind what is being written, and is nobody's to claim then. */
static void resting_waits(void **state)
{
    struct log_batch *mine = batch_of(100), *other = batch_of(100);
    pthread_t         thread;
    struct err        err;

    (void)state;
    assert_true(log_commit_claim(commit, mine));
    assert_int_equal(pthread_create(&thread, NULL, rest, NULL), 0);
    (void)usleep(20000);
    assert_int_equal(atomic_load(&rested_at), 0);
    log_commit_write(commit, mine, done, &done_at[0]);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&done_at[0]), 1);
    assert_int_equal(atomic_load(&rested_at), 2);
    assert_false(log_commit_claim(commit, other));
    if (log_commit_resume(commit, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(log_commit_claim(commit, other));
    log_commit_write(commit, other, done, &done_at[1]);
    assert_int_equal(atomic_load(&done_at[1]), 3);
}

/* What needs a new segment is the committer's: that takes many times as long. */
static void a_full_segment_is_not_claimed(void **state)
{
    struct log_batch *batch = batch_of(63 << 10), *small = batch_of(100);

    (void)state;
    assert_false(log_commit_claim(commit, batch)); /* with the segment's head it is too much */
    log_batch_free(batch);
    assert_true(log_commit_claim(commit, small));
    log_commit_write(commit, small, done, &done_at[0]);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { ROW(others_wait), ROW(resting_waits), ROW(a_full_segment_is_not_claimed) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
