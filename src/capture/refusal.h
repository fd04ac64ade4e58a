/* capture/refusal.h - an answer that is not a success: what the client is told, and what is counted. */
#ifndef PENSTOCK_CAPTURE_REFUSAL_H
#define PENSTOCK_CAPTURE_REFUSAL_H

#include "base/err.h"

/* X(name, tag): the label `cause` of capture_events_dropped_total and `error` of
 * capture_error_by_stage_and_type. */
#define REFUSAL_CAUSES(X)                                                                                   \
    X(NONE, "") X(DECODING, "req_decoding") X(PARSING, "req_parsing") X(HYDRATION, "req_hydration")         \
    X(EMPTY_BATCH, "empty_batch") X(EMPTY_PAYLOAD, "empty_payload")                                         \
    X(FILTERED, "empty_filtered_payload") X(NO_EVENT_NAME, "no_event_name")                                 \
    X(NO_DISTINCT_ID, "no_distinct_id") X(COOKIELESS, "invalid_cookieless") X(OVERSIZE, "oversize_event")   \
    X(NO_TOKEN, "no_token") X(MULTIPLE_TOKENS, "multiple_tokens") X(BAD_TOKEN, "invalid_token")             \
    X(UNKNOWN_TOKEN, "unknown_token") X(BODY_TIMEOUT, "body_read_timeout")                                  \
    X(HEADER_TIMEOUT, "header_read_timeout") X(UNAVAILABLE, "service_unavailable")                          \
    X(STORAGE_FULL, "storage_full") X(STORAGE_LATE, "storage_late") X(HTTP, "bad_http")                     \
    X(METHOD, "method_not_allowed") X(PATH, "not_found") X(NO_AUTHORIZATION, "missing_authorization")         \
    X(MISSING_HEADERS, "missing_required_headers") X(HEADER_VALUE, "invalid_header_value")                   \
    X(CONTENT_TYPE, "unsupported_content_type") X(ENCODING, "unsupported_encoding")                          \
    X(BAD_BATCH, "invalid_batch") X(NO_UUID, "missing_event_uuid") X(BAD_UUID, "invalid_event_uuid")         \
    X(DUPLICATE_UUID, "duplicate_event_uuid") X(RATE_LIMITED, "rate_limited")                                \
    X(QUOTA_EXCEPTIONS, "exceptions_over_quota") X(QUOTA_SURVEYS, "surveys_over_quota")                      \
    X(QUOTA_LLM, "llm_events_over_quota") X(QUOTA_EVENTS, "events_over_quota")                               \
    X(QUOTA_RECORDINGS, "recordings_over_quota") X(BILLING, "billing_limit_exceeded")                        \
    X(RESTRICTED, "event_restriction_drop") X(OVERLOAD, "overload") X(ADDRESS, "address_limit")              \
    X(MISROUTED, "misrouted_event") X(NO_SNAPSHOT, "no_snapshot") X(NO_SESSION_ID, "no_session_id") X(INVALID_SESSION, "invalid_session")
#define REFUSAL_ENUM(name, tag) REFUSAL_##name,
enum refusal_cause { REFUSAL_CAUSES(REFUSAL_ENUM) REFUSAL_CAUSE_COUNT };

/* A body above its limit: as it came, or what came out of a wrapping. */
enum refusal_size { REFUSAL_SIZE_FINE, REFUSAL_SIZE_PLAIN, REFUSAL_SIZE_GZIP, REFUSAL_SIZE_LZ64 };

struct refusal {
    int                status;
    enum refusal_cause cause;
    int                retry_after_s; /* 0: no such header */
    enum refusal_size  size;          /* what was too large, of a body */
    char               text[400];     /* the whole body, text/plain */
};

/* -1, always. */
int refusal_set(struct refusal *refusal, int status, enum refusal_cause cause, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The system gave no memory: nothing is wrong with the request. -1, always. */
int refusal_no_memory(struct refusal *refusal);
const char *refusal_tag(enum refusal_cause cause);

#endif
