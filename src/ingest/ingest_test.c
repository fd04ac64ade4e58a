/* ingest/ingest_test.c - the whole role over real stores: killed at any instant, it writes the same rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"
#include "ingest/attempt.h"
#include "ingest/outputs.h"
#include "ingest/testing_site.h"

/* --- fates -------------------------------------------------------------------------------------- */

static int add_fates(void *ctx, const struct people_fates *row, struct err *err)
{
    struct people_fates *sum = ctx;
    uint64_t             fates = 0;

    (void)err;
    for (int i = 0; i < PEOPLE_COUNTERS_MAX; i++) {
        sum->counts[i] += row->counts[i];
        fates += i == TALLY_READ ? 0 : row->counts[i];
    }
    assert_true(fates == row->counts[TALLY_READ]); /* each project and hour by itself */
    return 0;
}

static int take_before(void *ctx, const struct people_fates *row, struct err *err)
{
    (void)err;
    if (row->project == PEOPLE_FATES_BEFORE)
        *(struct people_fates *)ctx = *row;
    return 0;
}

/* The counts by project and hour are the counters. */
static void assert_fates_by_hour(struct site *site, const struct people_place *place)
{
    struct people_fates sum = { .hour = 0 };
    struct people_txn  *txn;
    struct people      *people;
    struct err          err = { 0 };
    char                folder[128];

    (void)snprintf(folder, sizeof folder, "%s/people", site->folder);
    fixture_must(people_open(&(struct people_options){ .folder = folder }, &people, &err), &err);
    fixture_must(people_begin(people, false, &txn, &err), &err);
    fixture_must(people_fates_each(txn, add_fates, &sum, &err), &err);
    people_abort(txn);
    people_close(people);
    for (int i = 0; i < FATE_COUNT; i++)
        assert_true(sum.counts[i] == place->counters[i]);
}

/* Counters add up, and are what the topics hold. */
static void assert_fates(struct site *site, const struct people_place *place, uint64_t records)
{
    struct buf  events = topic_bytes(site, "events"), dead = topic_bytes(site, "dead_letters");
    struct span rest;
    struct row  row;
    struct buf  points = topic_bytes(site, "heatmaps");
    uint64_t    stored = 0, buried = 0, heatmaps = 0;

    assert_fates_by_hour(site, place);
    for (rest = buf_span(&events); row_next(&rest, &row);)
        stored++;
    for (rest = buf_span(&dead); row_next(&rest, &row);)
        buried++;
    for (rest = buf_span(&points); row_next(&rest, &row);) /* the last point of a $$heatmap event stands for it */
        heatmaps += !row.cells[ROW_HEATMAP_EVENT_UUID].null;
    assert_true(place->input_next[INPUT_RAW] == records);
    assert_true(place->counters[FATE_STORED] == stored);
    assert_true(place->counters[FATE_HEATMAP] == heatmaps);
    assert_true(fate_sum(place, FATE_CLASS_DEAD_LETTERED) == buried);
    assert_true(fate_sum(place, FATE_CLASS_STORED) + fate_sum(place, FATE_CLASS_DEDUPLICATED) +
                    fate_sum(place, FATE_CLASS_DEAD_LETTERED) + fate_sum(place, FATE_CLASS_DROPPED) == records);
    buf_fini(&events);
    buf_fini(&dead);
    buf_fini(&points);
}

/* A store of a Penstock that knew sums only: what it counted is one line, and new lines begin beside it. */
static void test_sums_of_before(void **state)
{
    struct people_place place = { .counters = { [FATE_DEDUPLICATED] = 5, [FATE_NO_TOKEN] = 2 } };
    struct people_fates before = { .hour = 0 };
    struct site         site;
    struct people_txn  *txn;
    struct people      *people;
    struct err          err = { 0 };
    char                folder[128];

    (void)state;
    site_init(&site, 1000);
    (void)snprintf(folder, sizeof folder, "%s/people", site.folder);
    for (int i = 0; i < 2; i++) {
        fixture_must(people_open(&(struct people_options){ .folder = folder }, &people, &err), &err);
        fixture_must(people_begin(people, i == 0, &txn, &err), &err);
        if (i == 0) {
            fixture_must(people_place_put(txn, &place, &err), &err);
            fixture_must(people_commit(txn, &err), &err);
        } else {
            fixture_must(people_fates_each(txn, take_before, &before, &err), &err);
            people_abort(txn);
        }
        people_close(people);
        if (i == 0) {
            site_feed(&site, 20);
            site_finish(&site, &place);
        }
    }
    assert_true(before.counts[FATE_DEDUPLICATED] == 5 && before.counts[FATE_NO_TOKEN] == 2 && before.counts[TALLY_READ] == 7);
    assert_fates_by_hour(&site, &place);
    site_fini(&site);
}

/* --- killed ------------------------------------------------------------------------------------ */

/* `kills` times: some records arrive (at least so many), the role starts, with so many threads, and is killed wherever it then is. */
static void check_kills(int64_t batch_records, size_t feed, int64_t threads, int kills, bool exact_versions)
{
    struct site         quiet, killed;
    struct people_place quiet_place, killed_place;
    uint64_t            dice = 12345;

    site_init(&quiet, batch_records);
    site_init(&killed, batch_records);
    quiet.options.threads = 1;
    killed.options.threads = threads;
    quiet.options.overflow_burst = killed.options.overflow_burst = 0; /* who is moved aside depends on how much waits just then */
    for (int i = 0; i < kills; i++) {
        size_t count = feed + random_next(&dice) % 30;
        pid_t  pid;

        site_feed(&quiet, count);
        site_feed(&killed, count);
        pid = site_start(&killed);
        usleep((useconds_t)(random_next(&dice) % 20000));
        site_wait_unsuspected(&killed);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(waitpid(pid, NULL, 0) == pid);
    }
    site_finish(&quiet, &quiet_place);
    site_finish(&killed, &killed_place);
    assert_fates(&quiet, &quiet_place, log_writer_end(quiet.raw));
    assert_fates(&killed, &killed_place, log_writer_end(killed.raw));
    for (int i = 0; i < FATE_COUNT; i++)
        assert_true(quiet_place.counters[i] == killed_place.counters[i]);
    assert_same_topic(&quiet, &killed, "events");
    assert_same_topic(&quiet, &killed, "dead_letters");
    assert_same_topic(&quiet, &killed, "heatmaps");
    assert_same_topic(&quiet, &killed, "definitions");
    if (exact_versions) /* a version is a step of one batch: only the same batches give the same ones */
        assert_same_topic(&quiet, &killed, "people");
    site_fini(&quiet);
    site_fini(&killed);
}

static void test_kills(void **state)
{
    (void)state;
    check_kills(1, 5, 1, 100, true);
    setenv("PENSTOCK_SEEN_RECENT_MAX", "100", 1); /* files of seen ids are made and merged meanwhile */
    check_kills(50, 5, 1, 40, false);
    check_kills(1000, 700, 4, 30, false);
    unsetenv("PENSTOCK_SEEN_RECENT_MAX");
}

/* Killed before each single call that changes a file of the log: writes, syncs, renames, opens, maps. */
static void test_every_file_call(void **state)
{
    const struct io_hook hook = { .before = end_at_call };
    struct site          quiet, killed;
    struct people_place  place, quiet_place;
    int64_t              calls = 0;
    bool                 ended = false;

    (void)state;
    io_left = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    site_init(&quiet, 10);
    site_init(&killed, 10);
    for (; !ended; calls++) { /* each start lives one call longer, until one comes to its end */
        pid_t pid;
        int   status;

        site_feed(&quiet, 10);
        site_feed(&killed, 10);
        io_left->left = calls;
        pid = child_fork();
        if (pid == 0) {
            io_hook_set(&hook);
            site_finish(&killed, &place);
            _exit(0);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        ended = WIFEXITED(status);
        assert_true(calls < 1000);
    }
    assert_true(calls > 10);
    site_finish(&quiet, &quiet_place);
    site_finish(&killed, &place);
    assert_fates(&killed, &place, log_writer_end(killed.raw));
    assert_same_topic(&quiet, &killed, "events");
    assert_same_topic(&quiet, &killed, "dead_letters");
    assert_same_topic(&quiet, &killed, "heatmaps");
    site_fini(&quiet);
    site_fini(&killed);
}

/* --- poison ------------------------------------------------------------------------------------ */

static struct span named_record(struct site *site, struct arena *arena, const char *name)
{
    return fixture_record(&site->maker, (struct record){ .event = span_text(name), .distinct_id = SPAN("d"),
                                                         .data = SPAN("{ \"properties\" : {} }") }, arena);
}

/* Rows that readers may see. */
static uint64_t site_published(struct site *site, const char *topic)
{
    struct log_reader *reader;
    struct err         err = { 0 };
    uint64_t           end;

    if (log_reader_open(site->log, topic, 0, 0, &reader, &err) < 0)
        return 0;
    if (log_reader_end(reader, &end, &err) < 0)
        end = 0;
    log_reader_close(reader);
    return end;
}

/* `count` events, of which the one at `at` ends the process; batches have room for all of them. */
static void check_poison(size_t count, size_t at, int64_t threads)
{
    struct site         site;
    struct people_place place;
    struct arena       *arena = arena_new(1 << 16, 1 << 24);
    struct span        *bodies = calloc(count, sizeof *bodies);
    struct buf          dead;
    struct span         rest;
    struct row          row;
    char                value[128];
    int                 status = 0, crashes = 0;
    pid_t               pid;

    site_init(&site, 1000);
    site.options.threads = threads;
    for (size_t i = 0; i < count; i++)
        bodies[i] = named_record(&site, arena, i == at ? "poison" : "view");
    site_append(&site, bodies, count);
    setenv("PENSTOCK_CRASH_ON", "poison", 1);
    for (;;) {
        pid = site_start(&site);
        for (int tries = 0; waitpid(pid, &status, WNOHANG) == 0; tries++) {
            if (site_published(&site, "events") == count - 1 && site_published(&site, "dead_letters") == 1)
                goto done;
            assert_true(tries < 6000);
            usleep(10000);
        }
        assert_true(WIFSIGNALED(status));
        crashes++;
        assert_true(crashes < 10);
    }
done:
    site_stop(&site, pid);
    unsetenv("PENSTOCK_CRASH_ON");
    assert_int_equal(crashes, ATTEMPT_CRASHES_MAX);
    site_finish(&site, &place);
    assert_fates(&site, &place, count);
    assert_true(place.counters[FATE_STORED] == count - 1 && place.counters[FATE_DEAD_LETTERED] == 1);
    dead = topic_bytes(&site, "dead_letters");
    rest = buf_span(&dead);
    assert_true(row_next(&rest, &row));
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "crashed");
    fixture_value(&row, "data", value, sizeof value);
    assert_string_equal(value, "{ \"properties\" : {} }");
    fixture_value(&row, "raw_offset", value, sizeof value);
    assert_true(strtoull(value, NULL, 10) == at);
    buf_fini(&dead);
    arena_free(arena);
    free(bodies);
    site_fini(&site);
}

static void test_poison(void **state)
{
    (void)state;
    check_poison(21, 10, 1);
    for (int round = 0; round < 3; round++) /* whoever has what in hand just then */
        check_poison(900, 33 + 300 * (size_t)round, 4);
    check_poison(900, 899, 2);
}


/* --- trouble ----------------------------------------------------------------------------------- */

struct trouble { enum io_op op; int errno_value; int after, times; };

static int fail_calls(void *ctx, struct io_call *call)
{
    struct trouble *trouble = ctx;

    if (call->op != trouble->op || trouble->after-- > 0 || trouble->times <= 0)
        return 0;
    trouble->times--;
    return trouble->errno_value;
}

/* Each call of each kind fails a few times: the batch is given up, and done when the trouble is over. */
static void test_trouble(void **state)
{
    static const struct { enum io_op op; int errno_value; } kinds[] = {
        { IO_PWRITE, ENOSPC }, { IO_FDATASYNC, EIO }, { IO_FALLOCATE, ENOSPC }, { IO_PWRITE, EIO }, { IO_OPEN, EMFILE }
    };
    struct site         site, quiet;
    struct people_place place;
    int                 failed = 0;

    (void)state;
    site_init(&site, 10);
    site_init(&quiet, 10);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (int after = 0; after < 6; after++) {
            struct trouble trouble = { kinds[kind].op, kinds[kind].errno_value, after, 2 };
            struct io_hook hook = { .before = fail_calls, .ctx = &trouble };
            struct ingest *ingest;
            struct err     err = { 0 };
            int            rc = -1;

            site_feed(&site, 25);
            site_feed(&quiet, 25);
            fixture_must(ingest_open(&site.env, &ingest, &err), &err);
            io_hook_set(&hook);
            for (int tries = 0; tries < 20 && rc != 0; tries++) {
                rc = ingest_step(ingest, &err);
                failed += rc < 0;
                while (rc < 0 && ingest_recover(ingest, &err) < 0)
                    assert_true(tries++ < 20);
            }
            io_hook_set(NULL);
            assert_int_equal(rc, 0);
            ingest_close(ingest);
        }
    assert_true(failed > 10);
    site_finish(&site, &place);
    assert_fates(&site, &place, log_writer_end(site.raw));
    site_finish(&quiet, &place);
    assert_same_topic(&site, &quiet, "events");
    assert_same_topic(&site, &quiet, "dead_letters");
    assert_same_topic(&site, &quiet, "heatmaps");
    assert_same_topic(&site, &quiet, "definitions");
    site_fini(&site);
    site_fini(&quiet);
}

/* --- damage ------------------------------------------------------------------------------------ */

/* A damaged frame of raw costs its records, and they are counted. */
static void test_damage(void **state)
{
    struct site         site;
    struct people_place place;
    struct buf          warnings;
    struct span         rest;
    struct row          row;
    char                command[256], value[128];

    (void)state;
    site_init(&site, 1000);
    for (int i = 0; i < 3; i++) {
        struct arena *arena = arena_new(1 << 16, 1 << 24);
        struct span   bodies[5];

        for (int j = 0; j < 5; j++)
            bodies[j] = named_record(&site, arena, i == 1 ? "DAMAGEME" : "view");
        site_append(&site, bodies, 5);
        arena_free(arena);
    }
    (void)snprintf(command, sizeof command, "grep -rlaF DAMAGEME %s/log/raw | xargs sed -i s/DAMAGEME/dAMAGEME/g", site.folder);
    assert_int_equal(system(command), 0);
    site_finish(&site, &place);
    assert_true(place.counters[FATE_STORED] == 10);
    assert_true(place.counters[FATE_LOG_DAMAGED] == 5);
    assert_fates(&site, &place, 15);
    warnings = topic_bytes(&site, "warnings");
    rest = buf_span(&warnings);
    assert_true(row_next(&rest, &row));
    fixture_value(&row, "type", value, sizeof value);
    assert_string_equal(value, "log_damaged");
    fixture_value(&row, "details/firstOffset", value, sizeof value);
    assert_string_equal(value, "5");
    buf_fini(&warnings);
    site_fini(&site);
}

/* --- quiet --------------------------------------------------------------------------------------- */

/* 1: the salt of a day long over is still there. */
static int old_salt(const char *folder, bool put)
{
    const uint8_t      fresh[VISIT_SALT_BYTES] = { 1 };
    uint8_t            got[VISIT_SALT_BYTES];
    struct people     *people;
    struct people_txn *txn;
    struct err         err = { 0 };
    int                old;

    fixture_must(people_open(&(struct people_options){ .folder = folder }, &people, &err), &err);
    fixture_must(people_begin(people, put, &txn, &err), &err);
    if (put)
        fixture_must(people_salt(txn, 100, fresh, got, &err), &err);
    old = people_visits_old(txn, 101, &err);
    fixture_must(old, &err);
    if (put)
        fixture_must(people_commit(txn, &err), &err);
    else
        people_abort(txn);
    people_close(people);
    return old;
}

/* The salt of a day that is over goes although no event comes any more. */
static void test_salts_go_when_it_is_quiet(void **state)
{
    struct site         site;
    struct people_place place;
    char                folder[128];
    pid_t               pid;
    int                 tries = 0;

    (void)state;
    site_init(&site, 100);
    site_feed(&site, 10);
    site_finish(&site, &place);
    (void)snprintf(folder, sizeof folder, "%s/people", site.folder);
    assert_int_equal(old_salt(folder, true), 1);
    pid = site_start(&site);
    while (old_salt(folder, false) == 1 && tries++ < 2000)
        usleep(10000);
    site_stop(&site, pid);
    assert_int_equal(old_salt(folder, false), 0);
    site_finish(&site, &place);
    assert_fates(&site, &place, log_writer_end(site.raw));
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_of_before),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_poison),          cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_kills),  cmocka_unit_test(test_every_file_call), cmocka_unit_test(test_salts_go_when_it_is_quiet),
    };

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1); /* rows carry the clock: they are compared bytewise */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
