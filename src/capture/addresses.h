/* capture/addresses.h - what each address does here: open connections, new ones, requests, bytes; and the bounds.
 *
 * An IPv4 address counts by itself, an IPv6 one by its /64: that much one customer gets for nothing. Addresses of
 * the list `exempt` (loopback and private networks, unless set otherwise: there stand proxies, behind which
 * everybody has the same address) are not counted at all, nor are unix sockets.
 *  A1  the memory is fixed: ADDRESSES_SETS * ADDRESSES_WAYS places, whoever comes
 *  A2  an address with open connections keeps its place. Where no place is left, the newcomer is not counted: the
 *      bound of all connections holds for it too
 *  A3  a rate may be exceeded for ADDRESSES_BURST_US: so much debt is forgiven, more must be waited off
 * @thread any: a lock for coming and going, atomics for requests. */
#ifndef PENSTOCK_CAPTURE_ADDRESSES_H
#define PENSTOCK_CAPTURE_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum {
    ADDRESSES_SETS = 4096,
    ADDRESSES_WAYS = 8,
    ADDRESSES_EXEMPT_MAX = 64,
    ADDRESSES_BURST_US = 5000000 /* a page of an office loads, a server starts again */
};

/* Each 0: no such bound. */
struct addresses_limits {
    int64_t     connections_max;
    int64_t     connects_per_s, requests_per_s, bytes_per_s;
    const char *exempt; /* "127.0.0.0/8,::1": addresses and prefixes, between commas or spaces */
};

/* Whether a list can be read. */
int addresses_check_exempt(const char *list, struct err *err) must_check;

struct addresses;
struct address; /* a place in it; NULL: not counted */

enum address_verdict { ADDRESS_FINE, ADDRESS_CONNECTIONS, ADDRESS_CONNECTS, ADDRESS_REQUESTS, ADDRESS_BYTES };

/* ERR_INPUT: what of `exempt` is no address. *out is NULL, with 0, when no bound is set. */
int  addresses_open(const struct addresses_limits *limits, struct addresses **out, struct err *err) must_check;
void addresses_close(struct addresses *addresses);

/* A connection comes. FINE: it is counted, until address_leave(*out). addresses may be NULL. */
enum address_verdict addresses_enter(struct addresses *addresses, const struct sockaddr_storage *peer, int64_t now_us,
                                     struct address **out);
void addresses_leave(struct addresses *addresses, struct address *address);

/* A request of so many bytes comes; with 0 requests, more bytes of the last one. Not FINE: nothing was counted, and
 * *wait_us_out says when to come again. address is not NULL. */
enum address_verdict addresses_spend(struct addresses *addresses, struct address *address, unsigned requests,
                                     uint64_t bytes, int64_t now_us, int64_t *wait_us_out);
const struct addresses_limits *addresses_limits(const struct addresses *addresses);

#endif
