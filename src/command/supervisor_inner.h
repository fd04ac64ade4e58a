/* command/supervisor_inner.h - what is inside a supervisor; for its own files only (supervisor.h has the functions).
 *
 *   supervisor.c  locks, children, the loop               supervisor_change.c  replacing roles: reload
 *   supervisor_sockets.c  what is listened on
 *   supervisor_upgrade.c  going on as another binary      supervisor_told.c  what others read in DIR/run; systemd */
#ifndef PENSTOCK_COMMAND_SUPERVISOR_INNER_H
#define PENSTOCK_COMMAND_SUPERVISOR_INNER_H

#include <stdio.h>

#include "command/command.h"
#include "command/supervisor.h"
#include "command/tls_files.h"

enum {
    LEAVING_MAX = 8,
    CHANGE_READY_US = 10000000,        /* a capture that takes over */
    CHANGE_TAKES_US = 3000000,         /* from when it asks for the log: requests wait, and after capture.commit_wait fail */
    CHANGE_READY_STORES_US = 60000000, /* ingest, load: their stores may have something to recover */
    CHANGE_TRIAL_US = 10000000,
    CHANGE_DROP_US = 1000000           /* an address that is no longer listened on is closed so much later */
};

/* STOPPED is "not started, or ended after stop"; only supervisor_child_state writes it. */
enum child_state { CHILD_STOPPED, CHILD_UP, CHILD_WAITING };

/* The supervisor's ends of what connects it with a role's process. -1: closed. */
struct child_ends { int stop_fd, heir_fd, ready_fd; };

struct child {
    const struct role *role;
    const void        *options;
    int                lock_fd;
    enum child_state   state;
    pid_t              pid;
    struct child_ends  ends;
    int64_t            started_us; /* monotonic */
    int64_t            start_at_us;
    int64_t            wait_us;    /* memory of supervisor_back_off */
    uint64_t           restarts;
    unsigned           same;       /* ends in a row in the same way, each soon after the start */
    int                last_status;
    char               last[200];
    struct { pid_t pid; struct child_ends ends; } heir; /* pid 0: none */
};

/* A process that was replaced and answers what is under way. */
struct leaving { pid_t pid; struct child_ends ends; int64_t kill_at_us; };

/* A reload or an upgrade.
 *
 *      NONE ---> TRIAL ---> (exec) ---> NEXT <-----------------+
 *       |    upgrade                     |  |                  |
 *       +--------------- reload ---------+  +-> STOPPING ---> READY
 *                                        |  +-> HEIR ----------+
 *                                        +-> NONE, when nothing is left to do
 *
 * Whatever fails turns the direction: what was replaced is replaced again by what was there before. */
enum change_step { CHANGE_NONE, CHANGE_TRIAL, CHANGE_NEXT, CHANGE_STOPPING, CHANGE_READY, CHANGE_HEIR };
enum { CHANGE_ASKED_RELOAD = 1, CHANGE_ASKED_UPGRADE = 2 };

struct change {
    enum change_step step;
    unsigned         asked;
    uint32_t         begun, ended;
    bool             upgrade;      /* or a reload */
    bool             back;         /* it failed: the way back */
    unsigned         todo, done;   /* bits: children by index */
    struct child    *child;        /* being replaced */
    int64_t          give_up_us;
    char             why[400];     /* of the failure */
    struct config   *config_new, *config_old; /* owned while a reload is under way; the old one may be serve's first */
    struct listen_socket sockets_old[LISTEN_MAX];
    size_t           sockets_old_count;
    bool             sockets_changed;
    struct tls_files *tls_old; /* of before, connected with the capture of before */
    /* upgrade */
    pid_t            trial_pid;
    int              trial_fd;
    bool             trial_open;
    char             trial_said[600];
    size_t           trial_bytes;
    char             binary[4096];
};

struct supervisor {
    const struct config       *config; /* in force */
    const struct config       *config_first; /* as the process was started */
    struct config             *config_own; /* the same, when a reload made it */
    const struct command_args *args;
    char                 run_folder[4096];
    struct child         children[ROLES_MAX];
    size_t               count;
    struct listen_socket sockets[LISTEN_MAX];
    struct role_listener listeners[LISTEN_MAX]; /* of the sockets: what capture gets */
    size_t               sockets_count;
    struct tls_files    *tls; /* NULL: no address says tls */
    struct leaving       leaving[LEAVING_MAX];
    size_t               leaving_count;
    struct listen_socket dropped[LISTEN_MAX]; /* no longer listened on, soon closed */
    size_t               dropped_count;
    int64_t              drop_at_us;
    int                  signal_fd, exe_fd; /* exe_fd: this binary, whatever lies at its path by now */
    int                  guard_fd; /* of supervisor_guard.c; -1: nobody guards */
    bool                 stopping;
    int64_t              kill_at_us;
    struct change        change;
};

/* supervisor.c */
void supervisor_child_state(struct supervisor *supervisor, struct child *child, enum child_state next);
int  supervisor_child_start(struct supervisor *supervisor, struct child *child, struct err *err) must_check;
/* A process of this role, beside the one that may run. old_fd: the other end of the one that serves; -1: none. */
int  supervisor_fork(struct supervisor *supervisor, const struct child *child, int old_fd, struct child_ends *ends_out,
                     pid_t *pid_out, struct err *err) must_check;
void supervisor_ends_close(struct child_ends *ends);
/* The role is to drain and return. */
void supervisor_ends_stop(struct child_ends *ends);
int  supervisor_lock(struct supervisor *supervisor, struct child *child, struct err *err) must_check;
/* *out NULL: no address says tls. */
int  supervisor_tls(const struct config *config, const struct listen_address *addresses, size_t count, struct tls_files **out,
                    struct err *err) must_check;
void supervisor_listen_write(const struct supervisor *supervisor);
/* DIR/run/config: the file of --config; DIR/run/stores.yaml: the backends in force. */
void supervisor_config_write(const struct supervisor *supervisor);
void supervisor_run_write(const struct supervisor *supervisor, const char *role, const char *kind, const char *text);

/* supervisor_sockets.c: for a reload. renew: what the new list says; then kept (the reload is done: what is not in the list
 * any more is closed soon) or back. step: closes it. */
int  supervisor_sockets_renew(struct supervisor *supervisor, const struct config *config, struct err *err) must_check;
void supervisor_sockets_kept(struct supervisor *supervisor);
void supervisor_sockets_back(struct supervisor *supervisor);
void supervisor_sockets_step(struct supervisor *supervisor, int64_t now_us, int64_t *next_us);

/* supervisor_change.c */
/* One look at what is under way; *next_us is lowered to when it has to be looked at again. */
void supervisor_change_step(struct supervisor *supervisor, int64_t *next_us);
/* To be polled; -1: nothing. */
int  supervisor_change_fd(const struct supervisor *supervisor);
/* True: that process is of a change. */
bool supervisor_change_reap(struct supervisor *supervisor, pid_t pid, int status);
/* Whether the role that ended was told to. */
bool supervisor_change_wants_stopped(const struct supervisor *supervisor, const struct child *child);
/* The supervisor stops: no more of it. */
void supervisor_change_abandon(struct supervisor *supervisor);
/* In a role's process. */
void supervisor_change_forget(struct supervisor *supervisor);
void supervisor_change_fail(struct supervisor *supervisor, const char *why);
/* The same before anything was touched. */
void supervisor_change_fail_early(struct supervisor *supervisor, const char *why);
void supervisor_change_told(const struct supervisor *supervisor, bool ok, const char *text);

/* supervisor_upgrade.c */
void supervisor_upgrade_begin(struct supervisor *supervisor);
void supervisor_trial_step(struct supervisor *supervisor);
void supervisor_trial_ended(struct supervisor *supervisor, int status);
/* Goes on as the binary of this descriptor, or path (fd -1). Returns only when that failed. */
void supervisor_exec(struct supervisor *supervisor, int fd, const char *path, struct err *err);
int  supervisor_adopt(struct supervisor *supervisor, struct err *err) must_check;
/* What the next binary must know, as text; and back. read: of the whole file, whatever its place. */
void supervisor_state_write(const struct supervisor *supervisor, FILE *to);
int  supervisor_state_read(struct supervisor *supervisor, int fd, struct err *err) must_check;

/* supervisor_guard.c. start: before the exec of a new binary. adopt: behind it, or nobody guards. dismiss: that binary does
 * its work, or goes in order. */
void supervisor_guard_start(struct supervisor *supervisor);
void supervisor_guard_adopt(struct supervisor *supervisor);
void supervisor_guard_dismiss(struct supervisor *supervisor);

/* supervisor_told.c: a line for systemd, when it asked for such. */
void supervisor_notify(const char *text);

#endif
