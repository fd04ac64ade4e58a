/* fuzz/seen_run.c - any bytes as a file of seen ids: no crash, no entry that was not asked for, an end.
 *
 * The first byte says which checksums are made right before, so that what lies behind them is reached too. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "fuzz.h"
#include "people/seen_run.h"

enum { FILE_BYTES_MAX = 1 << 17 };

static void check(bool fine)
{
    if (!fine)
        abort();
}

/* One file in memory's file system, written anew by each input; the process's own. */
static int folder(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = open("/dev/shm", O_RDONLY | O_DIRECTORY);
    check(fd >= 0);
    return fd;
}

static uint32_t part_crc(const uint8_t *file, size_t bytes, uint64_t from, uint64_t count)
{
    return from <= bytes && count <= bytes - from ? crc32c(0, span_of(file + from, count)) : 0;
}

static void mend(uint8_t *file, size_t bytes, const struct seen_shape *shape, uint8_t which)
{
    uint64_t blocks_at = seen_shape_blocks_at(shape);

    if ((which & 1) != 0)
        for (uint64_t at = blocks_at; at <= bytes && bytes - at >= SEEN_PAGE; at += SEEN_PAGE)
            bytes_put_u32(file + at, crc32c(0, span_of(file + at + 4, SEEN_PAGE - 4)));
    if ((which & 2) != 0) {
        bytes_put_u32(file + 72, part_crc(file, bytes, SEEN_HEAD_BYTES, SEEN_MINUTES_BYTES));
        bytes_put_u32(file + 76, part_crc(file, bytes, seen_shape_filter_at(), shape->lines * SEEN_LINE_BYTES));
        bytes_put_u32(file + 80, part_crc(file, bytes, seen_shape_fences_at(shape), shape->blocks * 8));
    }
    if ((which & 4) != 0) {
        memcpy(file, "PNSTSEEN\1\0\0\0\0\0\0", 16);
        bytes_put_u32(file + 12, crc32c(0, span_of(file, SEEN_HEAD_BYTES)));
    }
}

static void look_up(const struct seen_run *run, const struct seen_entry *key)
{
    struct seen_entry found;
    struct err        err;
    uint64_t          hash = seen_entry_hash(key, run->seed);

    (void)seen_run_maybe(run, hash);
    (void)seen_run_covers(run, seen_entry_minute(key));
    if (seen_run_find(run, key, hash, &found, &err) == 1)
        check(seen_entry_same(&found, key));
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    static uint8_t           file[FILE_BYTES_MAX];
    struct seen_run          run = { .fd = -1, .number = UINT64_C(0x66757a7a) << 32 | (uint32_t)getpid() };
    struct seen_cursor       cursor;
    const struct seen_entry *entry;
    struct err               err;
    char                     name[SEEN_RUN_NAME_BYTES];
    uint64_t                 given = 0, last = 0;
    int                      fd;

    if (bytes < 1 + SEEN_HEAD_BYTES || bytes > FILE_BYTES_MAX)
        return 0;
    memcpy(file, at + 1, --bytes);
    bytes_put_u64(file + 16, run.number);
    run.seed = bytes_get_u64(file + 24);
    run.shape = (struct seen_shape){ .entries = bytes_get_u64(file + 32) % 4096,
                                     .lines = bytes_get_u64(file + 40) % 512,
                                     .fences_room = bytes_get_u64(file + 48) % 64,
                                     .blocks = bytes_get_u64(file + 56) % 64 };
    bytes_put_u64(file + 32, run.shape.entries);
    bytes_put_u64(file + 40, run.shape.lines);
    bytes_put_u64(file + 48, run.shape.fences_room);
    bytes_put_u64(file + 56, run.shape.blocks);
    mend(file, bytes, &run.shape, *at);
    seen_run_name(run.number, "run", name);
    fd = openat(folder(), name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    check(fd >= 0 && write(fd, file, bytes) == (ssize_t)bytes);
    (void)close(fd);
    if (seen_run_open(folder(), &run, (*at & 8) != 0, &err) == 0)
        for (size_t i = 0; i + SEEN_ENTRY_BYTES <= 3 * SEEN_ENTRY_BYTES; i += SEEN_ENTRY_BYTES)
            look_up(&run, (const struct seen_entry *)(const void *)(file + (bytes - SEEN_ENTRY_BYTES - i)));
    if (run.fd >= 0 && seen_shape_sane(&run.shape)) {
        check(seen_cursor_init(&cursor, &run, &err) == 0);
        while ((entry = seen_cursor_next(&cursor)) != NULL) {
            check(cursor.hash >= last && cursor.hash == seen_entry_hash(entry, run.seed));
            last = cursor.hash;
            if (run.usable && ++given % 64 == 1)
                look_up(&run, entry);
        }
        check(given + cursor.entries_lost <= (run.shape.blocks + 1) * SEEN_BLOCK_ENTRIES);
        seen_cursor_fini(&cursor);
    }
    seen_run_close(&run);
    (void)unlinkat(folder(), name, 0);
    return 0;
}
