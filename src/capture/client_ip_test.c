/* capture/client_ip_test.c - whose address an event bears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "capture/client_ip.h"

static const struct { const char *forwarded, *real, *expected; } rows[] = {
    { "", "", "peer" },
    { "198.51.100.9, 10.0.0.1", "", "198.51.100.9" },
    { " 198.51.100.9 ", "", "198.51.100.9" },
    { "unknown, 198.51.100.9", "", "198.51.100.9" },
    { "198.51.100.9:4711, 10.0.0.1", "", "198.51.100.9" },
    { "2001:db8::7", "", "2001:db8::7" },
    { "[2001:db8::7]:443", "", "2001:db8::7" },
    { "[2001:db8::7", "", "peer" },
    { "999.1.1.1", "", "peer" },
    { "1.2.3", "203.0.113.7", "203.0.113.7" },
    { ",,,", "", "peer" },
    { "", "nonsense", "peer" },
};

static void choices(void **state)
{
    char many[4096] = "";

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span got = client_ip_choose(span_text(rows[i].forwarded), span_text(rows[i].real), SPAN("peer"));

        if (!span_is(got, rows[i].expected))
            fail_msg("%s: %.*s", rows[i].forwarded, SPAN_ARG(got));
    }
    for (size_t at = 0; at < 3000; at += 2)
        memcpy(many + at, "x,", 3);
    memcpy(many + 3000, "1.2.3.4", 8);
    assert_true(span_is(client_ip_choose(span_text(many), span_text(""), SPAN("peer")), "peer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(choices) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
