/* people/again_test.c - rows whose commits the store has lost: what it has is given out above them, and what it makes later is above that. */
#include "people/again.h"
#include "people/people_test_kit.h"

enum { TOLD_MAX = 4 };

struct told { struct row rows[TOLD_MAX]; size_t count; };

static int told_add(void *ctx, const struct row *row, struct err *err)
{
    struct told *told = ctx;

    (void)err;
    assert_true(told->count < TOLD_MAX);
    told->rows[told->count++] = *row; /* texts are those of the test, or of the transaction */
    return 0;
}

static struct row person_row(unsigned uuid, uint64_t version, bool deleted)
{
    struct row row;

    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, uuid_of(uuid));
    row_set_i64(&row, ROW_PERSON_TEAM_ID, 7);
    row_set_i64(&row, ROW_PERSON_CREATED_AT, 11);
    row_set_text(&row, ROW_PERSON_PROPERTIES, SPAN("{\"lost\":1}"));
    row_set_i64(&row, ROW_PERSON_IS_DELETED, deleted);
    row_set_i64(&row, ROW_PERSON_VERSION, (int64_t)version);
    return row;
}

static struct row link_row(const char *id, unsigned uuid, uint64_t version)
{
    struct row row;

    row_init(&row, ROW_DISTINCT);
    row_set_i64(&row, ROW_DISTINCT_TEAM_ID, 7);
    row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, span_text(id));
    row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, uuid_of(uuid));
    row_set_i64(&row, ROW_DISTINCT_IS_DELETED, 0);
    row_set_i64(&row, ROW_DISTINCT_VERSION, (int64_t)version);
    return row;
}

static struct row group_row(const char *key, uint64_t version)
{
    struct row row;

    row_init(&row, ROW_GROUP);
    row_set_i64(&row, ROW_GROUP_TEAM_ID, 7);
    row_set_i64(&row, ROW_GROUP_TYPE_INDEX, 0);
    row_set_text(&row, ROW_GROUP_TYPE, SPAN("org"));
    row_set_text(&row, ROW_GROUP_KEY, span_text(key));
    row_set_text(&row, ROW_GROUP_PROPERTIES, SPAN("{\"lost\":1}"));
    row_set_i64(&row, ROW_GROUP_CREATED_AT, 11);
    row_set_i64(&row, ROW_GROUP_VERSION, (int64_t)version);
    return row;
}

/* Ann (5, her id at 1) and a group (2) are there. */
static void fill(struct people *people)
{
    struct people_txn *txn = must_begin(people, true);
    struct err         err = { 0 };
    struct person      ann = { .project = 7, .uuid = uuid_of(1), .created_us = 3, .last_seen_us = CLOCK_NONE, .version = 5, .properties = SPAN("{\"kept\":1}") };
    struct group       group = { .project = 7, .key = SPAN("g"), .created_us = 3, .version = 2, .properties = SPAN("{\"kept\":1}") };

    MUST(people_person_put(txn, &ann, &err));
    MUST(people_link_put(txn, 7, SPAN("ann"), &(struct person_link){ ann.id, 1 }, &err));
    assert_int_equal(people_group_type(txn, 7, SPAN("org"), true, &group.index, &err), 1);
    MUST(people_group_put(txn, &group, &err));
    MUST(people_commit(txn, &err));
}

static void again(struct people_txn *txn, struct row row, struct told *told)
{
    struct err err = { 0 };

    told->count = 0;
    MUST(people_row_again(txn, &row, told_add, told, &err));
}

static void persons_and_ids(void **state)
{
    struct people     *people = must_open(*state);
    struct people_txn *txn;
    struct told        told;
    struct person      person;
    struct person_link link;
    struct err         err = { 0 };
    uint64_t           version;

    fill(people);
    txn = must_begin(people, true);
    again(txn, person_row(1, 9, false), &told); /* there: as it is, above what was shown */
    assert_int_equal(told.count, 1);
    assert_int_equal(told.rows[0].cells[ROW_PERSON_VERSION].i64, 10);
    assert_int_equal(told.rows[0].cells[ROW_PERSON_IS_DELETED].i64, 0);
    assert_true(span_is(told.rows[0].cells[ROW_PERSON_PROPERTIES].text, "{\"kept\":1}"));
    again(txn, person_row(2, 3, false), &told); /* not there: deleted, above what was shown */
    assert_int_equal(told.count, 1);
    assert_true(told.rows[0].cells[ROW_PERSON_VERSION].i64 > 3);
    assert_int_equal(told.rows[0].cells[ROW_PERSON_IS_DELETED].i64, 1);
    again(txn, person_row(3, 104, true), &told);
    assert_true(told.rows[0].cells[ROW_PERSON_VERSION].i64 > 104);
    again(txn, link_row("ann", 8, 4), &told); /* shown as another person's */
    assert_int_equal(told.count, 1);
    assert_int_equal(told.rows[0].cells[ROW_DISTINCT_VERSION].i64, 5);
    assert_int_equal(told.rows[0].cells[ROW_DISTINCT_IS_DELETED].i64, 0);
    assert_true(uuid_equal(&told.rows[0].cells[ROW_DISTINCT_PERSON_ID].uuid, &(struct uuid){ .bytes = { [15] = 1 } }));
    again(txn, link_row("who", 2, 2), &told);
    assert_int_equal(told.rows[0].cells[ROW_DISTINCT_VERSION].i64, 3);
    assert_int_equal(told.rows[0].cells[ROW_DISTINCT_IS_DELETED].i64, 1);
    MUST(people_commit(txn, &err));
    people_close(people);

    people = must_open(*state);
    txn = must_begin(people, true);
    assert_int_equal(people_person_find(txn, 7, &(struct uuid){ .bytes = { [15] = 1 } }, &person, &err), 1);
    assert_int_equal(person.version, 10);
    MUST(people_person_version(txn, 7, &(struct uuid){ .bytes = { [15] = 2 } }, &version, &err));
    assert_true(version > 3);
    MUST(people_person_version(txn, 7, &(struct uuid){ .bytes = { [15] = 3 } }, &version, &err));
    assert_true(version > 104);
    assert_int_equal(people_link_get(txn, 7, SPAN("ann"), &link, &err), 1);
    assert_true(link.version == 5 && link.person == person.id);
    assert_int_equal(people_link_get(txn, 7, SPAN("who"), &link, &err), 1); /* a tombstone */
    assert_true(link.version == 3 && link.person == 0);
    people_abort(txn);
    people_close(people);
}

static void groups(void **state)
{
    struct people     *people = must_open(*state);
    struct people_txn *txn;
    struct told        told;
    struct group       group;
    struct row         moved = group_row("m", 4);
    struct err         err = { 0 };

    fill(people);
    txn = must_begin(people, true);
    again(txn, group_row("g", 7), &told);
    assert_int_equal(told.rows[0].cells[ROW_GROUP_VERSION].i64, 8);
    assert_true(span_is(told.rows[0].cells[ROW_GROUP_PROPERTIES].text, "{\"kept\":1}"));
    again(txn, group_row("h", 4), &told);
    assert_int_equal(told.rows[0].cells[ROW_GROUP_VERSION].i64, 5);
    assert_true(span_is(told.rows[0].cells[ROW_GROUP_PROPERTIES].text, "{}"));
    row_set_i64(&moved, ROW_GROUP_TYPE_INDEX, 3); /* where its type is not any more */
    again(txn, moved, &told);
    assert_int_equal(told.count, 0);
    MUST(people_commit(txn, &err));
    txn = must_begin(people, true);
    assert_int_equal(people_group_get(txn, 7, 0, SPAN("g"), &group, &err), 1);
    assert_int_equal(group.version, 8);
    assert_int_equal(people_group_get(txn, 7, 0, SPAN("h"), &group, &err), 1);
    assert_true(group.version == 5 && group.created_us == 11);
    assert_int_equal(people_group_get(txn, 7, 0, SPAN("m"), &group, &err), 0);
    people_abort(txn);
    people_close(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = { PLACED(persons_and_ids), PLACED(groups) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
