/* command/status_spool.c - out of the metrics that capture leaves in DIR/run (capture/spool_watch.c). */
#include "command/status_spool.h"

#include <stdio.h>

#include "base/metric.h"
#include "command/command.h"
#include "log/log_spool.h"

static const char *const topics[] = { "raw", "raw_historical", "replay" };
enum { TOPICS = sizeof topics / sizeof *topics };

struct spool_line { enum log_way way; double records, bytes, outages, replaced, sent, messages; };

static bool line_read(const char *data, size_t topic, struct spool_line *out)
{
    struct err ignored = { .kind = ERR_NONE };
    char       run[4096], label[80];
    double     way;

    *out = (struct spool_line){ .way = LOG_WAY_DIRECT };
    (void)snprintf(label, sizeof label, "topic=\"%s\"", topics[topic]);
    if (data_path(data, "run", run, sizeof run, &ignored) < 0 || !metric_read(run, "capture.kafka", "capture_kafka_way", label, &way))
        return false;
    out->way = way >= 0 && way < (double)LOG_WAY_COUNT ? (enum log_way)(int)way : LOG_WAY_AWAY;
    (void)metric_read(run, "capture.kafka", "capture_spool_records", label, &out->records);
    (void)metric_read(run, "capture.kafka", "capture_spool_bytes", label, &out->bytes);
    (void)metric_read(run, "capture.kafka", "capture_kafka_outages_total", label, &out->outages);
    (void)metric_read(run, "capture.kafka", "capture_kafka_too_large_total", label, &out->replaced);
    (void)metric_read(run, "capture.kafka", "capture_kafka_records_total", label, &out->sent);
    (void)metric_read(run, "capture.kafka", "capture_kafka_messages_total", label, &out->messages);
    return true;
}

void status_spool_text(const char *data)
{
    struct spool_line line;

    for (size_t i = 0; i < TOPICS; i++) {
        if (!line_read(data, i, &line) || (i > 0 && line.way == LOG_WAY_DIRECT))
            continue;
        switch (line.way) {
        case LOG_WAY_DIRECT: printf("\nkafka    the brokers take events; %.0f outages since the start\n", line.outages); break;
        case LOG_WAY_AWAY: printf("\nkafka    %s: the brokers are away, events are refused (log.spool is off)\n", topics[i]); break;
        case LOG_WAY_SPOOLING:
            printf("\nkafka    %s: the brokers are away: %.0f records wait in the spool, %.1f MB\n", topics[i], line.records, line.bytes / 1e6);
            break;
        default:
            printf("\nkafka    %s: the brokers are back: %.0f records of the spool are still to be sent, %.1f MB\n", topics[i], line.records,
                   line.bytes / 1e6);
        }
    }
}

void status_spool_json(const char *data, struct buf *out)
{
    struct spool_line line;
    bool              any = false;

    for (size_t i = 0; i < TOPICS; i++) {
        if (!line_read(data, i, &line))
            continue;
        buf_add_format(out, "%s\"%s\":{\"way\":\"%s\",\"spool_records\":%.0f,\"spool_bytes\":%.0f,\"outages\":%.0f,\"too_large\":%.0f,"
                       "\"records\":%.0f,\"messages\":%.0f}",
                       any ? "," : ",\n \"kafka\":{", topics[i], log_way_text(line.way), line.records, line.bytes, line.outages, line.replaced,
                       line.sent, line.messages);
        any = true;
    }
    if (any)
        buf_add_text(out, "}");
}
