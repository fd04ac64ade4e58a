/* ingest/testing_site.h - what tests of the whole role share: a data folder with a log, records in, topics out.
 *
 * Included by tests only, after cmocka.h. */
#ifndef PENSTOCK_INGEST_TESTING_SITE_H
#define PENSTOCK_INGEST_TESTING_SITE_H

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/child_test_kit.h"
#include "base/io.h"
#include "base/say.h"
#include "ingest/attempt.h"
#include "ingest/ingest.h"
#include "ingest/testing.h"

/* --- a place to run in ------------------------------------------------------------------------- */

struct site {
    char                  folder[64], run[80];
    struct log           *log;
    struct log_writer    *raw, *historical; /* historical: NULL until something is fed into it */
    struct ingest_options options;
    struct role_env       env;
    int                   stop[2];
    struct fixture        maker; /* only makes records */
    uint64_t              random;
    int64_t               appended_us; /* of the next frame */
    uint64_t made;    /* events */
    int64_t  step_us; /* between events; 0: all are of one moment */
};

static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Syncs are what costs here, and whether they reach a disk is the log's and the store's own test. */
static inline const char *test_root(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static inline void site_init(struct site *site, int64_t batch_records)
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
    site->appended_us = FIXTURE_NOW_US;
}

static inline void site_fini(struct site *site)
{
    char command[128];

    log_writer_close(site->raw);
    if (site->historical != NULL)
        log_writer_close(site->historical);
    log_close(site->log);
    close(site->stop[0]);
    close(site->stop[1]);
    (void)snprintf(command, sizeof command, "rm -rf %s", site->folder);
    assert_int_equal(system(command), 0);
}

/* One frame. */
static inline void site_append_to(struct site *site, enum input input, const struct span *bodies, size_t count)
{
    struct log_writer **writer = input == INPUT_RAW ? &site->raw : &site->historical;
    struct log_batch *batch = log_batch_new();
    struct err        err = { 0 };
    uint64_t          base;

    for (size_t i = 0; i < count; i++)
        fixture_must(log_batch_add(batch, bodies[i], &err), &err);
    if (*writer == NULL)
        fixture_must(log_writer_open(site->log, input_topic(input), 0, &(struct log_topic_options){ .segment_bytes = 1 << 20 },
                                     writer, &err), &err);
    fixture_must(log_writer_append(*writer, batch, site->appended_us, &base, &err), &err);
    fixture_must(log_writer_sync(*writer, &err), &err);
    log_writer_publish(*writer, log_writer_end(*writer));
    log_batch_free(batch);
}

static inline void site_append(struct site *site, const struct span *bodies, size_t count)
{
    site_append_to(site, INPUT_RAW, bodies, count);
}

/* Everything at once: persons that meet, groups, heatmaps, repeats, faults; the same from the same seed. */
static inline struct span make_record(struct site *site, struct arena *arena)
{
    static const char *const names[] = { "$identify", "$create_alias", "$set", "view", "view", "$$heatmap", "$groupidentify",
                                         "$merge_dangerously", "$exception", "view" };
    uint64_t      dice = random_next(&site->random);
    unsigned      who = dice >> 8 & 15, other = dice >> 16 & 15;
    char          data[768], id[16];
    struct record record = { .event = span_text(names[dice % 10]) };

    (void)snprintf(id, sizeof id, "p%u", who);
    (void)snprintf(data, sizeof data,
                   "{\"properties\":{\"q%u\":1,\"$anon_distinct_id\":\"p%u\",\"alias\":\"p%u\",\"n\":%llu,\"$browser\":\"B%u\","
                   "\"$groups\":{\"org\":\"o%u\"},\"$group_type\":\"org\",\"$group_key\":\"o%u\","
                   "\"$group_set\":{\"k%u\":%u},\"$set\":{\"s%u\":%u},\"$set_once\":{\"o%u\":%u}%s,"
                   "\"$viewport_height\":900,\"$viewport_width\":600,\"$heatmap_data\":{\"u\":[{\"x\":%u,\"y\":1,\"type\":\"c\"},{\"x\":%u,\"y\":2,\"type\":\"d\"}]}}}",
                   (unsigned)(dice >> 20 & 255), other, other, (unsigned long long)dice, (unsigned)(dice >> 24 & 3), who & 3, other & 3, who & 3, other,
                   who & 7, other, other & 7, who, (dice >> 32 & 15) == 0 ? ",\"$process_person_profile\":false" : "", who * 16, other * 16);
    record.distinct_id = arena_copy(arena, span_text(id));
    record.data = (dice >> 40 & 31) == 0 ? SPAN("[]") : span_text(data);
    record.project = (dice >> 45 & 31) == 0 ? 99 : 7;
    record.timestamp_us = FIXTURE_NOW_US - (int64_t)(dice >> 50) * 1000;
    if ((dice >> 36 & 7) == 0 && site->maker.uuids > 3) /* a repeat of one of the last */
        site->maker.uuids -= 1 + (dice >> 61 & 1);
    record.timestamp_us = FIXTURE_NOW_US - site->step_us * (int64_t)site->made++;
    return fixture_record(&site->maker, record, arena);
}

static inline void site_feed(struct site *site, size_t count)
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
static inline void site_finish(struct site *site, struct people_place *place)
{
    struct ingest *ingest;
    struct err     err = { 0 };
    int            rc;

    fixture_must(ingest_open(&site->env, &ingest, &err), &err);
    while ((rc = ingest_step(ingest, &err)) > 0 || (rc == 0 && ingest_lag(ingest) > 0))
        ;
    fixture_must(rc, &err);
    *place = *ingest_place(ingest);
    ingest_close(ingest);
}

/* Every visible record of a topic, one after the other, each with its length. */
static inline struct buf topic_bytes(struct site *site, const char *topic)
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

static inline bool row_next(struct span *rest, struct row *out)
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

static inline void assert_same_topic(struct site *a, struct site *b, const char *topic)
{
    struct buf left = topic_bytes(a, topic), right = topic_bytes(b, topic);

    if (!span_equal(buf_span(&left), buf_span(&right)))
        fail_msg("topic %s: %zu and %zu bytes, or other ones", topic, left.bytes, right.bytes);
    assert_true(left.bytes > 0);
    buf_fini(&left);
    buf_fini(&right);
}

/* --- the role in a process of its own ---------------------------------------------------------- */

static inline pid_t site_start(struct site *site)
{
    pid_t pid = child_fork();

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

static inline void site_stop(struct site *site, pid_t pid)
{
    char byte = 0;
    int  status;

    assert_int_equal(write(site->stop[1], &byte, 1), 1);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(site->stop[0], &byte, 1), 1);
}

/* On a slow machine the role may be killed three times over one record, which is then rightly condemned; tests
 * that kill are about the others. Waits until a suspect is done with. */
static inline void site_wait_unsuspected(struct site *site)
{
    struct attempt_state state = { .suspect_count = 0 };
    char                 path[128];

    (void)snprintf(path, sizeof path, "%s/ingest.attempt", site->run);
    for (int tries = 0; tries < 6000; tries++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0) {
            assert_true(read(fd, &state, sizeof state) >= 0);
            close(fd);
        }
        if (state.suspect_count == 0)
            return;
        usleep(10000);
    }
    fail_msg("record %llu is suspected for a minute", (unsigned long long)state.suspects[0].mark);
}

/* --- killed before the n-th call --------------------------------------------------------------- */

static struct { int64_t left; } *io_left; /* shared with the child: mapped by the test */

/* An io_hook's `before`: ends the process at the call that io_left counts down to. */
static inline int end_at_call(void *ctx, struct io_call *call)
{
    (void)ctx;
    if (call->op == IO_PREAD || call->op == IO_SPACE) /* between two reads the disk is as it was before the first */
        return 0;
    if (--io_left->left < 0)
        (void)kill(getpid(), SIGKILL);
    return 0;
}

#endif
