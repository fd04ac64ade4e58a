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
#include "base/say.h"
#include "ingest/attempt.h"
#include "ingest/ingest.h"
#include "ingest/outputs.h"
#include "ingest/testing.h"

/* --- a place to run in ------------------------------------------------------------------------- */

struct site {
    char                  folder[64], run[80];
    struct log           *log;
    struct log_writer    *raw;
    struct ingest_options options;
    struct role_env       env;
    int                   stop[2];
    struct fixture        maker; /* only makes records */
    uint64_t              random;
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Syncs are what costs here, and whether they reach a disk is the log's and the store's own test. */
static const char *test_root(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static void site_init(struct site *site, int64_t batch_records)
{
    struct err      err = { 0 };
    struct catalog *catalog;
    char            path[128];
    uint32_t        project;

    memset(site, 0, sizeof *site);
    (void)snprintf(site->folder, sizeof site->folder, "%s/penstock-ingest-XXXXXX", test_root());
    assert_non_null(mkdtemp(site->folder));
    (void)snprintf(site->run, sizeof site->run, "%s/run", site->folder);
    assert_int_equal(mkdir(site->run, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/catalog.db", site->folder);
    fixture_must(catalog_open(path, &catalog, &err), &err);
    for (int i = 1; i <= 7; i++)
        fixture_must(catalog_project_create(catalog, "test", &project, &err), &err);
    catalog_close(catalog);
    (void)snprintf(path, sizeof path, "%s/log", site->folder);
    fixture_must(log_open(&(struct log_options){ .folder = path }, &site->log, &err), &err);
    fixture_must(log_writer_open(site->log, "raw", 0, &(struct log_topic_options){ .segment_bytes = 1 << 20 }, &site->raw,
                                 &err), &err);
    assert_int_equal(pipe(site->stop), 0);
    option_defaults(ingest_role.options, &site->options);
    site->options.batch_records = batch_records;
    site->options.geoip_folder = "off";
    site->env = (struct role_env){
        .data_folder = site->folder, .run_folder = site->run, .stop_fd = site->stop[0], .options = &site->options
    };
    site->maker.now_us = FIXTURE_NOW_US;
    site->random = 88172645463325252u;
}

static void site_fini(struct site *site)
{
    char command[128];

    log_writer_close(site->raw);
    log_close(site->log);
    close(site->stop[0]);
    close(site->stop[1]);
    (void)snprintf(command, sizeof command, "rm -rf %s", site->folder);
    assert_int_equal(system(command), 0);
}

/* One frame. */
static void site_append(struct site *site, const struct span *bodies, size_t count)
{
    struct log_batch *batch = log_batch_new();
    struct err        err = { 0 };
    uint64_t          base;

    for (size_t i = 0; i < count; i++)
        fixture_must(log_batch_add(batch, bodies[i], &err), &err);
    fixture_must(log_writer_append(site->raw, batch, FIXTURE_NOW_US, &base, &err), &err);
    fixture_must(log_writer_sync(site->raw, &err), &err);
    log_writer_publish(site->raw, log_writer_end(site->raw));
    log_batch_free(batch);
}

/* Everything at once: persons that meet, groups, repeats, faults; the same from the same seed. */
static struct span make_record(struct site *site, struct arena *arena)
{
    static const char *const names[] = { "$identify", "$create_alias", "$set", "view", "view", "view", "$groupidentify",
                                         "$merge_dangerously", "$exception", "view" };
    uint64_t      dice = random_next(&site->random);
    unsigned      who = dice >> 8 & 15, other = dice >> 16 & 15;
    char          data[512], id[16];
    struct record record = { .event = span_text(names[dice % 10]) };

    (void)snprintf(id, sizeof id, "p%u", who);
    (void)snprintf(data, sizeof data,
                   "{\"properties\":{\"$anon_distinct_id\":\"p%u\",\"alias\":\"p%u\",\"n\":%llu,\"$browser\":\"B%u\","
                   "\"$groups\":{\"org\":\"o%u\"},\"$group_type\":\"org\",\"$group_key\":\"o%u\","
                   "\"$group_set\":{\"k%u\":%u},\"$set\":{\"s%u\":%u},\"$set_once\":{\"o%u\":%u}%s}}",
                   other, other, (unsigned long long)dice, (unsigned)(dice >> 24 & 3), who & 3, other & 3, who & 3, other,
                   who & 7, other, other & 7, who, (dice >> 32 & 15) == 0 ? ",\"$process_person_profile\":false" : "");
    record.distinct_id = arena_copy(arena, span_text(id));
    record.data = (dice >> 40 & 31) == 0 ? SPAN("[]") : span_text(data);
    record.project = (dice >> 45 & 31) == 0 ? 99 : 7;
    record.timestamp_us = FIXTURE_NOW_US - (int64_t)(dice >> 50) * 1000;
    if ((dice >> 36 & 7) == 0 && site->maker.uuids > 3) /* a repeat of one of the last */
        site->maker.uuids -= 1 + (dice >> 61 & 1);
    record.timestamp_us = FIXTURE_NOW_US;
    return fixture_record(&site->maker, record, arena);
}

static void site_feed(struct site *site, size_t count)
{
    struct arena *arena = arena_new(1 << 16, 1 << 28);
    struct span  *bodies = calloc(count, sizeof *bodies);

    for (size_t i = 0; i < count; i++)
        bodies[i] = make_record(site, arena);
    site_append(site, bodies, count);
    free(bodies);
    arena_free(arena);
}

/* Runs until nothing is left, in this process. */
static void site_finish(struct site *site, struct people_place *place)
{
    struct ingest *ingest;
    struct err     err = { 0 };
    int            rc;

    fixture_must(ingest_open(&site->env, &ingest, &err), &err);
    while ((rc = ingest_step(ingest, &err)) > 0)
        ;
    fixture_must(rc, &err);
    *place = *ingest_place(ingest);
    ingest_close(ingest);
}

/* Every visible record of a topic, one after the other, each with its length. */
static struct buf topic_bytes(struct site *site, const char *topic)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct buf         all;
    struct span        body;
    uint64_t           offset, expected = 0;
    struct err         err = { 0 };
    int                rc;

    buf_init(&all, 1 << 30);
    fixture_must(log_reader_open(site->log, topic, 0, 0, &reader, &err), &err);
    while ((rc = log_reader_next(reader, &chunk, &err)) > 0) {
        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body)) {
            assert_true(offset == expected++);
            buf_add_u32(&all, (uint32_t)body.bytes);
            buf_add(&all, body);
        }
    }
    fixture_must(rc, &err);
    log_reader_close(reader);
    return all;
}

static bool row_next(struct span *rest, struct row *out)
{
    struct err err = { 0 };
    uint32_t   bytes;

    if (rest->bytes == 0)
        return false;
    memcpy(&bytes, rest->at, 4);
    fixture_must(row_read(span_of(rest->at + 4, bytes), out, &err), &err);
    *rest = span_from(*rest, 4 + bytes);
    return true;
}

static void assert_same_topic(struct site *a, struct site *b, const char *topic)
{
    struct buf left = topic_bytes(a, topic), right = topic_bytes(b, topic);

    if (!span_equal(buf_span(&left), buf_span(&right)))
        fail_msg("topic %s: %zu and %zu bytes, or other ones", topic, left.bytes, right.bytes);
    assert_true(left.bytes > 0);
    buf_fini(&left);
    buf_fini(&right);
}

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
    uint64_t    stored = 0, buried = 0;

    assert_fates_by_hour(site, place);
    for (rest = buf_span(&events); row_next(&rest, &row);)
        stored++;
    for (rest = buf_span(&dead); row_next(&rest, &row);)
        buried++;
    assert_true(place->input_next[INPUT_RAW] == records);
    assert_true(fate_sum(place, FATE_CLASS_STORED) == stored);
    assert_true(fate_sum(place, FATE_CLASS_DEAD_LETTERED) == buried);
    assert_true(fate_sum(place, FATE_CLASS_STORED) + fate_sum(place, FATE_CLASS_DEDUPLICATED) +
                    fate_sum(place, FATE_CLASS_DEAD_LETTERED) + fate_sum(place, FATE_CLASS_DROPPED) == records);
    buf_fini(&events);
    buf_fini(&dead);
}

/* --- killed ------------------------------------------------------------------------------------ */

static pid_t site_start(struct site *site)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct err err = { 0 };

        say_init("ingest", SAY_ERROR);
        if (ingest_role.run(&site->env, &err) < 0)
            fprintf(stderr, "child: %s\n", err.text);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void site_stop(struct site *site, pid_t pid)
{
    char byte = 0;
    int  status;

    assert_int_equal(write(site->stop[1], &byte, 1), 1);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(site->stop[0], &byte, 1), 1);
}

/* On a slow machine the role may be killed three times over one record, which is then rightly condemned; this
 * test is about the others. Waits until a suspect is done with. */
static void site_wait_unsuspected(struct site *site)
{
    struct attempt_state state = { .suspect = ATTEMPT_NONE };
    char                 path[128];

    (void)snprintf(path, sizeof path, "%s/ingest.attempt", site->run);
    for (int tries = 0; tries < 6000; tries++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0) {
            assert_true(read(fd, &state, sizeof state) >= 0);
            close(fd);
        }
        if (state.suspect == ATTEMPT_NONE || state.suspect_crashes == 0)
            return;
        usleep(10000);
    }
    fail_msg("record %llu is suspected for a minute", (unsigned long long)state.suspect);
}

/* `kills` times: some records arrive, the role starts and is killed wherever it then is. */
static void check_kills(int64_t batch_records, int kills, bool exact_versions)
{
    struct site         quiet, killed;
    struct people_place quiet_place, killed_place;
    uint64_t            dice = 12345;

    site_init(&quiet, batch_records);
    site_init(&killed, batch_records);
    for (int i = 0; i < kills; i++) {
        size_t count = 5 + random_next(&dice) % 30;
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
    if (exact_versions) /* a version is a step of one batch: only the same batches give the same ones */
        assert_same_topic(&quiet, &killed, "people");
    site_fini(&quiet);
    site_fini(&killed);
}

static void test_kills(void **state)
{
    (void)state;
    check_kills(1, 100, true);
    check_kills(50, 40, false);
}

static struct { int64_t left; } *io_left; /* shared with the child */

static int end_at_call(void *ctx, struct io_call *call)
{
    (void)ctx;
    (void)call;
    if (--io_left->left < 0)
        (void)kill(getpid(), SIGKILL);
    return 0;
}

/* Killed before each single call that reaches a file of the log: writes, syncs, renames. */
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
        pid = fork();
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
    end = log_reader_end(reader);
    log_reader_close(reader);
    return end;
}

static void test_poison(void **state)
{
    struct site         site;
    struct people_place place;
    struct arena       *arena = arena_new(1 << 16, 1 << 24);
    struct span         bodies[21];
    struct buf          dead;
    struct span         rest;
    struct row          row;
    char                value[128];
    int                 status = 0, crashes = 0;
    pid_t               pid;

    (void)state;
    site_init(&site, 1000);
    for (int i = 0; i < 21; i++)
        bodies[i] = named_record(&site, arena, i == 10 ? "poison" : "view");
    site_append(&site, bodies, 21);
    setenv("PENSTOCK_CRASH_ON", "poison", 1);
    for (;;) {
        pid = site_start(&site);
        for (int tries = 0; waitpid(pid, &status, WNOHANG) == 0; tries++) {
            if (site_published(&site, "events") == 20 && site_published(&site, "dead_letters") == 1)
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
    assert_fates(&site, &place, 21);
    assert_true(place.counters[FATE_STORED] == 20 && place.counters[FATE_DEAD_LETTERED] == 1);
    dead = topic_bytes(&site, "dead_letters");
    rest = buf_span(&dead);
    assert_true(row_next(&rest, &row));
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "crashed");
    fixture_value(&row, "data", value, sizeof value);
    assert_string_equal(value, "{ \"properties\" : {} }");
    fixture_value(&row, "raw_offset", value, sizeof value);
    assert_string_equal(value, "10");
    buf_fini(&dead);
    arena_free(arena);
    site_fini(&site);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage), cmocka_unit_test(test_poison),          cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_kills),  cmocka_unit_test(test_every_file_call),
    };

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1); /* rows carry the clock: they are compared bytewise */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
