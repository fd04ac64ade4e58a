/* ingest/testing.h - what ingest's tests share: a project in temporary folders, events in, rows out.
 *
 * The passes run for real over a real store of persons; only the log is left out (ingest_test.c has it).
 * Included by tests and the fuzz target only. */
#ifndef PENSTOCK_INGEST_TESTING_H
#define PENSTOCK_INGEST_TESTING_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ingest/passes.h"
#include "wire/time.h"

#define FIXTURE_NOW_US INT64_C(1709287200000000) /* 2024-03-01T10:00:00Z, the worked examples' T */

enum { FIXTURE_ROWS_MAX = 16384 };

struct fixture {
    char                      folder[64];
    struct catalog           *catalog;
    struct catalog_snapshot  *snapshot;
    struct people            *people;
    struct arena             *arena, *texts; /* texts: what rows had packed */
    struct slice              slice;
    struct property_key_table keys;
    struct warning_gate      *gate;
    struct definer           *definer; /* NULL: no definitions */
    struct cookieless        *cookieless;
    struct zones             *zones;
    struct buf                scratch;
    struct people_place       place;
    struct people_limits      limits;
    int64_t                   now_us;
    uint64_t                  too_large; /* 1 + the mark of a record that is known not to fit; 0: none */
    size_t                    message_bytes_max; /* 0: rows are no messages */
    struct geoip             *geoip;
    struct attempt           *attempt;
    uint64_t                  uuids;    /* given out */
    uint64_t                  fates[FATE_COUNT]; /* of all batches */
    uint8_t                  *rows[FIXTURE_ROWS_MAX]; /* stored forms, of all batches */
    size_t                    row_bytes[FIXTURE_ROWS_MAX];
    size_t                    row_count;
};

static inline void fixture_must(int rc, const struct err *err)
{
    if (rc < 0) {
        fprintf(stderr, "fixture: %s\n", err->text);
        abort();
    }
}

static inline void fixture_init(struct fixture *fixture)
{
    char       path[128];
    struct err err = { 0 };
    uint32_t   project;

    memset(fixture, 0, sizeof *fixture);
    /* syncs are what costs here, and they are other tests' matter */
    snprintf(fixture->folder, sizeof fixture->folder, "%s/penstock-ingest-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(fixture->folder) == NULL)
        abort();
    snprintf(path, sizeof path, "%s/catalog.db", fixture->folder);
    fixture_must(catalog_open(path, &fixture->catalog, &err), &err);
    for (int i = 1; i <= 8; i++) /* the worked examples use projects 7 and 8 */
        fixture_must(catalog_project_create(fixture->catalog, "test", &project, &err), &err);
    fixture_must(catalog_snapshot_load(fixture->catalog, &fixture->snapshot, &err), &err);
    snprintf(path, sizeof path, "%s/people", fixture->folder);
    fixture_must(people_open(&(struct people_options){ .folder = path, .map_bytes_max = 1u << 30 }, &fixture->people, &err), &err);
    fixture->arena = arena_new(1 << 20, 1 << 30);
    fixture->slice.arena = arena_new(1 << 20, 1 << 30);
    fixture->texts = arena_new(1 << 16, 1 << 30);
    fixture->gate = warning_gate_new(NULL);
    fixture->zones = zones_new(NULL);
    fixture_must(cookieless_new(&fixture->cookieless, &err), &err);
    buf_init(&fixture->scratch, 64 << 20);
    property_key_table_init(&fixture->keys);
    fixture->now_us = FIXTURE_NOW_US;
}

static inline void fixture_forget_rows(struct fixture *fixture)
{
    for (size_t i = 0; i < fixture->row_count; i++)
        free(fixture->rows[i]);
    fixture->row_count = 0;
    arena_reset(fixture->texts);
}

static inline void fixture_fini(struct fixture *fixture)
{
    char command[128];

    fixture_forget_rows(fixture);
    buf_fini(&fixture->scratch);
    warning_gate_free(fixture->gate);
    definer_free(fixture->definer);
    cookieless_free(fixture->cookieless);
    zones_free(fixture->zones);
    arena_free(fixture->arena);
    arena_free(fixture->slice.arena);
    arena_free(fixture->texts);
    people_close(fixture->people);
    catalog_snapshot_free(fixture->snapshot);
    catalog_close(fixture->catalog);
    snprintf(command, sizeof command, "rm -rf %s", fixture->folder);
    if (system(command) != 0)
        abort();
}

/* Changes project 7's settings. */
static inline void fixture_settings(struct fixture *fixture, const struct catalog_project *settings)
{
    struct err             err = { 0 };
    struct catalog_project project = *settings;

    project.id = 7;
    strcpy(project.name, "test");
    fixture_must(catalog_project_update(fixture->catalog, &project, &err), &err);
    catalog_snapshot_free(fixture->snapshot);
    fixture_must(catalog_snapshot_load(fixture->catalog, &fixture->snapshot, &err), &err);
}

/* Gives project 7 a restriction; its id. */
static inline uint32_t fixture_restrict(struct fixture *fixture, const struct catalog_restriction *restriction)
{
    struct err                 err = { 0 };
    struct catalog_restriction one = *restriction;
    uint32_t                   id;

    one.project = 7;
    fixture_must(catalog_restriction_add(fixture->catalog, &one, &id, &err), &err);
    catalog_snapshot_free(fixture->snapshot);
    fixture_must(catalog_snapshot_load(fixture->catalog, &fixture->snapshot, &err), &err);
    return id;
}

static inline void fixture_unrestrict(struct fixture *fixture, uint32_t id)
{
    struct err err = { 0 };

    fixture_must(catalog_restriction_remove(fixture->catalog, id, &err), &err);
    catalog_snapshot_free(fixture->snapshot);
    fixture_must(catalog_snapshot_load(fixture->catalog, &fixture->snapshot, &err), &err);
}

static inline int fixture_sink(void *ctx, const struct row *row, struct err *err)
{
    struct fixture *fixture = ctx;
    size_t          bytes = row_bytes(row);

    (void)err;
    assert(fixture->row_count < FIXTURE_ROWS_MAX);
    fixture->rows[fixture->row_count] = malloc(bytes);
    row_write(row, fixture->rows[fixture->row_count]);
    fixture->row_bytes[fixture->row_count++] = bytes;
    return 0;
}

/* A record as capture would write it; what is zero gets a usual value. */
static inline struct span fixture_record(struct fixture *fixture, struct record record, struct arena *arena)
{
    uint8_t *body;

    if (record.kind == 0)
        record.kind = RECORD_EVENT;
    if (record.project == 0 && record.token.bytes == 0)
        record.project = 7;
    if (record.received_us == 0)
        record.received_us = fixture->now_us;
    if (record.timestamp_us == 0)
        record.timestamp_us = fixture->now_us;
    if (record.sent_at_us == 0)
        record.sent_at_us = CLOCK_NONE;
    if (record.timestamp_source == 0 && memmem(record.data.at, record.data.bytes, "\"timestamp\"", 11) == NULL)
        record.timestamp_source = RECORD_TIME_RAW;
    if (memcmp(record.uuid.bytes, (uint8_t[16]){ 0 }, 16) == 0) {
        uint8_t random[10] = { 0 };

        fixture->uuids++;
        memcpy(random + 3, &fixture->uuids, 7); /* the first ones share their bytes with version and variant */
        record.uuid = uuid_v7(record.timestamp_us / 1000, random);
    }
    body = arena_alloc(arena, record_bytes(&record));
    record_write(&record, body);
    return span_of(body, record_bytes(&record));
}

/* One batch, committed. */
static inline void fixture_run(struct fixture *fixture, const struct span *bodies, size_t count)
{
    struct raw_record *records = calloc(count + 1, sizeof *records);
    struct people_txn *txn;
    struct err        err = { 0 };
    uint64_t          sum = 0;
    const struct hand hand = { .geoip = fixture->geoip, .zones = fixture->zones, .buf = &fixture->scratch };
    struct passes     passes = {
        .arena = fixture->arena, .alone = &fixture->slice, .hands = &hand, .keys = &fixture->keys, .catalog = fixture->snapshot, .gate = fixture->gate, .definer = fixture->definer, .cookieless = fixture->cookieless,
        .attempt = fixture->attempt, .too_large = fixture->too_large > 0 ? fixture->too_large - 1 : ATTEMPT_NONE,
        .crowded = ATTEMPT_NONE, .now_us = fixture->now_us, .steady_us = fixture->now_us, .sink = fixture_sink, .sink_ctx = fixture,
        .limits = fixture->limits, .message_bytes_max = fixture->message_bytes_max
    };

    for (size_t i = 0; i < count; i++) {
        records[i].mark = records[i].place = fixture->place.input_next[INPUT_RAW] + i;
        records[i].body = bodies[i];
    }
    fixture_must(people_begin(fixture->people, true, &txn, &err), &err);
    fixture_must(passes_run(&passes, txn, records, count, NULL, 0, &err), &err);
    for (int i = 0; i < FATE_COUNT; i++) {
        fixture->fates[i] += passes.fates[i];
        sum += passes.fates[i];
    }
    if (sum != count)
        abort();
    fixture->place.input_next[INPUT_RAW] += count;
    fixture_must(people_commit(txn, &err), &err);
    warning_gate_commit(fixture->gate);
    free(records);
    arena_reset(fixture->arena);
}

/* The n-th row of a table; false when there are fewer. Its texts live until fixture_forget_rows. */
static inline bool fixture_row(struct fixture *fixture, enum row_table table, size_t n, struct row *out)
{
    struct err err = { 0 };

    for (size_t i = 0; i < fixture->row_count; i++) {
        fixture_must(row_read(span_of(fixture->rows[i], fixture->row_bytes[i]), out, &err), &err);
        if (out->table == table && n-- == 0) {
            fixture_must(row_unpack(out, fixture->texts, &err), &err);
            return true;
        }
    }
    return false;
}

static inline size_t fixture_count(struct fixture *fixture, enum row_table table)
{
    size_t count = 0;

    for (size_t i = 0; i < fixture->row_count; i++)
        count += fixture->rows[i][1] == table; /* row.h: where a row says its table */
    return count;
}

/* What does not fit is cut. */
static inline void fixture_say(char *out, size_t out_bytes, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vsnprintf(out, out_bytes, format, list);
    va_end(list);
}

/* What stands at "column/member/member" of a row as text: JSON as it is, texts bare, times and numbers in
 * digits; "-" when there is nothing. */
static __attribute__((noinline, unused)) void fixture_value(const struct row *row, const char *path, char *out, size_t out_bytes)
{
    const struct row_table_info *info = &row_tables[row->table];
    size_t                       column = 0, name_bytes = strcspn(path, "/");
    struct span                  value = { NULL, 0 };
    char                         uuid[UUID_TEXT_BYTES];

    fixture_say(out, out_bytes, "-");
    while (column < info->column_count && (strncmp(info->columns[column].name, path, name_bytes) != 0 ||
                                           info->columns[column].name[name_bytes] != '\0'))
        column++;
    if (column == info->column_count) {
        fixture_say(out, out_bytes, "no column %s", path);
        return;
    }
    if (row->cells[column].null)
        return;
    switch (info->columns[column].type) {
    case ROW_I64: case ROW_BOOL: case ROW_TIME:
        fixture_say(out, out_bytes, "%lld", (long long)row->cells[column].i64);
        return;
    case ROW_UUID:
        uuid_format(&row->cells[column].uuid, uuid);
        fixture_say(out, out_bytes, "%.36s", uuid);
        return;
    case ROW_TEXT: case ROW_JSON:
        value = row->cells[column].text;
        break;
    }
    if (path[name_bytes] == '/') {
        struct arena *arena = arena_new(1 << 16, 1 << 30);
        const char   *rest = path + name_bytes + 1;
        bool          found = true;

        while (*rest != '\0' && found) {
            struct json_members members;
            struct json_member *member;
            size_t              bytes = strcspn(rest, "/");
            struct err          err = { 0 };

            fixture_must(json_members_read(value, arena, &members, &err), &err);
            member = json_members_find(&members, span_of(rest, bytes));
            found = member != NULL;
            if (found)
                value = member->value.raw;
            rest += bytes + (rest[bytes] == '/');
        }
        if (found)
            fixture_say(out, out_bytes, "%.*s", (int)value.bytes, (const char *)value.at);
        arena_free(arena);
        return;
    }
    fixture_say(out, out_bytes, "%.*s", (int)value.bytes, (const char *)value.at);
}

#endif
