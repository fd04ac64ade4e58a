/* ingest/testing_kafka.h - a site (testing_site.h) whose topics are at a real broker. Tests only. */
#ifndef PENSTOCK_INGEST_TESTING_KAFKA_H
#define PENSTOCK_INGEST_TESTING_KAFKA_H

#include "ingest/outputs.h"
#include "ingest/testing_site.h"

struct kafka_site {
    struct site              site;
    struct stores            stores;
    struct log_kafka_options kafka;
    char                     prefix[80];
};

static inline void kafka_site_init(struct kafka_site *at, int64_t batch_records)
{
    static unsigned turn;
    struct site    *site = &at->site;
    struct err      err = { 0 };

    if (getenv("PENSTOCK_TEST_KAFKA") == NULL)
        fail_msg("PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...");
    site_init(site, batch_records);
    log_writer_close(site->raw);
    log_close(site->log);
    (void)snprintf(at->prefix, sizeof at->prefix, "u%d_%lld_%u.", (int)getpid(), (long long)clock_mono_us(), turn++);
    at->kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = at->prefix, .partitions = 1,
                                            .replication = 1 };
    at->stores = (struct stores){
        .log = { .backend = "kafka", .brokers = at->kafka.brokers, .topic_prefix = at->prefix, .partitions = 1, .replication = 1,
                 .form = "frames", .form_rows = "frames", .compression = "none", .frame_bytes_max = 1000000, .tls_ca = "", .tls_certificate = "", .tls_key = "",
                 .sasl = "none", .sasl_user = "", .sasl_password_file = "" },
        .people = { .backend = "lmdb", .url = "", .password_file = "" },
        .warehouse = { .backend = "duckdb" }, .catalog = { .backend = "sqlite" }
    };
    site->env.stores = &at->stores;
    fixture_must(log_open(&(struct log_options){ .kafka = &at->kafka }, &site->log, &err), &err);
    fixture_must(log_writer_open(site->log, "raw", 0, &(struct log_topic_options){ .codec = LOG_CODEC_LZ4 }, &site->raw, &err), &err);
}

static inline uint64_t fates_sum(const struct people_place *place)
{
    uint64_t sum = 0;

    for (int i = 0; i < FATE_COUNT; i++)
        sum += place->counters[i];
    return sum;
}

#endif
