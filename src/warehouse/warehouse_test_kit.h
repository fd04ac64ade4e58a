/* warehouse/warehouse_test_kit.h - what the tests of the warehouse share: a file in a folder of its own, rows, answers.
 * Needs libduckdb.so (build/deps/duckdb, see warehouse/duckdb.h). Tests only. */
#ifndef PENSTOCK_WAREHOUSE_WAREHOUSE_TEST_KIT_H
#define PENSTOCK_WAREHOUSE_WAREHOUSE_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "warehouse/ask_test_kit.h"
#include "warehouse/engine.h"

static char folder[] = "/tmp/penstock-warehouse-XXXXXX";
static char path[100];

static inline struct warehouse *open_or_fail(bool read_only)
{
    struct warehouse_options options = { .path = path, .read_only = read_only };
    struct warehouse        *warehouse = NULL;
    struct err               err = { .text = "" };

    if (warehouse_open(&options, &warehouse, &err) < 0)
        fail_msg("%s", err.text);
    return warehouse;
}

static inline int set_up(void **state)
{
    char wal[120];

    (void)state;
    snprintf(path, sizeof path, "%s/w.duckdb", folder);
    snprintf(wal, sizeof wal, "%s.wal", path);
    unlink(path);
    unlink(wal);
    return 0;
}

static inline void add(struct warehouse *warehouse, const struct row *row)
{
    struct err err = { .text = "" };

    if (warehouse_add(warehouse, row, &err) < 0)
        fail_msg("%s", err.text);
}

static inline struct warehouse_place commit(struct warehouse *warehouse, uint64_t next)
{
    struct warehouse_place place = { .next = { next } };
    struct err             err = { .text = "" };

    if (warehouse_commit(warehouse, &place, &err) < 0)
        fail_msg("%s", err.text);
    return place;
}

static inline struct row event_of(const char *properties)
{
    struct row row;

    row_init(&row, ROW_EVENT);
    row_set_text(&row, ROW_EVENT_PROPERTIES, span_text(properties));
    return row;
}

static inline void add_distinct(struct warehouse *warehouse, const char *distinct_id, uint8_t person, int64_t version)
{
    struct row row;

    row_init(&row, ROW_DISTINCT);
    row_set_i64(&row, ROW_DISTINCT_TEAM_ID, 1);
    row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, span_text(distinct_id));
    row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, (struct uuid){ { person } });
    row_set_i64(&row, ROW_DISTINCT_IS_DELETED, 0);
    row_set_i64(&row, ROW_DISTINCT_VERSION, version);
    add(warehouse, &row);
}

static inline int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static inline int folder_remove(void **state)
{
    (void)set_up(state);
    return rmdir(folder);
}

#endif
