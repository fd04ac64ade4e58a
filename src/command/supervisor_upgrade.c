/* command/supervisor_upgrade.c - going on as another binary.
 *
 * The supervisor keeps its process id: it executes the new binary in its own place, with its locks, sockets and the roles'
 * processes, which are still its children and go on working meanwhile (a lock of fcntl(2) and the parent-death signal
 * survive an exec). Then the roles are replaced as in a reload. Before that a trial run of the new binary reads the
 * configuration and this very state, and says that it can; and the old binary's file stays open, so that a new one whose
 * roles do not start goes back the same way it came, whatever lies at the path by then.
 *
 * The state is text in a memfd whose number is in the environment: a word and its values a line. A binary that finds a word
 * which it does not know refuses, in its trial. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "command/supervisor_inner.h"

#define STATE_VARIABLE "PENSTOCK_HANDOVER"
#define TRIAL_VARIABLE "PENSTOCK_TRIAL"
enum { STATE_FORM = 1, ARGS_MAX = 80 };

extern char **environ;

bool supervisor_adopts(void)
{
    return getenv(STATE_VARIABLE) != NULL;
}

/* --- what the next one must know ---------------------------------------------------------------- */

/* Over an exec, or not. */
static void fd_keep(int fd, bool keep)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void ends_keep(const struct child_ends *ends, bool keep)
{
    fd_keep(ends->stop_fd, keep);
    fd_keep(ends->heir_fd, keep);
    fd_keep(ends->ready_fd, keep);
}

static void all_keep(const struct supervisor *supervisor, bool keep)
{
    for (size_t i = 0; i < supervisor->count; i++) {
        fd_keep(supervisor->children[i].lock_fd, keep);
        ends_keep(&supervisor->children[i].ends, keep);
    }
    for (size_t i = 0; i < supervisor->leaving_count; i++)
        ends_keep(&supervisor->leaving[i].ends, keep);
    for (size_t i = 0; i < supervisor->sockets_count; i++)
        fd_keep(supervisor->sockets[i].role.fd, keep);
    fd_keep(supervisor->exe_fd, keep);
}

void supervisor_state_write(const struct supervisor *supervisor, FILE *to)
{
    const struct change *change = &supervisor->change;

    fprintf(to, "penstock-handover %d\n", STATE_FORM);
    fprintf(to, "change %" PRIu32 " %" PRIu32 " %d %d\n", change->begun, change->ended, change->back, supervisor->exe_fd);
    fprintf(to, "why %s\n", change->why);
    for (size_t i = 0; i < supervisor->sockets_count; i++) {
        const struct listen_socket *at = &supervisor->sockets[i];

        fprintf(to, "socket %d %d %" PRIuMAX " %" PRIuMAX "\nname %s\nurl %s\npath %s\n", at->role.fd, at->role.local,
                (uintmax_t)at->device, (uintmax_t)at->inode, at->role.name, at->url, at->path);
    }
    for (size_t i = 0; i < supervisor->count; i++) {
        const struct child *at = &supervisor->children[i];

        fprintf(to, "child %s %d %d %d %d %d %d %" PRIu64 " %" PRId64 " %d\nlast %s\n", at->role->name, at->lock_fd,
                at->state == CHILD_UP ? (int)at->pid : 0, at->ends.stop_fd, at->ends.heir_fd, at->ends.ready_fd, (int)at->state,
                at->restarts, at->started_us, (change->todo & 1u << i) != 0, at->last);
    }
    for (size_t i = 0; i < supervisor->leaving_count; i++)
        fprintf(to, "leaving %d %d %d %d %" PRId64 "\n", (int)supervisor->leaving[i].pid, supervisor->leaving[i].ends.stop_fd,
                supervisor->leaving[i].ends.heir_fd, supervisor->leaving[i].ends.ready_fd, supervisor->leaving[i].kill_at_us);
    fprintf(to, "end\n");
}

/* The number of a memfd that is kept over an exec. */
static int state_make(const struct supervisor *supervisor, struct err *err)
{
    int   fd = memfd_create("penstock-handover", 0), copy = fd < 0 ? -1 : dup(fd);
    FILE *to = copy < 0 ? NULL : fdopen(copy, "w");

    if (to == NULL) {
        (void)err_errno(err, errno, "the state for another binary");
        if (copy >= 0)
            (void)close(copy);
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    supervisor_state_write(supervisor, to);
    if (fclose(to) != 0) {
        (void)close(fd);
        return err_errno(err, errno, "the state for another binary");
    }
    return fd;
}

/* The words that this server was started with: of the flags of serve. */
static void args_make(const struct supervisor *supervisor, const char *program, const char *words[ARGS_MAX])
{
    static const char *const flags[] = { "--data", "--config", "--role", "--listen" };
    size_t                   count = 0;

    words[count++] = program;
    words[count++] = "serve";
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        for (size_t n = 0; args_text_nth(supervisor->args, flags[i], n) != NULL && count < ARGS_MAX - 3; n++) {
            words[count++] = flags[i];
            words[count++] = args_text_nth(supervisor->args, flags[i], n);
        }
    words[count] = NULL;
}

void supervisor_exec(struct supervisor *supervisor, int fd, const char *path, struct err *err)
{
    const char *words[ARGS_MAX];
    char        number[24], by_fd[40];
    int         state = state_make(supervisor, err);

    if (state < 0)
        return;
    args_make(supervisor, args_program(supervisor->args), words);
    (void)snprintf(number, sizeof number, "%d", state);
    (void)setenv(STATE_VARIABLE, number, 1);
    all_keep(supervisor, true);
    (void)fflush(NULL);
    if (path != NULL) {
        (void)execv(path, (char *const *)(uintptr_t)words);
    } else {
        (void)snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
        (void)execv(by_fd, (char *const *)(uintptr_t)words);
    }
    (void)err_errno(err, errno, "cannot run %.200s", path != NULL ? path : "the binary of before");
    all_keep(supervisor, false);
    (void)unsetenv(STATE_VARIABLE);
    (void)close(state);
}

/* --- the trial ---------------------------------------------------------------------------------- */

/* Which binary: what `penstock upgrade` wrote down, or the path that this one was started from. */
static void binary_choose(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;
    char           path[4200];
    ssize_t        bytes;
    FILE          *file;

    change->binary[0] = '\0';
    (void)snprintf(path, sizeof path, "%.4000s/upgrade.ask", supervisor->run_folder);
    file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(change->binary, sizeof change->binary, file) == NULL)
            change->binary[0] = '\0';
        change->binary[strcspn(change->binary, "\n")] = '\0';
        (void)fclose(file);
        (void)unlink(path);
    }
    if (change->binary[0] != '\0')
        return;
    bytes = readlink("/proc/self/exe", change->binary, sizeof change->binary - 1);
    change->binary[bytes > 0 ? bytes : 0] = '\0';
    if (bytes > 10 && strcmp(change->binary + bytes - 10, " (deleted)") == 0) /* a new one lies in its place */
        change->binary[bytes - 10] = '\0';
}

static void trial_child(const struct supervisor *supervisor, int state_fd, int tell_fd)
{
    const char *words[ARGS_MAX];
    char        number[24];
    sigset_t    none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)dup2(tell_fd, STDOUT_FILENO);
    (void)dup2(tell_fd, STDERR_FILENO);
    (void)snprintf(number, sizeof number, "%d", state_fd);
    (void)setenv(STATE_VARIABLE, number, 1);
    (void)setenv(TRIAL_VARIABLE, "1", 1);
    args_make(supervisor, args_program(supervisor->args), words);
    (void)execv(supervisor->change.binary, (char *const *)(uintptr_t)words);
    printf("%s\n", strerror(errno));
    (void)fflush(stdout);
    _exit(EXIT_FAILED);
}

void supervisor_upgrade_begin(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;
    struct err     err = { .kind = ERR_NONE };
    int            tell[2], state;

    binary_choose(supervisor);
    change->todo = (1u << supervisor->count) - 1;
    state = state_make(supervisor, &err);
    if (state < 0 || pipe2(tell, O_CLOEXEC | O_NONBLOCK) < 0) {
        supervisor_change_fail_early(supervisor, err.text);
        return;
    }
    (void)fflush(NULL);
    change->trial_pid = fork();
    if (change->trial_pid == 0)
        trial_child(supervisor, state, tell[1]);
    (void)close(state);
    (void)close(tell[1]);
    change->trial_fd = tell[0];
    change->trial_open = true;
    change->trial_bytes = 0;
    change->give_up_us = clock_mono_us() + CHANGE_TRIAL_US;
    change->step = CHANGE_TRIAL;
    if (change->trial_pid < 0) {
        change->trial_pid = 0;
        supervisor_change_fail_early(supervisor, "no process to try the new binary in");
    }
}

static void trial_read(struct change *change)
{
    ssize_t got;

    while (change->trial_open) {
        size_t room = sizeof change->trial_said - 1 - change->trial_bytes;
        char   rest[256];

        got = read(change->trial_fd, room > 0 ? change->trial_said + change->trial_bytes : rest, room > 0 ? room : sizeof rest);
        if (got > 0 && room > 0)
            change->trial_bytes += (size_t)got;
        if (got <= 0) {
            change->trial_open = got < 0 && (errno == EAGAIN || errno == EINTR);
            break;
        }
    }
    change->trial_said[change->trial_bytes] = '\0';
}

static void trial_close(struct change *change)
{
    if (change->trial_fd >= 0)
        (void)close(change->trial_fd);
    change->trial_fd = -1;
    change->trial_open = false;
}

void supervisor_trial_step(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;

    trial_read(change);
    if (change->trial_pid == 0 || clock_mono_us() < change->give_up_us)
        return;
    (void)kill(change->trial_pid, SIGKILL);
    change->give_up_us = INT64_MAX;
}

void supervisor_trial_ended(struct supervisor *supervisor, int status)
{
    struct change *change = &supervisor->change;
    struct err     err = { .kind = ERR_NONE };
    char           why[600], first[200];

    trial_read(change);
    trial_close(change);
    change->trial_pid = 0;
    if (change->step != CHANGE_TRIAL)
        return;
    (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(change->trial_said, "\n"), change->trial_said);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && strstr(change->trial_said, "penstock-trial: fine") != NULL) {
        supervisor_guard_start(supervisor);
        supervisor_exec(supervisor, -1, change->binary, &err);
        supervisor_guard_dismiss(supervisor);
        supervisor_change_fail_early(supervisor, err.text);
        return;
    }
    if (change->give_up_us == INT64_MAX)
        (void)snprintf(why, sizeof why, "%.200s says nothing within %d s", change->binary, CHANGE_TRIAL_US / 1000000);
    else if (WIFSIGNALED(status))
        (void)snprintf(why, sizeof why, "%.200s was killed by signal %d (%s)", change->binary, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        (void)snprintf(why, sizeof why, "%.200s refuses: %s", change->binary,
                       first[0] != '\0' ? first : "it said nothing, and is perhaps no Penstock");
    supervisor_change_fail_early(supervisor, why);
}

/* --- the other side of the exec ----------------------------------------------------------------- */

struct adopting { struct supervisor *supervisor; struct listen_socket *socket; struct child *child; bool begun, ended; };

/* It tells the words of the entry too: by them, of two that are written alike, each finds its own again. */
static void adopt_url(struct listen_socket *socket, const char *url)
{
    const char *words = strchr(url, ' ');

    (void)snprintf(socket->url, sizeof socket->url, "%.319s", url);
    socket->role.tls = strncmp(url, "https://", 8) == 0;
    socket->role.proxy = words != NULL && strcmp(words, " proxy") == 0;
}

static struct child *child_of(struct supervisor *supervisor, const char *name)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (strcmp(supervisor->children[i].role->name, name) == 0)
            return &supervisor->children[i];
    return NULL;
}

static int adopt_child(struct adopting *adopting, const char *values, struct err *err)
{
    struct supervisor *supervisor = adopting->supervisor;
    struct child       read = { .role = NULL }, *child;
    char               name[40];
    int                pid, state, todo;

    if (sscanf(values, "%39s %d %d %d %d %d %d %" SCNu64 " %" SCNd64 " %d", name, &read.lock_fd, &pid, &read.ends.stop_fd,
               &read.ends.heir_fd, &read.ends.ready_fd, &state, &read.restarts, &read.started_us, &todo) != 10)
        return err_set(err, ERR_INPUT, "the state of the binary before: child %.100s", values);
    child = child_of(supervisor, name);
    if (child == NULL)
        return err_set(err, ERR_INPUT, "the binary before runs a role %s, which this one does not have", name);
    child->lock_fd = read.lock_fd;
    child->ends = read.ends;
    child->restarts = read.restarts;
    child->started_us = read.started_us;
    child->pid = (pid_t)pid;
    child->state = pid > 0 ? CHILD_UP : CHILD_WAITING; /* whoever is not up is due */
    supervisor->change.todo |= todo != 0 ? 1u << (child - supervisor->children) : 0;
    adopting->child = child;
    return 0;
}

static int adopt_line(struct adopting *adopting, const char *word, const char *values, struct err *err)
{
    struct supervisor *supervisor = adopting->supervisor;
    struct change     *change = &supervisor->change;
    uintmax_t          device, inode;
    int                form, a, b, pid;

    if (strcmp(word, "penstock-handover") == 0) {
        adopting->begun = sscanf(values, "%d", &form) == 1 && form == STATE_FORM;
        return adopting->begun ? 0 : err_set(err, ERR_INPUT, "the binary before hands over in form %.20s; this one knows %d", values, STATE_FORM);
    }
    if (strcmp(word, "change") == 0 && sscanf(values, "%" SCNu32 " %" SCNu32 " %d %d", &change->begun, &change->ended, &a, &b) == 4) {
        change->back = a != 0;
        change->trial_fd = b;
        return 0;
    }
    if (strcmp(word, "why") == 0) {
        (void)snprintf(change->why, sizeof change->why, "%.399s", values);
        return 0;
    }
    if (strcmp(word, "socket") == 0 && supervisor->sockets_count < LISTEN_MAX) {
        struct listen_socket *at = &supervisor->sockets[supervisor->sockets_count];

        if (sscanf(values, "%d %d %" SCNuMAX " %" SCNuMAX, &at->role.fd, &a, &device, &inode) != 4)
            return err_set(err, ERR_INPUT, "the state of the binary before: socket %.100s", values);
        at->role.local = a != 0;
        at->device = (dev_t)device;
        at->inode = (ino_t)inode;
        adopting->socket = at;
        supervisor->sockets_count++;
        return 0;
    }
    if (adopting->socket != NULL && strcmp(word, "name") == 0)
        (void)snprintf(adopting->socket->role.name, sizeof adopting->socket->role.name, "%.319s", values);
    else if (adopting->socket != NULL && strcmp(word, "url") == 0)
        adopt_url(adopting->socket, values);
    else if (adopting->socket != NULL && strcmp(word, "path") == 0)
        (void)snprintf(adopting->socket->path, sizeof adopting->socket->path, "%.107s", values);
    else if (strcmp(word, "child") == 0)
        return adopt_child(adopting, values, err);
    else if (adopting->child != NULL && strcmp(word, "last") == 0)
        (void)snprintf(adopting->child->last, sizeof adopting->child->last, "%.199s", values);
    else if (strcmp(word, "leaving") == 0 && supervisor->leaving_count < LEAVING_MAX) {
        struct leaving *at = &supervisor->leaving[supervisor->leaving_count++];

        if (sscanf(values, "%d %d %d %d %" SCNd64, &pid, &at->ends.stop_fd, &at->ends.heir_fd, &at->ends.ready_fd, &at->kill_at_us) != 5)
            return err_set(err, ERR_INPUT, "the state of the binary before: leaving %.100s", values);
        at->pid = (pid_t)pid;
    } else if (strcmp(word, "end") == 0) {
        adopting->ended = true;
    } else {
        return err_set(err, ERR_INPUT, "the binary before hands over \"%.60s\", which this one does not know", word);
    }
    return 0;
}

int supervisor_state_read(struct supervisor *supervisor, int fd, struct err *err)
{
    struct adopting adopting = { .supervisor = supervisor };
    char            line[1200], name[40];
    int             copy = dup(fd), rc = 0;
    FILE           *from = copy < 0 ? NULL : fdopen(copy, "r");

    if (from == NULL || fseek(from, 0, SEEK_SET) != 0) {
        (void)err_errno(err, errno, "the state of the binary before");
        if (from != NULL)
            (void)fclose(from);
        else if (copy >= 0)
            (void)close(copy);
        return -1;
    }
    while (rc == 0 && fgets(line, sizeof line, from) != NULL) {
        size_t word = strcspn(line, " \n");

        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(name, sizeof name, "%.*s", (int)(word < 39 ? word : 39), line);
        rc = adopt_line(&adopting, name, line[word] == ' ' ? line + word + 1 : "", err);
    }
    (void)fclose(from);
    if (rc == 0 && (!adopting.begun || !adopting.ended))
        rc = err_set(err, ERR_INPUT, "the state of the binary before is not whole");
    return rc;
}

/* A role that the binary before did not have. */
static int locks_missing(struct supervisor *supervisor, struct err *err)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].lock_fd < 0 && supervisor_lock(supervisor, &supervisor->children[i], err) < 0)
            return -1;
    return 0;
}

int supervisor_adopt(struct supervisor *supervisor, struct err *err)
{
    struct change *change = &supervisor->change;
    const char    *number = getenv(STATE_VARIABLE);
    int            fd = number != NULL ? (int)strtol(number, NULL, 10) : -1;
    bool           trial = getenv(TRIAL_VARIABLE) != NULL;

    change->trial_fd = -1;
    if (trial) { /* what it reads of is another process's: nothing is closed in order, least of all removed */
        bool fine = supervisor_state_read(supervisor, fd, err) == 0;

        printf(fine ? "penstock-trial: fine, %s\n" : "%s\n", fine ? PENSTOCK_VERSION : err->text);
        (void)fflush(stdout);
        _exit(fine ? EXIT_DONE : EXIT_FAILED);
    }
    if (supervisor_state_read(supervisor, fd, err) < 0 || locks_missing(supervisor, err) < 0)
        return -1;
    (void)close(fd);
    (void)unsetenv(STATE_VARIABLE);
    supervisor_guard_adopt(supervisor);
    all_keep(supervisor, false);
    fd_keep(change->trial_fd, false);
    for (size_t i = 0; i < supervisor->sockets_count; i++)
        supervisor->listeners[i] = supervisor->sockets[i].role;
    change->upgrade = true;
    change->step = CHANGE_NEXT;
    change->done = 0;
    return 0;
}
