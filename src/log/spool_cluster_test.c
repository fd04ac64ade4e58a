/* parts: kafka:3 alone
 *
 * A committer on real brokers, while brokers are killed, stopped, and stand still, and while its own process is killed. A writer is
 * a process of its own (this program, started again), which notes in a shared file what it asked and what was answered. In the
 * end: everything that was answered with yes is at the brokers, the first copies of each key's records stand in the order in
 * which they were submitted, and copies have the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "log/frame.h"
#include "log/kafka_client.h"
#include "log/kafka_frame.h"
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

static const char *brokers(void)
{
    const char *at = getenv("PENSTOCK_TEST_KAFKA");

    if (at == NULL || getenv("PENSTOCK_TEST_KAFKA_CONTROL") == NULL)
        fail_msg("run this by tests/parts/with.py kafka:3 -- ...");
    return at;
}

static void sleep_us(int64_t us)
{
    struct timespec pause = { us / 1000000, us % 1000000 * 1000 };

    nanosleep(&pause, NULL);
}

/* --- the writer -------------------------------------------------------------------------------- */

/* Key, number, and bytes that follow from both. */
static void record_fill(uint8_t *at, size_t bytes, uint8_t key, uint64_t number)
{
    uint32_t mixed = (uint32_t)number * 2654435761u + key;

    at[0] = key;
    bytes_put_u64(at + 1, number);
    for (size_t i = 9; i < bytes; i++) {
        mixed = mixed * 1664525u + 1013904223u;
        at[i] = (uint8_t)(mixed >> 24);
    }
}

static bool record_is_right(struct span body)
{
    static uint8_t wanted[40 << 20];

    if (body.bytes < 9 || body.bytes > sizeof wanted)
        return false;
    record_fill(wanted, body.bytes, body.at[0], bytes_get_u64(body.at + 1));
    return memcmp(wanted, body.at, body.bytes) == 0;
}

static int key_of(void *ctx, const char *topic, struct span body, struct buf *room, struct span *out, struct err *err)
{
    (void)ctx;
    (void)topic;
    (void)room;
    (void)err;
    *out = span_of(body.at, 1);
    return 0;
}

static int shrink(void *ctx, const char *topic, struct span body, size_t bytes_max, struct log_batch *batch, struct err *err)
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

static void on_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
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

static void on_watch(void *ctx, const struct log_commit_look *look)
{
    (void)ctx;
    atomic_store(&shared->way, look->way);
    atomic_store(&shared->spool_records, look->spool_records);
    atomic_store(&shared->spooled_records, look->spooled_records);
    atomic_store(&shared->drained_records, look->drained_records);
    atomic_store(&shared->outages, look->outages);
}

struct writing {
    struct log_kafka_options kafka;
    struct log              *log;
    struct log_commit       *commit;
    struct asked             asked[64];
};

static int writing_begin(struct writing *writing, const char *spool_folder, struct err *err)
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

static void writing_end(struct writing *writing)
{
    log_commit_stop(writing->commit);
    for (size_t i = 0; i < sizeof writing->asked / sizeof *writing->asked; i++)
        log_batch_free(writing->asked[i].batch);
    log_close(writing->log);
}

/* One batch; false: all are under way, or there is no room. */
static bool writing_ask(struct writing *writing, uint32_t count, size_t bytes)
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

static struct shared *shared_map(const char *path, bool make)
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
static int writer_main(char **argv)
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

static pid_t writer_start(unsigned batches_a_second)
{
    char  rate[20];
    pid_t pid;

    (void)snprintf(rate, sizeof rate, "%u", batches_a_second);
    atomic_store(&shared->stop, false);
    pid = fork();
    if (pid == 0) {
        (void)execl("/proc/self/exe", "spool_cluster_test", "--writer", folder, topic_prefix, rate, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void wait_drained(void);
static void wait_way(enum log_way way);

/* What it had under way at its end may be in its spool: then it comes back, until that is at the brokers. */
static void writer_stop(pid_t pid)
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

/* --- the brokers ------------------------------------------------------------------------------- */

static void control(const char *line)
{
    static int         fd = -1;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char               answer[500] = "";
    size_t             bytes = 0;

    if (fd < 0) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("PENSTOCK_TEST_KAFKA_CONTROL"));
        if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
            fail_msg("control socket");
    }
    if (dprintf(fd, "%s\n", line) < 0)
        fail_msg("control socket");
    while (bytes < sizeof answer - 1 && memchr(answer, '\n', bytes) == NULL) {
        ssize_t got = read(fd, answer + bytes, sizeof answer - 1 - bytes);

        if (got <= 0)
            break;
        bytes += (size_t)got;
    }
    if (strcmp(answer, "ok\n") != 0)
        fail_msg("%s: %s", line, answer);
}

/* --- what arrived ------------------------------------------------------------------------------ */

static struct {
    uint32_t first[KEYS][NUMBERS]; /* place of the first copy among its partition's records, from 1; 0: none */
    uint64_t records, copies, frames, small;
    uint32_t places[PARTITIONS];
} seen;

static void message_see(const rd_kafka_message_t *message)
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
static void read_all(void)
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
static uint64_t missing(void)
{
    uint64_t count = 0;

    for (int key = 0; key < KEYS; key++)
        for (uint32_t number = 1; number <= atomic_load(&shared->asked[key]); number++)
            count += atomic_load(&shared->answered[key][number]) == 1 && seen.first[key][number] == 0;
    return count;
}

/* A broker that stood still leads, as it believes, and ends where it stood; a new leader ends, at first, where it knows that
 * others are. Both pass: what is there is found in the end. */
static void read_until_all(void)
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

static void check_all(void)
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
static void wait_drained(void)
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

static void wait_way(enum log_way way)
{
    int64_t until_us = clock_mono_us() + 60000000;

    while (atomic_load(&shared->way) != way) {
        if (clock_mono_us() > until_us)
            fail_msg("not %s after 60 s, but %s", log_way_text(way), log_way_text((enum log_way)atomic_load(&shared->way)));
        sleep_us(10000);
    }
}

static int begin(void **state)
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
    return 0;
}

static int end(void **state)
{
    char command[300];

    (void)state;
    (void)munmap(shared, sizeof *shared);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static double seconds(void)
{
    const char *at = getenv("PENSTOCK_SPOOL_OUTAGE_SECONDS");

    return at == NULL ? 10 : strtod(at, NULL);
}

/* --- tests ------------------------------------------------------------------------------------- */

static void brokers_take(void **state)
{
    pid_t pid = writer_start(200);

    (void)state;
    wait_way(LOG_WAY_DIRECT);
    sleep_us(2000000);
    wait_drained();
    sleep_us(1000000);
    wait_drained();
    writer_stop(pid);
    assert_int_equal(0, atomic_load(&shared->no));
    check_all();
    assert_int_equal(seen.records - seen.copies, (uint64_t)BATCH_RECORDS * atomic_load(&shared->batches));
    if (atomic_load(&shared->outages) == 0) /* brokers that were just started may take their time */
        assert_int_equal(0, seen.copies);
}

/* what is done to brokers; with them back, everything goes on. */
static void outage(const char *away, const char *back, bool all)
{
    pid_t    pid = writer_start(100);
    uint64_t before, during;
    int64_t  from_us, drained_us;

    wait_way(LOG_WAY_DIRECT);
    sleep_us(1000000);
    before = atomic_load(&shared->yes);
    control(away);
    if (all) {
        wait_way(LOG_WAY_SPOOLING);
        sleep_us((int64_t)(seconds() * 1e6));
        during = atomic_load(&shared->yes) - before;
        assert_true(during > 10);
        assert_int_equal(0, atomic_load(&shared->no));
    } else {
        sleep_us(5000000);
    }
    from_us = clock_mono_us();
    control(back);
    if (all)
        wait_drained();
    drained_us = clock_mono_us() - from_us;
    sleep_us(1000000);
    wait_drained();
    writer_stop(pid);
    print_message("    all at the brokers %.1f s after they came back\n", (double)drained_us / 1e6);
    assert_int_equal(0, atomic_load(&shared->no));
    assert_true(atomic_load(&shared->slowest_us) < 20000000);
    check_all();
}

static void brokers_stand_still(void **state) { (void)state; outage("pause", "resume", true); }
static void brokers_are_killed(void **state) { (void)state; outage("kill", "start", true); }
static void one_broker_is_killed(void **state) { (void)state; outage("kill 1", "start 1", false); }
static void one_broker_is_stopped(void **state) { (void)state; outage("stop 2", "start 2", false); }
static void one_broker_stands_still(void **state) { (void)state; outage("pause 3", "resume 3", false); }

static void writer_is_killed(void **state)
{
    unsigned seed = (unsigned)getpid();
    int      rounds = getenv("PENSTOCK_SPOOL_KILLS") == NULL ? 6 : atoi(getenv("PENSTOCK_SPOOL_KILLS"));

    (void)state;
    for (int round = 0; round < rounds; round++) {
        pid_t pid = writer_start(100);

        if (round % 3 == 1)
            control("pause"); /* its spool fills, or is full from the start */
        sleep_us(500000 + rand_r(&seed) % 2500000);
        if (round % 3 == 2)
            control("resume");
        sleep_us(rand_r(&seed) % 1500000);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        atomic_store(&shared->way, LOG_WAY_COUNT);
    }
    control("resume");
    {
        pid_t pid = writer_start(50);

        wait_way(LOG_WAY_DIRECT);
        wait_drained();
        writer_stop(pid);
    }
    assert_int_equal(0, atomic_load(&shared->no));
    check_all();
}

static void without_a_spool(void **state)
{
    static struct writing writing;
    struct err            err = { 0 };
    uint64_t              yes;

    (void)state;
    assert_int_equal(0, writing_begin(&writing, NULL, &err));
    wait_way(LOG_WAY_DIRECT);
    for (int i = 0; i < 6000 && atomic_load(&shared->yes) < 20; i++) { /* some may be refused: a new topic's leaders are not all known at once */
        (void)writing_ask(&writing, 5, RECORD_BYTES);
        sleep_us(10000);
    }
    for (int i = 0; i < 2000 && atomic_load(&shared->yes) + atomic_load(&shared->no) < atomic_load(&shared->batches); i++)
        sleep_us(10000);
    yes = atomic_load(&shared->yes);
    assert_true(yes >= 20);
    control("pause");
    atomic_store(&shared->slowest_us, 0);
    for (int i = 0; i < 60; i++) {
        (void)writing_ask(&writing, 5, RECORD_BYTES);
        sleep_us(50000);
    }
    assert_int_equal(yes, atomic_load(&shared->yes));
    assert_true(atomic_load(&shared->no) > 0);
    assert_true(atomic_load(&shared->slowest_us) < 2000000);
    control("resume");
    wait_way(LOG_WAY_DIRECT);
    yes = atomic_load(&shared->yes);
    for (int i = 0; i < 500 && atomic_load(&shared->yes) < yes + 20; i++) {
        (void)writing_ask(&writing, 5, RECORD_BYTES);
        sleep_us(50000);
    }
    assert_true(atomic_load(&shared->yes) >= yes + 20);
    writing_end(&writing);
    check_all();
}

/* A record that is larger than any topic takes, and many that are as large as one may be. */
static void sizes(void **state)
{
    static const size_t bytes[] = { 100, 900000, 999900, 1000000, 1100000, 5 << 20, (31 << 20) };
    static struct writing writing;
    struct err            err = { 0 };
    char                  spool_folder[200];

    (void)state;
    (void)snprintf(spool_folder, sizeof spool_folder, "%s/spool", folder);
    assert_int_equal(0, writing_begin(&writing, spool_folder, &err));
    wait_way(LOG_WAY_DIRECT);
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        for (int k = 0; k < 2000 && !writing_ask(&writing, 1, bytes[i]); k++)
            sleep_us(10000);
        assert_true(writing_ask(&writing, 3, 200));
    }
    for (int i = 0; i < 3000 && atomic_load(&shared->yes) + atomic_load(&shared->no) < atomic_load(&shared->batches); i++)
        sleep_us(10000);
    wait_drained();
    writing_end(&writing);
    assert_int_equal(0, atomic_load(&shared->no));
    check_all();
    assert_int_equal(0, seen.small);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(brokers_take, begin, end),
        cmocka_unit_test_setup_teardown(sizes, begin, end),
        cmocka_unit_test_setup_teardown(brokers_stand_still, begin, end),
        cmocka_unit_test_setup_teardown(one_broker_is_killed, begin, end),
        cmocka_unit_test_setup_teardown(one_broker_is_stopped, begin, end),
        cmocka_unit_test_setup_teardown(one_broker_stands_still, begin, end),
        cmocka_unit_test_setup_teardown(brokers_are_killed, begin, end),
        cmocka_unit_test_setup_teardown(without_a_spool, begin, end),
        cmocka_unit_test_setup_teardown(writer_is_killed, begin, end),
    };

    if (argc == 5 && strcmp(argv[1], "--writer") == 0)
        return writer_main(argv);
    if (getenv("PENSTOCK_SPOOL_ONLY") != NULL)
        cmocka_set_test_filter(getenv("PENSTOCK_SPOOL_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
