/* wire/http1.c - request heads; see http1.h. Chunked bodies are in http1_chunks.c.
 *
 * The head is read line by line, and every line in two steps: find its end (a vector scan for control
 * bytes, which also refuses every byte that must not stand in a head), then take it apart. A line is
 * taken apart only when its end is there. That order is what makes H1 true: an unfinished line can
 * only be wrong by a control byte or by its length, so nobody learns more, or something else, by
 * cutting the same bytes differently; and it is why `scanned` works: new bytes without any control
 * byte cannot change the answer, so a sender of single bytes costs one look at each.
 * What needs the whole head (Host, the length of the body) is judged at the empty line. */
#include "wire/http1.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define HTTP_HEADER_TEXT(name, text) { text, sizeof text - 1 },
static const struct { const char *text; size_t bytes; } header_names[] = { HTTP_HEADERS(HTTP_HEADER_TEXT) };

/* What a byte may be. TOKEN: RFC 9110 §5.6.2. TARGET: anything visible but `#`: browsers send `{`, `|`
 * and the like unescaped in a query (WHATWG URL §1.3), a fragment never. HOST: RFC 3986 reg-name
 * without `,`, which would make a list of two hosts. */
enum { TOKEN = 1, TARGET = 2, HOST = 4 };
#define S TOKEN | TARGET | HOST
#define K TOKEN | TARGET
#define H TARGET | HOST
#define T TARGET
static const uint8_t kinds[256] = {
    [0x20] = 0, S, T, TOKEN, S, S, S, S, H, H, S, S, T, S, S, T,
    [0x30] = S, S, S, S, S, S, S, S, S, S, T, H, T, H, T, T,
    [0x40] = T, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
    [0x50] = S, S, S, S, S, S, S, S, S, S, S, T, T, T, K, S,
    [0x60] = K, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
    [0x70] = S, S, S, S, S, S, S, S, S, S, S, T, K, T, S, 0,
};
#undef S
#undef K
#undef H
#undef T

/* --- answers ------------------------------------------------------------------------------------- */

static enum http1_answer __attribute__((format(printf, 4, 5), cold))
wrong(struct http_problem *problem_out, int status, const char *code, const char *fmt, ...)
{
    va_list args;

    problem_out->status = status;
    problem_out->code = code;
    va_start(args, fmt);
    (void)vsnprintf(problem_out->detail, sizeof problem_out->detail, fmt, args);
    va_end(args);
    return HTTP1_WRONG;
}

/* --- lines --------------------------------------------------------------------------------------- */

/* The first control byte but tab (CR and LF are among them) from at on, or end. */
static const uint8_t *find_control(const uint8_t *at, const uint8_t *end)
{
#ifdef __SSE2__
    const __m128i low = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);

    for (; end - at >= 16; at += 16) {
        __m128i  bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i  control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, low), bytes);
        __m128i  hit = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), control), _mm_cmpeq_epi8(bytes, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);

        if (mask != 0)
            return at + __builtin_ctz(mask);
    }
#endif
    for (; at < end; at++)
        if ((*at < 0x20 && *at != '\t') || *at == 0x7f)
            break;
    return at;
}

struct head {
    struct span          input; /* never more than HTTP1_HEAD_BYTES_MAX */
    size_t               at;
    size_t               scan_end; /* where the CR of the next line may stand at the latest, plus one */
    struct http_problem *problem;
};

/* The line that begins at head->at, without its CRLF, and moves behind it. `code` is for control bytes. */
static enum http1_answer line_next(struct head *head, const char *code, struct span *line_out)
{
    const uint8_t *start = head->input.at + head->at, *end = head->input.at + head->scan_end;
    const uint8_t *stop = find_control(start, end);
    size_t         at = (size_t)(stop - head->input.at);

    if (stop == end)
        return HTTP1_MORE;
    if (*stop == '\r') {
        if (at + 1 == head->input.bytes)
            return HTTP1_MORE;
        if (stop[1] != '\n')
            return wrong(head->problem, 400, "bad_line_ending", "CR without LF at byte %zu", at);
        *line_out = span_of(start, (size_t)(stop - start));
        head->at = at + 2;
        return HTTP1_DONE;
    }
    if (*stop == '\n')
        return wrong(head->problem, 400, "bad_line_ending", "LF without CR at byte %zu", at);
    return wrong(head->problem, 400, code, "control byte 0x%02x at byte %zu", *stop, at);
}

static bool all_of(struct span text, unsigned kind)
{
    for (size_t i = 0; i < text.bytes; i++)
        if (!(kinds[text.at[i]] & kind))
            return false;
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool http_token_equal(struct span a, const char *b)
{
    for (size_t i = 0; i < a.bytes; i++, b++)
        if (*b == '\0' || lower(a.at[i]) != lower((uint8_t)*b))
            return false;
    return *b == '\0';
}

/* --- request line -------------------------------------------------------------------------------- */

static enum http_method method_of(struct span text)
{
    static const struct { const char *text; enum http_method method; } methods[] = {
        { "POST", HTTP_POST }, { "GET", HTTP_GET },       { "OPTIONS", HTTP_OPTIONS }, { "HEAD", HTTP_HEAD },
        { "PUT", HTTP_PUT },   { "DELETE", HTTP_DELETE }, { "PATCH", HTTP_PATCH },
    };

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (span_is(text, methods[i].text))
            return methods[i].method;
    return HTTP_OTHER;
}

/* RFC 3986 §3.2.2 host, then an optional port. */
static bool authority_valid(struct span text)
{
    size_t i = 0;

    if (text.bytes > 0 && text.at[0] == ':')
        return false;
    if (text.bytes > 0 && text.at[0] == '[') {
        for (i = 1; i < text.bytes && text.at[i] != ']'; i++)
            if (!(kinds[text.at[i]] & HOST) && text.at[i] != ':')
                return false;
        if (i < 3 || i++ == text.bytes)
            return false;
    } else
        while (i < text.bytes && (kinds[text.at[i]] & HOST))
            i++;
    if (i == text.bytes)
        return true;
    if (text.at[i] != ':')
        return false;
    for (i++; i < text.bytes; i++)
        if (!is_digit(text.at[i]))
            return false;
    return true;
}

static void target_split(struct span text, struct http_request *out)
{
    const uint8_t *mark = text.bytes > 0 ? memchr(text.at, '?', text.bytes) : NULL;

    out->path = text;
    out->query = span_of(text.at + text.bytes, 0);
    if (mark != NULL) {
        out->path.bytes = (size_t)(mark - text.at);
        out->query = span_from(text, out->path.bytes + 1);
    }
}

/* RFC 9112 §3.2. *authority_out is left alone but for the absolute form. */
static enum http1_answer target_parse(struct head *head, struct http_request *out, struct span *authority_out)
{
    struct span target = out->target, rest;
    size_t      scheme, authority = 0;

    if (!all_of(target, TARGET))
        return wrong(head->problem, 400, "bad_target", "a byte that a request target may not have");
    if (target.at[0] == '/') {
        target_split(target, out);
        return HTTP1_DONE;
    }
    if (span_is(target, "*")) {
        if (out->method != HTTP_OPTIONS)
            return wrong(head->problem, 400, "bad_target", "the target * is for OPTIONS only");
        target_split(target, out);
        return HTTP1_DONE;
    }
    scheme = target.bytes > 8 && http_token_equal(span_of(target.at, 8), "https://")  ? 8
             : target.bytes > 7 && http_token_equal(span_of(target.at, 7), "http://") ? 7
                                                                                      : 0;
    if (scheme == 0)
        return wrong(head->problem, 400, "bad_target", "neither a path nor an http address");
    rest = span_from(target, scheme);
    while (authority < rest.bytes && rest.at[authority] != '/' && rest.at[authority] != '?')
        authority++;
    *authority_out = span_of(rest.at, authority);
    if (authority == 0 || !authority_valid(*authority_out))
        return wrong(head->problem, 400, "bad_host", "the host of the target is not one");
    target_split(span_from(rest, authority), out);
    if (out->path.bytes == 0)
        out->path = SPAN("/");
    return HTTP1_DONE;
}

static enum http1_answer request_line_parse(struct head *head, struct span line, struct http_request *out,
                                            struct span *authority_out)
{
    const uint8_t *first = memchr(line.at, ' ', line.bytes), *second;
    struct span    version;

    second = first == NULL ? NULL
                           : memchr(first + 1, ' ', line.bytes - (size_t)(first + 1 - line.at));
    if (second == NULL)
        return wrong(head->problem, 400, "bad_request_line", "not of the form METHOD TARGET HTTP/1.1");
    out->method_text = span_of(line.at, (size_t)(first - line.at));
    out->target = span_of(first + 1, (size_t)(second - first - 1));
    version = span_from(line, (size_t)(second + 1 - line.at));
    if (out->method_text.bytes == 0 || out->target.bytes == 0 || !all_of(out->method_text, TOKEN))
        return wrong(head->problem, 400, "bad_request_line", "not of the form METHOD TARGET HTTP/1.1");
    if (version.bytes != 8 || memcmp(version.at, "HTTP/", 5) != 0 || !is_digit(version.at[5]) ||
        version.at[6] != '.' || !is_digit(version.at[7]))
        return wrong(head->problem, 400, "bad_request_line", "no HTTP version at the end of the request line");
    if (version.at[5] != '1' || version.at[7] > '1')
        return wrong(head->problem, 505, "bad_version", "HTTP/%c.%c; HTTP/1.1 and HTTP/1.0 are spoken here",
                     version.at[5], version.at[7]);
    out->minor = version.at[7] - '0';
    out->method = method_of(out->method_text);
    if (out->method == HTTP_OTHER) {
        if (span_is(out->method_text, "TRACE") || span_is(out->method_text, "CONNECT"))
            return wrong(head->problem, 405, "bad_method", "%.*s is not allowed", SPAN_ARG(out->method_text));
        return wrong(head->problem, 501, "unknown_method", "%.*s is not a known method (they are in upper case)",
                     out->method_text.bytes < 40 ? (int)out->method_text.bytes : 40, (const char *)out->method_text.at);
    }
    return target_parse(head, out, authority_out);
}

/* --- headers ------------------------------------------------------------------------------------- */

/* The only names that can match, by length and first letter. */
static enum http_header_id name_candidate(struct span name)
{
    uint8_t first = name.at[0] | 0x20;

    switch (name.bytes) {
    case 4: return HTTP_HOST;
    case 6: return first == 'e' ? HTTP_EXPECT : first == 'o' ? HTTP_ORIGIN : HTTP_COOKIE;
    case 9: return HTTP_X_REAL_IP;
    case 10: return first == 'c' ? HTTP_CONNECTION : HTTP_USER_AGENT;
    case 12: return first == 'c' ? HTTP_CONTENT_TYPE : HTTP_X_REQUEST_ID;
    case 13: return first == 'a' ? HTTP_AUTHORIZATION : HTTP_IF_NONE_MATCH;
    case 14: return HTTP_CONTENT_LENGTH;
    case 15: return HTTP_X_FORWARDED_FOR;
    case 16: return HTTP_CONTENT_ENCODING;
    case 17: return HTTP_TRANSFER_ENCODING;
    case 29: return HTTP_AC_REQUEST_METHOD;
    case 30: return HTTP_AC_REQUEST_HEADERS;
    default: return HTTP_HEADER_COUNT;
    }
}

static uint64_t load(const uint8_t *at, size_t bytes)
{
    uint64_t word = 0;

    memcpy(&word, at, bytes);
    return word;
}

/* Token bytes only: setting the case bit then makes no other byte into a letter or a hyphen. */
static enum http_header_id name_find(struct span name)
{
    const uint64_t      cases = 0x2020202020202020;
    enum http_header_id id = name_candidate(name);
    const uint8_t      *text;

    if (id == HTTP_HEADER_COUNT)
        return id;
    text = (const uint8_t *)header_names[id].text;
    assert(header_names[id].bytes == name.bytes);
    if (name.bytes < 8) {
        if ((load(name.at, 4) | (uint32_t)cases) != load(text, 4) ||
            (load(name.at + name.bytes - 4, 4) | (uint32_t)cases) != load(text + name.bytes - 4, 4))
            return HTTP_HEADER_COUNT;
        return id;
    }
    for (size_t i = 0; i + 8 < name.bytes; i += 8)
        if ((load(name.at + i, 8) | cases) != load(text + i, 8))
            return HTTP_HEADER_COUNT;
    return (load(name.at + name.bytes - 8, 8) | cases) == load(text + name.bytes - 8, 8) ? id : HTTP_HEADER_COUNT;
}

/* What a length and a coding may look like is kept to the letter: the white space that other headers
 * may have around their value is where parsers have disagreed about these two. */
static bool framing_space_ok(struct span raw)
{
    return memchr(raw.at, '\t', raw.bytes) == NULL && (raw.bytes == 0 || raw.at[raw.bytes - 1] != ' ');
}

static enum http1_answer length_parse(struct head *head, struct span raw, struct span value, struct http_request *out)
{
    uint64_t length = 0;

    if (out->has_length)
        return wrong(head->problem, 400, "bad_content_length", "Content-Length stands twice");
    if (value.bytes == 0 || !framing_space_ok(raw))
        return wrong(head->problem, 400, "bad_content_length", "Content-Length is not a number");
    for (size_t i = 0; i < value.bytes; i++) {
        if (!is_digit(value.at[i]))
            return wrong(head->problem, 400, "bad_content_length", "Content-Length is not a number");
        if (__builtin_mul_overflow(length, 10u, &length) ||
            __builtin_add_overflow(length, (uint64_t)(value.at[i] - '0'), &length) || length > INT64_MAX)
            return wrong(head->problem, 400, "bad_content_length", "Content-Length is above 2^63-1");
    }
    out->has_length = true;
    out->content_length = length;
    return HTTP1_DONE;
}

static enum http1_answer coding_parse(struct head *head, struct span raw, struct span value, struct http_request *out)
{
    if (out->chunked)
        return wrong(head->problem, 400, "bad_transfer_encoding", "Transfer-Encoding stands twice");
    if (out->minor == 0)
        return wrong(head->problem, 400, "bad_transfer_encoding", "HTTP/1.0 has no Transfer-Encoding");
    if (!framing_space_ok(raw) || !http_token_equal(value, "chunked"))
        return wrong(head->problem, 400, "bad_transfer_encoding", "only `chunked` alone is understood");
    out->chunked = true;
    return HTTP1_DONE;
}

/* Connection is a list (RFC 9110 §7.6.1); only two members concern us. */
static void connection_parse(struct span value, bool *close, bool *keep)
{
    while (value.bytes > 0) {
        const uint8_t *comma = memchr(value.at, ',', value.bytes);
        struct span    item = { value.at, comma == NULL ? value.bytes : (size_t)(comma - value.at) };

        value = span_from(value, item.bytes + (comma != NULL));
        while (item.bytes > 0 && (item.at[0] == ' ' || item.at[0] == '\t'))
            item = span_from(item, 1);
        while (item.bytes > 0 && (item.at[item.bytes - 1] == ' ' || item.at[item.bytes - 1] == '\t'))
            item.bytes--;
        *close |= http_token_equal(item, "close");
        *keep |= http_token_equal(item, "keep-alive");
    }
}

struct seen {
    struct span authority; /* of an absolute-form target; at NULL otherwise */
    bool        close, keep;
};

static enum http1_answer known_parse(struct head *head, enum http_header_id id, struct span raw, struct span value,
                                     struct http_request *out, struct seen *seen)
{
    bool again = out->known[id].at != NULL;

    if (!again)
        out->known[id] = value;
    switch (id) {
    case HTTP_HOST:
        if (again)
            return wrong(head->problem, 400, "bad_host", "Host stands twice");
        if (!authority_valid(value))
            return wrong(head->problem, 400, "bad_host", "Host is not a host and port");
        return HTTP1_DONE;
    case HTTP_CONTENT_LENGTH: return length_parse(head, raw, value, out);
    case HTTP_TRANSFER_ENCODING: return coding_parse(head, raw, value, out);
    case HTTP_CONNECTION: connection_parse(value, &seen->close, &seen->keep); return HTTP1_DONE;
    case HTTP_EXPECT:
        if (out->minor == 0)
            return HTTP1_DONE; /* RFC 9110 §10.1.1: not for HTTP/1.0 */
        if (!http_token_equal(value, "100-continue"))
            return wrong(head->problem, 417, "bad_expectation", "only Expect: 100-continue can be met");
        out->expect_continue = true;
        return HTTP1_DONE;
    default: return HTTP1_DONE;
    }
}

static enum http1_answer header_parse(struct head *head, struct span line, struct http_request *out, struct seen *seen)
{
    struct http_header *header;
    enum http_header_id id;
    struct span         raw, value;
    size_t              name = 0;

    while (name < line.bytes && (kinds[line.at[name]] & TOKEN))
        name++;
    if (name == 0 || name == line.bytes || line.at[name] != ':')
        return wrong(head->problem, 400, "bad_header", "header line %zu: %s", out->header_count + 1,
                     name == 0 && (line.at[0] == ' ' || line.at[0] == '\t') ? "begins with white space"
                     : name < line.bytes                                     ? "a byte that a name may not have"
                                                                             : "no colon");
    if (out->header_count == HTTP1_HEADERS_MAX)
        return wrong(head->problem, 431, "too_many_headers", "more than %d headers", HTTP1_HEADERS_MAX);
    raw = value = span_from(line, name + 1);
    while (value.bytes > 0 && (value.at[0] == ' ' || value.at[0] == '\t'))
        value = span_from(value, 1);
    while (value.bytes > 0 && (value.at[value.bytes - 1] == ' ' || value.at[value.bytes - 1] == '\t'))
        value.bytes--;
    header = &out->headers[out->header_count++];
    header->name = span_of(line.at, name);
    header->value = value;
    id = name_find(header->name);
    return id == HTTP_HEADER_COUNT ? HTTP1_DONE : known_parse(head, id, raw, value, out, seen);
}

/* --- the head ------------------------------------------------------------------------------------ */

static enum http1_answer head_finish(struct head *head, struct http_request *out, struct seen *seen)
{
    if (out->chunked && out->has_length)
        return wrong(head->problem, 400, "ambiguous_length", "both Content-Length and Transfer-Encoding");
    if (out->minor == 1 && out->known[HTTP_HOST].at == NULL)
        return wrong(head->problem, 400, "bad_host", "HTTP/1.1 without Host");
    if (seen->authority.at != NULL)
        out->known[HTTP_HOST] = seen->authority; /* RFC 9112 §3.2.2: the target's host is the host */
    out->keep_alive = !seen->close && (out->minor == 1 || seen->keep);
    out->head_bytes = head->at;
    return HTTP1_DONE;
}

/* The bytes that an earlier MORE has not seen hold no control byte and cross no limit: still MORE. */
static bool still_more(struct span input, size_t scanned)
{
    const size_t line_end_max = 2 + HTTP1_REQUEST_LINE_BYTES_MAX + 2;

    if (scanned == 0 || input.at[scanned - 1] == '\r' || input.bytes >= HTTP1_HEAD_BYTES_MAX)
        return false;
    if (scanned < line_end_max && input.bytes > HTTP1_REQUEST_LINE_BYTES_MAX)
        return false;
    return find_control(input.at + scanned, input.at + input.bytes) == input.at + input.bytes;
}

enum http1_answer http1_parse(struct span input, size_t scanned, struct http_request *out,
                              struct http_problem *problem_out)
{
    struct head       head = { .input = input, .problem = problem_out };
    struct seen       seen = { 0 };
    struct span       line;
    enum http1_answer answer;
    size_t            line_end_max;

    assert(scanned <= input.bytes);
    if (still_more(input, scanned))
        return HTTP1_MORE;
    if (input.bytes > HTTP1_HEAD_BYTES_MAX)
        head.input.bytes = HTTP1_HEAD_BYTES_MAX;

    if (input.bytes > 0 && input.at[0] == '\r') {
        if (input.bytes == 1)
            return HTTP1_MORE;
        if (input.at[1] != '\n')
            return wrong(problem_out, 400, "bad_line_ending", "CR without LF at byte 0");
        head.at = 2;
    }
    line_end_max = head.at + HTTP1_REQUEST_LINE_BYTES_MAX + 1;
    head.scan_end = head.input.bytes < line_end_max ? head.input.bytes : line_end_max;
    answer = line_next(&head, "bad_request_line", &line);
    if (answer == HTTP1_MORE && head.scan_end == line_end_max && input.at[line_end_max - 1] != '\r')
        return wrong(problem_out, 414, "request_line_too_long", "the request line has more than %d bytes",
                     HTTP1_REQUEST_LINE_BYTES_MAX);
    if (answer != HTTP1_DONE)
        return answer;

    memset(out, 0, offsetof(struct http_request, headers));
    memset(out->known, 0, sizeof out->known);
    answer = request_line_parse(&head, line, out, &seen.authority);
    head.scan_end = head.input.bytes;
    while (answer == HTTP1_DONE) {
        answer = line_next(&head, "bad_header", &line);
        if (answer != HTTP1_DONE)
            break;
        if (line.bytes == 0)
            return head_finish(&head, out, &seen);
        answer = header_parse(&head, line, out, &seen);
    }
    if (answer == HTTP1_MORE && input.bytes >= HTTP1_HEAD_BYTES_MAX)
        return wrong(problem_out, 431, "head_too_large", "the head has more than %d bytes", HTTP1_HEAD_BYTES_MAX);
    return answer;
}

const char *http_status_text(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "";
    }
}
