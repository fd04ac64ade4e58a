/* capture/client_ip.h - the address an event came from. Pure. */
#ifndef PENSTOCK_CAPTURE_CLIENT_IP_H
#define PENSTOCK_CAPTURE_CLIENT_IP_H

#include <sys/socket.h>

#include "base/span.h"

enum { CLIENT_IP_BYTES_MAX = 45 };

/* The leftmost valid entry of X-Forwarded-For, else X-Real-IP, else the peer. The span points into one of
 * the arguments. Headers may be absent (bytes 0). */
struct span client_ip_choose(struct span forwarded_for, struct span real_ip, struct span peer);

/* A socket's peer as text (IPv4 also when it came as ::ffff:a.b.c.d); returns its length, 0 when the
 * socket has no such address. */
size_t client_ip_format(const struct sockaddr_storage *peer, char out[CLIENT_IP_BYTES_MAX + 1]);

#endif
