/* log/upstream_hooks.h - the log's topics in the form of PostHog's services (log.h: log_form_hooks): which of our topics is which
 * of theirs, and what becomes of records on the way (event/upstream_record.h, event/upstream_row.h).
 *
 *   raw, raw_historical        events_plugin_ingestion, events_plugin_ingestion_historical; with kinds_apart a record may belong on
 *                              another topic: overflow, dead letters, exceptions, heatmaps, ...
 *   replay                     session_recording_snapshot_item_events
 *   events, people, warnings, dead_letters, heatmaps
 *                              the topics that ClickHouse's tables read; a record of `people` goes to one of three
 *   raw_overflow, control, definitions, receipts
 *                              stay what they are: nobody there knows them
 * Messages of others are read in `raw` and `raw_historical` whatever is written: by content, message by message.
 *
 * Partitions: a record's messages stand in the partition of its key, `token:distinct_id`, also where the message shows no key.
 * So all that is known of an id, such as which events were there before, is known to one ingest. */
#ifndef PENSTOCK_LOG_UPSTREAM_HOOKS_H
#define PENSTOCK_LOG_UPSTREAM_HOOKS_H

#include "event/upstream_message.h"
#include "event/upstream_record.h"
#include "log/kafka_name.h"
#include "log/log.h"

struct upstream_hooks_options {
    bool   records;           /* raw, raw_historical and replay have their names and their form */
    bool   rows;              /* what ingest writes, too: then Penstock's own load cannot follow it */
    bool   kinds_apart;       /* for PostHog's ingestion, not for ours: struct upstream_form's `lanes` and `heatmap_split` */
    size_t message_bytes_max; /* 0: UPSTREAM_MESSAGE_BYTES_MAX */
    const char *names[UPSTREAM_TOPIC_COUNT]; /* NULL: the usual one */
    const char *prefix; /* of all topics at the brokers; NULL: none */
};

struct upstream_hooks {
    struct upstream_hooks_options options; /* fixed after init */
    struct upstream_form          form;
    char                          sources[INPUT_COUNT][KAFKA_TOPIC_NAME_BYTES_MAX + 1]; /* of records, with prefix: for dead letters; "": none */
    const char                   *apart[UPSTREAM_TOPIC_COUNT + 1]; /* with kinds_apart: where records may belong, ended by NULL */
    struct log_form_hooks         hooks;   /* for log_kafka_options; lives as long as this */
};

void upstream_hooks_init(struct upstream_hooks *hooks, const struct upstream_hooks_options *options);

#endif
