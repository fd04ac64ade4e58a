/* people/seen_run.c - reading runs.
 *
 * Why the order of the hash and not of the id: hashes are spread evenly, so where an id would stand follows from
 * the hash by one multiplication and a step or two along the fences; and filter, fences and blocks are all written
 * from left to right, so that a merge of any size needs no memory. What the order of ids would give, that UUID v7
 * need not be looked for where their time never was, the minutes give, and a stray clock among the senders does not
 * spoil it as it would spoil a smallest and a largest.
 * Why a filter in lines of 64 bytes: one line of the cache, and mostly one page, for a run that does not have the id. */
#include "people/seen_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/io.h"

enum {
    READ_BYTES = 256 << 10,
    CURSOR_BLOCKS = READ_BYTES / SEEN_PAGE
};

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + SEEN_PAGE - 1) / SEEN_PAGE * SEEN_PAGE;
}

uint64_t seen_shape_fences_at(const struct seen_shape *shape)
{
    return seen_shape_filter_at() + round_up(shape->lines * SEEN_LINE_BYTES);
}

uint64_t seen_shape_blocks_at(const struct seen_shape *shape)
{
    return seen_shape_fences_at(shape) + round_up(shape->fences_room * 8);
}

bool seen_shape_sane(const struct seen_shape *shape)
{
    const uint64_t most = (uint64_t)1 << 40;

    return shape->entries > 0 && shape->entries < most && shape->lines > 0 && shape->lines < most &&
           shape->fences_room < most && shape->blocks <= shape->fences_room &&
           shape->blocks == (shape->entries + SEEN_BLOCK_ENTRIES - 1) / SEEN_BLOCK_ENTRIES &&
           shape->day_first <= shape->day_last;
}

void seen_run_name(uint64_t number, const char *ending, char out[SEEN_RUN_NAME_BYTES])
{
    (void)snprintf(out, SEEN_RUN_NAME_BYTES, "%016llx.%s", (unsigned long long)number, ending);
}

/* --- opening ----------------------------------------------------------------------------------- */

static int damaged(const struct seen_run *run, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "people: seen/%016llx.run: %s", (unsigned long long)run->number, what);
}

/* All the bytes, or -1 with errno; 0 as errno: the file ends before. */
static int read_all(int fd, uint8_t *to, size_t bytes, uint64_t at)
{
    while (bytes > 0) {
        ssize_t got = io_pread(fd, to, bytes, at);

        if (got <= 0) {
            if (got == 0)
                errno = 0;
            return -1;
        }
        to += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

static int check_part(const struct seen_run *run, uint8_t *buffer, uint64_t at, uint64_t bytes, uint32_t crc, const char *what,
                      struct err *err)
{
    uint32_t sum = 0;

    while (bytes > 0) {
        size_t piece = bytes < READ_BYTES ? (size_t)bytes : READ_BYTES;

        if (read_all(run->fd, buffer, piece, at) < 0)
            return damaged(run, what, err);
        sum = crc32c(sum, span_of(buffer, piece));
        at += piece;
        bytes -= piece;
    }
    return sum == crc ? 0 : damaged(run, what, err);
}

static int check_head(struct seen_run *run, uint8_t *head, struct err *err)
{
    const struct seen_shape *shape = &run->shape;
    uint32_t                 crc;

    if (read_all(run->fd, head, SEEN_HEAD_BYTES, 0) < 0 || memcmp(head, "PNSTSEEN", 8) != 0)
        return damaged(run, "it does not begin as a run of seen ids", err);
    crc = bytes_get_u32(head + 12);
    bytes_put_u32(head + 12, 0);
    if (crc32c(0, span_of(head, SEEN_HEAD_BYTES)) != crc)
        return damaged(run, "its head is damaged", err);
    if (bytes_get_u32(head + 8) != 1)
        return damaged(run, "its form is unknown to this Penstock", err);
    if (bytes_get_u64(head + 16) != run->number || bytes_get_u64(head + 24) != run->seed ||
        bytes_get_u64(head + 32) != shape->entries || bytes_get_u64(head + 40) != shape->lines ||
        bytes_get_u64(head + 48) != shape->fences_room || bytes_get_u64(head + 56) != shape->blocks)
        return damaged(run, "it is another run than the store means", err);
    run->others = bytes_get_u32(head + 68) != 0;
    return 0;
}

static int check_parts(struct seen_run *run, uint8_t *buffer, bool filter, struct err *err)
{
    const struct seen_shape *shape = &run->shape;
    uint32_t                 crc[3];
    struct stat              file;

    if (check_head(run, buffer, err) < 0)
        return -1;
    for (int i = 0; i < 3; i++)
        crc[i] = bytes_get_u32(buffer + 72 + 4 * i);
    if (fstat(run->fd, &file) < 0 || (uint64_t)file.st_size < seen_shape_blocks_at(shape) + shape->blocks * SEEN_PAGE)
        return damaged(run, "it is shorter than it was written", err);
    if (check_part(run, buffer, SEEN_HEAD_BYTES, SEEN_MINUTES_BYTES, crc[0], "its minutes are damaged", err) < 0 ||
        (filter && check_part(run, buffer, seen_shape_filter_at(), shape->lines * SEEN_LINE_BYTES, crc[1],
                              "its filter is damaged", err) < 0))
        return -1;
    return check_part(run, buffer, seen_shape_fences_at(shape), shape->blocks * 8, crc[2], "its fences are damaged", err);
}

static int open_index(struct seen_run *run, bool filter, struct err *err)
{
    uint8_t *buffer = malloc(READ_BYTES);
    int      rc;

    if (buffer == NULL)
        return err_set(err, ERR_FULL, "people: no memory to open a run");
    rc = check_parts(run, buffer, filter, err);
    free(buffer);
    if (rc < 0)
        return -1;
    run->map_bytes = (size_t)seen_shape_blocks_at(&run->shape);
    run->map = io_mmap(run->fd, run->map_bytes, PROT_READ);
    if (run->map == NULL)
        return err_errno(err, errno, "people: seen/%016llx.run cannot be mapped", (unsigned long long)run->number);
    (void)madvise(run->map, run->map_bytes, MADV_RANDOM);
    run->minutes = run->map + SEEN_HEAD_BYTES;
    run->filter = run->map + seen_shape_filter_at();
    run->fences = run->map + seen_shape_fences_at(&run->shape);
    run->usable = true;
    return 0;
}

int seen_run_open(int dir_fd, struct seen_run *run, bool check, struct err *err)
{
    char name[SEEN_RUN_NAME_BYTES];

    run->map = NULL;
    run->usable = false;
    seen_run_name(run->number, "run", name);
    run->fd = io_open(dir_fd, name, O_RDONLY, 0);
    if (run->fd < 0 && errno == ENOENT)
        return err_set(err, ERR_INPUT, "people: the file seen/%s is not there", name);
    if (run->fd < 0)
        return err_errno(err, errno, "people: seen/%s", name);
    if (!seen_shape_sane(&run->shape))
        return damaged(run, "its counts cannot be", err);
    if (open_index(run, check, err) == 0)
        return 0;
    if (err->kind != ERR_CORRUPT)
        seen_run_close(run);
    return -1;
}

void seen_run_close(struct seen_run *run)
{
    if (run->map != NULL)
        (void)munmap(run->map, run->map_bytes);
    run->map = NULL;
    io_close(run->fd);
    run->fd = -1;
}

void seen_run_free(struct seen_run *run)
{
    seen_run_close(run);
    free(run);
}

/* --- looking up -------------------------------------------------------------------------------- */

/* Entries of a block, or 0 when it is damaged. */
static unsigned block_entries(const uint8_t *block)
{
    unsigned count = bytes_get_u16(block + 4);

    if (count == 0 || count > SEEN_BLOCK_ENTRIES ||
        crc32c(0, span_of(block + 4, SEEN_PAGE - 4)) != bytes_get_u32(block))
        return 0;
    return count;
}

static const struct seen_entry *block_entry(const uint8_t *block, unsigned i)
{
    return (const struct seen_entry *)(const void *)(block + SEEN_BLOCK_HEAD + i * SEEN_ENTRY_BYTES);
}

/* Searches one block; *below: its first entry has the hash too, so that the block before may have more of it. */
static int find_in_block(const struct seen_run *run, uint64_t number, const struct seen_entry *key, uint64_t hash,
                         struct seen_entry *out, bool found, struct err *err)
{
    uint8_t  block[SEEN_PAGE];
    unsigned low = 0, count, high;

    if (read_all(run->fd, block, SEEN_PAGE, seen_shape_blocks_at(&run->shape) + number * SEEN_PAGE) < 0)
        return damaged(run, "a block cannot be read", err);
    count = high = block_entries(block);
    if (count == 0)
        return damaged(run, "a block is damaged", err);
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (seen_entry_hash(block_entry(block, middle), run->seed) < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count; low++) {
        const struct seen_entry *entry = block_entry(block, low);

        if (seen_entry_hash(entry, run->seed) != hash)
            break;
        if (seen_entry_same(entry, key) && (!found || seen_entry_day(entry) > seen_entry_day(out))) {
            *out = *entry;
            found = true;
        }
    }
    return found;
}

static uint64_t fence(const struct seen_run *run, uint64_t block)
{
    return bytes_get_u64(run->fences + block * 8);
}

/* The last block whose first entry is not above the hash: hashes are even, so it is near where it would be if they
 * were perfectly so, and steps that double find its neighbourhood. */
static uint64_t block_of(const struct seen_run *run, uint64_t hash)
{
    uint64_t blocks = run->shape.blocks, low = seen_scale(hash, blocks), high = low + 1;

    for (uint64_t step = 1; low > 0 && fence(run, low) > hash; step *= 2)
        low = low > step ? low - step : 0;
    for (uint64_t step = 1; high < blocks && fence(run, high) <= hash; step *= 2)
        high = high + step < blocks ? high + step : blocks;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (fence(run, middle) <= hash)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int seen_run_find(const struct seen_run *run, const struct seen_entry *key, uint64_t hash, struct seen_entry *out,
                  struct err *err)
{
    uint64_t block = block_of(run, hash);
    int      found = find_in_block(run, block, key, hash, out, false, err);

    /* several ids of one hash may begin in the block before */
    while (found >= 0 && block > 0 && fence(run, block) == hash)
        found = find_in_block(run, --block, key, hash, out, found == 1, err);
    return found;
}

/* --- from end to end --------------------------------------------------------------------------- */

int seen_cursor_init(struct seen_cursor *cursor, const struct seen_run *run, struct err *err)
{
    *cursor = (struct seen_cursor){ .run = run, .buffer = malloc(READ_BYTES) };
    return cursor->buffer != NULL ? 0 : err_set(err, ERR_FULL, "people: no memory to read a run");
}

void seen_cursor_fini(struct seen_cursor *cursor)
{
    free(cursor->buffer);
    cursor->buffer = NULL;
}

/* The next blocks into the buffer; those that cannot be read are zeros there, and fail their check. */
static bool cursor_fill(struct seen_cursor *cursor)
{
    const struct seen_run *run = cursor->run;
    uint64_t               left = run->shape.blocks - cursor->block_next;
    uint64_t               at = seen_shape_blocks_at(&run->shape) + cursor->block_next * SEEN_PAGE;

    if (left == 0)
        return false;
    cursor->blocks = left < CURSOR_BLOCKS ? (size_t)left : CURSOR_BLOCKS;
    cursor->block = 0;
    cursor->block_next += cursor->blocks;
    if (read_all(run->fd, cursor->buffer, cursor->blocks * SEEN_PAGE, at) == 0)
        return true;
    for (size_t i = 0; i < cursor->blocks; i++) {
        uint8_t *block = cursor->buffer + i * SEEN_PAGE;

        if (read_all(run->fd, block, SEEN_PAGE, at + i * SEEN_PAGE) < 0)
            memset(block, 0, SEEN_PAGE);
    }
    return true;
}

/* The next sound block, and how many entries it has; false at the end. */
static bool cursor_block(struct seen_cursor *cursor)
{
    for (;;) {
        const uint8_t *block;

        if (cursor->block == cursor->blocks && !cursor_fill(cursor))
            return false;
        block = cursor->buffer + cursor->block++ * SEEN_PAGE;
        cursor->left = block_entries(block);
        cursor->at = block + SEEN_BLOCK_HEAD;
        if (cursor->left > 0)
            return true;
        cursor->blocks_lost++;
    }
}

const struct seen_entry *seen_cursor_next(struct seen_cursor *cursor)
{
    for (;;) {
        const struct seen_entry *entry;
        uint64_t                 hash;

        if (cursor->left == 0 && !cursor_block(cursor))
            return NULL;
        entry = (const struct seen_entry *)(const void *)cursor->at;
        cursor->at += SEEN_ENTRY_BYTES;
        cursor->left--;
        hash = seen_entry_hash(entry, cursor->run->seed);
        if (hash < cursor->hash) {
            cursor->entries_lost++; /* no writer wrote this; but order is what the reader relies on */
            continue;
        }
        cursor->hash = hash;
        return entry;
    }
}
