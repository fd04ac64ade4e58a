/* people/seen_run.h - a run: an immutable file of seen ids in the order of their hash, and a look-up in it.
 *
 *   at          bytes  field
 *    0             8  magic "PNSTSEEN"
 *    8             4  version (1)
 *   12             4  crc32c of the 4096 bytes of the head, these four as zero
 *   16             8  number, as in the file's name
 *   24             8  seed of the hash
 *   32             8  entries
 *   40             8  filter lines
 *   48             8  room for fences, in fences
 *   56             8  blocks
 *   64       2, 2, 4  earliest day, latest day; 1: it holds ids that are not UUID v7
 *   72       4, 4, 4  crc32c of minutes, of filter, of fences
 * 4096          8192  minutes: a bit for each of seen_entry_minute()
 *    *      64 lines  filter: the hash says the line and six bits in it; ended at a multiple of 4096
 *    *       8 room   fences: the hash of each block's first entry; ended at a multiple of 4096
 *    *   4096 blocks  0 4 crc32c of the rest · 4 2 entries · 6 10 zero · 16 30n entries by hash, then key
 * All of it follows from the head's counts, and those stand in the manifest too: a run whose head or index is
 * damaged can still be read from end to end.
 *  U1  a run has its name only when all of it is on the disk, and is never written again
 *  U2  no block is believed before its checksum was; filter and fences are checked at opening
 *  U3  blocks are read, not mapped: a sector that cannot be read is an answer and not a SIGBUS. Of the mapped part
 *      every page was read at opening
 * @thread any number, but for `lost` (the writer's) */
#ifndef PENSTOCK_PEOPLE_SEEN_RUN_H
#define PENSTOCK_PEOPLE_SEEN_RUN_H

#include "people/seen_entry.h"

enum {
    SEEN_PAGE = 4096,
    SEEN_HEAD_BYTES = SEEN_PAGE,
    SEEN_MINUTES_BYTES = 8192,
    SEEN_LINE_BYTES = 64,
    SEEN_LINE_WORDS = SEEN_LINE_BYTES / 8,
    SEEN_BLOCK_HEAD = 16,
    SEEN_BLOCK_ENTRIES = (SEEN_PAGE - SEEN_BLOCK_HEAD) / SEEN_ENTRY_BYTES, /* 136 */
    SEEN_FILTER_BITS = 12, /* an id: one look-up in 200 goes to a block in vain */
    SEEN_RUN_NAME_BYTES = 32
};

struct seen_shape {
    uint64_t entries, lines, fences_room, blocks;
    uint16_t day_first, day_last;
};

struct seen_run {
    /* of the manifest */
    uint64_t          number, last; /* last: sequence of the newest chunk of ids that went into it */
    uint8_t           level;        /* how often it was merged */
    struct seen_shape shape;
    uint64_t          seed;
    /* fixed after opening */
    int               fd;
    uint8_t          *map; /* head, minutes, filter, fences; NULL: not usable */
    size_t            map_bytes;
    const uint8_t    *minutes, *filter, *fences;
    bool              others; /* it holds ids that are not UUID v7 */
    /* @thread writer */
    bool              usable;  /* false: its index is damaged; only its blocks can be read, one after the other */
    bool              leaving; /* not in the manifest of the transaction in hand any more */
    bool              in_work; /* being merged */
    uint64_t          lost;    /* reads of a damaged block */
};

/* The parts' places. */
static inline uint64_t seen_shape_filter_at(void) { return SEEN_HEAD_BYTES + SEEN_MINUTES_BYTES; }
uint64_t seen_shape_fences_at(const struct seen_shape *shape);
uint64_t seen_shape_blocks_at(const struct seen_shape *shape);
/* Whether numbers that were read can be a run's at all; entries that fit the blocks, offsets that do not wrap. */
bool seen_shape_sane(const struct seen_shape *shape);

void seen_run_name(uint64_t number, const char *ending, char out[SEEN_RUN_NAME_BYTES]);
/* Opens run->number with run->shape and run->seed. check: also reads and checks the filter (U2); otherwise head,
 * minutes and fences only. ERR_CORRUPT: not usable, but open; its blocks can be read. Other failures: nothing is open;
 * ERR_INPUT: there is no such file. */
int  seen_run_open(int dir_fd, struct seen_run *run, bool check, struct err *err) must_check;
void seen_run_close(struct seen_run *run);
void seen_run_free(struct seen_run *run); /* closes too */

static inline uint64_t seen_scale(uint64_t hash, uint64_t count)
{
    return (uint64_t)((unsigned __int128)hash * count >> 64);
}

/* The six bits of a hash within its line; `word` walks through them. */
#define SEEN_FILTER_BITS_EACH(hash, bit)                                                                         \
    for (uint64_t left_ = (hash) * UINT64_C(0x9e3779b97f4a7c15), n_ = 0, bit = left_ >> 55; n_ < 6;              \
         n_++, left_ <<= 9, bit = left_ >> 55)

static inline const uint8_t *seen_run_line(const struct seen_run *run, uint64_t hash)
{
    return run->filter + seen_scale(hash, run->shape.lines) * SEEN_LINE_BYTES;
}

/* false: an id of this minute (seen_entry_minute) is not in it. */
static inline bool seen_run_covers(const struct seen_run *run, int minute)
{
    return minute < 0 ? run->others : (run->minutes[minute / 8] >> minute % 8 & 1) != 0;
}

/* false: it is not in it. */
static inline bool seen_run_maybe(const struct seen_run *run, uint64_t hash)
{
    const uint8_t *line = seen_run_line(run, hash);
    unsigned all = 1;

    SEEN_FILTER_BITS_EACH(hash, bit)
        all &= (unsigned)line[bit / 8] >> bit % 8;
    return (all & 1) != 0;
}

/* 1 found (the latest day's), 0 not, -1: a block could not be read or is damaged (err says where). Run usable. */
int seen_run_find(const struct seen_run *run, const struct seen_entry *key, uint64_t hash, struct seen_entry *out,
                  struct err *err) must_check;

/* --- from end to end --------------------------------------------------------------------------- */

struct seen_cursor {
    const struct seen_run *run;
    uint8_t               *buffer;
    uint64_t               block_next; /* to be read */
    size_t                 blocks, block; /* in the buffer */
    unsigned               left;       /* of the block in hand */
    const uint8_t         *at;
    uint64_t               hash;       /* of the last entry given: the next is not below it */
    uint64_t               blocks_lost, entries_lost; /* damaged, and left out */
};

int  seen_cursor_init(struct seen_cursor *cursor, const struct seen_run *run, struct err *err) must_check;
void seen_cursor_fini(struct seen_cursor *cursor);
/* The next entry, its hash in cursor->hash; NULL at the end. Until the next call. */
const struct seen_entry *seen_cursor_next(struct seen_cursor *cursor);

#endif
