/* ingest/testing_kafka.h - a site (testing_site.h) whose topics are at a real broker. Tests only.
 *
 * Its owners are this program, started again, and not only forked: base/child_test_kit.h says why. So a main() begins with
 * kafka_owner(). */
#ifndef PENSTOCK_INGEST_TESTING_KAFKA_H
#define PENSTOCK_INGEST_TESTING_KAFKA_H

#include <inttypes.h>

#include "base/child_test_kit.h"
#include "ingest/outputs.h"
#include "ingest/testing_site.h"

struct kafka_site {
    struct site              site;
    struct stores            stores;
    struct log_kafka_options kafka;
    char                     prefix[80];
};

/* What has to be known of the brokers; prefix: of its topics. */
static inline void kafka_site_stores(struct kafka_site *at, const char *prefix)
{
    if (getenv("PENSTOCK_TEST_KAFKA") == NULL)
        fail_msg("PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...");
    (void)snprintf(at->prefix, sizeof at->prefix, "%s", prefix);
    at->kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = at->prefix, .partitions = 1,
                                            .replication = 1 };
    at->stores = (struct stores){
        .log = { .backend = "kafka", .brokers = at->kafka.brokers, .topic_prefix = at->prefix, .partitions = 1, .replication = 1,
                 .form = "frames", .form_rows = "frames", .compression = "none", .frame_bytes_max = 1000000, .tls_ca = "", .tls_certificate = "", .tls_key = "",
                 .sasl = "none", .sasl_user = "", .sasl_password_file = "" },
        .people = { .backend = "lmdb", .url = "", .password_file = "" },
        .warehouse = { .backend = "duckdb" }, .catalog = { .backend = "sqlite" }
    };
    at->site.env.stores = &at->stores;
}

static inline void kafka_site_init(struct kafka_site *at, int64_t batch_records)
{
    static unsigned turn;
    struct site    *site = &at->site;
    char            prefix[sizeof at->prefix];
    struct err      err = { 0 };

    site_init(site, batch_records);
    log_writer_close(site->raw);
    log_close(site->log);
    (void)snprintf(prefix, sizeof prefix, "u%d_%lld_%u.", (int)getpid(), (long long)clock_mono_us(), turn++);
    kafka_site_stores(at, prefix);
    fixture_must(log_open(&(struct log_options){ .kafka = &at->kafka }, &site->log, &err), &err);
    fixture_must(log_writer_open(site->log, "raw", 0, &(struct log_topic_options){ .codec = LOG_CODEC_LZ4 }, &site->raw, &err), &err);
}

/* An owner of the site's unit in a process of its own: the role ("run"), which ends when it is told or killed; or ("finish") one
 * that ends when nothing is left, and after four minutes by SIGALRM. */
static inline pid_t kafka_owner_start(const struct kafka_site *at, const char *what)
{
    char  records[24], burst[24], stop[16];
    pid_t pid;

    (void)snprintf(records, sizeof records, "%" PRId64, at->site.options.batch_records);
    (void)snprintf(burst, sizeof burst, "%" PRId64, at->site.options.overflow_burst);
    (void)snprintf(stop, sizeof stop, "%d", at->site.stop[0]);
    pid = child_fork();
    if (pid == 0) {
        (void)execl("/proc/self/exe", "owner", "--owner", what, at->site.folder, at->prefix, records, burst, stop, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

/* True: this process was started as an owner, and has done what it was for; *out: what main returns. */
static inline bool kafka_owner(int argc, char **argv, int *out)
{
    static struct kafka_site at;
    struct site             *site = &at.site;
    struct people_place      place;
    struct err               err = { 0 };

    if (argc != 8 || strcmp(argv[1], "--owner") != 0)
        return false;
    (void)snprintf(site->folder, sizeof site->folder, "%s", argv[3]);
    (void)snprintf(site->run, sizeof site->run, "%s/run", argv[3]);
    option_defaults(ingest_role.options, &site->options);
    site->options.batch_records = strtoll(argv[5], NULL, 10);
    site->options.overflow_burst = strtoll(argv[6], NULL, 10);
    site->options.geoip_folder = "off";
    site->env = (struct role_env){ .data_folder = site->folder, .run_folder = site->run, .stop_fd = atoi(argv[7]), .options = &site->options };
    kafka_site_stores(&at, argv[4]);
    say_init("ingest", SAY_ERROR);
    *out = 0;
    if (strcmp(argv[2], "finish") == 0) {
        (void)alarm(240);
        site_finish(site, &place);
    } else if (ingest_role.run(&site->env, &err) < 0) {
        (void)fprintf(stderr, "owner: %s\n", err.text);
        *out = 1;
    }
    return true;
}

static inline uint64_t fates_sum(const struct people_place *place)
{
    uint64_t sum = 0;

    for (int i = 0; i < FATE_COUNT; i++)
        sum += place->counters[i];
    return sum;
}

#endif
