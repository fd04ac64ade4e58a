/* wire/proxy.h - the PROXY protocol, versions 1 and 2: what a proxy of connections says before their first byte about
 * whose they are (haproxy.org, proxy-protocol.txt). Pure; three answers.
 *
 *  Y1  the answer depends on the bytes alone, not on how many came at once
 *  Y2  DONE consumes exactly `bytes`; what follows is the client's
 *  Y3  MORE is never given past PROXY_BYTES_MAX (PROXY_LINE_BYTES_MAX for version 1)
 * Of version 2's extensions the checksum is checked where it is present, and all others are passed over. */
#ifndef PENSTOCK_WIRE_PROXY_H
#define PENSTOCK_WIRE_PROXY_H

#include "wire/ip.h"

enum {
    PROXY_LINE_BYTES_MAX = 107, /* of version 1, with CRLF: the longest two IPv6 addresses make */
    PROXY_BYTES_MAX = 4096      /* of version 2: docs/limits.md */
};

enum proxy_answer { PROXY_DONE, PROXY_MORE, PROXY_WRONG };

enum proxy_kind {
    PROXY_OWN,  /* LOCAL, UNKNOWN, UNSPEC: the proxy's own connection, or it does not know; the peer counts */
    PROXY_INET, /* source and destination hold */
    PROXY_UNIX  /* the client has no address */
};

struct proxy_header {
    size_t          bytes;
    int             version;
    enum proxy_kind kind;
    struct ip       source, destination;
    uint16_t        source_port, destination_port;
};

/* problem_out: a few words, on WRONG. */
enum proxy_answer proxy_parse(struct span input, struct proxy_header *out, const char **problem_out);

#endif
