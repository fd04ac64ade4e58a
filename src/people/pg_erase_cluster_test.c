/* parts: postgres
 * people/pg_erase_cluster_test.c - an erasure, and a batch of another unit that found the person just before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "people/operate.h"
#include "people/pg_test_kit.h"
#undef people_open

enum { PROJECT = 1 };

static char                   folders[2][40] = { "/tmp/penstock_erase_XXXXXX", "/tmp/penstock_erase_XXXXXX" };
static char                   url[500];
static struct people_settings settings = { .backend = "postgres", .url = url, .password_file = "" };

static void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

static struct people *unit_open(uint32_t unit)
{
    struct people *people;
    struct err     err = { 0 };

    must(people_open(&(struct people_options){ .folder = folders[unit], .settings = &settings, .unit = unit, .owner = true }, &people, &err), &err);
    return people;
}

static struct people_txn *begin(struct people *people)
{
    struct people_txn *txn;
    struct err         err = { 0 };

    must(people_begin(people, true, &txn, &err), &err);
    return txn;
}

static void person_make(struct people *people, const char *id)
{
    struct people_txn *txn = begin(people);
    struct person      person = { .project = PROJECT, .uuid = people_person_uuid(PROJECT, span_text(id)), .properties = SPAN("{}") };
    struct err         err = { 0 };

    must(people_person_put(txn, &person, &err), &err);
    must(people_link_put(txn, PROJECT, span_text(id), &(struct person_link){ .person = person.id, .version = 1 }, &err), &err);
    must(people_commit(txn, &err), &err);
}

static int row_seen(void *ctx, const struct row *row, struct err *err)
{
    (void)ctx, (void)row, (void)err;
    return 0;
}

static void person_go(struct people *people, const char *id, uint64_t erase)
{
    struct people_txn     *txn = begin(people);
    struct people_operated operated;
    struct err             err = { 0 };

    assert_int_equal(people_delete(txn, PROJECT, span_text(id), erase, row_seen, NULL, &operated, &err), 1);
    must(people_commit(txn, &err), &err);
}

/* What an event of an id does that changes nothing of its person: looks it up, and moves the place on. */
static int event_take(struct people_txn *txn, const char *id, uint64_t end, struct err *err)
{
    struct people_place place;
    struct person_link  link;
    struct person       person;
    int                 got = people_link_get(txn, PROJECT, span_text(id), &link, err);

    must(got, err);
    if (got == 1 && link.person != 0)
        must(people_person_get(txn, link.person, &person, err), err);
    must(people_place_get(txn, &place, err), err);
    place.output_end[0] = end;
    must(people_place_put(txn, &place, err), err);
    return got == 1 && link.person != 0;
}

struct others { unsigned count; uint32_t unit; uint64_t end; };

static int other_seen(void *ctx, uint32_t unit, const struct people_place *place, struct err *err)
{
    struct others *others = ctx;

    (void)err;
    others->count++;
    others->unit = unit;
    others->end = place->output_end[0];
    return 0;
}

static struct others others_of(struct people *people)
{
    struct people_txn *txn = begin(people);
    struct others      others = { 0 };
    struct err         err = { 0 };

    assert_true(people_has_others(txn));
    must(people_others_each(txn, other_seen, &others, &err), &err);
    people_abort(txn);
    return others;
}

static void nothing_of_the_person_is_committed_behind_its_erasure(void **state)
{
    struct people     *here, *there;
    struct people_txn *txn;
    struct err         err = { 0 };

    (void)state;
    assert_non_null(mkdtemp(folders[0]));
    assert_non_null(mkdtemp(folders[1]));
    pg_kit_database(folders[0], url);
    here = unit_open(0);
    there = unit_open(1);
    for (int i = 0; i < 4; i++)
        person_make(here, (const char *[]){ "ada", "bob", "cyd", "dan" }[i]);

    txn = begin(there); /* an event of somebody else: goes through, as nobody was erased */
    assert_true(event_take(txn, "ada", 3, &err));
    must(people_commit(txn, &err), &err);
    assert_int_equal(others_of(here).count, 1);
    assert_int_equal(others_of(here).unit, 1);
    assert_int_equal(others_of(here).end, 3);

    txn = begin(there);
    assert_true(event_take(txn, "bob", 5, &err));
    person_go(here, "bob", PEOPLE_REQUEST_NONE); /* only deleted: its events stay, and this one is one of them */
    must(people_commit(txn, &err), &err);
    assert_int_equal(others_of(here).end, 5);

    txn = begin(there);
    assert_true(event_take(txn, "ada", 7, &err));
    person_go(here, "ada", 20);
    assert_int_equal(people_commit(txn, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_int_equal(others_of(here).end, 5);
    txn = begin(there); /* begun anew it finds nobody */
    assert_false(event_take(txn, "ada", 7, &err));
    must(people_commit(txn, &err), &err);
    assert_int_equal(others_of(here).end, 7);

    txn = begin(here); /* the same the other way round, and with somebody at hand from before */
    assert_true(event_take(txn, "cyd", 4, &err));
    must(people_commit(txn, &err), &err);
    txn = begin(here);
    person_go(there, "cyd", 21);
    (void)event_take(txn, "cyd", 6, &err);
    assert_int_equal(people_commit(txn, &err), -1);
    txn = begin(here);
    assert_false(event_take(txn, "cyd", 6, &err));
    assert_true(event_take(txn, "dan", 6, &err));
    must(people_commit(txn, &err), &err);
    people_close(here);
    people_close(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_the_person_is_committed_behind_its_erasure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
