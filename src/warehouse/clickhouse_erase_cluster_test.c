/* parts: clickhouse alone */
/* warehouse/clickhouse_erase_cluster_test.c - what is erased at ClickHouse is gone, and counted once. */
#include "warehouse/clickhouse_test_kit.h"

#include <signal.h>
#include <sys/wait.h>

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
    struct warehouse_order order = { .offset = 2, .person = uuid_of(ERASED) };
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
    assert_int_equal(warehouse_erase(warehouse, TEAM, &order, 1, &erased, &err), -1);
    warehouse_rollback(warehouse);
    fault(warehouse, "{\"kind\":\"drop\",\"match\":\"`ingestion_warnings` DELETE\",\"times\":2}");
    assert_int_equal(warehouse_erase(warehouse, TEAM, &order, 1, &erased, &err), -1);
    warehouse_close(warehouse);
    warehouse = open_or_fail();
    place = place_of(warehouse);
    if (warehouse_erase(warehouse, TEAM, &order, 1, &erased, &err) < 0)
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
    order.offset = 4;
    assert_int_equal(warehouse_erase(warehouse, TEAM, &order, 1, &erased, &err), 0);
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

/* --- several orders at once ---------------------------------------------------------------------------- */

enum { TOGETHER = 5 };
static const uint64_t together_at[TOGETHER] = { 2, 3, 6, 9, 17 }; /* where the orders stand: other receipts are between them */
static const unsigned together[TOGETHER] = { 7, 3, 9, 4, 200 }; /* of the last one there is nothing but its deletion */

/* What the persons were is deleted, and one event is both of the second's ids and of the fourth person. */
static struct warehouse *made(struct warehouse_place *place)
{
    struct warehouse *warehouse = open_or_fail();
    struct row        row;
    char              id[40];

    *place = place_of(warehouse);
    for (unsigned i = 0; i < PERSONS; i++) {
        add_person(warehouse, i, false, 0);
        add_persons_events(warehouse, i);
    }
    make_event(&row, 1000);
    row_set_text(&row, ROW_EVENT_DISTINCT_ID, id_of(id, together[1], 0));
    row_set_uuid(&row, ROW_EVENT_PERSON_ID, uuid_of(together[3]));
    add(warehouse, &row);
    *place = commit(warehouse, place, 1);
    for (int i = 0; i < TOGETHER; i++)
        add_person(warehouse, together[i], true, 100);
    *place = commit(warehouse, place, together_at[0]);
    return warehouse;
}

static void orders_of(struct warehouse_order orders[TOGETHER])
{
    for (int i = 0; i < TOGETHER; i++)
        orders[i] = (struct warehouse_order){ together_at[i], uuid_of(together[i]) };
}

static void expect_together(struct warehouse *warehouse, const struct warehouse_erased *each)
{
    for (int i = 0; i < TOGETHER; i++) {
        assert_int_equal(each[i].events, i == 4 ? 0 : i == 1 ? EVENTS_EACH + 1 : EVENTS_EACH); /* the first of two has it */
        assert_int_equal(each[i].dead_letters, i != 4);
        assert_int_equal(each[i].warnings, i == 4 ? 0 : 2);
        assert_int_equal(each[i].heatmaps, 0);
    }
    assert_string_equal(ask(warehouse, "SELECT count() AS n, uniqExact(raw_offset) AS d FROM events"), "n,d\r\n160,160\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM events WHERE intDiv(raw_offset, 20) IN (3, 4, 7, 9) OR raw_offset = 1000"), "n\r\n0\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM dead_letters"), "n\r\n8\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM ingestion_warnings"), "n\r\n16\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM persons"), "n\r\n8\r\n");
    assert_string_equal(ask(warehouse, "SELECT count() AS n FROM person_distinct_ids"), "n\r\n24\r\n");
    assert_string_equal(ask(warehouse, "SELECT sum(rows) AS r, sum(events) AS e FROM penstock_erased WHERE name = 'events'"), "r,e\r\n81,81\r\n");
}

static const char *mutations_of(const char *table)
{
    static char sql[300];

    (void)snprintf(sql, sizeof sql, "SELECT count() AS n FROM system.mutations WHERE database = '%s' AND table = '%s'", database, table);
    return sql;
}

static void several_at_once(void **state)
{
    struct warehouse_place  place;
    struct warehouse       *warehouse = made(&place);
    struct warehouse_order  orders[TOGETHER];
    struct warehouse_erased each[TOGETHER];
    struct err              err = { .text = "" };
    uint64_t                until = 0;

    (void)state;
    orders_of(orders);
    assert_int_equal(warehouse_erase_max(warehouse), WAREHOUSE_ERASE_MAX);
    assert_int_equal(warehouse_erase_fix(warehouse, 2, &until, &err), 0);
    assert_int_equal(until, 0);
    until = 18;
    assert_int_equal(warehouse_erase_fix(warehouse, 2, &until, &err), 0);
    assert_int_equal(until, 18);
    until = 30; /* more came meanwhile */
    assert_int_equal(warehouse_erase_fix(warehouse, 2, &until, &err), 0);
    assert_int_equal(until, 18);
    if (warehouse_erase(warehouse, TEAM, orders, TOGETHER, each, &err) < 0)
        fail_msg("%s", err.text);
    expect_together(warehouse, each);
    assert_string_equal(ask(warehouse, mutations_of("events")), "n\r\n1\r\n");
    assert_string_equal(ask(warehouse, mutations_of("person_distinct_id2")), "n\r\n1\r\n");
    place = commit(warehouse, &place, 18);
    until = 0;
    assert_int_equal(warehouse_erase_fix(warehouse, 18, &until, &err), 0);
    assert_int_equal(until, 0);
    warehouse_close(warehouse);
}

/* An older Penstock, which carries out one order after the other, had counted one table of the first when it was cut off: what it had
 * counted stands, and the others' rows are counted all the same. */
static void begun_one_by_one(void **state)
{
    struct warehouse_place  place;
    struct warehouse       *warehouse = made(&place);
    struct warehouse_order  orders[TOGETHER];
    struct warehouse_erased each[TOGETHER];
    struct err              err = { .text = "" };
    char                    sql[400];

    (void)state;
    (void)snprintf(sql, sizeof sql, "INSERT INTO penstock_erased (erasure, name, rows, team_id, captured_at, events) SETTINGS "
                                    "insert_deduplication_token = 'penstock-erased-0-2-events', async_insert = 0 "
                                    "VALUES ('0-2', 'events', %d, %d, NULL, %d)", EVENTS_EACH, TEAM, EVENTS_EACH);
    run_or_fail(warehouse, sql);
    orders_of(orders);
    if (warehouse_erase(warehouse, TEAM, orders, TOGETHER, each, &err) < 0)
        fail_msg("%s", err.text);
    expect_together(warehouse, each);
    warehouse_close(warehouse);
}

/* A statement that many orders need is not too long for the server. */
static void as_many_as_may_be(void **state)
{
    struct warehouse_place  place;
    struct warehouse       *warehouse = made(&place);
    struct warehouse_order  orders[WAREHOUSE_ERASE_MAX];
    struct warehouse_erased each[WAREHOUSE_ERASE_MAX];
    struct err              err = { .text = "" };
    uint64_t                gone = 0;

    (void)state;
    for (unsigned i = 0; i < WAREHOUSE_ERASE_MAX; i++)
        orders[i] = (struct warehouse_order){ 2 + i, uuid_of(i) };
    if (warehouse_erase(warehouse, TEAM, orders, WAREHOUSE_ERASE_MAX, each, &err) < 0)
        fail_msg("%s", err.text);
    for (unsigned i = 0; i < WAREHOUSE_ERASE_MAX; i++)
        gone += each[i].events;
    assert_int_equal(gone, 4 * EVENTS_EACH + 1 + 8 * EVENTS_EACH / 2); /* the others' ids lead to nobody who was deleted */
    warehouse_close(warehouse);
}

/* One more process, which ends when it is done. */
static pid_t carry_out(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct warehouse       *warehouse = NULL;
        struct warehouse_options options = at_server();
        struct warehouse_order  orders[TOGETHER];
        struct warehouse_erased each[TOGETHER];
        struct warehouse_place  place;
        struct err              err;

        orders_of(orders);
        _exit(warehouse_open(&options, &warehouse, &err) < 0 || warehouse_place(warehouse, &place, &err) < 0 ||
              warehouse_erase(warehouse, TEAM, orders, TOGETHER, each, &err) < 0);
    }
    return pid;
}

static void killed_at_any_moment(void **state)
{
    struct warehouse_place  place;
    struct warehouse       *warehouse = made(&place);
    struct warehouse_order  orders[TOGETHER];
    struct warehouse_erased each[TOGETHER];
    struct err              err = { .text = "" };
    bool                    whole = false;

    (void)state;
    warehouse_close(warehouse);
    for (useconds_t after_us = 5000; !whole; after_us = after_us * 5 / 4) {
        pid_t pid = carry_out();
        int   status = 0;

        usleep(after_us);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    warehouse = open_or_fail();
    place = place_of(warehouse);
    orders_of(orders);
    if (warehouse_erase(warehouse, TEAM, orders, TOGETHER, each, &err) < 0)
        fail_msg("%s", err.text);
    expect_together(warehouse, each);
    (void)commit(warehouse, &place, 18);
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(erased_is_gone, set_up),
        cmocka_unit_test_setup(several_at_once, set_up),
        cmocka_unit_test_setup(begun_one_by_one, set_up),
        cmocka_unit_test_setup(as_many_as_may_be, set_up),
        cmocka_unit_test_setup(killed_at_any_moment, set_up),
    };

    return server_known() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
