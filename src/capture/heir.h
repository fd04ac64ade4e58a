/* capture/heir.h - one capture takes over from another while both live: no request is refused, no acknowledgement lost.
 *
 *      the one that serves                         its heir
 *                                                   is started with the same listening sockets; reads tokens, opens what it can
 *        <----------- TAKE, a socket a topic ------
 *      its committers rest
 *        ------------ READY --------------------->  opens the topics, locks itself in, starts its committers
 *        <----------- OPEN -----------------------
 *      drains: takes no more connections, answers     takes connections
 *      what is under way, and forwards what it
 *      still has to write (log.h)
 *
 * When the heir goes away before OPEN, the one that serves goes on as if nothing had been. The supervisor waits for the
 * heir's word (role_env.ready_fd), and it alone decides that there is an heir. */
#ifndef PENSTOCK_CAPTURE_HEIR_H
#define PENSTOCK_CAPTURE_HEIR_H

#include "base/role.h"
#include "capture/loop.h"

enum {
    HEIR_WAIT_MS = 5000,
    HEIR_OPEN_MS = 30000 /* for OPEN; an heir that hangs is ended by the supervisor long before */
};

/* --- the heir's side --------------------------------------------------------------------------- */

struct heir_line { /* one topic's */
    int                fd;
    struct log_commit *commit;
    pthread_t          thread;
    bool               runs;
};

struct heir {
    int              talk_fd; /* to the one that serves; -1: nobody does */
    struct heir_line lines[CAPTURE_LANES];
};

/* 0: the topics can be opened (old_fd -1: at once; it stays the caller's). ERR_RETRY: the one that serves does not answer. Before the cage. */
int heir_take(struct heir *heir, int old_fd, struct err *err) must_check;
/* With the committers running: serves what the old one forwards, and lets it drain. */
int heir_open(struct heir *heir, const struct capture_shared *shared, struct err *err) must_check;
/* Waits until the old one is gone: before the committers stop. Also after a heir_take alone. */
void heir_end(struct heir *heir);

/* --- the side of the one that serves ----------------------------------------------------------- */

struct heir_watch {
    struct capture_shared *shared;
    int                    fd;
    pthread_t              thread;
};

/* fd -1: nobody will ever ask. */
int  heir_watch_start(struct heir_watch *watch, struct capture_shared *shared, int fd, struct err *err) must_check;
void heir_watch_end(struct heir_watch *watch);

#endif
