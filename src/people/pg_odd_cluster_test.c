/* parts: postgres
 * people/pg_odd_cluster_test.c - what jsonb does not take, tables that were there before us, rows that others write, and a disk that
 * takes no more of the copy of seen ids, or damages it. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/people.h"
#include "people/pg_test_kit.h"

enum { LARGE = 500000 };

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static char                  folder[64], url[500], large[LARGE + 100];
static struct people_options options;

static int begin(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_pg_odd_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    options = (struct people_options){ .folder = folder };
    pg_kit_database(folder, url);
    return 0;
}

static struct people *open_store(void)
{
    struct people *people;
    struct err     err = { 0 };

    MUST(people_open(&options, &people, &err));
    return people;
}

static uint64_t put(struct people *people, struct span properties, unsigned n)
{
    struct person      person = { .project = 7, .uuid = { { (uint8_t)n } }, .last_seen_us = INT64_MIN, .properties = properties };
    struct people_txn *txn;
    struct err         err = { 0 };
    char               id[20];
    int                bytes = snprintf(id, sizeof id, "id%u", n);

    MUST(people_begin(people, true, &txn, &err));
    MUST(people_person_put(txn, &person, &err));
    MUST(people_link_put(txn, 7, span_of(id, (size_t)bytes), &(struct person_link){ person.id, 0 }, &err));
    MUST(people_commit(txn, &err));
    return person.id;
}

static void check(struct people *people, uint64_t id, struct span properties)
{
    struct people_txn *txn;
    struct person      person;
    struct err         err = { 0 };

    MUST(people_begin(people, false, &txn, &err));
    assert_int_equal(people_person_get(txn, id, &person, &err), 1);
    assert_true(span_equal(person.properties, properties));
    people_abort(txn);
}

/* What comes back is what was put, to the byte; what others read is in the second column, as jsonb says it. */
static const struct { const char *put, *told; } odd[] = {
    { "{\"b\":1,\"a\":2}", "{\"a\": 2, \"b\": 1}" },
    { "{\"n\":12345678901234567890123456789.10}", "{\"n\": 12345678901234567890123456789.10}" },
    { "{\"n\":1e5}", "{\"n\": 100000}" },
    { "{\"n\":-0.0}", "{\"n\": 0.0}" },
    { "{\"n\":1e999999,\"m\":[1E-400000]}", "{\"m\": [\"1E-400000\"], \"n\": \"1e999999\"}" },
    { "{\"t\":\"a\\u0000b\"}", "{\"t\": \"a\xef\xbf\xbd" "b\"}" },
    { "{\"t\\u0000\":\"\\ud83d\\ude00 \\ud83d \\ude00\"}", "{\"t\xef\xbf\xbd\": \"\xf0\x9f\x98\x80 \xef\xbf\xbd \xef\xbf\xbd\"}" },
    { "{\"t\":\"\\\\u0000 \\\" \\\\\"}", "{\"t\": \"\\\\u0000 \\\" \\\\\"}" },
    { "{}", "{}" },
};

static void kept_as_it_was(void **state)
{
    struct people *people = open_store();
    char           sql[600];

    (void)state;
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        uint64_t id = put(people, span_text(odd[i].put), i + 1);

        check(people, id, span_text(odd[i].put));
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM posthog_person WHERE id = %llu AND properties::text = $x$%s$x$",
                       (unsigned long long)id, odd[i].told);
        if (pg_kit_sql(url, sql) != 1)
            fail_msg("%s is not told as %s", odd[i].put, odd[i].told);
    }
    people_close(people);
}

/* Two bytes of JSON may be twelve of jsonb, and upstream's table has a limit. */
static void large_ones_fit(void **state)
{
    static const char *const parts[] = { "0,", "[],", "\"\",", "{\"a\":1}," };
    struct people *people = open_store();

    (void)state;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t   bytes = (size_t)snprintf(large, sizeof large, "{\"first\":1,\"many\":[");
        uint64_t id;

        while (bytes < LARGE)
            bytes += (size_t)snprintf(large + bytes, sizeof large - bytes, "%s", parts[i]);
        bytes += (size_t)snprintf(large + bytes - 1, sizeof large - bytes, "],\"last\":2}") - 1;
        id = put(people, span_of(large, bytes), i + 1);
        check(people, id, span_of(large, bytes));
    }
    assert_int_equal(pg_kit_sql(url, "SELECT count(*) FROM posthog_person WHERE properties->>'first' = '1'"), 4);
    people_close(people);
}

/* A row that another program wrote is read as it stands, and changed from there. */
static void others_write(void **state)
{
    struct people *people = open_store();
    uint64_t       id = put(people, SPAN("{\"a\":1}"), 1);
    struct people_txn *txn;
    struct person      person;
    struct err         err = { 0 };

    (void)state;
    (void)pg_kit_sql(url, "UPDATE posthog_person SET properties = '{\"b\": 2}', version = version + 1");
    check(people, id, SPAN("{\"b\": 2}"));
    MUST(people_begin(people, true, &txn, &err));
    assert_int_equal(people_person_get(txn, id, &person, &err), 1);
    assert_int_equal(person.version, 1);
    person.version = 2;
    person.properties = SPAN("{\"c\":3}");
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    check(people, id, SPAN("{\"c\":3}"));
    people_close(people);
}

#define ROOM_LEFT "SELECT count(*) FROM pg_class WHERE oid = 'posthog_person'::regclass AND 'fillfactor=70' = ANY (reloptions)"

/* Persons that change stay in their page. */
static void our_own_tables(void **state)
{
    (void)state;
    (void)pg_kit_sql(url, "DROP SCHEMA IF EXISTS penstock CASCADE; DROP TABLE IF EXISTS posthog_cohortpeople, posthog_featureflaghashkeyoverride, "
                          "posthog_persondistinctid, posthog_personlessdistinctid, posthog_person, posthog_group, posthog_grouptypemapping");
    people_close(open_store());
    assert_int_equal(pg_kit_sql(url, ROOM_LEFT), 1);
}

/* Tables of an installation that was there before, without what is newer, and with persons in them. */
static void tables_of_others(void **state)
{
    struct people     *people;
    struct people_txn *txn;
    struct person_link link;
    struct person      person;
    struct err         err = { 0 };

    (void)state;
    (void)pg_kit_sql(url,
        "DROP SCHEMA IF EXISTS penstock CASCADE; DROP TABLE IF EXISTS posthog_cohortpeople, posthog_featureflaghashkeyoverride, "
        "posthog_persondistinctid, posthog_personlessdistinctid, posthog_person, posthog_group, posthog_grouptypemapping; "
        "CREATE TABLE posthog_person (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL, properties jsonb NOT NULL DEFAULT '{}', "
        "properties_last_updated_at jsonb, properties_last_operation jsonb, is_identified bool NOT NULL DEFAULT false, is_user_id int4, "
        "uuid uuid NOT NULL, version int8, team_id int4 NOT NULL); "
        "CREATE TABLE posthog_persondistinctid (id bigserial PRIMARY KEY, distinct_id varchar(400) NOT NULL, version int8, "
        "person_id int8 NOT NULL REFERENCES posthog_person (id) DEFERRABLE INITIALLY DEFERRED, team_id int4 NOT NULL, "
        "UNIQUE (team_id, distinct_id)); "
        "INSERT INTO posthog_person (created_at, properties, is_identified, uuid, version, team_id) "
        "VALUES ('2024-01-02 03:04:05+00', '{\"email\": \"x@y\"}', true, 'a6e21b41-7154-5e34-ae20-47017c663318', 4, 1); "
        "INSERT INTO posthog_persondistinctid (distinct_id, version, person_id, team_id) VALUES ('alice', NULL, 1, 1)");
    people = open_store();
    MUST(people_begin(people, true, &txn, &err));
    assert_int_equal(people_link_get(txn, 1, SPAN("alice"), &link, &err), 1);
    assert_int_equal(link.version, 0);
    assert_int_equal(people_person_get(txn, link.person, &person, &err), 1);
    assert_true(person.version == 4 && person.identified && person.created_us == 1704164645000000 && span_is(person.properties, "{\"email\": \"x@y\"}"));
    person.version = 5;
    MUST(people_person_put(txn, &person, &err));
    MUST(people_link_put(txn, 1, SPAN("alice2"), &(struct person_link){ link.person, 1 }, &err));
    MUST(people_commit(txn, &err));
    people_close(people);
    assert_int_equal(pg_kit_sql(url, ROOM_LEFT), 0); /* they have not asked for that */
    assert_int_equal(pg_kit_sql(url, "SELECT version FROM posthog_person WHERE penstock_version = 5 AND properties->>'email' = 'x@y'"), 5);
    (void)pg_kit_sql(url, "UPDATE penstock.version SET version = 1000");
    assert_int_equal(people_open(&options, &people, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "later Penstock"));
    (void)pg_kit_sql(url, "DROP SCHEMA penstock CASCADE");
}

/* --- writes that fail -------------------------------------------------------------------------- */

static int writes_left = -1; /* of the copy, until one fails; -1: none does */
static unsigned writes_failed;

/* Instead of the C library's, for LMDB. */
static bool write_fails(int fd)
{
    char    link[40], path[300];
    ssize_t bytes;

    if (writes_left < 0)
        return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    bytes = readlink(link, path, sizeof path - 1);
    if (bytes <= 0)
        return false;
    path[bytes] = '\0';
    if (strstr(path, "/postgres-") == NULL || writes_left-- > 0)
        return false;
    writes_left = 0; /* and all that follow */
    writes_failed++;
    errno = ENOSPC;
    return true;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    return write_fails(fd) ? -1 : real(fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "writev");
    return write_fails(fd) ? -1 : real(fd, parts, count);
}

/* One id, noted; whether it was there before. -1: the batch came to nothing. */
static int note(struct people *people, unsigned number, struct err *err)
{
    struct people_seen id = { .project = 7, .uuid = { { 9, (uint8_t)(number >> 8), (uint8_t)number } }, .place = number };
    struct people_txn *txn;

    if (people_begin(people, true, &txn, err) < 0)
        return -1;
    if (people_seen_add(txn, &id, 1, 20000, err) < 0) {
        people_abort(txn);
        return -1;
    }
    return people_commit(txn, err) < 0 ? -1 : id.repeated;
}

/* The disk is full from the n-th write of the copy on: data pages, or the page that says which of them count, after which LMDB is
 * done for good. When there is room again, ids are noted as before, and known when they come again. */
static void a_full_disk_passes(void **state)
{
    enum { TURNS = 12 };
    struct people *people = open_store();
    struct err     err = { 0 };
    unsigned       number = 0;

    (void)state;
    assert_int_equal(note(people, number++, &err), 0);
    for (int turn = 0; turn < TURNS; turn++) {
        writes_left = turn % 4;
        for (int tries = 0; tries < 3; tries++)
            (void)note(people, number, &err); /* it may have come as far as the server */
        writes_left = -1;
        if (note(people, number++, &err) < 0 && note(people, number - 1, &err) < 0 && note(people, number - 1, &err) < 0)
            fail_msg("turn %d: %s", turn, err.text);
        for (unsigned known = 0; known < number; known++)
            assert_int_equal(note(people, known, &err), 1);
        assert_int_equal(note(people, number++, &err), 0);
    }
    assert_true(writes_failed >= TURNS);
    people_close(people);
}

/* It is only a copy. */
static void a_damaged_copy_is_made_anew(void **state)
{
    static const char junk[8192] = "no store";
    struct people    *people = open_store();
    struct err        err = { 0 };
    char              path[96];
    FILE             *file;

    (void)state;
    for (unsigned number = 0; number < 3; number++)
        assert_int_equal(note(people, number, &err), 0);
    people_close(people);
    (void)snprintf(path, sizeof path, "%s" PEOPLE_TEST_SEEN_FOLDER "/data.mdb", folder);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(junk, 1, sizeof junk, file), sizeof junk);
    assert_int_equal(fclose(file), 0);
    people = open_store();
    for (unsigned number = 0; number < 3; number++)
        assert_int_equal(note(people, number, &err), 1);
    assert_int_equal(note(people, 3, &err), 0);
    people_close(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(kept_as_it_was, begin),
        cmocka_unit_test_setup(large_ones_fit, begin),
        cmocka_unit_test_setup(others_write, begin),
        cmocka_unit_test_setup(our_own_tables, begin),
        cmocka_unit_test_setup(tables_of_others, begin),
        cmocka_unit_test_setup(a_full_disk_passes, begin),
        cmocka_unit_test_setup(a_damaged_copy_is_made_anew, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
