/* wire/json_test.c - what is JSON and what is not, where it goes wrong, and what is said about it.
 *
 * Each row is read by both paths (vector and plain), by json_skip and by a walk with enter and next, at
 * 65 distances from the start of a buffer that ends at a page which nobody may touch, and once right
 * behind such a page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/json.h"

enum { GUARDED_BYTES = 1 << 20, SHIFTS = 65 };

static uint8_t *front, *guard; /* the first byte that may be read, and the first that may not */

static int guard_setup(void **state)
{
    uint8_t *pages = mmap(NULL, GUARDED_BYTES + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    if (pages == MAP_FAILED || mprotect(pages + 4096, GUARDED_BYTES, PROT_READ | PROT_WRITE) != 0)
        return -1;
    front = pages + 4096;
    guard = front + GUARDED_BYTES;
    return 0;
}

/* The text with `shift` spaces in front, its end touching the guard. */
static struct span guarded(struct span text, size_t shift)
{
    uint8_t *at = guard - text.bytes - shift;

    memset(at, ' ', shift);
    memcpy(at + shift, text.at, text.bytes);
    return span_of(at, text.bytes + shift);
}

/* Into everything, value by value. */
static int walk(struct json_reader *reader)
{
    struct json_value value;
    int               more;

    switch (json_peek(reader)) {
    case JSON_OBJECT:
        if (json_object_enter(reader) < 0)
            return -1;
        while ((more = json_object_next(reader, &value)) > 0)
            if (walk(reader) < 0)
                return -1;
        return more;
    case JSON_ARRAY:
        if (json_array_enter(reader) < 0)
            return -1;
        while ((more = json_array_next(reader)) > 0)
            if (walk(reader) < 0)
                return -1;
        return more;
    case -1: return -1;
    default: return json_skip(reader, &value);
    }
}

enum { PATHS = 3 };

/* What the CPU has, the same without its widest instructions, and without any. */
static unsigned path_of(unsigned way)
{
    static const unsigned paths[PATHS] = { 0, JSON_NARROW, JSON_PORTABLE };

    return paths[way % PATHS];
}

static int read_whole(struct json_reader *reader, struct span text, unsigned flags, bool walking)
{
    struct json_value value;

    json_reader_init(reader, text, flags);
    if ((walking ? walk(reader) : json_skip(reader, &value)) < 0 || json_finish(reader) < 0)
        return -1;
    return 0;
}

#define T(literal) (const uint8_t *)(literal), sizeof(literal) - 1

struct row {
    const uint8_t    *at;
    size_t            bytes;
    enum json_problem problem;
    size_t            problem_at;
};

static void row_check_at(const struct row *row, struct span text, size_t shift)
{
    struct json_reader reader;

    for (unsigned way = 0; way < 2 * PATHS; way++) {
        int rc = read_whole(&reader, text, path_of(way), way >= PATHS);

        if (rc != (row->problem == JSON_FINE ? 0 : -1) || reader.problem != row->problem ||
            (rc < 0 && json_problem_at(&reader) != row->problem_at + shift))
            fail_msg("%.*s: way %u, shift %zu: rc %d, problem %d at %zu; expected %d at %zu", (int)row->bytes,
                     (const char *)row->at, way, shift, rc, (int)reader.problem, json_problem_at(&reader),
                     (int)row->problem, row->problem_at + shift);
    }
}

static void row_check(const struct row *row)
{
    bool has_bom = row->bytes >= 3 && memcmp(row->at, "\xef\xbb\xbf", 3) == 0;

    for (size_t shift = 0; shift < (has_bom ? 1 : SHIFTS); shift++)
        row_check_at(row, guarded(span_of(row->at, row->bytes), shift), shift);
    memcpy(front, row->at, row->bytes);
    row_check_at(row, span_of(front, row->bytes), 0);
}

/* Accepted: everything that RFC 8259 calls JSON. */
static const struct row good[] = {
    { T("{}") }, { T("[]") }, { T("\"\"") }, { T("null") }, { T("true") }, { T("false") }, { T("0") }, { T("-0") },
    { T(" \t\r\n[ \t\r\n] \t\r\n") }, { T(" { } ") }, { T("[[]  ]") }, { T("[{},[],{}]") },
    { T("[null, 1, \"1\", {}]") }, { T("[1,null,null,null,2]") }, { T("[true]") }, { T("[false]") },
    { T("{\"\":0}") }, { T("{\"a\":\"b\",\"a\":\"c\"}") }, { T("{\"a\":{\"b\":{\"c\":[]}}}") },
    { T("{\n\"a\": \"b\"\n}") }, { T("{ \"a\" : 1 , \"b\" : [ 1 , 2 ] }") },
    { T("{\"title\":\"\\u0041\\u00e9\\u20ac\"}") },
    { T("{\"min\": -1.0e+28, \"max\": 1.0e+28}") },
    /* numbers */
    { T("[123e65]") }, { T("[0e+1]") }, { T("[0e1]") }, { T("[ 4]") }, { T("[-0.000000000000000000000000000000001]") },
    { T("[20e1]") }, { T("[-0]") }, { T("[-123]") }, { T("[-1]") }, { T("[1E22]") }, { T("[1E-2]") }, { T("[1E+2]") },
    { T("[123e45]") }, { T("[123.456e78]") }, { T("[1e-2]") }, { T("[1e+2]") }, { T("[123]") }, { T("[123.456789]") },
    { T("[1e00]") }, { T("[0.0]") }, { T("-0.5E-05") }, { T("12345678901234567890123456789012345678901234567890") },
    { T("[12345678901234567890123456789012.12345678901234567890123456789012345]") },
    /* strings */
    { T("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]") }, { T("[\"\\u0060\\u012a\\u12AB\"]") }, { T("[\"\\ud801\\udc37\"]") },
    { T("[\"\\uD83D\\uDE39\\uD83D\\uDC8D\"]") }, { T("[\"\\\\u0000\"]") }, { T("[\"\\\"\"]") },
    { T("[\"a/*b*/c/*d//e\"]") }, { T("[\"\\\\a\"]") }, { T("[\"\\\\n\"]") }, { T("[\"\x7f\"]") }, { T("[\"'\"]") },
    { T("[\"\\u0012\"]") }, { T("[\"\\uFFFF\"]") }, { T("[\"asd \"]") }, { T("[\"\\u0000\"]") }, { T("[\"{[]},:\"]") },
    { T("\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"") },
    { T("\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\\n\"") },
    /* UTF-8: first and last of each length, noncharacters, direct line separators */
    { T("\"\xc2\x80\"") }, { T("\"\xdf\xbf\"") }, { T("\"\xe0\xa0\x80\"") }, { T("\"\xed\x9f\xbf\"") },
    { T("\"\xee\x80\x80\"") }, { T("\"\xef\xbf\xbf\"") }, { T("\"\xf0\x90\x80\x80\"") }, { T("\"\xf4\x8f\xbf\xbf\"") },
    { T("\"\xef\xb7\x90\"") }, { T("\"\xe2\x80\xa8\xe2\x80\xa9\"") }, { T("\"\xf0\x9f\x98\xb9\xf0\x9f\x92\x8d\"") },
    { T("{\"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87\":\"\xe5\x80\xbc\"}") },
    { T("\"plain ascii, then \xc3\xa9\xc3\xa8, then thirty-two plain bytes again \xe2\x82\xac and a bit more, and more\"") },
    /* a byte order mark is passed over */
    { T("\xef\xbb\xbf{}") }, { T("\xef\xbb\xbf []") },
};

/* Refused: the kind of problem and the byte it is at. */
static const struct row bad[] = {
    /* nothing there, or not all of it */
    { T(""), JSON_END_EARLY, 0 }, { T(" "), JSON_END_EARLY, 1 }, { T("["), JSON_END_EARLY, 1 },
    { T("{"), JSON_END_EARLY, 1 }, { T("[1"), JSON_END_EARLY, 2 }, { T("[1,"), JSON_END_EARLY, 3 },
    { T("[\"\""), JSON_END_EARLY, 3 }, { T("\""), JSON_END_EARLY, 1 }, { T("[\"a"), JSON_END_EARLY, 3 },
    { T("{\"a\""), JSON_END_EARLY, 4 }, { T("{\"a\":"), JSON_END_EARLY, 5 }, { T("{\"a\":1"), JSON_END_EARLY, 6 },
    { T("{\"a\":1,"), JSON_END_EARLY, 7 }, { T("{\"a\":1, "), JSON_END_EARLY, 8 }, { T("[{"), JSON_END_EARLY, 2 },
    { T("\"\\"), JSON_END_EARLY, 2 }, { T("\"\\u"), JSON_END_EARLY, 3 }, { T("\"\\u00A"), JSON_END_EARLY, 6 },
    { T("\"\\ud800\\u1"), JSON_LONE_SURROGATE, 1 }, { T("nul"), JSON_END_EARLY, 3 }, { T("[tru"), JSON_END_EARLY, 4 },
    { T("-"), JSON_END_EARLY, 1 }, { T("[-"), JSON_END_EARLY, 2 }, { T("1."), JSON_END_EARLY, 2 },
    { T("1e"), JSON_END_EARLY, 2 }, { T("1e+"), JSON_END_EARLY, 3 }, { T("\xef\xbb\xbf"), JSON_END_EARLY, 3 },
    /* punctuation */
    { T("[1 true]"), JSON_SYNTAX, 3 }, { T("[\"\": 1]"), JSON_SYNTAX, 3 }, { T("[,1]"), JSON_SYNTAX, 1 },
    { T("[1,,2]"), JSON_SYNTAX, 3 }, { T("[\"x\",,]"), JSON_SYNTAX, 5 }, { T("[\"\",]"), JSON_SYNTAX, 4 },
    { T("[,]"), JSON_SYNTAX, 1 }, { T("[,\"\"]"), JSON_SYNTAX, 1 }, { T("[3[4]]"), JSON_SYNTAX, 2 },
    { T("[1:2]"), JSON_SYNTAX, 2 }, { T("[1}"), JSON_SYNTAX, 2 }, { T("{\"a\":1]"), JSON_SYNTAX, 6 },
    { T("[\"x\"}"), JSON_SYNTAX, 4 }, { T("}"), JSON_SYNTAX, 0 }, { T("]"), JSON_SYNTAX, 0 },
    { T(","), JSON_SYNTAX, 0 },
    { T(":"), JSON_SYNTAX, 0 }, { T("{,}"), JSON_SYNTAX, 1 }, { T("{\"a\"}"), JSON_SYNTAX, 4 },
    { T("{\"a\" 1}"), JSON_SYNTAX, 5 }, { T("{\"a\",1}"), JSON_SYNTAX, 4 }, { T("{\"a\"::1}"), JSON_SYNTAX, 5 },
    { T("{:1}"), JSON_SYNTAX, 1 }, { T("{1:1}"), JSON_SYNTAX, 1 }, { T("{null:1}"), JSON_SYNTAX, 1 },
    { T("{[]:1}"), JSON_SYNTAX, 1 }, { T("{{}:1}"), JSON_SYNTAX, 1 }, { T("{\"a\":1,}"), JSON_SYNTAX, 7 },
    { T("{\"a\":1,,\"b\":2}"), JSON_SYNTAX, 7 }, { T("{\"a\":1 \"b\":2}"), JSON_SYNTAX, 7 },
    { T("{\"a\":}"), JSON_SYNTAX, 5 }, { T("{\"a\":1:2}"), JSON_SYNTAX, 6 }, { T("{\"a\":\"b\",1}"), JSON_SYNTAX, 9 },
    { T("{a:1}"), JSON_SYNTAX, 1 }, { T("{'a':1}"), JSON_SYNTAX, 1 }, { T("['a']"), JSON_SYNTAX, 1 },
    { T("[*]"), JSON_SYNTAX, 1 }, { T("[a]"), JSON_SYNTAX, 1 }, { T("[\\n]"), JSON_SYNTAX, 1 },
    { T("[1,\\n]"), JSON_SYNTAX, 3 }, { T("<null>"), JSON_SYNTAX, 0 }, { T("abc"), JSON_SYNTAX, 0 },
    { T("{\"a\":/*c*/1}"), JSON_SYNTAX, 5 }, { T("[1//c\n]"), JSON_SYNTAX, 2 }, { T("#c\n[]"), JSON_SYNTAX, 0 },
    /* white space is four bytes, no more */
    { T("[\f]"), JSON_SYNTAX, 1 }, { T("[\v1]"), JSON_SYNTAX, 1 }, { T("[\xc2\xa0]"), JSON_SYNTAX, 1 },
    { T("[\xe2\x81\xa0]"), JSON_SYNTAX, 1 }, { T("\xef\xbb\xbf\xef\xbb\xbf[]"), JSON_SYNTAX, 3 },
    { T("[\0]"), JSON_SYNTAX, 1 }, { T("\0"), JSON_SYNTAX, 0 }, { T("[1\0]"), JSON_SYNTAX, 2 },
    /* words */
    { T("[nul]"), JSON_SYNTAX, 1 }, { T("[tru]"), JSON_SYNTAX, 1 }, { T("[fals]"), JSON_SYNTAX, 1 },
    { T("[True]"), JSON_SYNTAX, 1 }, { T("[NULL]"), JSON_SYNTAX, 1 }, { T("[nullx]"), JSON_SYNTAX, 1 },
    { T("[truefalse]"), JSON_SYNTAX, 1 }, { T("truth"), JSON_SYNTAX, 0 }, { T("true1"), JSON_SYNTAX, 0 },
    { T("[NaN]"), JSON_SYNTAX, 1 }, { T("[nan]"), JSON_SYNTAX, 1 }, { T("[Infinity]"), JSON_SYNTAX, 1 },
    { T("[undefined]"), JSON_SYNTAX, 1 },
    /* numbers */
    { T("[-Infinity]"), JSON_BAD_NUMBER, 2 }, { T("[-NaN]"), JSON_BAD_NUMBER, 2 }, { T("[+1]"), JSON_SYNTAX, 1 },
    { T("[++1]"), JSON_SYNTAX, 1 }, { T("[+Inf]"), JSON_SYNTAX, 1 }, { T("[-01]"), JSON_BAD_NUMBER, 3 },
    { T("[-]"), JSON_BAD_NUMBER, 2 }, { T("[--2.]"), JSON_BAD_NUMBER, 2 }, { T("[.5]"), JSON_SYNTAX, 1 },
    { T("[-.5]"), JSON_BAD_NUMBER, 2 }, { T("[0.1.2]"), JSON_BAD_NUMBER, 4 }, { T("[0.3e+]"), JSON_BAD_NUMBER, 6 },
    { T("[0.3e]"), JSON_BAD_NUMBER, 5 }, { T("[0.e1]"), JSON_BAD_NUMBER, 3 }, { T("[0E]"), JSON_BAD_NUMBER, 3 },
    { T("[1.0e+]"), JSON_BAD_NUMBER, 6 }, { T("[1 000.0]"), JSON_SYNTAX, 3 }, { T("[1eE2]"), JSON_BAD_NUMBER, 3 },
    { T("[2.e3]"), JSON_BAD_NUMBER, 3 }, { T("[9.e+]"), JSON_BAD_NUMBER, 3 }, { T("[1+2]"), JSON_BAD_NUMBER, 2 },
    { T("[0x1]"), JSON_BAD_NUMBER, 2 }, { T("[0x42]"), JSON_BAD_NUMBER, 2 }, { T("[-foo]"), JSON_BAD_NUMBER, 2 },
    { T("[- 1]"), JSON_BAD_NUMBER, 2 }, { T("[012]"), JSON_BAD_NUMBER, 2 }, { T("[-012]"), JSON_BAD_NUMBER, 3 },
    { T("[00000000000000000000000000000000000001]"), JSON_BAD_NUMBER, 2 }, { T("[1ea]"), JSON_BAD_NUMBER, 3 },
    { T("[1a]"), JSON_BAD_NUMBER, 2 }, { T("[-1x]"), JSON_BAD_NUMBER, 3 }, { T("[1.]"), JSON_BAD_NUMBER, 3 },
    { T("01"), JSON_BAD_NUMBER, 1 }, { T("1_000"), JSON_BAD_NUMBER, 1 }, { T("[1\xe5]"), JSON_SYNTAX, 2 },
    { T("[\xef\xbc\x91]"), JSON_SYNTAX, 1 }, { T("[1e1.5]"), JSON_BAD_NUMBER, 4 },
    /* strings */
    { T("[\"\\x00\"]"), JSON_BAD_STRING, 2 }, { T("[\"\\a\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\\0\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\\'\"]"), JSON_BAD_STRING, 2 }, { T("[\"\\U0041\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\\u00G0\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\\u 041\"]"), JSON_BAD_STRING, 2 }, { T("[\"\\u004\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\\\xc3\xa9\"]"), JSON_BAD_STRING, 2 },
    { T("[\"a\0b\"]"), JSON_BAD_STRING, 3 }, { T("[\"\n\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\t\"]"), JSON_BAD_STRING, 2 },
    { T("[\"\x1f\"]"), JSON_BAD_STRING, 2 }, { T("{\"a\nb\":1}"), JSON_BAD_STRING, 3 },
    { T("[\"\\\\\\\"]"), JSON_END_EARLY, 7 }, { T("[\\u0020\"a\"]"), JSON_SYNTAX, 1 },
    { T("\"0123456789012345678901234567890123456789012345678901234567890123456789\x01 and a tail of text\""),
      JSON_BAD_STRING, 71 },
    { T("\"01234567890123456789012345678901234567890123456789012345678901234567\\q9\""), JSON_BAD_STRING, 69 },
    /* half pairs are refused unless repair is asked for */
    { T("[\"\\ud800\"]"), JSON_LONE_SURROGATE, 2 }, { T("[\"\\uDFAA\"]"), JSON_LONE_SURROGATE, 2 },
    { T("[\"\\ud800\\ud800\\udc00\"]"), JSON_LONE_SURROGATE, 2 }, { T("[\"\\ud800\\n\"]"), JSON_LONE_SURROGATE, 2 },
    { T("[\"\\ud800a\"]"), JSON_LONE_SURROGATE, 2 }, { T("[\"\\ud83d\\u0041\"]"), JSON_LONE_SURROGATE, 2 },
    { T("{\"\\udc00\":1}"), JSON_LONE_SURROGATE, 2 },
    /* UTF-8 */
    { T("[\"\x80\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xbf\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xc0\xaf\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xc1\xbf\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xc3\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xc3\xa9\xc3\"]"), JSON_BAD_UTF8, 4 },
    { T("[\"\xe0\x80\xaf\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xe0\x9f\xbf\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xed\xa0\x80\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xed\xbf\xbf\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xe2\x82\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xe2\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xf0\x80\x80\x80\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xf0\x8f\xbf\xbf\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xf4\x90\x80\x80\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xf5\x80\x80\x80\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xf0\x9f\x98\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"), JSON_BAD_UTF8, 2 }, { T("[\"\xff\"]"), JSON_BAD_UTF8, 2 },
    { T("[\"\xed\xa0\xbd\xed\xb8\x80\"]"), JSON_BAD_UTF8, 2 }, { T("{\"\xff\":1}"), JSON_BAD_UTF8, 2 },
    { T("\"\xe2\x82"), JSON_BAD_UTF8, 1 }, { T("[\"\\u00e9\xe9\"]"), JSON_BAD_UTF8, 8 },
    { T("\"seventy bytes of plain text in front, so that the wide compare finds it\xe9 \""), JSON_BAD_UTF8, 72 },
    { T("\xff\xfe[\0]\0"), JSON_SYNTAX, 0 }, { T("\0[\0]"), JSON_SYNTAX, 0 }, { T("[\0]\0"), JSON_SYNTAX, 1 },
    { T("\xef\xbb{}"), JSON_SYNTAX, 0 }, { T("[\xff]"), JSON_SYNTAX, 1 },
    /* after the value */
    { T("{} {}"), JSON_TRAILING, 3 }, { T("[1]\n[2]"), JSON_TRAILING, 4 }, { T("[]]"), JSON_TRAILING, 2 },
    { T("{}}"), JSON_TRAILING, 2 }, { T("\"a\"x"), JSON_TRAILING, 3 }, { T("2@"), JSON_TRAILING, 1 },
    { T("1 2"), JSON_TRAILING, 2 }, { T("{}#"), JSON_TRAILING, 2 }, { T("[]\0"), JSON_TRAILING, 2 },
    { T("{\"a\":1}/**/"), JSON_TRAILING, 7 }, { T("null,"), JSON_TRAILING, 4 },
};

static void what_is_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        row_check(&good[i]);
}

static void what_is_not_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        row_check(&bad[i]);
}

/* Wherever a text is cut, all ways agree, and nothing reads past the cut. */
static void every_cut_is_answered_alike(void **state)
{
    static const char event[] =
        "{\"event\":\"$pageview\",\"uuid\":\"c9e9c616-612e-7696-a6ce-cc1b78e51061\",\"n\":[1,-2.5,3e8,0.001,12345678901234567890],"
        "\"u\":\"Caf\xc3\xa9 \xe2\x80\x93 \xf0\x9f\x98\xb9\",\"e\":\"\\ud83d\\ude39\\n\\\"\",\"o\":{\"t\":true,\"f\":false,\"z\":null},"
        "\"long\":\"a text that is longer than the forty bytes which are looked at word by word, and than sixty-four more\"}";
    struct json_reader first, other;

    (void)state;
    for (size_t bytes = 0; bytes < sizeof event - 1; bytes++) {
        struct span cut = guarded(span_of(event, bytes), 0);

        assert_int_equal(read_whole(&first, cut, 0, false), -1);
        for (unsigned way = 1; way < 2 * PATHS; way++) {
            assert_int_equal(read_whole(&other, cut, path_of(way), way >= PATHS), -1);
            assert_int_equal(other.problem, first.problem);
            assert_int_equal(json_problem_at(&other), json_problem_at(&first));
        }
    }
    assert_int_equal(read_whole(&first, guarded(span_of(event, sizeof event - 1), 0), 0, false), 0);
}

/* Any byte at any place of a long string: all ways agree with the rule itself. */
static void every_byte_in_every_place(void **state)
{
    uint8_t            text[200];
    struct json_reader reader;

    (void)state;
    for (size_t length = 3; length < 150; length += 7)
        for (size_t place = 1; place < length - 1; place++)
            for (unsigned byte = 0; byte < 256; byte++) {
                memset(text, 'x', length);
                text[0] = text[length - 1] = '"';
                text[place] = (uint8_t)byte;
                enum json_problem want = byte < 0x20    ? JSON_BAD_STRING
                                         : byte >= 0x80 ? JSON_BAD_UTF8
                                         : byte == '"'  ? JSON_TRAILING
                                         : byte == '\\' ? (place == length - 2 ? JSON_END_EARLY : JSON_BAD_STRING)
                                                        : JSON_FINE;
                for (unsigned way = 0; way < PATHS; way++) {
                    int rc = read_whole(&reader, guarded(span_of(text, length), 0), path_of(way), false);

                    assert_int_equal(rc, want == JSON_FINE ? 0 : -1);
                    assert_int_equal(reader.problem, want);
                    if (want == JSON_BAD_STRING || want == JSON_BAD_UTF8)
                        assert_int_equal(json_problem_at(&reader), place);
                }
            }
}

/* The same for numbers, with the rule written down once more. */
static void every_byte_in_every_place_of_a_number(void **state)
{
    uint8_t            text[40];
    struct json_reader reader;

    (void)state;
    for (size_t length = 2; length < sizeof text; length++)
        for (size_t place = 1; place < length; place++)
            for (unsigned byte = 0; byte < 256; byte++) {
                bool              last = place == length - 1, letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
                enum json_problem want = JSON_TRAILING;
                size_t            at = place;

                memset(text, '7', length);
                text[place] = (uint8_t)byte;
                if (byte >= '0' && byte <= '9')
                    want = JSON_FINE;
                else if (byte == '.' || byte == 'e' || byte == 'E') {
                    want = last ? JSON_END_EARLY : JSON_FINE;
                    at = length;
                } else if (letter || byte == '+' || byte == '-' || byte == '_')
                    want = JSON_BAD_NUMBER;
                else if (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') {
                    want = last ? JSON_FINE : JSON_TRAILING;
                    at = place + 1;
                }
                for (unsigned way = 0; way < PATHS; way++) {
                    int rc = read_whole(&reader, guarded(span_of(text, length), 0), path_of(way), false);

                    assert_int_equal(rc, want == JSON_FINE ? 0 : -1);
                    assert_int_equal(reader.problem, want);
                    if (rc < 0)
                        assert_int_equal(json_problem_at(&reader), at);
                }
            }
}

static void depth_is_bounded(void **state)
{
    static const struct {
        const char *open, *close;
        size_t      levels;
        bool        good;
    } rows[] = {
        { "[", "]", JSON_DEPTH_MAX, true },          { "[", "]", JSON_DEPTH_MAX + 1, false },
        { "{\"a\":", "}", JSON_DEPTH_MAX, true },    { "{\"a\":", "}", JSON_DEPTH_MAX + 1, false },
        { "[{\"a\":", "}]", JSON_DEPTH_MAX / 2, true }, { "[{\"a\":", "}]", JSON_DEPTH_MAX / 2 + 1, false },
        { "[", "]", 100000, false },                 { "{\"a\":", "}", 60000, false },
    };
    struct json_reader reader;
    struct json_value  value;
    struct buf         buf;

    (void)state;
    buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_reset(&buf);
        for (size_t level = 0; level < rows[i].levels; level++)
            buf_add_text(&buf, rows[i].open);
        buf_add_byte(&buf, '1');
        for (size_t level = 0; level < rows[i].levels; level++)
            buf_add_text(&buf, rows[i].close);
        for (unsigned way = 0; way < 2 * PATHS; way++) {
            int rc = read_whole(&reader, buf_span(&buf), path_of(way), way >= PATHS);

            assert_int_equal(rc, rows[i].good ? 0 : -1);
            assert_int_equal(reader.problem, rows[i].good ? JSON_FINE : JSON_TOO_DEEP);
        }
        /* Half by entering, half by skipping: the bound is the sum. */
        json_reader_init(&reader, buf_span(&buf), 0);
        for (size_t level = 0; level < 10; level++)
            if (json_peek(&reader) == JSON_ARRAY) {
                assert_int_equal(json_array_enter(&reader), 0);
                assert_int_equal(json_array_next(&reader), 1);
            } else {
                assert_int_equal(json_object_enter(&reader), 0);
                assert_int_equal(json_object_next(&reader, &value), 1);
            }
        assert_int_equal(json_skip(&reader, &value), rows[i].good ? 0 : -1);
    }
    buf_fini(&buf);
}

/* J5. Same length, same places; what was no surrogate or NUL stays untouched. */
static void repairs(void **state)
{
    static const struct {
        const char *text, *want;
        unsigned    surrogates, nuls;
    } rows[] = {
        { "[\"\\ud83d\"]", "[\"\\ufffd\"]", 1, 0 },
        { "[\"\\uDE39\"]", "[\"\\ufffd\"]", 1, 0 },
        { "[\"\\ud83d\\ud83d\\ude39\"]", "[\"\\ufffd\\ud83d\\ude39\"]", 1, 0 },
        { "[\"\\ude39\\ud83d\"]", "[\"\\ufffd\\ufffd\"]", 2, 0 },
        { "[\"\\ud83d\\u0041\"]", "[\"\\ufffd\\u0041\"]", 1, 0 },
        { "[\"\\ud83d\\n\"]", "[\"\\ufffd\\n\"]", 1, 0 },
        { "[\"\\ud83d\\\\ude39\"]", "[\"\\ufffd\\\\ude39\"]", 1, 0 },
        { "[\"\\ud83d\\u0000\"]", "[\"\\ufffd\\ufffd\"]", 1, 1 },
        { "[\"a\\u0000b\",\"\\u0000\"]", "[\"a\\ufffdb\",\"\\ufffd\"]", 0, 2 },
        { "{\"\\u0000\\ud800\":{\"\\udfff\":\"\\u0001\"}}", "{\"\\ufffd\\ufffd\":{\"\\ufffd\":\"\\u0001\"}}", 2, 1 },
        { "[\"\\\\u0000\\\\ud83d\"]", "[\"\\\\u0000\\\\ud83d\"]", 0, 0 },
        { "[\"\\ud83d\\ude39 \\uFFFD\"]", "[\"\\ud83d\\ude39 \\uFFFD\"]", 0, 0 },
    };
    struct json_reader reader;
    struct json_value  key, value;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (unsigned way = 0; way < 2 * PATHS; way++) {
            struct span text = guarded(span_text(rows[i].text), 0);

            assert_int_equal(read_whole(&reader, text, JSON_REPAIR | path_of(way), way >= PATHS), 0);
            assert_true(span_is(text, rows[i].want));
            assert_int_equal(reader.surrogates_repaired, rows[i].surrogates);
            assert_int_equal(reader.nuls_repaired, rows[i].nuls);
            /* Once repaired, nothing is left to repair. */
            assert_int_equal(read_whole(&reader, text, 0, false), 0);
        }
    struct span text = guarded(SPAN("{\"\\ud800\":1}"), 0);

    json_reader_init(&reader, text, JSON_REPAIR);
    assert_int_equal(json_object_enter(&reader), 0);
    assert_int_equal(json_object_next(&reader, &key), 1);
    assert_true(json_text_is(&key, "\xef\xbf\xbd"));
    assert_int_equal(json_skip(&reader, &value), 0);
}

static void explains(void **state)
{
    static const struct {
        const char *text, *parts[3];
    } rows[] = {
        { "{\"a\":NaN}", { "use null", "byte 5" } },
        { "{\"a\":Infinity}", { "Infinity", "use null", "byte 5" } },
        { "{\"a\":-Infinity}", { "Infinity", "use null", "byte 6" } },
        { "{\"a\":-NaN}", { "use null", "byte 6" } },
        { "{\"a\":undefined}", { "use null", "byte 5" } },
        { "[True]", { "lower case", "byte 1" } },
        { "{\"a\":1,}", { "trailing comma? unexpected '}' at byte 7" } },
        { "[1,\n]", { "trailing comma? unexpected ']' at byte 4" } },
        { "{'a':1}", { "single quotes", "byte 1" } },
        { "{\"a\":'b'}", { "single quotes", "byte 5" } },
        { "{a:1}", { "double quotes", "byte 1" } },
        { "[1] // x", { "comment", "byte 4" } },
        { "{/*x*/}", { "comment", "byte 1" } },
        { "{\"a\":1}\n{\"a\":2}\n", { "second document", "newline-delimited", "byte 8" } },
        { "[1] x", { "after the JSON value", "byte 4" } },
        { "[1 \"a\"]", { "missing comma", "byte 3" } },
        { "[01]", { "leading zero", "byte 2" } },
        { "[+1]", { "plus sign", "byte 1" } },
        { "[.5]", { "digit before", "byte 1" } },
        { "[\"\\x\"]", { "unknown escape", "'x'", "byte 2" } },
        { "[\"\\u12\"]", { "four hex digits", "byte 2" } },
        { "[\"a\nb\"]", { "control character 0x0a", "\\u000a", "byte 3" } },
        { "[\"\xff\"]", { "0xff", "not UTF-8", "byte 2" } },
        { "[\"\\ud800\"]", { "surrogate", "\\ud800", "byte 2" } },
        { "{\"a\":", { "ends early", "byte 5" } },
        { "", { "empty", "byte 0" } },
        { "\xff\xfe[", { "UTF-16", "byte 0" } },
        { "\x01", { "byte 0x01", "at byte 0" } },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", { "too deep", "64", "byte 64" } },
    };
    struct json_reader reader;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = { ERR_NONE, "" };

        assert_int_equal(read_whole(&reader, guarded(span_text(rows[i].text), 0), 0, false), -1);
        assert_int_equal(json_explain(&reader, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        for (size_t part = 0; part < 3 && rows[i].parts[part] != NULL; part++)
            if (strstr(err.text, rows[i].parts[part]) == NULL)
                fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].text, err.text, rows[i].parts[part]);
    }
}

/* J3 */
static void an_error_stays(void **state)
{
    struct json_reader reader;
    struct json_value  value;

    (void)state;
    json_reader_init(&reader, SPAN("[1,x,2]"), 0);
    assert_int_equal(json_array_enter(&reader), 0);
    assert_int_equal(json_array_next(&reader), 1);
    assert_int_equal(json_skip(&reader, &value), 0);
    assert_int_equal(json_array_next(&reader), -1);
    assert_int_equal(json_problem_at(&reader), 3);
    assert_int_equal(json_peek(&reader), -1);
    assert_int_equal(json_skip(&reader, &value), -1);
    assert_int_equal(json_array_next(&reader), -1);
    assert_int_equal(json_object_next(&reader, &value), -1);
    assert_int_equal(json_array_enter(&reader), -1);
    assert_int_equal(json_object_enter(&reader), -1);
    assert_int_equal(json_finish(&reader), -1);
    assert_int_equal(json_problem_at(&reader), 3);

    json_reader_init(&reader, SPAN("{}"), 0);
    assert_int_equal(json_array_enter(&reader), -1); /* another kind than expected */
    assert_int_equal(reader.problem, JSON_SYNTAX);
}

/* D1: what is passed over is given as it was written. */
static void values_are_the_bytes_sent(void **state)
{
    static const char  text[] = " { \"k\\u0061\" : 1e400 , \"b\" : { \"x\" : [ 1 , 2 ] } , \"c\" : \"q\\n\" , \"d\" : 12345678901234567890123 } ";
    static const struct {
        const char    *key, *raw;
        enum json_kind kind;
        bool           key_escaped, escaped;
    } want[] = {
        { "\"k\\u0061\"", "1e400", JSON_NUMBER, true, false },
        { "\"b\"", "{ \"x\" : [ 1 , 2 ] }", JSON_OBJECT, false, false },
        { "\"c\"", "\"q\\n\"", JSON_STRING, false, true },
        { "\"d\"", "12345678901234567890123", JSON_NUMBER, false, false },
    };
    struct json_reader reader;
    struct json_value  key, value;

    (void)state;
    for (unsigned way = 0; way < PATHS; way++) {
        json_reader_init(&reader, guarded(span_of(text, sizeof text - 1), 0), path_of(way));
        assert_int_equal(json_object_enter(&reader), 0);
        for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
            assert_int_equal(json_object_next(&reader, &key), 1);
            assert_true(span_is(key.raw, want[i].key));
            assert_int_equal(key.escaped, want[i].key_escaped);
            assert_int_equal(json_peek(&reader), want[i].kind);
            assert_int_equal(json_skip(&reader, &value), 0);
            assert_true(span_is(value.raw, want[i].raw));
            assert_int_equal(value.kind, want[i].kind);
            assert_int_equal(value.escaped, want[i].escaped);
        }
        assert_int_equal(json_object_next(&reader, &key), 0);
        assert_int_equal(json_finish(&reader), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json),          cmocka_unit_test(what_is_not_json),
        cmocka_unit_test(every_cut_is_answered_alike), cmocka_unit_test(every_byte_in_every_place),
        cmocka_unit_test(every_byte_in_every_place_of_a_number),
        cmocka_unit_test(depth_is_bounded),      cmocka_unit_test(repairs),
        cmocka_unit_test(explains),              cmocka_unit_test(an_error_stays),
        cmocka_unit_test(values_are_the_bytes_sent),
    };

    return cmocka_run_group_tests(tests, guard_setup, NULL);
}
