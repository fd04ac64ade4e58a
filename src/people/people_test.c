/* people/people_test.c - the store of people: persons, links, groups and ingest's place are kept, and aborts leave nothing. */
#include "people/people_test_kit.h"

/* --- persons and links ------------------------------------------------------------------------- */

static int count_links(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err)
{
    (void)distinct_id;
    (void)err;
    *(unsigned *)ctx += 1 + 1000 * (unsigned)link->version;
    return 0;
}

static void persons_are_kept(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct person ann = { .project = 7,
                          .uuid = uuid_of(1),
                          .created_us = -5,
                          .last_seen_us = CLOCK_NONE,
                          .identified = true,
                          .version = 41,
                          .properties = SPAN("{\"n\":9007199254740993}") };
    struct person bob = { .project = 7, .uuid = uuid_of(2), .properties = SPAN("{}") };
    struct person got = { 0 };

    assert_int_equal(people_person_get(txn, 1, &got, &err), 0);
    MUST(people_person_put(txn, &ann, &err));
    MUST(people_person_put(txn, &bob, &err));
    assert_int_equal(ann.id, 1);
    assert_int_equal(bob.id, 2);
    assert_int_equal(people_person_get(txn, 1, &got, &err), 1); /* its own writes are seen */
    MUST(people_commit(txn, &err));
    people_close(people);

    people = must_open(place);
    txn = must_begin(people, false);
    assert_int_equal(people_person_get(txn, 1, &got, &err), 1);
    assert_int_equal(got.id, 1);
    assert_int_equal(got.project, 7);
    assert_true(uuid_equal(&got.uuid, &ann.uuid));
    assert_true(got.created_us == -5 && got.last_seen_us == CLOCK_NONE && got.identified && got.version == 41);
    assert_true(span_equal(got.properties, ann.properties));
    assert_int_equal(people_person_get(txn, 2, &got, &err), 1);
    assert_false(got.identified);
    people_abort(txn);

    /* Ids go on after a restart, and one that an aborted transaction took is taken again. */
    for (int i = 0; i < 2; i++) {
        struct person eve = { .project = 7, .uuid = uuid_of(3), .properties = SPAN("{}") };

        txn = must_begin(people, true);
        MUST(people_person_put(txn, &eve, &err));
        if (PEOPLE_TEST_IDS_TAKEN_AGAIN)
            assert_int_equal(eve.id, 3);
        else
            assert_true(eve.id > 2);
        people_abort(txn);
    }
    people_close(people);
}

static void links_of_any_length(void **state)
{
    enum { LONGEST = PEOPLE_TEST_TEXT_MAX };
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct person ann = { .project = 7, .uuid = uuid_of(1), .properties = SPAN("{}") };
    struct person_link link;
    char text[LONGEST];
    unsigned seen = 0, expected = 0;

    /* One text and its prefixes: what differs only far behind must still differ. */
    memset(text, 'x', sizeof text);
    MUST(people_person_put(txn, &ann, &err));
    for (size_t bytes = 0; bytes <= LONGEST; bytes += bytes > 470 && bytes < 520 ? 1 : 40) {
        link = (struct person_link){ ann.id, bytes };
        MUST(people_link_put(txn, 7, span_of(text, bytes), &link, &err));
        expected += 1 + 1000 * (unsigned)bytes;
    }
    MUST(people_commit(txn, &err));
    txn = must_begin(people, false);
    for (size_t bytes = 0; bytes <= LONGEST; bytes += bytes > 470 && bytes < 520 ? 1 : 40) {
        assert_int_equal(people_link_get(txn, 7, span_of(text, bytes), &link, &err), 1);
        assert_int_equal(link.person, ann.id);
        assert_int_equal(link.version, bytes);
        assert_int_equal(people_link_get(txn, 8, span_of(text, bytes), &link, &err), 0);
        if (bytes > 0) {
            text[bytes - 1] = 'y';
            assert_int_equal(people_link_get(txn, 7, span_of(text, bytes), &link, &err), 0);
            text[bytes - 1] = 'x';
        }
    }
    MUST(people_person_links(txn, ann.id, count_links, &seen, &err));
    assert_int_equal(seen, expected);
    people_abort(txn);
    people_close(people);
}

static int stop_at_once(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err)
{
    (void)ctx, (void)distinct_id, (void)link, (void)err;
    return -1;
}

static void links_move_and_leave_tombstones(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct person a = { .project = 7, .uuid = uuid_of(1), .version = 7, .properties = SPAN("{}") };
    struct person b = { .project = 7, .uuid = uuid_of(2), .properties = SPAN("{}") };
    struct person_link link;
    enum { LONG = PEOPLE_TEST_TEXT_MAX < 1000 ? PEOPLE_TEST_TEXT_MAX : 1000 };
    char text[LONG];
    uint64_t version = 1;
    unsigned seen = 0;

    memset(text, 'z', sizeof text);
    MUST(people_person_put(txn, &a, &err));
    MUST(people_person_put(txn, &b, &err));
    MUST(people_link_put(txn, 7, SPAN("o"), &(struct person_link){ a.id, 0 }, &err));
    MUST(people_link_put(txn, 7, span_of(text, LONG), &(struct person_link){ a.id, 0 }, &err));
    MUST(people_link_put(txn, 7, SPAN("n"), &(struct person_link){ b.id, 0 }, &err));
    MUST(people_link_put(txn, 7, SPAN("o"), &(struct person_link){ b.id, 1 }, &err));
    MUST(people_link_put(txn, 7, span_of(text, LONG), &(struct person_link){ b.id, 1 }, &err));
    MUST(people_person_links(txn, a.id, count_links, &seen, &err));
    assert_int_equal(seen, 0);
    MUST(people_person_links(txn, b.id, count_links, &seen, &err));
    assert_int_equal(seen, 2003);
    assert_int_equal(people_person_links(txn, b.id, stop_at_once, NULL, &err), -1);

    MUST(people_person_version(txn, 7, &a.uuid, &version, &err));
    assert_int_equal(version, 0);
    MUST(people_person_delete(txn, &a, 0, &err));
    assert_int_equal(people_person_get(txn, a.id, &a, &err), 0);
    MUST(people_person_version(txn, 7, &a.uuid, &version, &err));
    assert_int_equal(version, 108); /* above 7 + 100 */
    MUST(people_person_version(txn, 8, &a.uuid, &version, &err));
    assert_int_equal(version, 0);

    MUST(people_link_put(txn, 7, SPAN("o"), &(struct person_link){ 0, 102 }, &err));
    assert_int_equal(people_link_get(txn, 7, SPAN("o"), &link, &err), 1);
    assert_true(link.person == 0 && link.version == 102);
    seen = 0;
    MUST(people_person_links(txn, b.id, count_links, &seen, &err));
    assert_int_equal(seen, 1002);
    MUST(people_commit(txn, &err));
    people_close(people);
}

/* --- groups ------------------------------------------------------------------------------------ */

static void groups_are_kept(void **state)
{
    static const char *const types[] = { "org", "team", "o", "", "project", "sixth" };
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    enum { LONG = PEOPLE_TEST_TEXT_MAX < 600 ? PEOPLE_TEST_TEXT_MAX : 600 };
    char text[LONG];
    struct group group = { .project = 7, .created_us = 12, .version = 3, .properties = SPAN("{\"a\":1}") }, got;
    int index = 77;

    memset(text, 'k', sizeof text);
    assert_int_equal(people_group_type(txn, 7, SPAN("org"), false, &index, &err), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(people_group_type(txn, 7, span_text(types[i]), true, &index, &err), i < 5);
        assert_int_equal(index, i < 5 ? i : 4);
    }
    assert_int_equal(people_group_type(txn, 8, span_of(text, LONG), true, &index, &err), 1);
    assert_int_equal(index, 0);
    assert_int_equal(people_group_type(txn, 8, SPAN("org"), true, &index, &err), 1);
    assert_int_equal(index, 1);
    assert_int_equal(people_group_type(txn, 7, SPAN("team"), false, &index, &err), 1);
    assert_int_equal(index, 1);
    for (group.index = 0; group.index < 2; group.index++)
        for (size_t bytes = 0; bytes <= LONG; bytes += 200) {
            group.key = span_of(text, bytes);
            group.version = bytes + (unsigned)group.index;
            MUST(people_group_put(txn, &group, &err));
        }
    MUST(people_commit(txn, &err));
    txn = must_begin(people, false);
    for (int i = 0; i < 2; i++)
        for (size_t bytes = 0; bytes <= LONG; bytes += 200) {
            assert_int_equal(people_group_get(txn, 7, i, span_of(text, bytes), &got, &err), 1);
            assert_int_equal(got.version, bytes + (unsigned)i);
            assert_int_equal(got.created_us, 12);
            assert_true(span_is(got.properties, "{\"a\":1}"));
            assert_int_equal(people_group_get(txn, 8, i, span_of(text, bytes), &got, &err), 0);
        }
    people_abort(txn);
    people_close(people);
}

/* --- place ------------------------------------------------------------------------------------- */

static void place_is_kept(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct people_place at = { .input_next = { 5, 0, 7, 1 } }, got;
    struct err err = { 0 };

    MUST(people_place_get(txn, &got, &err));
    assert_true(got.input_next[0] == 0 && got.output_end[0] == 0 && got.counters[PEOPLE_COUNTERS_MAX - 1] == 0);
    at.output_end[PEOPLE_OUTPUTS_MAX - 1] = UINT64_MAX;
    at.counters[PEOPLE_COUNTERS_MAX - 1] = 77;
    MUST(people_place_put(txn, &at, &err));
    MUST(people_commit(txn, &err));
    txn = must_begin(people, true);
    at.input_next[0] = 6;
    MUST(people_place_put(txn, &at, &err));
    MUST(people_place_get(txn, &got, &err));
    assert_int_equal(got.input_next[0], 6);
    people_abort(txn);
    people_close(people);

    people = must_open(place);
    txn = must_begin(people, false);
    MUST(people_place_get(txn, &got, &err));
    assert_true(got.input_next[0] == 5 && got.input_next[1] == 0 && got.input_next[2] == 7 && got.input_next[3] == 1);
    assert_true(got.output_end[PEOPLE_OUTPUTS_MAX - 1] == UINT64_MAX);
    assert_int_equal(got.counters[PEOPLE_COUNTERS_MAX - 1], 77);
    people_abort(txn);
    people_close(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(persons_are_kept),
        PLACED(links_of_any_length),
        PLACED(links_move_and_leave_tombstones),
        PLACED(groups_are_kept),
        PLACED(place_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
