/* capture/config_answer.c - browsers hold autocapture back until autocapture_opt_out is there, send gzip
 * only when supportedCompression names gzip-js, and stop asking for flags when hasFeatureFlags is false. */
#include "capture/config_answer.h"

#include <inttypes.h>

#include "wire/form.h"
#include "wire/time.h"

#define CONFIG_FIELDS                                                                                        \
    "\"supportedCompression\":[\"gzip\",\"gzip-js\"],\"hasFeatureFlags\":false,\"sessionRecording\":false,"  \
    "\"surveys\":false,\"heatmaps\":true,\"capturePerformance\":false,\"captureDeadClicks\":false,"          \
    "\"autocapture_opt_out\":false,\"autocaptureExceptions\":false,"                                         \
    "\"errorTracking\":{\"autocaptureExceptions\":false},\"siteApps\":[],\"isAuthenticated\":false,"         \
    "\"toolbarParams\":{},\"elementsChainAsString\":true,\"defaultIdentifiedOnly\":true,"                    \
    "\"analytics\":{\"endpoint\":\"/i/v0/e/\"}"

static void config_write_object(struct buf *body, struct span token)
{
    buf_add_text(body, "{\"token\":\"");
    buf_add(body, token);
    buf_add_text(body, "\"," CONFIG_FIELDS "}");
}

static void config_write_flags(const struct config_question *question, struct buf *body)
{
    char        id[UUID_TEXT_BYTES];
    struct span wants_config;

    uuid_format(&question->request_id, id);
    buf_add_format(body, "{\"flags\":{},\"featureFlags\":{},\"featureFlagPayloads\":{},"
                         "\"errorsWhileComputingFlags\":false,\"requestId\":\"%.*s\",\"evaluatedAt\":%" PRId64,
                   UUID_TEXT_BYTES, id, question->now_us / TIME_US_MS);
    if (form_find(question->query, "config", &wants_config) && span_is(wants_config, "true"))
        buf_add_text(body, "," CONFIG_FIELDS);
    buf_add_text(body, "}");
}

int config_answer_write(const struct config_question *question, struct buf *body, const char **type_out)
{
    *type_out = "application/json";
    switch (question->kind) {
    case ENDPOINT_CONFIG:
        config_write_object(body, question->token);
        return 200;
    case ENDPOINT_CONFIG_JS:
        *type_out = "application/javascript";
        buf_add_text(body, "(function(){var r=window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{};r[\"");
        buf_add(body, question->token);
        buf_add_text(body, "\"]={config:");
        config_write_object(body, question->token);
        buf_add_text(body, ",siteApps:[]}})();\n");
        return 200;
    case ENDPOINT_FLAGS:
        config_write_flags(question, body);
        return 200;
    case ENDPOINT_DECIDE:
        buf_add_text(body, "{\"config\":{\"enable_collect_everything\":true},\"featureFlags\":{},"
                           "\"featureFlagPayloads\":{},\"errorsWhileComputingFlags\":false," CONFIG_FIELDS "}");
        return 200;
    case ENDPOINT_FLAG_DEFINITIONS:
        buf_add_text(body, "{\"flags\":[],\"group_type_mapping\":{},\"cohorts\":{}}");
        return 200;
    default: /* ENDPOINT_REMOTE_CONFIG */
        buf_add_text(body, "{\"type\":\"invalid_request\",\"code\":\"not_found\",\"detail\":\"Not found.\",\"attr\":null}");
        return 404;
    }
}
