/* event/upstream_row.h - finished rows as PostHog's ingestion puts them on Kafka, where its ClickHouse tables read them: one JSON
 * object a row, so that Penstock's ingest can stand in front of an existing warehouse (docs/replace-posthog.md).
 *
 *   events               -> clickhouse_events_json          key: the event's uuid; header productTrack
 *   persons              -> clickhouse_person               no key
 *   person_distinct_ids  -> clickhouse_person_distinct_id   no key
 *   groups               -> clickhouse_groups               no key
 *   heatmaps             -> clickhouse_heatmap_events       key: the event's uuid, on the rows that have it
 *   ingestion_warnings   -> clickhouse_ingestion_warnings   no key
 *   dead_letters         -> events_plugin_ingestion_dlq     the message as it was read, or one made of what was kept of it
 * Definitions have no topic there: another service makes them of the events. Receipts are Penstock's own.
 *
 * JSON columns are strings with JSON in them. Times are `YYYY-MM-DD HH:MM:SS`, in UTC, with milliseconds on what happened
 * (timestamp, created_at of an event, captured_at) and without on persons and groups: a row's microseconds are cut. The columns
 * group0_properties .. group4_created_at, $group_N, $window_id, $session_id and raw_offset are not in a message: the tables
 * make or default them. docs/compat.md has all of it field by field. */
#ifndef PENSTOCK_EVENT_UPSTREAM_ROW_H
#define PENSTOCK_EVENT_UPSTREAM_ROW_H

#include "event/record.h"
#include "event/row.h"
#include "event/upstream_message.h"

/* Where the records came from, for dead letters: they say on which topic, in which partition and at which offset the message is. */
struct upstream_source {
    const char *topics[INPUT_COUNT]; /* their names on Kafka; NULL: not on Kafka, and the letter does not say */
    int32_t     partition;
    unsigned    offset_shift; /* a place's offset is Kafka's, shifted by so many bits */
};

/* Of a row whose message is by `excess` bytes larger than brokers take: replaces the largest of its long columns by one that says how many
 * bytes were left out, in `note` (whose storage lives as long as the row). Of an event its person's properties go first where that is
 * enough: they stand in the person's own row, too. False: there is nothing left to take. */
enum { UPSTREAM_NOTE_BYTES = 48 };
bool upstream_row_shorten(struct row *row, size_t excess, char note[UPSTREAM_NOTE_BYTES]);

/* Appends the message's bytes to room, which stays where it is until they are no longer needed.
 * 1: *out; 0: there is no message for such a row; -1: ERR_FULL (room), ERR_CORRUPT (packed properties are damaged). */
int upstream_row_write(const struct row *row, const struct upstream_source *source, struct buf *room, struct upstream_message *out,
                       struct err *err) must_check;

/* The topic of rows of this table; false: there is none. */
bool upstream_row_topic(enum row_table table, enum upstream_topic *out);

#endif
