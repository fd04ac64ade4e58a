/* parts: clickhouse alone */
/* warehouse/clickhouse_erase_cluster_test.c - what is erased at ClickHouse is gone, and counted once. */
#include "warehouse/clickhouse_test_kit.h"

/* --- erasing ----------------------------------------------------------------------------------------- */

enum { PERSONS = 12, EVENTS_EACH = 20, IDS_EACH = 3, ERASED = 7, MERGED = 3 };

static struct span id_of(char to[40], unsigned person, unsigned n)
{
    int bytes = snprintf(to, 40, "id-%u-%u", person, n);

    return span_of(to, (size_t)bytes);
}

static void add_person_row(struct warehouse *warehouse, unsigned person, bool deleted, int64_t version)
{
    struct row row;

    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, uuid_of(person));
    row_set_i64(&row, ROW_PERSON_TEAM_ID, TEAM);
    row_set_text(&row, ROW_PERSON_PROPERTIES, deleted ? SPAN("{}") : SPAN("{\"who\":1}"));
    row_set_i64(&row, ROW_PERSON_IS_DELETED, deleted);
    row_set_i64(&row, ROW_PERSON_VERSION, version);
    add(warehouse, &row);
}

static void add_person(struct warehouse *warehouse, unsigned person, bool deleted, int64_t version)
{
    char       text[40];
    struct row row;

    add_person_row(warehouse, person, deleted, version);
    for (unsigned n = 0; n < IDS_EACH; n++) {
        row_init(&row, ROW_DISTINCT);
        row_set_i64(&row, ROW_DISTINCT_TEAM_ID, TEAM);
        row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, id_of(text, person, n));
        row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, uuid_of(person));
        row_set_i64(&row, ROW_DISTINCT_IS_DELETED, deleted);
        row_set_i64(&row, ROW_DISTINCT_VERSION, version + 1);
        add(warehouse, &row);
    }
}

/* Half of a person's events bear its id, half were stored before its ids were merged. */
static void add_persons_events(struct warehouse *warehouse, unsigned person)
{
    char       id[40], details[100];
    struct row row;

    for (unsigned n = 0; n < EVENTS_EACH; n++) {
        make_event(&row, person * EVENTS_EACH + n);
        row_set_text(&row, ROW_EVENT_DISTINCT_ID, id_of(id, person, n % IDS_EACH));
        row_set_uuid(&row, ROW_EVENT_PERSON_ID, uuid_of(n % 2 == 0 ? person : 1000 + n));
        row_set_i64(&row, ROW_EVENT_TIMESTAMP, T_US + (int64_t)n * DAY_US);
        add(warehouse, &row);
    }
    row_init(&row, ROW_DEAD_LETTER);
    row.offset = person;
    row_set_i64(&row, ROW_DEAD_LETTER_TEAM_ID, TEAM);
    row_set_text(&row, ROW_DEAD_LETTER_DISTINCT_ID, id_of(id, person, 1));
    add(warehouse, &row);
    for (unsigned n = 0; n < 2; n++) { /* one of its own, one of another person's event that names it */
        (void)snprintf(details, sizeof details, "{\"sourcePersonDistinctId\":\"id-%u-0\"}", n == 0 ? 250 : person);
        row_init(&row, ROW_WARNING);
        row.offset = person * 2 + n;
        row_set_i64(&row, ROW_WARNING_TEAM_ID, TEAM);
        row_set_text(&row, ROW_WARNING_DISTINCT_ID, n == 0 ? id_of(id, person, 2) : SPAN("somebody"));
        row_set_text(&row, ROW_WARNING_DETAILS, span_text(details));
        add(warehouse, &row);
    }
}

/* As they are stored: no view between. */
static const char *rows_of_merged(void)
{
    static char sql[200];

    (void)snprintf(sql, sizeof sql, "SELECT count() AS n, max(version) AS v FROM `%s`.person WHERE is_deleted = 0 AND toString(id) LIKE '%%-00000000032_'", database);
    return sql;
}

/* Of tables that have no row of the person. */
static const char *mutations_needless(void)
{
    static char sql[300];

    (void)snprintf(sql, sizeof sql, "SELECT count() AS n FROM system.mutations WHERE database = '%s' AND table IN ('events', 'dead_letters', 'heatmaps', "
                                    "'ingestion_warnings')", database);
    return sql;
}

static void erased_is_gone(void **state)
{
    static const char      others[] = "SELECT (SELECT groupBitXor(cityHash64(raw_offset, event, distinct_id)) FROM events WHERE intDiv(raw_offset, 20) != 7) AS e,"
                                      " (SELECT groupBitXor(cityHash64(id, properties)) FROM persons WHERE id != '01000000-0000-0000-0000-000000000007') AS p";
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);
    struct warehouse_erased erased;
    struct uuid            person = uuid_of(ERASED);
    struct err             err = { .text = "" };
    char                   before[200];

    (void)state;
    for (unsigned i = 0; i < PERSONS; i++) {
        add_person(warehouse, i, false, 0);
        add_persons_events(warehouse, i);
    }
    for (unsigned i = 0; i < MERGED; i++)
        add_person_row(warehouse, 800 + i, false, i);
    place = commit(warehouse, &place, 1);
    for (unsigned i = 0; i < MERGED; i++) { /* one of them is somebody again */
        add_person_row(warehouse, 800 + i, true, 100);
        if (i == 0)
            add_person_row(warehouse, 800 + i, false, 201);
    }
    add_person(warehouse, ERASED, true, 100);
    place = commit(warehouse, &place, 2);
    (void)snprintf(before, sizeof before, "%s", ask(warehouse, others));
    /* Counted, and cut off before anything went; then some is gone, and it is cut off again. */
    fault(warehouse, "{\"kind\":\"error\",\"match\":\"`events` DELETE\",\"code\":241,\"times\":1}");
    assert_int_equal(warehouse_erase(warehouse, TEAM, &person, &erased, &err), -1);
    warehouse_rollback(warehouse);
    fault(warehouse, "{\"kind\":\"drop\",\"match\":\"`ingestion_warnings` DELETE\",\"times\":2}");
    assert_int_equal(warehouse_erase(warehouse, TEAM, &person, &erased, &err), -1);
    warehouse_close(warehouse);
    warehouse = open_or_fail();
    place = place_of(warehouse);
    if (warehouse_erase(warehouse, TEAM, &person, &erased, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(erased.events, EVENTS_EACH);
    assert_int_equal(erased.dead_letters, 1);
    assert_int_equal(erased.warnings, 2);
    place = commit(warehouse, &place, 3);
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM events"), "n\r\n220\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM dead_letters"), "n\r\n11\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM ingestion_warnings"), "n\r\n22\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM persons"), "n\r\n14\r\n");
    /* What was known of merged persons is not left to a merge of parts. */
    assert_string_equal(ask(warehouse, rows_of_merged()), "n,v\r\n1,201\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM person_distinct_ids"), "n\r\n33\r\n");
    assert_string_equal(ask(warehouse, "SELECT sum(rows) AS r, sum(events) AS e FROM penstock_erased WHERE name = 'events'"), "r,e\r\n20,20\r\n");
    assert_string_equal(ask(warehouse, others), before);
    /* The same ids again, before another order: what is newer stays. */
    add_person(warehouse, ERASED, true, 200);
    add_person(warehouse, ERASED, false, 301);
    place = commit(warehouse, &place, 4);
    (void)snprintf(before, sizeof before, "%s", ask(warehouse, mutations_needless()));
    assert_int_equal(warehouse_erase(warehouse, TEAM, &person, &erased, &err), 0);
    assert_int_equal(erased.events, 0);
    assert_string_equal(ask(warehouse, mutations_needless()), before);
    place = commit(warehouse, &place, 5);
    assert_string_equal(ask(warehouse, "SELECT version FROM persons WHERE id = '01000000-0000-0000-0000-000000000007'"), "version\r\n301\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM person_distinct_ids"), "n\r\n36\r\n");
    /* Old events go, by project. */
    assert_int_equal(warehouse_expire(warehouse, TEAM + 1, T_US + 100 * DAY_US, &erased, &err), 0);
    assert_int_equal(erased.events, 0);
    place = commit(warehouse, &place, 6);
    assert_int_equal(warehouse_expire(warehouse, TEAM, T_US + 10 * DAY_US, &erased, &err), 0);
    assert_int_equal(erased.events, 110);
    (void)commit(warehouse, &place, 7);
    assert_string_equal(ask(warehouse, "SELECT count() AS n, min(timestamp) AS t FROM events"), "n,t\r\n110,2024-03-11 10:00:00.000000\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(erased_is_gone, set_up),
    };

    return server_known() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
