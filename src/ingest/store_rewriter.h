/* ingest/store_rewriter.h - opens the store of persons, and says when it is written anew (people/rewrite.h), between two batches.
 *
 * When an erasure is done in the log too; for at most a hundredth of the time; and not while live events wait, unless they
 * have been waiting for half a day. Events are accepted meanwhile, and wait for as long as it takes: ten to twenty seconds a gigabyte.
 * @thread ingest */
#ifndef PENSTOCK_INGEST_STORE_REWRITER_H
#define PENSTOCK_INGEST_STORE_REWRITER_H

#include "ingest/ingest.h"
#include "people/people.h"

struct store_rewriter {
    int64_t wanted_us; /* since when it is known to be wanted; 0: it is not */
    int64_t next_us;   /* not before */
};

/* ingest.people_memory where it is not set, of a machine with so much memory. */
size_t store_memory_usual(uint64_t machine_bytes);

int store_open(const struct role_env *env, const struct ingest_options *options, struct people **out, struct err *err) must_check;
/* Between batches, now and then. behind: live events wait. Trouble with it is said, and it is tried again later: the old
 * store is there then. -1: *people is NULL, and the store does not open. */
int store_rewriter_step(struct store_rewriter *rewriter, const struct role_env *env, const struct ingest_options *options,
                        bool behind, struct people **people, struct err *err) must_check;

#endif
