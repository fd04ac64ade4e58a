/* log/log_erase_test.c - erased records are empty and in no byte of the folder; every other record is as it was, for
 * those who read on meanwhile too, and whatever is killed. usage: log_erase_test [KILLS] */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "log/log_test_kit.h"

enum { RECORDS = 3000, EVERY = 7 };
enum { ERASED = 101 * EVERY, BODY_BYTES_MAX = 320 };
#define NOW_US ((int64_t)1709287200 * 1000000)

static unsigned long kills = 15;

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

struct place {
    char               folder[64];
    struct log        *log;
    struct log_writer *writer;
    struct log_batch  *batch;
    enum log_codec     codec;
};

static void writer_open(struct place *place)
{
    const struct log_topic_options options = { .codec = place->codec, .segment_bytes = 64 << 10 };
    struct err                     err;

    MUST(log_writer_open(place->log, "t", 0, &options, &place->writer, &err));
}

static uint64_t append_random(uint64_t from)
{
    return from + 1;
}

static size_t body_bytes_next(uint64_t *random)
{
    return 16 + kit_random(random) % 300;
}

static void append(struct place *place, uint64_t from, uint64_t count)
{
    struct err err;
    uint64_t   base, random = append_random(from);

    for (uint64_t i = from; i < from + count; i++) {
        kit_add(place->batch, body_bytes_next(&random), i);
        if (log_batch_count(place->batch) == 25 || i + 1 == from + count) {
            MUST(log_writer_append(place->writer, place->batch, NOW_US, &base, &err));
            log_batch_reset(place->batch);
        }
    }
    MUST(log_writer_sync(place->writer, &err));
    log_writer_publish(place->writer, log_writer_end(place->writer));
}

static void place_open(struct place *place, enum log_codec codec)
{
    struct err err;

    *place = (struct place){ .codec = codec };
    kit_folder(place->folder);
    MUST(log_open(&(struct log_options){ .folder = place->folder }, &place->log, &err));
    place->batch = log_batch_new();
    writer_open(place);
}

static void place_close(struct place *place)
{
    log_writer_close(place->writer);
    log_batch_free(place->batch);
    log_close(place->log);
    kit_remove(place->folder);
}

static bool seventh(void *ctx, uint64_t offset, struct span body)
{
    (void)ctx;
    assert_true(kit_is_right(body, offset));
    return offset % EVERY == 0;
}

/* Reads on to the end: records below erased_below that were wanted are empty, unless they may still be there. */
static uint64_t read_on(struct log_reader *reader, uint64_t next, uint64_t until, uint64_t erased_below, bool may_be_there)
{
    struct log_chunk chunk;
    struct span      body;
    struct err       err;
    uint64_t         offset;
    int              rc;

    while (next < until && (rc = log_reader_next(reader, &chunk, &err)) != 0) {
        MUST(rc);
        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body)) {
            assert_true(offset == next);
            next++;
            if (offset % EVERY == 0 && offset < erased_below && (!may_be_there || body.bytes == 0))
                assert_int_equal(body.bytes, 0);
            else
                assert_true(kit_is_right(body, offset));
        }
    }
    return next;
}

static void check_all(struct place *place, uint64_t records, uint64_t erased_below)
{
    struct log_verify_result verified;
    struct log_reader       *reader;
    struct err               err;

    MUST(log_reader_open(place->log, "t", 0, 0, &reader, &err));
    assert_true(read_on(reader, 0, records, erased_below, false) == records);
    log_reader_close(reader);
    MUST(log_verify(place->log, "t", 0, NULL, NULL, &verified, &err));
    assert_true(verified.records_damaged == 0 && verified.records == records);
}

/* Do the bytes of this record's body stand anywhere in the folder's segments? One of the first append, without compression. Its
 * number and its length: the number alone may be found in the end of a random tag and the number behind it. */
static bool is_in_files(struct place *place, uint64_t number)
{
    char     command[300];
    uint8_t  body[BODY_BYTES_MAX];
    uint64_t random = append_random(0);
    size_t   body_bytes = 0;
    char     hex[4 * 16 + 1] = "";

    for (uint64_t i = 0; i <= number; i++)
        body_bytes = body_bytes_next(&random);
    kit_fill(body, body_bytes, number);
    for (int i = 0; i < 16; i++)
        (void)snprintf(hex + 4 * i, 5, "\\x%02x", body[i]);
    (void)snprintf(command, sizeof command, "LC_ALL=C grep -qaP '(?s)%s' %s/t/0/*.seg", hex, place->folder);
    return system(command) == 0;
}

static void erased_beside_writer_and_reader(void **state)
{
    (void)state;
    for (int codec = 0; codec < 2; codec++) {
        struct place       place;
        struct log_reader *reader;
        struct log_erased  erased;
        struct err         err;
        uint64_t           next;

        place_open(&place, (enum log_codec)codec);
        append(&place, 0, RECORDS);
        MUST(log_reader_open(place.log, "t", 0, 0, &reader, &err));
        next = read_on(reader, 0, RECORDS / 3, 0, false);
        assert_true(codec == LOG_CODEC_LZ4 || is_in_files(&place, ERASED));
        MUST(log_erase(place.log, "t", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err));
        assert_true(erased.done_below > 0 && erased.done_below < RECORDS && erased.segments_damaged == 0);
        assert_int_equal(erased.records, (erased.done_below + EVERY - 1) / EVERY);
        assert_true(codec == LOG_CODEC_LZ4 || !is_in_files(&place, ERASED));
        assert_true(codec == LOG_CODEC_LZ4 || is_in_files(&place, ERASED + 1));
        assert_true(read_on(reader, next, RECORDS, RECORDS, true) == RECORDS);
        log_reader_close(reader);
        check_all(&place, RECORDS, erased.done_below);

        /* Again: nothing left to do. In steps it comes to the same end. */
        for (uint64_t from = 0, last = 1; from != last;) {
            last = from;
            MUST(log_erase(place.log, "t", 0, from, UINT64_MAX, 1, seventh, NULL, &erased, &err));
            from = erased.done_below;
            assert_true(erased.records == 0 && from >= last);
        }
        /* Then what was being written, at the writer's next look. */
        MUST(log_erase(place.log, "t", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err));
        assert_true(erased.records == 0 && erased.segments == 0);
        MUST(log_roll_ask(place.log, "t", 0, &err));
        MUST(log_writer_retain(place.writer, NOW_US, &err));
        MUST(log_erase(place.log, "t", 0, 0, RECORDS - 3, 0, seventh, NULL, &erased, &err));
        assert_true(erased.done_below == RECORDS && erased.records > 0);
        check_all(&place, RECORDS, RECORDS - 3); /* below what was asked for */
        append(&place, RECORDS, 500);
        log_writer_close(place.writer);
        writer_open(&place);
        assert_true(log_writer_end(place.writer) == RECORDS + 500);
        check_all(&place, RECORDS + 500, RECORDS - 3);
        place_close(&place);
    }
}

static void nothing_is_there(void **state)
{
    struct place      place;
    struct log_erased erased;
    struct err        err;

    (void)state;
    place_open(&place, LOG_CODEC_NONE);
    MUST(log_erase(place.log, "other", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err));
    assert_true(erased.records == 0 && erased.done_below == UINT64_MAX);
    MUST(log_roll_ask(place.log, "other", 0, &err));
    MUST(log_erase(place.log, "t", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err));
    assert_true(erased.records == 0 && erased.done_below == 0);
    place_close(&place);
}

/* A damaged segment is left as it is, and said; the others are done. */
static void damage_is_left(void **state)
{
    struct place      place;
    struct log_erased erased;
    struct err        err;
    char              path[120];
    FILE             *file;

    (void)state;
    place_open(&place, LOG_CODEC_NONE);
    append(&place, 0, RECORDS);
    (void)snprintf(path, sizeof path, "%s/t/0/00000000000000000000.seg", place.folder);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 9000, SEEK_SET), 0);
    assert_int_equal(fwrite("damaged!", 1, 8, file), 8);
    (void)fclose(file);
    MUST(log_erase(place.log, "t", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err));
    assert_true(erased.segments_damaged == 1 && erased.segments > 0);
    place_close(&place);
}

static void killed_at_any_moment(void **state)
{
    uint64_t random = 77;

    (void)state;
    for (unsigned long i = 0; i < kills; i++) {
        struct place      place;
        struct log_erased erased;
        struct err        err;
        pid_t             pid;

        place_open(&place, (enum log_codec)(i % 2));
        append(&place, 0, RECORDS);
        pid = fork();
        if (pid == 0)
            _exit(log_erase(place.log, "t", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err) < 0);
        (void)usleep((useconds_t)(kit_random(&random) % 15000));
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        log_writer_close(place.writer); /* and a start, which removes what was left */
        writer_open(&place);
        assert_true(log_writer_end(place.writer) == RECORDS);
        MUST(log_erase(place.log, "t", 0, 0, UINT64_MAX, 0, seventh, NULL, &erased, &err));
        check_all(&place, RECORDS, erased.done_below);
        place_close(&place);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(erased_beside_writer_and_reader),
        cmocka_unit_test(nothing_is_there),
        cmocka_unit_test(damage_is_left),
        cmocka_unit_test(killed_at_any_moment),
    };

    if (argc > 1)
        kills = strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
