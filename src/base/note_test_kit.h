/* base/note_test_kit.h - servers that are killed whole: what tests of notes share. Tests only. */
#ifndef PENSTOCK_BASE_NOTE_TEST_KIT_H
#define PENSTOCK_BASE_NOTE_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A server that starts the role `times` times, each of which ends as life() returns, and then ends itself. */
static inline void kit_serve(unsigned times, void (*life)(void *ctx), void *ctx)
{
    pid_t server = fork();
    int   status = 0;

    assert_true(server >= 0);
    if (server == 0) {
        for (unsigned i = 0; i < times; i++) {
            pid_t role = fork();

            if (role == 0) {
                life(ctx);
                _exit(0);
            }
            if (role < 0 || waitpid(role, &status, 0) != role || status != 0)
                _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_int_equal(status, 0);
}

#endif
