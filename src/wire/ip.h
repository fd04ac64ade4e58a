/* wire/ip.h - addresses of the internet in one form, and sets of them. Pure.
 *
 * An address is the 16 bytes of IPv6; an IPv4 one stands there mapped (::ffff:a.b.c.d), so that both spellings of it are
 * one address, wherever it came from. */
#ifndef PENSTOCK_WIRE_IP_H
#define PENSTOCK_WIRE_IP_H

#include <sys/socket.h>

#include "base/err.h"
#include "base/span.h"

enum { IP_TEXT_BYTES_MAX = 45 };

struct ip { uint8_t at[16]; };

/* `a.b.c.d` (decimal, no leading zeros) or IPv6; nothing around it, no zone. */
bool ip_read(struct span text, struct ip *out);
/* Its length. IPv4 in its own form, IPv6 by RFC 5952. */
size_t ip_write(const struct ip *ip, char out[IP_TEXT_BYTES_MAX + 1]);
/* False: a peer that has no address (a unix socket). */
bool ip_of_peer(const struct sockaddr_storage *peer, struct ip *out);
bool ip_is_four(const struct ip *ip);

struct ip_prefix { struct ip ip; unsigned bits; }; /* bits of the 128 */

/* "10.0.0.0/8, ::1 fc00::/7": addresses and prefixes between commas or blanks. ERR_INPUT: which word is none, or that
 * there are more than max. */
int  ip_prefixes_read(const char *list, struct ip_prefix *out, size_t max, size_t *count_out, struct err *err) must_check;
bool ip_prefixes_hold(const struct ip_prefix *prefixes, size_t count, const struct ip *ip);

#endif
