/* people/definition_test.c - names are kept once, bounded, over aborts; damage is told; an older store gets the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/definition.h"
#include "people/lmdb.h"

static char                  folder[] = "/tmp/penstock-definition-XXXXXX";
static struct people_options options = { .folder = folder, .map_bytes_max = 1u << 30 };

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static int clear(void **state)
{
    char path[80];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", folder);
    (void)unlink(path);
#ifdef PEOPLE_TEST_POSTGRES
    pg_kit_forget(folder);
#endif
    return 0;
}

static struct people *open_people(void)
{
    struct people *people;
    struct err     err = { 0 };

    MUST(people_open(&options, &people, &err));
    return people;
}

static struct people_txn *begin(struct people *people)
{
    struct people_txn *txn;
    struct err         err = { 0 };

    MUST(people_begin(people, true, &txn, &err));
    return txn;
}

static void kept_once(void **state)
{
    struct people     *people = open_people();
    struct people_txn *txn = begin(people);
    struct definition  got = { 0 };
    struct err         err = { 0 };
    const struct span  name = SPAN("view");

    (void)state;
    assert_int_equal(people_define_event(txn, 7, name, 100, 150, &got, &err), DEFINITION_CHANGED);
    people_abort(txn); /* never happened */
    txn = begin(people);
    assert_int_equal(people_define_event(txn, 7, name, 100, 150, &got, &err), DEFINITION_CHANGED);
    assert_true(got.created_us == 150 && got.last_seen_us == 100 && got.version == 0);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_EVENT, -1, name, DEFINITION_UNTYPED, 160, &got, &err), DEFINITION_CHANGED);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_GROUP, 4, name, DEFINITION_STRING, 160, &got, &err), DEFINITION_CHANGED);
    assert_int_equal(people_define_pair(txn, 7, SPAN("ab"), SPAN("c"), &err), DEFINITION_CHANGED);
    MUST(people_commit(txn, &err));
    people_close(people);

    people = open_people();
    txn = begin(people);
    assert_int_equal(people_define_event(txn, 7, name, 100, 170, &got, &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_event(txn, 7, name, 99, 170, &got, &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_event(txn, 7, name, 101, 170, &got, &err), DEFINITION_CHANGED);
    assert_true(got.created_us == 150 && got.last_seen_us == 101 && got.version == 1);
    assert_int_equal(people_define_event(txn, 8, name, 100, 170, &got, &err), DEFINITION_CHANGED);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_EVENT, -1, name, DEFINITION_UNTYPED, 180, &got, &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_EVENT, -1, name, DEFINITION_NUMERIC, 180, &got, &err), DEFINITION_CHANGED);
    assert_true(got.created_us == 160 && got.type == DEFINITION_NUMERIC && got.version == 1);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_EVENT, -1, name, DEFINITION_STRING, 180, &got, &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_PERSON, -1, name, DEFINITION_STRING, 180, &got, &err), DEFINITION_CHANGED);
    assert_int_equal(people_define_property(txn, 7, DEFINITION_OF_GROUP, 3, name, DEFINITION_STRING, 180, &got, &err), DEFINITION_CHANGED);
    assert_int_equal(people_define_pair(txn, 7, SPAN("ab"), SPAN("c"), &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_pair(txn, 7, SPAN("a"), SPAN("bc"), &err), DEFINITION_CHANGED);
    people_abort(txn);
    people_close(people);
}

static void bounded(void **state)
{
    struct people     *people = open_people();
    struct people_txn *txn = begin(people);
    struct definition  got;
    struct err         err = { 0 };
    char               name[DEFINITION_NAME_BYTES_MAX + 1];

    (void)state;
    for (int i = 0; i <= DEFINITION_PAIRS_MAX; i++) {
        int         bytes = snprintf(name, sizeof name, "%0200d", i);
        struct span text = span_of(name, (size_t)bytes);

        if (i <= DEFINITION_EVENTS_MAX)
            assert_int_equal(people_define_event(txn, 7, text, 1, 1, &got, &err),
                             i < DEFINITION_EVENTS_MAX ? DEFINITION_CHANGED : DEFINITION_FULL);
        if (i <= DEFINITION_PROPERTIES_MAX) /* all kinds of properties count as one */
            assert_int_equal(people_define_property(txn, 7, i & 1 ? DEFINITION_OF_EVENT : DEFINITION_OF_PERSON, -1, text,
                                                    DEFINITION_STRING, 1, &got, &err),
                             i < DEFINITION_PROPERTIES_MAX ? DEFINITION_CHANGED : DEFINITION_FULL);
        assert_int_equal(people_define_pair(txn, 7, text, text, &err),
                         i < DEFINITION_PAIRS_MAX ? DEFINITION_CHANGED : DEFINITION_FULL);
    }
    (void)snprintf(name, sizeof name, "%0200d", 5); /* what is known stays known, and another project has its own room */
    assert_int_equal(people_define_event(txn, 7, span_text(name), 1, 1, &got, &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_pair(txn, 7, span_text(name), span_text(name), &err), DEFINITION_KNOWN);
    assert_int_equal(people_define_event(txn, 8, SPAN("new"), 1, 1, &got, &err), DEFINITION_CHANGED);
    people_abort(txn);
    people_close(people);
}

/* Any byte of a value that changes is told. */
static void damaged(void **state)
{
    struct people     *people = open_people();
    struct people_txn *txn = begin(people);
    struct definition  got;
    struct err         err = { 0 };
    const struct span  key = SPAN("\0\0\0\7\1view");
    struct span        value;
    uint8_t            bytes[32];

    (void)state;
    MUST(people_define_event(txn, 7, SPAN("view"), 100, 150, &got, &err));
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(people_table_get(txn, TABLE_DEFINITIONS, key, &value, &err), 1);
        assert_int_equal(value.bytes, sizeof bytes);
        memcpy(bytes, value.at, sizeof bytes);
        bytes[i] ^= 0x10;
        MUST(people_table_put(txn, TABLE_DEFINITIONS, key, span_of(bytes, sizeof bytes), &err));
        assert_int_equal(people_define_event(txn, 7, SPAN("view"), 100, 150, &got, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
        bytes[i] ^= 0x10;
        MUST(people_table_put(txn, TABLE_DEFINITIONS, key, span_of(bytes, sizeof bytes), &err));
    }
    people_abort(txn);
    people_close(people);
}

#ifndef PEOPLE_TEST_POSTGRES
/* The store of a Penstock that had no such table. */
static void older_store(void **state)
{
    struct people      *people = open_people();
    struct people_txn  *txn = begin(people);
    struct people_place place = { .counters = { 5 } }, found;
    struct definition   got;
    struct err          err = { 0 };

    (void)state;
    MUST(people_place_put(txn, &place, &err));
    assert_int_equal(mdb_drop(lmdb_txn_of(txn)->mdb, lmdb_of(people)->tables[TABLE_DEFINITIONS], 1), 0);
    MUST(people_commit(txn, &err));
    people_close(people);
    people = open_people();
    txn = begin(people);
    MUST(people_place_get(txn, &found, &err));
    assert_true(found.counters[0] == 5);
    assert_int_equal(people_define_event(txn, 7, SPAN("view"), 100, 150, &got, &err), DEFINITION_CHANGED);
    MUST(people_commit(txn, &err));
    people_close(people);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(kept_once, clear),
        cmocka_unit_test_setup(bounded, clear),
        cmocka_unit_test_setup(damaged, clear),
#ifndef PEOPLE_TEST_POSTGRES
        cmocka_unit_test_setup(older_store, clear),
#endif
    };
    int rc;

    if (mkdtemp(folder) == NULL)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)clear(NULL);
    (void)rmdir(folder);
    return rc;
}
