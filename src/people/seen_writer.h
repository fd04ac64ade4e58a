/* people/seen_writer.h - makes a run file, entry by entry in the order of their hash.
 *
 * Life: open -> add ... -> finish, or drop at any point. Until finish the file has another name, and nobody has
 * promised anything of it. @thread one at a time */
#ifndef PENSTOCK_PEOPLE_SEEN_WRITER_H
#define PENSTOCK_PEOPLE_SEEN_WRITER_H

#include "people/seen_run.h"

/* A part of the file that is written from left to right. */
struct seen_stream {
    uint8_t *buffer;
    size_t   used;
    uint64_t at; /* where the buffer's first byte goes */
    uint32_t crc; /* of what went out */
};

struct seen_writer {
    int                dir_fd, fd;
    uint64_t           number, seed;
    struct seen_shape  shape;
    struct seen_stream filter, fences, blocks;
    uint64_t           line_number;
    uint8_t            line[SEEN_LINE_BYTES];
    uint8_t            block[SEEN_PAGE];
    unsigned           block_entries;
    uint64_t           hash; /* of the last entry */
    uint64_t           unsynced;
    bool               others;
    uint8_t            minutes[SEEN_MINUTES_BYTES];
};

/* entries_max: at most so many will come; filter and fences get room for them. */
int  seen_writer_open(struct seen_writer *writer, int dir_fd, uint64_t number, uint64_t seed, uint64_t entries_max,
                      struct err *err) must_check;
/* hash: not below the last one's. */
int  seen_writer_add(struct seen_writer *writer, const struct seen_entry *entry, uint64_t hash, struct err *err) must_check;
/* Durable under its name when it returns 0 (U1). At least one entry was added. The writer is over either way. */
int  seen_writer_finish(struct seen_writer *writer, struct seen_shape *shape_out, struct err *err) must_check;
void seen_writer_drop(struct seen_writer *writer);

#endif
