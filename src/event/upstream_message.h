/* event/upstream_message.h - a message in the forms that PostHog's own services put on Kafka: what stands beside its value.
 *
 * Knows nothing of Kafka: whoever sends or receives hands bytes over. One message is a topic, a key (or none: any
 * partition will do), a value, and headers, whose order is kept. A header's value may be missing (null), which readers
 * treat as if the header was not there.
 *
 * Topics have names that installations change; here they are numbers, with the names they have unless told otherwise. */
#ifndef PENSTOCK_EVENT_UPSTREAM_MESSAGE_H
#define PENSTOCK_EVENT_UPSTREAM_MESSAGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* X(suffix, name, name in the configuration) */
#define UPSTREAM_TOPICS(X)                                                                                      \
    /* what capture writes and ingest reads: event/upstream_record.h */                                         \
    X(ANALYTICS, "events_plugin_ingestion", "analytics")                                                        \
    X(OVERFLOW, "events_plugin_ingestion_overflow", "overflow")                                                 \
    X(HISTORICAL, "events_plugin_ingestion_historical", "historical")                                           \
    X(EXCEPTIONS, "error_tracking_events", "exceptions")                                                        \
    X(HEATMAPS, "heatmaps_ingestion", "heatmaps")                                                               \
    X(CLIENT_WARNINGS, "ingestion-clientwarnings-main-1", "client_warnings")                                    \
    X(LLM, "events_plugin_ingestion_ai", "llm")                                                                 \
    X(REPLAY, "session_recording_snapshot_item_events", "replay")                                               \
    X(DEAD_LETTERS, "events_plugin_ingestion_dlq", "dead_letters")                                              \
    /* what ingest writes and warehouses read: event/upstream_row.h */                                          \
    X(ROW_EVENTS, "clickhouse_events_json", "row_events")                                                       \
    X(ROW_PERSONS, "clickhouse_person", "row_persons")                                                          \
    X(ROW_DISTINCT_IDS, "clickhouse_person_distinct_id", "row_distinct_ids")                                    \
    X(ROW_GROUPS, "clickhouse_groups", "row_groups")                                                            \
    X(ROW_HEATMAPS, "clickhouse_heatmap_events", "row_heatmaps")                                                \
    X(ROW_WARNINGS, "clickhouse_ingestion_warnings", "row_warnings")
#define UPSTREAM_TOPIC_ENUM(suffix, name, key) UPSTREAM_##suffix,
enum upstream_topic { UPSTREAM_TOPICS(UPSTREAM_TOPIC_ENUM) UPSTREAM_TOPIC_COUNT };

/* The name it has unless the configuration says another; without any prefix. */
const char *upstream_topic_name(enum upstream_topic topic);
/* What the configuration calls it. */
const char *upstream_topic_key(enum upstream_topic topic);

enum {
    UPSTREAM_HEADERS_MAX = 24,
    UPSTREAM_MESSAGE_BYTES_MAX = 1000000 /* of a value: what a broker takes unless told otherwise, less what it adds */
};

struct upstream_header {
    struct span name, value;
    bool        null; /* there is no value */
};

struct upstream_message {
    enum upstream_topic    topic; /* of a message that was read: not looked at */
    bool                   has_key;
    struct span            key, value;
    size_t                 header_count;
    struct upstream_header headers[UPSTREAM_HEADERS_MAX];
};

/* The value of the last header of this name; false: there is none, or it is null. */
bool upstream_header_find(const struct upstream_message *message, const char *name, struct span *value_out);
/* Ignored when there are UPSTREAM_HEADERS_MAX: readers may be given more than anybody asks for. */
void upstream_header_add(struct upstream_message *message, struct span name, struct span value);
void upstream_header_add_null(struct upstream_message *message, struct span name);

/* The message as one line of JSON, for files and for people, and back:
 *   {"topic":"...","key":"..."|null,"headers":{"name":"text"|null,...},"value":"..."}
 * Bytes that are no UTF-8 come out as U+FFFD; a topic of another name reads as ANALYTICS. */
void upstream_message_write_line(const struct upstream_message *message, struct buf *out);
/* Spans point into the line and the arena. ERR_INPUT: it is none; ERR_FULL: the arena. */
int upstream_message_read_line(struct span line, struct arena *arena, struct upstream_message *out, struct err *err) must_check;

#endif
