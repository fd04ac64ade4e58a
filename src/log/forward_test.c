/* log/forward_test.c - a partition goes from one committer to the next: nothing is lost or written twice, nothing is
 * accepted in between, the old one comes back when the new one came to nothing, and garbage ends the line. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "log/log_writer.h"

static char        folder[64];
static struct log *log_of_test;

/* As a killed process leaves it. */
static void log_writer_abandon(struct log_writer *writer)
{
    writer->stopped = true;
    log_writer_close(writer);
}

struct answer { pthread_mutex_t lock; pthread_cond_t wake; bool done; struct log_commit_result result; };

static void answered(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct answer *answer = ctx;

    pthread_mutex_lock(&answer->lock);
    answer->result = *result;
    answer->done = true;
    pthread_cond_signal(&answer->wake);
    pthread_mutex_unlock(&answer->lock);
    log_batch_free(batch_take);
}

/* Submits one record and waits. ERR_FULL comes back as it is. */
static int say_word(struct log_commit *commit, const char *word, struct log_commit_result *out, struct err *err)
{
    struct answer     answer = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
    struct log_batch *batch = log_batch_new();

    if (log_batch_add(batch, span_text(word), err) < 0)
        fail_msg("%s", err->text);
    if (log_commit_submit(commit, batch, answered, &answer, err) < 0) {
        log_batch_free(batch);
        return -1;
    }
    pthread_mutex_lock(&answer.lock);
    while (!answer.done)
        pthread_cond_wait(&answer.wake, &answer.lock);
    pthread_mutex_unlock(&answer.lock);
    *out = answer.result;
    return 0;
}

static void must_say(struct log_commit *commit, const char *word, uint64_t at)
{
    struct log_commit_result result;
    struct err               err = { 0 };

    if (say_word(commit, word, &result, &err) < 0)
        fail_msg("%s", err.text);
    if (!result.ok)
        fail_msg("%s", result.err.text);
    assert_int_equal(result.base, at);
}

static struct log_commit *started(void)
{
    struct log_writer *writer;
    struct log_commit *commit = NULL;
    struct err         err = { 0 };

    if (log_writer_open(log_of_test, "t", 0, NULL, &writer, &err) < 0 || log_commit_start(writer, NULL, &commit, &err) < 0)
        fail_msg("%s", err.text);
    return commit;
}

struct server { struct log_commit *commit; int fd; };

static void *serve(void *arg)
{
    struct server *server = arg;

    log_commit_serve(server->commit, server->fd);
    return NULL;
}

static void expect(const char *const *words, size_t count)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    size_t             seen = 0;
    uint64_t           offset;
    struct span        body;

    if (log_reader_open(log_of_test, "t", 0, 0, &reader, &err) < 0)
        fail_msg("%s", err.text);
    while (log_reader_next(reader, &chunk, &err) == 1) {
        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body)) {
            assert_true(seen < count);
            assert_int_equal(offset, seen);
            assert_true(span_is(body, words[seen]));
            seen++;
        }
    }
    assert_int_equal(seen, count);
    log_reader_close(reader);
}

static int setup(void **state)
{
    struct log_options options = { .folder = folder };
    struct err         err = { 0 };

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-forward-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return log_open(&options, &log_of_test, &err);
}

static int teardown(void **state)
{
    char command[100];

    (void)state;
    log_close(log_of_test);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void both_write_one_sequence(void **state)
{
    static const char *const words[] = { "old 0", "new 1", "old 2", "new 3", "old 4" };
    struct log_commit       *old = started(), *new;
    struct log_commit_result result;
    struct server            server;
    struct err               err = { 0 };
    pthread_t                thread;
    int                      ends[2];

    (void)state;
    must_say(old, words[0], 0);
    assert_int_equal(log_commit_rest(old, &err), 0);
    assert_int_equal(say_word(old, "lost", &result, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    new = started();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    server = (struct server){ new, ends[1] };
    assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
    must_say(new, words[1], 1);
    log_commit_forward(old, ends[0]);
    must_say(old, words[2], 2);
    must_say(new, words[3], 3);
    must_say(old, words[4], 4);
    log_commit_stop(old);
    pthread_join(thread, NULL);
    (void)close(ends[1]);
    log_commit_stop(new);
    expect(words, 5);
}

static void back_again_when_nobody_came(void **state)
{
    static const char *const words[] = { "before", "after" };
    struct log_commit       *commit = started();
    struct err               err = { 0 };

    (void)state;
    must_say(commit, words[0], 0);
    assert_int_equal(log_commit_rest(commit, &err), 0);
    assert_int_equal(log_commit_resume(commit, &err), 0);
    must_say(commit, words[1], 1);
    log_commit_stop(commit);
    expect(words, 2);
}

static void not_back_when_somebody_wrote(void **state)
{
    static const char *const words[] = { "old", "new" };
    struct log_commit       *old = started(), *new;
    struct log_commit_result result;
    struct err               err = { 0 };

    (void)state;
    must_say(old, words[0], 0);
    assert_int_equal(log_commit_rest(old, &err), 0);
    new = started();
    must_say(new, words[1], 1);
    assert_int_equal(log_commit_resume(old, &err), -1); /* it still writes */
    assert_int_equal(err.kind, ERR_STOP);
    assert_int_equal(say_word(old, "lost", &result, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    log_commit_stop(new);
    log_commit_stop(old);
    expect(words, 2);
}

static void garbage_ends_the_line(void **state)
{
    /* a head of one record of 32 bytes, whose bytes are no record */
    static const uint8_t lies[24 + 32] = { 'F', 'W', 'D', '1', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32 };
    static const size_t  lengths[] = { 0, 1, 23, 24, 30, 56 };

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct log_commit *commit = started();
        struct server      server;
        pthread_t          thread;
        char               byte;
        int                ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        server = (struct server){ commit, ends[1] };
        assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
        assert_int_equal(write(ends[0], lies, lengths[i]), lengths[i]);
        (void)shutdown(ends[0], SHUT_WR);
        assert_int_equal(read(ends[0], &byte, 1), 0);
        pthread_join(thread, NULL);
        (void)close(ends[0]);
        (void)close(ends[1]);
        log_commit_stop(commit);
        expect(NULL, 0);
    }
}

/* One that opened it and died before it wrote. */
static void back_again_when_somebody_only_looked(void **state)
{
    static const char *const words[] = { "before", "after", "later" };
    struct log_commit       *commit = started();
    struct log_writer       *other;
    struct err               err = { 0 };

    (void)state;
    must_say(commit, words[0], 0);
    assert_int_equal(log_commit_rest(commit, &err), 0);
    if (log_writer_open(log_of_test, "t", 0, NULL, &other, &err) < 0)
        fail_msg("%s", err.text);
    log_writer_abandon(other);
    assert_int_equal(log_commit_resume(commit, &err), 0);
    must_say(commit, words[1], 1);
    log_commit_stop(commit);
    expect(words, 2);
    commit = started();
    must_say(commit, words[2], 2);
    log_commit_stop(commit);
    expect(words, 3);
}

/* Both ends go away in the middle: the old one is told, and ends. */
static void told_when_the_new_one_dies(void **state)
{
    struct log_commit       *old = started();
    struct log_commit_result result;
    struct err               err = { 0 };
    int                      ends[2];

    (void)state;
    assert_int_equal(log_commit_rest(old, &err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    log_commit_forward(old, ends[0]);
    (void)close(ends[1]);
    assert_int_equal(say_word(old, "lost", &result, &err), 0);
    assert_false(result.ok);
    assert_int_equal(result.err.kind, ERR_STOP);
    log_commit_stop(old);
    expect(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_write_one_sequence, setup, teardown),
        cmocka_unit_test_setup_teardown(back_again_when_nobody_came, setup, teardown),
        cmocka_unit_test_setup_teardown(back_again_when_somebody_only_looked, setup, teardown),
        cmocka_unit_test_setup_teardown(not_back_when_somebody_wrote, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_ends_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(told_when_the_new_one_dies, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
