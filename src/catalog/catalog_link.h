/* catalog/catalog_link.h - one connection to PostgreSQL that waits with a bound, or not at all; for the catalog's own files.
 *
 *      DOWN --- link_look: its time came ---> CONNECTING ---> IDLE <---> ASKING (a version is on its way)
 *        ^                                        |             |           |
 *        +------------- lost, late ---------------+-------------+-----------+
 *
 * link_run and link_ready wait, at most LINK_WAIT_US for each answer. link_look waits once for what it asks, at most
 * LINK_PATIENCE_US: so what a server that answers says is at most LINK_LOOK_US old, and one that does not costs that much every
 * few seconds. A transaction ends with its
 * connection: nothing of it is done again on the next one. */
#ifndef PENSTOCK_CATALOG_CATALOG_LINK_H
#define PENSTOCK_CATALOG_CATALOG_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LINK_WAIT_US ((int64_t)5000000)
#define LINK_LOOK_US ((int64_t)1000000)
#define LINK_PATIENCE_US ((int64_t)500000)

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_IDLE, LINK_ASKING };

struct link {
    char           *url, *password; /* owned */
    PGconn         *conn;           /* NULL: DOWN */
    enum link_state state;
    short           events;         /* CONNECTING: what its socket has to be ready for */
    bool            prepared;       /* LINK_SETUP was sent on this connection */
    bool            in_transaction;
    int64_t         since_us;       /* CONNECTING, ASKING: when that began */
    int64_t         look_us;        /* when the version is next asked for, or the next connection tried */
    uint64_t        version;        /* as the last answer said; 0: none yet */
};

int  link_init(struct link *link, const char *url, const char *password, struct err *err) must_check;
void link_fini(struct link *link);
/* A connection that can be asked. ERR_RETRY: nobody answers; ERR_INPUT: it refuses us. Of a lost transaction: ERR_RETRY. */
int  link_ready(struct link *link, struct err *err) must_check;
/* One statement with values as text (format 1: as bytes), or with count -1 several without. *out may be NULL; else the caller
 * clears it. */
int  link_run(struct link *link, const char *sql, int count, const char *const *values, const int *lengths, const int *formats,
              PGresult **out, struct err *err) must_check;
/* Takes what has come and asks again when it is time. -1 once for each time the connection was lost or is not to be had. */
int  link_look(struct link *link, struct err *err) must_check;

#endif
