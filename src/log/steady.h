/* log/steady.h - how a partition's clock jumped, so that nothing is deleted because of that (spec/reliability.md G10).
 *
 * Segments are stamped by the wall clock, which somebody may set by years. The clock that counts from the start of the machine,
 * suspended time included (clock_boot_us), tells a jump from time that passed: at each look the wall clock has moved by as much
 * as that one, or it jumped. Each jump is kept with the base of the segment that was open then, and a segment that was sealed
 * before it is younger than its stamp says by just as much. What was sealed between two looks may be of before or after a jump: it
 * is taken for what makes it younger. After a restart of the machine nobody knows how long it was off (a
 * clock that was set meanwhile looks the same), so all of that counts as a jump, too: data are kept for as long as retention
 * says of the time in which the machine ran, and the bound on a disk is what it is on a machine that always runs.
 * Somebody who knows that the time has really passed says so (steady_confirm: `penstock retention confirm`).
 *
 * Kept in the partition's head file behind the slots (head.h), little-endian:
 *
 *   at  bytes  field
 *  192      8  id of the partition
 *  200      8  wall_us  } of the last look that was written down: one a minute, and each that saw a jump
 *  208      8  boot_us  }
 *  216      8  boot_id  of the start of the machine; 0: there was no look yet
 *  224      8  lag_us   all jumps together, but for that of the first look
 *  232      8  jumped_us
 *  240      8  held_bytes
 *  248      8  held_us
 *  256      4  held_segments
 *  260      4  count of jumps, 0..STEADY_JUMPS_MAX
 *  264      8  base     of the segment that was open at the last look
 *  272      4  0
 *  276      4  crc32c of all before from 192 on, and of the jumps
 *  280    16n  jumps: base u64, us i64
 *
 *  T1  steady time (wall clock less lag_us) never goes back, and never faster than the machine ran; a confirmation does not touch it: who
 *      stamped by it would find everything older by a jump at once
 *  T2  jumps of which no segment is left that was sealed before them are forgotten: there are never more than segments
 *  T3  without the file, or after damage, the newest change of the newest segment is taken for the last look: what jumped before
 *      that is forgotten
 * Threads: one writer; readers in any process. */
#ifndef PENSTOCK_LOG_STEADY_H
#define PENSTOCK_LOG_STEADY_H

#include "log/head.h"

enum { STEADY_JUMPS_MAX = 238 }; /* the page is full then; one more, and the oldest is believed to be time that passed */
/* Less is no jump: clocks that are kept right are moved by less (source: ntpd steps from 128 ms on, chrony's makestep 1 s). */
#define STEADY_JUMP_US ((int64_t)1000000)
/* Steps forward from here on make those wait who act on what is due (log_clock.calm_us). */
#define STEADY_NOTABLE_US ((int64_t)60 * 1000000)

struct steady_now { int64_t wall_us, boot_us; uint64_t boot_id; };
struct steady_jump { uint64_t base; int64_t us; };

struct steady {
    int64_t  wall_us, boot_us; /* the last look */
    uint64_t boot_id;
    uint64_t base;      /* the open segment's then */
    int64_t  lag_us;    /* the wall clock is ahead of steady time */
    int64_t  jumped_us; /* steady time of the last notable one; INT64_MIN: none */
    /* What is old by the clock, and kept since it jumped; held_us: the most that a jump makes of it. For people. */
    uint64_t held_bytes;
    int64_t  held_us;
    uint32_t held_segments;
    uint32_t count;
    struct steady_jump jumps[STEADY_JUMPS_MAX]; /* their bases rise */
};

/* False: never written for this partition, or damaged; *out is then that of nobody who ever looked. */
bool steady_load(const struct head *head, uint64_t id, struct steady *out);
void steady_store(struct head *head, uint64_t id, const struct steady *steady);
/* Where no look is known: this is taken for it. */
void steady_begin(struct steady *steady, int64_t wall_us);
/* A look. base: of the segment that is open, never less than at the last one. How far the clock jumped since the last one; 0: it did not. */
int64_t steady_look(struct steady *steady, const struct steady_now *now, uint64_t base);
int64_t steady_us(const struct steady *steady); /* at the last look */
/* By how much the stamps of what was sealed before the segment at `base` was made are to be moved. */
int64_t steady_moved_us(const struct steady *steady, uint64_t base);
/* T2. base: of the oldest segment. */
void steady_forget(struct steady *steady, uint64_t base);
/* The time has passed, and the clock is right. A clock that went back does not make anything older by that. */
void steady_confirm(struct steady *steady);

#endif
