/* people/seen_ids_test.c - the ids of events as the store keeps them: first wins, with a place, for as long as they count. */
#include "people/people_test_kit.h"

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

/* Each id leads to where it came first, also for a reader, and not to where it was repeated. */
static void seen_ids_have_a_place(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct uuid other = uuid_of(4);
    struct people_seen ids[] = {
        { .project = 7, .uuid = uuid_of(9), .place = 100 },
        { .project = 7, .uuid = uuid_of(9), .place = 101 },
        { .project = 8, .uuid = uuid_of(9), .place = 0 },
        { .project = 7, .uuid = uuid_of(3), .place = ((uint64_t)1 << 60) + 5 },
    };
    uint64_t at = 77;

    MUST(people_seen_add(txn, ids, 4, 20000, &err));
    MUST(people_commit(txn, &err));
    txn = must_begin(people, true);
    ids[0].place = 102;
    MUST(people_seen_add(txn, ids, 1, 20001, &err));
    assert_int_equal(people_seen_find(txn, 7, &ids[0].uuid, &at, &err), 1); /* the writer's own view */
    assert_int_equal(at, 100);
    MUST(people_commit(txn, &err));
    people_close(people);

    people = must_open(place);
    txn = must_begin(people, false);
    assert_int_equal(people_seen_find(txn, 7, &other, &at, &err), 0);
    assert_int_equal(people_seen_find(txn, 9, &ids[0].uuid, &at, &err), 0);
    assert_int_equal(at, 100); /* untouched */
    assert_int_equal(people_seen_find(txn, 8, &ids[0].uuid, &at, &err), 1);
    assert_int_equal(at, 0);
    assert_int_equal(people_seen_find(txn, 7, &ids[3].uuid, &at, &err), 1);
    assert_true(at == ((uint64_t)1 << 60) + 5);
    assert_int_equal(people_seen_find(txn, 7, &ids[0].uuid, &at, &err), 1);
    assert_int_equal(at, 100);
    people_abort(txn);
    people_close(people);
}

#ifndef PEOPLE_TEST_POSTGRES
/* As a store of before places were kept has them: known and forgotten as ever, and without a place. */
static void seen_ids_of_an_older_store(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct people_seen id = { .project = 7, .uuid = uuid_of(9), .place = 5 };
    uint8_t key[20] = { [15] = 9, [19] = 7 }, day[2] = { 20000 & 255, 20000 >> 8 };
    uint64_t at = 77;

    MUST(people_table_put(txn, TABLE_SEEN, span_of(key, sizeof key), span_of(day, sizeof day), &err));
    assert_int_equal(people_seen_find(txn, 7, &id.uuid, &at, &err), 1);
    assert_true(at == PEOPLE_SEEN_PLACE_UNKNOWN);
    MUST(people_seen_add(txn, &id, 1, 20028, &err));
    assert_true(id.repeated);
    MUST(people_seen_add(txn, &id, 1, 20029, &err));
    assert_false(id.repeated);
    assert_int_equal(people_seen_find(txn, 7, &id.uuid, &at, &err), 1);
    assert_int_equal(at, 5);
    MUST(people_commit(txn, &err));
    people_close(people);
}

#endif

/* A year of days: what is in the window is known, what is past it is forgotten and also swept away. */
static void seen_ids_are_swept(void **state)
{
    enum { DAYS = 120, EACH = 200 };
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_seen ids[EACH];
    struct err err = { 0 };
    char path[96];
    long bytes[DAYS];
    FILE *file;

    for (int day = 0; day < DAYS; day++) {
        struct people_txn *txn = must_begin(people, true);

        for (unsigned i = 0; i < EACH; i++) /* half of them in the order of time, half anywhere */
            ids[i] = (struct people_seen){ .project = 7,
                                           .uuid = uuid_of(i % 2 == 0 ? (unsigned)day * EACH + i
                                                                      : ((unsigned)day * EACH + i) * 2654435761u) };
        MUST(people_seen_add(txn, ids, EACH, day, &err));
        for (unsigned i = 0; i < EACH; i++)
            assert_false(ids[i].repeated);
        for (int back = 0; back < 60 && back <= day; back += 7) {
            struct people_txn *look;
            unsigned first = (unsigned)(day - back) * EACH + 1;
            struct people_seen one[2] = { { .project = 7, .uuid = uuid_of(first * 2654435761u) },
                                          { .project = 7, .uuid = uuid_of(first - 1) } };

            if (back == 0) {
                MUST(people_commit(txn, &err));
                txn = NULL;
            }
            look = must_begin(people, true);
            MUST(people_seen_add(look, one, 2, day, &err));
            assert_int_equal(one[0].repeated, back <= PEOPLE_SEEN_DAYS);
            assert_int_equal(one[1].repeated, back <= PEOPLE_SEEN_DAYS);
            people_abort(look);
        }
        people_test_settle(people); /* days take milliseconds here: a thread that merges would fall behind by weeks */
        (void)snprintf(path, sizeof path, "%s" PEOPLE_TEST_SEEN_FOLDER "/data.mdb", place->folder);
        file = fopen(path, "rb");
        assert_non_null(file);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        bytes[day] = ftell(file);
        (void)fclose(file);
    }
    assert_true(bytes[DAYS - 1] <= bytes[59] * 5 / 4); /* no growth once the window is full */
    people_close(people);
}

/* What was taken back is no repeat once, in its project, as long as the id would be noted; and what is old does not stay. */
static void unseen_once(void **state)
{
    enum { COUNT = 500 };
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct err err = { 0 };
    struct uuid id = uuid_of(7);
    struct people_entry entry;
    size_t entries = 0;
    int got;

    assert_int_equal(people_unseen_take(txn, 7, &id, &err), 0);
    MUST(people_unseen_put(txn, 7, &id, 20000, &err));
    MUST(people_unseen_put(txn, 7, &id, 20001, &err));
    assert_int_equal(people_unseen_take(txn, 8, &id, &err), 0);
    MUST(people_commit(txn, &err));
    txn = must_begin(people, true);
    assert_int_equal(people_unseen_take(txn, 7, &id, &err), 1);
    assert_int_equal(people_unseen_take(txn, 7, &id, &err), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        id = uuid_of(i);
        MUST(people_unseen_put(txn, 7, &id, 20000, &err));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        id = uuid_of(i);
        MUST(people_unseen_put(txn, 8, &id, 20000 + PEOPLE_SEEN_DAYS, &err)); /* the last day of the others */
    }
    id = uuid_of(COUNT - 1);
    assert_int_equal(people_unseen_take(txn, 7, &id, &err), 1);
    for (unsigned i = 0; i < COUNT; i++) {
        id = uuid_of(i);
        MUST(people_unseen_put(txn, 9, &id, 20001 + PEOPLE_SEEN_DAYS, &err));
    }
    for (got = people_table_seek(txn, TABLE_UNSEEN, SPAN(""), &entry, &err); got == 1;
         got = people_table_next(txn, TABLE_UNSEEN, &entry, &err))
        entries++;
    assert_int_equal(got, 0);
    assert_int_equal(entries, 2 * COUNT);
    people_abort(txn);
    people_close(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(seen_ids_first_wins),
        PLACED(seen_ids_are_swept),
        PLACED(seen_ids_have_a_place),
#ifndef PEOPLE_TEST_POSTGRES
        PLACED(seen_ids_of_an_older_store),
#endif
        PLACED(unseen_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
