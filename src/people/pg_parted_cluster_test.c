/* parts: postgres
 * people/pg_parted_cluster_test.c - tables as newer installations of PostHog have them: persons parted by hash of their team, with no key
 * of their id alone, ids from a sequence that is another table's, and persons that were merged away and whose rows stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/batch.h"
#include "people/people.h"
#include "people/pg_test_kit.h"

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static char                  folder[64], url[500];
static struct people        *people;

static const char tables[] =
    "CREATE TABLE posthog_person_of_before (id bigserial PRIMARY KEY); "
    "CREATE TABLE posthog_person (id bigint NOT NULL DEFAULT nextval('posthog_person_of_before_id_seq'), created_at timestamptz NOT NULL, "
    "properties jsonb NOT NULL DEFAULT '{}', properties_last_updated_at jsonb, properties_last_operation jsonb, "
    "is_identified bool NOT NULL DEFAULT false, is_user_id int4, uuid uuid NOT NULL, version int8, team_id int4 NOT NULL, "
    "last_seen_at timestamptz, is_deleted bool NOT NULL DEFAULT false, merged_into_id int8, PRIMARY KEY (team_id, id)) "
    "PARTITION BY HASH (team_id); "
    "CREATE TABLE posthog_person_p0 PARTITION OF posthog_person FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
    "CREATE TABLE posthog_person_p1 PARTITION OF posthog_person FOR VALUES WITH (MODULUS 2, REMAINDER 1); "
    "CREATE TABLE posthog_persondistinctid (id bigserial PRIMARY KEY, distinct_id varchar(400) NOT NULL, version int8, "
    "person_id int8 NOT NULL, team_id int4 NOT NULL, UNIQUE (team_id, distinct_id)); "
    "INSERT INTO posthog_person (id, created_at, uuid, version, team_id, is_deleted, merged_into_id) VALUES "
    "(101, '2024-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000101', 4, 7, false, NULL), "
    "(102, '2024-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000102', 5, 7, true, 101), "
    "(103, '2024-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000103', 6, 7, true, 102), "
    "(104, '2024-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000104', 7, 7, true, NULL), "
    "(105, '2024-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000105', 8, 7, true, 106), "
    "(106, '2024-01-02 03:04:05+00', '00000000-0000-0000-0000-000000000106', 9, 7, true, 105); "
    "INSERT INTO posthog_persondistinctid (distinct_id, version, person_id, team_id) VALUES ('lives', 0, 101, 7), ('merged', 2, 102, 7), "
    "('merged twice', NULL, 103, 7), ('deleted', 3, 104, 7), ('nobody', 4, 999, 7), ('around', 5, 105, 7); "
    "SELECT setval('posthog_person_of_before_id_seq', 200)";

static int begin(void **state)
{
    struct people_options options = { .folder = folder };
    struct err            err = { 0 };

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_pg_parted_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    pg_kit_database(folder, url);
    (void)pg_kit_sql(url, tables);
    MUST(people_open(&options, &people, &err));
    return 0;
}

static int end(void **state)
{
    (void)state;
    people_close(people);
    return 0;
}

static int row_seen(void *ctx, const struct row *row, struct err *err)
{
    (void)ctx, (void)row, (void)err;
    return 0;
}

/* An event of each id, in one batch; whose it was. */
static void events(const char *const *ids, size_t count, enum people_merge merge, const char *other,
                   struct uuid *persons_out)
{
    struct arena        *arena = arena_new(64 << 10, 16 << 20);
    struct people_batch *batch;
    struct people_txn   *txn;
    struct err           err = { 0 };

    assert_non_null(arena);
    MUST(people_begin(people, true, &txn, &err));
    MUST(people_batch_begin(txn, arena, &batch, &err));
    for (size_t i = 0; i < count; i++) {
        struct people_event  event = { .project = 7, .distinct_id = span_text(ids[i]), .uuid = { { (uint8_t)(i + 1) } },
                                       .merge = merge, .merge_other = span_text(other) };
        struct people_result result;

        MUST(people_batch_apply(batch, &event, &result, &err));
        persons_out[i] = result.person_id;
    }
    MUST(people_batch_finish(batch, row_seen, NULL, &err));
    MUST(people_commit(txn, &err));
    arena_free(arena);
}

#define COUNT(sql) pg_kit_sql(url, "SELECT count(*) FROM " sql)

static void each_new_person_has_an_id(void **state)
{
    static const char *const ids[] = { "new 1", "new 2", "new 3" };
    struct uuid              persons[3];

    (void)state;
    events(ids, 3, PEOPLE_MERGE_NONE, "", persons);
    assert_int_equal(COUNT("posthog_person WHERE id BETWEEN 201 AND 1000"), 3);
    assert_int_equal(COUNT("posthog_persondistinctid d JOIN posthog_person p ON p.id = d.person_id AND p.team_id = d.team_id "
                           "WHERE d.distinct_id LIKE 'new %'"), 3);
}

/* Who was merged away by others: his ids are the survivor's, and say so from now on. */
static void ids_follow_their_person(void **state)
{
    static const char *const ids[] = { "merged", "merged twice", "lives" };
    struct uuid              persons[3];

    (void)state;
    events(ids, 3, PEOPLE_MERGE_NONE, "", persons);
    for (int i = 0; i < 3; i++)
        assert_int_equal(persons[i].bytes[14] << 8 | persons[i].bytes[15], 0x0101);
    assert_int_equal(COUNT("posthog_persondistinctid WHERE person_id = 101"), 3);
    assert_int_equal(pg_kit_sql(url, "SELECT version FROM posthog_persondistinctid WHERE distinct_id = 'merged'"), 3);
    assert_int_equal(pg_kit_sql(url, "SELECT version FROM posthog_persondistinctid WHERE distinct_id = 'merged twice'"), 1);
}

/* An id that leads to nobody any more: its next event makes a person, and nothing stops. */
static void ids_of_nobody_begin_anew(void **state)
{
    static const char *const ids[] = { "deleted", "nobody", "around" };
    struct uuid              persons[3];

    (void)state;
    events(ids, 3, PEOPLE_MERGE_NONE, "", persons);
    assert_int_equal(COUNT("posthog_persondistinctid d JOIN posthog_person p ON p.id = d.person_id AND p.team_id = d.team_id "
                           "WHERE NOT p.is_deleted AND (d.distinct_id, d.version) IN (('deleted', 4), ('nobody', 5), ('around', 6))"), 3);
}

/* The same where an identify names it. */
static void ids_of_nobody_are_merged(void **state)
{
    static const char *const ids[] = { "lives" };
    struct uuid              persons[1];

    (void)state;
    events(ids, 1, PEOPLE_MERGE_IDENTIFY, "nobody", persons);
    events(ids, 1, PEOPLE_MERGE_IDENTIFY, "merged", persons);
    events((const char *const[]){ "around" }, 1, PEOPLE_MERGE_IDENTIFY, "deleted", persons);
    assert_int_equal(COUNT("posthog_persondistinctid WHERE person_id = 101 AND distinct_id IN ('lives', 'nobody', 'merged')"), 3);
    assert_int_equal(COUNT("posthog_persondistinctid d JOIN posthog_person p ON p.id = d.person_id AND p.team_id = d.team_id "
                           "WHERE NOT p.is_deleted AND d.distinct_id IN ('around', 'deleted')"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_new_person_has_an_id, begin, end),  cmocka_unit_test_setup_teardown(ids_follow_their_person, begin, end),
        cmocka_unit_test_setup_teardown(ids_of_nobody_begin_anew, begin, end),   cmocka_unit_test_setup_teardown(ids_of_nobody_are_merged, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
