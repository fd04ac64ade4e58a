/* wire/http1.h - HTTP/1.1 requests by RFC 9112, strictly: bytes in, struct out.
 *
 * Three answers: done, more bytes needed, wrong. Nothing is allocated; spans point into the input.
 * Strict because two parsers that disagree about where a request ends are a hole: what RFC 9112 lets
 * a recipient repair (bare LF, obs-fold, space before a colon, two lengths) is refused here.
 *  H1  the answer depends on the bytes alone, not on how they were split over reads
 *  H2  DONE consumes exactly head_bytes; what follows is the body or the next request
 *  H3  WRONG always carries a status and a code word, and the connection closes after the answer */
#ifndef PENSTOCK_WIRE_HTTP1_H
#define PENSTOCK_WIRE_HTTP1_H

#include "base/span.h"

enum {
    HTTP1_REQUEST_LINE_BYTES_MAX = 8192, /* source: docs/limits.md */
    HTTP1_HEAD_BYTES_MAX = 32768,
    HTTP1_HEADERS_MAX = 100
};

enum http1_answer { HTTP1_DONE, HTTP1_MORE, HTTP1_WRONG };

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_PATCH, HTTP_OPTIONS, HTTP_OTHER };

/* The headers that somebody asks for, found once while parsing. */
#define HTTP_HEADERS(X)                                                                                     \
    X(HOST, "host") X(CONTENT_LENGTH, "content-length") X(TRANSFER_ENCODING, "transfer-encoding")           \
    X(CONNECTION, "connection") X(EXPECT, "expect") X(CONTENT_TYPE, "content-type")                         \
    X(CONTENT_ENCODING, "content-encoding") X(ORIGIN, "origin") X(USER_AGENT, "user-agent")                 \
    X(AC_REQUEST_HEADERS, "access-control-request-headers")                                                 \
    X(AC_REQUEST_METHOD, "access-control-request-method") X(X_FORWARDED_FOR, "x-forwarded-for")             \
    X(X_REAL_IP, "x-real-ip") X(AUTHORIZATION, "authorization") X(X_REQUEST_ID, "x-request-id")             \
    X(COOKIE, "cookie") X(IF_NONE_MATCH, "if-none-match")
#define HTTP_HEADER_ENUM(name, text) HTTP_##name,
enum http_header_id { HTTP_HEADERS(HTTP_HEADER_ENUM) HTTP_HEADER_COUNT };

struct http_header {
    struct span name, value; /* value without the white space around it */
};

struct http_request {
    enum http_method   method;
    struct span        method_text;
    struct span        target; /* as sent */
    struct span        path;   /* without query; of an absolute-form target too; not decoded */
    struct span        query;  /* behind `?`, without it; empty when there is none */
    int                minor;  /* HTTP/1.minor: 0 or 1 */
    bool               keep_alive;
    bool               expect_continue;
    bool               chunked;
    bool               has_length;
    uint64_t           content_length; /* 0 without a body */
    size_t             head_bytes;     /* request line, headers and the empty line */
    size_t             header_count;
    struct http_header headers[HTTP1_HEADERS_MAX];
    /* First occurrence; `at` is NULL when absent. Present and empty has bytes 0. */
    struct span        known[HTTP_HEADER_COUNT];
};

/*  status  code                    when
 *  400     bad_request_line        not METHOD SP TARGET SP HTTP/d.d, or a control byte in it
 *  400     bad_target              a byte, or a form, that a target may not have; `*` without OPTIONS
 *  400     bad_line_ending         CR or LF alone
 *  400     bad_header              no colon, no token before it, white space before either, a control byte
 *  400     bad_host                none on 1.1, two, not `host[:port]`
 *  400     bad_content_length      two, not digits alone, above 2^63-1
 *  400     bad_transfer_encoding   anything but one `chunked`, or any on 1.0
 *  400     ambiguous_length        both of them
 *  400     bad_chunk               in a chunked body: size, or what stands behind the data
 *  400     chunk_overhead          in a chunked body: more wrapping than goods
 *  405     bad_method              TRACE, CONNECT
 *  414     request_line_too_long
 *  417     bad_expectation         Expect other than 100-continue
 *  431     too_many_headers, head_too_large (trailers too)
 *  501     unknown_method          also a known one in lower case
 *  505     bad_version             HTTP/d.d other than 1.0 and 1.1 */
struct http_problem {
    int         status;
    const char *code;
    char        detail[160];
};

/* Looks for a whole request head at the start of input. `scanned` is how many bytes an earlier MORE has
 * already seen (0 at first): a slow sender does not cost a second look at what is known.
 * The empty lines that RFC 9112 §2.2 allows before a request line (at most one CRLF) are part of
 * head_bytes. MORE is never given past HTTP1_HEAD_BYTES_MAX: that is WRONG 431 (414 within the line). */
enum http1_answer http1_parse(struct span input, size_t scanned, struct http_request *out,
                              struct http_problem *problem_out);

/* --- chunked bodies ---------------------------------------------------------------------------- */

struct http1_chunks {
    int      state;
    uint64_t chunk_left;
    uint64_t overhead_bytes; /* sizes, extensions, line ends, trailers so far */
    uint64_t body_bytes;
    size_t   line_bytes, word_bytes;
};

void http1_chunks_init(struct http1_chunks *chunks);
/* Decodes in place: reads *bytes_in bytes at `at`, moves the body bytes to the front of `at`, sets
 * *body_bytes to how many those are and *bytes_in to how many input bytes were used. DONE: the last
 * chunk and its trailers (which are dropped) were passed. Overhead above body_bytes + 64 KiB, an
 * extension above 4 KiB: WRONG `chunk_overhead`. */
enum http1_answer http1_chunks_feed(struct http1_chunks *chunks, uint8_t *at, size_t *bytes_in,
                                    size_t *body_bytes, struct http_problem *problem_out);

/* "Bad Request" for 400; "" for a status that is not known. */
const char *http_status_text(int status);
/* Case-insensitive. */
bool http_token_equal(struct span a, const char *b);

#endif
