/* ingest/warning_gate_test.c - once an hour, over rolled back batches and over restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ingest/warning.h"

#define MINUTE INT64_C(60000000)
#define START  (INT64_C(1709287200) * 1000000)

enum act { PASS, COMMIT, ABORT, RESTART };

struct step { enum act act; uint32_t project; enum warning_type type; const char *key; int64_t minute; bool passes; };

static const struct { const char *name; struct step steps[8]; } flows[] = {
    { "vector J11: at 0, 10 and 61 minutes",
      { { PASS, 7, WARNING_GROUPS, "", 0, true }, { PASS, 7, WARNING_GROUPS, "", 10, false }, { PASS, 7, WARNING_GROUPS, "", 61, true },
        { PASS, 7, WARNING_GROUPS, "", 62, false } } },
    { "the hour begins with what was told", { { PASS, 7, WARNING_GROUPS, "", 0, true }, { PASS, 7, WARNING_GROUPS, "", 59, false },
                                              { PASS, 7, WARNING_GROUPS, "", 60, true } } },
    { "another project, type or key", { { PASS, 7, WARNING_GROUPS, "", 0, true }, { PASS, 8, WARNING_GROUPS, "", 1, true },
                                        { PASS, 7, WARNING_GROUP_SET, "", 2, true }, { PASS, 7, WARNING_GROUPS, "k", 3, true },
                                        { PASS, 7, WARNING_GROUPS, "", 4, false }, { PASS, 7, WARNING_GROUPS, "k", 5, false } } },
    { "some come always", { { PASS, 7, WARNING_ILLEGAL_ID, "", 0, true }, { PASS, 7, WARNING_ILLEGAL_ID, "", 0, true } } },
    { "a clock that was set back silences nobody", { { PASS, 7, WARNING_GROUPS, "", 90, true }, { PASS, 7, WARNING_GROUPS, "", 10, true } } },
    { "a batch that did not happen", { { PASS, 7, WARNING_GROUPS, "", 0, true }, { ABORT }, { PASS, 7, WARNING_GROUPS, "", 1, true },
                                       { COMMIT }, { PASS, 7, WARNING_GROUPS, "", 2, false } } },
    { "a restart forgets nothing", { { PASS, 7, WARNING_GROUPS, "k", 0, true }, { COMMIT }, { RESTART },
                                     { PASS, 7, WARNING_GROUPS, "k", 10, false }, { PASS, 7, WARNING_GROUPS, "k", 61, true },
                                     { COMMIT }, { RESTART }, { PASS, 7, WARNING_GROUPS, "k", 100, false } } },
    { "but what was not committed", { { PASS, 7, WARNING_GROUPS, "", 0, true }, { RESTART }, { PASS, 7, WARNING_GROUPS, "", 1, true } } },
};

static struct warning_gate *must_open(const char *path)
{
    struct warning_gate *gate = warning_gate_new(path);

    assert_non_null(gate);
    return gate;
}

static void forget(const char *folder)
{
    char path[64];

    (void)snprintf(path, sizeof path, "%s/ingest.warned", folder);
    (void)unlink(path);
    (void)rmdir(folder);
}

static void test_flows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        char                 path[] = "/tmp/penstock_gate_XXXXXX";
        struct warning_gate *gate;

        assert_non_null(mkdtemp(path));
        gate = must_open(path);
        for (size_t k = 0; k < 8; k++) {
            const struct step *step = &flows[i].steps[k];

            if (step->act == PASS && step->project != 0 &&
                warning_gate_pass(gate, step->project, step->type, span_text(step->key), START + step->minute * MINUTE) != step->passes)
                fail_msg("%s: step %zu", flows[i].name, k);
            if (step->act == COMMIT)
                warning_gate_commit(gate);
            if (step->act == ABORT)
                warning_gate_abort(gate);
            if (step->act == RESTART) {
                warning_gate_free(gate);
                gate = must_open(path);
            }
        }
        warning_gate_free(gate);
        forget(path);
    }
}

/* Killed, and not closed. */
static void test_kill(void **state)
{
    char                 path[] = "/tmp/penstock_gate_XXXXXX";
    struct warning_gate *gate;
    int                  status;
    pid_t                child;

    (void)state;
    assert_non_null(mkdtemp(path));
    child = fork();
    if (child == 0) {
        gate = warning_gate_new(path);
        (void)warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN("kept"), START);
        warning_gate_commit(gate);
        (void)warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN("not yet"), START);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    gate = must_open(path);
    assert_false(warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN("kept"), START + MINUTE));
    assert_true(warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN("not yet"), START + MINUTE));
    warning_gate_free(gate);
    forget(path);
}

/* Bounded: of very many keys most of the younger ones are remembered, and nothing grows. */
static void test_many_keys(void **state)
{
    enum { KEYS = 400000, YOUNG = 60000 };
    struct warning_gate *gate = must_open(NULL);
    size_t               forgotten = 0;
    char                 key[16];

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        int bytes = snprintf(key, sizeof key, "%d", i);

        assert_true(warning_gate_pass(gate, 7, WARNING_GROUPS, span_of(key, (size_t)bytes), START + i));
        if (i % 1000 == 0)
            warning_gate_commit(gate);
    }
    for (int i = KEYS - YOUNG; i < KEYS; i++) {
        int bytes = snprintf(key, sizeof key, "%d", i);

        forgotten += warning_gate_pass(gate, 7, WARNING_GROUPS, span_of(key, (size_t)bytes), START + KEYS);
        warning_gate_abort(gate);
    }
    assert_true(forgotten < YOUNG / 10);
    warning_gate_free(gate);
}

/* A file that is not ours, or of another size, is begun anew; one that cannot be made is done without. */
static void test_other_files(void **state)
{
    char                 path[] = "/tmp/penstock_gate_XXXXXX", file[64];
    struct warning_gate *gate;
    int                  fd;

    (void)state;
    assert_non_null(mkdtemp(path));
    (void)snprintf(file, sizeof file, "%s/ingest.warned", path);
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "this is no gate ", 16), 16);
    (void)close(fd);
    for (int i = 0; i < 2; i++) {
        gate = must_open(path);
        assert_int_equal(warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN(""), START), i == 0);
        warning_gate_commit(gate);
        warning_gate_free(gate);
    }
    forget(path);
    gate = must_open("/nonexistent/folder");
    assert_true(warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN(""), START));
    warning_gate_commit(gate);
    assert_false(warning_gate_pass(gate, 7, WARNING_GROUPS, SPAN(""), START));
    warning_gate_free(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_flows), cmocka_unit_test(test_kill), cmocka_unit_test(test_many_keys),
                                        cmocka_unit_test(test_other_files) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
