/* warehouse/clickhouse_test_kit.h - what the tests of the ClickHouse backend share: a server that tests/parts/with.py started,
 * databases of their own, rows, answers, trouble at the front (tests/parts/clickhouse_front.py). Tests only. */
#ifndef PENSTOCK_WAREHOUSE_CLICKHOUSE_TEST_KIT_H
#define PENSTOCK_WAREHOUSE_CLICKHOUSE_TEST_KIT_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "warehouse/ask_test_kit.h"
#include "warehouse/clickhouse.h"

enum { TEAM = 1, TRIES_MAX = 400 };
#define T_US   ((int64_t)1709287200 * 1000000) /* 2024-03-01 10:00:00 by date(1) */
#define DAY_US ((int64_t)86400 * 1000000)

static char        database[40];
static unsigned    databases;

static struct warehouse_settings server = { .backend = "clickhouse", .user = "default", .password_file = "", .database = database,
                                            .cluster = "", .tls_ca = "" };

static inline struct warehouse_options at_server(void)
{
    return (struct warehouse_options){ .settings = &server };
}

static inline struct warehouse *open_as(const struct warehouse_options *options)
{
    struct warehouse *warehouse = NULL;
    struct err        err = { .text = "" };

    for (int i = 0; warehouse_open(options, &warehouse, &err) < 0; i++) {
        if (err.kind != ERR_RETRY || i == TRIES_MAX)
            fail_msg("%s", err.text);
        usleep(50000);
    }
    return warehouse;
}

static inline struct warehouse *open_or_fail(void)
{
    struct warehouse_options options = at_server();

    return open_as(&options);
}

/* Until the server answers: it may be starting again. */
static inline struct warehouse_place place_of(struct warehouse *warehouse)
{
    struct warehouse_place place;
    struct err             err = { .text = "" };

    for (int i = 0; warehouse_place(warehouse, &place, &err) < 0; i++) {
        if (err.kind != ERR_RETRY || i == TRIES_MAX)
            fail_msg("%s", err.text);
        usleep(50000);
    }
    return place;
}

static inline const char *ask(struct warehouse *warehouse, const char *sql)
{
    return ask_as(warehouse, WAREHOUSE_CSV, sql);
}

static inline void fault(struct warehouse *warehouse, const char *json)
{
    char                    address[200];
    struct clickhouse_link  link;
    struct err              err = { .text = "" };

    (void)warehouse;
    (void)snprintf(address, sizeof address, "%s/_fault", server.url);
    if (clickhouse_link_init(&link, &server, "", NULL, &err) < 0)
        fail_msg("%s", err.text);
    curl_easy_setopt(link.curl, CURLOPT_URL, address);
    curl_easy_setopt(link.curl, CURLOPT_POSTFIELDS, json);
    assert_int_equal(curl_easy_perform(link.curl), CURLE_OK);
    clickhouse_link_fini(&link);
}

static inline void add(struct warehouse *warehouse, const struct row *row)
{
    struct err err = { .text = "" };

    if (warehouse_add(warehouse, row, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void run_or_fail(struct warehouse *warehouse, const char *sql)
{
    struct err err = { .text = "" };

    if (clickhouse_run(&warehouse->link, sql, NULL, SPAN(""), NULL, &err) < 0)
        fail_msg("%s: %s", sql, err.text);
}

static inline struct uuid uuid_of(uint64_t number)
{
    struct uuid uuid = { { 1 } };

    for (int i = 0; i < 8; i++)
        uuid.bytes[15 - i] = (uint8_t)(number >> 8 * i);
    return uuid;
}

static inline void make_event(struct row *row, uint64_t number)
{
    static char properties[200], id[40];

    row_init(row, ROW_EVENT);
    row->offset = number;
    (void)snprintf(properties, sizeof properties, "{\"n\":%" PRIu64 ",\"$session_id\":\"s-%" PRIu64 "\"}", number, number % 7);
    (void)snprintf(id, sizeof id, "id-%" PRIu64, number % 13);
    row_set_uuid(row, ROW_EVENT_UUID, uuid_of(number));
    row_set_text(row, ROW_EVENT_EVENT, SPAN("view"));
    row_set_text(row, ROW_EVENT_PROPERTIES, span_text(properties));
    row_set_i64(row, ROW_EVENT_TIMESTAMP, T_US + (int64_t)number * 1000);
    row_set_i64(row, ROW_EVENT_TEAM_ID, TEAM);
    row_set_text(row, ROW_EVENT_DISTINCT_ID, span_text(id));
    row_set_i64(row, ROW_EVENT_CAPTURED_AT, T_US);
    row_set_i64(row, ROW_EVENT_RAW_OFFSET, (int64_t)number);
}

static inline void add_events(struct warehouse *warehouse, uint64_t from, uint64_t to)
{
    struct row row;

    for (uint64_t i = from; i < to; i++) {
        make_event(&row, i);
        if (i % 3 == 0) /* another month: another part */
            row.cells[ROW_EVENT_TIMESTAMP].i64 -= 40 * DAY_US;
        add(warehouse, &row);
    }
}

static inline struct warehouse_place commit(struct warehouse *warehouse, const struct warehouse_place *from, uint64_t next)
{
    struct warehouse_place place = *from;
    struct err             err = { .text = "" };

    place.next[0] = place.next[WAREHOUSE_ORDERS] = next;
    if (warehouse_commit(warehouse, &place, &err) < 0)
        fail_msg("%s", err.text);
    return place;
}

/* As the loader does it: from where the warehouse is, again and again until it is there. Gives how often it took. */
static inline int load_until(struct warehouse **warehouse, uint64_t to, bool reopen)
{
    struct warehouse_place place;
    struct err             err = { .text = "" };

    for (int i = 0; i < TRIES_MAX; i++) {
        uint64_t until;

        if (reopen && i > 0) { /* the loader was killed, too */
            warehouse_close(*warehouse);
            *warehouse = open_or_fail();
        }
        place = place_of(*warehouse);
        if (!place.again && place.next[0] == to)
            return i;
        until = place.again ? place.until[0] : to;
        add_events(*warehouse, place.next[0], until);
        place.next[0] = until;
        if (warehouse_commit(*warehouse, &place, &err) < 0) {
            if (err.kind != ERR_RETRY && err.kind != ERR_FULL)
                fail_msg("%s", err.text);
            warehouse_rollback(*warehouse);
            usleep(50000);
        }
    }
    fail_msg("not loaded: %s", err.text);
    return 0;
}

static inline void expect_events(struct warehouse *warehouse, uint64_t count)
{
    char want[100];

    (void)snprintf(want, sizeof want, "n,d,s\r\n%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\r\n", count, count, count * (count - 1) / 2);
    assert_string_equal(ask(warehouse, "SELECT count() AS n, uniqExact(uuid) AS d, sum(raw_offset) AS s FROM events"), want);
    assert_int_equal(place_of(warehouse).loaded[ROW_EVENT], count);
}

static inline int set_up(void **state)
{
    (void)state;
    (void)snprintf(database, sizeof database, "t%d_%u", (int)getpid(), databases++);
    return 0;
}

static inline bool server_known(void)
{
    server.url = getenv("PENSTOCK_TEST_CLICKHOUSE");
    if (server.url == NULL)
        print_message("needs ClickHouse: tests/parts/with.py clickhouse -- PROGRAM\n");
    return server.url != NULL;
}

#endif
