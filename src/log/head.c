/* log/head.c - see head.h. Two slots with sums instead of one word: the end is believed by readers in other
 * processes and by recovery, and a torn or flipped word would make them invent a range of lost records. */
#include "log/head.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/io.h"

enum { HEAD_BYTES = 4096, HEAD_SEQ_AT = 28, HEAD_SLOT_AT = 64, HEAD_SLOT_BYTES = 64, HEAD_NOTE_AT = 192, HEAD_TRIES = 64 };
_Static_assert(HEAD_NOTE_AT + HEAD_NOTE_BYTES == HEAD_BYTES && HEAD_NOTE_BYTES % 8 == 0, "the note is the rest of the page");
#define HEAD_MAGIC UINT64_C(0x4441454854534e50)

static uint64_t head_u64(const struct head *head, size_t at)
{
    return __atomic_load_n((const uint64_t *)(const void *)(head->map + at), __ATOMIC_RELAXED);
}

static uint32_t head_u32(const struct head *head, size_t at, int order)
{
    return __atomic_load_n((const uint32_t *)(const void *)(head->map + at), order);
}

static void head_put_u64(struct head *head, size_t at, uint64_t value)
{
    __atomic_store_n((uint64_t *)(void *)(head->map + at), value, __ATOMIC_RELAXED);
}

static void head_put_u32(struct head *head, size_t at, uint32_t value, int order)
{
    __atomic_store_n((uint32_t *)(void *)(head->map + at), value, order);
}

static int head_map(struct head *head, const struct part *part, bool writable, struct err *err)
{
    struct stat st;

    if (fstat(head->fd, &st) < 0 || st.st_size != HEAD_BYTES)
        return 0;
    head->ino = (uint64_t)st.st_ino;
    head->map = io_mmap(head->fd, HEAD_BYTES, writable ? PROT_READ | PROT_WRITE : PROT_READ);
    if (head->map == NULL)
        return err_errno(err, errno, "%s: map head", part->label);
    return 1;
}

int head_open_writer(struct head *head, const struct part *part, struct err *err)
{
    static const uint8_t zeros[HEAD_BYTES];
    int                  rc;

    *head = (struct head){ .fd = io_open(part->dir_fd, "head", O_RDWR, 0) };
    rc = head->fd < 0 ? 0 : head_map(head, part, true, err);
    if (rc == 1)
        return 0;
    head_close(head);
    if (rc < 0)
        return -1;
    /* Made whole under another name: a reader never maps a file that is too short. */
    head->fd = io_open(part->dir_fd, "head.new", O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (head->fd < 0 || io_pwrite(head->fd, zeros, sizeof zeros, 0) < 0 || io_rename(part->dir_fd, "head.new", "head") < 0)
        rc = err_errno(err, errno, "%s: make head", part->label);
    else
        rc = head_map(head, part, true, err);
    if (rc < 1)
        head_close(head);
    return rc < 1 ? -1 : 0;
}

int head_open_reader(struct head *head, const struct part *part, struct err *err)
{
    int rc;

    *head = (struct head){ .fd = io_open(part->dir_fd, "head", O_RDONLY, 0) };
    if (head->fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s: open head", part->label);
    rc = head_map(head, part, false, err);
    if (rc < 1)
        head_close(head);
    return rc;
}

void head_close(struct head *head)
{
    if (head->map != NULL)
        (void)munmap(head->map, HEAD_BYTES);
    io_close(head->fd);
    *head = (struct head){ .fd = -1 };
}

bool head_is_current(const struct head *head, const struct part *part)
{
    struct stat st;

    return fstatat(part->dir_fd, "head", &st, 0) == 0 && (uint64_t)st.st_ino == head->ino;
}

bool head_identity(const struct head *head, uint64_t *id_out, uint32_t *epoch_out, uint32_t *owner_out)
{
    for (int i = 0; i < HEAD_TRIES; i++) {
        uint8_t bytes[24];

        bytes_put_u64(bytes, head_u64(head, 0));
        bytes_put_u64(bytes + 8, head_u64(head, 8));
        bytes_put_u64(bytes + 16, head_u64(head, 16)); /* epoch and owner */
        if (bytes_get_u64(bytes) != HEAD_MAGIC || head_u32(head, 24, __ATOMIC_ACQUIRE) != crc32c(0, span_of(bytes, sizeof bytes)))
            continue;
        *id_out = bytes_get_u64(bytes + 8);
        *epoch_out = bytes_get_u32(bytes + 16);
        *owner_out = bytes_get_u32(bytes + 20);
        return true;
    }
    return false;
}

void head_set_identity(struct head *head, uint64_t id, uint32_t epoch, uint32_t owner)
{
    uint8_t bytes[24];

    bytes_put_u64(bytes, HEAD_MAGIC);
    bytes_put_u64(bytes + 8, id);
    bytes_put_u32(bytes + 16, epoch);
    bytes_put_u32(bytes + 20, owner);
    head_put_u64(head, 0, HEAD_MAGIC);
    head_put_u64(head, 8, id);
    head_put_u64(head, 16, bytes_get_u64(bytes + 16));
    head_put_u32(head, 24, crc32c(0, span_of(bytes, sizeof bytes)), __ATOMIC_RELEASE);
}

static bool head_slot(const struct head *head, uint32_t which, struct head_place *out, uint32_t *seq_out)
{
    size_t  at = HEAD_SLOT_AT + (size_t)which * HEAD_SLOT_BYTES;
    uint8_t bytes[28];

    for (size_t i = 0; i < 24; i += 8)
        bytes_put_u64(bytes + i, head_u64(head, at + i));
    bytes_put_u32(bytes + 24, head_u32(head, at + 24, __ATOMIC_RELAXED));
    if (head_u32(head, at + 28, __ATOMIC_RELAXED) != crc32c(0, span_of(bytes, sizeof bytes)))
        return false;
    *out = (struct head_place){ bytes_get_u64(bytes), bytes_get_u64(bytes + 8), bytes_get_u64(bytes + 16) };
    *seq_out = bytes_get_u32(bytes + 24);
    return *seq_out != 0 && (*seq_out & 1) == which;
}

bool head_load(const struct head *head, struct head_place *out, uint32_t *seq_out)
{
    struct head_place place[2];
    uint32_t          seq[2];
    bool              whole[2];

    for (int i = 0; i < HEAD_TRIES; i++) {
        uint32_t now = head_u32(head, HEAD_SEQ_AT, __ATOMIC_ACQUIRE);

        if (now != 0 && head_slot(head, now & 1, &place[0], &seq[0]) && seq[0] == now) {
            *out = place[0];
            *seq_out = now;
            return true;
        }
    }
    /* Not a race but damage: the newest slot that is whole. */
    for (uint32_t i = 0; i < 2; i++)
        whole[i] = head_slot(head, i, &place[i], &seq[i]);
    if (!whole[0] && !whole[1])
        return false;
    uint32_t newest = whole[0] && (!whole[1] || (int32_t)(seq[0] - seq[1]) > 0) ? 0 : 1;
    *out = place[newest];
    *seq_out = head_u32(head, HEAD_SEQ_AT, __ATOMIC_ACQUIRE);
    return true;
}

/* Writes the next slot and makes it the newest. */
static void head_advance(struct head *head, const struct head_place *place)
{
    uint32_t seq = head_u32(head, HEAD_SEQ_AT, __ATOMIC_RELAXED) + 1;
    size_t   at;
    uint8_t  bytes[28];

    if (seq == 0)
        seq = 2; /* 0 means never written */
    at = HEAD_SLOT_AT + (size_t)(seq & 1) * HEAD_SLOT_BYTES;
    bytes_put_u64(bytes, place->end);
    bytes_put_u64(bytes + 8, place->seg_base);
    bytes_put_u64(bytes + 16, place->frame_at);
    bytes_put_u32(bytes + 24, seq);
    for (size_t i = 0; i < 24; i += 8)
        head_put_u64(head, at + i, bytes_get_u64(bytes + i));
    head_put_u32(head, at + 24, seq, __ATOMIC_RELAXED);
    head_put_u32(head, at + 28, crc32c(0, span_of(bytes, sizeof bytes)), __ATOMIC_RELEASE);
    head_put_u32(head, HEAD_SEQ_AT, seq, __ATOMIC_RELEASE);
}

static void head_wake(struct head *head)
{
    (void)syscall(SYS_futex, head->map + HEAD_SEQ_AT, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void head_set(struct head *head, const struct head_place *place)
{
    head_advance(head, place);
    head_advance(head, place);
    head_wake(head);
}

void head_publish(struct head *head, const struct head_place *place)
{
    head_advance(head, place);
    head_wake(head);
}

void head_note_get(const struct head *head, uint8_t note[HEAD_NOTE_BYTES])
{
    for (size_t i = 0; i < HEAD_NOTE_BYTES; i += 8)
        bytes_put_u64(note + i, head_u64(head, HEAD_NOTE_AT + i));
}

void head_note_put(struct head *head, const uint8_t note[HEAD_NOTE_BYTES])
{
    for (size_t i = 0; i < HEAD_NOTE_BYTES; i += 8)
        if (head_u64(head, HEAD_NOTE_AT + i) != bytes_get_u64(note + i))
            head_put_u64(head, HEAD_NOTE_AT + i, bytes_get_u64(note + i));
}

int head_sync(struct head *head, const struct part *part, struct err *err)
{
    if (io_fsync(head->fd) < 0)
        return err_set(err, ERR_STOP, "%s: sync of head: %s", part->label, strerror(errno));
    return 0;
}

void head_wait(const struct head *head, uint32_t seq, int64_t timeout_us)
{
    struct timespec timeout = { .tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000 };

    (void)syscall(SYS_futex, head->map + HEAD_SEQ_AT, FUTEX_WAIT, seq, &timeout, NULL, 0);
}
