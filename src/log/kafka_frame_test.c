/* log/kafka_frame_test.c - the form of Kafka's messages, and who gets which partition. */
#include "log/kafka_frame.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/kafka_partition.h"
#include "log/log_batch.h"

/* Java's own partitioner says so (Apache Kafka, UtilsTest: murmur2), and kcat -p of a broker's topic agrees. */
static void keys_are_hashed_as_java_does(void **state)
{
    static const struct { const char *key; int32_t hash; } rows[] = {
        { "21", -973932308 },
        { "foobar", -790332482 },
        { "a-little-bit-long-string", -985981536 },
        { "a-little-bit-longer-string", -1486304829 },
        { "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
        { "abc", 479470107 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal((int32_t)kafka_murmur2(span_of(rows[i].key, strlen(rows[i].key))), rows[i].hash);
    assert_int_equal(kafka_partition(SPAN("21"), 1), 0);
    assert_int_equal(kafka_partition(SPAN("21"), 12), (uint32_t)(-973932308 & 0x7fffffff) % 12);
}

static struct log_batch *batch_of(uint32_t count, size_t bytes)
{
    struct log_batch *batch = log_batch_new();
    struct err        err;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t *body = test_malloc(bytes + 1);

        memset(body, 'a' + (int)(i % 20), bytes);
        assert_int_equal(log_batch_add(batch, span_of(body, bytes), &err), 0);
        test_free(body);
    }
    return batch;
}

static void a_frame_comes_back(void **state)
{
    static const struct { enum log_codec codec; uint32_t count; size_t bytes; enum log_codec stored; } rows[] = {
        { LOG_CODEC_NONE, 1, 0, LOG_CODEC_NONE },  { LOG_CODEC_NONE, 3, 9, LOG_CODEC_NONE },
        { LOG_CODEC_LZ4, 200, 300, LOG_CODEC_LZ4 }, { LOG_CODEC_LZ4, 1, 0, LOG_CODEC_NONE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct log_batch  *batch = batch_of(rows[i].count, rows[i].bytes);
        struct kafka_frame frame = { .kind = KAFKA_FRAME_OWNED, .codec = rows[i].codec, .count = rows[i].count, .epoch = 7,
                                     .base = 4000000000u, .published = 12, .appended_us = 99 }, got;
        size_t             bytes, size = 0;
        uint8_t           *buf = NULL, *at = kafka_frame_make(&frame, span_of(batch->at, batch->bytes), &bytes);
        struct span        raw;
        struct err         err;

        assert_non_null(at);
        assert_true(kafka_frame_is(span_of(at, bytes)));
        assert_true(kafka_frame_get(span_of(at, bytes), &got));
        assert_int_equal(got.codec, rows[i].stored);
        assert_int_equal(got.count, rows[i].count);
        assert_int_equal(got.epoch, 7);
        assert_int_equal(got.base, 4000000000u);
        assert_int_equal(got.published, 12);
        assert_int_equal(got.appended_us, 99);
        assert_int_equal(kafka_frame_body(span_of(at, bytes), &got, &buf, &size, &raw, &err), 1);
        assert_int_equal(raw.bytes, batch->bytes);
        assert_memory_equal(raw.at, batch->at, batch->bytes);
        /* Each bit of it matters. */
        for (size_t bit = 0; bit < 8 * bytes && bytes < 200; bit++) {
            at[bit / 8] = (uint8_t)(at[bit / 8] ^ 1u << bit % 8);
            assert_false(kafka_frame_get(span_of(at, bytes), &got) &&
                         kafka_frame_body(span_of(at, bytes), &got, &buf, &size, &raw, &err) != 0);
            at[bit / 8] = (uint8_t)(at[bit / 8] ^ 1u << bit % 8);
        }
        for (size_t cut = 0; cut < bytes; cut++)
            assert_false(kafka_frame_get(span_of(at, cut), &got) &&
                         kafka_frame_body(span_of(at, cut), &got, &buf, &size, &raw, &err) != 0);
        free(buf);
        free(at);
        log_batch_free(batch);
    }
}

/* A client could write these with true sums: they must not be believed. */
static void lies_with_true_sums_are_damage(void **state)
{
    struct log_batch *batch = batch_of(3, 20);

    (void)state;
    for (int lie = 0; lie < 6; lie++) {
        struct kafka_frame frame = { .kind = KAFKA_FRAME_SHARED, .count = 3 }, got;
        size_t             bytes, size = 0;
        uint8_t           *buf = NULL, *at = kafka_frame_make(&frame, span_of(batch->at, batch->bytes), &bytes);
        struct span        raw;
        struct err         err;

        switch (lie) {
        case 0: frame.count = 4; break;
        case 1: frame.count = 2; break;
        case 2: frame.raw_bytes += 8; break;
        case 3: bytes_put_u32(at + KAFKA_FRAME_HEADER_BYTES + 4, UINT32_MAX); break;
        case 4: bytes_put_u32(at + KAFKA_FRAME_HEADER_BYTES + 4, 1000); break;
        case 5: frame.codec = LOG_CODEC_LZ4; break;
        }
        frame.body_crc = crc32c(0, span_of(at + KAFKA_FRAME_HEADER_BYTES, bytes - KAFKA_FRAME_HEADER_BYTES));
        kafka_frame_put(at, &frame);
        assert_false(kafka_frame_get(span_of(at, bytes), &got) &&
                     kafka_frame_body(span_of(at, bytes), &got, &buf, &size, &raw, &err) != 0);
        free(buf);
        free(at);
    }
    log_batch_free(batch);
}

static void a_batch_is_cut_between_records(void **state)
{
    struct log_batch *batch = batch_of(10, 100); /* 16 + 104 each */
    size_t            bytes;

    (void)state;
    assert_int_equal(kafka_frame_fit(span_of(batch->at, batch->bytes), 10, 1000000, &bytes), 10);
    assert_int_equal(bytes, 1200);
    assert_int_equal(kafka_frame_fit(span_of(batch->at, batch->bytes), 10, 64 + 360, &bytes), 3);
    assert_int_equal(bytes, 360);
    assert_int_equal(kafka_frame_fit(span_of(batch->at, batch->bytes), 10, 64 + 359, &bytes), 2);
    assert_int_equal(kafka_frame_fit(span_of(batch->at, batch->bytes), 10, 10, &bytes), 1); /* one always goes */
    assert_int_equal(bytes, 120);
    log_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_hashed_as_java_does),
        cmocka_unit_test(a_frame_comes_back),
        cmocka_unit_test(lies_with_true_sums_are_damage),
        cmocka_unit_test(a_batch_is_cut_between_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
