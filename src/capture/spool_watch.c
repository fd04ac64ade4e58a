/* capture/spool_watch.c - see spool_watch.h. The committers count; this puts their counts where others can read them. */
#include "capture/spool_watch.h"

#include <stdio.h>
#include <stdlib.h>

/* X(field of struct log_commit_look, name, kind, help) */
#define WATCHED(X)                                                                                              \
    X(way, "capture_kafka_way", GAUGE, "0: the brokers answer; 1: this machine's disk does; 2: they take what it holds; 3: nobody does") \
    X(spool_records, "capture_spool_records", GAUGE, "records on this machine's disk that the brokers did not take yet") \
    X(spool_bytes, "capture_spool_bytes", GAUGE, "about how many bytes they have")                               \
    X(spooled_records, "capture_spooled_records_total", COUNTER, "records that this machine's disk answered for") \
    X(drained_records, "capture_drained_records_total", COUNTER, "of the spool, records that the brokers took")   \
    X(outages, "capture_kafka_outages_total", COUNTER, "how often the brokers did not answer in time")           \
    X(refused, "capture_kafka_refused_total", COUNTER, "group commits that were answered with no")               \
    X(messages, "capture_kafka_messages_total", COUNTER, "messages sent to the brokers, repeats included")       \
    X(message_bytes, "capture_kafka_message_bytes_total", COUNTER, "their bytes")                                \
    X(records, "capture_kafka_records_total", COUNTER, "records in them")                                        \
    X(replaced, "capture_kafka_too_large_total", COUNTER, "records that no message could hold: dead letters")     \
    X(lost, "capture_spool_damaged_records_total", COUNTER, "records of the spool that damage took")
#define WATCHED_ONE(field, name, kind, help) +1
enum { WATCHED_COUNT = 0 WATCHED(WATCHED_ONE), LANES_MAX = 4 };

struct spool_watch {
    struct metric_page *page;
    size_t              lanes;
    struct metric_def   defs[LANES_MAX * WATCHED_COUNT];
    char                labels[LANES_MAX][100];
};

int spool_watch_open(const char *folder, const char *const *topics, size_t count, struct spool_watch **out, struct err *err)
{
#define WATCHED_DEF(field, text, kind_, help_) { .name = text, .help = help_, .kind = METRIC_##kind_ },
    static const struct metric_def table[] = { WATCHED(WATCHED_DEF) };
    struct spool_watch            *watch = calloc(1, sizeof *watch);

    if (watch == NULL)
        return err_set(err, ERR_FULL, "no memory for metrics of the log on Kafka");
    /* All lanes of a metric stand together, as Prometheus wants them. */
    for (size_t lane = 0; lane < count; lane++) {
        (void)snprintf(watch->labels[lane], sizeof watch->labels[lane], "topic=\"%s\"", topics[lane]);
        for (size_t i = 0; i < WATCHED_COUNT; i++) {
            watch->defs[i * count + lane] = table[i];
            watch->defs[i * count + lane].labels = watch->labels[lane];
        }
    }
    if (metric_page_make(folder, "capture.kafka", watch->defs, count * WATCHED_COUNT, &watch->page, err) < 0) {
        free(watch);
        return -1;
    }
    watch->lanes = count;
    *out = watch;
    return 0;
}

int spool_watch_show(struct spool_watch *watch, struct err *err)
{
    return watch == NULL ? 0 : metric_page_show(watch->page, err);
}

void spool_watch_close(struct spool_watch *watch)
{
    if (watch == NULL)
        return;
    metric_page_close(watch->page);
    free(watch);
}

void spool_watch_note(struct spool_watch *watch, size_t lane, const struct log_commit_look *look)
{
#define WATCHED_VALUE(field, name, kind, help) (int64_t)look->field,
    const int64_t values[] = { WATCHED(WATCHED_VALUE) };

    for (size_t i = 0; i < WATCHED_COUNT; i++)
        metric_set(watch->page, i * watch->lanes + lane, values[i]);
}
