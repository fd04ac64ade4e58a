/* base/say_test.c - who speaks does not wait for who listens. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/say.h"

enum { THREADS = 4, LINES = 500, HANGS_S = 60 };

struct listener { int pipe[2], stderr_fd; };

static int listen_by_pipe(void **state)
{
    struct listener *listener = calloc(1, sizeof *listener);

    if (listener == NULL || pipe(listener->pipe) < 0)
        return -1;
    listener->stderr_fd = dup(STDERR_FILENO);
    *state = listener;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(HANGS_S); /* a line that waits would wait for ever */
    return dup2(listener->pipe[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int listen_again(void **state)
{
    struct listener *listener = *state;

    (void)alarm(0);
    (void)dup2(listener->stderr_fd, STDERR_FILENO);
    (void)close(listener->stderr_fd);
    (void)close(listener->pipe[0]);
    (void)close(listener->pipe[1]);
    free(listener);
    return 0;
}

static void set_waiting(int fd, bool waits)
{
    int flags = fcntl(fd, F_GETFL);

    assert_int_equal(fcntl(fd, F_SETFL, waits ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), 0);
}

static void fill(const struct listener *listener)
{
    static const char bytes[1024] = { 0 };

    set_waiting(listener->pipe[1], false);
    while (write(listener->pipe[1], bytes, sizeof bytes) > 0)
        continue;
    set_waiting(listener->pipe[1], true);
}

/* All that is in the pipe; what is no line of ours was put there by fill. */
static char *drain(const struct listener *listener)
{
    static char text[1 << 20];
    ssize_t     got;
    size_t      bytes = 0;

    set_waiting(listener->pipe[0], false);
    while ((got = read(listener->pipe[0], text + bytes, sizeof text - 1 - bytes)) > 0)
        bytes += (size_t)got;
    set_waiting(listener->pipe[0], true);
    text[bytes] = '\0';
    return text;
}

/* As a process does at its start: what stood there before is not asked. */
static int listen_from_the_start(void **state)
{
    int rc = listen_by_pipe(state);

    say_init("penstock", SAY_INFO);
    say(SAY_INFO, "what tests before left out is told now");
    (void)drain(*state);
    return rc;
}

static void lines_are_told(void **state)
{
    char *text;

    say(SAY_WARN, "one of %d", 2);
    say(SAY_DEBUG, "nobody asked for this");
    say(SAY_INFO, "a bell \a and a line\n");
    say(SAY_INFO, "a sequence \xc2\x9b" "31m, an override \xe2\x80\xae, letters \xc3\xa9 \xe2\x82\xac");
    text = drain(*state);
    assert_non_null(strstr(text, "Z warn penstock: one of 2\n"));
    assert_non_null(strstr(text, "Z info penstock: a bell ? and a line?\n"));
    assert_non_null(strstr(text, "Z info penstock: a sequence ??31m, an override ???, letters \xc3\xa9 \xe2\x82\xac\n"));
    assert_null(strstr(text, "nobody"));
}

static void a_full_pipe_holds_nobody(void **state)
{
    struct say_gate gate = { 0 };
    char           *text;

    fill(*state);
    say(SAY_ERROR, "left out");
    say(SAY_ERROR, "left out, too");
    say_seldom(&gate, SAY_ERROR, "and this");
    (void)drain(*state);
    say(SAY_INFO, "told");
    say(SAY_INFO, "told again");
    text = drain(*state);
    assert_null(strstr(text, "left out"));
    assert_non_null(strstr(text, "Z info penstock: told (after 3 lines that nobody took)\n"));
    assert_non_null(strstr(text, "Z info penstock: told again\n"));
}

static void a_reader_that_went_is_no_death(void **state)
{
    struct listener *listener = *state;

    (void)close(listener->pipe[0]);
    say(SAY_INFO, "to nobody");
    say(SAY_INFO, "to nobody");
    assert_int_equal(pipe(listener->pipe), 0); /* the former end is stderr still */
    assert_int_equal(dup2(listener->pipe[1], STDERR_FILENO), STDERR_FILENO);
    say(SAY_INFO, "to somebody");
    assert_non_null(strstr(drain(listener), "to somebody (after 2 lines that nobody took)\n"));
}

static void *talk(void *ctx)
{
    for (int i = 0; i < LINES; i++)
        say(SAY_INFO, "line %d of a thread that speaks beside others, and goes on for as long as it takes to fill a pipe", i);
    return ctx;
}

/* The pipe fills while they speak; each goes on to its end, and every line is there or counted. */
static void lines_of_several_are_whole(void **state)
{
    static const char tail[] = "to fill a pipe", after[] = " (after ";
    pthread_t         threads[THREADS];
    unsigned long     told = 0, left_out = 0;
    char             *text, *last;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    text = drain(*state);
    for (char *line = strtok_r(text, "\n", &last); line != NULL; line = strtok_r(NULL, "\n", &last), told++) {
        char *end = strstr(line, tail);

        assert_non_null(end);
        if (strncmp(end + strlen(tail), after, strlen(after)) == 0)
            left_out += strtoul(end + strlen(tail) + strlen(after), NULL, 10);
    }
    assert_true(told + left_out < THREADS * LINES); /* the pipe holds a few hundred */
    say(SAY_INFO, "the last");
    text = strstr(drain(*state), "the last (after ");
    assert_non_null(text);
    left_out += strtoul(text + strlen("the last (after "), NULL, 10);
    assert_int_equal(told + left_out, THREADS * LINES);
}

enum { ROUNDS = 200, SPEAKERS = 5, LONG = 900 }; /* so many lines of that length are more than a page */

static struct { bool meets; pthread_barrier_t asked, ready, done; } crowd;

/* In front of libc's: who asked whether there is room goes on when all have. */
int poll(struct pollfd *at, nfds_t count, int timeout_ms)
{
    const struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000 };
    int                   rc = ppoll(at, count, timeout_ms < 0 ? NULL : &timeout, NULL);

    if (crowd.meets)
        (void)pthread_barrier_wait(&crowd.asked);
    return rc;
}

static void *speak_at_once(void *ctx)
{
    for (int round = 0; round < ROUNDS; round++) {
        (void)pthread_barrier_wait(&crowd.ready);
        say(SAY_INFO, "%0*d", LONG, round);
        (void)pthread_barrier_wait(&crowd.done);
    }
    return ctx;
}

/* One page is free, and its reader rests: one takes it, and the others must not wait for another. Asking whether there is room is not
 * enough for that: all are told that there is. */
static void one_page_for_several_holds_nobody(void **state)
{
    struct listener *listener = *state;
    pthread_t        threads[SPEAKERS];
    char             page[4096];

    crowd.meets = true;
    assert_int_equal(pthread_barrier_init(&crowd.asked, NULL, SPEAKERS), 0);
    assert_int_equal(pthread_barrier_init(&crowd.ready, NULL, SPEAKERS + 1), 0);
    assert_int_equal(pthread_barrier_init(&crowd.done, NULL, SPEAKERS + 1), 0);
    for (int i = 0; i < SPEAKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, speak_at_once, NULL), 0);
    for (int round = 0; round < ROUNDS; round++) {
        fill(listener);
        assert_int_equal(read(listener->pipe[0], page, sizeof page), sizeof page);
        (void)alarm(HANGS_S);
        (void)pthread_barrier_wait(&crowd.ready);
        (void)pthread_barrier_wait(&crowd.done);
    }
    for (int i = 0; i < SPEAKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    crowd.meets = false;
    (void)pthread_barrier_destroy(&crowd.asked);
    (void)pthread_barrier_destroy(&crowd.ready);
    (void)pthread_barrier_destroy(&crowd.done);
}

/* A pipe that could not be opened anew: told at each write not to wait, where the kernel can. */
static void nor_where_it_may_not_be_opened(void **state)
{
    struct listener *listener = *state;
    struct iovec     nothing = { "", 1 };

    if (pwritev2(listener->pipe[1], &nothing, 1, -1, RWF_NOWAIT) < 0)
        skip();
    one_page_for_several_holds_nobody(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_told, listen_by_pipe, listen_again),
        cmocka_unit_test_setup_teardown(a_full_pipe_holds_nobody, listen_by_pipe, listen_again),
        cmocka_unit_test_setup_teardown(a_reader_that_went_is_no_death, listen_by_pipe, listen_again),
        cmocka_unit_test_setup_teardown(lines_of_several_are_whole, listen_by_pipe, listen_again),
        cmocka_unit_test_setup_teardown(nor_where_it_may_not_be_opened, listen_by_pipe, listen_again),
        cmocka_unit_test_setup_teardown(lines_are_told, listen_from_the_start, listen_again),
        cmocka_unit_test_setup_teardown(a_full_pipe_holds_nobody, listen_from_the_start, listen_again),
        cmocka_unit_test_setup_teardown(lines_of_several_are_whole, listen_from_the_start, listen_again),
        cmocka_unit_test_setup_teardown(one_page_for_several_holds_nobody, listen_from_the_start, listen_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
