/* capture/client_ip.h - the address an event came from, behind proxies and without. Pure.
 *
 *   trusted_proxies is set    the peer is one of them (or a unix socket): the hops that the header tells of are gone
 *                             through from the last one, and the first that is none of them is the client. Who cannot be
 *                             read ends the walk: then the last hop that could be counts. The peer is none of them: he is
 *                             the client, whatever he says
 *   it is not set             trust_forwarded: the first address of X-Forwarded-For, else X-Real-IP, else the peer, as
 *                             upstream does it; anybody can say anything. Not trust_forwarded: the peer
 *   an address with `proxy`   the peer is whom the PROXY header names; what is not in trusted_proxies is not believed
 *
 *  C1  only the one header is read that the proxies are said to write: any other one came from the client
 *  C2  several lines of it are one list, in their order: some proxies add to the line, others add a line */
#ifndef PENSTOCK_CAPTURE_CLIENT_IP_H
#define PENSTOCK_CAPTURE_CLIENT_IP_H

#include "wire/http1.h"
#include "wire/ip.h"

enum {
    CLIENT_IP_BYTES_MAX = IP_TEXT_BYTES_MAX,
    CLIENT_IP_PREFIXES_MAX = 64,
    CLIENT_IP_HOPS_MAX = 64 /* more than any chain of proxies has: nobody is believed then */
};

enum client_ip_header { CLIENT_IP_FORWARDED_FOR, CLIENT_IP_FORWARDED, CLIENT_IP_REAL_IP };

enum client_ip_trust {
    CLIENT_IP_PEER, /* his address counts */
    CLIENT_IP_ANY,  /* what he says counts */
    CLIENT_IP_WALK  /* he is a proxy */
};

/* Fixed after start. */
struct client_ip_rules {
    bool                  any;           /* trust_forwarded */
    bool                  set;           /* trusted_proxies is */
    enum client_ip_header header;
    struct ip_prefix      proxies[CLIENT_IP_PREFIXES_MAX]; /* not set: loopback and private networks, for PROXY headers alone */
    size_t                proxies_count;
};

/* From the settings; ERR_INPUT: what of them cannot be read. */
int client_ip_rules_read(const char *proxies, const char *header, bool any, struct client_ip_rules *out, struct err *err)
    must_check;
/* For the table of settings. */
int client_ip_check_proxies(const char *list, struct err *err) must_check;
int client_ip_check_header(const char *name, struct err *err) must_check;

/* peer NULL: he has no address (a unix socket). proxied: he was named by a PROXY header. */
enum client_ip_trust client_ip_trust(const struct client_ip_rules *rules, const struct ip *peer, bool proxied);
/* Whether this peer may send PROXY headers. */
bool client_ip_may_proxy(const struct client_ip_rules *rules, const struct ip *peer);

/* WALK: false: the peer's address counts. */
bool client_ip_walk(const struct client_ip_rules *rules, const struct http_request *request, struct ip *out);
/* ANY: the leftmost valid entry of X-Forwarded-For, else X-Real-IP, else the peer. The span points into one of the
 * arguments. Headers may be absent (bytes 0). */
struct span client_ip_choose(struct span forwarded_for, struct span real_ip, struct span peer);

#endif
