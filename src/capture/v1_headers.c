/* capture/v1_headers.c - what is missing is told in one answer, so that whoever writes a client needs one
 * try and not five. */
#include "capture/v1_headers.h"

#include <stdio.h>
#include <strings.h>

#include "capture/event_check.h"
#include "catalog/catalog.h"
#include "wire/time.h"
#include "wire/utf8.h"
#include "wire/uuid.h"

enum v1_header { V1_USER_AGENT, V1_SDK_INFO, V1_ATTEMPT, V1_REQUEST_ID, V1_TIMESTAMP, V1_HEADER_COUNT };

static const char *const v1_header_names[V1_HEADER_COUNT] = { "User-Agent", "PostHog-Sdk-Info", "PostHog-Attempt",
                                                              "PostHog-Request-Id", "PostHog-Request-Timestamp" };

/* The first of that name; at NULL: absent. */
static struct span v1_header_find(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (http_token_equal(request->headers[i].name, name))
            return request->headers[i].value;
    return (struct span){ 0 };
}

struct span v1_request_id(const struct http_request *request)
{
    struct span value = v1_header_find(request, "posthog-request-id");

    return value.bytes > V1_REQUEST_ID_BYTES_MAX ? (struct span){ 0 } : value;
}

static int v1_read_authorization(struct span value, struct v1_headers *out, struct refusal *refusal)
{
    struct err err = { 0 };

    if (value.at == NULL)
        return refusal_set(refusal, 401, REFUSAL_NO_AUTHORIZATION, "Authorization header is missing");
    if (value.bytes < 6 || strncasecmp((const char *)value.at, "bearer", 6) != 0 ||
        (value.bytes > 6 && value.at[6] != ' ' && value.at[6] != '\t'))
        return refusal_set(refusal, 400, REFUSAL_HEADER_VALUE, "Authorization: expected `Bearer` and a token");
    out->token = event_text_trim(span_from(value, 6));
    if (catalog_token_check(out->token, &err) < 0)
        return refusal_set(refusal, 401, REFUSAL_BAD_TOKEN, "API key is not valid: %s", err.text);
    return 0;
}

static int v1_check_type(struct span value, struct refusal *refusal)
{
    const uint8_t *mark = value.bytes == 0 ? NULL : memchr(value.at, ';', value.bytes);

    if (mark != NULL)
        value.bytes = (size_t)(mark - value.at);
    if (!http_token_equal(event_text_trim(value), "application/json"))
        return refusal_set(refusal, 415, REFUSAL_CONTENT_TYPE, "Content-Type: expected application/json");
    return 0;
}

static int v1_refuse_missing(const struct span values[V1_HEADER_COUNT], struct refusal *refusal)
{
    char names[160] = "";

    for (size_t i = 0; i < V1_HEADER_COUNT; i++)
        if (values[i].at == NULL) {
            size_t have = strlen(names);

            (void)snprintf(names + have, sizeof names - have, "%s%s", have == 0 ? "" : ", ", v1_header_names[i]);
        }
    if (names[0] == 0)
        return 0;
    return refusal_set(refusal, 400, REFUSAL_MISSING_HEADERS, "missing required headers: %s", names);
}

/* A whole number of at least 1, however long. */
static bool v1_attempt_good(struct span value)
{
    bool positive = false;

    for (size_t i = 0; i < value.bytes; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
        positive = positive || value.at[i] != '0';
    }
    return positive;
}

/* NAME/VERSION, split at the last slash: npm's scopes have one in the name. Anything else is no reason to
 * refuse events. */
static void v1_read_sdk_info(struct span value, struct v1_headers *out)
{
    const uint8_t *slash = value.bytes == 0 ? NULL : memrchr(value.at, '/', value.bytes);

    if (slash == NULL || value.bytes > V1_SDK_INFO_BYTES_MAX || !utf8_valid(value))
        return;
    out->library = event_text_trim(span_of(value.at, (size_t)(slash - value.at)));
    out->lib_version = event_text_trim(span_from(value, (size_t)(slash - value.at) + 1));
    if (out->library.bytes == 0 || out->lib_version.bytes == 0)
        out->library = out->lib_version = (struct span){ 0 };
}

static int v1_check_values(const struct span values[V1_HEADER_COUNT], struct v1_headers *out, struct refusal *refusal)
{
    struct uuid id;

    if (!v1_attempt_good(values[V1_ATTEMPT]))
        return refusal_set(refusal, 400, REFUSAL_HEADER_VALUE, "PostHog-Attempt: expected a whole number from 1");
    if (!uuid_parse(values[V1_REQUEST_ID], &id))
        return refusal_set(refusal, 400, REFUSAL_HEADER_VALUE, "PostHog-Request-Id: expected a UUID");
    if (!time_parse_rfc3339(values[V1_TIMESTAMP], &out->sent_at_us, &out->sent_at_zone_min))
        return refusal_set(refusal, 400, REFUSAL_HEADER_VALUE, "PostHog-Request-Timestamp: expected an RFC 3339 time");
    v1_read_sdk_info(values[V1_SDK_INFO], out);
    return 0;
}

int v1_headers_read(const struct http_request *request, struct v1_headers *out, struct refusal *refusal)
{
    struct v1_headers found = { 0 };
    struct span       values[V1_HEADER_COUNT] = { request->known[HTTP_USER_AGENT] };

    for (size_t i = V1_SDK_INFO; i < V1_HEADER_COUNT; i++)
        values[i] = v1_header_find(request, v1_header_names[i]);
    if (v1_read_authorization(request->known[HTTP_AUTHORIZATION], &found, refusal) < 0 ||
        v1_check_type(request->known[HTTP_CONTENT_TYPE], refusal) < 0 || v1_refuse_missing(values, refusal) < 0 ||
        v1_check_values(values, &found, refusal) < 0)
        return -1;
    if (!unpack_coding_find(request->known[HTTP_CONTENT_ENCODING], &found.coding))
        return refusal_set(refusal, 415, REFUSAL_ENCODING,
                           "Content-Encoding: expected one of gzip, deflate, br, zstd, or none");
    *out = found;
    return 0;
}
