/* command/listen.h - the addresses that SDKs send to: reads them, binds them.
 *
 * The setting `listen` is one address or several. Each is a place and, after it, words about it:
 *
 *     127.0.0.1:8000   0.0.0.0:8000   :8000   [::1]:8000   name.of.this.host:8000
 *     0.0.0.0:8443 tls
 *     10.0.0.5:8001 proxy
 *     unix:/run/penstock/capture.sock mode=0660
 *
 *  I1  what is bound is bound before any role starts, so that a capture which dies leaves a queue and not a refusal
 *  I2  a unix socket's file appears with its final mode: nobody else can connect in between
 *  I3  a socket file is removed only when nobody answers behind it, or when it is ours
 * [::] takes IPv4 too, unless an IPv4 address with the same port is in the list. Abstract sockets (unix:@name) are
 * refused: they have no owner and no mode, so every program in the network's namespace could send. */
#ifndef PENSTOCK_COMMAND_LISTEN_H
#define PENSTOCK_COMMAND_LISTEN_H

#include <netdb.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/role.h"

enum {
    LISTEN_MAX = 16,
    LISTEN_URL_BYTES = 320,
    LISTEN_MODE_DEFAULT = 0660, /* a front server of the same group may send */
    LISTEN_PATH_BYTES_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1
};

/* One entry, read. */
struct listen_address {
    char   text[ROLE_LISTENER_NAME_BYTES]; /* the place alone, as it was written */
    bool   local;                          /* a unix socket */
    char   path[LISTEN_PATH_BYTES_MAX + 1];
    mode_t mode;
    bool   tls, proxy;
    char   host[256];                      /* "": every address of this machine */
    char   port[6];
};

/* One entry, bound. */
struct listen_socket {
    struct role_listener role; /* what capture gets; role.fd -1: closed */
    char                 url[LISTEN_URL_BYTES]; /* "http://127.0.0.1:8000", "https://...", "unix:/run/capture.sock"; behind it " proxy" */
    char                 path[LISTEN_PATH_BYTES_MAX + 1];
    dev_t                device;                /* of the socket's file */
    ino_t                inode;
};

/* The list, entries parted by commas. ERR_INPUT: which entry is wrong, and what one looks like. */
int listen_read(const char *list, struct listen_address out[LISTEN_MAX], size_t *count_out, struct err *err) must_check;
/* Whether it can be read: for the table of settings. */
int listen_check(const char *list, struct err *err) must_check;

/* Binds all of them, or none. An address that is in use is tried for a second: its last owner may be dying.
 * ERR_RETRY: in use, and by whom as far as that can be seen. */
int listen_open(const struct listen_address *addresses, size_t count, struct listen_socket *out, struct err *err)
    must_check;
/* Which socket that is bound already is whose: index_out[i] for wanted[i], -1: none. A socket is one entry's, although
 * several may be written alike (with port 0): of those, the one with the same words (tls, proxy) is taken first. */
void listen_match(const struct listen_socket *sockets, size_t count, const struct listen_address *wanted, size_t wanted_count,
                  int *index_out);
/* What is said about a socket that is bound already, anew: its words and its url. */
void listen_tell(struct listen_socket *socket, const struct listen_address *address);
/* Closes the sockets; remove: their files too, where they still are ours. */
void listen_close(struct listen_socket *sockets, size_t count, bool remove);

/* listen_owner.c: who listens there, as "process 4711 (nginx)"; "another program" when that cannot be seen. */
void listen_owner(const struct sockaddr *address, char *to, size_t room);

#endif
