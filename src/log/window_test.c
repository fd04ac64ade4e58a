/* log/window_test.c - what a window leaves behind in the page cache. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "log/window.h"

enum { FILE_BYTES = 64 << 20, STEP = 256 << 10, PAGE = 4096 };

static int  fd = -1;
static char name[] = "/var/tmp/penstock-window-XXXXXX";

static int make_file(void **state)
{
    char *bytes = malloc(STEP);

    (void)state;
    memset(bytes, 'x', STEP);
    fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(unlink(name), 0);
    for (int at = 0; at < FILE_BYTES; at += STEP)
        assert_int_equal(pwrite(fd, bytes, STEP, at), STEP);
    assert_int_equal(fdatasync(fd), 0);
    free(bytes);
    return 0;
}

static int close_file(void **state)
{
    (void)state;
    return close(fd);
}

/* How many of the pages of [from, from + bytes) are in memory. */
static size_t pages_there(size_t from, size_t bytes)
{
    unsigned char *there = malloc(bytes / PAGE);
    void          *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)from);
    size_t         count = 0;

    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, bytes, there), 0);
    for (size_t i = 0; i < bytes / PAGE; i++)
        count += there[i] & 1;
    assert_int_equal(munmap(map, bytes), 0);
    free(there);
    return count;
}

static void read_all(struct window *window)
{
    const uint8_t *bytes;
    struct err     err = { 0 };

    for (uint64_t at = 0; at < FILE_BYTES; at += STEP) {
        assert_int_equal(window_get(window, at, STEP, &bytes, &err), 1);
        assert_int_equal(bytes[STEP - 1], 'x');
    }
}

static void keeps_what_others_may_read(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, fd);
    read_all(&window);
    window_fini(&window);
    assert_true(pages_there(0, 8 << 20) > 0);
}

static void lets_go_of_what_was_read_once(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, fd);
    window_read_once(&window);
    read_all(&window);
    assert_int_equal(pages_there(0, 16 << 20), 0);
    assert_true(pages_there(FILE_BYTES - (16 << 20), 16 << 20) > 0); /* what was read last stays */
    read_all(&window);                                               /* and all of it can be read again */
    window_fini(&window);
    assert_int_equal(pages_there(0, FILE_BYTES - (4 << 20)), 0);
}

/* What comes next is on its way before anybody reads it; past the file's end there is nothing to ask for. */
static void asks_for_what_comes_next(void **state)
{
    enum { AHEAD = 24 << 20, FROM = 16 << 20, PART = 4 << 20 };
    struct window  window;
    const uint8_t *bytes;
    struct err     err;

    (void)state;
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    window_init(&window, fd);
    assert_int_equal(window_get(&window, 0, PAGE, &bytes, &err), 1);
    window_ahead(&window, AHEAD);
    for (int i = 0; i < 2000 && pages_there(FROM, PART) < PART / PAGE * 9 / 10; i++)
        (void)usleep(10000);
    assert_true(pages_there(FROM, PART) >= PART / PAGE * 9 / 10);
    assert_int_equal(window_get(&window, FILE_BYTES - PAGE, PAGE, &bytes, &err), 1);
    window_ahead(&window, AHEAD);
    assert_int_equal(window_get(&window, FILE_BYTES - PAGE, PAGE + 1, &bytes, &err), 0);
    assert_int_equal(window_get(&window, FROM, PAGE, &bytes, &err), 1);
    assert_int_equal(bytes[0], 'x');
    window_fini(&window);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(keeps_what_others_may_read), cmocka_unit_test(lets_go_of_what_was_read_once),
                                        cmocka_unit_test(asks_for_what_comes_next) };

    return cmocka_run_group_tests(tests, make_file, close_file);
}
