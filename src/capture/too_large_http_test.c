/* capture/too_large_http_test.c - bodies above their limit that come in chunks, so that nobody knows how long they will be: the client gets
 * to see why, and goes on with its connection when it had no more than as much again to send. */
#include "capture/capture_test_kit.h"

#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define E1_REQUEST "POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 58\r\n\r\n" E1

enum { LIMIT = 64 << 10, LIMIT_V1 = 32 << 10, LIMIT_REPLAY = 128 << 10, BODY_MAX = 8 * LIMIT_REPLAY };

static int start(void **state)
{
    (void)state;
    return KIT_BEGIN("body_bytes_max", "64KiB", "v1_body_bytes_max", "32KiB", "replay_body_bytes_max", "128KiB");
}

/* E1 and blanks, `bytes` of them, in chunks of `each`; without its last chunk. */
static size_t write_chunks(char *to, size_t bytes, size_t each)
{
    static char body[BODY_MAX];
    size_t      used = 0;

    assert_true(bytes <= sizeof body && bytes >= sizeof E1 - 1);
    memset(body, ' ', bytes);
    memcpy(body, E1, sizeof E1 - 1);
    for (size_t at = 0, part; at < bytes; at += part) {
        part = bytes - at < each ? bytes - at : each;
        used += (size_t)sprintf(to + used, "%zx\r\n", part);
        memcpy(to + used, body + at, part);
        used += part;
        memcpy(to + used, "\r\n", 2);
        used += 2;
    }
    return used;
}

#define LAST "0\r\nX-Trailer: a\r\n\r\n"

static const struct row {
    const char *what, *head;
    size_t      bytes, each;
    size_t      answered_at; /* 0: all is sent at once; else: the answer is waited for behind so much of the body */
    const char *behind;      /* what follows the body's last byte */
    int         status;
    bool        goes_on;
} rows[] = {
    { "as large as may be", "/e HTTP/1.1\r\nHost: t\r\n", LIMIT, 1000, 0, LAST, 200, true },
    { "a byte more", "/e HTTP/1.1\r\nHost: t\r\n", LIMIT + 1, LIMIT + 1, 0, LAST, 413, true },
    { "a byte more, by parts", "/e HTTP/1.1\r\nHost: t\r\n", LIMIT + 1, 1000, 0, LAST, 413, true },
    { "answered at the limit", "/e HTTP/1.1\r\nHost: t\r\n", 2 * LIMIT, 500, LIMIT + 1000, LAST, 413, true },
    { "answered, its last chunk is late", "/e HTTP/1.1\r\nHost: t\r\n", 2 * LIMIT, 2 * LIMIT, 2 * LIMIT, LAST, 413, true },
    { "the client waits for 100", "/e HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n", 2 * LIMIT, 500, LIMIT + 1000, LAST, 413, true },
    { "much more", "/e HTTP/1.1\r\nHost: t\r\n", 3 * LIMIT, 500, LIMIT + 1000, LAST, 413, false },
    { "much more in one chunk", "/e HTTP/1.1\r\nHost: t\r\n", 3 * LIMIT, 3 * LIMIT, LIMIT + 1000, LAST, 413, false },
    { "then no chunk", "/e HTTP/1.1\r\nHost: t\r\n", 2 * LIMIT - 10, 500, LIMIT + 1000, "no chunk\r\n", 413, false },
    { "to be closed", "/e HTTP/1.1\r\nHost: t\r\nConnection: close\r\n", 2 * LIMIT - 10, 500, LIMIT + 1000, LAST, 413, false },
    { "recordings: as large as may be", "/s HTTP/1.1\r\nHost: t\r\n", LIMIT_REPLAY, 1000, 0, LAST, 400, true },
    { "recordings", "/s HTTP/1.1\r\nHost: t\r\n", 2 * LIMIT_REPLAY, 1000, LIMIT_REPLAY + 1000, LAST, 413, true },
    { "the newer protocol", "/i/v1/analytics/events HTTP/1.1\r\nHost: t\r\n", 2 * LIMIT_V1, 1000, LIMIT_V1 + 1000, LAST, 413, true },
    { "no path of events", "/nowhere HTTP/1.1\r\nHost: t\r\n", 2 * LIMIT, 1000, LIMIT + 1000, LAST, 413, true },
};

/* Where in the text so much of the body has been passed. */
static size_t raw_of(size_t body, size_t each)
{
    char line[32];

    return body / each * (each + 2 + (size_t)sprintf(line, "%zx\r\n", each)) + body % each;
}

/* An end, and no reset, which might have thrown the answer away. */
static void expect_end(int fd)
{
    char byte;

    assert_true(kit_readable(fd, KIT_WAIT_MS));
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
}

static void ask(const struct row *row)
{
    static char text[2 * BODY_MAX];
    int         fd = kit_connect(&kit);
    size_t      head = (size_t)sprintf(text, "POST %sTransfer-Encoding: chunked\r\n\r\n", row->head);
    size_t      bytes = head + write_chunks(text + head, row->bytes, row->each);
    size_t      first = row->answered_at == 0 ? bytes : head + raw_of(row->answered_at, row->each);

    first = first < bytes ? first : bytes;
    kit_send(fd, text, head);
    if (strstr(row->head, "Expect") != NULL)
        kit_expect(fd, 100, row->what);
    kit_send(fd, text + head, first - head);
    if (row->answered_at == 0)
        kit_send_text(fd, row->behind);
    kit_expect(fd, row->status, row->what);
    if (row->status == 413 && strstr(answer.body, "larger than") == NULL)
        fail_msg("%s: %s", row->what, answer.body);
    if (row->answered_at != 0) {
        kit_send(fd, text + first, bytes - first);
        kit_send_text(fd, row->behind);
    }
    if (!row->goes_on) {
        expect_end(fd);
        return;
    }
    kit_send_text(fd, E1_REQUEST);
    kit_expect(fd, 200, row->what);
    (void)close(fd);
}

static void too_large(void **state)
{
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask(&rows[i]);
        taken += (size_t)((rows[i].status == 200) + rows[i].goes_on);
    }
    kit_wait_connections(0);
    assert_int_equal(kit_records(&kit), taken);
}

/* Whoever was answered and sends on without an end is not read for ever: not more than as much again. */
static void endless(void **state)
{
    enum { PIECE = 1000 };
    static char text[2 * PIECE];
    int         fd = kit_connect(&kit);
    size_t      bytes = (size_t)sprintf(text, "%x\r\n%*s\r\n", PIECE, PIECE, ""), sent = 0;

    (void)state;
    kit_send_text(fd, "POST /e HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (; sent < 2 * LIMIT + 2 * PIECE; sent += PIECE)
        kit_send(fd, text, bytes);
    kit_expect(fd, 413, "endless");
    expect_end(fd);
    kit_wait_connections(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(too_large), cmocka_unit_test(endless) };

    return cmocka_run_group_tests(tests, start, kit_teardown);
}
