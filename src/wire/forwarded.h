/* wire/forwarded.h - the header Forwarded (RFC 7239): who a request was passed on for, hop by hop. Pure. */
#ifndef PENSTOCK_WIRE_FORWARDED_H
#define PENSTOCK_WIRE_FORWARDED_H

#include "base/span.h"

/* Takes the next element from *at. *node_out is the value of its `for`, without quotes and port and brackets; bytes 0: it
 * has none, or one that is no address in form (`unknown`, `_hidden`). 1: there was one; 0: the end; -1: this is no such
 * header, and what was taken from it is not to be believed. */
int forwarded_next(struct span *at, struct span *node_out);

/* The address in `a.b.c.d`, `a.b.c.d:port`, `h:h::h`, `[h:h::h]`, `[h:h::h]:port`; bytes 0: in none of these forms. What
 * it holds is not looked at. */
struct span forwarded_address(struct span node);

#endif
