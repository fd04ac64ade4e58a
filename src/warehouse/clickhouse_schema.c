/* warehouse/clickhouse_schema.c - see clickhouse_schema.h.
 *
 * Columns of ours in tables that PostHog has: where a row comes from (_partition, _topic beside its own _offset), for rows
 * are left out that are there already; raw_offset, captured_at, project_id, historical_migration.
 * What PostHog works out of `properties` ($session_id and so on) is a default here and not materialized: ingest has worked
 * it out already, and a column of that kind takes it from us and still works it out for others.
 *
 * Deduplication windows are by inserted blocks, of all loaders together: 10,000 is more than an hour of ten loaders. They
 * bridge seconds, a request whose answer was lost; what is older is found by where rows come from.
 * fsync_after_insert: a row that was answered for may be deleted from the log. */
#include "warehouse/clickhouse_schema.h"

#include <stdio.h>
#include <string.h>

#include "warehouse/clickhouse.h"

enum { DDL_BYTES_MAX = 64 << 10 };

#define NULLABLE(type) (CLICKHOUSE_##type | CLICKHOUSE_NULLABLE)
#define OWN_COLUMNS                                                              \
    { "_timestamp", CLICKHOUSE_NOW, 0, "DateTime" },                             \
    { "_offset", CLICKHOUSE_OFFSET, 0, "UInt64" },                               \
    { "_partition", CLICKHOUSE_UNIT, 0, "UInt64" },                              \
    { "_topic", CLICKHOUSE_TOPIC, 0, "UInt8" }
#define FROM_PROPERTIES(name) "String DEFAULT replaceRegexpAll(JSONExtractRaw(properties, '" name "'), '^\"|\"$', '')"

static const struct clickhouse_column event_columns[] = {
    { "uuid", ROW_EVENT_UUID, CLICKHOUSE_UUID, "UUID" },
    { "event", ROW_EVENT_EVENT, CLICKHOUSE_TEXT, "String" },
    { "properties", ROW_EVENT_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "timestamp", ROW_EVENT_TIMESTAMP, CLICKHOUSE_TIME6, "DateTime64(6, 'UTC')" },
    { "team_id", ROW_EVENT_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "distinct_id", ROW_EVENT_DISTINCT_ID, CLICKHOUSE_TEXT, "String" },
    { "elements_chain", ROW_EVENT_ELEMENTS_CHAIN, CLICKHOUSE_TEXT, "String" },
    { "created_at", ROW_EVENT_CREATED_AT, CLICKHOUSE_TIME6, "DateTime64(6, 'UTC')" },
    { "person_id", ROW_EVENT_PERSON_ID, CLICKHOUSE_UUID, "UUID" },
    { "person_created_at", ROW_EVENT_PERSON_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "person_properties", ROW_EVENT_PERSON_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "group0_properties", ROW_EVENT_GROUP0_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "group1_properties", ROW_EVENT_GROUP1_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "group2_properties", ROW_EVENT_GROUP2_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "group3_properties", ROW_EVENT_GROUP3_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "group4_properties", ROW_EVENT_GROUP4_PROPERTIES, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "group0_created_at", ROW_EVENT_GROUP0_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "group1_created_at", ROW_EVENT_GROUP1_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "group2_created_at", ROW_EVENT_GROUP2_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "group3_created_at", ROW_EVENT_GROUP3_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "group4_created_at", ROW_EVENT_GROUP4_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "person_mode", ROW_EVENT_PERSON_MODE, CLICKHOUSE_MODE, "Enum8('full' = 0, 'propertyless' = 1, 'force_upgrade' = 2)" },
    { "$group_0", ROW_EVENT_GROUP_0, CLICKHOUSE_TEXT, FROM_PROPERTIES("$group_0") },
    { "$group_1", ROW_EVENT_GROUP_1, CLICKHOUSE_TEXT, FROM_PROPERTIES("$group_1") },
    { "$group_2", ROW_EVENT_GROUP_2, CLICKHOUSE_TEXT, FROM_PROPERTIES("$group_2") },
    { "$group_3", ROW_EVENT_GROUP_3, CLICKHOUSE_TEXT, FROM_PROPERTIES("$group_3") },
    { "$group_4", ROW_EVENT_GROUP_4, CLICKHOUSE_TEXT, FROM_PROPERTIES("$group_4") },
    { "$window_id", ROW_EVENT_WINDOW_ID, CLICKHOUSE_TEXT, FROM_PROPERTIES("$window_id") },
    { "$session_id", ROW_EVENT_SESSION_ID, CLICKHOUSE_TEXT, FROM_PROPERTIES("$session_id") },
    { "captured_at", ROW_EVENT_CAPTURED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "project_id", ROW_EVENT_PROJECT_ID, CLICKHOUSE_I64, "Int64" },
    { "historical_migration", ROW_EVENT_HISTORICAL_MIGRATION, CLICKHOUSE_BOOL, "Bool" },
    { "raw_offset", ROW_EVENT_RAW_OFFSET, CLICKHOUSE_I64, "Int64" },
    OWN_COLUMNS,
};
static const struct clickhouse_column person_columns[] = {
    { "id", ROW_PERSON_ID, CLICKHOUSE_UUID, "UUID" },
    { "created_at", ROW_PERSON_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "team_id", ROW_PERSON_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "properties", ROW_PERSON_PROPERTIES, CLICKHOUSE_TEXT, "String" },
    { "is_identified", ROW_PERSON_IS_IDENTIFIED, CLICKHOUSE_I8, "Int8" },
    { "is_deleted", ROW_PERSON_IS_DELETED, CLICKHOUSE_I8, "Int8" },
    { "version", ROW_PERSON_VERSION, CLICKHOUSE_I64, "UInt64" },
    { "last_seen_at", ROW_PERSON_LAST_SEEN_AT, NULLABLE(TIME3), "Nullable(DateTime64(3))" },
    OWN_COLUMNS,
};
static const struct clickhouse_column distinct_columns[] = {
    { "team_id", ROW_DISTINCT_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "distinct_id", ROW_DISTINCT_DISTINCT_ID, CLICKHOUSE_TEXT, "String" },
    { "person_id", ROW_DISTINCT_PERSON_ID, CLICKHOUSE_UUID, "UUID" },
    { "is_deleted", ROW_DISTINCT_IS_DELETED, CLICKHOUSE_I8, "Int8" },
    { "version", ROW_DISTINCT_VERSION, CLICKHOUSE_I64, "Int64" },
    OWN_COLUMNS,
};
static const struct clickhouse_column group_columns[] = {
    { "group_type_index", ROW_GROUP_TYPE_INDEX, CLICKHOUSE_U8, "UInt8" },
    { "group_key", ROW_GROUP_KEY, CLICKHOUSE_TEXT, "String" },
    { "created_at", ROW_GROUP_CREATED_AT, CLICKHOUSE_TIME3, "DateTime64(3)" },
    { "team_id", ROW_GROUP_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "group_properties", ROW_GROUP_PROPERTIES, CLICKHOUSE_TEXT, "String" },
    { "version", ROW_GROUP_VERSION, CLICKHOUSE_I64, "UInt64" },
    { "group_type", ROW_GROUP_TYPE, CLICKHOUSE_TEXT, "String" },
    OWN_COLUMNS,
};
static const struct clickhouse_column warning_columns[] = {
    { "team_id", ROW_WARNING_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "source", ROW_WARNING_SOURCE, CLICKHOUSE_TEXT, "LowCardinality(String)" },
    { "type", ROW_WARNING_TYPE, CLICKHOUSE_TEXT, "String" },
    { "details", ROW_WARNING_DETAILS, CLICKHOUSE_TEXT, "String CODEC(ZSTD(3))" },
    { "timestamp", ROW_WARNING_TIMESTAMP, CLICKHOUSE_TIME6, "DateTime64(6, 'UTC')" },
    { "category", ROW_WARNING_CATEGORY, CLICKHOUSE_TEXT, "LowCardinality(String)" },
    { "severity", ROW_WARNING_SEVERITY, CLICKHOUSE_TEXT, "LowCardinality(String)" },
    { "event_uuid", ROW_WARNING_EVENT_UUID, NULLABLE(UUID), "Nullable(UUID)" },
    { "distinct_id", ROW_WARNING_DISTINCT_ID, CLICKHOUSE_TEXT, "String" },
    OWN_COLUMNS,
};
static const struct clickhouse_column letter_columns[] = {
    { "uuid", ROW_DEAD_LETTER_UUID, NULLABLE(UUID), "Nullable(UUID)" },
    { "team_id", ROW_DEAD_LETTER_TEAM_ID, NULLABLE(I64), "Nullable(Int64)" },
    { "event", ROW_DEAD_LETTER_EVENT, NULLABLE(TEXT), "Nullable(String)" },
    { "distinct_id", ROW_DEAD_LETTER_DISTINCT_ID, NULLABLE(TEXT), "Nullable(String)" },
    { "received_at", ROW_DEAD_LETTER_RECEIVED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "failed_at", ROW_DEAD_LETTER_FAILED_AT, CLICKHOUSE_TIME6, "DateTime64(6, 'UTC')" },
    { "step", ROW_DEAD_LETTER_STEP, CLICKHOUSE_TEXT, "String" },
    { "reason", ROW_DEAD_LETTER_REASON, CLICKHOUSE_TEXT, "String" },
    { "detail", ROW_DEAD_LETTER_DETAIL, NULLABLE(TEXT), "Nullable(String)" },
    { "ip", ROW_DEAD_LETTER_IP, NULLABLE(TEXT), "Nullable(String)" },
    { "token", ROW_DEAD_LETTER_TOKEN, NULLABLE(TEXT), "Nullable(String)" },
    { "raw_offset", ROW_DEAD_LETTER_RAW_OFFSET, NULLABLE(I64), "Nullable(Int64)" },
    { "request", ROW_DEAD_LETTER_REQUEST, NULLABLE(I64), "Nullable(Int64)" },
    { "index", ROW_DEAD_LETTER_INDEX, NULLABLE(I64), "Nullable(Int64)" },
    { "data", ROW_DEAD_LETTER_DATA, NULLABLE(TEXT), "Nullable(String) CODEC(ZSTD(3))" },
    { "encoding", ROW_DEAD_LETTER_ENCODING, NULLABLE(TEXT), "Nullable(String)" },
    OWN_COLUMNS,
};
static const struct clickhouse_column event_definition_columns[] = {
    { "team_id", ROW_EVENT_DEFINITION_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "name", ROW_EVENT_DEFINITION_NAME, CLICKHOUSE_TEXT, "String" },
    { "created_at", ROW_EVENT_DEFINITION_CREATED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "last_seen_at", ROW_EVENT_DEFINITION_LAST_SEEN_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "version", ROW_EVENT_DEFINITION_VERSION, CLICKHOUSE_I64, "Int64" },
    OWN_COLUMNS,
};
static const struct clickhouse_column property_definition_columns[] = {
    { "team_id", ROW_PROPERTY_DEFINITION_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "name", ROW_PROPERTY_DEFINITION_NAME, CLICKHOUSE_TEXT, "String" },
    { "type", ROW_PROPERTY_DEFINITION_PARENT, CLICKHOUSE_I64, "Int64" },
    { "group_type_index", ROW_PROPERTY_DEFINITION_GROUP_TYPE_INDEX, CLICKHOUSE_I64, "Int64" },
    { "property_type", ROW_PROPERTY_DEFINITION_TYPE, NULLABLE(TEXT), "Nullable(String)" },
    { "is_numerical", ROW_PROPERTY_DEFINITION_IS_NUMERICAL, NULLABLE(BOOL), "Nullable(Bool)" },
    { "created_at", ROW_PROPERTY_DEFINITION_CREATED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "version", ROW_PROPERTY_DEFINITION_VERSION, CLICKHOUSE_I64, "Int64" },
    OWN_COLUMNS,
};
static const struct clickhouse_column event_property_columns[] = {
    { "team_id", ROW_EVENT_PROPERTY_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "event", ROW_EVENT_PROPERTY_EVENT, CLICKHOUSE_TEXT, "String" },
    { "property", ROW_EVENT_PROPERTY_PROPERTY, CLICKHOUSE_TEXT, "String" },
    { "created_at", ROW_EVENT_PROPERTY_CREATED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    OWN_COLUMNS,
};
static const struct clickhouse_column heatmap_columns[] = {
    { "type", ROW_HEATMAP_TYPE, CLICKHOUSE_TEXT, "LowCardinality(String)" },
    { "x", ROW_HEATMAP_AT_X, CLICKHOUSE_I16, "Int16" },
    { "y", ROW_HEATMAP_AT_Y, CLICKHOUSE_I16, "Int16" },
    { "pointer_target_fixed", ROW_HEATMAP_TARGET_FIXED, CLICKHOUSE_BOOL, "Bool" },
    { "viewport_height", ROW_HEATMAP_VIEWPORT_HEIGHT, CLICKHOUSE_I16, "Int16" },
    { "viewport_width", ROW_HEATMAP_VIEWPORT_WIDTH, CLICKHOUSE_I16, "Int16" },
    { "current_url", ROW_HEATMAP_CURRENT_URL, CLICKHOUSE_TEXT, "String" },
    { "session_id", ROW_HEATMAP_SESSION_ID, CLICKHOUSE_TEXT, "String" },
    { "scale_factor", ROW_HEATMAP_SCALE_FACTOR, CLICKHOUSE_I16, "Int16" },
    { "timestamp", ROW_HEATMAP_TIMESTAMP, CLICKHOUSE_TIME6, "DateTime64(6, 'UTC')" },
    { "team_id", ROW_HEATMAP_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "distinct_id", ROW_HEATMAP_DISTINCT_ID, CLICKHOUSE_TEXT, "String" },
    { "event_uuid", ROW_HEATMAP_EVENT_UUID, NULLABLE(UUID), "Nullable(UUID)" },
    { "captured_at", ROW_HEATMAP_CAPTURED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    OWN_COLUMNS,
};
static const struct clickhouse_column receipt_columns[] = {
    { "id", ROW_RECEIPT_ID, CLICKHOUSE_I64, "Int64" },
    { "team_id", ROW_RECEIPT_TEAM_ID, CLICKHOUSE_I64, "Int64" },
    { "kind", ROW_RECEIPT_KIND, CLICKHOUSE_TEXT, "String" },
    { "state", ROW_RECEIPT_STATE, CLICKHOUSE_TEXT, "String" },
    { "person_id", ROW_RECEIPT_PERSON_ID, NULLABLE(UUID), "Nullable(UUID)" },
    { "asked_by", ROW_RECEIPT_ASKED_BY, NULLABLE(TEXT), "Nullable(String)" },
    { "asked_at", ROW_RECEIPT_ASKED_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "due_at", ROW_RECEIPT_DUE_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "done_at", ROW_RECEIPT_DONE_AT, NULLABLE(TIME6), "Nullable(DateTime64(6, 'UTC'))" },
    { "persons", ROW_RECEIPT_PERSONS, NULLABLE(I64), "Nullable(Int64)" },
    { "distinct_ids", ROW_RECEIPT_DISTINCT_IDS, NULLABLE(I64), "Nullable(Int64)" },
    { "events", ROW_RECEIPT_EVENTS, NULLABLE(I64), "Nullable(Int64)" },
    { "dead_letters", ROW_RECEIPT_DEAD_LETTERS, NULLABLE(I64), "Nullable(Int64)" },
    { "warnings", ROW_RECEIPT_WARNINGS, NULLABLE(I64), "Nullable(Int64)" },
    { "detail", ROW_RECEIPT_DETAIL, NULLABLE(TEXT), "Nullable(String)" },
    { "version", ROW_RECEIPT_VERSION, CLICKHOUSE_I64, "Int64" },
    OWN_COLUMNS,
};

/* Of the elements chain, what people ask for: as PostHog works it out. */
static const char event_rest[] =
    ", inserted_at Nullable(DateTime64(6, 'UTC')) DEFAULT now64(6, 'UTC')"
    ", elements_chain_href String MATERIALIZED extract(elements_chain, '(?::|\")href=\"(.*?)\"')"
    ", elements_chain_texts Array(String) MATERIALIZED arrayDistinct(extractAll(elements_chain, '(?::|\")text=\"(.*?)\"'))"
    ", elements_chain_ids Array(String) MATERIALIZED arrayDistinct(extractAll(elements_chain, '(?::|\")attr_id=\"(.*?)\"'))"
    ", elements_chain_elements Array(Enum('a', 'button', 'form', 'input', 'select', 'textarea', 'label')) MATERIALIZED "
    "arrayDistinct(extractAll(elements_chain, '(?:^|;)(a|button|form|input|select|textarea|label)(?:\\\\.|$|:)'))"
    ", INDEX minmax_group_0 `$group_0` TYPE minmax GRANULARITY 1, INDEX minmax_group_1 `$group_1` TYPE minmax GRANULARITY 1"
    ", INDEX minmax_group_2 `$group_2` TYPE minmax GRANULARITY 1, INDEX minmax_group_3 `$group_3` TYPE minmax GRANULARITY 1"
    ", INDEX minmax_group_4 `$group_4` TYPE minmax GRANULARITY 1, INDEX minmax_window_id `$window_id` TYPE minmax GRANULARITY 1"
    ", INDEX minmax_session_id `$session_id` TYPE minmax GRANULARITY 1"
    ", INDEX kafka_timestamp_minmax _timestamp TYPE minmax GRANULARITY 3"
    ", INDEX minmax_inserted_at inserted_at TYPE minmax GRANULARITY 1";

#define COLUMNS(list) sizeof(list) / sizeof *(list), (list)
const struct clickhouse_columns clickhouse_columns[ROW_TABLE_COUNT] = {
    [ROW_EVENT] = { "events", event_rest, "ReplacingMergeTree(_timestamp)",
                    "PARTITION BY toYYYYMM(timestamp) ORDER BY (team_id, toDate(timestamp), event, cityHash64(distinct_id), "
                    "cityHash64(uuid)) SAMPLE BY cityHash64(distinct_id)", "sipHash64(distinct_id)", false, COLUMNS(event_columns) },
    [ROW_PERSON] = { "person", "", "ReplacingMergeTree(version)", "ORDER BY (team_id, id)", NULL, true, COLUMNS(person_columns) },
    [ROW_DISTINCT] = { "person_distinct_id2", "", "ReplacingMergeTree(version)", "ORDER BY (team_id, distinct_id)", NULL, true,
                       COLUMNS(distinct_columns) },
    [ROW_GROUP] = { "groups", "", "ReplacingMergeTree(version)", "ORDER BY (team_id, group_type_index, group_key)", NULL, true,
                    COLUMNS(group_columns) },
    [ROW_WARNING] = { "ingestion_warnings", "", "MergeTree", "PARTITION BY toYYYYMM(timestamp) ORDER BY (team_id, "
                      "toHour(timestamp), type, source, timestamp)", "sipHash64(_offset)", false, COLUMNS(warning_columns) },
    [ROW_DEAD_LETTER] = { "dead_letters", "", "MergeTree", "PARTITION BY toYYYYMM(failed_at) ORDER BY failed_at", NULL, false,
                          COLUMNS(letter_columns) },
    [ROW_EVENT_DEFINITION] = { "event_definitions", "", "ReplacingMergeTree(version)", "ORDER BY (team_id, name)", NULL, true,
                               COLUMNS(event_definition_columns) },
    [ROW_PROPERTY_DEFINITION] = { "property_definitions", "", "ReplacingMergeTree(version)",
                                  "ORDER BY (team_id, type, name, group_type_index)", NULL, true, COLUMNS(property_definition_columns) },
    [ROW_EVENT_PROPERTY] = { "event_properties", "", "ReplacingMergeTree", "ORDER BY (team_id, event, property)", NULL, true,
                             COLUMNS(event_property_columns) },
    [ROW_HEATMAP] = { "heatmaps", "", "MergeTree", "PARTITION BY toYYYYMM(timestamp) ORDER BY (type, team_id, toDate(timestamp), "
                      "current_url, viewport_width)", "sipHash64(distinct_id)", false, COLUMNS(heatmap_columns) },
    [ROW_RECEIPT] = { "receipts", "", "ReplacingMergeTree(version)", "ORDER BY (team_id, kind, id)", NULL, true,
                      COLUMNS(receipt_columns) },
};
_Static_assert(sizeof event_columns / sizeof *event_columns <= CLICKHOUSE_COLUMNS_MAX, "a bit each");

#define SETTINGS_SINGLE "non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1"
#define SETTINGS_CLUSTER "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800, " \
                         "fsync_after_insert = 1, fsync_part_directory = 1"

/* --- writing them ------------------------------------------------------------------------------- */

struct writer {
    const struct clickhouse_schema *schema;
    clickhouse_statement           *each;
    void                           *ctx;
    struct buf                      sql;
    char                            on_cluster[CLICKHOUSE_NAME_BYTES + 20];
};

static int say_statement(struct writer *to, struct err *err)
{
    int rc;

    buf_add_byte(&to->sql, '\0');
    rc = to->sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                        : to->each(to->ctx, (const char *)to->sql.at, err);
    buf_reset(&to->sql);
    return rc;
}

static bool in_cluster(const struct writer *to)
{
    return to->schema->form == CLICKHOUSE_CLUSTER;
}

/* ENGINE and what follows. noshard: each replica of each shard has all rows. */
static void add_engine(struct writer *to, const char *engine, const char *stored, const char *order, bool noshard, const char *settings)
{
    const char *arguments = strchr(engine, '(');
    size_t      name_bytes = arguments != NULL ? (size_t)(arguments - engine) : strlen(engine);

    if (!in_cluster(to))
        buf_add_format(&to->sql, " ENGINE = %s %s SETTINGS %s", engine, order, settings != NULL ? settings : SETTINGS_SINGLE);
    else
        buf_add_format(&to->sql, " ENGINE = Replicated%.*s('/clickhouse/tables/%s/%s.%s', '{shard}-{replica}'%s%.*s) %s SETTINGS %s",
                       (int)name_bytes, engine, noshard ? "noshard" : "{shard}", to->schema->database, stored,
                       arguments != NULL ? ", " : "", arguments != NULL ? (int)strlen(arguments) - 2 : 0,
                       arguments != NULL ? arguments + 1 : "", order, settings != NULL ? settings : SETTINGS_CLUSTER);
}

/* Where rows are kept: in a cluster another table than the one that is asked, when rows are spread. */
static void stored_name(const struct writer *to, enum row_table id, char out[CLICKHOUSE_NAME_BYTES])
{
    const struct clickhouse_columns *table = &clickhouse_columns[id];

    (void)snprintf(out, CLICKHOUSE_NAME_BYTES, "%s%s", in_cluster(to) && table->shard != NULL ? "sharded_" : "", table->table);
}

static int say_table(struct writer *to, enum row_table id, struct err *err)
{
    const struct clickhouse_columns *table = &clickhouse_columns[id];
    const char                      *database = to->schema->database;
    char                             stored[CLICKHOUSE_NAME_BYTES];

    stored_name(to, id, stored);
    buf_add_format(&to->sql, "CREATE TABLE IF NOT EXISTS `%s`.`%s`%s (", database, stored, to->on_cluster);
    for (size_t i = 0; i < table->count; i++)
        buf_add_format(&to->sql, "%s`%s` %s", i > 0 ? ", " : "", table->columns[i].name, table->columns[i].sql);
    buf_add_format(&to->sql, "%s)", table->rest);
    add_engine(to, table->engine, stored, table->order, table->shard == NULL, NULL);
    if (say_statement(to, err) < 0)
        return -1;
    /* Tables of somebody else, or of an older Penstock. */
    buf_add_format(&to->sql, "ALTER TABLE `%s`.`%s`%s ", database, stored, to->on_cluster);
    for (size_t i = 0; i < table->count; i++)
        buf_add_format(&to->sql, "%sADD COLUMN IF NOT EXISTS `%s` %s", i > 0 ? ", " : "", table->columns[i].name, table->columns[i].sql);
    buf_add_format(&to->sql, ", MODIFY SETTING %s", in_cluster(to) ? SETTINGS_CLUSTER : SETTINGS_SINGLE);
    if (say_statement(to, err) < 0)
        return -1;
    if (!in_cluster(to) || table->shard == NULL)
        return 0;
    buf_add_format(&to->sql, "CREATE TABLE IF NOT EXISTS `%s`.`%s`%s AS `%s`.`%s` ENGINE = Distributed('%s', '%s', '%s', %s)", database,
                   table->table, to->on_cluster, database, stored, to->schema->cluster, database, stored, table->shard);
    return say_statement(to, err);
}

/* The moved ids, in a table of their own, as PostHog's queries join them. */
static int say_overrides(struct writer *to, struct err *err)
{
    const char *database = to->schema->database;

    buf_add_format(&to->sql, "CREATE TABLE IF NOT EXISTS `%s`.person_distinct_id_overrides%s (team_id Int64, distinct_id String, "
                             "person_id UUID, is_deleted Int8, version Int64, _timestamp DateTime, _offset UInt64, _partition UInt64)",
                   database, to->on_cluster);
    add_engine(to, "ReplacingMergeTree(version)", "person_distinct_id_overrides", "ORDER BY (team_id, distinct_id)", true, NULL);
    if (say_statement(to, err) < 0)
        return -1;
    buf_add_format(&to->sql, "CREATE MATERIALIZED VIEW IF NOT EXISTS `%s`.person_distinct_id_overrides_mv%s TO "
                             "`%s`.person_distinct_id_overrides AS SELECT team_id, distinct_id, person_id, is_deleted, version, "
                             "_timestamp, _offset, _partition FROM `%s`.person_distinct_id2 WHERE version > 0",
                   database, to->on_cluster, database, database);
    return say_statement(to, err);
}

static int say_notes(struct writer *to, struct err *err)
{
    const char *database = to->schema->database;

    buf_add_format(&to->sql, "CREATE TABLE IF NOT EXISTS `%s`.penstock_blocks%s (unit UInt32, step UInt64, writer UUID, "
                             "next Array(UInt64), until Array(UInt64), loaded Array(UInt64), rows Array(UInt64), "
                             "noted_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'))", database, to->on_cluster);
    add_engine(to, "ReplacingMergeTree(step)", "penstock_blocks", "ORDER BY unit", true, NULL);
    if (say_statement(to, err) < 0)
        return -1;
    buf_add_format(&to->sql, "CREATE TABLE IF NOT EXISTS `%s`.penstock_erased%s (erasure String, name String, rows UInt64, "
                             "team_id Int64, captured_at Nullable(DateTime64(6, 'UTC')), events UInt64)", database, to->on_cluster);
    add_engine(to, "MergeTree", "penstock_erased", "ORDER BY (name, team_id)", true, NULL);
    if (say_statement(to, err) < 0)
        return -1;
    buf_add_format(&to->sql, "CREATE TABLE IF NOT EXISTS `%s`.penstock_schema%s (version UInt32, made_at DateTime DEFAULT now())",
                   database, to->on_cluster);
    add_engine(to, "ReplacingMergeTree", "penstock_schema", "ORDER BY version", true, "index_granularity = 8192");
    return say_statement(to, err);
}

/* --- views ----------------------------------------------------------------------------------------- */

/* What stands in place of a null where PostHog's type has none. */
static void add_view_column(struct buf *sql, enum row_table id, size_t i)
{
    const struct clickhouse_column *column = &clickhouse_columns[id].columns[i];
    enum row_type                   type = row_tables[id].columns[column->cell].type;

    if (column->type == CLICKHOUSE_MODE)
        buf_add_format(sql, "CAST(t.`%s`, 'String') AS `%s`", column->name, column->name);
    else if (type == ROW_BOOL && column->type != CLICKHOUSE_BOOL && (column->type & CLICKHOUSE_NULLABLE) == 0)
        buf_add_format(sql, "CAST(t.`%s` != 0, 'Bool') AS `%s`", column->name, column->name);
    else if (column->type == CLICKHOUSE_TIME3)
        buf_add_format(sql, "nullIf(toTimeZone(t.`%s`, 'UTC'), toDateTime64(0, 3, 'UTC')) AS `%s`", column->name, column->name);
    else if (column->type == CLICKHOUSE_TEXT && type == ROW_TEXT &&
             (column->name[0] == '$' || strcmp(column->name, "group_type") == 0 ||
              (id == ROW_WARNING && strcmp(column->name, "distinct_id") == 0)))
        buf_add_format(sql, "nullIf(t.`%s`, '') AS `%s`", column->name, column->name);
    else
        buf_add_format(sql, "t.`%s` AS `%s`", column->name, column->name);
}

static int say_view(struct writer *to, enum row_table id, const char *name, const char *more, struct err *err)
{
    const struct clickhouse_columns *table = &clickhouse_columns[id];

    buf_add_format(&to->sql, "CREATE OR REPLACE VIEW `%s_sql`.%s%s AS SELECT ", to->schema->database, name, to->on_cluster);
    for (size_t i = 0, count = 0; i < table->count; i++)
        if (table->columns[i].cell >= 0) {
            buf_add_text(&to->sql, count++ > 0 ? ", " : "");
            add_view_column(&to->sql, id, i);
        }
    buf_add_format(&to->sql, "%s FROM `%s`.`%s` AS t%s", more, to->schema->database, table->table, table->keyed ? " FINAL" : "");
    return say_statement(to, err);
}

static int say_views(struct writer *to, struct err *err)
{
    const char *database = to->schema->database;

    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        if (say_view(to, id, row_tables[id].name,
                     id == ROW_EVENT ? ", t.inserted_at AS inserted_at" : id == ROW_DEAD_LETTER ? ", t._partition AS unit" : "", err) < 0)
            return -1;
    if (say_view(to, ROW_EVENT, "event_elements", ", t.inserted_at AS inserted_at, t.elements_chain_href AS elements_chain_href, "
                 "t.elements_chain_texts AS elements_chain_texts, t.elements_chain_ids AS elements_chain_ids, "
                 "t.elements_chain_elements AS elements_chain_elements", err) < 0)
        return -1;
    buf_add_format(&to->sql, "CREATE OR REPLACE VIEW `%s_sql`.penstock_place%s AS SELECT unit", database, to->on_cluster);
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        buf_add_format(&to->sql, ", next[%d] AS next_%d", i + 1, i);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        buf_add_format(&to->sql, ", loaded[%d] AS %s", i + 1, row_tables[i].name);
    buf_add_format(&to->sql, " FROM `%s`.penstock_blocks FINAL UNION ALL SELECT 0 AS unit", database);
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++) /* before the first batch */
        buf_add_format(&to->sql, ", 0 AS next_%d", i);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        buf_add_format(&to->sql, ", 0 AS %s", row_tables[i].name);
    buf_add_format(&to->sql, " WHERE (SELECT count() FROM `%s`.penstock_blocks) = 0", database);
    if (say_statement(to, err) < 0)
        return -1;
    /* Rows that stand for an accepted event, and where they come from: what is behind the place is not loaded yet. */
    buf_add_format(&to->sql, "CREATE OR REPLACE VIEW `%s_sql`.penstock_sources%s AS SELECT 'events' AS kind, team_id, captured_at AS accepted_at, "
                             "_partition AS unit, _topic AS topic, _offset AS offset FROM `%s`.events UNION ALL SELECT 'heatmaps', team_id, "
                             "captured_at, _partition, _topic, _offset FROM `%s`.heatmaps WHERE event_uuid IS NOT NULL UNION ALL SELECT "
                             "'dead_letters', assumeNotNull(team_id), received_at, _partition, _topic, _offset FROM `%s`.dead_letters WHERE step = "
                             "'load' AND received_at IS NOT NULL", database, to->on_cluster, database, database, database);
    if (say_statement(to, err) < 0)
        return -1;
    buf_add_format(&to->sql, "CREATE OR REPLACE VIEW `%s_sql`.penstock_erased%s AS SELECT name, rows, team_id, captured_at, events "
                             "FROM `%s`.penstock_erased WHERE name != ''", database, to->on_cluster, database);
    return say_statement(to, err);
}

/* Names of functions that DuckDB has, so that a statement may be asked of both. They are the whole server's. */
static int say_functions(struct writer *to, struct err *err)
{
    buf_add_format(&to->sql, "CREATE FUNCTION IF NOT EXISTS epoch_us%s AS (t) -> toUnixTimestamp64Micro(CAST(t, "
                             "'Nullable(DateTime64(6, \\'UTC\\'))'))", to->on_cluster);
    if (say_statement(to, err) < 0)
        return -1;
    buf_add_format(&to->sql, "CREATE FUNCTION IF NOT EXISTS make_timestamp%s AS (us) -> fromUnixTimestamp64Micro(toInt64(us), 'UTC')",
                   to->on_cluster);
    return say_statement(to, err);
}

int clickhouse_schema_kafka(struct buf *sql, const struct clickhouse_schema *schema, clickhouse_statement *each, void *ctx,
                            struct err *err) must_check; /* clickhouse_kafka.c */

int clickhouse_schema(const struct clickhouse_schema *schema, clickhouse_statement *each, void *ctx, struct err *err)
{
    struct writer to = { .schema = schema, .each = each, .ctx = ctx };
    int           rc = -1;

    if (schema->form == CLICKHOUSE_CLUSTER)
        (void)snprintf(to.on_cluster, sizeof to.on_cluster, " ON CLUSTER `%s`", schema->cluster);
    buf_init(&to.sql, DDL_BYTES_MAX);
    for (int i = 0; i < 2; i++) {
        buf_add_format(&to.sql, "CREATE DATABASE IF NOT EXISTS `%s%s`%s", schema->database, i == 0 ? "" : "_sql", to.on_cluster);
        if (say_statement(&to, err) < 0)
            goto out;
    }
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        if (say_table(&to, id, err) < 0)
            goto out;
    if (say_functions(&to, err) < 0 || say_overrides(&to, err) < 0 || say_notes(&to, err) < 0 || say_views(&to, err) < 0)
        goto out;
    if (schema->form == CLICKHOUSE_KAFKA && clickhouse_schema_kafka(&to.sql, schema, each, ctx, err) < 0)
        goto out;
    buf_add_format(&to.sql, "INSERT INTO `%s`.penstock_schema (version) VALUES (%d)", schema->database, CLICKHOUSE_SCHEMA);
    rc = say_statement(&to, err);
out:
    buf_fini(&to.sql);
    return rc;
}
