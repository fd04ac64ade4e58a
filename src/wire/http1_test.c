/* wire/http1_test.c - which heads are requests, what they say, and how each other head is refused.
 *
 * Every row is tried whole and byte by byte (with and without the memory of what was seen), each time at
 * the very end of a page that is followed by one nobody may touch: the answer must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "wire/http1.h"

enum { GUARDED_BYTES = 1 << 17 };

static uint8_t *guard; /* the first byte that must not be read */

static int guard_setup(void **state)
{
    uint8_t *pages = mmap(NULL, GUARDED_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    if (pages == MAP_FAILED || mprotect(pages + GUARDED_BYTES, 4096, PROT_NONE) != 0)
        return -1;
    guard = pages + GUARDED_BYTES;
    return 0;
}

static struct span guarded(struct span text)
{
    assert_true(text.bytes <= GUARDED_BYTES);
    memcpy(guard - text.bytes, text.at, text.bytes);
    return span_of(guard - text.bytes, text.bytes);
}

/* Where a span stands, whatever buffer it points into. */
static void assert_same_place(struct span a, struct span a_input, struct span b, struct span b_input)
{
    assert_int_equal(a.bytes, b.bytes);
    assert_int_equal(a.at == NULL, b.at == NULL);
    if (a.at != NULL && a.at >= a_input.at && a.at <= a_input.at + a_input.bytes)
        assert_int_equal(a.at - a_input.at, b.at - b_input.at);
}

static void assert_same(const struct http_request *a, struct span a_input, const struct http_request *b,
                        struct span b_input)
{
    assert_int_equal(a->method, b->method);
    assert_same_place(a->target, a_input, b->target, b_input);
    assert_same_place(a->path, a_input, b->path, b_input);
    assert_same_place(a->query, a_input, b->query, b_input);
    assert_int_equal(a->minor, b->minor);
    assert_int_equal(a->keep_alive, b->keep_alive);
    assert_int_equal(a->expect_continue, b->expect_continue);
    assert_int_equal(a->chunked, b->chunked);
    assert_int_equal(a->has_length, b->has_length);
    assert_int_equal(a->content_length, b->content_length);
    assert_int_equal(a->head_bytes, b->head_bytes);
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        assert_same_place(a->headers[i].name, a_input, b->headers[i].name, b_input);
        assert_same_place(a->headers[i].value, a_input, b->headers[i].value, b_input);
    }
    for (size_t i = 0; i < HTTP_HEADER_COUNT; i++)
        assert_same_place(a->known[i], a_input, b->known[i], b_input);
}

/* The answer for the whole text, after having seen that no way of cutting it gives another. */
static enum http1_answer parse(struct span text, struct http_request *out, struct http_problem *problem_out)
{
    struct span       whole = guarded(text);
    enum http1_answer answer = http1_parse(whole, 0, out, problem_out);

    for (int with_memory = 0; with_memory <= 1; with_memory++) {
        enum http1_answer piece_answer = HTTP1_MORE;

        for (size_t bytes = 0; piece_answer == HTTP1_MORE && bytes <= text.bytes; bytes++) {
            struct span         piece = span_of(text.at, bytes);
            struct http_request request;
            struct http_problem problem = { 0 };

            /* The end of the piece touches the guard; long texts are copied only when it can matter. */
            if (text.bytes < 2000 || bytes % 16 == 0 || bytes == text.bytes)
                piece = guarded(piece);
            piece_answer = http1_parse(piece, with_memory && bytes > 0 ? bytes - 1 : 0, &request, &problem);
            if (piece_answer == HTTP1_WRONG) {
                assert_int_equal(answer, HTTP1_WRONG);
                assert_int_equal(problem.status, problem_out->status);
                assert_string_equal(problem.code, problem_out->code);
            } else if (piece_answer == HTTP1_DONE) {
                assert_int_equal(answer, HTTP1_DONE);
                assert_int_equal(request.head_bytes, bytes);
                whole = guarded(text);
                assert_int_equal(http1_parse(whole, 0, out, problem_out), HTTP1_DONE);
                assert_same(out, whole, &request, span_of(guard - bytes, bytes));
            }
        }
        assert_int_equal(piece_answer, answer);
    }
    whole = guarded(text);
    return http1_parse(whole, 0, out, problem_out);
}

#define HOST_END "Host: a\r\n\r\n"
#define GET "GET / HTTP/1.1\r\n"

static const struct { const char *name; struct span text; int status; const char *code; } wrongs[] = {
    /* where the body ends */
    { "B001 both lengths", SPAN(GET "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" HOST_END), 400, "ambiguous_length" },
    { "B001 the other order", SPAN(GET "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n" HOST_END), 400, "ambiguous_length" },
    { "B002 two lengths", SPAN(GET "Content-Length: 10\r\nContent-Length: 11\r\n" HOST_END), 400, "bad_content_length" },
    { "B002 the same twice", SPAN(GET "Content-Length: 10\r\ncontent-length: 10\r\n" HOST_END), 400, "bad_content_length" },
    { "B002 a list", SPAN(GET "Content-Length: 10, 11\r\n" HOST_END), 400, "bad_content_length" },
    { "B002 a list of the same", SPAN(GET "Content-Length: 10, 10\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 plus", SPAN(GET "Content-Length: +5\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 minus", SPAN(GET "Content-Length: -1\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 hexadecimal", SPAN(GET "Content-Length: 0x10\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 space behind", SPAN(GET "Content-Length: 5 \r\n" HOST_END), 400, "bad_content_length" },
    { "B003 tab before", SPAN(GET "Content-Length:\t5\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 space inside", SPAN(GET "Content-Length: 5 5\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 exponent", SPAN(GET "Content-Length: 1e3\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 2^64+5", SPAN(GET "Content-Length: 18446744073709551621\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 2^63", SPAN(GET "Content-Length: 9223372036854775808\r\n" HOST_END), 400, "bad_content_length" },
    { "B003 empty", SPAN(GET "Content-Length:\r\n" HOST_END), 400, "bad_content_length" },
    { "B004 a second coding", SPAN(GET "Transfer-Encoding: chunked, identity\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 a coding before", SPAN(GET "Transfer-Encoding: gzip, chunked\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 xchunked", SPAN(GET "Transfer-Encoding: xchunked\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 chunkedx", SPAN(GET "Transfer-Encoding: chunkedx\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 chunked twice", SPAN(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 chunked and identity", SPAN(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 tab before the value", SPAN(GET "Transfer-Encoding:\tchunked\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 quoted", SPAN(GET "Transfer-Encoding: \"chunked\"\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 empty", SPAN(GET "Transfer-Encoding:\r\n" HOST_END), 400, "bad_transfer_encoding" },
    { "B004 on HTTP/1.0", SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" HOST_END), 400, "bad_transfer_encoding" },
    /* line ends */
    { "B009 bare LF", SPAN("GET / HTTP/1.1\nHost: a\n\n"), 400, "bad_line_ending" },
    { "B009 bare LF behind a header", SPAN(GET "Host: a\nX: y\r\n\r\n"), 400, "bad_line_ending" },
    { "B009 bare CR in a value", SPAN(GET "X: a\rb\r\n" HOST_END), 400, "bad_line_ending" },
    { "B009 bare CR, and no end in sight", SPAN(GET "X: a\rb"), 400, "bad_line_ending" },
    { "B009 CR CR LF", SPAN(GET "Host: a\r\r\n\r\n"), 400, "bad_line_ending" },
    { "B009 LF alone as the empty line", SPAN(GET "Host: a\r\n\n"), 400, "bad_line_ending" },
    { "B009 LF first", SPAN("\nGET / HTTP/1.1\r\n" HOST_END), 400, "bad_line_ending" },
    { "B009 CR first", SPAN("\rGET / HTTP/1.1\r\n" HOST_END), 400, "bad_line_ending" },
    /* headers */
    { "B010 space before the colon", SPAN(GET "X : y\r\n" HOST_END), 400, "bad_header" },
    { "B010 tab before the colon", SPAN(GET "Content-Length\t: 5\r\n" HOST_END), 400, "bad_header" },
    { "B010 leading space", SPAN(GET " X: y\r\n" HOST_END), 400, "bad_header" },
    { "B010 obs-fold", SPAN(GET "X: y\r\n z\r\n" HOST_END), 400, "bad_header" },
    { "B010 obs-fold by tab", SPAN(GET "X: y\r\n\tz\r\n" HOST_END), 400, "bad_header" },
    { "B010 a line of one space", SPAN(GET "Host: a\r\n \r\n\r\n"), 400, "bad_header" },
    { "B010 no colon", SPAN(GET "nonsense\r\n" HOST_END), 400, "bad_header" },
    { "B010 no name", SPAN(GET ": y\r\n" HOST_END), 400, "bad_header" },
    { "B011 NUL in a value", SPAN(GET "X: a\0b\r\n" HOST_END), 400, "bad_header" },
    { "B011 NUL in a name", SPAN(GET "X\0: b\r\n" HOST_END), 400, "bad_header" },
    { "B011 control byte", SPAN(GET "X: a\x01" "b\r\n" HOST_END), 400, "bad_header" },
    { "B011 escape", SPAN(GET "X: \x1b[2J\r\n" HOST_END), 400, "bad_header" },
    { "B011 DEL", SPAN(GET "X: a\x7f" "b\r\n" HOST_END), 400, "bad_header" },
    { "B011 DEL in a name", SPAN(GET "X\x7f: b\r\n" HOST_END), 400, "bad_header" },
    { "B034 a hyphen that is none", SPAN(GET "Content\xe2\x80\x90Length: 5\r\n" HOST_END), 400, "bad_header" },
    { "B011 bracket in a name", SPAN(GET "X[0]: b\r\n" HOST_END), 400, "bad_header" },
    /* host */
    { "B012 no Host", SPAN(GET "X: y\r\n\r\n"), 400, "bad_host" },
    { "B012 no header at all", SPAN(GET "\r\n"), 400, "bad_host" },
    { "B012 two Hosts", SPAN(GET "Host: a\r\nHost: a\r\n\r\n"), 400, "bad_host" },
    { "B012 two Hosts on 1.0", SPAN("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400, "bad_host" },
    { "B012 slash", SPAN(GET "Host: a/b\r\n\r\n"), 400, "bad_host" },
    { "B012 userinfo", SPAN(GET "Host: me@a\r\n\r\n"), 400, "bad_host" },
    { "B012 comma", SPAN(GET "Host: a,b\r\n\r\n"), 400, "bad_host" },
    { "B012 space", SPAN(GET "Host: a b\r\n\r\n"), 400, "bad_host" },
    { "B012 port that is no number", SPAN(GET "Host: a:8o\r\n\r\n"), 400, "bad_host" },
    { "B012 port alone", SPAN(GET "Host: :80\r\n\r\n"), 400, "bad_host" },
    { "B012 open bracket", SPAN(GET "Host: [::1\r\n\r\n"), 400, "bad_host" },
    { "B012 rubbish behind the bracket", SPAN(GET "Host: [::1]x\r\n\r\n"), 400, "bad_host" },
    { "B012 bytes above 127", SPAN(GET "Host: \xc3\xa4\r\n\r\n"), 400, "bad_host" },
    { "B033 absolute form without Host", SPAN("GET http://a/ HTTP/1.1\r\n\r\n"), 400, "bad_host" },
    { "B033 userinfo in the target", SPAN("GET http://me@a/ HTTP/1.1\r\n" HOST_END), 400, "bad_host" },
    { "B033 no host in the target", SPAN("GET http:///x HTTP/1.1\r\n" HOST_END), 400, "bad_host" },
    { "B033 * without OPTIONS", SPAN("GET * HTTP/1.1\r\n" HOST_END), 400, "bad_target" },
    { "B033 another scheme", SPAN("GET ftp://a/ HTTP/1.1\r\n" HOST_END), 400, "bad_target" },
    { "B033 no slash", SPAN("GET e/ HTTP/1.1\r\n" HOST_END), 400, "bad_target" },
    { "fragment", SPAN("GET /#x HTTP/1.1\r\n" HOST_END), 400, "bad_target" },
    { "bytes above 127 in the target", SPAN("GET /\xc3\xa4 HTTP/1.1\r\n" HOST_END), 400, "bad_target" },
    { "tab in the target", SPAN("GET /\tx HTTP/1.1\r\n" HOST_END), 400, "bad_target" },
    /* request line */
    { "B014 unknown method", SPAN("BREW / HTTP/1.1\r\n" HOST_END), 501, "unknown_method" },
    { "B014 lower case", SPAN("post / HTTP/1.1\r\n" HOST_END), 501, "unknown_method" },
    { "B014 mixed case", SPAN("Get / HTTP/1.1\r\n" HOST_END), 501, "unknown_method" },
    { "B014 longer than a method", SPAN("GETX / HTTP/1.1\r\n" HOST_END), 501, "unknown_method" },
    { "B014 TRACE", SPAN("TRACE / HTTP/1.1\r\n" HOST_END), 405, "bad_method" },
    { "B014 CONNECT", SPAN("CONNECT a:443 HTTP/1.1\r\n" HOST_END), 405, "bad_method" },
    { "B015 HTTP/0.9", SPAN("GET /\r\n"), 400, "bad_request_line" },
    { "B015 HTTP/1.2", SPAN("GET / HTTP/1.2\r\n" HOST_END), 505, "bad_version" },
    { "B015 HTTP/2.0", SPAN("GET / HTTP/2.0\r\n" HOST_END), 505, "bad_version" },
    { "B015 HTTP/0.9 said aloud", SPAN("GET / HTTP/0.9\r\n" HOST_END), 505, "bad_version" },
    { "B015 HTTP/2 preface", SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "bad_version" },
    { "B015 HTTP/1.1x", SPAN("GET / HTTP/1.1x\r\n" HOST_END), 400, "bad_request_line" },
    { "B015 HTTP/1.", SPAN("GET / HTTP/1.\r\n" HOST_END), 400, "bad_request_line" },
    { "B015 HTTP/1.10", SPAN("GET / HTTP/1.10\r\n" HOST_END), 400, "bad_request_line" },
    { "B015 http/1.1", SPAN("GET / http/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "B016 TLS hello", SPAN("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400, "bad_request_line" },
    { "B016 PROXY header", SPAN("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\nGET / HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "two spaces", SPAN("GET  / HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "two spaces before the version", SPAN("GET /  HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "space behind the version", SPAN("GET / HTTP/1.1 \r\n" HOST_END), 400, "bad_request_line" },
    { "tab for space", SPAN("GET\t/\tHTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "space first", SPAN(" GET / HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "no target", SPAN("GET HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "two empty lines first", SPAN("\r\n\r\nGET / HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "NUL in the request line", SPAN("GET /\0 HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "a method that is no token", SPAN("G@T / HTTP/1.1\r\n" HOST_END), 400, "bad_request_line" },
    { "B018 other expectation", SPAN(GET "Expect: 200-ok\r\n" HOST_END), 417, "bad_expectation" },
    { "B018 a second, other expectation", SPAN(GET "Expect: 100-continue\r\nExpect: x\r\n" HOST_END), 417, "bad_expectation" },
};

static void wrong_heads_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct http_request request;
        struct http_problem problem = { 0 };

        if (parse(wrongs[i].text, &request, &problem) != HTTP1_WRONG || problem.status != wrongs[i].status ||
            strcmp(problem.code, wrongs[i].code) != 0)
            fail_msg("%s: %d %s %s", wrongs[i].name, problem.status, problem.code, problem.detail);
        assert_true(problem.detail[0] != '\0');
    }
}

static const struct {
    const char      *name, *text;
    enum http_method method;
    const char      *path, *query, *host;
    bool             keep_alive, chunked, expect;
    int64_t          length; /* -1: none */
    size_t           headers;
} rights[] = {
    { "plain", GET HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 1 },
    { "path and query", "GET /e/?ip=1&_=2 HTTP/1.1\r\n" HOST_END, HTTP_GET, "/e/", "ip=1&_=2", "a", true, false, false, -1, 1 },
    { "empty query", "GET /e? HTTP/1.1\r\n" HOST_END, HTTP_GET, "/e", "", "a", true, false, false, -1, 1 },
    { "query in a query", "GET /e?a?b HTTP/1.1\r\n" HOST_END, HTTP_GET, "/e", "a?b", "a", true, false, false, -1, 1 },
    { "what browsers leave unescaped", "GET /e?{\"a\"|^`} HTTP/1.1\r\n" HOST_END, HTTP_GET, "/e", "{\"a\"|^`}", "a", true, false, false, -1, 1 },
    { "length", "POST / HTTP/1.1\r\nContent-Length: 5\r\n" HOST_END, HTTP_POST, "/", "", "a", true, false, false, 5, 2 },
    { "length 0", "POST / HTTP/1.1\r\nContent-Length: 0\r\n" HOST_END, HTTP_POST, "/", "", "a", true, false, false, 0, 2 },
    { "length 2^63-1", "POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n" HOST_END, HTTP_POST, "/", "", "a", true, false, false, INT64_MAX, 2 },
    { "no space before the value", "POST / HTTP/1.1\r\nContent-Length:5\r\nHost:a\r\n\r\n", HTTP_POST, "/", "", "a", true, false, false, 5, 2 },
    { "chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" HOST_END, HTTP_POST, "/", "", "a", true, true, false, -1, 2 },
    { "any case", "POST / HTTP/1.1\r\ntRANSFER-eNCODING: CHUNKED\r\nhOsT: a\r\n\r\n", HTTP_POST, "/", "", "a", true, true, false, -1, 2 },
    { "empty line first", "\r\nGET / HTTP/1.1\r\n" HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 1 },
    { "1.0 closes", "GET / HTTP/1.0\r\n\r\n", HTTP_GET, "/", "", NULL, false, false, false, -1, 0 },
    { "1.0 keeps when asked", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", HTTP_GET, "/", "", NULL, true, false, false, -1, 1 },
    { "1.0 with a length", "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", HTTP_POST, "/", "", NULL, false, false, false, 5, 1 },
    { "1.1 closes when asked", GET "Connection: x, close\r\n" HOST_END, HTTP_GET, "/", "", "a", false, false, false, -1, 2 },
    { "close in a second list", GET "Connection: keep-alive\r\nConnection: te ,\tCLOSE \r\n" HOST_END, HTTP_GET, "/", "", "a", false, false, false, -1, 3 },
    { "closed is not close", GET "Connection: closed, xclose\r\n" HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 2 },
    { "expect", "POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n" HOST_END, HTTP_POST, "/", "", "a", true, false, true, 1, 3 },
    { "1.0 expects nothing", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" HOST_END, HTTP_POST, "/", "", "a", false, false, false, 1, 3 },
    { "B017 upgrade is ignored", GET "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n" HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 3 },
    { "B031 ranges are ignored", GET "Range: bytes=0-\r\nTE: trailers\r\nIf-Match: *\r\n" HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 4 },
    { "B033 absolute form", "GET http://b.example:81/x?y HTTP/1.1\r\n" HOST_END, HTTP_GET, "/x", "y", "b.example:81", true, false, false, -1, 1 },
    { "B033 absolute form, no path", "GET HTTPS://b HTTP/1.1\r\n" HOST_END, HTTP_GET, "/", "", "b", true, false, false, -1, 1 },
    { "B033 absolute form, query only", "GET http://b?y HTTP/1.1\r\n" HOST_END, HTTP_GET, "/", "y", "b", true, false, false, -1, 1 },
    { "B033 absolute form on 1.0", "GET http://b/ HTTP/1.0\r\n\r\n", HTTP_GET, "/", "", "b", false, false, false, -1, 0 },
    { "B033 * with OPTIONS", "OPTIONS * HTTP/1.1\r\n" HOST_END, HTTP_OPTIONS, "*", "", "a", true, false, false, -1, 1 },
    { "B034 underscores", "POST / HTTP/1.1\r\nContent_Length: 7\r\nTransfer_Encoding: chunked\r\n" HOST_END, HTTP_POST, "/", "", "a", true, false, false, -1, 3 },
    { "an address of version 6", GET "Host: [2001:db8::1]:8000\r\n\r\n", HTTP_GET, "/", "", "[2001:db8::1]:8000", true, false, false, -1, 1 },
    { "an empty host", GET "Host:\r\n\r\n", HTTP_GET, "/", "", "", true, false, false, -1, 1 },
    { "bytes above 127 in a value", GET "X: \xc3\xa4\xff\r\n" HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 2 },
    { "tab in a value", GET "X: a\tb\r\n" HOST_END, HTTP_GET, "/", "", "a", true, false, false, -1, 2 },
    { "HEAD", "HEAD / HTTP/1.1\r\n" HOST_END, HTTP_HEAD, "/", "", "a", true, false, false, -1, 1 },
    { "PUT", "PUT / HTTP/1.1\r\n" HOST_END, HTTP_PUT, "/", "", "a", true, false, false, -1, 1 },
    { "DELETE", "DELETE / HTTP/1.1\r\n" HOST_END, HTTP_DELETE, "/", "", "a", true, false, false, -1, 1 },
    { "PATCH", "PATCH / HTTP/1.1\r\n" HOST_END, HTTP_PATCH, "/", "", "a", true, false, false, -1, 1 },
};

static void right_heads_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++) {
        struct http_request request;
        struct http_problem problem = { 0 };
        char                text[512];

        /* What follows the head changes nothing. */
        (void)snprintf(text, sizeof text, "%s\x01{}", rights[i].text);
        if (parse(span_text(text), &request, &problem) != HTTP1_DONE)
            fail_msg("%s: %d %s %s", rights[i].name, problem.status, problem.code, problem.detail);
        assert_int_equal(request.head_bytes, strlen(rights[i].text));
        assert_int_equal(request.method, rights[i].method);
        assert_true(span_is(request.path, rights[i].path));
        assert_true(span_is(request.query, rights[i].query));
        assert_int_equal(request.known[HTTP_HOST].at == NULL, rights[i].host == NULL);
        assert_true(rights[i].host == NULL || span_is(request.known[HTTP_HOST], rights[i].host));
        assert_int_equal(request.keep_alive, rights[i].keep_alive);
        assert_int_equal(request.chunked, rights[i].chunked);
        assert_int_equal(request.expect_continue, rights[i].expect);
        assert_int_equal(request.has_length, rights[i].length >= 0);
        assert_int_equal(request.content_length, rights[i].length < 0 ? 0 : rights[i].length);
        assert_int_equal(request.header_count, rights[i].headers);
        assert_int_equal(request.minor, strstr(rights[i].text, "HTTP/1.0") == NULL);
    }
}

/* Each name in HTTP_HEADERS is found in any case, keeps its first value, and is not taken for another
 * of the same length. */
static void known_headers_are_found(void **state)
{
#define ROW(id, text) { HTTP_##id, text },
    static const struct { enum http_header_id id; const char *name; } names[] = { HTTP_HEADERS(ROW) };
#undef ROW
    struct http_request request;
    struct http_problem problem;

    (void)state;
    for (size_t i = 0; i < HTTP_HEADER_COUNT; i++)
        for (size_t changed = 0; changed <= strlen(names[i].name); changed++) {
            const char *value = names[i].id == HTTP_CONTENT_LENGTH      ? "7"
                              : names[i].id == HTTP_TRANSFER_ENCODING ? "chunked"
                              : names[i].id == HTTP_EXPECT            ? "100-continue"
                                                                      : "v";
            char name[64] = { 0 }, text[300];

            for (size_t c = 0; names[i].name[c] != '\0'; c++)
                name[c] = (char)(c % 2 == changed % 2 && names[i].name[c] != '-' ? names[i].name[c] & ~0x20
                                                                                   : names[i].name[c]);
            (void)snprintf(text, sizeof text, GET "%s:  %s \t\r\nX: y\r\n%s", name, value,
                           names[i].id == HTTP_HOST ? "\r\n" : HOST_END);
            if (names[i].id == HTTP_CONTENT_LENGTH || names[i].id == HTTP_TRANSFER_ENCODING)
                (void)snprintf(text, sizeof text, GET "%s: %s\r\nX: y\r\n" HOST_END, name, value);
            assert_int_equal(http1_parse(span_text(text), 0, &request, &problem), HTTP1_DONE);
            assert_true(span_is(request.known[names[i].id], value));
            for (size_t k = 0; k < HTTP_HEADER_COUNT; k++)
                if (k != names[i].id && k != HTTP_HOST)
                    assert_null(request.known[k].at);

            if (changed == strlen(name))
                continue;
            name[changed] = (name[changed] | 0x20) == 'z' ? 'y' : name[changed] == '-' ? '_' : 'z';
            (void)snprintf(text, sizeof text, GET "%s: v\r\n" HOST_END, name);
            assert_int_equal(http1_parse(span_text(text), 0, &request, &problem), HTTP1_DONE);
            for (size_t k = 0; k < HTTP_HEADER_COUNT; k++)
                assert_true((k == HTTP_HOST) == (request.known[k].at != NULL));
        }
    assert_int_equal(http1_parse(SPAN(GET "Origin: one\r\nOrigin: two\r\nCookie:\r\n" HOST_END), 0, &request, &problem),
                     HTTP1_DONE);
    assert_true(span_is(request.known[HTTP_ORIGIN], "one"));
    assert_non_null(request.known[HTTP_COOKIE].at);
    assert_int_equal(request.known[HTTP_COOKIE].bytes, 0);
}

static void put(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
}

/* B013: the largest of each kind passes, one more does not. */
static void sizes_end_where_they_should(void **state)
{
    static char         text[HTTP1_HEAD_BYTES_MAX + 100];
    struct http_request request;
    struct http_problem problem;

    (void)state;
    for (int more = 0; more <= 1; more++) {
        size_t pad = HTTP1_REQUEST_LINE_BYTES_MAX - strlen("GET / HTTP/1.1") + (size_t)more;
        int    at = sprintf(text, "GET /");

        memset(text + at, 'x', pad);
        put(text + at + pad, " HTTP/1.1\r\n" HOST_END);
        assert_int_equal(parse(span_text(text), &request, &problem), more ? HTTP1_WRONG : HTTP1_DONE);
        assert_true(!more || problem.status == 414);
        /* A line that is both too long and wrong behind its limit is too long. */
        text[HTTP1_REQUEST_LINE_BYTES_MAX + 1] = '\x01';
        assert_int_equal(parse(span_text(text), &request, &problem), HTTP1_WRONG);
        assert_int_equal(problem.status, more ? 414 : 400);
    }
    for (int more = 0; more <= 1; more++) {
        int at = sprintf(text, GET "Host: a\r\n");

        for (int i = 1; i < HTTP1_HEADERS_MAX + more; i++)
            at += sprintf(text + at, "X-%d: y\r\n", i);
        put(text + at, "\r\n");
        assert_int_equal(parse(span_text(text), &request, &problem), more ? HTTP1_WRONG : HTTP1_DONE);
        assert_true(!more || (problem.status == 431 && strcmp(problem.code, "too_many_headers") == 0));
    }
    for (int more = 0; more <= 1; more++) {
        int    at = sprintf(text, GET "X: ");
        size_t pad = HTTP1_HEAD_BYTES_MAX - (size_t)at - strlen("\r\n" HOST_END) + (size_t)more;

        memset(text + at, 'x', pad);
        put(text + at + pad, "\r\n" HOST_END);
        assert_int_equal(parse(span_text(text), &request, &problem), more ? HTTP1_WRONG : HTTP1_DONE);
        assert_true(!more || (problem.status == 431 && strcmp(problem.code, "head_too_large") == 0));
    }
    memset(text, 'x', sizeof text);
    assert_int_equal(parse(span_of(text, HTTP1_REQUEST_LINE_BYTES_MAX), &request, &problem), HTTP1_MORE);
    assert_int_equal(parse(span_of(text, HTTP1_REQUEST_LINE_BYTES_MAX + 1), &request, &problem), HTTP1_WRONG);
    assert_int_equal(problem.status, 414);
    memcpy(text, "\r\n", 2);
    assert_int_equal(parse(span_of(text, HTTP1_REQUEST_LINE_BYTES_MAX + 2), &request, &problem), HTTP1_MORE);
    assert_int_equal(parse(span_of(text, HTTP1_REQUEST_LINE_BYTES_MAX + 3), &request, &problem), HTTP1_WRONG);
    memset(text, 'x', sizeof text);
    assert_int_equal(parse(span_of(text, sizeof text), &request, &problem), HTTP1_WRONG);
    assert_int_equal(problem.status, 414);
    memcpy(text, GET, sizeof GET - 1);
    assert_int_equal(parse(span_of(text, sizeof text), &request, &problem), HTTP1_WRONG);
    assert_int_equal(problem.status, 431);
    assert_int_equal(http1_parse(span_of(text, HTTP1_HEAD_BYTES_MAX - 1), 0, &request, &problem), HTTP1_MORE);
}

static void words_have_no_case(void **state)
{
    (void)state;
    assert_true(http_token_equal(SPAN("GzIp"), "gzip"));
    assert_false(http_token_equal(SPAN("gzip"), "gzi"));
    assert_false(http_token_equal(SPAN("gzi"), "gzip"));
    assert_false(http_token_equal(SPAN("gz[p"), "gz{p"));
    assert_true(http_token_equal(SPAN(""), ""));
    assert_string_equal(http_status_text(400), "Bad Request");
    assert_string_equal(http_status_text(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_text(299), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_heads_are_refused),   cmocka_unit_test(right_heads_are_understood),
        cmocka_unit_test(known_headers_are_found),   cmocka_unit_test(sizes_end_where_they_should),
        cmocka_unit_test(words_have_no_case),
    };

    return cmocka_run_group_tests(tests, guard_setup, NULL);
}
