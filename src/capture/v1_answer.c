/* capture/v1_answer.c - the tags are the protocol's; SDKs read the status, people read the rest. */
#include "capture/v1_answer.h"

void v1_answer_verdicts(struct buf *out, const struct v1_batch *batch)
{
    buf_add_text(out, "{\"results\":{");
    for (size_t i = 0; i < batch->count; i++) {
        const struct v1_event *event = &batch->events[i];
        const char            *details = v1_verdict_details(event->verdict);
        char                   uuid[UUID_TEXT_BYTES];

        uuid_format(&event->uuid_value, uuid);
        buf_add_text(out, i == 0 ? "\"" : ",\"");
        buf_add(out, span_of(uuid, sizeof uuid));
        buf_add_text(out, "\":{\"result\":\"");
        buf_add_text(out, v1_verdict_result(event->verdict));
        if (details[0] != 0) {
            buf_add_text(out, "\",\"details\":\"");
            buf_add_text(out, details);
        }
        buf_add_text(out, "\"}");
    }
    buf_add_text(out, "}}");
}

static const char *v1_answer_tag(enum refusal_cause cause)
{
    switch (cause) {
    case REFUSAL_DECODING: return "request_decoding_error";
    case REFUSAL_PARSING: return "request_parsing_error";
    case REFUSAL_EMPTY_PAYLOAD: return "empty_body";
    case REFUSAL_OVERSIZE: return "payload_too_large";
    case REFUSAL_BAD_TOKEN:
    case REFUSAL_UNKNOWN_TOKEN: return "invalid_api_token";
    case REFUSAL_UNAVAILABLE:
    case REFUSAL_STORAGE_FULL:
    case REFUSAL_STORAGE_LATE: return "service_unavailable";
    default: return refusal_tag(cause); /* rate_limited, too, whose status says whether to send again */
    }
}

void v1_answer_error(struct buf *out, const struct refusal *refusal)
{
    buf_add_text(out, "{\"error\":");
    json_write_string(out, span_text(v1_answer_tag(refusal->cause)));
    buf_add_text(out, ",\"error_description\":");
    json_write_string(out, span_text(refusal->text));
    buf_add_text(out, ",\"error_uri\":\"https://posthog.com/docs/api\"}");
}

int v1_answer_retry_s(const struct refusal *refusal)
{
    if (refusal->retry_after_s > 0)
        return refusal->retry_after_s;
    return refusal->status == 408 || refusal->status >= 500 ? 1 : 0;
}
