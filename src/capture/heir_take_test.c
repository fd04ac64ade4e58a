/* capture/heir_take_test.c - messages as another version, or nobody in their right mind, would send them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/heir_take.h"
#include "capture/heir_test_kit.h"

static int ends[2], any;

static void send_raw(const void *bytes, size_t count_bytes, size_t count)
{
    assert_int_equal(heir_kit_send(ends[0], any, bytes, count_bytes, count), (ssize_t)count_bytes);
}

/* The lowest number that is free: the same before and after, when nothing was left open. */
static int lowest(void)
{
    int fd = dup(any);

    (void)close(fd);
    return fd;
}

static void strange_messages(void **state)
{
    static char whole[sizeof(struct take) + 100];
    static const struct { const char *what; size_t bytes, sent; int count; bool is_whole; int raw, replay; } rows[] = {
        { "as it is sent today", sizeof(struct take), 3, 3, true, 1, 2 },
        { "a version with fewer topics", TAKE_WORD_BYTES + TAKE_NAME_BYTES, 2, 2, true, 1, -1 },
        { "a version with more", sizeof whole, 17, 17, true, 1, 2 },
        { "a name without its descriptor", sizeof(struct take), 2, 2, true, 1, -1 },
        { "no socket to talk on", sizeof(struct take), 0, 0, false, -1, -1 },
        { "one descriptor too many", sizeof(struct take), 18, TAKE_FDS_MAX, true, 1, 2 },
        { "far too many", sizeof(struct take), HEIR_KIT_FDS_MOST, TAKE_FDS_MAX, true, 1, 2 },
        { "half a word", 2, 1, 1, false, -1, -1 },
        { "a word and no more", 4, 1, 1, true, -1, -1 },
    };

    (void)state;
    memset(whole, 'x', sizeof whole); /* names without an end */
    memcpy(whole, "TAKE", 4);
    memcpy(whole + TAKE_WORD_BYTES, "raw", 4);
    memcpy(whole + TAKE_WORD_BYTES + TAKE_NAME_BYTES, "replay", 7);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct { int fds[TAKE_FDS_MAX], guard[4]; } got = { .guard = { 77, 77, 77, 77 } };
        struct take take;
        int         free_before = lowest(), count;

        send_raw(whole, rows[i].bytes, rows[i].sent);
        count = take_receive(ends[1], &take, got.fds);
        if (count != rows[i].count || take_is_whole(&take, count) != rows[i].is_whole)
            fail_msg("%s: %d descriptors, expected %d", rows[i].what, count, rows[i].count);
        for (int k = 0; k < 4; k++)
            assert_int_equal(got.guard[k], 77);
        assert_int_equal(take_find(&take, got.fds, count, "raw"), rows[i].raw);
        assert_int_equal(take_find(&take, got.fds, count, "replay"), rows[i].replay);
        for (int k = 0; k < TAKE_TOPICS_MAX; k++)
            assert_non_null(memchr(take.names[k], 0, TAKE_NAME_BYTES));
        for (int k = 0; k < count; k++)
            assert_int_equal(close(got.fds[k]), 0);
        if (lowest() != free_before)
            fail_msg("%s: a descriptor is left open", rows[i].what);
    }
}

static void there_and_back(void **state)
{
    struct take sent = { .word = { 'T', 'A', 'K', 'E' }, .names = { "raw", "raw_historical", "replay" } }, got;
    int         given[4] = { any, ends[0], any, any }, fds[TAKE_FDS_MAX];

    (void)state;
    assert_int_equal(take_send(ends[0], &sent, given, 4), 0);
    assert_int_equal(take_receive(ends[1], &got, fds), 4);
    assert_memory_equal(&got, &sent, sizeof got);
    assert_int_equal(take_find(&got, fds, 4, "replay"), 3);
    fds[2] = (int)(close(fds[2]), -1); /* given away */
    assert_int_equal(take_find(&got, fds, 4, "raw_historical"), -1);
    for (int i = 0; i < 4; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    (void)close(ends[0]);
    assert_int_equal(take_receive(ends[1], &got, fds), -1);
}

static int start(void **state)
{
    (void)state;
    any = open("/dev/null", O_RDWR | O_CLOEXEC);
    return any < 0 ? -1 : socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(strange_messages), cmocka_unit_test(there_and_back) };

    return cmocka_run_group_tests(tests, start, NULL);
}
