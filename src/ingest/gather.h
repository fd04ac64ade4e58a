/* ingest/gather.h - takes the next batch of records out of the raw topic.
 *
 * Takes what is there, never waits for more. A frame that does not fit whole is continued by the next
 * batch. Records are borrowed from the reader as long as it holds them (the last frame of the batch) and
 * copied otherwise.
 *  T1  [place, next) is covered without a hole: by records, and by gaps where the log lost something
 * @thread one */
#ifndef PENSTOCK_INGEST_GATHER_H
#define PENSTOCK_INGEST_GATHER_H

#include "ingest/item.h"
#include "ingest/passes.h"
#include "log/log.h"

enum { GATHER_GAPS_MAX = 16 };

struct gather {
    struct log_reader *reader;
    struct log_chunk   chunk; /* being read; open while chunk_open */
    bool               chunk_open;
    struct raw_record *records; /* of the batch */
    size_t             room, count;
    struct gap         gaps[GATHER_GAPS_MAX];
    size_t             gap_count;
    uint64_t           next;   /* first record after the batch */
    int64_t            now_us; /* the batch's clock */
};

int  gather_init(struct gather *gather, size_t records_max) must_check; /* -1: no memory */
void gather_fini(struct gather *gather);
int  gather_open(struct gather *gather, struct log *log, uint64_t from, struct err *err) must_check;
void gather_close(struct gather *gather);

/* 1: a batch of up to `records` (<= records_max) or about `bytes`; 0: there is nothing; -1: error. */
int gather_batch(struct gather *gather, struct arena *arena, size_t records, size_t bytes, struct err *err) must_check;
/* Records that wait behind the batch. */
uint64_t gather_lag(const struct gather *gather);

#endif
