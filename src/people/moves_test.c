/* people/moves_test.c - merges of persons with very many ids, and very many merges into one person.
 *
 * usage: moves_test [IDS [MERGES]]: with numbers of one's own it also says what they cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/batch.h"

enum { PROJECT = 3 };

static unsigned long ids_count = 70000, merges_count = 3000;
static bool loud;

#define MUST(call)                               \
    do {                                         \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

struct place {
    char folder[64];
    struct people *people;
    struct people_txn *txn;
    struct people_batch *batch;
    struct arena *arena;
    uint8_t *moved; /* by id: how often its row said that it belongs to the survivor */
    struct uuid survivor;
    size_t rows;
};

static struct span id_text(char to[32], unsigned long n)
{
    return span_of(to, (size_t)snprintf(to, 32, "id-%lu", n));
}

static void place_begin(struct place *place)
{
    struct err err = { 0 };

    arena_reset(place->arena);
    MUST(people_begin(place->people, true, &place->txn, &err));
    MUST(people_batch_begin(place->txn, place->arena, &place->batch, &err));
}

static void place_open(struct place *place, size_t arena_bytes)
{
    struct err err = { 0 };

    (void)snprintf(place->folder, sizeof place->folder, "%s/penstock_moves_XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(place->folder));
    place->arena = arena_new(1 << 20, arena_bytes);
    place->moved = calloc(ids_count + 1, 1);
    MUST(people_open(&(struct people_options){ .folder = place->folder, .map_bytes_max = (uint64_t)1 << 34 }, &place->people, &err));
    place_begin(place);
}

static void place_close(struct place *place)
{
    char path[96];

    people_abort(place->txn);
    people_close(place->people);
    arena_free(place->arena);
    free(place->moved);
    (void)snprintf(path, sizeof path, "%s/data.mdb", place->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", place->folder);
    (void)unlink(path);
    (void)rmdir(place->folder);
}

static int row_seen(void *ctx, const struct row *row, struct err *err)
{
    struct place *place = ctx;
    unsigned long n;
    char text[32];

    (void)err;
    place->rows++;
    if (row->table != ROW_DISTINCT || !uuid_equal(&row->cells[ROW_DISTINCT_PERSON_ID].uuid, &place->survivor))
        return 0;
    (void)snprintf(text, sizeof text, "%.*s", SPAN_ARG(row->cells[ROW_DISTINCT_DISTINCT_ID].text));
    if (sscanf(text, "id-%lu", &n) == 1 && n < ids_count)
        place->moved[n]++;
    return 0;
}

static void place_flush(struct place *place, bool commit)
{
    struct err err = { 0 };

    MUST(people_batch_finish(place->batch, row_seen, place, &err));
    if (commit)
        MUST(people_commit(place->txn, &err));
    else
        people_abort(place->txn);
    place_begin(place);
}

static void merge(struct place *place, enum people_merge kind, struct span id, struct span other)
{
    struct people_event event = { .project = PROJECT, .distinct_id = id, .merge_other = other, .merge = kind };
    struct people_result result;
    struct err err = { 0 };

    MUST(people_batch_apply(place->batch, &event, &result, &err));
}

/* The batch's memory holds a hundredth of the ids. */
static void many_ids(void **state)
{
    struct place place = { 0 };
    struct person person = { .project = PROJECT, .uuid = people_person_uuid(PROJECT, SPAN("id-0")),
                             .properties = SPAN("{}"), .last_seen_us = CLOCK_NONE };
    struct person_link link;
    struct err err = { 0 };
    int64_t from_us, merged_us, worst_us = 0;
    size_t batches = 0;
    char text[32];

    (void)state;
    place_open(&place, 4 << 20);
    MUST(people_person_put(place.txn, &person, &err));
    for (unsigned long i = 0; i < ids_count; i++)
        MUST(people_link_put(place.txn, PROJECT, id_text(text, i), &(struct person_link){ person.id, 5 }, &err));
    place_flush(&place, true);
    place.survivor = people_person_uuid(PROJECT, SPAN("n"));
    from_us = clock_mono_us();
    merge(&place, PEOPLE_MERGE_NONE, SPAN("n"), SPAN(""));
    merge(&place, PEOPLE_MERGE_IDENTIFY, SPAN("n"), id_text(text, ids_count / 2));
    place_flush(&place, true);
    merged_us = clock_mono_us() - from_us;
    for (int pending = 1; pending == 1; batches++) {
        for (unsigned long i = batches % 97; i < ids_count; i += ids_count / 50 + 1) { /* at every moment it is done */
            MUST(people_link_get(place.txn, PROJECT, id_text(text, i), &link, &err));
            MUST(people_person_get(place.txn, link.person, &person, &err));
            assert_true(uuid_equal(&person.uuid, &place.survivor));
            assert_int_equal(link.version, 6);
        }
        if (batches == 1) { /* a batch that is given up has moved nothing */
            uint8_t *before = malloc(ids_count);

            memcpy(before, place.moved, ids_count);
            place_flush(&place, false);
            memcpy(place.moved, before, ids_count);
            free(before);
        }
        from_us = clock_mono_us();
        place_flush(&place, true);
        if (clock_mono_us() - from_us > worst_us)
            worst_us = clock_mono_us() - from_us;
        pending = people_moves_pending(place.txn, &err);
        MUST(pending);
    }
    for (unsigned long i = 0; i < ids_count; i++)
        assert_int_equal(place.moved[i], 1);
    assert_true(loud || batches >= 2);
    if (loud)
        (void)printf("%lu ids: the merge %.1f ms, then %zu batches of at most %.1f ms\n", ids_count,
                     (double)merged_us / 1e3, batches, (double)worst_us / 1e3);
    place_close(&place);
}

/* All in one batch; each of the merged persons is stored and has three ids. */
static void many_merges(void **state)
{
    struct place place = { 0 };
    struct err err = { 0 };
    struct person_link link, survivor;
    int64_t from_us;
    char text[32];

    (void)state;
    place_open(&place, (size_t)1 << 30);
    for (unsigned long i = 0; i < merges_count; i++) {
        struct person person = { .project = PROJECT, .properties = SPAN("{\"a\":1}"), .last_seen_us = CLOCK_NONE };

        memcpy(person.uuid.bytes, &i, sizeof i);
        MUST(people_person_put(place.txn, &person, &err));
        for (unsigned long j = 0; j < 3; j++)
            MUST(people_link_put(place.txn, PROJECT, id_text(text, 3 * i + j), &(struct person_link){ person.id, 0 },
                                 &err));
    }
    place_flush(&place, true);
    merge(&place, PEOPLE_MERGE_NONE, SPAN("n"), SPAN(""));
    place.rows = 0;
    from_us = clock_mono_us();
    for (unsigned long i = 0; i < merges_count; i++)
        merge(&place, PEOPLE_MERGE_IDENTIFY, SPAN("n"), id_text(text, 3 * i));
    place_flush(&place, true);
    if (loud)
        (void)printf("%lu merges into one person: %.1f ms\n", merges_count, (double)(clock_mono_us() - from_us) / 1e3);
    assert_int_equal(place.rows, 1 + merges_count + 1 + 3 * merges_count);
    assert_int_equal(people_link_get(place.txn, PROJECT, SPAN("n"), &survivor, &err), 1);
    for (unsigned long i = 0; i < 3 * merges_count; i++) {
        assert_int_equal(people_link_get(place.txn, PROJECT, id_text(text, i), &link, &err), 1);
        assert_true(link.person == survivor.person && link.version == 1);
    }
    place_close(&place);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(many_ids), cmocka_unit_test(many_merges) };

    loud = argc > 1;
    if (argc > 1)
        ids_count = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        merges_count = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
