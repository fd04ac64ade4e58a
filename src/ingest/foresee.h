/* ingest/foresee.h - whose persons a batch will ask for, as far as that can be seen before its events are taken apart.
 *
 * For a store to which each question is a way over the network: it gets all of them at once. What is not foreseen is asked for
 * when it is needed; what is foreseen wrongly costs a look-up. */
#ifndef PENSTOCK_INGEST_FORESEE_H
#define PENSTOCK_INGEST_FORESEE_H

#include "ingest/passes.h"

/* Nothing for a store that does not want it. */
int foresee(struct people_txn *txn, const struct catalog_snapshot *catalog, const struct raw_record *records, size_t count,
            struct arena *arena, struct err *err) must_check;

#endif
