/* warehouse/zstd_search_test.c - sequences stand for exactly the bytes they were made of, block after block; and what the
 * engine wrote with them comes out of its file. Needs libduckdb.so, as warehouse_test_kit.h says. */
#include <inttypes.h>
#include <string.h>

#include "warehouse/warehouse_test_kit.h"
#include "warehouse/zstd_search.h"

enum { STREAM_BYTES = 1 << 20, SEQUENCES = 1 << 17, WINDOW = 1 << 22 };

static uint64_t dice_state = 1;

static uint64_t dice(void)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return dice_state >> 33;
}

/* What a decoder makes of the sequences, behind what it made of earlier blocks. Gives the matches' bytes. */
static size_t replay(const struct zstd_sequence *at, size_t count, const uint8_t *literals, uint8_t *made, size_t before, size_t bytes,
                     size_t window)
{
    size_t to = before, from = 0, matched = 0;

    for (size_t i = 0; i < count; i++) {
        assert_true(to + at[i].literals + at[i].match <= before + bytes);
        memcpy(made + to, literals + from, at[i].literals);
        to += at[i].literals;
        from += at[i].literals + at[i].match;
        assert_int_equal(at[i].match == 0, i + 1 == count);
        if (at[i].match > 0) {
            assert_true(at[i].match >= 3 && at[i].offset > 0 && at[i].offset <= to && at[i].offset <= window);
            for (size_t k = 0; k < at[i].match; k++, to++)
                made[to] = made[to - at[i].offset];
        }
        matched += at[i].match;
    }
    assert_int_equal(to, before + bytes);
    return matched;
}

/* The text as a stream in such blocks; each is searched before the next one is there. */
static size_t check(uintptr_t stream, const uint8_t *text, size_t bytes, size_t block, size_t window)
{
    static uint8_t              seen[STREAM_BYTES], made[STREAM_BYTES];
    static struct zstd_sequence sequences[SEQUENCES];
    size_t                      matched = 0;

    memset(made, 0, sizeof made);
    for (size_t at = 0; at < bytes; at += block) {
        size_t n = bytes - at < block ? bytes - at : block, count;

        memcpy(seen + at, text + at, n);
        memset(seen + at + n, 0x5a, sizeof seen - at - n);
        count = zstd_search((void *)stream, sequences, SEQUENCES, seen + at, n, NULL, 0, 1, window);
        assert_int_not_equal(count, ZSTD_SEARCH_FAILED);
        matched += replay(sequences, count, seen + at, made, at, n, window);
    }
    assert_memory_equal(made, text, bytes);
    return matched;
}

/* Rows of JSON whose values repeat now and then. */
static size_t rows_write(uint8_t *to, size_t room)
{
    size_t bytes = 0;

    while (bytes + 400 < room)
        bytes += (size_t)sprintf((char *)to + bytes,
                                 "{\"$os\":\"Mac OS X\",\"$current_url\":\"https://store.example.org/%" PRIu64 "\",\"plan\":\"%" PRIu64
                                 "\",\"$insert_id\":\"%08" PRIx64 "\",\"$set\":{\"$os\":\"Mac OS X\",\"seen\":%" PRIu64 "}}",
                                 dice() % 100, dice() % 3, dice(), dice());
    return bytes;
}

static void blocks_come_out_as_they_went_in(void **state)
{
    static uint8_t text[STREAM_BYTES];
    size_t         bytes = rows_write(text, sizeof text);
    uintptr_t      stream = 1;

    (void)state;
    assert_true(check(stream++, text, bytes, 128 << 10, WINDOW) > bytes / 2);
    for (size_t block = 1; block < 200; block += 7)
        (void)check(stream++, text, 4000, block, WINDOW);
    for (size_t n = 0; n < 400; n++)
        (void)check(stream++, text, n, 100, WINDOW);
    (void)check(stream++, text, bytes, 5000, 1 << 10); /* nothing from further back than the window */
    memset(text, 'a', sizeof text);
    (void)check(stream++, text, sizeof text, 128 << 10, WINDOW);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)dice();
    assert_int_equal(check(stream++, text, sizeof text, 128 << 10, WINDOW), 0);
}

/* Another stream in the same memory, and the same one that begins at its buffer's start again, know nothing of what stood there. */
static void what_is_gone_is_not_referred_to(void **state)
{
    static uint8_t text[STREAM_BYTES];
    size_t         bytes = rows_write(text, 60000);

    (void)state;
    for (int i = 0; i < 20; i++) {
        (void)check(1000, text, bytes, 7000, WINDOW);
        (void)check((uintptr_t)(1000 + i), text + i, bytes - 20, 7000, WINDOW);
    }
}

/* A stream whose buffer begins where another one's block ended. */
static void a_neighbour_is_not_referred_to(void **state)
{
    static uint8_t              text[STREAM_BYTES], made[STREAM_BYTES];
    static struct zstd_sequence sequences[SEQUENCES];
    size_t                      bytes = rows_write(text, 9000), count;

    (void)state;
    memcpy(text + bytes, text, bytes);
    (void)zstd_search((void *)2000, sequences, SEQUENCES, text, bytes, NULL, 0, 1, WINDOW);
    count = zstd_search((void *)2001, sequences, SEQUENCES, text + bytes, bytes, NULL, 0, 1, WINDOW);
    (void)replay(sequences, count, text + bytes, made, 0, bytes, WINDOW);
    assert_memory_equal(made, text + bytes, bytes);
}

static void no_room_or_a_dictionary_is_left_to_zstd(void **state)
{
    static uint8_t       text[10000];
    struct zstd_sequence few[3];

    (void)state;
    (void)rows_write(text, sizeof text);
    assert_int_equal(zstd_search((void *)5, few, 3, text, 9000, NULL, 0, 1, WINDOW), ZSTD_SEARCH_FAILED);
    assert_int_equal(zstd_search((void *)6, few, 0, text, 9000, NULL, 0, 1, WINDOW), ZSTD_SEARCH_FAILED);
    assert_int_equal(zstd_search((void *)7, few, 3, text, 9000, text, 10, 1, WINDOW), ZSTD_SEARCH_FAILED);
}

/* Streams of 2048 values that are larger than the window: the buffer begins anew at its start in each of them. */
static void texts_come_out_of_the_file(void **state)
{
    enum { ROWS = WAREHOUSE_GROUP_ROWS, TEXT_BYTES = 6000 };
    static uint8_t    text[TEXT_BYTES];
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row;

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        size_t bytes = rows_write(text, (size_t)(i % 4 == 0 ? 500 : 3000 + (int)(dice() % (TEXT_BYTES - 3000))));

        row_init(&row, ROW_EVENT);
        row_set_text(&row, ROW_EVENT_PROPERTIES, span_of(text, bytes));
        row_set_text(&row, ROW_EVENT_EVENT, span_of(text, bytes)); /* of no zstd */
        add(warehouse, &row);
    }
    (void)commit(warehouse, 1);
    warehouse_close(warehouse);
    warehouse = open_or_fail(true);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                            "SELECT count(*) AS n, count(*) FILTER (properties = event) AS same FROM events"),
                        "n,same\r\n8192,8192\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                            "SELECT DISTINCT column_name, compression = 'ZSTD' AS z FROM pragma_storage_info('events') WHERE "
                            "segment_type = 'VARCHAR' AND column_name IN ('properties', 'event') ORDER BY 1"),
                        "column_name,z\r\nevent,false\r\nproperties,true\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_out_as_they_went_in),
        cmocka_unit_test(what_is_gone_is_not_referred_to),
        cmocka_unit_test(a_neighbour_is_not_referred_to),
        cmocka_unit_test(no_room_or_a_dictionary_is_left_to_zstd),
        cmocka_unit_test_setup(texts_come_out_of_the_file, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
