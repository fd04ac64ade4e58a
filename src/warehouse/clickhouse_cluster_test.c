/* parts: clickhouse alone */
/* warehouse/clickhouse_cluster_test.c - the warehouse on the real ClickHouse engine: what goes in comes out, each row once,
 * whatever happens to the server or to the loader. */
#include "warehouse/clickhouse_test_kit.h"

/* --- what goes in comes out ------------------------------------------------------------------------ */

static void every_type_and_null(void **state)
{
    static const struct uuid uuid = { { 0x01, 0x8f, 0, 1, 2, 3, 0x70, 4, 0x80, 5, 6, 7, 8, 9, 10, 0xff } };
    struct warehouse        *warehouse = open_or_fail();
    struct warehouse_place   place = place_of(warehouse);
    struct row               row;

    (void)state;
    assert_int_equal(place.next[0], 0);
    row_init(&row, ROW_EVENT);
    row_set_uuid(&row, ROW_EVENT_UUID, uuid);
    row_set_i64(&row, ROW_EVENT_TEAM_ID, INT64_MAX);
    row_set_i64(&row, ROW_EVENT_PROJECT_ID, INT64_MIN);
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, 1770091506123456); /* 2026-02-03T04:05:06.123456Z by date(1) */
    row_set_i64(&row, ROW_EVENT_CREATED_AT, -1);
    row_set_i64(&row, ROW_EVENT_HISTORICAL_MIGRATION, 1);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("a, \"b\"\n\tc\\"));
    row_set_text(&row, ROW_EVENT_PERSON_MODE, SPAN("force_upgrade"));
    row_set_text(&row, ROW_EVENT_GROUP_0, SPAN("org-1"));
    row_set_i64(&row, ROW_EVENT_GROUP0_CREATED_AT, 1770091506123456);
    row_set_text(&row, ROW_EVENT_ELEMENTS_CHAIN, SPAN("a.x:href=\"/shop\"text=\"Buy\"attr_id=\"b1\"nth-child=\"1\";div:nth-child=\"0\""));
    add(warehouse, &row);
    place = commit(warehouse, &place, 2);
    assert_int_equal(place.loaded[ROW_EVENT], 1);
    assert_string_equal(ask(warehouse, "SELECT uuid, team_id, project_id, timestamp, created_at, historical_migration h, event, person_mode m, "
                                       "\"$group_0\" g, \"$session_id\" s, group0_created_at c, group1_created_at d, captured_at k FROM events"),
                        "uuid,team_id,project_id,timestamp,created_at,h,event,m,g,s,c,d,k\r\n"
                        "018f0001-0203-7004-8005-060708090aff,9223372036854775807,-9223372036854775808,2026-02-03 04:05:06.123456,"
                        "1969-12-31 23:59:59.999999,true,\"a, \"\"b\"\"\n\tc\\\",force_upgrade,org-1,,2026-02-03 04:05:06.123,,\r\n");
    assert_string_equal(ask(warehouse, "SELECT elements_chain_href h, elements_chain_texts t, elements_chain_ids i, elements_chain_elements e "
                                       "FROM event_elements"),
                        "h,t,i,e\r\n/shop,['Buy'],['b1'],['a']\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_JSON, "SELECT team_id, toDecimal32(1.50, 2) d, nan n, 0.5 f, true b, [1,2] l, NULL z, "
                                                          "toUInt128('340282366920938463463374607431768211455') u FROM events"),
                        "[\n{\"team_id\":9223372036854775807,\"d\":1.50,\"n\":\"nan\",\"f\":0.5,\"b\":true,\"l\":\"[1,2]\",\"z\":null,"
                        "\"u\":340282366920938463463374607431768211455}\n]\n");
    warehouse_close(warehouse);
}

/* Every table takes a row of nulls and one with everything, and its view has the columns of row.h. */
static void every_table(void **state)
{
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);

    (void)state;
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        for (int full = 0; full < 2; full++) {
            struct row row;

            row_init(&row, id);
            row.offset = (uint64_t)full;
            row.topic = (uint8_t)id;
            for (int i = 0; full && i < (int)row_tables[id].column_count; i++) {
                if (row_tables[id].columns[i].type == ROW_UUID)
                    row_set_uuid(&row, i, uuid_of(77));
                else if (row_tables[id].columns[i].type == ROW_TEXT || row_tables[id].columns[i].type == ROW_JSON)
                    row_set_text(&row, i, SPAN("full"));
                else
                    row_set_i64(&row, i, row_tables[id].columns[i].type == ROW_TIME ? T_US : 1);
            }
            add(warehouse, &row);
        }
    place = commit(warehouse, &place, 5);
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++) {
        struct buf sql;

        assert_int_equal(place.loaded[id], 2);
        buf_init(&sql, 8192);
        buf_add_text(&sql, "SELECT count() AS n");
        for (size_t i = 0; i < row_tables[id].column_count; i++)
            buf_add_format(&sql, ", countIf(\"%s\" IS NULL) AS c%zu", row_tables[id].columns[i].name, i);
        buf_add_format(&sql, " FROM %s", row_tables[id].name);
        buf_add_byte(&sql, '\0');
        const char *answer = strchr(ask(warehouse, (const char *)sql.at), '\n');
        if (answer == NULL || strncmp(answer, "\n2,", 3) != 0)
            fail_msg("%s: %s", row_tables[id].name, ask(warehouse, (const char *)sql.at));
        buf_fini(&sql);
    }
    assert_string_equal(ask(warehouse, "SELECT unit, next_0, events, receipts FROM penstock_place"), "unit,next_0,events,receipts\r\n0,5,2,2\r\n");
    warehouse_close(warehouse);
}

/* Of a key the highest version counts, in whichever order they came. */
static void one_row_a_key(void **state)
{
    static const int64_t   versions[] = { 3, 1, 7, 2 };
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);
    struct row             row;

    (void)state;
    for (int i = 0; i < 4; i++) {
        row_init(&row, ROW_DISTINCT);
        row.topic = 1;
        row.offset = (uint64_t)i;
        row_set_i64(&row, ROW_DISTINCT_TEAM_ID, TEAM);
        row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, SPAN("me"));
        row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, uuid_of((uint64_t)versions[i]));
        row_set_i64(&row, ROW_DISTINCT_VERSION, versions[i]);
        row_set_i64(&row, ROW_DISTINCT_IS_DELETED, i == 2);
        add(warehouse, &row);
        place = commit(warehouse, &place, (uint64_t)i + 1);
    }
    assert_string_equal(ask(warehouse, "SELECT version, is_deleted FROM person_distinct_ids"), "version,is_deleted\r\n7,true\r\n");
    char sql[200];
    (void)snprintf(sql, sizeof sql, "SELECT version FROM %s.person_distinct_id_overrides FINAL", database);
    assert_string_equal(ask(warehouse, sql), "version\r\n7\r\n");
    warehouse_close(warehouse);
}

static void what_is_no_text_is_refused_alone(void **state)
{
    const struct span wrong[] = {
        SPAN("\xff\xfe"),
        SPAN("\1\x2d\0\0\0\x0a\x45\"Lynx\"\x0b\0"),   /* packed: the value of a pair whose other half is not there */
        SPAN("\1\xff\xff\xff\x7f\x0a\x45\"Lynx\"\x09\0"), /* more text than any row has */
        SPAN("\1\x2d\0\0\0\x0a\x45\"Ly\xffx\"\x09\0"),
    };
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);
    struct row             row;
    struct err             err = { .text = "" };

    (void)state;
    make_event(&row, 0);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("\1 is no form of a text")); /* of properties alone */
    row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("\1\x2d\0\0\0\x0a\x45\"Lynx\"\x09\0"));
    add(warehouse, &row);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make_event(&row, 1 + i);
        row_set_text(&row, ROW_EVENT_PROPERTIES, wrong[i]);
        assert_int_equal(warehouse_add(warehouse, &row, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    make_event(&row, 9);
    add(warehouse, &row);
    (void)commit(warehouse, &place, 10);
    assert_string_equal(ask(warehouse, "SELECT replaceAll(event, '\1', '1') AS e, replaceAll(properties, '\"', '.') AS p FROM events ORDER BY raw_offset"),
                        "e,p\r\n1 is no form of a text,\"{.$initial_browser.:.Lynx.,.$browser.:.Lynx.}\"\r\nview,\"{.n.:9,.$session_id.:.s-2.}\"\r\n");
    warehouse_close(warehouse);
}

/* No column holds it; the event is kept, and its project told. */
static void times_out_of_range_are_told(void **state)
{
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);
    struct row             row;

    (void)state;
    make_event(&row, 0);
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, (int64_t)253402300799 * 1000000); /* the year 9999 */
    add(warehouse, &row);
    make_event(&row, 1);
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, (int64_t)-62135596800 * 1000000); /* the year 1 */
    add(warehouse, &row);
    (void)commit(warehouse, &place, 2);
    assert_string_equal(ask(warehouse, "SELECT timestamp FROM events ORDER BY raw_offset"),
                        "timestamp\r\n2299-12-31 23:59:59.999999\r\n1900-01-01 00:00:00.000000\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n, any(type) AS t FROM ingestion_warnings"), "n,t\r\n2,ignored_invalid_timestamp\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM ingestion_warnings WHERE JSONExtractString(details, 'eventUuid') = toString(event_uuid) AND "
                                       "JSONExtractString(details, 'category') = 'event' AND JSONExtractString(details, 'severity') = 'warning'"), "n\r\n2\r\n");
    warehouse_close(warehouse);
}

/* --- each row once ----------------------------------------------------------------------------------- */

static void rollback_and_place(void **state)
{
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);

    (void)state;
    add_events(warehouse, 0, 500);
    place = commit(warehouse, &place, 500);
    add_events(warehouse, 500, 900);
    assert_int_equal(warehouse_pending(warehouse), 400);
    warehouse_rollback(warehouse);
    assert_int_equal(warehouse_pending(warehouse), 0);
    place = place_of(warehouse);
    assert_int_equal(place.next[0], 500);
    assert_false(place.again);
    add_events(warehouse, 500, 600);
    warehouse_close(warehouse);
    warehouse = open_or_fail();
    assert_int_equal(load_until(&warehouse, 700, false), 1);
    expect_events(warehouse, 700);
    warehouse_close(warehouse);
}

static const struct { const char *name, *json; bool reopen; } faults[] = {
    { "the answer to the events is lost, and curl asks again", "{\"kind\":\"drop\",\"match\":\"`events`\"}", false },
    { "the answer to the events is lost", "{\"kind\":\"drop\",\"match\":\"`events`\",\"times\":2}", false },
    { "the answer to the events is lost, and the loader dies", "{\"kind\":\"drop\",\"match\":\"`events`\",\"times\":2}", true },
    { "the answer to the note is lost", "{\"kind\":\"drop\",\"match\":\"INTO penstock_blocks\",\"times\":2}", true },
    { "both answers to notes are lost", "{\"kind\":\"drop\",\"match\":\"INTO penstock_blocks\",\"times\":4}", true },
    { "killed when the events were there", "{\"kind\":\"exit_after\",\"match\":\"`events`\"}", true },
    { "killed before the events", "{\"kind\":\"exit_in\",\"ms\":0,\"match\":\"`events`\"}", false },
    { "killed while it inserts", "{\"kind\":\"exit_in\",\"ms\":8,\"match\":\"`events`\"}", true },
    { "killed while it inserts, later", "{\"kind\":\"exit_in\",\"ms\":20,\"match\":\"`events`\"}", true },
    { "too many parts", "{\"kind\":\"error\",\"match\":\"`events`\",\"code\":252,\"times\":5}", false },
    { "too many parts, and the loader dies", "{\"kind\":\"error\",\"match\":\"`events`\",\"code\":252,\"times\":3}", true },
    { "too many queries", "{\"kind\":\"error\",\"match\":\"INSERT\",\"code\":202,\"times\":3}", false },
    { "out of time", "{\"kind\":\"error\",\"match\":\"INSERT\",\"code\":159,\"times\":3}", true },
    { "no memory once: halves", "{\"kind\":\"error\",\"match\":\"`events`\",\"code\":241,\"times\":1}", false },
    { "no memory five times: pieces", "{\"kind\":\"error\",\"match\":\"`events`\",\"code\":241,\"times\":5}", false },
};

static void troubles(void **state)
{
    enum { ROWS = 3000 };
    struct warehouse *warehouse = open_or_fail();
    uint64_t          to = 0;

    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        fault(warehouse, faults[i].json);
        (void)load_until(&warehouse, to + ROWS, faults[i].reopen);
        fault(warehouse, "{}");
        to += ROWS;
        print_message("           %s\n", faults[i].name);
        expect_events(warehouse, to);
    }
    warehouse_close(warehouse);
}

/* A batch of which some rows are there, of one month alone, and the server has forgotten its token. */
static void half_of_a_batch_is_there(void **state)
{
    struct warehouse *warehouse = open_or_fail();
    char              sql[300];
    struct err        err = { .text = "" };

    (void)state;
    assert_int_equal(load_until(&warehouse, 100, false), 1);
    fault(warehouse, "{\"kind\":\"drop\",\"match\":\"`events`\",\"times\":2}"); /* twice: curl itself tries again once */
    struct warehouse_place place = place_of(warehouse);
    add_events(warehouse, 100, 1000);
    place.next[0] = 1000;
    assert_int_equal(warehouse_commit(warehouse, &place, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    (void)snprintf(sql, sizeof sql, "ALTER TABLE %s.events DELETE WHERE toYYYYMM(timestamp) = 202403 AND raw_offset >= 100 SETTINGS mutations_sync = 2", database);
    run_or_fail(warehouse, sql);
    (void)snprintf(sql, sizeof sql, "ALTER TABLE %s.events MODIFY SETTING non_replicated_deduplication_window = 0", database);
    run_or_fail(warehouse, sql);
    warehouse_close(warehouse);
    warehouse = open_or_fail();
    place = place_of(warehouse);
    assert_true(place.again);
    assert_int_equal(place.next[0], 100);
    assert_int_equal(place.until[0], 1000);
    assert_int_equal(load_until(&warehouse, 1000, false), 1);
    expect_events(warehouse, 1000);
    warehouse_close(warehouse);
}

/* Two processes believe that the unit is theirs. */
static void one_of_two_loaders_stops(void **state)
{
    struct warehouse      *one = open_or_fail(), *other = open_or_fail();
    struct warehouse_place place = place_of(one), others = place_of(other);
    struct err             err = { .text = "" };

    (void)state;
    add_events(one, 0, 100);
    add_events(other, 0, 60);
    place = commit(one, &place, 100);
    others.next[0] = 60;
    assert_int_equal(warehouse_commit(other, &others, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    expect_events(one, 100);
    others = place_of(other); /* it goes on from where the unit is */
    assert_int_equal(others.next[0], 100);
    add_events(other, 100, 160);
    (void)commit(other, &others, 160);
    add_events(one, 100, 150);
    place.next[0] = 150;
    assert_int_equal(warehouse_commit(one, &place, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    expect_events(one, 160);
    warehouse_close(one);
    warehouse_close(other);
}

/* Units are loaded side by side, each with a place of its own. */
static void units_are_apart(void **state)
{
    struct warehouse_options options = at_server();
    struct warehouse        *units[2];
    struct warehouse_place   place;
    struct row               row;

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        options.unit = i;
        units[i] = open_as(&options);
        place = place_of(units[i]);
        for (uint64_t n = 0; n < 50; n++) {
            make_event(&row, n + 50 * i);
            row.offset = n; /* the same places in another partition */
            add(units[i], &row);
        }
        (void)commit(units[i], &place, 50);
    }
    assert_string_equal(ask(units[0], "SELECT count() AS n FROM events"), "n\r\n100\r\n");
    assert_string_equal(ask(units[0], "SELECT unit, next_0 FROM penstock_place ORDER BY unit"), "unit,next_0\r\n0,50\r\n1,50\r\n");
    for (int i = 0; i < 2; i++)
        warehouse_close(units[i]);
}

/* A row that the server does not take, among others that it takes. */
static void a_refused_row_becomes_a_dead_letter(void **state)
{
    struct warehouse *warehouse = open_or_fail();
    char              sql[200];

    (void)state;
    (void)snprintf(sql, sizeof sql, "ALTER TABLE %s.events ADD CONSTRAINT no_300 CHECK raw_offset != 300", database);
    run_or_fail(warehouse, sql);
    assert_int_equal(load_until(&warehouse, 1000, false), 1);
    assert_string_equal(ask(warehouse, "SELECT count() AS n, countIf(raw_offset = 300) AS no FROM events"), "n,no\r\n999,0\r\n");
    assert_string_equal(ask(warehouse, "SELECT step, reason, encoding FROM dead_letters"), "step,reason,encoding\r\nload,refused_row,base64\r\n");
    assert_int_equal(place_of(warehouse).loaded[ROW_EVENT], 999);
    assert_int_equal(place_of(warehouse).loaded[ROW_DEAD_LETTER], 1);
    warehouse_close(warehouse);
}

/* Small batches for long, with the server refusing them for a while: they become larger, and parts stay few. */
static void parts_stay_few(void **state)
{
    enum { BATCHES = 120, EACH = 20 };
    struct warehouse *warehouse = open_or_fail();
    char              sql[200];
    uint64_t          parts;
    struct err        err = { .text = "" };
    int64_t           before_us = warehouse_pace_us(warehouse), until_us;

    (void)state;
    for (int i = 0; i < BATCHES; i++)
        (void)load_until(&warehouse, (uint64_t)(i + 1) * EACH, false);
    until_us = clock_mono_us() + 9000000; /* taken first: who is told of the fault may be told late */
    fault(warehouse, "{\"kind\":\"error\",\"match\":\"`events`\",\"code\":252,\"seconds\":10}");
    (void)load_until(&warehouse, BATCHES * EACH + 5, false);
    assert_true(clock_mono_us() > until_us);
    assert_true(warehouse_pace_us(warehouse) > before_us);
    expect_events(warehouse, BATCHES * EACH + 5);
    (void)snprintf(sql, sizeof sql, "SELECT count() FROM system.parts WHERE active AND database = '%s'", database);
    assert_int_equal(clickhouse_number(&warehouse->link, sql, &parts, &err), 0);
    print_message("           %" PRIu64 " parts\n", parts);
    assert_true(parts < 300);
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_type_and_null, set_up),
        cmocka_unit_test_setup(every_table, set_up),
        cmocka_unit_test_setup(one_row_a_key, set_up),
        cmocka_unit_test_setup(what_is_no_text_is_refused_alone, set_up),
        cmocka_unit_test_setup(times_out_of_range_are_told, set_up),
        cmocka_unit_test_setup(rollback_and_place, set_up),
        cmocka_unit_test_setup(troubles, set_up),
        cmocka_unit_test_setup(half_of_a_batch_is_there, set_up),
        cmocka_unit_test_setup(one_of_two_loaders_stops, set_up),
        cmocka_unit_test_setup(units_are_apart, set_up),
        cmocka_unit_test_setup(a_refused_row_becomes_a_dead_letter, set_up),
        cmocka_unit_test_setup(parts_stay_few, set_up),
    };

    return server_known() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
