/* people/history_test.c - long random histories, against a second and much simpler telling of the rules.
 *
 * The reference below knows nothing of stores, batches or versions: arrays, searched from the front, written
 * from the rules in the comments of merge.c and update.c. Each event's person and properties must be its own;
 * at the end every id must lead to the same person with the same properties, however the history was cut into
 * batches; and whoever collected the rows that were given out, and kept the highest version of each, must see the
 * same people as the store.
 * usage: history_test [HISTORIES [SEED]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "event/packed.h"
#include "people/batch.h"

enum { IDS = 60, KEYS = 8, VALUES = 5, PROJECT = 3, ROWS_KEPT = 4000 };

static const char *const keys[KEYS] = {
    "a", "b", "c", "plan", "$os", "$current_url", "$geoip_latitude", "$initial_os"
};
static const bool key_filtered[KEYS] = { false, false, false, false, true, true, true, false };
static const char *const values[VALUES] = { "1", "\"two\"", "null", "{\"x\":1}", "true" };
enum { VALUE_NULL = 2, VALUE_OBJECT = 3, ABSENT = -1 };

static unsigned long short_ones = 300, seed_base;

/* --- the reference ----------------------------------------------------------------------------- */

struct ref_person {
    int made_from; /* the id whose uuid it has */
    int value[KEYS];
    bool identified;
    int64_t created_us;
};
struct ref_event {
    int id, other; /* other ABSENT: none */
    int kind;      /* 0 view, 1 identify, 2 alias, 3 merge, 4 $set, 5 $exception */
    int set[KEYS], once[KEYS];
    bool unset[KEYS];
    int64_t timestamp_us;
};
struct ref {
    struct ref_person persons[20000];
    int count, of_id[IDS], link_version[IDS];
};

static int ref_new(struct ref *ref, const struct ref_event *event)
{
    struct ref_person *person = &ref->persons[ref->count];

    *person = (struct ref_person){ .made_from = event->id, .created_us = event->timestamp_us };
    for (int k = 0; k < KEYS; k++)
        person->value[k] = event->set[k] != ABSENT ? event->set[k] : event->once[k];
    ref->of_id[event->id] = ref->count;
    return ref->count++;
}

static void ref_absorb(struct ref *ref, int from, int to)
{
    for (int i = 0; i < IDS; i++)
        if (ref->of_id[i] == from) {
            ref->of_id[i] = to;
            ref->link_version[i]++;
        }
    for (int k = 0; k < KEYS; k++)
        if (ref->persons[to].value[k] == ABSENT)
            ref->persons[to].value[k] = ref->persons[from].value[k];
    if (ref->persons[from].created_us < ref->persons[to].created_us)
        ref->persons[to].created_us = ref->persons[from].created_us;
}

/* Gives the event's person, and in shown[] the properties on its row; *refused as the warning must be. */
static int ref_apply(struct ref *ref, const struct ref_event *event, int shown[KEYS], bool *refused)
{
    int mine = ref->of_id[event->id], after[KEYS];
    bool made = false, write = false;

    *refused = false;
    if (event->other != ABSENT && event->other != event->id) {
        int theirs = ref->of_id[event->other];

        if (mine < 0 && theirs < 0) {
            mine = ref_new(ref, event);
            made = true;
        }
        if (mine < 0) {
            mine = ref->of_id[event->id] = theirs;
            ref->link_version[event->id] = 1;
        } else if (theirs < 0) {
            ref->of_id[event->other] = mine;
            ref->link_version[event->other] = 1;
        } else if (mine != theirs && ref->persons[theirs].identified && event->kind != 3) {
            *refused = true;
        } else if (mine != theirs) {
            ref_absorb(ref, theirs, mine);
        }
        ref->persons[mine].identified = true;
    }
    if (mine < 0) {
        mine = ref_new(ref, event);
        made = true;
    }
    int *now = ref->persons[mine].value;

    for (int k = 0; k < KEYS; k++) {
        bool changed = false;

        after[k] = now[k];
        if (!made && event->kind != 5) {
            if (event->set[k] != ABSENT && (event->set[k] != now[k] || now[k] == VALUE_OBJECT)) {
                after[k] = event->set[k];
                changed = true;
            } else if (event->once[k] != ABSENT &&
                       (now[k] == ABSENT || (now[k] == VALUE_NULL && event->once[k] != VALUE_NULL))) {
                after[k] = event->once[k]; /* a stored null counts as a key that is not there */
                changed = write = true;
            }
            if (changed && (now[k] == ABSENT || !key_filtered[k] || event->kind != 0))
                write = true;
            if (event->unset[k] && now[k] != ABSENT) {
                after[k] = ABSENT;
                write = true;
            }
        }
    }
    for (int k = 0; k < KEYS; k++) {
        if (write)
            now[k] = after[k];
        shown[k] = event->set[k] != ABSENT ? event->set[k] : after[k];
    }
    return mine;
}

/* --- the real one ------------------------------------------------------------------------------ */

struct kept_row {
    struct uuid id;
    int distinct; /* ABSENT: a person row */
    int64_t version;
    bool deleted, identified;
};
struct real {
    char folder[64];
    struct people *people;
    struct people_txn *txn;
    struct people_batch *batch;
    struct arena *arena, *events; /* of the batch, of a few events */
    struct people_limits limits;
    struct kept_row rows[ROWS_KEPT]; /* the newest of each person and id */
    size_t row_count;
};

#define MUST(call)                            \
    do {                                      \
        if ((call) < 0)                       \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static char id_texts[IDS][16];

static int id_of(struct span text)
{
    for (int i = 0; i < IDS; i++)
        if (span_is(text, id_texts[i]))
            return i;
    return ABSENT;
}

/* P3: what is told of one person or id only ever rises. */
static int keep_row(void *ctx, const struct row *row, struct err *err)
{
    struct real *real = ctx;
    struct kept_row kept = { .distinct = ABSENT };
    size_t i;

    (void)err;
    if (row->table == ROW_DISTINCT) {
        kept.distinct = id_of(row->cells[ROW_DISTINCT_DISTINCT_ID].text);
        kept.id = row->cells[ROW_DISTINCT_PERSON_ID].uuid;
        kept.version = row->cells[ROW_DISTINCT_VERSION].i64;
    } else {
        kept.id = row->cells[ROW_PERSON_ID].uuid;
        kept.version = row->cells[ROW_PERSON_VERSION].i64;
        kept.deleted = row->cells[ROW_PERSON_IS_DELETED].i64 != 0;
        kept.identified = row->cells[ROW_PERSON_IS_IDENTIFIED].i64 != 0;
    }
    for (i = 0; i < real->row_count; i++)
        if (real->rows[i].distinct == kept.distinct &&
            (kept.distinct != ABSENT || uuid_equal(&real->rows[i].id, &kept.id)))
            break;
    assert_true(i < ROWS_KEPT);
    if (i < real->row_count)
        assert_true(kept.version > real->rows[i].version);
    else
        real->row_count++;
    real->rows[i] = kept;
    return 0;
}

static void real_begin(struct real *real)
{
    struct err err = { 0 };

    arena_reset(real->arena);
    arena_reset(real->events);
    MUST(people_begin(real->people, true, &real->txn, &err));
    MUST(people_batch_begin(real->txn, real->arena, &real->batch, &err));
    people_batch_limit(real->batch, &real->limits);
    people_batch_event_arena(real->batch, real->events);
}

static void real_flush(struct real *real)
{
    struct err err = { 0 };

    MUST(people_batch_finish(real->batch, keep_row, real, &err));
    MUST(people_commit(real->txn, &err));
    real_begin(real);
}

static const struct json_members *real_members(struct real *real, const int value[KEYS])
{
    struct json_members *members = arena_alloc_zero(real->events, sizeof *members);
    struct err err = { 0 };
    char *text = arena_alloc(real->events, 400);
    size_t bytes = 1;

    text[0] = '{';
    for (int k = 0; k < KEYS; k++)
        if (value[k] != ABSENT)
            bytes += (size_t)sprintf(text + bytes, "%s\"%s\":%s", bytes > 1 ? "," : "", keys[k], values[value[k]]);
    text[bytes++] = '}';
    MUST(json_members_read(span_of(text, bytes), real->events, members, &err));
    return members->count == 0 ? NULL : members;
}

static void properties_are(struct real *real, struct span got, const int want[KEYS], const char *where)
{
    struct json_members members;
    struct err err = { 0 };

    MUST(packed_text_in_arena(got, real->arena, &got, &err));
    MUST(json_members_read(got, real->arena, &members, &err));
    for (int k = 0; k < KEYS; k++) {
        const struct json_member *member = json_members_find(&members, span_text(keys[k]));

        if ((member == NULL) != (want[k] == ABSENT) || (member != NULL && !span_is(member->value.raw, values[want[k]])))
            fail_msg("%s: %s in %.*s, not %s", where, keys[k], SPAN_ARG(got),
                     want[k] == ABSENT ? "absent" : values[want[k]]);
    }
}

static void real_apply(struct real *real, const struct ref_event *told, unsigned n, struct people_result *result)
{
    static const enum people_merge merges[] = { PEOPLE_MERGE_NONE,        PEOPLE_MERGE_IDENTIFY, PEOPLE_MERGE_ALIAS,
                                                PEOPLE_MERGE_DANGEROUSLY, PEOPLE_MERGE_NONE,     PEOPLE_MERGE_NONE };
    struct people_event event = { .project = PROJECT,
                                  .distinct_id = span_text(id_texts[told->id]),
                                  .timestamp_us = told->timestamp_us,
                                  .person_event = told->kind > 0 && told->kind < 5,
                                  .no_update = told->kind == 5,
                                  .merge = merges[told->kind] };
    struct span *unset;
    struct err err = { 0 };

    if (n % 3 == 0) { /* nothing of the events before may be needed any more */
        MUST(people_batch_events_done(real->batch, &err));
        arena_reset(real->events);
    }
    unset = arena_alloc_array(real->events, KEYS, sizeof *unset);
    event.distinct_id = arena_copy(real->events, event.distinct_id);
    memcpy(event.uuid.bytes, &n, sizeof n);
    event.set = real_members(real, told->set);
    event.set_once = real_members(real, told->once);
    event.unset = unset;
    for (int k = 0; k < KEYS; k++)
        if (told->unset[k])
            unset[event.unset_count++] = span_text(keys[k]);
    if (event.merge != PEOPLE_MERGE_NONE)
        event.merge_other = arena_copy(real->events, span_text(id_texts[told->other]));
    MUST(people_batch_apply(real->batch, &event, result, &err));
}

static int count_link(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err)
{
    (void)distinct_id, (void)link, (void)err;
    ++*(int *)ctx;
    return 0;
}

/* Store, reference and collected rows must tell the same; before all ids of merged persons were moved, some rows of
 * ids are not told yet. */
static void compare_all(struct real *real, const struct ref *ref, bool moved)
{
    int links = 0, ids = 0;

    for (int i = 0; i < IDS; i++) {
        struct person_link link;
        struct person person;
        struct err err = { 0 };
        struct uuid uuid;
        size_t row;
        int got = people_link_get(real->txn, PROJECT, span_text(id_texts[i]), &link, &err);

        MUST(got);
        assert_int_equal(got, ref->of_id[i] >= 0);
        if (got == 0)
            continue;
        const struct ref_person *want = &ref->persons[ref->of_id[i]];

        ids++;
        assert_int_equal(people_person_get(real->txn, link.person, &person, &err), 1);
        uuid = people_person_uuid(PROJECT, span_text(id_texts[want->made_from]));
        assert_true(uuid_equal(&person.uuid, &uuid));
        assert_int_equal(person.identified, want->identified);
        assert_int_equal(person.created_us, want->created_us);
        assert_int_equal(link.version, ref->link_version[i]);
        properties_are(real, person.properties, want->value, "stored");
        if (want->made_from == i)
            MUST(people_person_links(real->txn, link.person, count_link, &links, &err));
        for (row = 0; row < real->row_count && real->rows[row].distinct != i; row++)
            ;
        assert_true(row < real->row_count);
        if (moved || (uint64_t)real->rows[row].version == link.version) {
            assert_true(uuid_equal(&real->rows[row].id, &uuid));
            assert_int_equal(real->rows[row].version, link.version);
        }
        for (row = 0; real->rows[row].distinct != ABSENT || !uuid_equal(&real->rows[row].id, &uuid); row++)
            assert_true(row < real->row_count);
        assert_false(real->rows[row].deleted);
        assert_int_equal(real->rows[row].version, person.version);
        assert_int_equal(real->rows[row].identified, person.identified);
    }
    assert_int_equal(links, ids); /* P1, P2: each id is on the way back of exactly one person */
}

/* --- histories --------------------------------------------------------------------------------- */

static unsigned random_next(unsigned *state, unsigned below)
{
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % below;
}

/* shape 0: anybody with anybody; 1: chains (i with i+1); 2: stars (all with a few); 3: rings, also backwards. */
static struct ref_event random_event(unsigned *random, int shape, unsigned n)
{
    struct ref_event event = { .other = ABSENT, .timestamp_us = 1000000 + (int64_t)random_next(random, 1000000) };
    unsigned kind = random_next(random, 20);

    (void)n;
    event.kind = kind < 10 ? 0 : kind < 14 ? 1 : kind < 16 ? 2 : kind < 17 ? 3 : kind < 19 ? 4 : 5;
    event.id = (int)random_next(random, IDS);
    if (event.kind >= 1 && event.kind <= 3) {
        event.other = (int)random_next(random, IDS);
        if (shape == 1)
            event.other = (event.id + 1) % IDS;
        if (shape == 2)
            event.id = (int)random_next(random, 3);
        if (shape == 3)
            event.other = (event.id + (random_next(random, 2) != 0 ? 1 : IDS - 1)) % IDS;
    }
    for (int k = 0; k < KEYS; k++) {
        event.set[k] = random_next(random, 4) == 0 ? (int)random_next(random, VALUES) : ABSENT;
        event.once[k] = random_next(random, 8) == 0 ? (int)random_next(random, VALUES) : ABSENT;
        event.unset[k] = random_next(random, 20) == 0;
    }
    return event;
}

static int moves_left(struct real *real)
{
    struct err err = { 0 };
    int left = people_moves_pending(real->txn, &err);

    MUST(left);
    return left;
}

/* few_at_once: persons of more than one or two ids count as having very many. */
static void run_history(unsigned seed, int shape, unsigned events, unsigned batch_max, bool few_at_once)
{
    static struct ref ref;
    static struct real real;
    struct err err = { 0 };
    unsigned random = seed, cut_random = batch_max * 7 + 1, left = 1;
    char path[96];

    ref = (struct ref){ 0 };
    real = (struct real){ 0 };
    for (int i = 0; i < IDS; i++) {
        (void)snprintf(id_texts[i], sizeof id_texts[i], "u%d", i);
        ref.of_id[i] = ABSENT;
    }
    (void)snprintf(real.folder, sizeof real.folder, "%s/penstock_history_XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(real.folder));
    if (few_at_once)
        real.limits = (struct people_limits){ .move_at_once = 1 + seed % 2, .moves_a_batch = 1 + seed % 3 };
    real.arena = arena_new(4 << 20, (size_t)1 << 30);
    real.events = arena_new(1 << 16, (size_t)1 << 30);
    MUST(people_open(&(struct people_options){ .folder = real.folder, .map_bytes_max = (uint64_t)1 << 28, .memory_bytes = 64 << 10 }, &real.people, &err));
    real_begin(&real);
    for (unsigned n = 0; n < events; n++) {
        struct ref_event event = random_event(&random, shape, n);
        struct people_result result;
        int shown[KEYS], mine;
        bool refused;
        struct uuid uuid;

        mine = ref_apply(&ref, &event, shown, &refused);
        real_apply(&real, &event, n, &result);
        uuid = people_person_uuid(PROJECT, span_text(id_texts[ref.persons[mine].made_from]));
        assert_true(uuid_equal(&uuid, &result.person_id));
        assert_int_equal(result.person_created_us, ref.persons[mine].created_us);
        assert_int_equal(result.warning_count, refused);
        properties_are(&real, result.properties, shown, "row");
        if (--left == 0) {
            left = 1 + random_next(&cut_random, batch_max);
            real_flush(&real);
            if (random_next(&cut_random, 10) ==
                0) { /* a batch that is begun, dropped and begun again changes nothing */
                struct ref_event lost = random_event(&cut_random, 0, n);
                struct people_result ignored;

                real_apply(&real, &lost, n, &ignored);
                MUST(people_batch_finish(real.batch, keep_row, &(struct real){ 0 }, &err));
                people_abort(real.txn);
                real_begin(&real);
            }
        }
    }
    real_flush(&real);
    compare_all(&real, &ref, false);
    people_abort(real.txn);
    people_close(real.people);
    MUST(people_open(&(struct people_options){ .folder = real.folder, .map_bytes_max = (uint64_t)1 << 28, .memory_bytes = 64 << 10 }, &real.people, &err));
    real_begin(&real);
    compare_all(&real, &ref, false);
    while (moves_left(&real))
        real_flush(&real);
    compare_all(&real, &ref, true);
    people_abort(real.txn);
    people_close(real.people);
    arena_free(real.arena);
    arena_free(real.events);
    (void)snprintf(path, sizeof path, "%s/data.mdb", real.folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", real.folder);
    (void)unlink(path);
    (void)rmdir(real.folder);
}

static void histories(void **state)
{
    static const unsigned cuts[] = { 1, 7, 300, 100000 };

    (void)state;
    for (int shape = 0; shape < 4; shape++)
        for (size_t cut = 0; cut < sizeof cuts / sizeof *cuts; cut++)
            for (int few = 0; few < 2; few++)
                run_history((unsigned)seed_base + 11 + (unsigned)shape, shape, 2500, cuts[cut], few != 0);
    for (unsigned seed = (unsigned)seed_base; seed < seed_base + short_ones; seed++) /* short ones: persons are still being made and merged */
        run_history(seed * 977 + 5, (int)seed % 4, 40 + seed % 60, 1 + seed % 20, seed % 2 != 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(histories) };

    if (argc > 1)
        short_ones = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed_base = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
