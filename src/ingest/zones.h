/* ingest/zones.h - the machine's time zones by name, each read once.
 *
 * Names come from strangers (`$timezone` of an event): only what is a name of a zone is looked up, what is not
 * there is remembered too, and all of it is bounded. @thread one */
#ifndef PENSTOCK_INGEST_ZONES_H
#define PENSTOCK_INGEST_ZONES_H

#include "wire/zone.h"

enum { ZONES_MAX = 1024, ZONES_NAME_BYTES_MAX = 63, ZONES_FILE_BYTES_MAX = 64 << 10 };

struct zones;

/* folder: of TZif files; NULL: /usr/share/zoneinfo. NULL: no memory. */
struct zones *zones_new(const char *folder);
void zones_free(struct zones *zones);

/* NULL: there is no such zone. Lives until the next call. */
const struct zone *zones_find(struct zones *zones, struct span name);

#endif
