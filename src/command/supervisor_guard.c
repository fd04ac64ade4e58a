/* command/supervisor_guard.c - who is there when a new binary passes its trial and ends as soon as it is the supervisor.
 *
 * An exec leaves nothing behind that could catch that: the process id is the new binary's, and its end is that of its
 * roles. So a small process is forked before it, with the listening sockets and the old binary's file open. It watches the
 * supervisor's process and waits for a byte on a socket, which a binary writes when its upgrade is over, goes back or is told to
 * stop. When the supervisor ends without that byte it becomes the old binary and serves; connections that came meanwhile wait in
 * the sockets. A new binary that knows nothing of guards never writes, so it is only guarded against an end at once.
 * Why not the parent of both: then the process id would change with each upgrade, and systemd would have to be told. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "command/supervisor_inner.h"

#define GUARD_VARIABLE "PENSTOCK_GUARD"
enum { GUARD_US = 20000000, GUARD_ROLES_US = 5000000, GUARD_LOOK_US = 5000 };

/* --- the guard ---------------------------------------------------------------------------------- */

/* True: the supervisor ended without a word. */
static bool guard_wait(int process_fd, int word_fd)
{
    int64_t until_us = clock_mono_us() + GUARD_US;
    char    byte;

    for (;;) {
        struct pollfd waiting[2] = { { .fd = process_fd, .events = POLLIN }, { .fd = word_fd, .events = POLLIN } };
        int64_t       left_us = until_us - clock_mono_us();

        if (left_us <= 0)
            return false;
        if (poll(waiting, 2, (int)(left_us / 1000 + 1)) < 0)
            continue;
        if ((waiting[1].revents & POLLIN) && read(word_fd, &byte, 1) == 1)
            return false;
        if (waiting[1].revents != 0)
            word_fd = -1; /* closed, and no word: the process tells */
        if (waiting[0].revents != 0)
            return true;
    }
}

/* The roles of before end with their supervisor, within moments, and what they have open with them. */
static void guard_roles_gone(const struct supervisor *supervisor)
{
    int64_t until_us = clock_mono_us() + GUARD_ROLES_US;

    for (size_t i = 0; i < supervisor->count; i++)
        while (supervisor->children[i].state == CHILD_UP && kill(supervisor->children[i].pid, 0) == 0 && clock_mono_us() < until_us)
            (void)usleep(GUARD_LOOK_US);
}

static void guard_serve(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;
    struct err     err = { .kind = ERR_NONE };

    (void)snprintf(change->why, sizeof change->why, "%.200s passed its trial and ended right after it took over", change->binary);
    say(SAY_ERROR, "upgrade: %s; the binary of before serves again, as process %d", change->why, (int)getpid());
    guard_roles_gone(supervisor);
    for (size_t i = 0; i < supervisor->count; i++)
        supervisor->children[i].state = CHILD_WAITING;
    change->back = true;
    change->todo = 0;
    supervisor_exec(supervisor, supervisor->exe_fd, NULL, &err);
    say(SAY_ERROR, "%s", err.text);
    _exit(EXIT_FAILED);
}

/* Of a supervisor that ends the roles are killed, and first see that their stop_fd has ended: a capture that begins to drain
 * then closes the listening sockets for everybody. So those ends stay open here. */
static void guard_forget(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++) {
        struct child *child = &supervisor->children[i];

        if (child->lock_fd >= 0)
            (void)close(child->lock_fd); /* a lock is its process's */
        child->lock_fd = -1;
        child->ends.stop_fd = -1;
        supervisor_ends_close(&child->ends);
    }
    supervisor->leaving_count = 0;
}

static void guard_main(struct supervisor *supervisor, int process_fd, int word_fd)
{
    sigset_t none;

    (void)prctl(PR_SET_NAME, "guard");
    guard_forget(supervisor);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (!guard_wait(process_fd, word_fd))
        _exit(EXIT_DONE);
    (void)close(process_fd);
    (void)close(word_fd);
    guard_serve(supervisor);
}

/* --- who is guarded ----------------------------------------------------------------------------- */

void supervisor_guard_start(struct supervisor *supervisor)
{
    int   process_fd = (int)syscall(SYS_pidfd_open, getpid(), 0), word[2] = { -1, -1 };
    char  number[24];
    pid_t pid = -1;

    if (process_fd >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, word) == 0) {
        (void)fflush(NULL);
        pid = fork();
        if (pid == 0) {
            (void)close(word[1]);
            guard_main(supervisor, process_fd, word[0]);
        }
        (void)close(word[0]);
    }
    if (process_fd >= 0)
        (void)close(process_fd);
    if (pid < 0) {
        say(SAY_WARN, "upgrade: without a guard: if the new binary ends at once, nobody serves");
        if (word[1] >= 0)
            (void)close(word[1]);
        return;
    }
    supervisor->guard_fd = word[1]; /* kept over the exec */
    (void)snprintf(number, sizeof number, "%d", supervisor->guard_fd);
    (void)setenv(GUARD_VARIABLE, number, 1);
}

void supervisor_guard_adopt(struct supervisor *supervisor)
{
    const char *number = getenv(GUARD_VARIABLE);

    supervisor->guard_fd = number != NULL ? (int)strtol(number, NULL, 10) : -1;
    (void)unsetenv(GUARD_VARIABLE);
    if (supervisor->guard_fd >= 0)
        (void)fcntl(supervisor->guard_fd, F_SETFD, FD_CLOEXEC);
}

void supervisor_guard_dismiss(struct supervisor *supervisor)
{
    if (supervisor->guard_fd < 0)
        return;
    (void)send(supervisor->guard_fd, "!", 1, MSG_NOSIGNAL); /* its time may be over */
    (void)close(supervisor->guard_fd);
    supervisor->guard_fd = -1;
    (void)unsetenv(GUARD_VARIABLE);
}
