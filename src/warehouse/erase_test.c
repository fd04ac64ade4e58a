/* warehouse/erase_test.c - what is erased is in no table and in no byte of the file; everything else is as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "warehouse/warehouse.h"

enum { PERSONS = 40, EVENTS_EACH = 60, IDS_EACH = 3, ERASED = 7, TEAM = 1 };
#define DAY_US ((int64_t)86400 * 1000000)
#define T_US   ((int64_t)1709287200 * 1000000)

static char folder[] = "/tmp/penstock-erase-XXXXXX";
static char path[100];

static struct warehouse_options warehouse_at(void)
{
    return (struct warehouse_options){ .path = path, .library = getenv("PENSTOCK_BENCH_LIBRARY") };
}

static struct warehouse *open_or_fail(void)
{
    struct warehouse_options options = warehouse_at();
    struct warehouse        *warehouse = NULL;
    struct err               err = { .text = "" };

    if (warehouse_open(&options, &warehouse, &err) < 0)
        fail_msg("%s", err.text);
    return warehouse;
}

static int collect(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    buf_add(ctx, piece);
    return 0;
}

static const char *ask(struct warehouse *warehouse, const char *sql)
{
    static struct buf out;
    struct err        err = { .text = "" };

    buf_fini(&out);
    buf_init(&out, 1 << 24);
    if (warehouse_query(warehouse, sql, WAREHOUSE_CSV, collect, &out, NULL, &err) < 0)
        fail_msg("%s: %s", sql, err.text);
    buf_add_byte(&out, '\0');
    return (const char *)out.at;
}

static void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

static struct uuid person_uuid(unsigned person)
{
    struct uuid uuid = { { 0xaa, (uint8_t)person } };

    return uuid;
}

/* Random letters: no compression that works by likeness hides them. */
static struct span canary(char to[64], unsigned person, unsigned n, const char *what)
{
    unsigned long state = person * 1000003 + n * 7919 + (unsigned)what[0];
    int           at = snprintf(to, 64, "%s-", what);

    for (int i = 0; i < 24; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        to[at++] = (char)('a' + (state >> 40) % 26);
    }
    return span_of(to, (size_t)at);
}

static void add(struct warehouse *warehouse, const struct row *row)
{
    struct err err = { .text = "" };

    must(warehouse_add(warehouse, row, &err), &err);
}

static void commit(struct warehouse *warehouse)
{
    static struct warehouse_place place;
    struct err                    err = { .text = "" };

    place.next[0]++;
    must(warehouse_commit(warehouse, &place, &err), &err);
}

static void add_person(struct warehouse *warehouse, unsigned person, bool deleted)
{
    char       text[64];
    struct row row;

    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, person_uuid(person));
    row_set_i64(&row, ROW_PERSON_TEAM_ID, TEAM);
    row_set_text(&row, ROW_PERSON_PROPERTIES, deleted ? SPAN("{}") : canary(text, person, 0, "prop"));
    row_set_i64(&row, ROW_PERSON_IS_DELETED, deleted);
    row_set_i64(&row, ROW_PERSON_VERSION, deleted ? 100 : 0);
    add(warehouse, &row);
    for (unsigned n = 0; n < IDS_EACH; n++) {
        row_init(&row, ROW_DISTINCT);
        row_set_i64(&row, ROW_DISTINCT_TEAM_ID, TEAM);
        row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, canary(text, person, n, "id"));
        row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, person_uuid(person));
        row_set_i64(&row, ROW_DISTINCT_IS_DELETED, deleted);
        row_set_i64(&row, ROW_DISTINCT_VERSION, deleted ? 101 : 1);
        add(warehouse, &row);
    }
}

/* Events of a person: half carry its uuid, half were stored before its ids were merged. */
static void add_events(struct warehouse *warehouse, unsigned person)
{
    char       id[64], name[64], details[200], other[64];
    struct row row;

    for (unsigned n = 0; n < EVENTS_EACH; n++) {
        row_init(&row, ROW_EVENT);
        row_set_i64(&row, ROW_EVENT_TEAM_ID, TEAM);
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)(person * EVENTS_EACH + n));
        row_set_text(&row, ROW_EVENT_DISTINCT_ID, canary(id, person, n % IDS_EACH, "id"));
        row_set_text(&row, ROW_EVENT_EVENT, canary(name, person, n, "name"));
        row_set_uuid(&row, ROW_EVENT_PERSON_ID, n % 2 == 0 ? person_uuid(person) : person_uuid(200 + n));
        row_set_i64(&row, ROW_EVENT_TIMESTAMP, T_US + (int64_t)n * DAY_US);
        add(warehouse, &row);
    }
    row_init(&row, ROW_DEAD_LETTER);
    row_set_i64(&row, ROW_DEAD_LETTER_TEAM_ID, TEAM);
    row_set_text(&row, ROW_DEAD_LETTER_DISTINCT_ID, canary(id, person, 1, "id"));
    row_set_text(&row, ROW_DEAD_LETTER_DATA, canary(name, person, 99, "data"));
    add(warehouse, &row);
    for (unsigned n = 0; n < 2; n++) { /* one of its own, one of another person's event that names it */
        (void)snprintf(details, sizeof details, "{\"sourcePersonDistinctId\":\"%.*s\"}",
                       SPAN_ARG(canary(other, n == 0 ? 250 : person, 0, "id")));
        row_init(&row, ROW_WARNING);
        row_set_i64(&row, ROW_WARNING_TEAM_ID, TEAM);
        row_set_text(&row, ROW_WARNING_DISTINCT_ID, n == 0 ? canary(id, person, 2, "id") : SPAN("somebody"));
        row_set_text(&row, ROW_WARNING_DETAILS, span_text(details));
        add(warehouse, &row);
    }
}

/* How many of a person's canaries are in the file. */
static unsigned canaries_in_file(unsigned person)
{
    static const char *const whats[] = { "id", "name", "data", "prop" };
    FILE       *file = fopen(path, "rb");
    struct stat st;
    char       *bytes, text[64];
    unsigned    found = 0;

    assert_non_null(file);
    assert_int_equal(stat(path, &st), 0);
    bytes = malloc((size_t)st.st_size);
    assert_int_equal(fread(bytes, 1, (size_t)st.st_size, file), st.st_size);
    (void)fclose(file);
    for (int i = 0; i < 4; i++)
        for (unsigned n = 0; n < 100; n++) {
            struct span one = canary(text, person, n, whats[i]);

            found += memmem(bytes, (size_t)st.st_size, one.at, one.bytes) != NULL;
        }
    free(bytes);
    return found;
}

static char others[1 << 20];
static const char *others_now(struct warehouse *warehouse)
{
    char sql[400], uuid[UUID_TEXT_BYTES + 1] = "";
    struct uuid erased = person_uuid(ERASED);

    uuid_format(&erased, uuid);
    (void)snprintf(sql, sizeof sql, "SELECT (SELECT md5(string_agg(raw_offset || event || distinct_id, '' ORDER BY raw_offset)) "
                                    "FROM events WHERE raw_offset // %d <> %d), (SELECT md5(string_agg(id::VARCHAR || properties, "
                                    "'' ORDER BY id)) FROM persons WHERE id <> '%s'), (SELECT count(*) FROM "
                                    "person_distinct_ids WHERE person_id <> '%s')", EVENTS_EACH, ERASED, uuid, uuid);
    return ask(warehouse, sql);
}

static void erased_is_gone(void **state)
{
    struct warehouse_options options = warehouse_at();
    struct warehouse        *warehouse;
    struct warehouse_erased  erased;
    struct err               err = { .text = "" };
    bool                     wanted;

    (void)state;
    warehouse = open_or_fail();
    for (unsigned person = 0; person < PERSONS; person++) {
        add_person(warehouse, person, false);
        add_events(warehouse, person);
    }
    commit(warehouse);
    add_person(warehouse, ERASED, true);
    commit(warehouse);
    (void)snprintf(others, sizeof others, "%s", others_now(warehouse));
    must(warehouse_wants_rewrite(warehouse, &wanted, &err), &err);
    assert_false(wanted);
    warehouse_close(warehouse);
    assert_true(canaries_in_file(ERASED) > 50); /* they can be found at all */

    warehouse = open_or_fail();
    must(warehouse_erase(warehouse, TEAM, &(struct warehouse_order){ .person = { { 0xaa, ERASED } } }, 1, &erased, &err), &err);
    warehouse_rollback(warehouse); /* as if it had been killed: nothing happened */
    assert_string_equal(ask(warehouse, "SELECT count(*) FROM events"), "count_star()\r\n2400\r\n");
    must(warehouse_erase(warehouse, TEAM, &(struct warehouse_order){ .person = { { 0xaa, ERASED } } }, 1, &erased, &err), &err);
    assert_int_equal(erased.events, EVENTS_EACH);
    assert_int_equal(erased.dead_letters, 1);
    assert_int_equal(erased.warnings, 2);
    commit(warehouse);
    must(warehouse_wants_rewrite(warehouse, &wanted, &err), &err);
    assert_true(wanted);
    assert_string_equal(ask(warehouse, "SELECT count(*) FROM events"), "count_star()\r\n2340\r\n");
    assert_string_equal(ask(warehouse, "SELECT count(*) FROM dead_letters"), "count_star()\r\n39\r\n");
    assert_string_equal(ask(warehouse, "SELECT count(*) FROM ingestion_warnings"), "count_star()\r\n78\r\n");
    assert_string_equal(ask(warehouse, "SELECT count(*) AS n, sum(is_deleted::INT) AS d FROM persons"), "n,d\r\n39,0\r\n");
    assert_string_equal(ask(warehouse, "SELECT count(*) AS n FROM person_distinct_ids"), "n\r\n117\r\n");
    assert_string_equal(others_now(warehouse), others);
    warehouse_close(warehouse);

    must(warehouse_rewrite(&options, &err), &err);
    assert_int_equal(canaries_in_file(ERASED), 0);
    assert_true(canaries_in_file(ERASED + 1) > 50);
    warehouse = open_or_fail();
    assert_string_equal(others_now(warehouse), others);
    must(warehouse_wants_rewrite(warehouse, &wanted, &err), &err);
    assert_false(wanted);
    /* It is a warehouse like any other: rows come, and a person of the same ids again. */
    add_person(warehouse, ERASED, false);
    add_events(warehouse, ERASED);
    commit(warehouse);
    assert_string_equal(ask(warehouse, "SELECT count(*) FROM events"), "count_star()\r\n2400\r\n");
    assert_string_equal(ask(warehouse, "SELECT count(*) AS n FROM persons"), "n\r\n40\r\n");
    warehouse_close(warehouse);
}

/* A person made anew of the same id, before the erasure was done, keeps its row. */
static void made_again_stays(void **state)
{
    struct warehouse       *warehouse = open_or_fail();
    struct warehouse_erased erased;
    struct err              err = { .text = "" };
    struct row              row;

    (void)state;
    add_person(warehouse, ERASED, true);
    commit(warehouse);
    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, person_uuid(ERASED));
    row_set_i64(&row, ROW_PERSON_TEAM_ID, TEAM);
    row_set_text(&row, ROW_PERSON_PROPERTIES, SPAN("{\"new\":1}"));
    row_set_i64(&row, ROW_PERSON_IS_DELETED, 0);
    row_set_i64(&row, ROW_PERSON_VERSION, 101);
    add(warehouse, &row);
    commit(warehouse);
    must(warehouse_erase(warehouse, TEAM, &(struct warehouse_order){ .person = { { 0xaa, ERASED } } }, 1, &erased, &err), &err);
    commit(warehouse);
    assert_string_equal(ask(warehouse, "SELECT properties FROM persons WHERE version > 0"), "properties\r\n\"{\"\"new\"\":1}\"\r\n");
    assert_string_equal(ask(warehouse, "SELECT count(*) AS n FROM person_distinct_ids"), "n\r\n117\r\n");
    warehouse_close(warehouse);
}

static void old_events_expire(void **state)
{
    struct warehouse       *warehouse = open_or_fail();
    struct warehouse_erased erased;
    struct err              err = { .text = "" };

    (void)state;
    must(warehouse_expire(warehouse, TEAM + 1, T_US + 1000 * DAY_US, &erased, &err), &err);
    commit(warehouse);
    assert_int_equal(erased.events, 0); /* another project's */
    must(warehouse_expire(warehouse, TEAM, T_US + 10 * DAY_US, &erased, &err), &err);
    commit(warehouse);
    assert_int_equal(erased.events, 390);
    assert_string_equal(ask(warehouse, "SELECT count(*) AS n, min(timestamp) AS t FROM events"),
                        "n,t\r\n1950,2024-03-11 10:00:00\r\n");
    warehouse_close(warehouse);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/warehouse.duckdb", folder);
    return 0;
}

static int tear_down(void **state)
{
    char command[150];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(erased_is_gone),
        cmocka_unit_test(made_again_stays),
        cmocka_unit_test(old_events_expire),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
