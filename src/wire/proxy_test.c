/* wire/proxy_test.c - rows from the published protocol: each line and each header stands there as a proxy would send it. Each
 * is parsed whole, at the very end of memory that may be read, and byte by byte (Y1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "wire/proxy.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define A4 "\xc0\x00\x02\x01\xcb\x00\x71\x05"                                  /* 192.0.2.1, 203.0.113.5 */
#define A6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" /* 2001:db8::1, ::2 */
#define M6 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x05" /* 192.0.2.7, mapped */
#define PORTS "\xdc\x04\x01\xbb"                                              /* 56324, 443 */
#define U54 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ROW(text) text, sizeof(text) - 1

static const struct {
    const char  *text;
    size_t       bytes;
    const char  *source; /* NULL: refused; "own", "unix", or "address port > address port" */
    size_t       left;   /* bytes behind the header */
} rows[] = {
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 56324 443\r\nGET"), "192.0.2.1 56324 > 203.0.113.5 443", 3 },
    { ROW("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255 65535 > 255.255.255.255 65535", 0 },
    { ROW("PROXY TCP4 0.0.0.0 1.1.1.1 0 0\r\n"), "0.0.0.0 0 > 1.1.1.1 0", 0 },
    { ROW("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"), "2001:db8::1 56324 > 2001:db8::2 443", 0 },
    { ROW("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 > ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535", 0 },
    { ROW("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), "192.0.2.7 1 > ::1 2", 0 },
    { ROW("PROXY UNKNOWN\r\n"), "own", 0 },
    { ROW("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\nx"), "own", 1 },
    { ROW("PROXY UNKNOWN whatever  this\tis\r\n"), "own", 0 },
    { ROW("PROXY UNKNOWNX\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 56324\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 56324 443 \r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 56324 443 1\r\n"), NULL, 0 },
    { ROW("PROXY  TCP4 192.0.2.1 203.0.113.5 56324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4  192.0.2.1 203.0.113.5 56324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.01 203.0.113.5 56324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2 203.0.113.5 56324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 ::1 ::2 56324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP6 192.0.2.1 203.0.113.5 56324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 65536 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 056324 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 -1 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 1 443\rx"), NULL, 0 },
    { ROW("PROXY TCP4 192.0.2.1 203.0.113.5 1 443\nPROXY"), NULL, 0 },
    { ROW("PROXY tcp4 192.0.2.1 203.0.113.5 1 443\r\n"), NULL, 0 },
    { ROW("PROXY UDP4 192.0.2.1 203.0.113.5 1 443\r\n"), NULL, 0 },
    { ROW("PROXY TCP4\r\n"), NULL, 0 },
    { ROW("PROXY \r\n"), NULL, 0 },
    { ROW("proxy TCP4 192.0.2.1 203.0.113.5 1 443\r\n"), NULL, 0 },
    { ROW("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"), NULL, 0 },
    { ROW("GET / HTTP/1.1\r\n"), NULL, 0 },
    { ROW("\x16\x03\x01\x02\0"), NULL, 0 },
    { ROW("\r\n\r\n\0\r\nQUIT\r"), NULL, 0 },

    { ROW(V2 "\x21\x11\0\x0c" A4 PORTS "GET"), "192.0.2.1 56324 > 203.0.113.5 443", 3 },
    { ROW(V2 "\x21\x21\0\x24" A6 PORTS), "2001:db8::1 56324 > 2001:db8::2 443", 0 },
    { ROW(V2 "\x21\x21\0\x24" M6 PORTS), "192.0.2.7 56324 > 203.0.113.5 443", 0 },
    { ROW(V2 "\x21\x31\0\xd8" U54 U54 U54 U54 "x"), "unix", 1 },
    { ROW(V2 "\x21\x00\0\0"), "own", 0 },
    { ROW(V2 "\x21\x10\0\x0c" A4 PORTS), "own", 0 },
    { ROW(V2 "\x20\x00\0\0"), "own", 0 },
    { ROW(V2 "\x20\x11\0\x0c" A4 PORTS), "own", 0 },
    { ROW(V2 "\x20\x11\0\x03\xff\xff\xff"), "own", 0 }, /* of LOCAL nothing is looked at */
    { ROW(V2 "\x21\x11\0\x14" A4 PORTS "\x01\0\x02h1\x04\0\0"), "192.0.2.1 56324 > 203.0.113.5 443", 0 }, /* ALPN, NOOP */
    { ROW(V2 "\x21\x11\0\x13" A4 PORTS "\x03\0\x04\x82\x5e\x85\xb1"), "192.0.2.1 56324 > 203.0.113.5 443", 0 },
    { ROW(V2 "\x21\x11\0\x13" A4 PORTS "\x03\0\x04\x82\x5e\x85\xb0"), NULL, 0 },
    { ROW(V2 "\x21\x11\0\x12" A4 PORTS "\x03\0\x03\xfe\x64\x33"), NULL, 0 },
    { ROW(V2 "\x21\x11\0\x0e" A4 PORTS "\x04\0"), NULL, 0 },
    { ROW(V2 "\x21\x11\0\x0f" A4 PORTS "\x04\0\x01"), NULL, 0 },
    { ROW(V2 "\x21\x11\0\x0b\xc0\x00\x02\x01\xcb\x00\x71\x05\xdc\x04\x01"), NULL, 0 },
    { ROW(V2 "\x21\x21\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x21\x12\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x21\x13\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x21\x41\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x22\x11\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x11\x11\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x31\x11\0\x0c" A4 PORTS), NULL, 0 },
    { ROW(V2 "\x21\x11\x0f\xf1" A4 PORTS), NULL, 0 }, /* 4097 bytes are too many, whatever they are */
    { ROW(V2 "\x20\x11\xff\xff"), NULL, 0 },
};

/* One page behind which nothing may be read. */
static char *guarded;

static enum proxy_answer parse_at_edge(const char *text, size_t bytes, struct proxy_header *out, const char **problem)
{
    char *at = guarded + 8192 - bytes;

    memcpy(at, text, bytes);
    return proxy_parse(span_of(at, bytes), out, problem);
}

static void show(const struct proxy_header *header, char *to, size_t room)
{
    char source[46], destination[46];

    if (header->kind != PROXY_INET) {
        (void)snprintf(to, room, "%s", header->kind == PROXY_OWN ? "own" : "unix");
        return;
    }
    (void)ip_write(&header->source, source);
    (void)ip_write(&header->destination, destination);
    (void)snprintf(to, room, "%s %u > %s %u", source, header->source_port, destination, header->destination_port);
}

static void headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct proxy_header header;
        const char         *problem = NULL;
        size_t              need = 0;
        char                text[200];

        for (size_t bytes = 0; bytes <= rows[i].bytes; bytes++) {
            enum proxy_answer answer = parse_at_edge(rows[i].text, bytes, &header, &problem);

            if (answer == PROXY_MORE)
                assert_true(need == 0 && bytes < rows[i].bytes);
            if (answer == PROXY_DONE)
                need = header.bytes;
            if (answer == PROXY_WRONG && rows[i].source != NULL)
                fail_msg("row %zu, %zu bytes: %s", i, bytes, problem);
            if (answer == PROXY_DONE && rows[i].source == NULL)
                fail_msg("row %zu was taken", i);
        }
        if (rows[i].source == NULL) {
            assert_non_null(problem);
            continue;
        }
        assert_int_equal(rows[i].bytes - need, rows[i].left);
        show(&header, text, sizeof text);
        if (strcmp(text, rows[i].source) != 0)
            fail_msg("row %zu: %s", i, text);
    }
}

/* The longest header of version 2; one byte more was a row. And a checksum before other extensions. */
static void lengths(void **state)
{
    static char         text[5000] = V2 "\x21\x11\x0f\xf0" A4 PORTS;
    struct proxy_header header;
    const char         *problem;
    uint32_t            sum;

    (void)state;
    memcpy(text + 28, "\x03\0\x04\0\0\0\0\xea\x0f\xda", 10); /* 28 + 7 + 3 + 4058 = 4096 */
    sum = crc32c(0, span_of(text, 4096));
    for (int i = 0; i < 4; i++)
        text[31 + i] = (char)(sum >> (24 - 8 * i));
    assert_int_equal(proxy_parse(span_of(text, 4096), &header, &problem), PROXY_DONE);
    assert_int_equal(header.bytes, 4096);
    assert_int_equal(proxy_parse(span_of(text, 4095), &header, &problem), PROXY_MORE);
    text[4000] ^= 1;
    assert_int_equal(proxy_parse(span_of(text, 4096), &header, &problem), PROXY_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(headers), cmocka_unit_test(lengths) };

    guarded = mmap(NULL, 8192 + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guarded == MAP_FAILED || mprotect(guarded + 8192, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
