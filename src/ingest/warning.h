/* ingest/warning.h - what ingest tells a project's people about their own events.
 *
 * A rule adds a warning to the event it looks at; nothing is written yet. When all rules have been heard, each
 * warning passes the gate (most types: once an hour for each project, type and key, so that a mistake in a
 * client makes one line and not a million) and becomes a row of ingestion_warnings.
 * Memory: the batch's arena. A warning that finds no room is left out: it must never harm its event. */
#ifndef PENSTOCK_INGEST_WARNING_H
#define PENSTOCK_INGEST_WARNING_H

#include "base/arena.h"
#include "base/buf.h"
#include "wire/uuid.h"

/* X(enum suffix, type, category, severity, ALWAYS or HOUR) */
#define WARNINGS(X)                                                                                             \
    X(MESSAGE_SIZE, "message_size_too_large", "size", "error", HOUR)                                            \
    X(PERSON_SIZE, "person_properties_size_violation", "size", "error", ALWAYS)                                 \
    X(GROUP_SIZE, "group_upsert_message_size_too_large", "size", "error", ALWAYS)                               \
    X(GROUP_KEY_TOO_LONG, "group_key_too_long", "size", "error", HOUR)                                          \
    X(ALREADY_IDENTIFIED, "cannot_merge_already_identified", "merge", "warning", ALWAYS)                        \
    X(ILLEGAL_ID, "cannot_merge_with_illegal_distinct_id", "merge", "warning", ALWAYS)                          \
    X(TOO_MANY_JOINS, "merge_rate_exceeded", "merge", "error", ALWAYS)                                          \
    X(CLIENT, "client_ingestion_warning", "event", "info", ALWAYS)                                              \
    X(DISTINCT_ID, "skipping_event_invalid_distinct_id", "event", "error", HOUR)                                \
    X(PERSON_PROFILE, "invalid_process_person_profile", "event", "warning", HOUR)                               \
    X(MERGE_WITHOUT_PERSON, "invalid_event_when_process_person_profile_is_false", "event", "error", ALWAYS)     \
    X(TIMESTAMP, "ignored_invalid_timestamp", "event", "warning", HOUR)                                         \
    X(TOO_OLD, "event_dropped_too_old", "event", "info", HOUR)                                                  \
    X(GROUP_SET, "invalid_group_set", "event", "warning", HOUR)                                                 \
    X(ANON_DISTINCT_ID, "invalid_anon_distinct_id", "event", "error", HOUR)                                     \
    X(ALIAS, "invalid_alias", "event", "error", HOUR)                                                           \
    X(AI_TOKENS, "invalid_ai_token_property", "event", "warning", HOUR)                                         \
    X(UUID_VERSION, "event_uuid_not_v7", "event", "info", HOUR)                                                 \
    X(SESSION_ID, "invalid_event_session_id", "event", "warning", HOUR)                                         \
    X(HEATMAP, "invalid_heatmap_data", "event", "warning", HOUR)                                                \
    X(HEATMAP_URL, "rejecting_heatmap_data_with_invalid_url", "event", "warning", HOUR)                         \
    X(HEATMAP_ITEMS, "rejecting_heatmap_data_with_invalid_items", "event", "warning", HOUR)                     \
    X(PERSON_UPDATE, "invalid_person_update", "event", "warning", HOUR)                                         \
    X(GROUPS, "invalid_groups", "event", "warning", HOUR)                                                       \
    X(GROUP_TYPES, "group_type_limit_reached", "event", "warning", HOUR)                                        \
    X(TEXT_REPAIRED, "invalid_text_replaced", "event", "warning", HOUR)                                         \
    X(DISTINCT_ID_CUT, "distinct_id_too_large", "event", "error", HOUR)                                         \
    X(NAME_TOO_LONG, "event_name_too_long", "event", "error", HOUR)                                             \
    X(COOKIELESS_NO_AGENT, "cookieless_missing_user_agent", "event", "error", HOUR)                             \
    X(COOKIELESS_NO_IP, "cookieless_missing_ip", "event", "error", HOUR)                                        \
    X(COOKIELESS_NO_HOST, "cookieless_missing_host", "event", "error", HOUR)                                    \
    X(COOKIELESS_RANGE, "cookieless_timestamp_out_of_range", "event", "error", HOUR)                            \
    X(DEFINITIONS, "definition_limit_reached", "size", "warning", HOUR)                                         \
    X(LOG_DAMAGED, "log_damaged", "storage", "error", ALWAYS)                                                   \
    WARNINGS_OF_CLIENTS(X)

/* What a client may say of itself through `$$client_ingestion_warning_type` (with the two above:
 * distinct_id_too_large, event_name_too_long); any other type falls back to client_ingestion_warning. */
#define WARNINGS_OF_CLIENTS(X)                                                                                  \
    X(C_MISSING_NAME, "missing_event_name", "event", "error", HOUR)                                             \
    X(C_MISSING_DISTINCT, "missing_distinct_id", "event", "error", HOUR)                                        \
    X(C_TIMESTAMP, "invalid_event_timestamp", "event", "error", HOUR)                                           \
    X(C_PROPERTIES, "malformed_event_properties", "event", "error", HOUR)                                       \
    X(C_OPTIONS, "invalid_options", "event", "error", HOUR)                                                     \
    X(C_EMPTY_BATCH, "empty_batch", "event", "error", HOUR)                                                     \
    X(C_INVALID_BATCH, "invalid_batch", "event", "error", HOUR)                                                 \
    X(C_MISSING_UUID, "missing_event_uuid", "event", "error", HOUR)                                             \
    X(C_INVALID_UUID, "invalid_event_uuid", "event", "error", HOUR)                                             \
    X(C_DUPLICATE_UUID, "duplicate_event_uuid", "event", "error", HOUR)

#define WARNING_ENUM(suffix, type, category, severity, how_often) WARNING_##suffix,
enum warning_type { WARNINGS(WARNING_ENUM) WARNING_COUNT };

enum warning_rate { WARNING_ALWAYS, WARNING_HOUR };
struct warning_info { const char *type, *category, *severity; enum warning_rate rate; };
extern const struct warning_info warning_infos[WARNING_COUNT];
/* The type of that name which clients may claim; WARNING_CLIENT when they may not. */
enum warning_type warning_of_client(struct span type);

enum { WARNING_DETAILS_MAX = 6 };

struct warning {
    struct warning   *next;
    enum warning_type type;
    struct span       key; /* of the gate, besides project and type */
    struct span       source;  /* who tells; bytes 0: ingest */
    struct span       members; /* details that came whole: `"name":value,` each */
    bool              has_event, has_distinct_id; /* among them */
    unsigned          count;
    struct {
        const char *name;
        bool        is_text; /* text: quoted when written; otherwise valid JSON */
        struct span value;
    } details[WARNING_DETAILS_MAX];
};

struct warning_list {
    struct arena   *arena;
    struct warning *first, *last;
};

/* NULL when there is no room; the functions below then do nothing. */
struct warning *warning_add(struct warning_list *list, enum warning_type type);
void warning_text(struct warning *warning, const char *name, struct span text); /* valid UTF-8, borrowed */
void warning_raw(struct warning *warning, const char *name, struct span json);
void warning_number(struct warning_list *list, struct warning *warning, const char *name, int64_t number);
void warning_uuid(struct warning_list *list, struct warning *warning, const char *name, const struct uuid *uuid);

/* details as a JSON object: what was added, then eventUuid and distinctId, as far as the type carries them and they
 * are there (NULL, empty: not), category and severity. */
void warning_write(const struct warning *warning, const struct uuid *event, struct span distinct_id, struct buf *out);

/* --- the gate: at most one an hour ------------------------------------------------------------- */

/* Bounded: forgets the oldest when full, which then may speak again early. What a batch let pass counts
 * only when the batch is committed. @thread one */
struct warning_gate;

/* Kept over restarts in run_folder/ingest.warned; without a folder, or when the file cannot be used, the gate is this
 * process's alone. NULL: no memory. */
struct warning_gate *warning_gate_new(const char *run_folder);
void warning_gate_free(struct warning_gate *gate);
bool warning_gate_pass(struct warning_gate *gate, uint32_t project, enum warning_type type, struct span key, int64_t now_us);
/* Leaves those of an event in the list that pass. */
void warning_gate_sift(struct warning_gate *gate, uint32_t project, struct warning_list *list, int64_t now_us);
void warning_gate_commit(struct warning_gate *gate);
void warning_gate_abort(struct warning_gate *gate);

#endif
