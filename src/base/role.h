/* base/role.h - what the supervisor knows of a role: a name, its options, how to run it.
 *
 * A role is a process. `run` is called in it after the configuration was read, and returns when the stop
 * signal came (0) or when it cannot go on (-1: the supervisor says why and starts it again with
 * back-off). Roles never call each other. */
#ifndef PENSTOCK_BASE_ROLE_H
#define PENSTOCK_BASE_ROLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/stores.h"

/* A LIST is texts parted by commas; in a file it may be a sequence too. */
enum option_type { OPTION_TEXT, OPTION_COUNT, OPTION_BYTES, OPTION_DURATION, OPTION_BOOL, OPTION_LIST };

/* One line of a role's table of options: the config file's key `<role>.<name>`, its check, its help. */
struct option {
    const char      *name;
    enum option_type type;
    const char      *def;    /* as a person would write it: "20MiB", "10s", "true", "" */
    int64_t          min, max; /* of the number: count, bytes, microseconds */
    const char      *help;
    size_t           at;     /* offsetof the field: const char *, int64_t, int64_t, int64_t us, bool, const char * */
    int (*check)(const char *text, struct err *err); /* of a TEXT or a LIST, beyond its type; NULL: any will do */
};

enum { ROLE_LISTENER_NAME_BYTES = 320 };

/* A listening socket, bound by the supervisor before it forked. */
struct role_listener {
    int  fd;
    bool local; /* a unix socket: its peers have no address */
    bool proxy; /* its connections begin with a PROXY header (before any handshake) */
    bool tls;   /* then with a TLS handshake */
    char name[ROLE_LISTENER_NAME_BYTES]; /* as it was set: "127.0.0.1:8000", "unix:/run/capture.sock" */
};

struct role_env {
    const char *data_folder;  /* DIR: log/, people/, catalog.db, warehouse.duckdb, run/ */
    const char *run_folder;   /* DIR/run: metrics, sockets, pids */
    const struct role_listener *listeners; /* capture: the listening sockets; they stay the supervisor's */
    size_t      listeners_count;
    int         tls_fd;       /* capture, when a listener says tls: brings certificates (capture/tls.h) */
    int         stop_fd;      /* becomes readable when the role is to stop: drain, then return */
    const void *options;      /* the role's own struct, filled from its table */
    const struct stores *stores; /* the backends; NULL: the embedded ones. Its parts: stores_log() and so on */
    /* -1, each: nothing. The one that serves hears of its heir on heir_fd; an heir finds the one that serves on old_fd. Who
     * is ready to do its work writes a byte to ready_fd. */
    int         heir_fd, old_fd, ready_fd;
    uint32_t    unit;         /* which partition of the log's topics is this one's; 0 where there is one */
    bool        own_process;  /* nothing else runs in this process: the role may lock it in (base/cage.h) */
};

struct role {
    const char          *name;
    const char          *help;
    const struct option *options; /* ended by a NULL name */
    size_t               options_bytes;
    int (*run)(const struct role_env *env, struct err *err);
};

/* Whoever waits for that is told: the role can do its work now; it is about to take over from the one that does. */
enum { ROLE_READY = 'r', ROLE_TAKES = 't' };
void role_tell(const struct role_env *env, char what);

/* Fills `to` with the defaults. Aborts on a table that contradicts itself (a bug). */
void option_defaults(const struct option *options, void *to);
/* Sets one option from text. ERR_INPUT: what is wrong, the limits, an example. TEXT and LIST keep the pointer. */
int option_set(const struct option *option, void *to, const char *text, struct err *err) must_check;

#endif
