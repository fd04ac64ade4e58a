/* people/people_test.c - the store of people: what is kept, over aborts, crashes, full maps and processes. */
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/lmdb.h"

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

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

static int place_drop(void **state)
{
    struct place *place = *state;

    (void)nftw(place->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(place);
    return 0;
}

/* The calls that have to work in these tests: a failure is told with its text. */
#define MUST(call)                            \
    do {                                      \
        if ((call) < 0)                       \
            fail_msg("%s: %s", #call, err.text); \
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
        (void)snprintf(path, sizeof path, "%s/data.mdb", place->folder);
        file = fopen(path, "rb");
        assert_non_null(file);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        bytes[day] = ftell(file);
        (void)fclose(file);
    }
    assert_true(bytes[DAYS - 1] <= bytes[59] * 5 / 4); /* no growth once the window is full */
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

/* --- bounds, damage, crashes ------------------------------------------------------------------- */

static char large[100000];

/* Writes persons until the store says no; gives how many it took. */
static int fill(struct people *people, struct err *err)
{
    struct people_txn *txn = must_begin(people, true);
    struct person person = { .project = 7, .properties = span_of(large, sizeof large) };
    int count = 0;

    for (;; count++) {
        person.id = 0;
        person.uuid = uuid_of((unsigned)count);
        if (people_person_put(txn, &person, err) < 0)
            break;
        assert_true(count < 1000);
    }
    people_abort(txn);
    return count;
}

static void full_map_is_an_answer(void **state)
{
    struct place *place = *state;
    struct people *people;
    struct people_txn *txn;
    struct person person = { .project = 7, .uuid = uuid_of(1), .properties = SPAN("{}") };
    struct err err = { 0 };
    int first;

    memset(large, ' ', sizeof large);
    place->options.map_bytes_max = 4 << 20;
    people = must_open(place);
    txn = must_begin(people, true);
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    first = fill(people, &err);
    assert_true(first > 20 && first < 42);
    assert_int_equal(err.kind, ERR_FULL);
    for (int i = 0; i < 5; i++) /* nothing of it remains: as many fit again, for ever */
        assert_int_equal(fill(people, &err), first);
    txn = must_begin(people, true);
    assert_int_equal(people_person_get(txn, 1, &person, &err), 1);
    assert_int_equal(people_person_get(txn, 2, &person, &err), 0);
    person = (struct person){ .project = 7, .uuid = uuid_of(2), .properties = SPAN("{}") };
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    people_close(people);

    place->options.map_bytes_max = 16 << 20; /* given more, it takes more */
    people = must_open(place);
    assert_true(fill(people, &err) > 2 * first);
    people_close(people);
}

/* The file may not grow, as on a full disk: the commit fails, nothing of it remains, and with room it goes on. */
static void full_disk_is_an_answer(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct person person = { .project = 7, .uuid = uuid_of(1), .properties = SPAN("{}") };
    struct rlimit was, small = { 1 << 18, RLIM_INFINITY };
    struct err err = { 0 };

    memset(large, ' ', sizeof large);
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    small.rlim_max = was.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    txn = must_begin(people, true);
    for (int i = 0; i < 10; i++) {
        person = (struct person){ .project = 7, .uuid = uuid_of(2), .properties = span_of(large, sizeof large) };
        MUST(people_person_put(txn, &person, &err));
    }
    assert_int_equal(people_commit(txn, &err), -1);
    assert_true(err.kind == ERR_FULL || err.kind == ERR_STOP); /* LMDB calls a write that was cut short EIO */
    txn = must_begin(people, false);
    assert_int_equal(people_person_get(txn, 1, &person, &err), 1);
    assert_int_equal(people_person_get(txn, 2, &person, &err), 0);
    people_abort(txn);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    txn = must_begin(people, true);
    person = (struct person){ .project = 7, .uuid = uuid_of(2), .properties = span_of(large, sizeof large) };
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    people_close(people);
}

/* A bit that fell over in a value is told, never believed. */
static void damage_is_told(void **state)
{
    static const char mark[] = "{\"find\":\"this mark\"}";
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct person person = { .project = 7, .uuid = uuid_of(1), .properties = span_text(mark) };
    struct err err = { 0 };
    char path[96], *bytes;
    long size;
    FILE *file;
    unsigned hits = 0;

    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    people_close(people);
    (void)snprintf(path, sizeof path, "%s/data.mdb", place->folder);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    bytes = malloc((size_t)size);
    rewind(file);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), mark, sizeof mark - 1)) != NULL;
         at++, hits++) {
        assert_int_equal(fseek(file, at - bytes + 3, SEEK_SET), 0);
        assert_int_equal(fputc(at[3] ^ 4, file), at[3] ^ 4);
    }
    assert_int_equal(hits, 1);
    (void)fclose(file);
    free(bytes);
    people = must_open(place);
    txn = must_begin(people, false);
    assert_int_equal(people_person_get(txn, 1, &person, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    people_abort(txn);
    people_close(people);
}

enum { SLOTS = 50, SLOTS_A_BATCH = 20 };

/* Batch `n` of the crash test: rewrites some persons, moves a link, notes an id, and its place, all at once. */
static void crash_batch(struct people *people, uint64_t n)
{
    struct people_txn *txn = must_begin(people, true);
    struct people_place at;
    struct people_seen seen = { .project = 7, .uuid = uuid_of((unsigned)n) };
    struct person person;
    struct err err = { 0 };
    char text[3000], id[20];

    MUST(people_place_get(txn, &at, &err));
    assert_int_equal(at.input_next[0], n);
    for (unsigned i = 0; i < SLOTS_A_BATCH; i++) {
        unsigned slot = (unsigned)(n * 7 + i) % SLOTS;
        int bytes = snprintf(text, sizeof text, "{\"n\":%llu,\"pad\":\"%*s\"}", (unsigned long long)n,
                             (int)(n * 37 % 2500), "");

        person = (struct person){ .id = slot + 1,
                                  .project = 7,
                                  .uuid = uuid_of(slot),
                                  .version = n,
                                  .properties = span_of(text, (size_t)bytes) };
        MUST(people_person_put(txn, &person, &err));
    }
    MUST(people_link_put(txn, 7, span_of(id, (size_t)snprintf(id, sizeof id, "id%llu", (unsigned long long)n % 10)),
                         &(struct person_link){ n * 7 % SLOTS + 1, n }, &err));
    MUST(people_seen_add(txn, &seen, 1, 20000, &err));
    assert_false(seen.repeated);
    at.input_next[0] = n + 1;
    MUST(people_place_put(txn, &at, &err));
    MUST(people_commit(txn, &err));
}

/* The state must be that of exactly the batches before `place`. */
static uint64_t crash_check(struct people *people)
{
    struct people_txn *txn = must_begin(people, true);
    struct people_place at;
    struct person person;
    struct person_link link;
    struct err err = { 0 };
    uint64_t last[SLOTS] = { 0 }, last_link[10] = { 0 };
    bool touched[SLOTS] = { false }, linked[10] = { false };
    char id[20];

    MUST(people_place_get(txn, &at, &err));
    for (uint64_t n = 0; n < at.input_next[0]; n++) {
        for (unsigned i = 0; i < SLOTS_A_BATCH; i++) {
            last[(n * 7 + i) % SLOTS] = n;
            touched[(n * 7 + i) % SLOTS] = true;
        }
        last_link[n % 10] = n;
        linked[n % 10] = true;
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        assert_int_equal(people_person_get(txn, slot + 1, &person, &err), touched[slot]);
        assert_true(!touched[slot] || person.version == last[slot]);
    }
    for (unsigned i = 0; i < 10; i++) {
        struct span text = span_of(id, (size_t)snprintf(id, sizeof id, "id%u", i));

        assert_int_equal(people_link_get(txn, 7, text, &link, &err), linked[i]);
        assert_true(!linked[i] || (link.version == last_link[i] && link.person == last_link[i] * 7 % SLOTS + 1));
    }
    for (uint64_t n = at.input_next[0] > 30 ? at.input_next[0] - 30 : 0; n < at.input_next[0] + 3; n++) {
        struct people_seen seen = { .project = 7, .uuid = uuid_of((unsigned)n) };

        MUST(people_seen_add(txn, &seen, 1, 20000, &err));
        assert_int_equal(seen.repeated, n < at.input_next[0]);
    }
    people_abort(txn);
    return at.input_next[0];
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
    MDB_stat stat;

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
    assert_int_equal(mdb_stat(txn->txn, people->tables[TABLE_UNSEEN], &stat), 0);
    assert_int_equal(stat.ms_entries, 2 * COUNT);
    people_abort(txn);
    people_close(people);
}

static void killed_at_any_moment(void **state)
{
    enum { KILLS = 100 };
    struct place *place = *state;
    struct people *people;
    uint64_t before = 0, after = 0;
    unsigned random = 12345;
    int status, moved = 0;

    for (int i = 0; i < KILLS; i++) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            people = must_open(place);
            for (uint64_t n = before;; n++)
                crash_batch(people, n);
        }
        random = random * 1103515245 + 12345;
        (void)usleep(3000 + (random >> 16) % 30000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        people = must_open(place);
        after = crash_check(people);
        people_close(people);
        assert_true(after >= before);
        moved += after > before;
        before = after;
    }
    assert_true(moved > KILLS / 20); /* on a slow disk most are killed before their first commit */
}

static bool answered(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    char byte;

    return poll(&wait, 1, 5000) == 1 && read(fd, &byte, 1) == 1;
}

/* Another process opens and reads while the writer is in the middle of its transaction. */
static void readers_do_not_wait(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct people_place at = { .input_next = { 1 } };
    struct err err = { 0 };
    int down[2], up[2], status;
    char byte;
    pid_t child;

    MUST(people_place_put(txn, &at, &err));
    MUST(people_commit(txn, &err));
    people_close(people); /* no open store goes over a fork */
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint64_t want = 1;

        (void)close(up[0]);
        (void)close(down[1]);
        while (read(down[0], &byte, 1) == 1 && byte != 'q') {
            struct people *mine = must_open(place);
            struct people_txn *view = must_begin(mine, false);

            if (people_place_get(view, &at, &err) < 0 || at.input_next[0] != want || write(up[1], "k", 1) != 1)
                _exit(1);
            /* The view stands still while the writer commits. */
            if (read(down[0], &byte, 1) != 1 || people_place_get(view, &at, &err) < 0 || at.input_next[0] != want)
                _exit(2);
            people_abort(view);
            people_close(mine);
            want++;
            if (write(up[1], "k", 1) != 1)
                _exit(3);
        }
        _exit(0);
    }
    people = must_open(place);
    for (at.input_next[0] = 2; at.input_next[0] < 6; at.input_next[0]++) {
        txn = must_begin(people, true);
        MUST(people_place_put(txn, &at, &err));
        assert_int_equal(write(down[1], "r", 1), 1);
        assert_true(answered(up[0])); /* a reader that waits for us would never answer */
        MUST(people_commit(txn, &err));
        assert_int_equal(write(down[1], "r", 1), 1);
        assert_true(answered(up[0]));
    }
    assert_int_equal(write(down[1], "q", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    people_close(people);
    for (int i = 0; i < 2; i++) {
        (void)close(down[i]);
        (void)close(up[i]);
    }
}

int main(void)
{
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_make, place_drop)
    const struct CMUnitTest tests[] = {
        PLACED(persons_are_kept), PLACED(links_of_any_length),   PLACED(links_move_and_leave_tombstones),
        PLACED(groups_are_kept),  PLACED(seen_ids_first_wins),   PLACED(seen_ids_are_swept),
        PLACED(seen_ids_have_a_place), PLACED(seen_ids_of_an_older_store),
        PLACED(place_is_kept),    PLACED(full_map_is_an_answer), PLACED(full_disk_is_an_answer),
        PLACED(unseen_once), PLACED(damage_is_told),   PLACED(killed_at_any_moment),  PLACED(readers_do_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
