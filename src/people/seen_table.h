/* people/seen_table.h - what of the seen ids stands in LMDB: the state, the recent ids, which runs there are.
 *
 * The recent ids stand in chunks under rising numbers, each transaction's at the right edge of the tree; once a run
 * holds them the floor is above them, and they are deleted a few at a time. Runs are files; a file counts only when it
 * is listed here, in the transaction that also moves the floor, or takes out what was merged into it. */
#ifndef PENSTOCK_PEOPLE_SEEN_TABLE_H
#define PENSTOCK_PEOPLE_SEEN_TABLE_H

#include "people/lmdb.h"
#include "people/seen_run.h"

enum { SEEN_CHUNK_ENTRIES = 135 }; /* fills one page */

struct seen_state {
    uint64_t seed;       /* of the hash; given once */
    uint64_t next;       /* sequence of the next chunk */
    uint64_t floor;      /* chunks below are in runs, or over */
    uint64_t run_next;   /* number of the next run, at least */
    uint64_t generation; /* counts changes of the list of runs */
};

/* 1, 0 none yet, -1. */
int seen_state_get(struct people_txn *txn, struct seen_state *out, struct err *err) must_check;
int seen_state_put(struct people_txn *txn, const struct seen_state *state, struct err *err) must_check;

/* At most SEEN_CHUNK_ENTRIES; sequence is above all that are there. */
int seen_chunk_put(struct people_txn *txn, uint64_t sequence, const struct seen_entry *entries, size_t count, struct err *err)
    must_check;
/* Calls back for each chunk from `floor` on, oldest first; a negative answer stops and is returned. A damaged chunk
 * is left out, and said aloud: what it held may be let through once more. */
typedef int seen_chunk_read(void *ctx, const struct seen_entry *entries, size_t count, struct err *err);
int seen_chunks_each(struct people_txn *txn, uint64_t floor, seen_chunk_read *read, void *ctx, struct err *err) must_check;
/* Deletes up to `most` below the floor; 1: there may be more, 0: no, -1. */
int seen_chunks_delete(struct people_txn *txn, uint64_t floor, size_t most, struct err *err) must_check;

int seen_runs_put(struct people_txn *txn, const struct seen_run *run, struct err *err) must_check;
int seen_runs_delete(struct people_txn *txn, uint64_t number, struct err *err) must_check;
/* All that are listed, oldest ids first, not opened: number, last, level, shape, seed are filled. The array and
 * each run are the caller's (free). A row that is damaged is left out, and said aloud. */
int seen_runs_read(struct people_txn *txn, const struct seen_state *state, struct seen_run ***out, size_t *count_out,
                   struct err *err) must_check;

/* --- ids of a store of before there were runs (seen_old.c) ---------------------------------------- */

bool seen_old_left(struct people_txn *txn);
/* 1 found, 0 not, -1. *place_out: PEOPLE_SEEN_PLACE_UNKNOWN when it was not kept. */
int seen_old_find(struct people_txn *txn, const struct seen_entry *key, uint16_t *day_out, uint64_t *place_out,
                  struct err *err) must_check;
/* Looks at the next `steps` ids and deletes those that are over. */
int seen_old_sweep(struct people_txn *txn, size_t steps, uint16_t today, struct err *err) must_check;

#endif
