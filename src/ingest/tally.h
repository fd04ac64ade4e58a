/* ingest/tally.h - counts of events by project and hour of acceptance, and the events that left no row.
 *
 * A batch counts into it and adds it to the store in its own transaction (people_fates_add). An event is counted
 * twice, at two places: as read when it was read (TALLY_READ), and by its fate when that is decided; that both
 * come to the same is what `penstock status --by` shows.
 * Memory: an arena; a batch has few keys, usually one. @thread one */
#ifndef PENSTOCK_INGEST_TALLY_H
#define PENSTOCK_INGEST_TALLY_H

#include "base/arena.h"
#include "catalog/catalog.h"
#include "event/record.h"
#include "ingest/fate.h"

enum { TALLY_READ = PEOPLE_COUNTERS_MAX - 1 }; /* stored beside the fates, at the other end of their numbers */
_Static_assert((int)FATE_COUNT <= (int)TALLY_READ, "a fate has the number of what was read");


struct tally {
    struct arena        *arena;
    struct people_fates *rows;  /* count of them, in order of first sight */
    size_t               count, room;
    uint32_t            *index; /* by hash: number of a row + 1 */
    size_t               index_size;
    size_t               last;  /* the row asked for last */
    struct people_ended *ended;
    size_t               ended_count, ended_room;
};

/* Empty; keeps no memory of an earlier batch (its arena is gone). */
void tally_init(struct tally *tally, struct arena *arena);
/* The number of this key's row; rows move when a new key comes, numbers do not. ERR_FULL: the arena. */
int tally_find(struct tally *tally, uint32_t project, int64_t received_us, size_t *out, struct err *err) must_check;
int tally_find_hour(struct tally *tally, uint32_t project, uint32_t hour, size_t *out, struct err *err) must_check;
static inline void tally_count(struct tally *tally, size_t row, int what, uint64_t events)
{
    tally->rows[row].counts[what] += events;
}
/* Notes an event that leaves neither row nor dead letter. */
int tally_end(struct tally *tally, const struct people_ended *ended, struct err *err) must_check;

/* The project that a record's event is counted under: the record's own, or that of its token; 0: not known. */
uint32_t tally_project(const struct record *record, const struct catalog_snapshot *catalog);

#endif
