/* log/log_places_test.c - a topic whose files are lost, or are an older copy, gives no offset a second time that a consumer has passed:
 * who reads on from its own place would never see what stands there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "log/log_test_kit.h"

static char        path[64];
static struct log *opened;

static int setup(void **state)
{
    struct log_options options = { path };
    struct err         err;

    (void)state;
    kit_folder(path);
    if (log_open(&options, &opened, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_close(opened);
    kit_remove(path);
    return 0;
}

/* Appends so many records; gives where the first of them stands. */
static uint64_t append(bool keeps_places, uint64_t count)
{
    struct log_topic_options options = { .segment_bytes = 64 << 10, .keeps_places = keeps_places };
    struct log_batch        *batch = log_batch_new();
    struct log_writer       *writer;
    struct err               err;
    uint64_t                 base = 0, end;

    for (uint64_t i = 0; i < count; i++)
        kit_add(batch, 100, i);
    if (log_writer_open(opened, "raw", 0, &options, &writer, &err) < 0 || log_writer_append(writer, batch, 1, &base, &err) < 0 ||
        log_writer_sync(writer, &err) < 0)
        fail_msg("%s", err.text);
    end = log_writer_end(writer);
    log_writer_publish(writer, end);
    log_writer_close(writer);
    log_batch_free(batch);
    assert_int_equal(end, base + count);
    return base;
}

static void consumed(uint64_t offset)
{
    struct err err;

    if (log_cursor_store(opened, "raw", 0, "ingest", offset, &err) < 0)
        fail_msg("%s", err.text);
}

/* What a consumer reads on from `from`: records until *end_out, and how many of them are told to be lost. */
static uint64_t read_on(uint64_t from, uint64_t *lost_out)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err;
    uint64_t           records = 0;

    *lost_out = 0;
    if (log_reader_open(opened, "raw", 0, from, &reader, &err) < 0)
        fail_msg("%s", err.text);
    while (log_reader_next(reader, &chunk, &err) > 0) {
        if (chunk.kind == LOG_RECORDS)
            records += chunk.count;
        else
            *lost_out += chunk.count;
    }
    log_reader_close(reader);
    return records;
}

static void remove_topic(void)
{
    char folder[80];

    (void)snprintf(folder, sizeof folder, "%s/raw", path);
    kit_remove(folder);
}

static void a_topic_that_is_lost_goes_on_where_its_consumer_is(void **state)
{
    uint64_t lost;

    (void)state;
    assert_int_equal(append(true, 20), 0);
    consumed(20);
    remove_topic();
    assert_int_equal(append(true, 5), 20);
    assert_int_equal(append(true, 5), 25);
    assert_int_equal(read_on(20, &lost), 10);
    assert_int_equal(lost, 0);
}

static void an_older_copy_goes_on_where_its_consumer_is(void **state)
{
    char     from[200], kept[200];
    uint64_t lost;

    (void)state;
    (void)snprintf(from, sizeof from, "cp -a %s/raw %s/copy", path, path);
    (void)snprintf(kept, sizeof kept, "mv %s/copy %s/raw", path, path);
    assert_int_equal(append(true, 20), 0);
    assert_int_equal(system(from), 0);
    assert_int_equal(append(true, 20), 20);
    consumed(33);
    remove_topic();
    assert_int_equal(system(kept), 0);
    assert_int_equal(append(true, 7), 33);
    assert_int_equal(read_on(33, &lost), 7);
    assert_int_equal(lost, 0);
    assert_int_equal(read_on(0, &lost), 27);
    assert_int_equal(lost, 13);
}

/* A topic that its own writer cuts back, as those of finished rows, must not be held where its readers were. */
static void others_begin_anew(void **state)
{
    (void)state;
    assert_int_equal(append(false, 20), 0);
    consumed(20);
    remove_topic();
    assert_int_equal(append(false, 5), 0);
}

/* A place that is damaged says nothing; one that is behind changes nothing. */
static void a_place_is_checked(void **state)
{
    char  name[100];
    FILE *file;

    (void)state;
    assert_int_equal(append(true, 20), 0);
    consumed(10);
    assert_int_equal(append(true, 5), 20);
    consumed(25);
    (void)snprintf(name, sizeof name, "%s/.places/raw.0", path);
    file = fopen(name, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 12, SEEK_SET), 0);
    assert_int_equal(fputc(7, file), 7);
    assert_int_equal(fclose(file), 0);
    remove_topic();
    assert_int_equal(append(true, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_topic_that_is_lost_goes_on_where_its_consumer_is, setup, teardown),
        cmocka_unit_test_setup_teardown(an_older_copy_goes_on_where_its_consumer_is, setup, teardown),
        cmocka_unit_test_setup_teardown(others_begin_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_place_is_checked, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
