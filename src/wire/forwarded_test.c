/* wire/forwarded_test.c - rows by RFC 7239 sections 4 and 6, and what stands in headers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/forwarded.h"

static const struct { const char *line, *nodes; } rows[] = {
    { "", "" },
    { "for=\"_gazonk\"", "_gazonk|" },
    { "For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17|" },
    { "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60|" },
    { "for=192.0.2.43, for=198.51.100.17", "192.0.2.43|198.51.100.17|" },
    { "for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown", "192.0.2.43|2001:db8:cafe::17|unknown|" },
    { "for=_hidden, for=_SEVKISEK", "_hidden|_SEVKISEK|" },
    { "proto=https;by=\"_a\"", "|" },
    { "by=x;for=\"192.0.2.1:8080\" ; host=\"a,b;c\" , for=192.0.2.2", "192.0.2.1|192.0.2.2|" },
    { "for=192.0.2.1:8080", "192.0.2.1|" },
    { " , ,for=1.2.3.4,, ", "1.2.3.4|" },
    { "for=\"1.2.3.4\\\"\"", "|" },
    { "for=\"[::1]junk\"", "|" },
    { "host=\"\\\"\";for=1.2.3.4", "1.2.3.4|" },
    { "for", "!" },
    { "for=", "!" },
    { "for=;by=x", "!" },
    { "for =1.2.3.4", "!" },
    { "for=[::1]", "!" },
    { "for=\"1.2.3.4", "!" },
    { "for=\"1.2.3.4\\", "!" },
    { "for=1.2.3.4;for=5.6.7.8", "!" },
    { "for=1.2.3.4, for=\"a, for=5.6.7.8", "1.2.3.4|!" },
    { "for=1.2.3.4 for=5.6.7.8", "!" },
    { "1.2.3.4", "!" },
    { "\x80", "!" },
};

static void lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span at = span_text(rows[i].line), node;
        char        text[300] = "";
        int         rc;

        while ((rc = forwarded_next(&at, &node)) == 1)
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s|", SPAN_ARG(node));
        if (rc < 0)
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "!");
        if (strcmp(text, rows[i].nodes) != 0)
            fail_msg("%s: %s, expected %s", rows[i].line, text, rows[i].nodes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(lines) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
