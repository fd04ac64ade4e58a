/* people/again.h - rows of persons, ids and groups that readers were shown, and whose commits the store has lost
 * (docs/decisions/people-went-back.md).
 *
 * A reader goes by the highest version. So for each thing of which a lost row told, a row with a higher version is given out that
 * says what the store has of it now: readers and store are the same again, and what the store makes of it later counts above. A person
 * or id that the store does not have is given out as deleted, and its tombstone keeps the version. A group that it does not have
 * is made anew, without properties: groups have no tombstones, and what made it comes again.
 * @thread the writer's */
#ifndef PENSTOCK_PEOPLE_AGAIN_H
#define PENSTOCK_PEOPLE_AGAIN_H

#include "people/batch.h"

/* row: of the tables persons, person_distinct_ids or groups, as it was shown, unpacked or not; of several of one thing that with the
 * highest version. Others are passed over. */
int people_row_again(struct people_txn *txn, const struct row *row, people_row_seen *seen, void *ctx, struct err *err) must_check;

#endif
