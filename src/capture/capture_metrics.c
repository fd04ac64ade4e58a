/* capture/capture_metrics.c - the table has a part that is written down and parts that are products
 * (path by status, cause by cause); the latter are made at start, so their labels need memory of their own. */
#include "capture/capture_metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double capture_seconds_bounds[] = { 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25,
                                                 0.5,   1,     2.5,   5,    10,   30,   INFINITY };
static const double capture_events_bounds[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, INFINITY };
static const double capture_bytes_bounds[] = { 256,    1024,    4096,    16384,    65536,
                                               262144, 1048576, 4194304, 20971520, INFINITY };
static const double capture_skew_bounds[] = { 0.1, 1, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400, INFINITY };

static const double capture_ratio_bounds[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, INFINITY };

static const int capture_statuses[CAPTURE_STATUS_COUNT] = { 200, 204, 400, 401, 404, 405, 408, 413, 414, 415, 429, 431, 503, 0 };

enum {
    AT_ANSWERS = CAPTURE_METRIC_SINGLE_COUNT,
    AT_DROPPED = AT_ANSWERS + ENDPOINT_PATH_COUNT * CAPTURE_STATUS_COUNT,
    AT_REJECTED = AT_DROPPED + REFUSAL_CAUSE_COUNT,
    AT_TIME = AT_REJECTED + (int)RECORD_REJECTED_CAPTURE_COUNT,
    AT_VERDICTS = AT_TIME + RECORD_TIME_OFFSET + 1,
    AT_QUOTA = AT_VERDICTS + V1_VERDICT_COUNT,
    AT_ERRORS = AT_QUOTA + CATALOG_RESOURCE_COUNT,
    METRIC_COUNT = AT_ERRORS + REFUSAL_CAUSE_COUNT
};

struct capture_metrics {
    struct metric_page *page;
    struct metric_def   defs[METRIC_COUNT];
    char                labels[METRIC_COUNT][96];
};

#define CAPTURE_METRIC_DEF(name, text, kind, bounds, help) { text, "", help, METRIC_##kind, bounds },
#define CAPTURE_LABELED_DEF(name, text, labels, kind, bounds, help) { text, labels, help, METRIC_##kind, bounds },

/* Where a request failed: before its events were known, or after. */
static const char *capture_stage(enum refusal_cause cause)
{
    switch (cause) {
    case REFUSAL_DECODING:
    case REFUSAL_PARSING:
    case REFUSAL_HYDRATION:
    case REFUSAL_EMPTY_BATCH:
    case REFUSAL_EMPTY_PAYLOAD:
    case REFUSAL_NO_TOKEN:
    case REFUSAL_MULTIPLE_TOKENS:
    case REFUSAL_BAD_TOKEN:
    case REFUSAL_UNKNOWN_TOKEN:
    case REFUSAL_HTTP:
    case REFUSAL_BODY_TIMEOUT:
    case REFUSAL_HEADER_TIMEOUT: return "parsing";
    default: return "processing";
    }
}

static void capture_metrics_define(struct capture_metrics *metrics)
{
    static const struct metric_def singles[] = { CAPTURE_METRICS(CAPTURE_METRIC_DEF) CAPTURE_LABELED(CAPTURE_LABELED_DEF) };
    static const char *const       times[] = { "now_fallback", "timestamp_raw", "sent_at_skew", "offset" };

    memcpy(metrics->defs, singles, sizeof singles);
    for (int path = 0; path < ENDPOINT_PATH_COUNT; path++)
        for (int status = 0; status < CAPTURE_STATUS_COUNT; status++) {
            int at = AT_ANSWERS + path * CAPTURE_STATUS_COUNT + status;

            metrics->defs[at] = (struct metric_def){ .name = "http_requests_total", .help = "requests answered" };
            if (capture_statuses[status] == 0)
                (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "path=\"%s\",status=\"other\"",
                               endpoint_path_text((enum endpoint_path)path));
            else
                (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "path=\"%s\",status=\"%d\"",
                               endpoint_path_text((enum endpoint_path)path), capture_statuses[status]);
        }
    for (int cause = 0; cause < REFUSAL_CAUSE_COUNT; cause++) {
        int at = AT_DROPPED + cause;

        metrics->defs[at] = (struct metric_def){ .name = "capture_events_dropped_total",
                                                 .help = "events refused with their whole request, or kept out by a rule" };
        (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "cause=\"%s\"",
                       refusal_tag((enum refusal_cause)cause));
    }
    for (int rejection = 0; rejection < RECORD_REJECTED_CAPTURE_COUNT; rejection++) {
        int at = AT_REJECTED + rejection;

        metrics->defs[at] = (struct metric_def){ .name = "capture_event_rejections_total",
                                                 .help = "bad events by what was wrong, dead-lettered or refused" };
        (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "reason=\"%d_%s\"", rejection,
                       record_rejection_tag((enum record_rejection)rejection));
    }
    for (int source = 0; source <= RECORD_TIME_OFFSET; source++) {
        int at = AT_TIME + source;

        metrics->defs[at] = (struct metric_def){ .name = "capture_timestamp_path_total",
                                                 .help = "events by where their time came from" };
        (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "ts_path=\"%s\"", times[source]);
    }
    for (int verdict = 0; verdict < V1_VERDICT_COUNT; verdict++) {
        int at = AT_VERDICTS + verdict;

        metrics->defs[at] = (struct metric_def){ .name = "capture_v1_event_results_total",
                                                 .help = "events of v1 requests by what their client was told" };
        (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "result=\"%s\",details=\"%s\"",
                       v1_verdict_result((enum v1_verdict)verdict), v1_verdict_details((enum v1_verdict)verdict));
    }
    for (int resource = 0; resource < CATALOG_RESOURCE_COUNT; resource++) {
        int at = AT_QUOTA + resource;

        metrics->defs[at] = (struct metric_def){ .name = "capture_quota_limit_exceeded",
                                                 .help = "events that a quota kept out, and v1 requests refused whole" };
        (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "resource=\"%s\"",
                       catalog_resource_name((enum catalog_resource)resource));
    }
    for (int cause = 0; cause < REFUSAL_CAUSE_COUNT; cause++) {
        int at = AT_ERRORS + cause;

        metrics->defs[at] = (struct metric_def){ .name = "capture_error_by_stage_and_type", .help = "requests refused" };
        (void)snprintf(metrics->labels[at], sizeof *metrics->labels, "error=\"%s\",stage=\"%s\"",
                       refusal_tag((enum refusal_cause)cause), capture_stage((enum refusal_cause)cause));
    }
    for (int i = CAPTURE_METRIC_SINGLE_COUNT; i < METRIC_COUNT; i++)
        metrics->defs[i].labels = metrics->labels[i];
}

int capture_metrics_open(const char *folder, struct capture_metrics **out, struct err *err)
{
    struct capture_metrics *metrics = calloc(1, sizeof *metrics);

    if (metrics == NULL)
        return err_set(err, ERR_FULL, "no memory for metrics");
    capture_metrics_define(metrics);
    if (metric_page_make(folder, "capture", metrics->defs, METRIC_COUNT, &metrics->page, err) < 0) {
        free(metrics);
        return -1;
    }
    *out = metrics;
    return 0;
}

int capture_metrics_show(struct capture_metrics *metrics, struct err *err)
{
    return metric_page_show(metrics->page, err);
}

void capture_metrics_close(struct capture_metrics *metrics)
{
    if (metrics == NULL)
        return;
    metric_page_close(metrics->page);
    free(metrics);
}

void capture_count(struct capture_metrics *metrics, int index, uint64_t by)
{
    metric_add(metrics->page, (size_t)index, by);
}

void capture_gauge(struct capture_metrics *metrics, int index, int64_t value)
{
    metric_set(metrics->page, (size_t)index, value);
}

void capture_gauge_by(struct capture_metrics *metrics, int index, int64_t by)
{
    metric_add(metrics->page, (size_t)index, (uint64_t)by);
}

void capture_observe(struct capture_metrics *metrics, int index, double value)
{
    metric_observe(metrics->page, (size_t)index, value);
}

void capture_count_answer(struct capture_metrics *metrics, enum endpoint_path path, int status)
{
    int i = 0;

    while (capture_statuses[i] != 0 && capture_statuses[i] != status)
        i++;
    metric_add(metrics->page, (size_t)(AT_ANSWERS + (int)path * CAPTURE_STATUS_COUNT + i), 1);
}

static void capture_count_dropped(struct capture_metrics *metrics, enum refusal_cause cause, uint64_t events)
{
    assert(cause < REFUSAL_CAUSE_COUNT);
    metric_add(metrics->page, (size_t)(AT_DROPPED + (int)cause), events == 0 ? 1 : events);
}

void capture_count_refusal(struct capture_metrics *metrics, enum refusal_cause cause, uint64_t events)
{
    capture_count_dropped(metrics, cause, events);
    metric_add(metrics->page, (size_t)(AT_ERRORS + (int)cause), 1);
}

/* What the rules did. */
static void capture_count_ruled(struct capture_metrics *metrics, const struct intake_result *result)
{
    for (int i = 0; i < CATALOG_RESOURCE_COUNT; i++)
        if (result->by_quota[i] > 0) {
            metric_add(metrics->page, (size_t)(AT_QUOTA + i), result->by_quota[i]);
            if (result->over_quota > 0) /* else the whole request was refused, and is counted with its cause */
                capture_count_dropped(metrics, rules_quota_cause((enum catalog_resource)i), result->by_quota[i]);
        }
    if (result->restricted > 0) {
        capture_count_dropped(metrics, REFUSAL_RESTRICTED, result->restricted);
        metric_add(metrics->page, result->recording ? CAPTURE_METRIC_RESTRICTED_REPLAYS : CAPTURE_METRIC_RESTRICTED_EVENTS,
                   result->restricted);
    }
    metric_add(metrics->page, CAPTURE_METRIC_IDS_LIMITED, result->ids_limited);
    metric_add(metrics->page, CAPTURE_METRIC_REROUTED_OVERFLOW, result->overflowing);
}

void capture_count_intake(struct capture_metrics *metrics, const struct intake_result *result, size_t body_bytes)
{
    metric_add(metrics->page, CAPTURE_METRIC_EVENTS_RECEIVED, result->events);
    if (result->filtered > 0)
        capture_count_dropped(metrics, REFUSAL_FILTERED, result->filtered);
    if (result->blank_ids > 0)
        metric_add(metrics->page, CAPTURE_METRIC_ID_WHITESPACE, result->blank_ids);
    if (result->old > 0)
        metric_add(metrics->page, CAPTURE_METRIC_REROUTED_HISTORICAL, result->old);
    if (result->gzipped && body_bytes > 0)
        metric_observe(metrics->page, CAPTURE_METRIC_GZIP_RATIO, (double)result->text_bytes / (double)body_bytes);
    if (result->lz64 && body_bytes > 0)
        metric_observe(metrics->page, CAPTURE_METRIC_LZ64_RATIO, (double)result->text_bytes / (double)body_bytes);
    if (result->over_quota + result->restricted + result->ids_limited + result->by_quota[CATALOG_EVENTS] > 0)
        capture_count_ruled(metrics, result);
    metric_observe(metrics->page, CAPTURE_METRIC_BATCH_SIZE, (double)result->events);
    metric_observe(metrics->page, CAPTURE_METRIC_RAW_PAYLOAD, (double)body_bytes);
    metric_observe(metrics->page, CAPTURE_METRIC_FULL_PAYLOAD, (double)result->text_bytes);
    for (int i = 0; i <= RECORD_TIME_OFFSET; i++)
        if (result->by_time[i] > 0)
            metric_add(metrics->page, (size_t)(AT_TIME + i), result->by_time[i]);
    for (int i = 1; i < RECORD_REJECTED_CAPTURE_COUNT; i++)
        if (result->by_rejection[i] > 0)
            metric_add(metrics->page, (size_t)(AT_REJECTED + i), result->by_rejection[i]);
    if (result->skew_known)
        metric_observe(metrics->page, CAPTURE_METRIC_CLOCK_SKEW, fabs(result->skew_s));
}

void capture_count_size(struct capture_metrics *metrics, enum refusal_size size)
{
    static const int by_size[] = { -1, CAPTURE_METRIC_SIZE_PLAIN, CAPTURE_METRIC_SIZE_GZIP, CAPTURE_METRIC_SIZE_LZ64 };

    if (size != REFUSAL_SIZE_FINE)
        metric_add(metrics->page, (size_t)by_size[size], 1);
}

void capture_count_v1(struct capture_metrics *metrics, const struct intake_result *result, size_t body_bytes, enum refusal_cause cause,
                      int64_t took_us)
{
    metric_observe(metrics->page, CAPTURE_METRIC_V1_SECONDS, (double)took_us / 1e6);
    metric_observe(metrics->page, CAPTURE_METRIC_V1_RAW_BYTES, (double)body_bytes);
    metric_add(metrics->page, CAPTURE_METRIC_V1_UNDECODED, cause == REFUSAL_DECODING);
    metric_add(metrics->page, CAPTURE_METRIC_V1_ERRORS, cause != REFUSAL_NONE);
    if (result->text_bytes > 0)
        metric_observe(metrics->page, CAPTURE_METRIC_V1_TEXT_BYTES, (double)result->text_bytes);
    if (cause != REFUSAL_NONE)
        return;
    metric_observe(metrics->page, CAPTURE_METRIC_V1_BATCH, (double)result->events);
    metric_add(metrics->page, CAPTURE_METRIC_V1_OVERFLOW, result->overflowing);
    metric_add(metrics->page, CAPTURE_METRIC_V1_HISTORICAL, result->old);
    metric_add(metrics->page, CAPTURE_METRIC_V1_LIMITED, result->ids_limited);
    if (result->skew_known)
        metric_observe(metrics->page, CAPTURE_METRIC_V1_SKEW, fabs(result->skew_s));
}

void capture_count_verdicts(struct capture_metrics *metrics, const uint32_t *by_verdict)
{
    uint64_t all = 0, dropped = 0;

    for (int i = 0; i < V1_VERDICT_COUNT; i++)
        if (by_verdict[i] > 0) {
            metric_add(metrics->page, (size_t)(AT_VERDICTS + i), by_verdict[i]);
            all += by_verdict[i];
            dropped += v1_verdict_keeps((enum v1_verdict)i) ? 0 : by_verdict[i];
        }
    metric_add(metrics->page, CAPTURE_METRIC_V1_PARSED, all);
    metric_add(metrics->page, CAPTURE_METRIC_V1_WARNINGS, by_verdict[V1_VERDICT_ID_LIMITED]);
    if (dropped == 0)
        return;
    metric_add(metrics->page, CAPTURE_METRIC_V1_DROPPED, dropped);
    metric_add(metrics->page, CAPTURE_METRIC_V1_QUOTA, by_verdict[V1_VERDICT_QUOTA_EXCEPTIONS] +
                                                           by_verdict[V1_VERDICT_QUOTA_SURVEYS] + by_verdict[V1_VERDICT_QUOTA_LLM]);
    metric_add(metrics->page, CAPTURE_METRIC_V1_RESTRICTED, by_verdict[V1_VERDICT_RESTRICTED]);
}

uint64_t capture_metric_value(const struct capture_metrics *metrics, int index)
{
    return metric_get(metrics->page, (size_t)index);
}
