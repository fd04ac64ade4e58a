/* log/log_damage_test.c - damage costs exactly the damaged records.
 *
 * A log of several segments is made and stopped. Then one thing is done to its files (a bit, a sector, a
 * page, a truncation, a copied or swapped block, a foreign segment, a deleted file), it is opened and read
 * to the end. Which records had a byte touched is known from a walk over the undamaged files, so the test
 * demands the exact set: these are named as gaps, all others are served and right.
 * usage: log_damage_test [MUTATIONS [SEED]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "log/frame.h"
#include "log/log_test_kit.h"
#include "log/part.h"

enum { RECORDS_MAX = 20000, FRAMES_MAX = 4000, FILES_MAX = 64 };

struct place {
    int    file;
    size_t at, end;
};

struct file {
    char     name[48];
    uint64_t base;
    uint8_t *bytes, *original;
    size_t   size, original_size;
    bool     gone;
};

struct frame_place_known {
    struct place header;
    uint64_t     base;
    uint32_t     count;
    bool         packed;
};

static struct {
    char                     path[64];
    struct file              files[FILES_MAX];
    int                      file_count;
    struct place             records[RECORDS_MAX];
    uint64_t                 record_count;
    struct frame_place_known frames[FRAMES_MAX];
    size_t                   frame_count;
} made;

static const struct log_topic_options *topic;

static void make_log(uint64_t *random)
{
    struct log_options options = { made.path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_batch  *batch = log_batch_new();
    struct err         err;
    uint64_t           base;

    (void)snprintf(made.path, sizeof made.path, "/dev/shm/penstock-damage-XXXXXX");
    assert_non_null(mkdtemp(made.path));
    assert_int_equal(log_open(&options, &log, &err), 0);
    for (int opening = 0; opening < 3; opening++) {
        assert_int_equal(log_writer_open(log, "raw", 0, topic, &writer, &err), 0);
        for (int group = 0; group < 30; group++) {
            for (uint64_t f = kit_random(random) % 4 + 1; f > 0; f--) {
                uint64_t next = log_writer_end(writer);

                log_batch_reset(batch);
                for (uint64_t i = kit_random(random) % 20 + 1; i > 0; i--)
                    kit_add(batch, (size_t)(16 + kit_random(random) % (kit_random(random) % 50 == 0 ? 20000 : 500)), next++);
                assert_int_equal(log_writer_append(writer, batch, 1, &base, &err), 0);
            }
            assert_int_equal(log_writer_sync(writer, &err), 0);
            log_writer_publish(writer, log_writer_end(writer));
        }
        made.record_count = log_writer_end(writer);
        log_writer_close(writer);
    }
    log_batch_free(batch);
    log_close(log);
}

static void load_file(const char *name)
{
    struct file *file = &made.files[made.file_count++];
    char         path[200];
    struct stat  st;
    int          fd;

    assert_true(made.file_count < FILES_MAX);
    (void)snprintf(file->name, sizeof file->name, "%.47s", name);
    (void)snprintf(path, sizeof path, "%s/raw/0/%s", made.path, file->name);
    fd = open(path, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    file->original_size = (size_t)st.st_size;
    file->original = malloc(file->original_size + 1);
    file->bytes = malloc(file->original_size + 1);
    assert_int_equal(read(fd, file->original, file->original_size), file->original_size);
    close(fd);
    if (!part_segment_base(name, ".seg", &file->base))
        file->base = UINT64_MAX;
}

/* Where each record stands, from the undamaged file. */
static void map_file(int index)
{
    struct file       *file = &made.files[index];
    struct frame_place place = { bytes_get_u64(file->original + 8), file->base };
    struct frame       frame;

    for (size_t at = SEGMENT_DATA_AT; at + FRAME_HEADER_BYTES <= file->original_size && frame_get(file->original + at, &place, at, &frame);
         at += frame_bytes(&frame)) {
        size_t body = at + FRAME_HEADER_BYTES;

        made.frames[made.frame_count++] = (struct frame_place_known){ { index, at, body }, frame.base, frame.count, frame.codec != 0 };
        assert_true(made.frame_count < FRAMES_MAX);
        for (uint32_t i = 0; i < frame.count; i++) {
            size_t bytes = frame.codec != 0 ? frame.body_bytes : RECORD_HEADER_BYTES + bytes_get_u32(file->original + body + 4);

            assert_true(frame.base + i < RECORDS_MAX);
            made.records[frame.base + i] = (struct place){ index, body, body + bytes };
            body += frame.codec != 0 ? 0 : frame_padded(bytes);
        }
    }
}

static void load_log(void)
{
    char           path[200];
    DIR           *dir;
    struct dirent *entry;

    (void)snprintf(path, sizeof path, "%s/raw/0", made.path);
    dir = opendir(path);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            load_file(entry->d_name);
    closedir(dir);
    for (int i = 0; i < made.file_count; i++)
        if (made.files[i].base != UINT64_MAX)
            map_file(i);
}

/* --- mutations ---------------------------------------------------------------------------------- */

static struct file *pick_segment(uint64_t *random)
{
    for (;;) {
        struct file *file = &made.files[kit_random(random) % (uint64_t)made.file_count];

        if (file->base != UINT64_MAX)
            return file;
    }
}

/* Mostly where there is something. */
static size_t pick_at(const struct file *file, uint64_t *random, size_t align)
{
    size_t used = file->original_size;

    while (used > SEGMENT_DATA_AT && file->original[used - 1] == 0)
        used--;
    if (kit_random(random) % 16 == 0)
        used = file->original_size;
    return (size_t)(kit_random(random) % used) / align * align;
}

static void mutate(uint64_t *random, char what[160])
{
    struct file *file = pick_segment(random), *other = pick_segment(random);
    size_t       align = kit_random(random) % 2 == 0 ? 512 : 4096, at = pick_at(file, random, align), from = pick_at(other, random, align);
    size_t       bytes = align;
    uint8_t      swap[4096];

    if (at + bytes > file->size)
        bytes = file->size - at;
    if (from + bytes > other->size)
        bytes = other->size - from;
    switch (kit_random(random) % 11) {
    case 0:
        at = pick_at(file, random, 1);
        file->bytes[at] ^= (uint8_t)(1u << (kit_random(random) % 8));
        (void)snprintf(what, 160, "bit flipped at %zu of %s", at, file->name);
        break;
    case 1:
        for (size_t i = 0; i < bytes; i++)
            file->bytes[at + i] = (uint8_t)kit_random(random);
        (void)snprintf(what, 160, "%zu bytes of noise at %zu of %s", bytes, at, file->name);
        break;
    case 2:
        memset(file->bytes + at, 0, bytes);
        (void)snprintf(what, 160, "%zu zeros at %zu of %s", bytes, at, file->name);
        break;
    case 3:
        file->size = pick_at(file, random, 1);
        (void)snprintf(what, 160, "%s truncated to %zu", file->name, file->size);
        break;
    case 4:
        memcpy(file->bytes + at, other->original + from, bytes);
        (void)snprintf(what, 160, "%zu bytes from %zu of %s copied to %zu of %s", bytes, from, other->name, at, file->name);
        break;
    case 5:
        memcpy(swap, file->bytes + at, bytes);
        memcpy(file->bytes + at, other->original + from, bytes);
        memcpy(other->bytes + from, swap, bytes);
        (void)snprintf(what, 160, "%zu bytes at %zu of %s and at %zu of %s swapped", bytes, from, other->name, at, file->name);
        break;
    case 6: /* a segment of another partition in its place: the same form, another id */
        for (size_t i = 8; i < file->size; i += 8)
            if (i < 16 || i >= SEGMENT_DATA_AT)
                bytes_put_u64(file->bytes + i, bytes_get_u64(file->bytes + i) + 1);
        part_segment_header_put(file->bytes, 12345, file->base, 1, 1);
        (void)snprintf(what, 160, "%s is a foreign one", file->name);
        break;
    case 7:
        file->gone = true;
        (void)snprintf(what, 160, "%s deleted", file->name);
        break;
    case 8: /* a small file is deleted */
        for (int i = 0; i < made.file_count; i++)
            if (made.files[i].base == UINT64_MAX && kit_random(random) % 2 == 0)
                made.files[i].gone = true;
        (void)snprintf(what, 160, "small files deleted");
        break;
    case 9: /* a small file is damaged */
        for (int i = 0; i < made.file_count; i++)
            if (made.files[i].base == UINT64_MAX && made.files[i].size > 0)
                made.files[i].bytes[kit_random(random) % (made.files[i].size < 200 ? made.files[i].size : 200)] ^= (uint8_t)(1u << (kit_random(random) % 8));
        (void)snprintf(what, 160, "bits flipped in small files");
        break;
    default: /* a segment under another name, in the middle of another one's range */
        if (made.file_count + 1 < FILES_MAX) {
            struct file *copy = &made.files[made.file_count++];

            *copy = *file;
            copy->base = other->base + 3;
            part_segment_name(copy->name, copy->base, ".seg");
            copy->bytes = malloc(file->size + 1);
            copy->original = NULL;
            memcpy(copy->bytes, file->bytes, file->size);
            (void)snprintf(what, 160, "%s copied to %s", file->name, copy->name);
        }
        break;
    }
}

static void store_files(const char *path)
{
    char name[200];

    (void)mkdir(path, 0700);
    (void)snprintf(name, sizeof name, "%s/raw", path);
    (void)mkdir(name, 0700);
    (void)snprintf(name, sizeof name, "%s/raw/0", path);
    (void)mkdir(name, 0700);
    for (int i = 0; i < made.file_count; i++) {
        int fd;

        if (made.files[i].gone)
            continue;
        (void)snprintf(name, sizeof name, "%s/raw/0/%s", path, made.files[i].name);
        fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, made.files[i].bytes, made.files[i].size), made.files[i].size);
        close(fd);
    }
}

/* --- what must be lost -------------------------------------------------------------------------- */

static bool touched(const struct place *place)
{
    const struct file *file = &made.files[place->file];

    return file->gone || frame_padded(place->end) > file->size || memcmp(file->bytes + place->at, file->original + place->at, place->end - place->at) != 0;
}

static bool segment_foreign(const struct file *file)
{
    struct part_header header;

    return !file->gone && file->size >= SEGMENT_HEADER_BYTES && part_segment_header_get(file->bytes, &header) && header.id == 12345;
}

static void find_lost(bool *lost)
{
    memset(lost, 0, RECORDS_MAX);
    for (uint64_t i = 0; i < made.record_count; i++)
        lost[i] = touched(&made.records[i]) || segment_foreign(&made.files[made.records[i].file]);
    for (size_t f = 0; f < made.frame_count; f++) {
        const struct frame_place_known *frame = &made.frames[f], *next = f + 1 < made.frame_count ? frame + 1 : NULL;

        if (!touched(&frame->header))
            continue;
        /* Described by the next header of the same segment, unless that is gone too, or the frame is packed. */
        if (!frame->packed && next != NULL && next->header.file == frame->header.file && !touched(&next->header))
            continue;
        for (uint32_t i = 0; i < frame->count; i++)
            lost[frame->base + i] = true;
    }
}

static void open_and_compare(const char *path, const bool *lost, const char *what)
{
    struct log_options       options = { path };
    struct log_verify_result result;
    struct log              *log;
    struct log_writer       *writer = NULL;
    struct log_reader       *reader;
    struct log_chunk         chunk;
    struct err               err = { 0 };
    uint64_t                 next = 0, offset, start, lost_count = 0;
    struct span              body;
    struct stat              st;
    char                     quarantine[120];
    int                      rc;

    if (log_open(&options, &log, &err) < 0 || log_writer_open(log, "raw", 0, topic, &writer, &err) < 0)
        fail_msg("%s: does not open: %s", what, err.text);
    if (log_writer_end(writer) > made.record_count)
        fail_msg("%s: ends at %llu", what, (unsigned long long)log_writer_end(writer));
    log_writer_publish(writer, log_writer_end(writer));
    if (log_reader_open(log, "raw", 0, 0, &reader, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        if (chunk.base != next)
            fail_msg("%s: offset %llu after %llu", what, (unsigned long long)chunk.base, (unsigned long long)next);
        next = chunk.base + chunk.count;
        for (uint64_t i = chunk.base; chunk.kind == LOG_GAP && i < next; i++)
            if (!lost[i])
                fail_msg("%s: offset %llu is whole and was not served (%s)", what, (unsigned long long)i, chunk.why);
        if (chunk.kind == LOG_GAP && next > log_reader_start(reader))
            lost_count += next - (chunk.base > log_reader_start(reader) ? chunk.base : log_reader_start(reader));
        /* A touched record may be served all the same: a swap inside its frame only moved it. */
        while (log_chunk_next(&chunk, &offset, &body))
            if (!kit_is_right(body, offset))
                fail_msg("%s: wrong bytes at %llu", what, (unsigned long long)offset);
    }
    if (rc < 0)
        fail_msg("%s: read: %s", what, err.text);
    if (next != log_writer_end(writer))
        fail_msg("%s: served up to %llu of %llu", what, (unsigned long long)next, (unsigned long long)log_writer_end(writer));
    for (uint64_t i = next; i < made.record_count; i++)
        if (!lost[i])
            fail_msg("%s: offset %llu is whole and past the end", what, (unsigned long long)i);
    start = log_reader_start(reader);
    if (log_verify(log, "raw", 0, NULL, NULL, &result, &err) < 0)
        fail_msg("%s: verify: %s", what, err.text);
    if (result.records_damaged != lost_count || result.records != next - start - lost_count)
        fail_msg("%s: verify finds %llu of %llu damaged records", what, (unsigned long long)result.records_damaged, (unsigned long long)lost_count);
    (void)snprintf(quarantine, sizeof quarantine, "%s/raw/0/quarantine", path);
    if (lost_count > 0 && (stat(quarantine, &st) < 0 || st.st_size == 0))
        fail_msg("%s: nothing in quarantine", what);
    log_reader_close(reader);
    log_writer_close(writer);
    log_close(log);
}

static unsigned long mutations = 400, seed_base = 1;

static void damage_costs_the_damaged_records(void **state)
{
    static const struct log_topic_options topics[] = { { .segment_bytes = 128 << 10 }, { .segment_bytes = 128 << 10, .codec = LOG_CODEC_LZ4 } };
    static bool                           lost[RECORDS_MAX];

    (void)state;
    for (size_t t = 0; t < 2; t++) {
        uint64_t random = seed_base * 1000003 + t;
        char     path[80], what[160] = "";

        memset(&made, 0, sizeof made);
        topic = &topics[t];
        make_log(&random);
        load_log();
        (void)snprintf(path, sizeof path, "%s-x", made.path);
        int file_count = made.file_count;
        for (unsigned long n = 0; n < mutations / 2; n++) {
            char full[220];

            for (int i = 0; i < made.file_count; i++) {
                struct file *file = &made.files[i];

                if (i >= file_count) {
                    free(file->bytes);
                    continue;
                }
                file->size = file->original_size;
                file->gone = false;
                memcpy(file->bytes, file->original, file->size);
            }
            made.file_count = file_count;
            if (n > 0)
                mutate(&random, what);
            find_lost(lost);
            kit_remove(path);
            store_files(path);
            (void)snprintf(full, sizeof full, "seed %lu, %zu/%lu: %s", seed_base, t, n, what);
            open_and_compare(path, lost, full);
        }
        kit_remove(path);
        kit_remove(made.path);
        for (int i = 0; i < made.file_count; i++) {
            free(made.files[i].bytes);
            free(made.files[i].original);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(damage_costs_the_damaged_records) };

    if (argc > 1)
        mutations = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed_base = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
