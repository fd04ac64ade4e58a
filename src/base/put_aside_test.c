/* base/put_aside_test.c - what is kept under another name is never what was kept before. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/put_aside.h"

static char folder[64];
static int  folder_fd;

static int folder_make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_aside_XXXXXX");
    folder_fd = mkdtemp(folder) == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder_fd < 0 ? -1 : 0;
}

static int folder_drop(void **state)
{
    static const char *const names[] = { "a", "b", "b-2", "b-3", "a.old-20260101T000000Z", "a.old-20260101T000000Z-2-log", "a.old-20260101T000000Z-3" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlinkat(folder_fd, names[i], 0);
    (void)close(folder_fd);
    return rmdir(folder);
}

static void put(const char *name, char what)
{
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0 && write(fd, &what, 1) == 1 && close(fd) == 0);
}

/* '\0': there is none. */
static char get(const char *name)
{
    int  fd = openat(folder_fd, name, O_RDONLY);
    char what = '\0';

    if (fd >= 0)
        assert_true(read(fd, &what, 1) == 1 && close(fd) == 0);
    return what;
}

static void nothing_is_renamed_over(void **state)
{
    (void)state;
    put("a", '1');
    put("b", '2');
    errno = 0;
    assert_int_equal(io_rename_new(folder_fd, "a", "b"), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(get("a"), '1');
    assert_int_equal(get("b"), '2');
    assert_int_equal(io_rename_new(folder_fd, "none", "c"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(io_rename_new(folder_fd, "none", "b"), -1); /* told first: callers take it for done */
    assert_int_equal(errno, ENOENT);
    assert_int_equal(unlinkat(folder_fd, "b", 0), 0);
    assert_int_equal(io_rename_new(folder_fd, "a", "b"), 0);
    assert_int_equal(get("a"), '\0');
    assert_int_equal(get("b"), '1');
}

static void each_has_a_name_of_its_own(void **state)
{
    char kept[8];

    (void)state;
    for (char what = '1'; what <= '3'; what++) {
        put("a", what);
        assert_int_equal(put_aside(folder_fd, "a", "b", kept, sizeof kept), 0);
        assert_string_equal(kept, what == '1' ? "b" : what == '2' ? "b-2" : "b-3");
    }
    assert_int_equal(get("b"), '1');
    assert_int_equal(get("b-2"), '2');
    assert_int_equal(get("b-3"), '3');
    assert_int_equal(put_aside(folder_fd, "a", "b", kept, sizeof kept), -1);
    assert_int_equal(errno, ENOENT);
}

/* A name is taken when any file of those that belong together has it. */
static void marks_are_free_for_all_of_them(void **state)
{
    static const char *const ends[] = { "", "-log", NULL };
    char                     mark[PUT_ASIDE_MARK_BYTES];

    (void)state;
    assert_int_equal(put_aside_mark(folder_fd, "a", ends, "old", 1767225600999999, mark), 0);
    assert_string_equal(mark, ".old-20260101T000000Z");
    put("a.old-20260101T000000Z", '1');
    assert_int_equal(put_aside_mark(folder_fd, "a", ends, "old", 1767225600000000, mark), 0);
    assert_string_equal(mark, ".old-20260101T000000Z-2");
    put("a.old-20260101T000000Z-2-log", '2');
    assert_int_equal(put_aside_mark(folder_fd, "a", ends, "old", 1767225600000000, mark), 0);
    assert_string_equal(mark, ".old-20260101T000000Z-3");
    assert_int_equal(put_aside_mark(folder_fd, "a", ends, "old", 1767225601000000, mark), 0);
    assert_string_equal(mark, ".old-20260101T000001Z");
    assert_int_equal(put_aside_mark(-1, "a", ends, "old", 1767225600000000, mark), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_renamed_over, folder_make, folder_drop),
        cmocka_unit_test_setup_teardown(each_has_a_name_of_its_own, folder_make, folder_drop),
        cmocka_unit_test_setup_teardown(marks_are_free_for_all_of_them, folder_make, folder_drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
