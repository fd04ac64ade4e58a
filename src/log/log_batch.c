/* log/log_batch.c - records on their way in, already in stored form.
 *
 * The one checksum pass over a record happens here, on the caller's thread and while the body is warm in
 * its cache; the committer only writes. It happens when the next record ends: what was just written is still
 * on its way from the CPU to the cache, and who reads it at once, in other pieces than it was written, waits for
 * that, a tenth of what capture does in user space. The tag is not a secret worth a system call per batch: it must
 * only be unknown to clients, so it is one draw of the kernel's randomness a batch object, mixed on. */
#include "log/log_batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "log/frame.h"
#include "log/segment.h"

/* Up to 1 MiB is kept from batch to batch, and up to 16 while one of the last BATCH_KEPT_SMALL used at least a quarter of it: to take it
 * anew costs a millisecond of cleared pages for every 2 MiB. Who adds records while others wait for him (capture's loop) stood still for 17 to
 * 34 ms where a batch grew so behind a small one. */
enum { BATCH_KEPT_BYTES = 1 << 20, BATCH_KEPT_BYTES_MAX = 16 << 20, BATCH_KEPT_SMALL = 32, BATCH_FIRST_BYTES = 4096 };
enum {
    BATCH_HEAD_BYTES = FRAME_HEADER_BYTES,
    BATCH_TAIL_BYTES = SEGMENT_PAGE_BYTES + FRAME_HEADER_BYTES, /* a pad that does not fit the last page */
    BATCH_ALIGN = 2 << 20 /* a large page: the disk is handed some pieces instead of a thousand */
};

static uint32_t batch_tag_next(struct log_batch *batch)
{
    uint64_t mixed = batch->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(mixed >> 32);
}

static void memory_give(struct log_batch *batch)
{
    if (batch->mapped > 0)
        (void)munmap(batch->memory, batch->mapped);
    else
        free(batch->memory);
    batch->memory = batch->at = NULL;
    batch->mapped = batch->size = 0;
    batch->small = 0;
}

struct log_batch *log_batch_new(void)
{
    struct log_batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL)
        return NULL;
    batch->magic = LOG_BATCH_MAGIC;
    if (getrandom(&batch->random, sizeof batch->random, 0) != (ssize_t)sizeof batch->random)
        batch->random ^= (uint64_t)(uintptr_t)batch;
    batch->tag = batch_tag_next(batch);
    return batch;
}

void log_batch_free(struct log_batch *batch)
{
    if (batch == NULL)
        return;
    assert(batch->magic == LOG_BATCH_MAGIC);
    batch->magic = 0;
    memory_give(batch);
    free(batch);
}

static bool batch_keeps(struct log_batch *batch)
{
    if (batch->size <= BATCH_KEPT_BYTES)
        return true;
    batch->small = batch->bytes >= batch->size / 4 ? 0 : batch->small + 1;
    return batch->size <= BATCH_KEPT_BYTES_MAX && batch->small < BATCH_KEPT_SMALL;
}

void log_batch_reset(struct log_batch *batch)
{
    bool keep = batch_keeps(batch);

    assert(batch->magic == LOG_BATCH_MAGIC);
    batch->bytes = 0;
    batch->count = 0;
    batch->open_bytes_max = 0;
    batch->open = false;
    batch->unsummed = false;
    batch->tag = batch_tag_next(batch);
    if (!keep)
        memory_give(batch);
}

void log_batch_sum(const struct log_batch *batch)
{
    if (!batch->unsummed)
        return;
    record_sum(batch->at + batch->unsummed_at);
    ((struct log_batch *)(uintptr_t)batch)->unsummed = false; /* what it holds is the same to everybody who may look */
}

struct span log_batch_records(const struct log_batch *batch)
{
    log_batch_sum(batch);
    return span_of(batch->at, batch->bytes);
}

/* Whole large pages, and none of the heap's: a heap keeps the smaller ones that a batch grew out of. */
static uint8_t *memory_map(size_t bytes)
{
    uint8_t *at = mmap(NULL, bytes + BATCH_ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *memory;
    size_t   before;

    if (at == MAP_FAILED)
        return NULL;
    before = (BATCH_ALIGN - (uintptr_t)at % BATCH_ALIGN) % BATCH_ALIGN;
    memory = at + before;
    if (before > 0)
        (void)munmap(at, before);
    if (before < BATCH_ALIGN)
        (void)munmap(memory + bytes, BATCH_ALIGN - before);
    (void)madvise(memory, bytes, MADV_HUGEPAGE); /* refused: small pages */
    return memory;
}

static size_t memory_whole(size_t bytes)
{
    return (BATCH_HEAD_BYTES + bytes + BATCH_TAIL_BYTES + BATCH_ALIGN - 1) / BATCH_ALIGN * BATCH_ALIGN;
}

/* Addresses for as much as may be kept are taken at once: a batch that grows into them is not copied, nor its pages cleared again. Pages
 * are taken as they are written. */
static bool memory_large(struct log_batch *batch, size_t bytes)
{
    size_t   whole = memory_whole(bytes < BATCH_KEPT_BYTES_MAX ? BATCH_KEPT_BYTES_MAX : bytes);
    uint8_t *memory;

    if (memory_whole(bytes) <= batch->mapped)
        return true;
    memory = memory_map(whole);
    if (memory == NULL)
        return false;
    if (batch->bytes > 0)
        memcpy(memory + BATCH_HEAD_BYTES, batch->at, batch->bytes);
    memory_give(batch);
    batch->memory = memory;
    batch->mapped = whole;
    return true;
}

bool log_batch_room(struct log_batch *batch, size_t bytes)
{
    if (bytes <= batch->size)
        return true;
    if (bytes >= SEGMENT_LARGE_BYTES) {
        if (!memory_large(batch, bytes))
            return false;
    } else {
        uint8_t *memory = realloc(batch->memory, BATCH_HEAD_BYTES + bytes); /* not mapped: it was no larger */

        if (memory == NULL)
            return false;
        batch->memory = memory;
    }
    batch->at = batch->memory + BATCH_HEAD_BYTES;
    batch->size = bytes;
    return true;
}

uint8_t *log_batch_begin(struct log_batch *batch, size_t body_bytes_max)
{
    size_t need;

    assert(batch->magic == LOG_BATCH_MAGIC);
    batch->open = false;
    if (body_bytes_max > LOG_RECORD_BYTES_MAX)
        return NULL;
    need = batch->bytes + RECORD_HEADER_BYTES + (size_t)frame_padded(body_bytes_max);
    if (need > LOG_BATCH_BYTES_MAX)
        return NULL;
    if (need > batch->size) {
        size_t size = batch->size < BATCH_FIRST_BYTES ? BATCH_FIRST_BYTES : batch->size * 2;

        if (size > LOG_BATCH_BYTES_MAX)
            size = LOG_BATCH_BYTES_MAX;
        if (!log_batch_room(batch, size < need ? need : size))
            return NULL;
    }
    batch->open = true;
    batch->open_bytes_max = body_bytes_max;
    return batch->at + batch->bytes + RECORD_HEADER_BYTES;
}

void log_batch_end(struct log_batch *batch, size_t body_bytes)
{
    assert(batch->magic == LOG_BATCH_MAGIC);
    assert(batch->open);
    assert(body_bytes <= batch->open_bytes_max);
    log_batch_sum(batch);
    record_put_unsummed(batch->at + batch->bytes, (uint32_t)body_bytes, batch->count, batch->tag);
    batch->unsummed = true;
    batch->unsummed_at = batch->bytes;
    batch->bytes += RECORD_HEADER_BYTES + (size_t)frame_padded(body_bytes);
    batch->count++;
    batch->open = false;
}

int log_batch_add(struct log_batch *batch, struct span body, struct err *err)
{
    uint8_t *to = log_batch_begin(batch, body.bytes);

    if (to == NULL)
        return err_set(err, ERR_FULL, "a record of %zu bytes does not fit a batch that holds %zu", body.bytes, batch->bytes);
    if (body.bytes > 0)
        memcpy(to, body.at, body.bytes);
    log_batch_end(batch, body.bytes);
    return 0;
}

uint32_t log_batch_count(const struct log_batch *batch)
{
    return batch->count;
}

size_t log_batch_bytes(const struct log_batch *batch)
{
    return batch->bytes;
}

struct log_batch_mark log_batch_mark(const struct log_batch *batch)
{
    return (struct log_batch_mark){ batch->bytes, batch->count };
}

void log_batch_rewind(struct log_batch *batch, struct log_batch_mark mark)
{
    assert(mark.bytes <= batch->bytes);
    assert(mark.count <= batch->count);
    if (batch->unsummed && batch->unsummed_at >= mark.bytes)
        batch->unsummed = false;
    batch->bytes = mark.bytes;
    batch->count = mark.count;
    batch->open = false;
}
