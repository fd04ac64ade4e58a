/* log/spool_cluster_test_kit.h - a committer on real brokers, in a process of its own (the test's program, started again), which notes in
 * a shared file what it asked and what was answered; and a reader of the topic that holds it against that: everything that was
 * answered with yes is at the brokers, the first copies of each key's records stand in the order in which they were submitted, and
 * copies have the same bytes. Included by tests only; their main() begins with writer_asked_for(). */
#ifndef PENSTOCK_LOG_SPOOL_CLUSTER_TEST_KIT_H
#define PENSTOCK_LOG_SPOOL_CLUSTER_TEST_KIT_H

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/child_test_kit.h"
#include "base/clock.h"
#include "log/frame.h"
#include "log/kafka_client.h"
#include "log/kafka_control_test_kit.h"
#include "log/kafka_frame.h"
#include "log/kafka_key_test_kit.h"
#include "log/log_spool.h"

enum { KEYS = 16, NUMBERS = 60000, PARTITIONS = 6, RECORD_BYTES = 300, BATCH_RECORDS = 20 };

struct shared {
    _Atomic uint32_t asked[KEYS];
    _Atomic uint8_t  answered[KEYS][NUMBERS]; /* 1: yes, 2: no */
    _Atomic uint64_t batches, yes, no;
    _Atomic int64_t  slowest_us; /* of an answer */
    _Atomic uint32_t way;
    _Atomic uint64_t spool_records, spooled_records, drained_records, outages;
    atomic_bool      stop;
};

static struct shared *shared;
static char           folder[100];
static char           topic_prefix[100];

static inline const char *brokers(void)
{
    const char *at = getenv("PENSTOCK_TEST_KAFKA");

    if (at == NULL || getenv("PENSTOCK_TEST_KAFKA_CONTROL") == NULL)
        fail_msg("run this by tests/parts/with.py kafka:3 -- ...");
    return at;
}

static inline void sleep_us(int64_t us)
{
    struct timespec pause = { us / 1000000, us % 1000000 * 1000 };

    nanosleep(&pause, NULL);
}

/* --- the writer -------------------------------------------------------------------------------- */

/* Key, number, and bytes that follow from both. */
static inline void record_fill(uint8_t *at, size_t bytes, uint8_t key, uint64_t number)
{
    uint32_t mixed = (uint32_t)number * 2654435761u + key;

    at[0] = key;
    bytes_put_u64(at + 1, number);
    for (size_t i = 9; i < bytes; i++) {
        mixed = mixed * 1664525u + 1013904223u;
        at[i] = (uint8_t)(mixed >> 24);
    }
}

static inline bool record_is_right(struct span body)
{
    static uint8_t wanted[40 << 20];

    if (body.bytes < 9 || body.bytes > sizeof wanted)
        return false;
    record_fill(wanted, body.bytes, body.at[0], bytes_get_u64(body.at + 1));
    return memcmp(wanted, body.at, body.bytes) == 0;
}

static inline int shrink(void *ctx, const char *topic, struct span body, size_t bytes_max, struct log_batch *batch, struct err *err)
{
    uint8_t small[40];

    (void)ctx;
    (void)topic;
    (void)bytes_max;
    record_fill(small, sizeof small, body.at[0], bytes_get_u64(body.at + 1));
    return log_batch_add(batch, span_of(small, sizeof small), err);
}

static const struct log_form_hooks hooks = { .key = key_of, .too_large = shrink };

struct asked {
    struct log_batch *batch;
    struct { uint8_t key; uint32_t number; } records[BATCH_RECORDS];
    uint32_t          count;
    int64_t           at_us;
    atomic_bool       free;
    enum err_kind     kind;
};

static inline void on_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct asked *asked = ctx;
    int64_t       took_us = clock_mono_us() - asked->at_us;

    (void)batch_take;
    for (uint32_t i = 0; i < asked->count; i++)
        atomic_store(&shared->answered[asked->records[i].key][asked->records[i].number], result->ok ? 1 : 2);
    atomic_fetch_add(result->ok ? &shared->yes : &shared->no, 1);
    if (took_us > atomic_load(&shared->slowest_us))
        atomic_store(&shared->slowest_us, took_us);
    asked->kind = result->ok ? ERR_NONE : result->err.kind;
    atomic_store(&asked->free, true);
}

static inline void on_watch(void *ctx, const struct log_commit_look *look)
{
    (void)ctx;
    atomic_store(&shared->way, look->way);
    atomic_store(&shared->spool_records, look->spool_records);
    atomic_store(&shared->spooled_records, look->spooled_records);
    atomic_store(&shared->drained_records, look->drained_records);
    if (look->outages > atomic_load(&shared->outages)) /* a writer that sends what the one before left knows of none */
        atomic_store(&shared->outages, look->outages);
}

struct writing {
    struct log_kafka_options kafka;
    struct log              *log;
    struct log_commit       *commit;
    struct asked             asked[64];
};

static inline int writing_begin(struct writing *writing, const char *spool_folder, struct err *err)
{
    struct log_options        options = { .kafka = &writing->kafka };
    struct log_topic_options  topic = { .codec = LOG_CODEC_LZ4, .for_commit = true };
    struct log_commit_options commit = { .watch = on_watch };
    struct log_writer        *writer = NULL;

    writing->kafka = (struct log_kafka_options){ .brokers = brokers(), .topic_prefix = topic_prefix, .partitions = PARTITIONS, .replication = 3,
                                                 .hooks = &hooks, .spool_folder = spool_folder, .linger_us = 2000 };
    if (log_open(&options, &writing->log, err) < 0)
        return -1;
    if (log_writer_open(writing->log, "raw", 0, &topic, &writer, err) < 0) {
        log_close(writing->log);
        return -1;
    }
    if (log_commit_start(writer, &commit, &writing->commit, err) < 0) {
        log_writer_close(writer);
        log_close(writing->log);
        return -1;
    }
    for (size_t i = 0; i < sizeof writing->asked / sizeof *writing->asked; i++) {
        writing->asked[i].batch = log_batch_new();
        atomic_init(&writing->asked[i].free, true);
    }
    return 0;
}

static inline void writing_end(struct writing *writing)
{
    log_commit_stop(writing->commit);
    for (size_t i = 0; i < sizeof writing->asked / sizeof *writing->asked; i++)
        log_batch_free(writing->asked[i].batch);
    log_close(writing->log);
}

/* One batch; false: all are under way, or there is no room. */
static inline bool writing_ask(struct writing *writing, uint32_t count, size_t bytes)
{
    static uint32_t turn;
    struct asked   *asked = NULL;
    struct err      err = { 0 };

    for (size_t i = 0; asked == NULL && i < sizeof writing->asked / sizeof *writing->asked; i++)
        if (atomic_load(&writing->asked[i].free))
            asked = &writing->asked[i];
    if (asked == NULL)
        return false;
    log_batch_reset(asked->batch);
    asked->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t  key = (uint8_t)(turn++ % KEYS);
        uint32_t number = atomic_fetch_add(&shared->asked[key], 1) + 1;
        uint8_t *at = log_batch_begin(asked->batch, bytes);

        if (number >= NUMBERS || at == NULL)
            abort();
        asked->records[i].key = key;
        asked->records[i].number = number;
        record_fill(at, bytes, key, number);
        log_batch_end(asked->batch, bytes);
    }
    asked->at_us = clock_mono_us();
    atomic_store(&asked->free, false);
    atomic_fetch_add(&shared->batches, 1);
    if (log_commit_submit(writing->commit, asked->batch, on_done, asked, &err) == 0)
        return true;
    for (uint32_t i = 0; i < count; i++)
        atomic_store(&shared->answered[asked->records[i].key][asked->records[i].number], 2);
    atomic_fetch_add(&shared->no, 1);
    atomic_store(&asked->free, true);
    return false;
}

static inline struct shared *shared_map(const char *path, bool make)
{
    int   fd = open(path, O_RDWR | (make ? O_CREAT | O_TRUNC : 0), 0600);
    void *at;

    if (fd < 0 || (make && ftruncate(fd, sizeof(struct shared)) < 0))
        return NULL;
    at = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return at == MAP_FAILED ? NULL : at;
}

/* --writer FOLDER PREFIX BATCHES_A_SECOND: until it is told to stop, or killed. */
static inline int writer_main(char **argv)
{
    static struct writing writing;
    char                  path[200], spool_folder[200];
    struct err            err = { 0 };
    int64_t               pause_us = 1000000 / strtoll(argv[4], NULL, 10);

    (void)snprintf(folder, sizeof folder, "%s", argv[2]);
    (void)snprintf(topic_prefix, sizeof topic_prefix, "%s", argv[3]);
    (void)snprintf(path, sizeof path, "%s/shared", folder);
    (void)snprintf(spool_folder, sizeof spool_folder, "%s/spool", folder);
    shared = shared_map(path, false);
    if (shared == NULL || writing_begin(&writing, spool_folder, &err) < 0) {
        (void)fprintf(stderr, "writer: %s\n", err.text);
        return 1;
    }
    while (!atomic_load(&shared->stop)) {
        (void)writing_ask(&writing, BATCH_RECORDS, RECORD_BYTES);
        sleep_us(pause_us);
    }
    writing_end(&writing);
    return 0;
}

static inline pid_t writer_start(unsigned batches_a_second)
{
    char  rate[20];
    pid_t pid;

    (void)snprintf(rate, sizeof rate, "%u", batches_a_second);
    atomic_store(&shared->stop, false);
    pid = child_fork();
    if (pid == 0) {
        (void)execl("/proc/self/exe", "writer", "--writer", folder, topic_prefix, rate, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static inline void wait_drained(void);
static inline void wait_way(enum log_way way);

/* What it had under way at its end may be in its spool: then it comes back, until that is at the brokers. */
static inline void writer_stop(pid_t pid)
{
    for (int turn = 0; turn < 10; turn++) {
        int status = 0;

        atomic_store(&shared->stop, true);
        assert_int_equal(pid, waitpid(pid, &status, 0));
        assert_int_equal(0, status);
        if (atomic_load(&shared->spool_records) == 0)
            return;
        atomic_store(&shared->way, LOG_WAY_COUNT);
        pid = writer_start(5);
        wait_way(LOG_WAY_DIRECT);
        wait_drained();
    }
    fail_msg("the writer's spool is never empty at its end");
}

/* --- what arrived ------------------------------------------------------------------------------ */

static struct {
    uint32_t first[KEYS][NUMBERS]; /* place of the first copy among its partition's records, from 1; 0: none */
    uint64_t records, copies, frames, small;
    uint32_t places[PARTITIONS];
} seen;

static inline void message_see(const rd_kafka_message_t *message)
{
    struct kafka_frame frame;
    struct span        raw, whole = span_of(message->payload, message->len);
    uint8_t           *buf = NULL;
    size_t             size = 0;
    struct err         err;
    const uint8_t     *at;

    assert_true(kafka_frame_get(whole, &frame));
    assert_int_equal(1, kafka_frame_body(whole, &frame, &buf, &size, &raw, &err));
    at = raw.at;
    seen.frames++;
    for (uint32_t i = 0; i < frame.count; i++) {
        uint32_t    bytes = bytes_get_u32(at + 4), place = ++seen.places[message->partition];
        struct span body = span_of(at + RECORD_HEADER_BYTES, bytes);
        uint64_t    number;

        if (!record_is_right(body))
            fail_msg("a record of %u bytes has other bytes than those that were sent", bytes);
        number = bytes_get_u64(body.at + 1);
        assert_true(body.at[0] < KEYS && number < NUMBERS);
        seen.records++;
        seen.small += bytes == 40;
        if (seen.first[body.at[0]][number] == 0)
            seen.first[body.at[0]][number] = place;
        else
            seen.copies++;
        at += RECORD_HEADER_BYTES + frame_padded(bytes);
    }
    free(buf);
}

/* Reads the topic from its beginning to its end. */
static inline void read_all(void)
{
    rd_kafka_conf_t                 *conf = NULL;
    rd_kafka_t                      *client = NULL;
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(PARTITIONS);
    char                             name[150];
    int                              ends = 0;
    struct err                       err = { 0 };
    int64_t                          until_us = clock_mono_us() + 60000000;

    memset(&seen, 0, sizeof seen);
    assert_int_equal(0, kafka_client_conf(brokers(), NULL, KAFKA_CLIENT_CONSUMER, &conf, &err));
    assert_int_equal(0, kafka_client_set(conf, "group.id", "test", &err));
    assert_int_equal(0, kafka_client_set(conf, "enable.partition.eof", "true", &err));
    assert_int_equal(0, kafka_client_set(conf, "auto.offset.reset", "earliest", &err));
    assert_int_equal(0, kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &client, &err));
    (void)rd_kafka_poll_set_consumer(client);
    (void)snprintf(name, sizeof name, "%sraw", topic_prefix);
    for (int32_t p = 0; p < PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(all, name, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(0, rd_kafka_assign(client, all));
    while (ends < PARTITIONS && clock_mono_us() < until_us) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 500);

        if (message == NULL)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            ends++;
        else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            message_see(message);
        rd_kafka_message_destroy(message);
    }
    assert_int_equal(PARTITIONS, ends);
    rd_kafka_topic_partition_list_destroy(all);
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

/* Records that were answered with yes and are not there. */
static inline uint64_t missing(void)
{
    uint64_t count = 0;

    for (int key = 0; key < KEYS; key++)
        for (uint32_t number = 1; number <= atomic_load(&shared->asked[key]); number++)
            count += atomic_load(&shared->answered[key][number]) == 1 && seen.first[key][number] == 0;
    return count;
}

/* A broker that stood still leads, as it believes, and ends where it stood; a new leader ends, at first, where it knows that
 * others are. Both pass: what is there is found in the end. */
static inline void read_until_all(void)
{
    int64_t until_us = clock_mono_us() + 40000000;

    for (;;) {
        read_all();
        if (missing() == 0 || clock_mono_us() > until_us)
            return;
        print_message("    %llu are not to be seen yet: reading again\n", (unsigned long long)missing());
        sleep_us(1000000);
    }
}

static inline void check_all(void)
{
    uint64_t yes = 0;

    read_until_all();
    for (int key = 0; key < KEYS; key++) {
        uint32_t last = 0;

        for (uint32_t number = 1; number <= atomic_load(&shared->asked[key]); number++) {
            uint32_t place = seen.first[key][number];

            if (atomic_load(&shared->answered[key][number]) != 1)
                continue;
            yes++;
            if (place == 0)
                fail_msg("key %d: record %u was answered with yes and is not there", key, number);
            if (place < last)
                fail_msg("key %d: record %u stands before one that was submitted earlier", key, number);
            last = place;
        }
    }
    print_message("    %llu records answered with yes, %llu at the brokers in %llu frames, %llu of them copies; slowest answer %.3f s; "
                  "%llu over the disk, %llu outages\n", (unsigned long long)yes, (unsigned long long)seen.records,
                  (unsigned long long)seen.frames, (unsigned long long)seen.copies, (double)atomic_load(&shared->slowest_us) / 1e6,
                  (unsigned long long)atomic_load(&shared->spooled_records), (unsigned long long)atomic_load(&shared->outages));
    assert_true(yes > 0);
}

/* Waits until the way is DIRECT and the spool is empty. */
static inline void wait_drained(void)
{
    int64_t until_us = clock_mono_us() + 120000000;

    while (clock_mono_us() < until_us) {
        if (atomic_load(&shared->way) == LOG_WAY_DIRECT && atomic_load(&shared->spool_records) == 0)
            return;
        sleep_us(50000);
    }
    fail_msg("the spool is not empty after 120 s: %llu records, %s", (unsigned long long)atomic_load(&shared->spool_records),
             log_way_text((enum log_way)atomic_load(&shared->way)));
}

static inline void wait_way(enum log_way way)
{
    int64_t until_us = clock_mono_us() + 60000000;

    while (atomic_load(&shared->way) != way) {
        if (clock_mono_us() > until_us)
            fail_msg("not %s after 60 s, but %s", log_way_text(way), log_way_text((enum log_way)atomic_load(&shared->way)));
        sleep_us(10000);
    }
}

static inline int begin(void **state)
{
    static unsigned turn;
    char            path[200];

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-spool.XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(topic_prefix, sizeof topic_prefix, "t%d_%u_", (int)getpid(), turn++);
    (void)snprintf(path, sizeof path, "%s/shared", folder);
    shared = shared_map(path, true);
    assert_non_null(shared);
    atomic_store(&shared->way, LOG_WAY_COUNT); /* a writer that did not begin yet has none */
    return 0;
}

static inline int end(void **state)
{
    char command[300];

    (void)state;
    (void)munmap(shared, sizeof *shared);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* In main(), first: whether this is a writer's process, which then has ended with *code_out; otherwise which tests are wanted. */
static inline bool writer_asked_for(int argc, char **argv, int *code_out)
{
    if (argc == 5 && strcmp(argv[1], "--writer") == 0) {
        *code_out = writer_main(argv);
        return true;
    }
    if (getenv("PENSTOCK_SPOOL_ONLY") != NULL)
        cmocka_set_test_filter(getenv("PENSTOCK_SPOOL_ONLY"));
    return false;
}

#endif
