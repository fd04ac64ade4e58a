/* capture/capture_metrics.h - what capture counts. Names are those of dashboards that exist. */
#ifndef PENSTOCK_CAPTURE_CAPTURE_METRICS_H
#define PENSTOCK_CAPTURE_CAPTURE_METRICS_H

#include "base/metric.h"
#include "capture/endpoint.h"
#include "capture/intake.h"
#include "capture/refusal.h"
#include "capture/v1_event.h"

#define CAPTURE_METRICS(X)                                                                                      \
    X(EVENTS_RECEIVED, "capture_events_received_total", COUNTER, NULL, "events found in requests")               \
    X(EVENTS_INGESTED, "capture_events_ingested_total", COUNTER, NULL, "events that are on disk and acknowledged") \
    X(EVENTS_REJECTED, "capture_events_rejected_total", COUNTER, NULL,                                           \
      "bad events of otherwise good requests, kept as dead letters")                                             \
    X(IDS_LIMITED, "capture_events_rate_limited_token_distinctid", COUNTER, NULL,                                \
      "events that are kept without a person, because their distinct id sends more than its limit")              \
    X(CONNECTIONS, "capture_active_connections", GAUGE, NULL, "open connections")                                \
    X(CONNECTIONS_TOTAL, "capture_connections_total", COUNTER, NULL, "connections accepted")                     \
    X(CONNECTIONS_SHED, "capture_connections_shed_total", COUNTER, NULL, "connections answered 503 at once")     \
    X(CLIENT_ABORTED, "capture_client_aborted_total", COUNTER, NULL, "requests whose client left before their end") \
    X(BODY_TIMEOUTS, "capture_body_read_timeout_total", COUNTER, NULL, "bodies that stalled")                    \
    X(OVERLOAD, "capture_overload_level", GAUGE, NULL,                                                           \
      "0: none; 1: recordings are sent away, 2: newcomers too, 3: the largest projects too, 4: all requests with events") \
    X(LOOKED, "capture_overload_looked_total", COUNTER, NULL,                                                     \
      "times that a connection was looked at in the middle of another's large request, so as not to let it wait")  \
    X(ACCEPTED_MEANWHILE, "capture_overload_accepted_total", COUNTER, NULL,                                      \
      "newcomers accepted in the middle of another's large request")                                             \
    X(ADDRESS_REFUSED, "capture_address_connections_refused_total", COUNTER, NULL,                               \
      "connections answered 503 because their address has too many")                                           \
    X(MEMORY, "capture_memory_bytes", GAUGE, NULL, "bodies and records held now")                                \
    X(REQUEST_SECONDS, "http_requests_duration_seconds", HISTOGRAM, capture_seconds_bounds,                      \
      "from the whole request to its answer")                                                                    \
    X(COMMIT_SECONDS, "capture_commit_duration_seconds", HISTOGRAM, capture_seconds_bounds,                      \
      "from handing records to the log to their acknowledgement")                                                \
    X(COMMIT_EVENTS, "capture_commit_events", HISTOGRAM, capture_events_bounds, "records in one group commit")   \
    X(BATCH_SIZE, "capture_event_batch_size", HISTOGRAM, capture_events_bounds, "events in one request")         \
    X(RAW_PAYLOAD, "capture_raw_payload_size", HISTOGRAM, capture_bytes_bounds, "bytes of a body as sent")       \
    X(FULL_PAYLOAD, "capture_full_payload_size", HISTOGRAM, capture_bytes_bounds, "bytes of a body as JSON")     \
    X(CLOCK_SKEW, "capture_client_clock_skew_seconds", HISTOGRAM, capture_skew_bounds,                           \
      "how far sent_at was from our clock, either way")                                                          \
    X(CAGE_SECCOMP, "capture_cage_seccomp", GAUGE, NULL, "1: system calls outside the list end the process")     \
    X(CAGE_LANDLOCK, "capture_cage_landlock", GAUGE, NULL, "version of Landlock that keeps it from files; 0: none") \
    X(PROXY_REFUSED, "capture_proxy_refused_total", COUNTER, NULL,                                               \
      "connections closed because their PROXY header was wrong, late, or from no trusted proxy")                 \
    X(TLS_HANDSHAKES, "capture_tls_handshakes_total", COUNTER, NULL, "TLS handshakes that were finished")       \
    X(TLS_RESUMED, "capture_tls_resumed_total", COUNTER, NULL, "of these, resumed with a ticket")               \
    X(TLS_FAILED, "capture_tls_handshakes_failed_total", COUNTER, NULL, "TLS handshakes that failed or came late") \
    X(TLS_PLAIN, "capture_tls_plain_total", COUNTER, NULL, "plain HTTP on a port of TLS, answered 400")         \
    X(TLS_RELOADS, "capture_tls_certificate_loads_total", COUNTER, NULL, "certificates that came into force")   \
    X(TLS_RELOADS_FAILED, "capture_tls_certificate_loads_failed_total", COUNTER, NULL,                           \
      "certificates or keys that were refused; the earlier ones stay")                                           \
    X(TLS_EXPIRES, "capture_tls_certificate_expires_seconds", GAUGE, NULL,                                       \
      "Unix time at which the first certificate in force expires")                                               \
    X(CATALOG_VERSION, "capture_catalog_version", GAUGE, NULL, "version of the catalog whose tokens are in force")
#define CAPTURE_METRIC_ENUM(name, text, kind, bounds, help) CAPTURE_METRIC_##name,

/* Those whose labels never differ, because dashboards ask for them: X(name, metric, labels, kind, bounds, help). */
#define CAPTURE_LABELED(X)                                                                                      \
    X(REROUTED_OVERFLOW, "capture_events_rerouted_overflow", "reason=\"rate_limited\"", COUNTER, NULL,          \
      "events marked for the overflow lane")                                                                    \
    X(REROUTED_HISTORICAL, "capture_events_rerouted_historical", "reason=\"timestamp\"", COUNTER, NULL,         \
      "events that are imports by their age")                                                                   \
    X(RESTRICTED_EVENTS, "capture_event_restrictions_applied",                                                  \
      "restriction_type=\"drop_event_from_ingestion\",pipeline=\"analytics\"", COUNTER, NULL,                   \
      "events and recordings that a restriction dropped")                                                       \
    X(RESTRICTED_REPLAYS, "capture_event_restrictions_applied",                                                 \
      "restriction_type=\"drop_event_from_ingestion\",pipeline=\"session_recordings\"", COUNTER, NULL,          \
      "events and recordings that a restriction dropped")                                                       \
    X(RESTRICTIONS_LOADED, "capture_event_restrictions_loaded_count", "", GAUGE, NULL,                          \
      "restrictions of all projects that are in force")                                                         \
    X(RESTRICTIONS_REFRESHED, "capture_event_restrictions_last_refresh_timestamp", "", GAUGE, NULL,             \
      "when the catalog that is in force was taken over, in seconds since 1970")                                \
    X(LOADED_EXCEPTIONS, "capture_billing_limits_loaded_tokens", "cache_key=\"exceptions\"", GAUGE, NULL,       \
      "tokens with a quota that is used up, when the catalog was taken over")                                   \
    X(LOADED_SURVEYS, "capture_billing_limits_loaded_tokens", "cache_key=\"surveys\"", GAUGE, NULL,             \
      "tokens with a quota that is used up, when the catalog was taken over")                                   \
    X(LOADED_LLM, "capture_billing_limits_loaded_tokens", "cache_key=\"llm_events\"", GAUGE, NULL,              \
      "tokens with a quota that is used up, when the catalog was taken over")                                   \
    X(LOADED_EVENTS, "capture_billing_limits_loaded_tokens", "cache_key=\"events\"", GAUGE, NULL,               \
      "tokens with a quota that is used up, when the catalog was taken over")                                   \
    X(LOADED_RECORDINGS, "capture_billing_limits_loaded_tokens", "cache_key=\"recordings\"", GAUGE, NULL,       \
      "tokens with a quota that is used up, when the catalog was taken over")                                   \
    X(ID_WHITESPACE, "capture_distinct_id_has_whitespace_total", "", COUNTER, NULL,                             \
      "events whose distinct id begins or ends with white space")                                               \
    X(GZIP_RATIO, "capture_gzip_decompression_ratio", "", HISTOGRAM, capture_ratio_bounds,                      \
      "bytes of a gzip body as JSON over its bytes as sent")                                                    \
    X(LZ64_RATIO, "capture_lz64_decompression_ratio", "", HISTOGRAM, capture_ratio_bounds,                      \
      "bytes of an LZ-string body as JSON over its bytes as sent")                                              \
    X(SIZE_PLAIN, "capture_payload_size_exceeded", "kind=\"none\"", COUNTER, NULL,                              \
      "bodies above their limit: as they came, or unpacked")                                                    \
    X(SIZE_GZIP, "capture_payload_size_exceeded", "kind=\"gzip\"", COUNTER, NULL,                               \
      "bodies above their limit: as they came, or unpacked")                                                    \
    X(SIZE_LZ64, "capture_payload_size_exceeded", "kind=\"lz64\"", COUNTER, NULL,                               \
      "bodies above their limit: as they came, or unpacked")                                                    \
    X(V1_OVERFLOW, "capture_v1_events_rerouted_overflow", "reason=\"rate_limited\"", COUNTER, NULL,             \
      "events of v1 requests marked for the overflow lane")                                                     \
    X(V1_HISTORICAL, "capture_v1_events_rerouted_historical", "reason=\"timestamp\"", COUNTER, NULL,            \
      "events of v1 requests that are imports by their age")                                                    \
    X(V1_LIMITED, "capture_v1_rate_limiter", "", COUNTER, NULL,                                                 \
      "events of v1 requests that are kept without a person, because their distinct id sends more than its limit") \
    X(V1_BATCH, "capture_v1_event_batch_size", "", HISTOGRAM, capture_events_bounds, "events in one v1 request") \
    X(V1_RAW_BYTES, "capture_v1_payload_size_bytes", "stage=\"raw\"", HISTOGRAM, capture_bytes_bounds,          \
      "bytes of a v1 body as sent, and as JSON")                                                                \
    X(V1_TEXT_BYTES, "capture_v1_payload_size_bytes", "stage=\"decompressed\"", HISTOGRAM, capture_bytes_bounds, \
      "bytes of a v1 body as sent, and as JSON")                                                                \
    X(V1_SKEW, "capture_v1_clock_skew_seconds", "", HISTOGRAM, capture_skew_bounds,                             \
      "how far sent_at of v1 requests was from our clock, either way")                                          \
    X(V1_SECONDS, "capture_v1_processing_duration_seconds", "", HISTOGRAM, capture_seconds_bounds,              \
      "work on a v1 request, before its commit")                                                                \
    X(V1_ERRORS, "capture_v1_analytics_error", "", COUNTER, NULL, "v1 requests refused whole")                  \
    X(V1_WARNINGS, "capture_v1_analytics_warning", "", COUNTER, NULL, "events of v1 requests with the verdict warning") \
    X(V1_BODY_TIMEOUTS, "capture_v1_body_read_timeout_total", "", COUNTER, NULL, "bodies of v1 requests that stalled") \
    X(V1_UNDECODED, "capture_v1_decompression_errors_total", "", COUNTER, NULL, "v1 bodies that are not what their encoding says") \
    X(V1_PARSED, "capture_v1_parsed_events", "", COUNTER, NULL, "events found in v1 requests")                  \
    X(V1_DROPPED, "capture_v1_events_dropped", "", COUNTER, NULL, "events of v1 requests with the verdict drop") \
    X(V1_QUOTA, "capture_v1_events_quota_limited", "", COUNTER, NULL, "of these, over a quota")                 \
    X(V1_RESTRICTED, "capture_v1_events_restricted", "", COUNTER, NULL, "of these, dropped by a restriction")
#define CAPTURE_LABELED_ENUM(name, text, labels, kind, bounds, help) CAPTURE_METRIC_##name,
enum { CAPTURE_METRICS(CAPTURE_METRIC_ENUM) CAPTURE_LABELED(CAPTURE_LABELED_ENUM) CAPTURE_METRIC_SINGLE_COUNT };

enum { CAPTURE_STATUS_COUNT = 14 }; /* known status codes and "other" */

struct capture_metrics;

/* folder NULL: not readable from outside (tests). */
int  capture_metrics_open(const char *folder, struct capture_metrics **out, struct err *err) must_check;
/* Others see it from here on, in place of another capture's. */
int  capture_metrics_show(struct capture_metrics *metrics, struct err *err) must_check;
void capture_metrics_close(struct capture_metrics *metrics);

/* @thread any */
void capture_count(struct capture_metrics *metrics, int index, uint64_t by);
void capture_gauge(struct capture_metrics *metrics, int index, int64_t value);
/* Of a gauge that is the sum of what each loop has. */
void capture_gauge_by(struct capture_metrics *metrics, int index, int64_t by);
void capture_observe(struct capture_metrics *metrics, int index, double value);
void capture_count_answer(struct capture_metrics *metrics, enum endpoint_path path, int status);
/* events: how many went with it; a refused request counts as at least one. */
void capture_count_refusal(struct capture_metrics *metrics, enum refusal_cause cause, uint64_t events);
void capture_count_intake(struct capture_metrics *metrics, const struct intake_result *result, size_t body_bytes);
void capture_count_size(struct capture_metrics *metrics, enum refusal_size size);
/* A v1 request, taken (REFUSAL_NONE) or refused, after so long. */
void capture_count_v1(struct capture_metrics *metrics, const struct intake_result *result, size_t body_bytes, enum refusal_cause cause,
                      int64_t took_us);
/* by_verdict has V1_VERDICT_COUNT counts. */
void capture_count_verdicts(struct capture_metrics *metrics, const uint32_t *by_verdict);
uint64_t capture_metric_value(const struct capture_metrics *metrics, int index);

#endif
