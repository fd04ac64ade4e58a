/* parts: kafka
 *
 * log/log_carry_cluster_test.c - further topics at a real broker: kcat writes them and reads what came over, while who carries is killed
 * again and again. It is this program once more, with words (exec, as librdkafka's threads do not live through a fork). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child_test_kit.h"
#include "base/clock.h"
#include "log/kafka_client.h"
#include "log/kafka_partition.h"
#include "log/kafka_topics.h"
#include "log/kcat_test_kit.h"
#include "log/log_carry.h"
#include "log/upstream_hooks.h"

#define MUST(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)
#define UUID_HEAD "019c21ac-e950-7abc-8def-"
#define FURTHER "over, kinds ,late"
enum { PARTITIONS = 4, IDS = 20, EACH = 60, KILLS = 10, PATIENCE_US = 120000000, LINE_BYTES = 1000 };

static const char              *program;
static struct log_kafka_options kafka;
static struct upstream_hooks    hooks;
static char                     prefix[80];
static struct err               err;

static void log_settings(void)
{
    upstream_hooks_init(&hooks, &(struct upstream_hooks_options){ .records = true });
    kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = prefix, .partitions = PARTITIONS,
                                        .replication = 1, .form = LOG_FORM_UPSTREAM, .hooks = &hooks.hooks };
    if (kafka.brokers == NULL) {
        (void)fprintf(stderr, "PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...\n");
        exit(1);
    }
}

/* PREFIX: carries until it is killed, or stops when its standard input ends. */
static int carrier_main(const char *with_prefix)
{
    struct log_carry *carry;
    struct log       *log;
    char              byte;

    (void)snprintf(prefix, sizeof prefix, "%s", with_prefix);
    log_settings();
    if (log_open(&(struct log_options){ .kafka = &kafka }, &log, &err) < 0 ||
        log_carry_start(log, &(struct log_carry_options){ .from = FURTHER, .to = "raw" }, &carry, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    while (read(0, &byte, 1) > 0)
        continue;
    log_carry_stop(carry);
    log_close(log);
    return 0;
}

struct carrier { pid_t pid; int input; };

static struct carrier carrier_start(void)
{
    struct carrier carrier;
    int            ends[2];

    assert_int_equal(pipe(ends), 0);
    carrier.pid = child_fork();
    if (carrier.pid == 0) {
        (void)dup2(ends[0], 0);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(program, program, "carry", prefix, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[0]);
    carrier.input = ends[1];
    return carrier;
}

static void carrier_end(struct carrier *carrier, bool killed)
{
    int status;

    if (killed)
        assert_int_equal(kill(carrier->pid, SIGKILL), 0);
    (void)close(carrier->input);
    assert_true(waitpid(carrier->pid, &status, 0) == carrier->pid);
    assert_true(killed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void topic_make_for(const char *topic, uint32_t partitions, int64_t message_bytes_max)
{
    char                     name[200];
    struct kafka_topic_wish  wish = { .name = name, .partitions = partitions, .replication = 1, .message_bytes_max = message_bytes_max };
    struct kafka_topic_found found;
    rd_kafka_conf_t         *conf;
    rd_kafka_t              *client;

    (void)snprintf(name, sizeof name, "%s%s", prefix, topic);
    MUST(kafka_client_conf(kafka.brokers, NULL, KAFKA_CLIENT_PRODUCER, &conf, &err));
    MUST(kafka_client_new(KAFKA_CLIENT_PRODUCER, conf, &client, &err));
    MUST(kafka_topics_ensure(client, kafka.brokers, &wish, 1, PATIENCE_US, NULL, NULL, &found, &err));
    rd_kafka_destroy(client);
}

static void topic_make(const char *topic, uint32_t partitions)
{
    topic_make_for(topic, partitions, 0);
}

static void topics_new_for(int64_t message_bytes_max)
{
    static unsigned turn;

    (void)snprintf(prefix, sizeof prefix, "y%d_%lld_%u.", (int)getpid(), (long long)clock_wall_us(), turn++);
    log_settings();
    topic_make_for("events_plugin_ingestion", PARTITIONS, message_bytes_max);
    topic_make("over", 3); /* any number will do */
    topic_make("kinds", 1);
}

static void topics_new(void)
{
    topics_new_for(0);
}

struct message { char text[LINE_BYTES]; }; /* "partition|time|key|headers|value" */

/* What stands on a topic; how many. The caller's, from malloc. */
static size_t kcat_read(const char *topic, struct message **out)
{
    char   command[400];
    size_t count = 0, room = 0;
    FILE  *from;

    (void)snprintf(command, sizeof command, "kcat -C -b %s -t %s%s -o beginning -e -q -f '%%p|%%T|%%k|%%h|%%s\\n'", kafka.brokers, prefix, topic);
    from = popen(command, "r");
    assert_non_null(from);
    *out = NULL;
    for (;;) {
        if (count == room) {
            room = room == 0 ? 1024 : 2 * room;
            *out = realloc(*out, room * sizeof **out);
            assert_non_null(*out);
        }
        if (fgets((*out)[count].text, LINE_BYTES, from) == NULL)
            break;
        count++;
    }
    assert_int_equal(pclose(from), 0);
    return count;
}

/* What came again, the same to the byte and the millisecond, counts once here. */
static size_t copies_drop(struct message *all, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        size_t k = 0;

        while (k < kept && strcmp(all[k].text, all[i].text) != 0)
            k++;
        if (k == kept)
            all[kept++] = all[i];
    }
    return kept;
}

/* Until so many have come over. */
static size_t carried(size_t at_least, struct message **out)
{
    int64_t until_us = clock_mono_us() + PATIENCE_US;

    for (;;) {
        size_t count = kcat_read("events_plugin_ingestion", out);

        if (count >= at_least)
            return count;
        free(*out);
        if (clock_mono_us() > until_us)
            fail_msg("%zu of %zu messages came over", count, at_least);
        (void)usleep(200000);
    }
}

static void event_text(char to[LINE_BYTES], unsigned id, unsigned number)
{
    (void)snprintf(to, LINE_BYTES, "{\"uuid\":\"" UUID_HEAD "%06u%06u\",\"distinct_id\":\"u-%u\",\"ip\":\"203.0.113.7\",\"data\":\"{\\\"event\\\":"
                   "\\\"signup\\\",\\\"properties\\\":{\\\"n\\\":%u}}\",\"now\":\"2026-02-03T04:05:06Z\",\"token\":\"phc_alpha\",\"event\":\"signup\","
                   "\"timestamp\":\"2026-02-03T03:00:00Z\"}\n", id, number, id, number);
}

static unsigned home_of(unsigned id)
{
    char key[40];

    (void)snprintf(key, sizeof key, "phc_alpha:u-%u", id);
    return kafka_partition(span_text(key), PARTITIONS);
}

/* Whatever topic and partition it stands in, with or without a key; its bytes stay as they are. */
static void each_goes_where_its_id_is(void **state)
{
    static const struct { const char *topic, *flags; unsigned id; } events[] = {
        { "over", "-p 0 -k phc_alpha:u-1 -H token=phc_alpha -H distinct_id=u-1 -H session_id", 1 },
        { "over", "-p 1 -H token=phc_alpha -H distinct_id=u-2 -H force_disable_person_processing=true", 2 },
        { "over", "-p 2", 3 },
        { "kinds", "-H token=phc_alpha", 4 },
        { "kinds", "-H token=phc_alpha", 7 },
        { "late", "", 8 }, /* this topic is made when it is carried already */
    };
    enum { EVENTS = sizeof events / sizeof *events };
    struct message *there, *here;
    struct carrier  carrier;
    size_t          count, told = 0;
    unsigned        rubbish = 0;

    (void)state;
    topics_new();
    carrier = carrier_start();
    for (size_t i = 0; i < EVENTS; i++) {
        char text[LINE_BYTES];

        if (strcmp(events[i].topic, "late") == 0)
            topic_make("late", 2);
        event_text(text, events[i].id, 1);
        kcat_write(kafka.brokers, prefix, events[i].topic, events[i].flags, text);
    }
    kcat_write(kafka.brokers, prefix, "over", "-p 2 -H token=phc_alpha", "rubbish");
    for (int64_t until_us = clock_mono_us() + PATIENCE_US;;) {
        size_t all = carried(EVENTS + 1, &there);

        count = copies_drop(there, all);
        if (count > EVENTS)
            break;
        assert_true(clock_mono_us() < until_us);
        free(there);
    }
    carrier_end(&carrier, false);
    assert_int_equal(count, EVENTS + 1);
    for (size_t i = 0; i < count; i++) {
        char   id[40];
        size_t k = 0;

        if (strstr(there[i].text, "|rubbish\n") != NULL) {
            assert_int_equal(atoi(there[i].text), 2);
            rubbish++;
            continue;
        }
        for (; k < EVENTS; k++) {
            (void)snprintf(id, sizeof id, "\"distinct_id\":\"u-%u\"", events[k].id);
            if (strstr(there[i].text, id) != NULL)
                break;
        }
        assert_true(k < EVENTS);
        assert_int_equal((unsigned)atoi(there[i].text), home_of(events[k].id));
    }
    assert_int_equal(rubbish, 1);
    for (size_t i = 0; i < 3; i++) { /* time, key, headers, value */
        static const char *const from[] = { "over", "kinds", "late" };
        size_t                   sources = kcat_read(from[i], &here);

        for (size_t k = 0; k < sources; k++) {
            size_t at = 0;

            while (at < count && strcmp(strchr(here[k].text, '|'), strchr(there[at].text, '|')) != 0)
                at++;
            if (at == count)
                fail_msg("not there as it was: %s", here[k].text);
            told++;
        }
        free(here);
    }
    assert_int_equal(told, count);
    free(there);
}

/* The first copy of each stands behind the first copy of the one before it, and all copies are the same. */
static void check_order(const struct message *all, size_t count)
{
    unsigned    next[IDS] = { 0 };
    static char first[IDS][EACH][LINE_BYTES];

    for (size_t i = 0; i < count; i++) {
        const char *at = strstr(all[i].text, UUID_HEAD);
        unsigned    id, number;

        assert_non_null(at);
        assert_int_equal(sscanf(at + strlen(UUID_HEAD), "%6u%6u", &id, &number), 2);
        assert_true(id < IDS && number < EACH);
        assert_int_equal((unsigned)atoi(all[i].text), home_of(id));
        if (number > next[id])
            fail_msg("of u-%u, %u stands before %u", id, number, next[id]);
        if (number == next[id]) {
            (void)snprintf(first[id][number], LINE_BYTES, "%s", all[i].text);
            next[id]++;
        } else {
            assert_string_equal(all[i].text, first[id][number]);
        }
    }
    for (unsigned id = 0; id < IDS; id++)
        assert_int_equal(next[id], EACH);
}

static void killed_again_and_again(void **state)
{
    char           *text = malloc((size_t)IDS * LINE_BYTES);
    unsigned        seed = 4711;
    struct message *there;
    struct carrier  carrier;
    size_t          count;

    (void)state;
    assert_non_null(text);
    topics_new();
    for (unsigned number = 0; number < EACH; number++) {
        bool begins = number % (EACH / KILLS) == 0;

        if (begins)
            carrier = carrier_start();
        for (unsigned p = 0; p < 3; p++) { /* no key: an id's events stand in the partition that was taken for it, in order */
            char flags[20], *at = text;

            for (unsigned id = p; id < IDS; id += 3) {
                event_text(at, id, number);
                at += strlen(at);
            }
            (void)snprintf(flags, sizeof flags, "-p %u", p);
            kcat_write(kafka.brokers, prefix, "over", flags, text);
        }
        if (number % (EACH / KILLS) == EACH / KILLS - 1) {
            struct message *some;

            (void)carried((size_t)(number / 2) * IDS / 2, &some); /* it works before it dies, and is not done */
            free(some);
            (void)usleep((useconds_t)(rand_r(&seed) % 1500000));
            carrier_end(&carrier, true);
        }
    }
    carrier = carrier_start();
    for (int64_t until_us = clock_mono_us() + PATIENCE_US;;) {
        size_t known = 0;

        count = carried((size_t)IDS * EACH, &there);
        for (size_t i = 0; i < count; i++)
            known += strstr(there[i].text, "000059\"") != NULL;
        if (known >= IDS)
            break;
        assert_true(clock_mono_us() < until_us);
        free(there);
    }
    carrier_end(&carrier, false);
    check_order(there, count);
    print_message("           %zu messages, %zu came again\n", (size_t)IDS * EACH, count - (size_t)IDS * EACH);
    free(there);
    free(text);
}

/* --- what waits --------------------------------------------------------------------------------- */

struct told { _Atomic uint64_t carried, waiting, times, same; }; /* same: told so often without another number between */

static void on_carried(void *ctx, uint64_t messages) { ((struct told *)ctx)->carried += messages; }

static void on_waiting(void *ctx, uint64_t messages)
{
    struct told *told = ctx;

    told->same = told->times++ > 0 && told->waiting == messages ? told->same + 1 : 1;
    told->waiting = messages;
}

/* Until so many came over; and until it was said since, several times and nothing else, that so many wait. */
static void told_wait(struct told *told, uint64_t waiting, uint64_t carried_over)
{
    int64_t until_us = clock_mono_us() + PATIENCE_US;

    while (told->carried < carried_over)
        assert_true(clock_mono_us() < until_us);
    told->same = 0;
    while (told->waiting != waiting || told->same < 5) {
        if (clock_mono_us() > until_us)
            fail_msg("%llu wait, not %llu", (unsigned long long)told->waiting, (unsigned long long)waiting);
        (void)usleep(10000);
    }
}

static void what_waits_is_told(void **state)
{
    enum { SMALL = 9, LARGE_BYTES = 3000 };
    struct log_carry *carry;
    struct log       *log;
    struct told       told = { 0 };
    static char       text[LARGE_BYTES + SMALL * LINE_BYTES];
    size_t            at = LARGE_BYTES;

    (void)state;
    memset(text, 'x', LARGE_BYTES);
    text[LARGE_BYTES - 1] = '\n';
    for (unsigned n = 0; n < SMALL; n++) {
        event_text(text + at, n, n);
        at += strlen(text + at);
    }
    for (int stuck = 1; stuck >= 0; stuck--) { /* behind a message that is not taken; and without it */
        topics_new_for(2000);
        kcat_write(kafka.brokers, prefix, "kinds", "", stuck ? text : text + LARGE_BYTES);
        told = (struct told){ 0 };
        MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
        MUST(log_carry_start(log, &(struct log_carry_options){ .from = FURTHER, .to = "raw", .carried = on_carried, .waiting = on_waiting,
                                                               .ctx = &told }, &carry, &err));
        told_wait(&told, stuck ? SMALL + 1 : 0, stuck ? 0 : SMALL);
        log_carry_stop(carry);
        assert_true(told.waiting == 0);
        log_close(log);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_goes_where_its_id_is),
        cmocka_unit_test(what_waits_is_told),
        cmocka_unit_test(killed_again_and_again),
    };

    program = argv[0];
    if (argc == 3 && strcmp(argv[1], "carry") == 0)
        return carrier_main(argv[2]);
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
