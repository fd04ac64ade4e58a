/* wire/http1_chunks_test.c - chunked bodies, fed whole, byte by byte, in two pieces cut everywhere and in
 * pieces of chance: the body, the answer and the number of bytes used must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/http1.h"

static const struct {
    const char       *name;
    struct span       text;
    enum http1_answer answer;
    const char       *code, *body;
    size_t            left; /* bytes behind the body */
} rows[] = {
    { "two chunks", SPAN("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), HTTP1_DONE, NULL, "hello world", 0 },
    { "no body", SPAN("0\r\n\r\n"), HTTP1_DONE, NULL, "", 0 },
    { "zeros", SPAN("000\r\n\r\nGET"), HTTP1_DONE, NULL, "", 3 },
    { "hexadecimal, any case", SPAN("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), HTTP1_DONE, NULL, "01234567890123456789", 0 },
    { "15 digits", SPAN("000000000000001\r\nx\r\n0\r\n\r\n"), HTTP1_DONE, NULL, "x", 0 },
    { "extensions", SPAN("1;a=b;c=\"d;\\\"e\"\r\nx\r\n0;f\r\n\r\n"), HTTP1_DONE, NULL, "x", 0 },
    { "data that looks like framing", SPAN("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), HTTP1_DONE, NULL, "0\r\n\r\n", 0 },
    { "B008 trailers are dropped", SPAN("1\r\nx\r\n0\r\nContent-Length: 9\r\nHost: b\r\nX:\r\n\r\nrest"), HTTP1_DONE, NULL, "x", 4 },
    { "not all there", SPAN("5\r\nhel"), HTTP1_MORE, NULL, "hel", 0 },
    { "not ended", SPAN("5\r\nhello\r\n0\r\n"), HTTP1_MORE, NULL, "hello", 0 },
    { "B005 16 digits", SPAN("0000000000000001\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 plus", SPAN("+5\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 minus", SPAN("-5\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 underscore", SPAN("1_0\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 0x", SPAN("0x5\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 blank", SPAN("\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 extension without a size", SPAN(";a\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 space behind", SPAN("5 \r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 space before", SPAN(" 5\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 space before the extension", SPAN("5 ;a\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B005 NUL behind", SPAN("5\0\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B006 longer than its size", SPAN("4\r\nhello\r\n"), HTTP1_WRONG, "bad_chunk", "hell", 0 },
    { "B006 shorter than its size", SPAN("6\r\nhello\r\n0\r\n\r\n"), HTTP1_WRONG, "bad_line_ending", "hello\r", 0 },
    { "B006 shorter by two", SPAN("7\r\nhello\r\n0\r\n\r\n"), HTTP1_WRONG, "bad_chunk", "hello\r\n", 0 },
    { "B006 no CRLF", SPAN("5\r\nhello0\r\n\r\n"), HTTP1_WRONG, "bad_chunk", "hello", 0 },
    { "B009 LF behind the size", SPAN("5\nhello\r\n"), HTTP1_WRONG, "bad_line_ending", "", 0 },
    { "B009 LF in an extension", SPAN("5;a\nhello\r\n"), HTTP1_WRONG, "bad_line_ending", "", 0 },
    { "B009 LF behind the data", SPAN("5\r\nhello\n0\r\n\r\n"), HTTP1_WRONG, "bad_line_ending", "hello", 0 },
    { "B009 CR behind the data", SPAN("5\r\nhello\r0\r\n\r\n"), HTTP1_WRONG, "bad_line_ending", "hello", 0 },
    { "B009 CR behind the size", SPAN("5\rhello\r\n"), HTTP1_WRONG, "bad_line_ending", "", 0 },
    { "B009 LF at the end", SPAN("0\r\n\n"), HTTP1_WRONG, "bad_line_ending", "", 0 },
    { "B009 LF in a trailer", SPAN("0\r\nX: y\n\r\n"), HTTP1_WRONG, "bad_line_ending", "", 0 },
    { "escapes in quotes", SPAN("1;a=\"\\\"\\\\\";b;c=\"\"\r\nx\r\n0\r\n\r\n"), HTTP1_DONE, NULL, "x", 0 },
    { "extension without a name", SPAN("1;\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "extension without a value", SPAN("1;a=\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "extension with two values", SPAN("1;a=b=c\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "space in an extension", SPAN("1;a =b\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "line end in quotes", SPAN("1;a=\"\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "line end behind a backslash", SPAN("1;a=\"\\\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "rubbish behind quotes", SPAN("1;a=\"b\"c\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "quotes within a value", SPAN("1;a=b\"c\"\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "control byte in an extension", SPAN("1;\x01\r\nx\r\n"), HTTP1_WRONG, "bad_chunk", "", 0 },
    { "B010 space in a trailer's name", SPAN("0\r\nX : y\r\n\r\n"), HTTP1_WRONG, "bad_header", "", 0 },
    { "B010 fold in a trailer", SPAN("0\r\nX: y\r\n z\r\n\r\n"), HTTP1_WRONG, "bad_header", "", 0 },
    { "trailer without a colon", SPAN("0\r\nGET / HTTP/1.1\r\n\r\n"), HTTP1_WRONG, "bad_header", "", 0 },
    { "trailer that ends in its name", SPAN("0\r\nX\r\n\r\n"), HTTP1_WRONG, "bad_header", "", 0 },
    { "trailer without a name", SPAN("0\r\n: y\r\n\r\n"), HTTP1_WRONG, "bad_header", "", 0 },
    { "B011 control byte in a trailer", SPAN("0\r\nX: \x02\r\n\r\n"), HTTP1_WRONG, "bad_header", "", 0 },
};

struct fed {
    enum http1_answer answer;
    const char       *code;
    size_t            body_bytes, used;
    uint8_t           body[1 << 18];
};

/* piece_of(i): how many bytes the i-th piece has. */
static void feed(struct span text, size_t (*piece_of)(size_t i, size_t argument), size_t argument, struct fed *out)
{
    struct http1_chunks chunks;
    struct http_problem problem = { 0 };

    http1_chunks_init(&chunks);
    out->answer = HTTP1_MORE;
    out->body_bytes = out->used = 0;
    for (size_t i = 0; out->answer == HTTP1_MORE && out->used < text.bytes; i++) {
        size_t   bytes = piece_of(i, argument), body;
        uint8_t *piece;

        if (bytes > text.bytes - out->used)
            bytes = text.bytes - out->used;
        piece = malloc(bytes + (bytes == 0)); /* of its own, so that the sanitizer sees its ends */
        memcpy(piece, text.at + out->used, bytes);
        out->answer = http1_chunks_feed(&chunks, piece, &bytes, &body, &problem);
        memcpy(out->body + out->body_bytes, piece, body);
        out->body_bytes += body;
        out->used += bytes;
        free(piece);
    }
    out->code = problem.code;
    assert_int_equal(chunks.body_bytes, out->body_bytes);
    assert_true(out->answer != HTTP1_WRONG || problem.status >= 400);
}

static size_t whole(size_t i, size_t argument)
{
    (void)i;
    (void)argument;
    return SIZE_MAX;
}

static size_t of_size(size_t i, size_t argument)
{
    (void)i;
    return argument;
}

static size_t cut_once(size_t i, size_t argument)
{
    return i == 0 ? argument : SIZE_MAX;
}

static size_t of_chance(size_t i, size_t argument)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15 ^ argument * 0xbf58476d1ce4e5b9;

    return (size_t)((x ^ x >> 29) * 0x94d049bb133111eb >> 61);
}

static void rows_are_cut_everywhere(void **state)
{
    static struct fed fed;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t way = 0; way < 40 + rows[i].text.bytes; way++) {
            if (way == 0)
                feed(rows[i].text, whole, 0, &fed);
            else if (way < 8)
                feed(rows[i].text, of_size, way, &fed);
            else if (way < 40)
                feed(rows[i].text, of_chance, way, &fed);
            else
                feed(rows[i].text, cut_once, way - 40, &fed);
            if (fed.answer != rows[i].answer || !span_is(span_of(fed.body, fed.body_bytes), rows[i].body) ||
                (rows[i].code != NULL && strcmp(rows[i].code, fed.code) != 0) ||
                (rows[i].answer == HTTP1_DONE && fed.used != rows[i].text.bytes - rows[i].left))
                fail_msg("%s, way %zu: %d %s, body %zu, used %zu", rows[i].name, way, fed.answer,
                         fed.code ? fed.code : "", fed.body_bytes, fed.used);
        }
}

/* B007 */
static void overhead_is_bounded(void **state)
{
    static char       text[1 << 19];
    static struct fed fed;
    size_t            at = 0;

    (void)state;
    /* Chunks of one byte: 5 bytes of wrapping each, so the 65536 free ones end at the 16,384th (4 more than
     * the body each), before the 16,385th is whole. */
    for (size_t i = 0; i < 80000; i++, at += 6)
        memcpy(text + at, "1\r\nx\r\n", 6);
    feed(span_of(text, at), whole, 0, &fed);
    assert_int_equal(fed.answer, HTTP1_WRONG);
    assert_string_equal(fed.code, "chunk_overhead");
    assert_in_range(fed.body_bytes, 16300, 16400);
    feed(span_of(text, 16000 * 6), whole, 0, &fed);
    assert_int_equal(fed.answer, HTTP1_MORE);

    for (size_t more = 0; more <= 1; more++) {
        memcpy(text, "1;", 2);
        memset(text + 2, 'e', 4096 + more);
        memcpy(text + 2 + 4096 + more, "\r\nx\r\n0\r\n\r\n", 10);
        feed(span_of(text, 2 + 4096 + more + 10), whole, 0, &fed);
        assert_int_equal(fed.answer, more ? HTTP1_WRONG : HTTP1_DONE);
        assert_true(!more || strcmp(fed.code, "chunk_overhead") == 0);
    }
    memcpy(text, "0\r\nX: ", 6);
    memset(text + 6, 'y', 40000);
    feed(span_of(text, 40006), whole, 0, &fed);
    assert_int_equal(fed.answer, HTTP1_WRONG);
    assert_string_equal(fed.code, "head_too_large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_cut_everywhere),
        cmocka_unit_test(overhead_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
