/* base/child_test_kit.h - a process of a test's own, which ends when the test does, also one that failed: a role that nobody is left to
 * stop runs for ever, and has the test's output open. Included by tests only.
 *
 * Who has threads beside it starts a program in the child (execl) and does nothing else there: the child has the locks that other
 * threads held in that moment, and nobody to give them up. glibc frees malloc's, but not that of getaddrinfo, which librdkafka's
 * threads call for each connection: a child that is forked meanwhile never reaches a broker. */
#ifndef PENSTOCK_BASE_CHILD_TEST_KIT_H
#define PENSTOCK_BASE_CHILD_TEST_KIT_H

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* As fork. The child ends with the thread that calls this: the test's first. */
static inline pid_t child_fork(void)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1); /* it ended before we asked */
    }
    return pid;
}

#endif
