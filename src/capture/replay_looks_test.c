/* capture/replay_looks_test.c - a recording of some MiB stops for others while it is read and while it is written, and becomes the record
 * that it would have become without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "capture/replay_intake.h"
#include "log/log_batch.h"

enum { MIB = 1 << 20, ITEM_BYTES = 1000, STOPS_OF_A_MIB = MIB / BETWEEN_BYTES };

static const struct capture_settings settings = { .replay_inflated_bytes_max = 20 * MIB,
                                                  .request_memory_max = 64 * MIB,
                                                  .batch_events_max = 100000 };

static const struct catalog_token *find_anybody(void *ctx, struct span token)
{
    static const struct catalog_token anybody = { .project = 7 };

    (void)ctx, (void)token;
    return &anybody;
}

/* events of items each; in the items' text two names of one length take turns. */
static size_t write_request(char *to, size_t events, size_t items)
{
    size_t bytes = (size_t)sprintf(to, "[");

    for (size_t event = 0; event < events; event++) {
        bytes += (size_t)sprintf(to + bytes, "%s{\"event\":\"$snapshot\",\"distinct_id\":\"u\",\"token\":\"t\",\"properties\":"
                                             "{\"$session_id\":\"s\",\"$snapshot_data\":[", event > 0 ? "," : "");
        for (size_t item = 0; item < items; item++)
            bytes += (size_t)sprintf(to + bytes, "%s{\"type\":3,\"%s\":\"%0*zu\"}", item > 0 ? "," : "", item % 2 ? "data" : "text",
                                     ITEM_BYTES, item);
        bytes += (size_t)sprintf(to + bytes, "]}}");
    }
    return bytes + (size_t)sprintf(to + bytes, "]");
}

static void count_stop(void *ctx)
{
    ++*(size_t *)ctx;
}

/* Its stops, and its record's bytes, to be freed. */
static size_t take(const char *text, size_t bytes, bool look, struct span *record_out)
{
    struct replay_intake *intake = replay_intake_new(&settings);
    struct log_batch     *batch = log_batch_new();
    size_t                stops = 0;
    uint8_t              *body = malloc(bytes), *record;
    struct replay_request request = { .payload = { .body = body, .body_bytes = bytes },
                                      .now_us = 1770091506000000,
                                      .rules = { .find = find_anybody },
                                      .between = { look ? count_stop : NULL, &stops } };
    struct intake_result  result;
    struct refusal        refusal;
    struct span           records;

    assert_true(intake != NULL && batch != NULL && body != NULL);
    memcpy(body, text, bytes);
    if (replay_intake_run(intake, &request, batch, &result, &refusal) < 0)
        fail_msg("%s", refusal.text);
    assert_int_equal(result.accepted, 1);
    records = log_batch_records(batch);
    record = malloc(records.bytes);
    assert_non_null(record);
    memcpy(record, records.at, records.bytes);
    *record_out = span_of(record, records.bytes);
    log_batch_free(batch);
    replay_intake_free(intake);
    free(body);
    return stops;
}

/* Everything behind the record's random uuid (its stored form: event/record.h) and the log's checksum. */
static struct span data_of(struct span record)
{
    const uint8_t *data = memmem(record.at, record.bytes, "{\"event\":\"$snapshot_items\"", 26);

    assert_non_null(data);
    return span_from(record, (size_t)(data - record.at));
}

static void stops_and_changes_nothing(void **state)
{
    static const struct { const char *what; size_t events, items, mib; } rows[] = {
        { "one event", 1, 8300, 8 }, { "many of less than a part each", 100, 83, 8 }, { "small", 1, 10, 0 },
    };
    char *text = malloc(10 * MIB);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t      bytes = write_request(text, rows[i].events, rows[i].items), stops;
        struct span with, without;

        assert_int_equal(bytes / MIB, rows[i].mib);
        assert_int_equal(take(text, bytes, false, &without), 0);
        stops = take(text, bytes, true, &with);
        /* Once when it is unpacked; then it is read, copied and copied again. A part may be some items larger. */
        assert_in_range(stops, 1 + 3 * rows[i].mib * STOPS_OF_A_MIB * 3 / 4, 1 + 3 * (rows[i].mib + 1) * STOPS_OF_A_MIB);
        assert_true(span_equal(data_of(with), data_of(without)));
        free((void *)(uintptr_t)with.at);
        free((void *)(uintptr_t)without.at);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(stops_and_changes_nothing) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
