/* capture/segment_answer.c - SDKs look at the status; code and message are for people, and for the Python SDKs, which
 * print them. What a settings document says beyond its one integration would make SDKs fetch code from elsewhere. */
#include "capture/segment_answer.h"

#include "wire/json.h"

static const char *answer_code(enum refusal_cause cause)
{
    switch (cause) {
    case REFUSAL_DECODING:
    case REFUSAL_PARSING:
    case REFUSAL_EMPTY_PAYLOAD:
    case REFUSAL_EMPTY_BATCH: return "invalid_request";
    case REFUSAL_NO_EVENT_NAME:
    case REFUSAL_HYDRATION: return "no_event_name";
    case REFUSAL_NO_DISTINCT_ID: return "no_user_anon_id";
    case REFUSAL_NO_TOKEN:
    case REFUSAL_BAD_TOKEN:
    case REFUSAL_UNKNOWN_TOKEN: return "invalid_write_key";
    case REFUSAL_OVERSIZE: return "payload_too_large";
    case REFUSAL_UNAVAILABLE:
    case REFUSAL_STORAGE_FULL:
    case REFUSAL_STORAGE_LATE: return "service_unavailable";
    default: return refusal_tag(cause);
    }
}

void segment_answer_error(struct buf *out, const struct refusal *refusal)
{
    buf_add_text(out, "{\"success\":false,\"code\":");
    json_write_string(out, span_text(answer_code(refusal->cause)));
    buf_add_text(out, ",\"message\":");
    json_write_string(out, span_text(refusal->text));
    buf_add_byte(out, '}');
}

/* A name or address with an optional port, fit to stand in a document: never anything that would end a string. */
static bool host_plain(struct span host)
{
    if (host.bytes == 0 || host.bytes > 255)
        return false;
    for (size_t i = 0; i < host.bytes; i++) {
        uint8_t byte = host.at[i];

        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '.' || byte == '-' || byte == '_' || byte == ':' || byte == '[' || byte == ']'))
            return false;
    }
    return true;
}

static struct span header_find(const struct http_request *http, const char *name)
{
    for (size_t i = 0; i < http->header_count; i++)
        if (http_token_equal(http->headers[i].name, name))
            return http->headers[i].value;
    return SPAN("");
}

/* Whether the client reached us by TLS, as far as we can see: a proxy says so, or the page that asks is such a one,
 * whose browser would refuse anything else. */
static bool asked_by_tls(const struct segment_asked *asked)
{
    struct span proto = asked->trust_forwarded ? header_find(asked->http, "x-forwarded-proto") : SPAN("");

    if (asked->tls)
        return true;
    if (proto.bytes > 0)
        return proto.bytes >= 5 && http_token_equal(span_of(proto.at, 5), "https");
    return span_starts(asked->http->known[HTTP_ORIGIN], SPAN("https://"));
}

void segment_answer_settings(struct buf *out, struct span key, const struct segment_asked *asked)
{
    struct span host = asked->http->known[HTTP_HOST];

    buf_add_text(out, "{\"integrations\":{\"Segment.io\":{\"apiKey\":");
    json_write_string(out, key);
    if (host_plain(host)) {
        buf_add_text(out, ",\"apiHost\":\"");
        buf_add(out, host);
        buf_add_text(out, "/v1\",\"protocol\":\"");
        buf_add_text(out, asked_by_tls(asked) ? "https\"" : "http\"");
    }
    buf_add_text(out, ",\"addBundledMetadata\":false,\"unbundledIntegrations\":[],\"maybeBundledConfigIds\":{},"
                      "\"versionSettings\":{\"version\":\"4.4.7\",\"componentTypes\":[\"browser\"]}}},"
                      "\"plan\":{\"track\":{\"__default\":{\"enabled\":true,\"integrations\":{}}},"
                      "\"identify\":{\"__default\":{\"enabled\":true}},\"group\":{\"__default\":{\"enabled\":true}}},"
                      "\"edgeFunction\":{},\"analyticsNextEnabled\":true,\"middlewareSettings\":{},"
                      "\"enabledMiddleware\":{},\"metrics\":{\"sampleRate\":0},\"legacyVideoPluginsEnabled\":false,"
                      "\"remotePlugins\":[]}");
}

void segment_answer_source(struct buf *out, struct span key)
{
    buf_add_text(out, "{\"source\":{\"id\":");
    json_write_string(out, key);
    buf_add_text(out, ",\"name\":\"penstock\",\"writeKey\":");
    json_write_string(out, key);
    buf_add_text(out, ",\"enabled\":true,\"workspaceId\":\"penstock\",\"config\":{\"statsCollection\":{\"errors\":"
                      "{\"enabled\":false},\"metrics\":{\"enabled\":false}}},\"destinations\":[],\"connections\":[]},"
                      "\"updatedAt\":\"2026-01-01T00:00:00.000Z\"}");
}
