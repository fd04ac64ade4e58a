/* ingest/root_domain.h - the domain that somebody registered, of a host: "shop.example.co.uk:8080" gives
 * "example.co.uk:8080".
 *
 * Asks libpsl's copy of the Public Suffix List, its part of registries alone: who has a page at a provider of
 * pages is a visitor of the provider. Not for cookies: those ask for more. @thread any */
#ifndef PENSTOCK_INGEST_ROOT_DOMAIN_H
#define PENSTOCK_INGEST_ROOT_DOMAIN_H

#include "base/arena.h"

/* host: as in `$host`, also a URL. Lower case; addresses and what is no domain as they are, without what stands
 * around them; "localhost" as 127.0.0.1; the port stays unless it is the scheme's own. at NULL: no room. */
struct span root_domain(struct span host, struct arena *arena);

#endif
