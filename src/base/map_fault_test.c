/* base/map_fault_test.c - a mapped file that was cut: the process ends by SIGBUS, and says first which file, and where. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/map_fault.h"

static void a_cut_file_is_named(void **state)
{
    const struct rlimit none = { 0, 0 };
    char                path[] = "/tmp/penstock-map-fault-XXXXXX", said[2000] = "";
    size_t              page = (size_t)sysconf(_SC_PAGESIZE), have = 0;
    int                 fd = mkstemp(path), ends[2], status;
    ssize_t             got;
    pid_t               pid;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(8 * page)), 0);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        volatile const uint8_t *at = mmap(NULL, 4 * page, PROT_READ, MAP_SHARED, fd, (off_t)(2 * page));
        uint8_t                 first = at[page];

        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(ends[1], STDERR_FILENO);
        map_fault_tell();
        map_fault_tell();
        if (first != 0 || ftruncate(fd, (off_t)(4 * page)) < 0)
            _exit(1);
        _exit(2 + at[3 * page + 7]);
    }
    (void)close(ends[1]);
    while ((got = read(ends[0], said + have, sizeof said - 1 - have)) > 0)
        have += (size_t)got;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(unlink(path), 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    assert_non_null(strstr(said, path));
    (void)snprintf(path, sizeof path, "has %zu bytes", 4 * page);
    assert_non_null(strstr(said, path));
    (void)snprintf(path, sizeof path, "byte %zu is", 5 * page + 7);
    assert_non_null(strstr(said, path));
    (void)close(fd);
    (void)close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_cut_file_is_named) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
