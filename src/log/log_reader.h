/* log/log_reader.h - what is inside a reader; for the log's own files only (log.h has the functions).
 *
 *   FIND  -> WALK   the segment that holds `next` is open, `at` is a frame border in it
 *   WALK  -> SERVE  a frame was read and checked; its records go out in runs
 *   SERVE -> WALK   the frame is used up
 *   any   -> FIND   the segment ended, or the log was opened anew by its writer (epoch)
 *
 * A place that is not a frame is looked at again: first with the file read anew (bytes may have been read
 * ahead before they were written), then with the folder listed (the writer may have rolled). Only then is
 * it damage. */
#ifndef PENSTOCK_LOG_LOG_READER_H
#define PENSTOCK_LOG_LOG_READER_H

#include "log/frame.h"
#include "log/head.h"
#include "log/part.h"
#include "log/window.h"

enum { LOG_READER_MAGIC = 0x72656164, READER_LOOKS = 2 };

enum log_reader_state { READER_FIND, READER_WALK, READER_SERVE };

struct log_reader { /* embedded */
    const struct log_ops *ops;
    uint32_t              magic;
    enum log_reader_state state;
    struct log           *log; /* borrowed */
    char                  topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    uint32_t              partition;
    bool                  part_open, head_open;
    struct part           part;
    struct head           head;
    int64_t               head_checked_us;
    uint64_t              id;
    uint32_t              epoch;
    uint64_t              next;      /* offset of the next record to give */
    bool                  once;      /* log_reader_once */
    uint64_t              end_fixed; /* not 0: read up to here and ask no head (verify) */
    /* WALK */
    struct part_segments  segments;
    struct window         window;
    int                   fd;
    uint64_t              seg_base;
    uint64_t              seg_limit; /* where the next segment begins; UINT64_MAX: this is the last */
    uint64_t              foreign_base; /* a file before `next` that is not ours; UINT64_MAX: none */
    uint64_t              at;        /* where the next frame is expected */
    unsigned              looks;     /* at this place, without finding a frame */
    /* SERVE */
    struct span           raw;
    uint64_t              base;
    uint32_t              count;
    uint64_t              frame_at, frame_end_at;
    int64_t               appended_us;
    uint32_t             *table; /* where record i stands in raw; NULL: in line from run_at on */
    uint64_t              run_offset;
    size_t                run_at; /* of record run_offset, when table is NULL */
    uint8_t              *unpacked;
    size_t                unpacked_size;
    /* counted for verify */
    uint64_t              frames;
    uint64_t              gap_file_at; /* where the damage of the last LOG_GAP stands */
};

/* 1: *end_out is what may be read; 0: nothing is published. Notices a new writer. */
int log_reader_published(struct log_reader *reader, uint64_t *end_out, uint32_t *seq_out, struct err *err) must_check;

#endif
