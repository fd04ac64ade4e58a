/* ingest/gather.h - takes records out of one of the topics that ingest reads.
 *
 * Takes what is there, never waits for more. A frame that does not fit whole is continued by the next
 * batch. Records are borrowed from the reader as long as it holds them (the last frame of the batch) and
 * copied otherwise.
 *  T1  [place, next) is covered without a hole: by records, and by gaps where the log lost something. (Where the log's
 *      offsets are sparse, without a hole but theirs)
 *  T3  where nothing is left before `until`, next is until: a hole before it is passed without a record
 * @thread one */
#ifndef PENSTOCK_INGEST_GATHER_H
#define PENSTOCK_INGEST_GATHER_H

#include "ingest/item.h"
#include "ingest/passes.h"
#include "log/log.h"

enum { GATHER_GAPS_MAX = 16 }; /* of one topic in one batch */

/* What a batch is made of; the arrays are filled from the front. */
struct gathered {
    struct raw_record *records;
    size_t             room, count, bytes;
    struct gap         gaps[GATHER_GAPS_MAX * INPUT_COUNT];
    size_t             gap_count;
};

struct gather {
    enum input         input;
    struct log_reader *reader; /* NULL: closed */
    struct log_chunk   chunk;  /* being read; open while chunk_open */
    bool               chunk_open;
    uint64_t           next;   /* first record not yet taken */
    uint64_t           until;  /* this and later ones stay; UINT64_MAX */
    bool               sparse; /* log_sparse */
    uint64_t           taken;  /* by the last gather_take: records, and those of gaps */
};

int  gather_open(struct gather *gather, struct log *log, enum input input, uint32_t partition, uint64_t from, struct err *err)
    must_check;
void gather_close(struct gather *gather);

/* Adds up to `records` (<= the room that is left) or about `bytes` to *to. 1: there was something, if only a hole (T3); 0: there
 * is nothing; -1: error. Once a batch: what it borrows lives until the next call. */
int gather_take(struct gather *gather, struct gathered *to, struct arena *arena, size_t records, size_t bytes, struct err *err)
    must_check;
/* Records that wait. */
uint64_t gather_lag(const struct gather *gather);
/* How long the first of them has waited already; 0: none does. 1, or -1 when it cannot be read. Once a batch has
 * taken records, not before the next one: it may read on. */
int gather_age_us(struct gather *gather, int64_t now_us, int64_t *out, struct err *err) must_check;

#endif
