/* capture/v1_event.h - one event of a v1 request: what is wrong with it, and what is stored of it.
 *
 * Stored is {"event","distinct_id","uuid","properties","timestamp"}, each value as the client wrote it;
 * what stood beside the properties (options, session, library) goes to the end of the properties, where
 * it wins over a key of the same name. */
#ifndef PENSTOCK_CAPTURE_V1_EVENT_H
#define PENSTOCK_CAPTURE_V1_EVENT_H

#include "base/arena.h"
#include "capture/v1_headers.h"
#include "event/record.h"
#include "wire/json.h"

enum { V1_NAME_BYTES_MAX = 200, V1_DISTINCT_ID_BYTES_MAX = 200 };

/* X(name, result, details): what the client is told about the event. */
#define V1_VERDICTS(X)                                                                                          \
    X(OK, "ok", "") X(PERSON_OFF, "ok", "person_processing_disabled")                                           \
    X(NO_NAME, "drop", "missing_event_name") X(LONG_NAME, "drop", "event_name_too_long")                        \
    X(NO_DISTINCT_ID, "drop", "missing_distinct_id") X(LONG_DISTINCT_ID, "drop", "distinct_id_too_large")       \
    X(BAD_TIMESTAMP, "drop", "invalid_event_timestamp")                                                         \
    X(BAD_PROPERTIES, "drop", "malformed_event_properties") X(BAD_OPTIONS, "drop", "invalid_options")           \
    X(PERFORMANCE, "drop", "performance_event") X(TOO_LARGE, "drop", "event_too_big")                            \
    X(ID_LIMITED, "warning", "person_processing_disabled") X(RESTRICTED, "drop", "event_restriction_drop")      \
    X(QUOTA_EXCEPTIONS, "drop", "exceptions_over_quota") X(QUOTA_SURVEYS, "drop", "survey_responses_over_quota") \
    X(QUOTA_LLM, "drop", "llm_events_over_quota")
#define V1_VERDICT_ENUM(name, result, details) V1_VERDICT_##name,
enum v1_verdict { V1_VERDICTS(V1_VERDICT_ENUM) V1_VERDICT_COUNT };

const char *v1_verdict_result(enum v1_verdict verdict);
const char *v1_verdict_details(enum v1_verdict verdict);
static inline bool v1_verdict_keeps(enum v1_verdict verdict)
{
    return verdict == V1_VERDICT_OK || verdict == V1_VERDICT_PERSON_OFF || verdict == V1_VERDICT_ID_LIMITED;
}

/* Absent values have raw.at NULL; a JSON null counts as absent where the field may be left out. */
struct v1_event {
    struct span       object; /* as the client wrote it */
    struct json_value event, distinct_id, uuid, timestamp; /* strings, always there */
    struct json_value session_id, window_id;               /* strings, or absent */
    struct json_value options, properties;                 /* anything, or absent */
    struct uuid       uuid_value;
    enum v1_verdict   verdict; /* written by v1_event_judge's caller */
    bool              repaired;
};

enum v1_switch { V1_ABSENT, V1_FALSE, V1_TRUE };

/* An event that is good enough to be kept. Text lies in the request or in the arena. */
struct v1_fields {
    struct span       event, distinct_id;
    int64_t           timestamp_us;
    enum v1_switch    cookieless, raw_time, person_profile;
    struct json_value product_tour; /* a string or a whole number, or absent */
};

/* *fields_out is filled when the verdict keeps the event. -1: the arena is full. */
int v1_event_judge(const struct v1_event *event, size_t bytes_max, struct arena *arena, struct v1_fields *fields_out,
                   enum v1_verdict *verdict_out) must_check;

/* Appends the event as it is stored. library: members to add at the end, `"$lib":"x","$lib_version":"1"`, or empty. */
void v1_event_write(const struct v1_event *event, const struct v1_fields *fields, struct span library,
                    struct buf *out);

#endif
