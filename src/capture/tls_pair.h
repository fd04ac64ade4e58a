/* capture/tls_pair.h - a certificate and its key, read from files and checked.
 *
 * The files are given as open descriptors, because the process that uses them may not open any: capture gets them
 * from the supervisor, at its start and whenever they change.
 *  P1  a pair that was read is usable: the key belongs to the certificate, and both are strong enough for TLS 1.2
 *  P2  a key file that everybody on the machine can read is refused */
#ifndef PENSTOCK_CAPTURE_TLS_PAIR_H
#define PENSTOCK_CAPTURE_TLS_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/err.h"

enum {
    TLS_PAIRS_MAX = 8,
    TLS_FILE_BYTES_MAX = 256 << 10, /* a chain has a few KiB */
    TLS_NAMES_BYTES = 200
};

struct tls_source {
    int         certificate_fd, key_fd; /* read from their beginnings; stay open */
    const char *certificate_name, *key_name;
};

struct tls_pair {
    X509           *leaf;
    STACK_OF(X509) *chain; /* NULL: none */
    EVP_PKEY       *key;
    int64_t         expires_us;
    char            names[TLS_NAMES_BYTES]; /* "a.example, *.b.example": for people */
};

/* ERR_INPUT: which file is wrong, and what to do. */
int  tls_pair_read(const struct tls_source *source, struct tls_pair *out, struct err *err) must_check;
void tls_pair_fini(struct tls_pair *pair);
/* A pair for another owner; the same objects, counted. */
struct tls_pair tls_pair_ref(const struct tls_pair *pair);
/* Whether the certificate is for this host. */
bool tls_pair_is_for(const struct tls_pair *pair, const char *host);

/* "what: why", where OpenSSL knows why. Empties its queue of errors. */
int tls_error(struct err *err, enum err_kind kind, const char *what);

#endif
