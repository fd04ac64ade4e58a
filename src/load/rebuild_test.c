/* load/rebuild_test.c - the request for a new warehouse, with every file call failing and every one being the last. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "load/rebuild.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[4][256];
    static int  turn;

    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

/* "": there is none. */
static const char *get(const char *name)
{
    static char text[4][64];
    static int  turn;
    FILE       *file = fopen(path_of(name), "r");

    turn = (turn + 1) % 4;
    text[turn][0] = '\0';
    if (file != NULL) {
        text[turn][fread(text[turn], 1, 63, file)] = '\0';
        (void)fclose(file);
    }
    return text[turn];
}

static int folder_make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_rebuild_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int folder_drop(void **state)
{
    static const char *const names[] = { "warehouse.duckdb", "warehouse.duckdb.wal", "warehouse.duckdb.before-20260101T000000Z",
                                         "warehouse.duckdb.before-20260101T000000Z.wal", "warehouse.duckdb.before-20260101T000000Z-2",
                                         "warehouse.duckdb.before-20260101T000000Z-2.wal", "warehouse.duckdb.before-20260101T000000Z-3",
                                         "warehouse.rebuild", "warehouse.rebuild.new" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlink(path_of(names[i]));
    return rmdir(folder);
}

static void begin(bool with_log)
{
    (void)folder_drop(NULL);
    (void)mkdir(folder, 0700);
    put("warehouse.duckdb", "old");
    if (with_log)
        put("warehouse.duckdb.wal", "old log");
}

struct nth {
    int  left;
    bool last; /* it is the last thing this process does */
};

static int nth_before(void *ctx, struct io_call *call)
{
    struct nth *nth = ctx;

    (void)call;
    if (--nth->left != 0)
        return 0;
    if (nth->last)
        _exit(7);
    return EIO;
}

/* Asks and does, with the n-th call failing or being the last. True: there are so many. */
static bool run(int n, bool last)
{
    int status;

    if (fork() == 0) {
        struct nth           nth = { n, last };
        const struct io_hook hook = { .before = nth_before, .ctx = &nth };
        char                 mark[REBUILD_MARK_BYTES];
        struct err           err = { .kind = ERR_NONE };

        io_hook_set(&hook);
        if (rebuild_ask(folder, 1767225600000000, mark, &err) < 0 || rebuild_asked(folder, mark, &err) < 1 ||
            rebuild_do(folder, mark, &err) < 0)
            _exit(err.kind == ERR_NONE ? 9 : 8);
        _exit(nth.left > 0 ? 0 : 6);
    }
    assert_true(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 9);
    return WEXITSTATUS(status) != 0;
}

/* The next loader: what it finds is the old warehouse, or none; then it makes a new one, and nobody touches that. */
static void check_next(bool with_log, int n)
{
    char       mark[REBUILD_MARK_BYTES];
    struct err err = { .kind = ERR_NONE };
    int        asked = rebuild_asked(folder, mark, &err);
    bool       again = asked == 1;

    assert_true(asked >= 0);
    if (!again && strcmp(get("warehouse.duckdb"), "old") == 0) { /* it was not asked for durably */
        assert_string_equal(get("warehouse.duckdb.wal"), with_log ? "old log" : "");
        return;
    }
    if (again && rebuild_do(folder, mark, &err) < 0)
        fail_msg("call %d: %s", n, err.text);
    assert_string_equal(get("warehouse.duckdb"), "");
    assert_string_equal(get("warehouse.duckdb.wal"), "");
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z"), "old");
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z.wal"), with_log ? "old log" : "");
    put("warehouse.duckdb", "new");
    put("warehouse.duckdb.wal", "new log");
    assert_int_equal(rebuild_asked(folder, mark, &err), 0);
    assert_string_equal(get("warehouse.duckdb"), "new");
}

static void every_call(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        bool with_log = (how & 1) != 0, last = (how & 2) != 0;
        int  n = 1;

        for (begin(with_log); run(n, last); begin(with_log), n++)
            check_next(with_log, n);
        check_next(with_log, n);
        assert_true(n > 10); /* calls there are */
    }
}

static void asked_twice_is_once(void **state)
{
    char       first[REBUILD_MARK_BYTES], second[REBUILD_MARK_BYTES];
    struct err err = { .kind = ERR_NONE };

    (void)state;
    begin(false);
    assert_int_equal(rebuild_ask(folder, 1767225600000000, first, &err), 0);
    assert_string_equal(first, ".before-20260101T000000Z");
    assert_int_equal(rebuild_ask(folder, 1867225600000000, second, &err), 0);
    assert_string_equal(second, first);
}

/* Names have the second; what was kept under one is never what the next request means. */
static void two_in_one_second_are_two(void **state)
{
    char       mark[REBUILD_MARK_BYTES];
    struct err err = { .kind = ERR_NONE };

    (void)state;
    begin(true);
    assert_int_equal(rebuild_ask(folder, 1767225600000000, mark, &err), 0);
    assert_int_equal(rebuild_do(folder, mark, &err), 1);
    put("warehouse.duckdb", "second");
    put("warehouse.duckdb.wal", "second log");
    assert_int_equal(rebuild_ask(folder, 1767225600999999, mark, &err), 0);
    assert_string_equal(mark, ".before-20260101T000000Z-2");
    assert_int_equal(rebuild_asked(folder, mark, &err), 1);
    assert_int_equal(rebuild_do(folder, mark, &err), 1);
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z"), "old");
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z.wal"), "old log");
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z-2"), "second");
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z-2.wal"), "second log");
    assert_string_equal(get("warehouse.duckdb"), "");
}

/* Killed before the new one was begun, and asked for again: nothing has that name, and nobody is told that something has. */
static void what_is_not_there_is_not_told(void **state)
{
    char       mark[REBUILD_MARK_BYTES];
    struct err err = { .kind = ERR_NONE };

    (void)state;
    (void)folder_drop(NULL);
    (void)mkdir(folder, 0700);
    assert_int_equal(rebuild_ask(folder, 1767225600000000, mark, &err), 0);
    assert_int_equal(rebuild_do(folder, mark, &err), 0);
    assert_int_equal(rebuild_asked(folder, mark, &err), 0);
}

/* The request could not be deleted after all else was done, and the loader went on with a new warehouse: its log is its own. */
static void what_was_begun_since_stays(void **state)
{
    char       mark[REBUILD_MARK_BYTES];
    struct err err = { .kind = ERR_NONE };

    (void)state;
    begin(false);
    assert_int_equal(rebuild_ask(folder, 1767225600000000, mark, &err), 0);
    assert_int_equal(rename(path_of("warehouse.duckdb"), path_of("warehouse.duckdb.before-20260101T000000Z")), 0);
    put("warehouse.duckdb", "new");
    put("warehouse.duckdb.wal", "new log");
    assert_int_equal(rebuild_do(folder, mark, &err), 1);
    assert_string_equal(get("warehouse.duckdb"), "new");
    assert_string_equal(get("warehouse.duckdb.wal"), "new log");
    assert_string_equal(get("warehouse.duckdb.before-20260101T000000Z.wal"), "");
}

static int rename_of_database(void *ctx, struct io_call *call)
{
    (void)ctx;
    return call->op == IO_RENAME && strcmp(call->name, "warehouse.duckdb") == 0 ? EIO : 0;
}

/* The loader goes on with the old one until it is tried again: whole, as it was. */
static void half_done_has_its_log_again(void **state)
{
    const struct io_hook hook = { .before = rename_of_database };
    char                 mark[REBUILD_MARK_BYTES];
    struct err           err = { .kind = ERR_NONE };

    (void)state;
    begin(true);
    assert_int_equal(rebuild_ask(folder, 1767225600000000, mark, &err), 0);
    io_hook_set(&hook);
    assert_int_equal(rebuild_do(folder, mark, &err), -1);
    io_hook_set(NULL);
    assert_string_equal(get("warehouse.duckdb"), "old");
    assert_string_equal(get("warehouse.duckdb.wal"), "old log");
    assert_int_equal(rebuild_asked(folder, mark, &err), 1);
}

/* A file of that name that we did not write names no other file. */
static void what_is_no_request_goes(void **state)
{
    static const char *const texts[] = { "", "x", "/../etc", ".", ".A", ".before-1\n", ".before-1/../x" };
    char                     mark[REBUILD_MARK_BYTES];
    struct err               err = { .kind = ERR_NONE };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        begin(false);
        put("warehouse.rebuild", texts[i]);
        assert_int_equal(rebuild_asked(folder, mark, &err), 0);
        assert_int_equal(access(path_of("warehouse.rebuild"), F_OK), -1);
        assert_string_equal(get("warehouse.duckdb"), "old");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call),
        cmocka_unit_test(asked_twice_is_once),
        cmocka_unit_test(two_in_one_second_are_two),
        cmocka_unit_test(what_is_not_there_is_not_told),
        cmocka_unit_test(what_was_begun_since_stays),
        cmocka_unit_test(half_done_has_its_log_again),
        cmocka_unit_test(what_is_no_request_goes),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_drop);
}
