/* warehouse/clickhouse_kafka.c - the form in which ClickHouse reads the topics itself: a Kafka table and a view for each of
 * the tables that PostHog has, with the message forms of its topics (one JSON object a message).
 *
 * For those who keep PostHog's ClickHouse as it is. Rows are there at least once and not once: the engine commits offsets
 * after it has written, and repeats what lies between when it is stopped. Events that came twice are one row after a
 * merge (ReplacingMergeTree), and until then two. */
#include <stdio.h>

#include "warehouse/clickhouse.h"
#include "warehouse/clickhouse_schema.h"

int clickhouse_schema_kafka(struct buf *sql, const struct clickhouse_schema *schema, clickhouse_statement *each, void *ctx,
                            struct err *err) must_check;

struct feed {
    const char *name;    /* of the table that is filled; kafka_NAME reads */
    const char *topic, *group;
    unsigned    skip_broken;
    const char *columns; /* of a message */
    const char *select;  /* into the table's columns */
    const char *where;
};

/* Messages carry times as text, in UTC, whatever the server's own zone is; `best_effort` reads them all. */
static const struct feed feeds[] = {
    { "events", "clickhouse_events_json", "group1", 100,
      "uuid UUID, event String, properties String, timestamp DateTime64(6, 'UTC'), team_id Int64, distinct_id String, elements_chain String, "
      "created_at DateTime64(6, 'UTC'), person_id UUID, person_created_at DateTime64(3, 'UTC'), person_properties String, group0_properties String, "
      "group1_properties String, group2_properties String, group3_properties String, group4_properties String, "
      "group0_created_at DateTime64(3, 'UTC'), group1_created_at DateTime64(3, 'UTC'), group2_created_at DateTime64(3, 'UTC'), "
      "group3_created_at DateTime64(3, 'UTC'), group4_created_at DateTime64(3, 'UTC'), person_mode Enum8('full' = 0, 'propertyless' = 1, 'force_upgrade' = 2), "
      "captured_at Nullable(DateTime64(6, 'UTC')), project_id Int64, historical_migration Bool",
      "uuid, event, properties, timestamp, team_id, distinct_id, elements_chain, created_at, person_id, person_created_at, "
      "person_properties, group0_properties, group1_properties, group2_properties, group3_properties, group4_properties, "
      "group0_created_at, group1_created_at, group2_created_at, group3_created_at, group4_created_at, person_mode, captured_at, "
      "project_id, historical_migration", "" },
    { "person", "clickhouse_person", "group1", 0,
      "id UUID, created_at DateTime64(3, 'UTC'), team_id Int64, properties String, is_identified Int8, is_deleted Int8, version UInt64, "
      "last_seen_at Nullable(DateTime64(3, 'UTC'))",
      "id, created_at, team_id, properties, is_identified, is_deleted, version, last_seen_at", "" },
    { "person_distinct_id2", "clickhouse_person_distinct_id", "group1", 0,
      "team_id Int64, distinct_id String, person_id UUID, is_deleted Int8, version Int64",
      "team_id, distinct_id, person_id, is_deleted, version", "" },
    { "groups", "clickhouse_groups", "group1", 0,
      "group_type_index UInt8, group_key String, created_at DateTime64(3, 'UTC'), team_id Int64, group_properties String, version UInt64",
      "group_type_index, group_key, created_at, team_id, group_properties, version", "" },
    { "ingestion_warnings", "clickhouse_ingestion_warnings", "group1", 0,
      "team_id Int64, source LowCardinality(String), type String, details String, timestamp DateTime64(6, 'UTC')",
      "team_id, source, type, details, timestamp, JSONExtractString(details, 'category') AS category, "
      "JSONExtractString(details, 'severity') AS severity, JSONExtractString(details, 'distinctId') AS distinct_id, "
      "toUUIDOrNull(JSONExtractString(details, 'eventUuid')) AS event_uuid", "" },
    { "heatmaps", "clickhouse_heatmap_events", "group1", 100,
      "type LowCardinality(String), x Int16, y Int16, pointer_target_fixed Bool, viewport_height Int16, viewport_width Int16, "
      "current_url String, session_id String, scale_factor Int16, timestamp DateTime64(6, 'UTC'), team_id Int64, distinct_id String",
      "type, x, y, pointer_target_fixed, viewport_height, viewport_width, current_url, session_id, scale_factor, timestamp, team_id, "
      "distinct_id", "" },
};

int clickhouse_schema_kafka(struct buf *sql, const struct clickhouse_schema *schema, clickhouse_statement *each, void *ctx,
                            struct err *err)
{
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++) {
        const struct feed *feed = &feeds[i];

        buf_reset(sql);
        buf_add_format(sql, "CREATE TABLE IF NOT EXISTS `%s`.kafka_%s (%s) ENGINE = Kafka SETTINGS kafka_broker_list = ", schema->database,
                       feed->name, feed->columns);
        clickhouse_quote(sql, span_text(schema->brokers));
        buf_add_text(sql, ", kafka_topic_list = ");
        {
            char topic[200];

            (void)snprintf(topic, sizeof topic, "%s%s", schema->topic_prefix != NULL ? schema->topic_prefix : "", feed->topic);
            clickhouse_quote(sql, span_text(topic));
        }
        buf_add_format(sql, ", kafka_group_name = '%s', kafka_format = 'JSONEachRow', kafka_skip_broken_messages = %u, "
                            "date_time_input_format = 'best_effort', input_format_skip_unknown_fields = 1", feed->group, feed->skip_broken);
        buf_add_byte(sql, '\0');
        if (sql->failed || each(ctx, (const char *)sql->at, err) < 0)
            return sql->failed ? err_set(err, ERR_FULL, "no memory for a statement") : -1;
        buf_reset(sql);
        buf_add_format(sql, "CREATE MATERIALIZED VIEW IF NOT EXISTS `%s`.%s_mv TO `%s`.%s AS SELECT %s, _timestamp, _offset, _partition "
                            "FROM `%s`.kafka_%s%s", schema->database, feed->name, schema->database, feed->name, feed->select,
                       schema->database, feed->name, feed->where);
        buf_add_byte(sql, '\0');
        if (sql->failed || each(ctx, (const char *)sql->at, err) < 0)
            return sql->failed ? err_set(err, ERR_FULL, "no memory for a statement") : -1;
    }
    buf_reset(sql);
    return 0;
}
