/* people/people_test.c - the store of people: what is kept, over aborts, crashes, full maps and processes. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/people.h"

#define MAP_BYTES ((uint64_t)1 << 30)

struct place {
    char folder[64];
    struct people_options options;
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    (void)snprintf(place->folder, sizeof place->folder, "/tmp/penstock_people_XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    place->options = (struct people_options){ .folder = place->folder, .map_bytes_max = MAP_BYTES };
    *state = place;
    return 0;
}

static int place_drop(void **state)
{
    struct place *place = *state;
    char path[96];

    (void)snprintf(path, sizeof path, "%s/data.mdb", place->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", place->folder);
    (void)unlink(path);
    (void)rmdir(place->folder);
    free(place);
    return 0;
}

/* The calls that have to work in these tests: a failure is told with its text. */
#define MUST(call)                            \
    do {                                      \
        if ((call) < 0)                       \
            fail_msg(#call ": %s", err.text); \
    } while (0)

static struct people *must_open(const struct place *place)
{
    struct people *people = NULL;
    struct err err = { 0 };

    MUST(people_open(&place->options, &people, &err));
    return people;
}

static struct people_txn *must_begin(struct people *people, bool write)
{
    struct people_txn *txn = NULL;
    struct err err = { 0 };

    MUST(people_begin(people, write, &txn, &err));
    return txn;
}

static struct uuid uuid_of(unsigned n)
{
    struct uuid uuid = { { 0 } };

    for (int i = 0; i < 4; i++)
        uuid.bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
    return uuid;
}

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
        assert_int_equal(eve.id, 3);
        people_abort(txn);
    }
    people_close(people);
}

static void links_of_any_length(void **state)
{
    enum { LONGEST = 2000 };
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
    for (size_t bytes = 0; bytes <= LONGEST; bytes += bytes > 470 && bytes < 520 ? 1 : 53) {
        link = (struct person_link){ ann.id, bytes };
        MUST(people_link_put(txn, 7, span_of(text, bytes), &link, &err));
        expected += 1 + 1000 * (unsigned)bytes;
    }
    MUST(people_commit(txn, &err));
    txn = must_begin(people, false);
    for (size_t bytes = 0; bytes <= LONGEST; bytes += bytes > 470 && bytes < 520 ? 1 : 53) {
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
    char text[1000];
    uint64_t version = 1;
    unsigned seen = 0;

    memset(text, 'z', sizeof text);
    MUST(people_person_put(txn, &a, &err));
    MUST(people_person_put(txn, &b, &err));
    MUST(people_link_put(txn, 7, SPAN("o"), &(struct person_link){ a.id, 0 }, &err));
    MUST(people_link_put(txn, 7, span_of(text, 1000), &(struct person_link){ a.id, 0 }, &err));
    MUST(people_link_put(txn, 7, SPAN("n"), &(struct person_link){ b.id, 0 }, &err));
    MUST(people_link_put(txn, 7, SPAN("o"), &(struct person_link){ b.id, 1 }, &err));
    MUST(people_link_put(txn, 7, span_of(text, 1000), &(struct person_link){ b.id, 1 }, &err));
    MUST(people_person_links(txn, a.id, count_links, &seen, &err));
    assert_int_equal(seen, 0);
    MUST(people_person_links(txn, b.id, count_links, &seen, &err));
    assert_int_equal(seen, 2003);
    assert_int_equal(people_person_links(txn, b.id, stop_at_once, NULL, &err), -1);

    MUST(people_person_version(txn, 7, &a.uuid, &version, &err));
    assert_int_equal(version, 0);
    MUST(people_person_delete(txn, &a, &err));
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
    char text[600];
    struct group group = { .project = 7, .created_us = 12, .version = 3, .properties = SPAN("{\"a\":1}") }, got;
    int index = 77;

    memset(text, 'k', sizeof text);
    assert_int_equal(people_group_type(txn, 7, SPAN("org"), false, &index, &err), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(people_group_type(txn, 7, span_text(types[i]), true, &index, &err), i < 5);
        assert_int_equal(index, i < 5 ? i : 4);
    }
    assert_int_equal(people_group_type(txn, 8, span_of(text, 600), true, &index, &err), 1);
    assert_int_equal(index, 0);
    assert_int_equal(people_group_type(txn, 8, SPAN("org"), true, &index, &err), 1);
    assert_int_equal(index, 1);
    assert_int_equal(people_group_type(txn, 7, SPAN("team"), false, &index, &err), 1);
    assert_int_equal(index, 1);
    for (group.index = 0; group.index < 2; group.index++)
        for (size_t bytes = 0; bytes <= 600; bytes += 200) {
            group.key = span_of(text, bytes);
            group.version = bytes + (unsigned)group.index;
            MUST(people_group_put(txn, &group, &err));
        }
    MUST(people_commit(txn, &err));
    txn = must_begin(people, false);
    for (int i = 0; i < 2; i++)
        for (size_t bytes = 0; bytes <= 600; bytes += 200) {
            assert_int_equal(people_group_get(txn, 7, i, span_of(text, bytes), &got, &err), 1);
            assert_int_equal(got.version, bytes + (unsigned)i);
            assert_int_equal(got.created_us, 12);
            assert_true(span_is(got.properties, "{\"a\":1}"));
            assert_int_equal(people_group_get(txn, 8, i, span_of(text, bytes), &got, &err), 0);
        }
    people_abort(txn);
    people_close(people);
}

/* --- seen ids ---------------------------------------------------------------------------------- */

static void seen_ids_first_wins(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct people_seen ids[] = {
        { .project = 7, .uuid = uuid_of(9) }, { .project = 7, .uuid = uuid_of(3) },
        { .project = 7, .uuid = uuid_of(9) }, { .project = 8, .uuid = uuid_of(9) },
        { .project = 7, .uuid = uuid_of(3) }, { .project = 7, .uuid = uuid_of(1) },
    };
    static const bool within[] = { false, false, true, false, true, false };

    MUST(people_seen_add(txn, ids, 6, 20000, &err));
    for (int i = 0; i < 6; i++)
        assert_int_equal(ids[i].repeated, within[i]);
    MUST(people_seen_add(txn, ids, 6, 20000, &err));
    for (int i = 0; i < 6; i++)
        assert_true(ids[i].repeated);
    people_abort(txn);

    txn = must_begin(people, true); /* aborted: never seen */
    MUST(people_seen_add(txn, ids, 1, 20000, &err));
    assert_false(ids[0].repeated);
    MUST(people_seen_add(txn, ids, 0, 20000, &err));
    MUST(people_commit(txn, &err));
    people_close(people);

    people = must_open(place);
    txn = must_begin(people, true);
    MUST(people_seen_add(txn, ids, 1, 20000 + PEOPLE_SEEN_DAYS, &err)); /* still known on its last day */
    assert_true(ids[0].repeated);
    MUST(people_seen_add(txn, ids, 1, 20001 + PEOPLE_SEEN_DAYS, &err)); /* forgotten */
    assert_false(ids[0].repeated);
    MUST(people_seen_add(txn, ids, 1, 20002 + PEOPLE_SEEN_DAYS, &err)); /* and noted anew */
    assert_true(ids[0].repeated);
    people_abort(txn);
    people_close(people);
}

int main(void)
{
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_make, place_drop)
    const struct CMUnitTest tests[] = {
        PLACED(persons_are_kept), PLACED(links_of_any_length), PLACED(links_move_and_leave_tombstones),
        PLACED(groups_are_kept),  PLACED(seen_ids_first_wins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
