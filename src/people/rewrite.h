/* people/rewrite.h - the store written anew, so that no byte of who was erased is left in its file.
 *
 * LMDB does not write over what it frees: deleted entries stay in free pages, in the gaps of pages that are in use, and as
 * texts in the upper pages of its trees, which a copy of pages would copy. So the store is written anew entry by entry, in
 * order, into a file of its own, and that becomes the store:
 *   data.mdb          the first, with lock.mdb
 *   data.N.mdb        the N-th; the highest number counts, the others are leftovers. data.N.mdb-lock beside it
 *   data.N.mdb.new    being written
 * Each has a lock file of its own: whoever still reads an older one reads it to the end, and what it sees stands still.
 *  Z1  the store is open nowhere in this process while it is written anew, and nobody else writes to it
 *  Z2  killed or cut off at any instant, either the old store is there whole, or the new one
 * @thread the writer's */
#ifndef PENSTOCK_PEOPLE_REWRITE_H
#define PENSTOCK_PEOPLE_REWRITE_H

#include <stdbool.h>

#include "people/people.h"

/* Whether bytes of who was erased may be left: an erasure has come to its end since the store was written. */
int people_rewrite_wanted(struct people *people, bool *out, struct err *err) must_check;
/* What a copy takes of the disk at most. */
uint64_t people_rewrite_bytes(const struct people *people);
/* Takes as long as reading and writing all of it: ten to twenty seconds a gigabyte, and as much of the disk. The store must be closed.
 * On failure the old one is still there. */
int people_rewrite(const struct people_options *options, struct err *err) must_check;
/* Deletes what a rewriting left that was killed. For the writer, before it opens. */
int people_rewrite_clean(const char *folder, struct err *err) must_check;

#endif
