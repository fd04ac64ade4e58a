/* capture/tls.h - the certificates that are in force, and their renewal while connections are open.
 *
 * The supervisor opens the files and sends the descriptors over a socket pair: at capture's start, when they changed,
 * and when it is asked to (SIGHUP). A message is the names of the files, each ended by a NUL (certificate, key,
 * certificate, key, ...), with one descriptor for each name.
 *
 *  T1  what is in force is replaced whole, by pairs that were read and checked, or not at all
 *  T2  a connection keeps what it began with: nobody's handshake or request ends because of a renewal
 *  T3  tickets (RFC 5077) are sealed with keys that live in memory alone and for 12 hours at most; they outlive a
 *      renewal, so that clients resume over it
 * Without a certificate in force (the first pairs were bad) new TLS connections are closed; everything else goes on.
 * @thread any, where nothing else is said */
#ifndef PENSTOCK_CAPTURE_TLS_H
#define PENSTOCK_CAPTURE_TLS_H

#include <stdatomic.h>

#include "capture/capture_metrics.h"
#include "capture/tls_pair.h"

enum { TLS_MESSAGE_BYTES_MAX = 64 << 10 };
#define TLS_TICKET_KEYS_US ((int64_t)12 * 3600 * 1000000)

struct tls;

/* A server of these pairs; the first one is for clients that name no host, or one that no certificate is for.
 * ticket_keys NULL: new ones. NULL: err. To be freed by SSL_CTX_free when nobody uses it any more. */
SSL_CTX *tls_context_new(const struct tls_pair *pairs, size_t count, struct span ticket_keys, struct err *err) must_check;

/* Waits for the first message on fd (borrowed). Bad pairs are no error: they are told, and the next ones are waited for. */
int  tls_open(int fd, struct capture_metrics *metrics, struct tls **out, struct err *err) must_check;
/* Follows the messages from here on, in a thread of its own. tls may be NULL: there is nothing to do. */
int  tls_start(struct tls *tls, struct err *err) must_check;
void tls_close(struct tls *tls);

/* What a loop holds of it. @thread its loop */
struct tls_held {
    SSL_CTX *context;
    unsigned generation;
};
/* The context in force, or NULL; held until the next call, or tls_drop. */
SSL_CTX *tls_current(struct tls *tls, struct tls_held *held);
void     tls_drop(struct tls_held *held);

/* --- tls_conn.c: for conn_hello.c and conn.c, @thread loop ----------------------------------------- */

struct conn;
enum tls_answer { TLS_DONE, TLS_MORE, TLS_FAILED };
/* -1: no certificate is in force, or no memory. */
int             tls_begin(struct conn *conn) must_check;
enum tls_answer tls_handshake(struct conn *conn);
/* Says goodbye when there is something to say it to; gives back its memory. The socket stays. */
void            tls_end(struct conn *conn);

#endif
