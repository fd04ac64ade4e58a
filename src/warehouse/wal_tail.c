/* warehouse/wal_tail.c - what a killed commit left behind in the engine's write-ahead log is cut off before the
 * engine reads it.
 *
 * A commit writes its entries and then a mark that says "all of it". The engine, opening after a kill, replays up
 * to the last mark and cuts the rest off. But an entry that puts row groups into a table which were written to the
 * file already is carried out as it is read, and not undone when the mark does not come: the rows stand
 * there, and the place that belongs to them does not, so they are loaded again. Seen with engine 1.5.6, at every kill
 * between that entry and its mark (warehouse_test.c: rows_of_an_unfinished_commit_are_not_there).
 *
 * Form of the file, as far as it is read here; numbers little-endian, varints seven bits a byte:
 *    head:    64 00 62, 65 00 varint (version, 2), 66 00 varint (count) and so many varints, 67 00 varint, ff ff
 *    entries: u64 bytes, u64 checksum, then the bytes: 64 00 and one byte of kind, ..., ff ff
 *             kind 64: all of the transaction is here; kind 63: all before is in the file by now
 * Whatever looks otherwise is left to the engine, which knows more forms and says what is damaged. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/say.h"
#include "warehouse/engine.h"

enum { HEAD_BYTES_MAX = 256, ENTRY_HEAD_BYTES = 16, ENTRY_BYTES_MIN = 5, IDENTITY_NUMBERS_MAX = 64 };
enum { KIND_CHECKPOINT = 0x63, KIND_FLUSH = 0x64 };

struct bytes_at { const uint8_t *at, *end; };

static bool take(struct bytes_at *from, const uint8_t *want, size_t bytes)
{
    if ((size_t)(from->end - from->at) < bytes || memcmp(from->at, want, bytes) != 0)
        return false;
    from->at += bytes;
    return true;
}

static bool take_varint(struct bytes_at *from, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && from->at < from->end; shift += 7) {
        uint8_t byte = *from->at++;

        *out |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

static size_t head_bytes_of(struct span file)
{
    struct bytes_at from = { file.at, file.at + file.bytes };
    uint64_t        number, count;

    if (!take(&from, (const uint8_t *)"\x64\0\x62\x65\0", 5) ||
        !take_varint(&from, &number) || number != 2 || !take(&from, (const uint8_t *)"\x66\0", 2) ||
        !take_varint(&from, &count) || count > IDENTITY_NUMBERS_MAX)
        return 0;
    while (count-- > 0)
        if (!take_varint(&from, &number))
            return 0;
    if (!take(&from, (const uint8_t *)"\x67\0", 2) || !take_varint(&from, &number) ||
        !take(&from, (const uint8_t *)"\xff\xff", 2))
        return 0;
    return (size_t)(from.at - file.at);
}

uint64_t wal_marked_bytes(int fd, uint64_t bytes)
{
    uint8_t  head[HEAD_BYTES_MAX], entry[ENTRY_HEAD_BYTES + 3];
    int64_t  got = io_pread(fd, head, bytes < sizeof head ? (size_t)bytes : sizeof head, 0);
    size_t   head_bytes = got <= 0 ? 0 : head_bytes_of(span_of(head, (size_t)got));
    uint64_t at = head_bytes, marked = head_bytes;

    if (head_bytes == 0)
        return 0;
    while (bytes - at >= sizeof entry) {
        uint64_t entry_bytes;

        if (io_pread(fd, entry, sizeof entry, at) != (int64_t)sizeof entry)
            return 0;
        entry_bytes = bytes_get_u64(entry);
        if (entry_bytes < ENTRY_BYTES_MIN || entry[ENTRY_HEAD_BYTES] != 0x64 || entry[ENTRY_HEAD_BYTES + 1] != 0)
            return 0;
        if (entry_bytes > bytes - at - ENTRY_HEAD_BYTES)
            break; /* it was being written */
        at += ENTRY_HEAD_BYTES + entry_bytes;
        if (entry[ENTRY_HEAD_BYTES + 2] == KIND_FLUSH || entry[ENTRY_HEAD_BYTES + 2] == KIND_CHECKPOINT)
            marked = at;
    }
    return marked;
}

static int cut(const char *wal, struct err *err)
{
    struct stat st;
    uint64_t    marked;
    int         rc = 0, fd = open(wal, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return 0; /* there is none, or the engine says why it cannot be opened */
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        marked = wal_marked_bytes(fd, (uint64_t)st.st_size);
        if (marked != 0 && marked < (uint64_t)st.st_size) {
            say(SAY_INFO, "%s: %" PRIu64 " bytes of a commit that was not finished are cut off", wal,
                (uint64_t)st.st_size - marked);
            if (ftruncate(fd, (off_t)marked) < 0 || fsync(fd) < 0)
                rc = err_errno(err, errno, "%s: cutting off what was not committed", wal);
        }
    }
    close(fd);
    return rc;
}

int engine_wal_cut(const struct warehouse *warehouse, struct err *err)
{
    char         wal[ENGINE_PATH_BYTES + 8];
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int          rc = 0, fd = open(warehouse->path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return 0;
    /* The engine's own lock: who has it is writing the log right now. */
    if (fcntl(fd, F_SETLK, &lock) == 0) {
        (void)snprintf(wal, sizeof wal, "%s.wal", warehouse->path);
        rc = cut(wal, err);
    }
    close(fd);
    return rc;
}
