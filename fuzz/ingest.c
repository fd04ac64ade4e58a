/* fuzz/ingest.c - any bytes as an event's data, and as a stored record, through all of ingest.
 *
 * Holds: nothing crashes; every event has one fate; every JSON column of every row is valid JSON and every
 * text is UTF-8; what rules take out of properties is not in them; the same event normalised again from its own row's
 * properties keeps them as they are. */
#include <stdlib.h>

#include "fuzz.h"
#include "ingest/testing.h"
#include "wire/utf8.h"

/* Keys that never stand on an event; and those that only stand where a person was asked for. */
static void check_event(const struct row *row)
{
    static const char *const never[] = { "$heatmap_data", "$elements", "$elements_chain", "$verified", "ph_product_tours" };
    static const char *const personal[] = { "$set", "$set_once", "$unset", "$group_0", "$group_4" };
    struct arena        *arena = arena_new(1 << 16, 1 << 28);
    struct json_members  members;
    struct err           err;

    if (json_members_read(row->cells[ROW_EVENT_PROPERTIES].text, arena, &members, &err) < 0)
        abort();
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (json_members_find(&members, span_text(never[i])) != NULL)
            abort();
    for (size_t i = 0; i < sizeof personal / sizeof *personal; i++)
        if (!span_is(row->cells[ROW_EVENT_PERSON_MODE].text, "full") && json_members_find(&members, span_text(personal[i])) != NULL)
            abort();
    arena_free(arena);
}

static void check_row(const struct row *row)
{
    const struct row_table_info *info = &row_tables[row->table];

    for (size_t i = 0; i < info->column_count; i++) {
        struct json_reader reader;
        struct json_value  value;

        if (row->cells[i].null || (info->columns[i].type != ROW_TEXT && info->columns[i].type != ROW_JSON))
            continue;
        if (!utf8_valid(row->cells[i].text))
            abort();
        if (info->columns[i].type == ROW_TEXT)
            continue;
        json_reader_init(&reader, row->cells[i].text, 0);
        if (json_skip(&reader, &value) < 0 || json_finish(&reader) < 0 || value.kind != JSON_OBJECT)
            abort();
    }
}

static void run(struct fixture *fixture, struct span body)
{
    struct row row;
    struct err err;

    fixture_run(fixture, &body, 1); /* aborts when the fates do not add up */
    for (size_t i = 0; i < fixture->row_count; i++) {
        if (row_read(span_of(fixture->rows[i], fixture->row_bytes[i]), &row, &err) < 0 ||
            row_unpack(&row, fixture->texts, &err) < 0)
            abort();
        check_row(&row);
        if (row.table == ROW_EVENT)
            check_event(&row);
    }
}

/* Project 6 has every setting on, and filters. */
static void set_up(struct fixture *fixture)
{
    struct catalog_project     project = { .id = 6, .name = "strict", .anonymize_ips = true, .heatmaps_off = true,
                                           .person_last_seen = true, .drop_older_than_s = 86400 };
    struct catalog_restriction filter = { .project = 6, .action = CATALOG_FILTER, .property = SPAN("a"), .value = SPAN("1") };
    struct catalog_restriction skip = { .project = 6, .action = CATALOG_SKIP_PERSONS, .event = SPAN("$set") };
    struct err                 err = { 0 };
    uint32_t                   id;

    fixture_init(fixture);
    fixture_must(catalog_project_update(fixture->catalog, &project, &err), &err);
    fixture_must(catalog_restriction_add(fixture->catalog, &filter, &id, &err), &err);
    fixture_must(catalog_restriction_add(fixture->catalog, &skip, &id, &err), &err);
    catalog_snapshot_free(fixture->snapshot);
    fixture_must(catalog_snapshot_load(fixture->catalog, &fixture->snapshot, &err), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    static struct fixture fixture; /* one store for all inputs: opening it costs more than an input */
    static unsigned       runs;
    static const char *const names[] = { "view", "$identify", "$create_alias", "$merge_dangerously", "$set", "$groupidentify",
                                         "$exception", "$$client_ingestion_warning", "$$heatmap", "$feature_flag_called",
                                         "survey shown", "$ai_generation", "$snapshot", "$feature_flag_called", "$set", "view" };
    struct arena *arena = arena_new(1 << 16, 1 << 28);
    struct span   text = span_of(at, bytes), body;
    struct record record = { .distinct_id = SPAN("n"), .ip = SPAN("8.8.8.8") };
    struct row    row, again;

    if (runs % 10000 == 0) { /* but it remembers every event's id */
        if (runs > 0)
            fixture_fini(&fixture);
        set_up(&fixture);
        fixture.definer = definer_new();
    }
    runs++;
    if (bytes > 0 && at[0] == 1) { /* a stored record as it is */
        run(&fixture, arena_copy(arena, text));
    } else if (bytes > 0) {
        record.event = span_text(names[at[0] & 15]);
        record.project = (at[0] & 15) > 12 ? 6 : 7;
        record.data = span_from(text, 1);
        run(&fixture, fixture_record(&fixture, record, arena));
        if ((at[0] & 15) == 0 && fixture_row(&fixture, ROW_EVENT, 0, &row)) {
            struct buf data;

            buf_init(&data, 1 << 26);
            buf_add_text(&data, "{\"properties\":");
            buf_add(&data, row.cells[ROW_EVENT_PROPERTIES].text);
            buf_add_byte(&data, '}');
            record.data = buf_span(&data);
            body = fixture_record(&fixture, record, arena);
            run(&fixture, body);
            if (!fixture_row(&fixture, ROW_EVENT, 1, &again) ||
                !span_equal(row.cells[ROW_EVENT_PROPERTIES].text, again.cells[ROW_EVENT_PROPERTIES].text))
                abort();
            buf_fini(&data);
        }
    }
    fixture_forget_rows(&fixture);
    arena_free(arena);
    return 0;
}
