/* command/supervisor.h - keeps the roles running, each in a process of its own.
 *
 *            start ---- fork ---> UP --- died ---> WAITING --- its time came ---> UP
 *                                 |                  |
 *                                 +---- stop --------+----> STOPPED
 *
 * It binds the listening sockets before it forks, so that a capture which dies leaves a queue of
 * connections behind and not a refusal; it reads nothing that strangers wrote.
 *  V1  one supervisor a role and data folder: DIR/run/ROLE.lock, held by fcntl(2), so a lock never
 *      outlives its process and names its owner
 *  V2  a role ends when its supervisor ends, however it ended (PR_SET_PDEATHSIG)
 *  V3  a role that died is started at once the first time, then after 0.2 s doubling to 10 s; a second
 *      of life forgives everything: back-off is for roles that cannot even start
 *  V5  a reload or an upgrade happens whole or not at all, and what came of it stands in DIR/run/ROLE.change
 *  V4  stop: the roles' stop_fd becomes readable; what has not returned after 30 s, or at a second signal, is
 *      killed */
#ifndef PENSTOCK_COMMAND_SUPERVISOR_H
#define PENSTOCK_COMMAND_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/role.h"
#include "command/config.h"
#include "command/listen.h"

enum {
    SUPERVISOR_WAIT_US_MIN = 200000,
    SUPERVISOR_WAIT_US_MAX = 10000000,
    SUPERVISOR_HEALTH_US = 1000000,
    SUPERVISOR_STOP_US_MAX = 30000000,
    SUPERVISOR_HURRY_US = 1000000 /* a second signal this long after the first one means: at once */
};

struct supervisor;

struct command_args;

/* Whether args choose this role: --roles LIST, --role NAME, both as often as one likes; none of them: all roles. */
bool supervisor_role_chosen(const struct command_args *args, const char *name);
/* False: one of them does not exist; it is in `wrong`. */
bool supervisor_roles_known(const struct command_args *args, char *wrong, size_t room);

/* Takes the locks of the roles that args choose. ERR_RETRY: somebody serves them; names the pid. After
 * an upgrade of this process it takes over instead: locks, sockets, roles. args are read again at each reload, and are
 * those of the next binary. config is borrowed until the first reload. */
int  supervisor_new(const struct config *config, const struct command_args *args, struct supervisor **out, struct err *err)
    must_check;
void supervisor_free(struct supervisor *supervisor);

/* Binds config->listen when capture is among the roles; the addresses are also written to DIR/run/listen. */
int supervisor_listen(struct supervisor *supervisor, struct err *err) must_check;

/* Starts the roles and stays until SIGTERM or SIGINT, or until a role could not be forked. SIGHUP: reads the configuration
 * again. SIGUSR2: goes on as another binary. */
int supervisor_run(struct supervisor *supervisor, struct err *err) must_check;

/* How long to wait before starting a role again that ran for `ran_us`. *wait_us is its memory: 0 at first. */
int64_t supervisor_back_off(int64_t *wait_us, int64_t ran_us);

/* Whether this process was made by an upgrade of another binary. */
bool supervisor_adopts(void);

/* --- for status and doctor: any process --------------------------------------------------------- */

struct supervisor_role_state {
    bool     up;
    pid_t    pid;         /* 0: not running */
    uint64_t restarts;
    int64_t  since_us;    /* wall clock of the last change */
    char     last[200];   /* why it ended the last time; "" */
};
/* False: never started here. */
bool supervisor_role_state(const char *data, const struct role *role, struct supervisor_role_state *out);
/* The pid of the process that serves this role of DIR now; 0: nobody. */
pid_t supervisor_owner(const char *data, const struct role *role);
/* The last reload or upgrade of who serves this role. Numbers count from its start; ended < begun: it is under way. */
struct supervisor_changed {
    uint32_t begun, ended;
    bool     ok;
    int64_t  at_us;
    char     kind[16];  /* "reload", "upgrade" */
    char     text[400]; /* what came of it */
};
/* False: there was none since it started. */
bool supervisor_changed(const char *data, const struct role *role, struct supervisor_changed *out);
/* The addresses of the running server, as they stand in DIR/run/listen: "http://127.0.0.1:8000", "unix:/PATH". */
size_t supervisor_urls(const char *data, char urls_out[LISTEN_MAX][LISTEN_URL_BYTES]);
/* The one of them that a program on this machine does best to use. False: none was written. */
bool supervisor_url(const char *data, char *url_out, size_t room);

#endif
