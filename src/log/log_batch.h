/* log/log_batch.h - what is inside a batch; for the log's own files only (log.h has the functions). */
#ifndef PENSTOCK_LOG_LOG_BATCH_H
#define PENSTOCK_LOG_LOG_BATCH_H

#include "log/log.h"

enum { LOG_BATCH_MAGIC = 0x62617463 };

struct log_batch {
    uint32_t magic;
    uint32_t tag;   /* in each record (frame.h F2); a new one after each reset */
    uint32_t count;
    bool     open;  /* between begin and end */
    bool     unsummed; /* the last record, at unsummed_at, may have no checksum yet */
    size_t   unsummed_at;
    uint8_t *memory; /* with room for a frame's header in front of the records */
    size_t   mapped; /* bytes of it, of a large batch; 0: it is the heap's */
    uint8_t *at;    /* records in stored form */
    size_t   bytes, size;
    unsigned small; /* resets in a row that found less than a quarter of it used */
    size_t   open_bytes_max;
    uint64_t random;
    /* @thread committer, while submitted */
    struct log_batch *next;
    log_commit_done  *done;
    void             *done_ctx;
    struct log_commit_result result;
};

/* Room for `bytes` of records in all; what is there stays. A large batch (SEGMENT_LARGE_BYTES) begins on a page with the room for
 * its frame's header, and has room behind it for what fills its last page. false: no memory. */
bool log_batch_room(struct log_batch *batch, size_t bytes) must_check;
/* Before anybody but its maker looks at the records: the last one gets its checksum. Not while others may do the same. */
void log_batch_sum(const struct log_batch *batch);
/* The records in stored form, each with its checksum. */
struct span log_batch_records(const struct log_batch *batch);

#endif
