/* people/seen_recent.h - the newest ids in memory: an array in the order of arrival, and a table into it.
 *
 * What is durable of it stands in LMDB (seen_table.h); this is made anew from there. It takes what it is given;
 * how much that may be is seen.c's matter. Memory: 30 bytes an id to the next power of two, and 8 a slot.
 *  R1  cut() undoes the last adds exactly: the table is as if they had never been
 * @thread the writer's; once nothing is added any more, any number may read */
#ifndef PENSTOCK_PEOPLE_SEEN_RECENT_H
#define PENSTOCK_PEOPLE_SEEN_RECENT_H

#include "people/seen_entry.h"

struct seen_recent {
    struct seen_entry *entries;
    size_t             count, entries_max;
    uint64_t          *slots; /* high half of the hash, and index + 1; 0: free */
    size_t             slot_count;
    uint64_t           seed;
};

void seen_recent_init(struct seen_recent *recent, uint64_t seed);
void seen_recent_fini(struct seen_recent *recent);
/* Empty, but with its memory: new pages cost more than clearing old ones. */
void seen_recent_clear(struct seen_recent *recent);
/* Of several of one id (forgotten, then noted anew) that of the latest day; NULL: none. Until the next change. */
const struct seen_entry *seen_recent_find(const struct seen_recent *recent, const struct seen_entry *key, uint64_t hash);
/* ERR_FULL: no memory, nothing was added. */
int  seen_recent_add(struct seen_recent *recent, const struct seen_entry *entry, uint64_t hash, struct err *err) must_check;
/* Back to the first `count`. */
void seen_recent_cut(struct seen_recent *recent, size_t count);

static inline void seen_recent_prefetch(const struct seen_recent *recent, uint64_t hash)
{
    if (recent->slot_count > 0)
        __builtin_prefetch(&recent->slots[hash & (recent->slot_count - 1)]);
}

#endif
