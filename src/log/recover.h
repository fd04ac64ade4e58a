/* log/recover.h - where a segment really ends.
 *
 * A group of frames that was being written when the machine stopped may be there in part, in any pieces:
 * it was never acknowledged and is cut. Damage to what was synced must be kept and named instead. What
 * tells them apart is proof of a sync: a later frame that says so (frame.h F3), or the published end.
 *  R1  nothing before the last proof is cut
 *  R2  past it, frames count only while they are whole and in line
 *  R3  recovery of a recovered segment changes nothing */
#ifndef PENSTOCK_LOG_RECOVER_H
#define PENSTOCK_LOG_RECOVER_H

#include "log/frame.h"

struct recovered {
    uint64_t pos;    /* end of the last frame that counts */
    uint64_t proven; /* everything before was synced, by proof */
    uint64_t end;    /* offset after the last record */
    uint32_t epoch;  /* of the last frame; 0: none */
    bool     damaged;    /* something before pos is not whole */
    bool     tail_dirty; /* something past pos is not zero */
    bool     unreadable; /* some of it could not be read: nothing may be cut, and `end` may be too low */
    /* the last frame, if it ends at pos; else last_at is 0 */
    uint64_t     last_at;
    struct frame last;
};

/* Reads fd from the frame border `from` on, whose next offset is from_base. published: the end that the head
 * tells, 0 when it is lost. */
int recover_segment(int fd, uint64_t file_bytes, const struct frame_place *place, uint64_t from, uint64_t from_base,
                    uint64_t published, struct recovered *out, struct err *err) must_check;

#endif
