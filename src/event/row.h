/* event/row.h - finished rows: what ingest writes to the log and every warehouse loads.
 *
 * One table of tables (ROW_TABLES) says which columns there are and of which type; ingest fills cells in
 * that order, the stored form follows from it, and a warehouse makes its tables and reads its cells from
 * the same lists. A new column is one line here.
 *
 * Stored form of one row, little-endian (the log has its own length and checksum around it):
 *    at  bytes  field
 *     0      1  version (3)
 *     1      1  table (enum row_table)
 *     2      2  cell count
 *     4      8  null bits, cell 0 is bit 0; then each cell that is not null, in order:
 *               ROW_I64, ROW_BOOL, ROW_TIME  8 bytes;  ROW_UUID  16;  ROW_TEXT, ROW_JSON  u32 length + bytes
 * In version 2 the bytes of a ROW_JSON cell may be packed properties (event/packed.h), which their first byte says: those of
 * persons and groups are, as they are in the people store. Version 3 has those of events as well, in a form of theirs
 * (event/echo.h), when ingest changed what they say of their person. Version 1 has text only.
 * A reader takes fewer cells than it knows (an older writer: the rest are null) and skips more (a newer
 * one), so columns are only ever added at the end.
 *  W1  text is valid UTF-8; JSON is valid JSON text, exactly as it is to be stored; what is packed comes out so */
#ifndef PENSTOCK_EVENT_ROW_H
#define PENSTOCK_EVENT_ROW_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/uuid.h"

enum row_type {
    ROW_I64,
    ROW_BOOL,
    ROW_TIME, /* microseconds since 1970 UTC */
    ROW_UUID,
    ROW_TEXT,
    ROW_JSON
};

/* What ClickHouse's DateTime64 can calculate with, 1900-01-01 to 2299-12-31 23:59:59.999999: other instants are moved to the ends of it. */
#define ROW_TIME_US_MIN ((int64_t)-2208988800 * 1000000)
#define ROW_TIME_US_MAX ((int64_t)10413791999 * 1000000 + 999999)

/* X(name as in SQL, type, enum suffix) */
#define ROW_EVENT_COLUMNS(X)                                                                                    \
    X("uuid", ROW_UUID, UUID) X("event", ROW_TEXT, EVENT) X("properties", ROW_JSON, PROPERTIES)                 \
    X("timestamp", ROW_TIME, TIMESTAMP) X("team_id", ROW_I64, TEAM_ID) X("distinct_id", ROW_TEXT, DISTINCT_ID)  \
    X("elements_chain", ROW_TEXT, ELEMENTS_CHAIN) X("created_at", ROW_TIME, CREATED_AT)                         \
    X("person_id", ROW_UUID, PERSON_ID) X("person_created_at", ROW_TIME, PERSON_CREATED_AT)                     \
    X("person_properties", ROW_JSON, PERSON_PROPERTIES)                                                         \
    X("group0_properties", ROW_JSON, GROUP0_PROPERTIES) X("group1_properties", ROW_JSON, GROUP1_PROPERTIES)     \
    X("group2_properties", ROW_JSON, GROUP2_PROPERTIES) X("group3_properties", ROW_JSON, GROUP3_PROPERTIES)     \
    X("group4_properties", ROW_JSON, GROUP4_PROPERTIES)                                                         \
    X("group0_created_at", ROW_TIME, GROUP0_CREATED_AT) X("group1_created_at", ROW_TIME, GROUP1_CREATED_AT)     \
    X("group2_created_at", ROW_TIME, GROUP2_CREATED_AT) X("group3_created_at", ROW_TIME, GROUP3_CREATED_AT)     \
    X("group4_created_at", ROW_TIME, GROUP4_CREATED_AT)                                                         \
    X("person_mode", ROW_TEXT, PERSON_MODE) /* full, propertyless, force_upgrade */                             \
    X("$group_0", ROW_TEXT, GROUP_0) X("$group_1", ROW_TEXT, GROUP_1) X("$group_2", ROW_TEXT, GROUP_2)          \
    X("$group_3", ROW_TEXT, GROUP_3) X("$group_4", ROW_TEXT, GROUP_4)                                           \
    X("$window_id", ROW_TEXT, WINDOW_ID) X("$session_id", ROW_TEXT, SESSION_ID)                                 \
    X("captured_at", ROW_TIME, CAPTURED_AT) X("project_id", ROW_I64, PROJECT_ID)                                \
    X("historical_migration", ROW_BOOL, HISTORICAL_MIGRATION)                                                   \
    X("raw_offset", ROW_I64, RAW_OFFSET) /* of the record in the topic raw */

#define ROW_PERSON_COLUMNS(X)                                                                                   \
    X("id", ROW_UUID, ID) X("created_at", ROW_TIME, CREATED_AT) X("team_id", ROW_I64, TEAM_ID)                  \
    X("properties", ROW_JSON, PROPERTIES) X("is_identified", ROW_BOOL, IS_IDENTIFIED)                           \
    X("is_deleted", ROW_BOOL, IS_DELETED) X("version", ROW_I64, VERSION) X("last_seen_at", ROW_TIME, LAST_SEEN_AT)

#define ROW_DISTINCT_COLUMNS(X)                                                                                 \
    X("team_id", ROW_I64, TEAM_ID) X("distinct_id", ROW_TEXT, DISTINCT_ID) X("person_id", ROW_UUID, PERSON_ID)  \
    X("is_deleted", ROW_BOOL, IS_DELETED) X("version", ROW_I64, VERSION)

#define ROW_GROUP_COLUMNS(X)                                                                                    \
    X("group_type_index", ROW_I64, TYPE_INDEX) X("group_key", ROW_TEXT, KEY) X("created_at", ROW_TIME, CREATED_AT) \
    X("team_id", ROW_I64, TEAM_ID) X("group_properties", ROW_JSON, PROPERTIES) X("version", ROW_I64, VERSION)   \
    X("group_type", ROW_TEXT, TYPE)

#define ROW_WARNING_COLUMNS(X)                                                                                  \
    X("team_id", ROW_I64, TEAM_ID) X("source", ROW_TEXT, SOURCE) X("type", ROW_TEXT, TYPE)                      \
    X("details", ROW_JSON, DETAILS) X("timestamp", ROW_TIME, TIMESTAMP)                                         \
    X("category", ROW_TEXT, CATEGORY) X("severity", ROW_TEXT, SEVERITY) X("event_uuid", ROW_UUID, EVENT_UUID)   \
    X("distinct_id", ROW_TEXT, DISTINCT_ID)

#define ROW_DEAD_LETTER_COLUMNS(X)                                                                              \
    X("uuid", ROW_UUID, UUID) X("team_id", ROW_I64, TEAM_ID) X("event", ROW_TEXT, EVENT)                        \
    X("distinct_id", ROW_TEXT, DISTINCT_ID) X("received_at", ROW_TIME, RECEIVED_AT)                             \
    X("failed_at", ROW_TIME, FAILED_AT) X("step", ROW_TEXT, STEP) X("reason", ROW_TEXT, REASON)                 \
    X("detail", ROW_TEXT, DETAIL) X("ip", ROW_TEXT, IP) X("token", ROW_TEXT, TOKEN)                             \
    X("raw_offset", ROW_I64, RAW_OFFSET) X("request", ROW_I64, REQUEST) X("index", ROW_I64, INDEX)              \
    X("data", ROW_TEXT, DATA) /* the original bytes; */                                                         \
    X("encoding", ROW_TEXT, ENCODING) /* as they are: null; "base64": they are no text */

/* What names a project's clients use. Names are texts of at most 200 bytes. */
#define ROW_EVENT_DEFINITION_COLUMNS(X)                                                                         \
    X("team_id", ROW_I64, TEAM_ID) X("name", ROW_TEXT, NAME) X("created_at", ROW_TIME, CREATED_AT)              \
    X("last_seen_at", ROW_TIME, LAST_SEEN_AT) /* to the hour */ X("version", ROW_I64, VERSION)

#define ROW_PROPERTY_DEFINITION_COLUMNS(X)                                                                      \
    X("team_id", ROW_I64, TEAM_ID) X("name", ROW_TEXT, NAME)                                                    \
    X("type", ROW_I64, PARENT) /* of: 1 event, 2 person, 3 group */                                             \
    X("group_type_index", ROW_I64, GROUP_TYPE_INDEX) /* -1: not of a group */                                   \
    X("property_type", ROW_TEXT, TYPE) /* DateTime, String, Numeric, Boolean; null: no value told yet */        \
    X("is_numerical", ROW_BOOL, IS_NUMERICAL) X("created_at", ROW_TIME, CREATED_AT) X("version", ROW_I64, VERSION)

#define ROW_EVENT_PROPERTY_COLUMNS(X)                                                                           \
    X("team_id", ROW_I64, TEAM_ID) X("event", ROW_TEXT, EVENT) X("property", ROW_TEXT, PROPERTY)                \
    X("created_at", ROW_TIME, CREATED_AT)

/* Points of pages; places and sizes are divided by scale_factor. */
#define ROW_HEATMAP_COLUMNS(X)                                                                                  \
    X("type", ROW_TEXT, TYPE) X("x", ROW_I64, AT_X) X("y", ROW_I64, AT_Y)                                       \
    X("pointer_target_fixed", ROW_BOOL, TARGET_FIXED) X("viewport_height", ROW_I64, VIEWPORT_HEIGHT)            \
    X("viewport_width", ROW_I64, VIEWPORT_WIDTH) X("current_url", ROW_TEXT, CURRENT_URL)                        \
    X("session_id", ROW_TEXT, SESSION_ID) X("scale_factor", ROW_I64, SCALE_FACTOR)                              \
    X("timestamp", ROW_TIME, TIMESTAMP) X("team_id", ROW_I64, TEAM_ID) X("distinct_id", ROW_TEXT, DISTINCT_ID)  \
    X("event_uuid", ROW_UUID, EVENT_UUID) /* on the last row of a $$heatmap event alone: it has no other one */ \
    X("captured_at", ROW_TIME, CAPTURED_AT) /* likewise */

/* What was asked about persons, and what became of it: one row a request. */
#define ROW_RECEIPT_COLUMNS(X)                                                                                  \
    X("id", ROW_I64, ID) X("team_id", ROW_I64, TEAM_ID) X("kind", ROW_TEXT, KIND) X("state", ROW_TEXT, STATE)   \
    X("person_id", ROW_UUID, PERSON_ID) X("asked_by", ROW_TEXT, ASKED_BY) X("asked_at", ROW_TIME, ASKED_AT)     \
    X("due_at", ROW_TIME, DUE_AT) X("done_at", ROW_TIME, DONE_AT) X("persons", ROW_I64, PERSONS)                \
    X("distinct_ids", ROW_I64, DISTINCT_IDS) X("events", ROW_I64, EVENTS)                                       \
    X("dead_letters", ROW_I64, DEAD_LETTERS) X("warnings", ROW_I64, WARNINGS) X("detail", ROW_TEXT, DETAIL)     \
    X("version", ROW_I64, VERSION)

/* X(table name in SQL, columns, enum suffix, topic it travels in). The order is stored. */
#define ROW_TABLES(X)                                                                                           \
    X("events", ROW_EVENT_COLUMNS, EVENT, "events")                                                             \
    X("persons", ROW_PERSON_COLUMNS, PERSON, "people")                                                          \
    X("person_distinct_ids", ROW_DISTINCT_COLUMNS, DISTINCT, "people")                                          \
    X("groups", ROW_GROUP_COLUMNS, GROUP, "people")                                                             \
    X("ingestion_warnings", ROW_WARNING_COLUMNS, WARNING, "warnings")                                           \
    X("dead_letters", ROW_DEAD_LETTER_COLUMNS, DEAD_LETTER, "dead_letters")                                     \
    X("event_definitions", ROW_EVENT_DEFINITION_COLUMNS, EVENT_DEFINITION, "definitions")                       \
    X("property_definitions", ROW_PROPERTY_DEFINITION_COLUMNS, PROPERTY_DEFINITION, "definitions")              \
    X("event_properties", ROW_EVENT_PROPERTY_COLUMNS, EVENT_PROPERTY, "definitions")                            \
    X("heatmaps", ROW_HEATMAP_COLUMNS, HEATMAP, "heatmaps")                                                     \
    X("receipts", ROW_RECEIPT_COLUMNS, RECEIPT, "receipts")

#define ROW_TABLE_ENUM(name, columns, suffix, topic) ROW_##suffix,
enum row_table { ROW_TABLES(ROW_TABLE_ENUM) ROW_TABLE_COUNT };

#define ROW_EVENT_ENUM(name, type, suffix) ROW_EVENT_##suffix,
enum { ROW_EVENT_COLUMNS(ROW_EVENT_ENUM) ROW_EVENT_COUNT };
#define ROW_PERSON_ENUM(name, type, suffix) ROW_PERSON_##suffix,
enum { ROW_PERSON_COLUMNS(ROW_PERSON_ENUM) ROW_PERSON_COUNT };
#define ROW_DISTINCT_ENUM(name, type, suffix) ROW_DISTINCT_##suffix,
enum { ROW_DISTINCT_COLUMNS(ROW_DISTINCT_ENUM) ROW_DISTINCT_COUNT };
#define ROW_GROUP_ENUM(name, type, suffix) ROW_GROUP_##suffix,
enum { ROW_GROUP_COLUMNS(ROW_GROUP_ENUM) ROW_GROUP_COUNT };
#define ROW_WARNING_ENUM(name, type, suffix) ROW_WARNING_##suffix,
enum { ROW_WARNING_COLUMNS(ROW_WARNING_ENUM) ROW_WARNING_COUNT };
#define ROW_DEAD_LETTER_ENUM(name, type, suffix) ROW_DEAD_LETTER_##suffix,
enum { ROW_DEAD_LETTER_COLUMNS(ROW_DEAD_LETTER_ENUM) ROW_DEAD_LETTER_COUNT };
#define ROW_EVENT_DEFINITION_ENUM(name, type, suffix) ROW_EVENT_DEFINITION_##suffix,
enum { ROW_EVENT_DEFINITION_COLUMNS(ROW_EVENT_DEFINITION_ENUM) ROW_EVENT_DEFINITION_COUNT };
#define ROW_PROPERTY_DEFINITION_ENUM(name, type, suffix) ROW_PROPERTY_DEFINITION_##suffix,
enum { ROW_PROPERTY_DEFINITION_COLUMNS(ROW_PROPERTY_DEFINITION_ENUM) ROW_PROPERTY_DEFINITION_COUNT };
#define ROW_EVENT_PROPERTY_ENUM(name, type, suffix) ROW_EVENT_PROPERTY_##suffix,
enum { ROW_EVENT_PROPERTY_COLUMNS(ROW_EVENT_PROPERTY_ENUM) ROW_EVENT_PROPERTY_COUNT };
#define ROW_HEATMAP_ENUM(name, type, suffix) ROW_HEATMAP_##suffix,
enum { ROW_HEATMAP_COLUMNS(ROW_HEATMAP_ENUM) ROW_HEATMAP_COUNT };
#define ROW_RECEIPT_ENUM(name, type, suffix) ROW_RECEIPT_##suffix,
enum { ROW_RECEIPT_COLUMNS(ROW_RECEIPT_ENUM) ROW_RECEIPT_COUNT };

enum { ROW_CELLS_MAX = 64 };
_Static_assert((int)ROW_EVENT_COUNT <= (int)ROW_CELLS_MAX, "a row's null bits must fit in 64");

/* One value. Which member counts follows from the column's type. */
struct row_cell {
    bool null;
    union {
        int64_t     i64; /* ROW_I64, ROW_TIME, ROW_BOOL (0 or 1) */
        struct uuid uuid;
        struct span text; /* ROW_TEXT, ROW_JSON (text or packed); borrowed */
    };
};

struct row {
    enum row_table  table;
    uint8_t         topic;  /* which record it was read from: kept by who reads it, not in the stored form */
    uint64_t        offset;
    struct row_cell cells[ROW_CELLS_MAX];
};

struct row_column { const char *name; enum row_type type; };
struct row_table_info { const char *name; const char *topic; size_t column_count; const struct row_column *columns; };
extern const struct row_table_info row_tables[ROW_TABLE_COUNT];

/* Every cell of the table null. */
void row_init(struct row *row, enum row_table table);
static inline void row_set_i64(struct row *row, int column, int64_t value)
{
    row->cells[column] = (struct row_cell){ .i64 = value };
}
static inline void row_set_uuid(struct row *row, int column, struct uuid value)
{
    row->cells[column] = (struct row_cell){ .uuid = value };
}
static inline void row_set_text(struct row *row, int column, struct span value)
{
    row->cells[column] = (struct row_cell){ .text = value };
}

size_t row_bytes(const struct row *row);
void row_write(const struct row *row, uint8_t *to); /* to has row_bytes() of room */
/* The table of a row that row_write has written. */
static inline enum row_table row_stored_table(struct span row)
{
    return (enum row_table)row.at[1];
}
/* Text spans point into body. ERR_CORRUPT: not a row. ERR_RETRY: of a newer Penstock, which can read it. */
int row_read(struct span body, struct row *out, struct err *err) must_check;
/* Makes text of what is packed. ERR_CORRUPT: it is damaged; ERR_FULL: the arena. */
int row_unpack(struct row *row, struct arena *arena, struct err *err) must_check;
/* The row as a JSON object, times as text, JSON columns as JSON: for `tail` and dead-letter downloads. Packed properties
 * that are damaged are null there. */
void row_write_json(const struct row *row, struct buf *out);

#endif
