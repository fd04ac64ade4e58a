/* ingest/normalize.h - from the bytes that a client sent to an event that follows the rules.
 *
 * Looks at nothing but the event, its project's settings and the address database, and decides everything
 * about it that needs no memory of other events: fate by its own faults, properties of the row, what it
 * asks of its person and groups, warnings. The rules are told in docs/ingest.md.
 *  N1  the same record gives the same item, whatever stands beside it in a batch
 *  N2  a client's value is copied, never written anew; only lower-casing a session id changes one */
#ifndef PENSTOCK_INGEST_NORMALIZE_H
#define PENSTOCK_INGEST_NORMALIZE_H

#include "base/arena.h"
#include "ingest/geoip.h"
#include "ingest/item.h"
#include "ingest/property_key.h"
#include "ingest/zones.h"

struct normalize_env {
    struct arena                    *arena;
    const struct property_key_table *keys;
    const struct catalog_snapshot   *catalog;
    struct geoip                    *geoip; /* NULL: off */
    struct zones                    *zones; /* NULL: UTC alone */
    int64_t                          now_us;
};

/* item: raw_offset and body set, everything else zero. ERR_FULL only (arena); everything that is wrong with
 * the record itself becomes the item's fate. */
int normalize_item(const struct normalize_env *env, struct item *item, struct err *err) must_check;

#endif
