/* log/log_writer.h - what is inside a writer; for the log's own files only (log.h has the functions).
 *
 *   log_writer.c  append, sync, publish, roll        log_writer_open.c  opening and recovery
 *   log_writer_cut.c  cut                            retain.c           retention */
#ifndef PENSTOCK_LOG_LOG_WRITER_H
#define PENSTOCK_LOG_LOG_WRITER_H

#include "log/frame.h"
#include "log/head.h"
#include "log/part.h"
#include "log/segment.h"
#include "log/steady.h"

enum {
    LOG_WRITER_MAGIC = 0x77726974,
    WRITER_GROUP_MAX = 256, /* frames a pwritev: header and body each, within IOV_MAX */
    WRITER_SEGMENT_BYTES = 64 << 20,
    WRITER_SEGMENT_BYTES_MIN = 16 << 10
};
#define WRITER_SEGMENT_BYTES_MAX (UINT64_C(1) << 30) /* `unsynced` and places in 32 bits have room to spare */

struct log_writer { /* embedded */
    const struct log_ops    *ops;
    uint32_t                 magic;
    struct log_topic_options options;
    struct segment_limits    limits;
    struct part              part;
    struct head              head;
    struct segment           seg;
    uint64_t                 id;
    uint32_t                 epoch;
    bool                     seg_open;
    bool                     appended; /* since opening: cut is no longer allowed */
    bool                     stopped;
    struct err               stop_err;
    uint64_t                 next;       /* offset of the next record */
    uint64_t                 synced_end; /* offsets below are durable */
    uint64_t                 published;
    uint64_t                 last_at;    /* place of the last frame if it ends at seg.pos, else 0 */
    struct frame             last;
    uint64_t                 synced_last_at; /* the last frame that was synced; 0: not known */
    uint8_t                  headers[WRITER_GROUP_MAX][FRAME_HEADER_BYTES];
    struct steady            steady;     /* clock_guard: how the clock jumped */
    int64_t                  steady_put_us, odd_look_us; /* since the machine's start: last written down; all segments are next looked at */
    uint8_t                 *packed; /* LZ4 */
    size_t                   packed_size;
};

/* Appends up to `count` non-empty batches in as few writes as possible; *done_out of them (also on
 * failure: the one at *done_out is it). bases_out[count]. */
int log_writer_append_group(struct log_writer *writer, const struct log_batch *const *batches, size_t count,
                            int64_t now_us, uint64_t *bases_out, size_t *done_out, struct err *err) must_check;
/* Whether a batch of so many bytes goes into the segment that is open. */
bool log_writer_has_room(const struct log_writer *writer, size_t bytes);
/* Begins the next segment. */
int log_writer_roll(struct log_writer *writer, int64_t now_us, struct err *err) must_check;
/* Remembers the failure as the writer's end when it is one. Returns -1. */
int log_writer_failed(struct log_writer *writer, struct err *err);
/* Lets another process open the partition, though this one keeps what it has open: everything appended must be synced. */
void log_writer_rest(struct log_writer *writer);
/* Back again, if nobody has it now and nobody wrote meanwhile; else ERR_STOP. One who opened it and wrote nothing left the
 * file as recovery finds it: with the same end, and a higher epoch, which is taken over. */
int log_writer_wake(struct log_writer *writer, struct err *err) must_check;
/* Reads what is known of jumps of the clock: at the opening, and when somebody else may have written meanwhile. */
void log_writer_clock_load(struct log_writer *writer, uint64_t last_base);
/* log_writer_retain with clock_guard, at this time. */
int log_writer_retain_at(struct log_writer *writer, const struct steady_now *now, struct err *err) must_check;
/* Puts a frame without records at the end: it proves the sync before it and describes the last frame. */
int log_writer_mark(struct log_writer *writer, int64_t now_us, struct err *err) must_check;

#endif
