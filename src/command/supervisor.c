/* command/supervisor.c - keeps the roles running.
 *
 * Why fork without exec: the binary is already mapped and its configuration read, so that a role is back
 * a few milliseconds after it was killed; nothing but this file runs in the parent, and it holds no
 * threads, no database and no parser whose state a child could inherit half-way.
 * Why SIGKILL as the parent-death signal: whoever starts a new supervisor on the same data must find
 * the old writers gone within a second, and every role is made to be killed at any instant (V2). */
#include "command/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "base/users.h"
#include "capture/capture.h"
#include "catalog/catalog_image.h"
#include "command/command.h"
#include "command/supervisor_inner.h"

/* --- files in DIR/run --------------------------------------------------------------------------- */

static int run_path(const struct supervisor *supervisor, const char *role, const char *kind, char *to, size_t room)
{
    int bytes = snprintf(to, room, "%s/%s%s%s", supervisor->run_folder, role, kind[0] != '\0' ? "." : "", kind);

    return bytes < 0 || (size_t)bytes >= room ? -1 : 0;
}

/* Replaced whole, so that a reader never sees half of it. Not synced: it tells of living processes. */
void supervisor_run_write(const struct supervisor *supervisor, const char *role, const char *kind, const char *text)
{
    char  path[4200], fresh[4210];
    FILE *file;

    if (run_path(supervisor, role, kind, path, sizeof path) < 0)
        return;
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    file = fopen(fresh, "we");
    if (file == NULL || fputs(text, file) < 0) {
        say(SAY_WARN, "cannot write %s: %s", fresh, strerror(errno)); /* status will be old; the roles go on */
        if (file != NULL)
            (void)fclose(file);
        return;
    }
    if (fclose(file) != 0 || rename(fresh, path) < 0)
        say(SAY_WARN, "cannot write %s: %s", path, strerror(errno));
}

void supervisor_child_state(struct supervisor *supervisor, struct child *child, enum child_state next)
{
    static const unsigned allowed[] = { [CHILD_STOPPED] = 1u << CHILD_UP,
                                        [CHILD_UP] = 1u << CHILD_WAITING | 1u << CHILD_STOPPED,
                                        [CHILD_WAITING] = 1u << CHILD_UP | 1u << CHILD_STOPPED };
    char text[400];

    assert(allowed[child->state] & 1u << next);
    child->state = next;
    if (next != CHILD_UP)
        child->pid = 0;
    (void)snprintf(text, sizeof text, "%d\n", (int)child->pid);
    supervisor_run_write(supervisor, child->role->name, "pid", next == CHILD_UP ? text : "");
    (void)snprintf(text, sizeof text, "%d %" PRIu64 " %" PRId64 " %s\n", (int)child->pid, child->restarts,
                   clock_wall_us(), child->last);
    supervisor_run_write(supervisor, child->role->name, "state", text);
}

/* --- locks (V1) --------------------------------------------------------------------------------- */

static struct flock whole_file(short type)
{
    return (struct flock){ .l_type = type, .l_whence = SEEK_SET };
}

pid_t supervisor_owner(const char *data, const struct role *role)
{
    struct flock lock = whole_file(F_WRLCK);
    char         path[4200];
    int          fd;

    (void)snprintf(path, sizeof path, "%s/run/%s.lock", data, role->name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (fcntl(fd, F_GETLK, &lock) < 0)
        lock.l_type = F_UNLCK;
    (void)close(fd);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

int supervisor_lock(struct supervisor *supervisor, struct child *child, struct err *err)
{
    struct flock lock = whole_file(F_WRLCK);
    char         path[4200];

    if (run_path(supervisor, child->role->name, "lock", path, sizeof path) < 0)
        return err_set(err, ERR_INPUT, "the path of the data folder is too long");
    child->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (child->lock_fd < 0)
        return err_errno(err, errno, "cannot open %.200s", path);
    if (fcntl(child->lock_fd, F_SETLK, &lock) == 0)
        return 0;
    lock = whole_file(F_WRLCK);
    if (fcntl(child->lock_fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        lock.l_pid = 0;
    return err_set(err, ERR_RETRY, "%.150s is already served: role %s belongs to process %d; stop that one, or give this "
                   "one a folder of its own with --data DIR", supervisor->config->data, child->role->name,
                   (int)lock.l_pid);
}

/* --- making ------------------------------------------------------------------------------------- */

static int folder_make(const char *path, struct err *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    if (errno == ENOENT)
        return err_set(err, ERR_INPUT, "cannot make the folder %.200s: the folder above it does not exist", path);
    return err_errno(err, errno, "cannot make the folder %.200s", path);
}

/* Of a run before this one: tokens may have come and gone since, so it counts only where no newer one can be made. Another supervisor's
 * capture lives by its own. */
static void image_set_aside(const struct supervisor *supervisor)
{
    char path[4200], before[4200];

    if (supervisor_role_chosen(supervisor->args, capture_role.name) &&
        run_path(supervisor, CATALOG_IMAGE_FILE, "", path, sizeof path) == 0 &&
        run_path(supervisor, CATALOG_IMAGE_BEFORE, "", before, sizeof before) == 0)
        (void)rename(path, before);
}

/* From when a lock says whom to ask until somebody listens, what is asked waits: it would end the process. */
static void asking_waits(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

int supervisor_new(const struct config *config, const struct command_args *args, struct supervisor **out, struct err *err)
{
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);

    if (supervisor == NULL)
        return err_set(err, ERR_FULL, "no memory");
    asking_waits();
    supervisor->config = supervisor->config_first = config;
    supervisor->change.trial_fd = -1;
    supervisor->args = args;
    supervisor->signal_fd = supervisor->guard_fd = -1;
    supervisor->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (supervisor_role_chosen(args, capture_role.name)) /* first: capture waits for what it leaves */
        supervisor->children[supervisor->count++] = (struct child){ .role = &catalog_reader, .lock_fd = -1, .ends = { -1, -1, -1 },
                                                                          .heir = { 0, { -1, -1, -1 } } };
    for (size_t i = 0; i < role_count; i++)
        if (supervisor_role_chosen(args, roles[i]->name))
            supervisor->children[supervisor->count++] =
                (struct child){ .role = roles[i], .options = config->options[i], .lock_fd = -1, .ends = { -1, -1, -1 },
                                .heir = { 0, { -1, -1, -1 } } };
    if (folder_make(config->data, err) < 0 ||
        data_path(config->data, "run", supervisor->run_folder, sizeof supervisor->run_folder, err) < 0 ||
        folder_make(supervisor->run_folder, err) < 0)
        goto fail;
    if (supervisor_adopts()) {
        if (supervisor_adopt(supervisor, err) < 0)
            goto fail;
        supervisor_config_write(supervisor);
        *out = supervisor;
        return 0;
    }
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor_lock(supervisor, &supervisor->children[i], err) < 0)
            goto fail;
    supervisor_config_write(supervisor); /* not before: what is refused here must not tell commands where the stores are */
    image_set_aside(supervisor);
    for (size_t i = 0; i < supervisor->count; i++)
        supervisor_run_write(supervisor, supervisor->children[i].role->name, "change", "");
    *out = supervisor;
    return 0;
fail:
    supervisor_free(supervisor);
    return -1;
}

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void listen_end(struct supervisor *supervisor)
{
    if (supervisor->sockets_count == 0)
        return;
    listen_close(supervisor->sockets, supervisor->sockets_count, true);
    supervisor->sockets_count = 0;
    supervisor_run_write(supervisor, "listen", "", "");
}

void supervisor_free(struct supervisor *supervisor)
{
    if (supervisor == NULL)
        return;
    listen_end(supervisor);
    tls_files_free(supervisor->tls);
    fd_close(&supervisor->signal_fd);
    fd_close(&supervisor->exe_fd);
    for (size_t i = 0; i < supervisor->count; i++) {
        fd_close(&supervisor->children[i].lock_fd);
        supervisor_ends_close(&supervisor->children[i].ends);
    }
    free(supervisor);
}

/* --- the listening sockets ---------------------------------------------------------------------- */

void supervisor_listen_write(const struct supervisor *supervisor)
{
    char   text[LISTEN_MAX * (LISTEN_URL_BYTES + 1) + 1] = "";
    size_t bytes = 0;

    for (size_t i = 0; i < supervisor->sockets_count; i++)
        bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "%s\n", supervisor->sockets[i].url);
    supervisor_run_write(supervisor, "listen", "", text);
}

/* Before anything is bound: who asked for TLS and gave no fitting key should not find half a server. */
int supervisor_tls(const struct config *config, const struct listen_address *addresses, size_t count, struct tls_files **out,
                   struct err *err)
{
    bool needed = false;

    *out = NULL;
    for (size_t i = 0; i < count; i++)
        needed |= addresses[i].tls;
    if (!needed)
        return 0;
    if (tls_files_new(config->tls_certificate, config->tls_key, out, err) < 0)
        return -1;
    if (tls_files_check(*out, err) == 0)
        return 0;
    tls_files_free(*out);
    *out = NULL;
    return -1;
}

/* --- children ----------------------------------------------------------------------------------- */

/* A byte and not the end of the file alone: a guard may hold a copy. */
void supervisor_ends_stop(struct child_ends *ends)
{
    if (ends->stop_fd >= 0)
        (void)!write(ends->stop_fd, "!", 1); /* one that has just ended does not read it */
    fd_close(&ends->stop_fd);
}

void supervisor_ends_close(struct child_ends *ends)
{
    fd_close(&ends->stop_fd);
    fd_close(&ends->heir_fd);
    fd_close(&ends->ready_fd);
}

/* What the supervisor has open is not the roles'. */
static void child_forget(struct supervisor *supervisor, const struct role *role, int keep_fd)
{
    fd_close(&supervisor->signal_fd);
    fd_close(&supervisor->exe_fd);
    fd_close(&supervisor->guard_fd);
    for (size_t i = 0; i < supervisor->count; i++) {
        struct child_ends *ends[] = { &supervisor->children[i].ends, &supervisor->children[i].heir.ends };

        fd_close(&supervisor->children[i].lock_fd);
        for (size_t k = 0; k < 2; k++) {
            if (ends[k]->heir_fd == keep_fd)
                ends[k]->heir_fd = -1;
            supervisor_ends_close(ends[k]);
        }
    }
    for (size_t i = 0; i < supervisor->leaving_count; i++)
        supervisor_ends_close(&supervisor->leaving[i].ends);
    supervisor_change_forget(supervisor);
    if (supervisor->tls != NULL)
        tls_files_disconnect(supervisor->tls);
    if (role != &capture_role)
        listen_close(supervisor->sockets, supervisor->sockets_count, false);
}

/* In the new process; never returns. */
static void child_main(struct supervisor *supervisor, const struct child *child, pid_t parent, struct role_env *env)
{
    struct err err = { .kind = ERR_NONE };
    sigset_t   none;
    int        rc;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILED); /* it died before we asked */
    (void)prctl(PR_SET_NAME, child->role->name);
    (void)signal(SIGINT, SIG_IGN); /* these reach the whole group (Ctrl-C, systemd); the supervisor decides */
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file at the limit of its size is a full disk, and no reason to end */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    child_forget(supervisor, child->role, env->old_fd);
    if (child->role == &capture_role)
        env->listeners = supervisor->listeners, env->listeners_count = supervisor->sockets_count;
    say_init(child->role->name, SAY_INFO);
    rc = child->role->run(env, &err);
    if (rc < 0)
        say(SAY_ERROR, "cannot go on: %s", err.text);
    (void)fflush(NULL);
    _exit(rc < 0 ? EXIT_FAILED : EXIT_DONE);
}

int supervisor_fork(struct supervisor *supervisor, const struct child *child, int old_fd, struct child_ends *ends_out,
                    pid_t *pid_out, struct err *err)
{
    struct role_env env = { .data_folder = supervisor->config->data, .run_folder = supervisor->run_folder,
                            .options = child->options, .stores = &supervisor->config->stores, .own_process = true, .old_fd = old_fd };
    pid_t           parent = getpid(), pid = -1;
    int             stop[2] = { -1, -1 }, ready[2] = { -1, -1 }, heir[2] = { -1, -1 };

    env.tls_fd = -1;
    if (supervisor->tls != NULL && child->role == &capture_role && tls_files_connect(supervisor->tls, &env.tls_fd, err) < 0)
        return -1;
    (void)fflush(NULL);
    if (pipe2(stop, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC | O_NONBLOCK) == 0 &&
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, heir) == 0)
        pid = fork();
    if (pid == 0) {
        fd_close(&stop[1]);
        fd_close(&ready[0]);
        fd_close(&heir[1]);
        env.stop_fd = stop[0];
        env.ready_fd = ready[1];
        env.heir_fd = heir[0];
        child_main(supervisor, child, parent, &env);
    }
    if (pid < 0)
        (void)err_errno(err, errno, "cannot start role %s", child->role->name);
    fd_close(&stop[0]);
    fd_close(&ready[1]);
    fd_close(&heir[0]);
    fd_close(&env.tls_fd);
    *ends_out = (struct child_ends){ stop[1], heir[1], ready[0] };
    *pid_out = pid;
    if (pid < 0)
        supervisor_ends_close(ends_out);
    return pid < 0 ? -1 : 0;
}

int supervisor_child_start(struct supervisor *supervisor, struct child *child, struct err *err)
{
    pid_t pid;

    supervisor_ends_close(&child->ends);
    if (supervisor_fork(supervisor, child, -1, &child->ends, &pid, err) < 0)
        return -1;
    child->pid = pid;
    child->started_us = clock_mono_us();
    supervisor_child_state(supervisor, child, CHILD_UP);
    return 0;
}

int64_t supervisor_back_off(int64_t *wait_us, int64_t ran_us)
{
    int64_t wait;

    if (ran_us >= SUPERVISOR_HEALTH_US)
        *wait_us = 0;
    wait = *wait_us;
    *wait_us = wait == 0 ? SUPERVISOR_WAIT_US_MIN : wait * 2 < SUPERVISOR_WAIT_US_MAX ? wait * 2 : SUPERVISOR_WAIT_US_MAX;
    return wait;
}

/* One who ends again and again, and by a signal mostly, has said little. Told the 5th time, the 10th, the 20th, ... */
static void child_ended_again(struct child *child, int status, int64_t ran_us)
{
    enum { SAME_TOLD = 5 };
    unsigned times;

    child->same = ran_us < SUPERVISOR_HEALTH_US && status == child->last_status ? child->same + 1 : ran_us < SUPERVISOR_HEALTH_US;
    child->last_status = status;
    for (times = SAME_TOLD; times < child->same; times *= 2)
        ;
    if (times == child->same)
        say(SAY_ERROR, "role %s has ended %u times in a row soon after its start, each time like this: %s. It will not mend by itself if what it reads "
            "is damaged: see what it said, penstock doctor, and docs/operations.md, \"When a store is spoilt\"%s", child->role->name, child->same, child->last,
            child->role == &capture_role ? "" : "; events are accepted meanwhile, and wait in the log");
}

static void child_ended(struct supervisor *supervisor, struct child *child, int status)
{
    int64_t now_us = clock_mono_us(), wait_us;

    if (WIFSIGNALED(status))
        (void)snprintf(child->last, sizeof child->last, "killed by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else if (supervisor->stopping && WEXITSTATUS(status) == 0)
        (void)snprintf(child->last, sizeof child->last, "stopped");
    else
        (void)snprintf(child->last, sizeof child->last, "ended with code %d", WEXITSTATUS(status));
    if (supervisor->stopping || supervisor_change_wants_stopped(supervisor, child) ||
        (child->heir.pid != 0 && status == 0)) { /* it gave its work to its heir, whose word is under way */
        if (status != 0)
            say(SAY_WARN, "role %s: %s while stopping", child->role->name, child->last);
        supervisor_child_state(supervisor, child, CHILD_STOPPED);
        return;
    }
    wait_us = supervisor_back_off(&child->wait_us, now_us - child->started_us);
    child->start_at_us = now_us + wait_us;
    child->restarts++;
    say(SAY_WARN, "role %s (process %d) %s; starting it again in %" PRId64 " ms", child->role->name, (int)child->pid,
        child->last, wait_us / 1000);
    child_ended_again(child, status, now_us - child->started_us);
    supervisor_child_state(supervisor, child, CHILD_WAITING);
}

/* An old process that has answered what was under way. False: it is none. */
static bool leaving_ended(struct supervisor *supervisor, pid_t pid, int status)
{
    for (size_t i = 0; i < supervisor->leaving_count; i++)
        if (supervisor->leaving[i].pid == pid) {
            if (status != 0 && !supervisor->stopping)
                say(SAY_WARN, "the capture that was replaced (process %d) did not end well", (int)pid);
            supervisor_ends_close(&supervisor->leaving[i].ends);
            supervisor->leaving[i] = supervisor->leaving[--supervisor->leaving_count];
            return true;
        }
    return false;
}

static void children_reap(struct supervisor *supervisor)
{
    pid_t pid;
    int   status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (leaving_ended(supervisor, pid, status) || supervisor_change_reap(supervisor, pid, status))
            continue;
        for (size_t i = 0; i < supervisor->count; i++)
            if (supervisor->children[i].pid == pid)
                child_ended(supervisor, &supervisor->children[i], status);
    }
}

/* --- the loop ----------------------------------------------------------------------------------- */

static void stop_begin(struct supervisor *supervisor, const char *why)
{
    if (supervisor->stopping) { /* asked again, and not just by an echo of the first: somebody is in a hurry */
        if (clock_mono_us() > supervisor->kill_at_us - SUPERVISOR_STOP_US_MAX + SUPERVISOR_HURRY_US)
            supervisor->kill_at_us = 0;
        return;
    }
    say(SAY_INFO, "%s: stopping; what was accepted is on disk", why);
    supervisor->stopping = true;
    supervisor->kill_at_us = clock_mono_us() + SUPERVISOR_STOP_US_MAX;
    supervisor_notify("STOPPING=1");
    supervisor_guard_dismiss(supervisor);
    supervisor_change_abandon(supervisor);
    for (size_t i = 0; i < supervisor->count; i++)
        supervisor_ends_stop(&supervisor->children[i].ends);
    for (size_t i = 0; i < supervisor->leaving_count; i++)
        supervisor_ends_stop(&supervisor->leaving[i].ends);
    listen_end(supervisor);
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].state == CHILD_WAITING)
            supervisor_child_state(supervisor, &supervisor->children[i], CHILD_STOPPED);
}

/* Starts what is due, kills what is overdue. Milliseconds until the next such moment, -1: none. */
static int children_due(struct supervisor *supervisor, size_t *up_out, struct err *err)
{
    int64_t now_us = clock_mono_us(), next_us = INT64_MAX;

    *up_out = 0;
    for (size_t i = 0; i < supervisor->count; i++) {
        struct child *child = &supervisor->children[i];

        if (child->heir.pid != 0)
            ; /* it takes over, whatever became of the one before */
        else if (child->state == CHILD_WAITING && child->start_at_us <= now_us && supervisor_child_start(supervisor, child, err) < 0) {
            child->start_at_us = now_us + SUPERVISOR_WAIT_US_MAX; /* no process to be had: say it, try later */
            say(SAY_ERROR, "%s", err->text);
        }
        if (child->state == CHILD_WAITING && child->start_at_us < next_us)
            next_us = child->start_at_us;
        if (child->state == CHILD_UP && supervisor->stopping && supervisor->kill_at_us <= now_us) {
            say(SAY_WARN, "role %s did not stop in time; killing it", child->role->name);
            (void)kill(child->pid, SIGKILL);
        }
        *up_out += child->state == CHILD_UP;
    }
    *up_out += supervisor->leaving_count;
    for (size_t i = 0; i < supervisor->leaving_count; i++) {
        struct leaving *leaving = &supervisor->leaving[i];

        if (leaving->kill_at_us <= now_us || (supervisor->stopping && supervisor->kill_at_us <= now_us)) {
            say(SAY_WARN, "the capture that was replaced (process %d) did not end in time; killing it", (int)leaving->pid);
            (void)kill(leaving->pid, SIGKILL);
            leaving->kill_at_us = INT64_MAX;
        }
        if (leaving->kill_at_us < next_us)
            next_us = leaving->kill_at_us;
    }
    supervisor_change_step(supervisor, &next_us);
    if (supervisor->tls != NULL && !supervisor->stopping) {
        int64_t look_us = tls_files_look(supervisor->tls, false);

        next_us = look_us < next_us ? look_us : next_us;
    }
    if (supervisor->stopping && supervisor->kill_at_us > now_us && supervisor->kill_at_us < next_us)
        next_us = supervisor->kill_at_us;
    return next_us == INT64_MAX ? -1 : next_us <= now_us ? 0 : (int)((next_us - now_us) / 1000 + 1);
}

static void signals_read(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;

    while (read(supervisor->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            supervisor->change.asked |= CHANGE_ASKED_RELOAD;
        else if (info.ssi_signo == SIGUSR2)
            supervisor->change.asked |= CHANGE_ASKED_UPGRADE;
        else if (info.ssi_signo != SIGCHLD)
            stop_begin(supervisor, strsignal((int)info.ssi_signo));
    }
    children_reap(supervisor);
}

static int signals_open(struct supervisor *supervisor, struct err *err)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* a role that is told to stop may just have ended */
    (void)signal(SIGXFSZ, SIG_IGN);
    supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return supervisor->signal_fd < 0 ? err_errno(err, errno, "signalfd") : 0;
}

int supervisor_run(struct supervisor *supervisor, struct err *err)
{
    if (signals_open(supervisor, err) < 0)
        return -1;
    users_load(); /* or a role without memory ends by a signal */
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].state == CHILD_STOPPED &&
            supervisor_child_start(supervisor, &supervisor->children[i], err) < 0)
            return -1; /* the children that did start end with us (V2) */
    supervisor_notify("READY=1");
    for (;;) {
        struct pollfd waiting[2] = { { .fd = supervisor->signal_fd, .events = POLLIN },
                                     { .fd = -1, .events = POLLIN } };
        size_t        up;
        int           timeout_ms = children_due(supervisor, &up, err);

        if (supervisor->stopping && up == 0)
            return 0;
        waiting[1].fd = supervisor_change_fd(supervisor);
        if (poll(waiting, 2, timeout_ms) < 0 && errno != EINTR)
            return err_errno(err, errno, "poll");
        signals_read(supervisor);
    }
}
