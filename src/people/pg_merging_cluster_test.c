/* parts: postgres
 * people/pg_merging_cluster_test.c - of a person who may be merged away everything is read with the batch's ids: the server is not asked
 * again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/people.h"
#include "people/pg_test_kit.h"

enum { PROJECT = 7, FEW = 3, MANY = 200, PERSONS = 3 };

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static struct people_options options;

static int begin(void **state)
{
    static char folder[64], url[500];

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_pg_merging_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    options = (struct people_options){ .folder = folder };
    pg_kit_database(folder, url);
    return 0;
}

static struct span id_of(unsigned person, unsigned n)
{
    static char texts[4][40];
    static int  at;
    char       *text = texts[at++ % 4];

    return span_of(text, (size_t)snprintf(text, 40, "p%u-%u", person, n));
}

static void person_make(struct people *people, unsigned number, unsigned ids)
{
    struct person      person = { .project = PROJECT, .uuid = { { (uint8_t)number } }, .last_seen_us = INT64_MIN, .properties = SPAN("{}") };
    struct people_txn *txn;
    struct err         err = { 0 };

    MUST(people_begin(people, true, &txn, &err));
    MUST(people_person_put(txn, &person, &err));
    for (unsigned n = 0; n < ids; n++)
        MUST(people_link_put(txn, PROJECT, id_of(number, n), &(struct person_link){ person.id, n }, &err));
    MUST(people_commit(txn, &err));
}

struct told { unsigned count; uint64_t versions; };

static int link_told(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err)
{
    struct told *told = ctx;

    (void)distinct_id, (void)err;
    told->count++;
    told->versions += link->version;
    return 0;
}

static uint64_t person_of(struct people_txn *txn, struct span distinct_id)
{
    struct person_link link;
    struct err         err = { 0 };

    assert_int_equal(people_link_get(txn, PROJECT, distinct_id, &link, &err), 1);
    return link.person;
}

/* From here on nobody answers. */
static void server_goes(struct people *people)
{
    struct pg *pg = pg_of(people);

    pg_disconnect(&pg->conn);
    (void)snprintf(pg->url, strlen(pg->url) + 1, "postgresql://x@127.0.0.1:1/x");
}

static void read_with_the_batch(void **state)
{
    const bool at_hand = *state != NULL;
    struct people_expected expected[] = { { PROJECT, SPAN("p0-0"), false }, { PROJECT, SPAN("p1-0"), true }, { PROJECT, SPAN("p1-2"), true },
                                          { PROJECT, SPAN("p2-0"), true }, { PROJECT, SPAN("nobody"), true }, { PROJECT, SPAN("p0-0"), true } };
    struct people     *people;
    struct people_txn *txn;
    struct person      person;
    struct told        told = { 0, 0 };
    struct err         err = { 0 };
    uint64_t           few, many;

    MUST(people_open(&options, &people, &err));
    person_make(people, 0, 1);
    person_make(people, 1, FEW);
    person_make(people, 2, MANY);
    pg_kit_sql(pg_of(people)->url, "INSERT INTO penstock.deleted_persons VALUES (7, '01000000-0000-0000-0000-000000000000', 44)");
    if (!at_hand) {
        people_close(people);
        MUST(people_open(&options, &people, &err));
    }
    MUST(people_begin(people, true, &txn, &err));
    MUST(people_expect_batch(txn, expected, sizeof expected / sizeof *expected, &err));
    few = person_of(txn, SPAN("p1-0"));
    many = person_of(txn, SPAN("p2-0"));
    MUST(people_person_get(txn, few, &person, &err));
    server_goes(people);
    MUST(pg_links_under(txn, few, few, PROJECT, link_told, &told, &err));
    assert_int_equal(told.count, FEW);
    assert_int_equal(told.versions, 0 + 1 + 2);
    if (at_hand) { /* else its uuid was not known when the question was sent */
        uint64_t version;

        MUST(people_person_version(txn, PROJECT, &person.uuid, &version, &err));
        assert_int_equal(version, 45);
    }
    /* Who has so many is not read ahead. */
    assert_int_equal(pg_links_under(txn, many, many, PROJECT, link_told, &told, &err), -1);
    people_abort(txn);
    people_close(people);
}

/* What happens to the ids in the transaction counts. */
static void as_the_transaction_sees_them(void **state)
{
    struct people_expected expected[] = { { PROJECT, SPAN("p0-0"), false }, { PROJECT, SPAN("p1-0"), true } };
    struct people     *people;
    struct people_txn *txn;
    struct told        told = { 0, 0 };
    struct err         err = { 0 };
    uint64_t           few, other;

    (void)state;
    MUST(people_open(&options, &people, &err));
    person_make(people, 0, 1);
    person_make(people, 1, FEW);
    MUST(people_begin(people, true, &txn, &err));
    MUST(people_expect_batch(txn, expected, sizeof expected / sizeof *expected, &err));
    few = person_of(txn, SPAN("p1-0"));
    other = person_of(txn, SPAN("p0-0"));
    MUST(people_link_put(txn, PROJECT, SPAN("p1-1"), &(struct person_link){ other, 9 }, &err)); /* goes */
    MUST(people_link_put(txn, PROJECT, SPAN("new"), &(struct person_link){ few, 100 }, &err));  /* comes */
    MUST(pg_links_under(txn, few, few, PROJECT, link_told, &told, &err));
    assert_int_equal(told.count, FEW);
    assert_int_equal(told.versions, 0 + 2 + 100);
    people_abort(txn);
    people_close(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "read_with_the_batch_of_who_is_at_hand", read_with_the_batch, begin, NULL, (void *)1 },
        { "read_with_the_batch", read_with_the_batch, begin, NULL, NULL },
        cmocka_unit_test_setup(as_the_transaction_sees_them, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
