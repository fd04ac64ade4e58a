/* wire/ip_test.c - addresses in all their spellings, and what only looks like one; prefixes at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire/ip.h"

static const struct { const char *text, *written; } spellings[] = { /* NULL: none */
    { "192.0.2.1", "192.0.2.1" }, { "0.0.0.0", "0.0.0.0" }, { "255.255.255.255", "255.255.255.255" },
    { "::ffff:192.0.2.1", "192.0.2.1" }, { "::FFFF:c000:0201", "192.0.2.1" }, { "2001:DB8:0:0:0:0:0:1", "2001:db8::1" },
    { "::", "::" }, { "::1", "::1" }, { "64:ff9b::192.0.2.1", "64:ff9b::c000:201" },
    { "", NULL }, { "192.0.2", NULL }, { "192.0.2.256", NULL }, { "192.0.2.01", NULL }, { "0xc0.0.2.1", NULL }, { "3221225985", NULL },
    { "192.0.2.1 ", NULL }, { " 192.0.2.1", NULL }, { "192.0.2.1/32", NULL }, { "[::1]", NULL }, { "fe80::1%lo", NULL }, { ":::", NULL },
    { "1:2:3:4:5:6:7", NULL }, { "1:2:3:4:5:6:7:8:9", NULL }, { "12345::", NULL }, { "::1::", NULL },
    { "0000:0000:0000:0000:0000:ffff:255.255.255.2555", NULL },
};

static const struct { const char *list, *address; bool holds; } sets[] = {
    { "", "127.0.0.1", false },
    { "127.0.0.1", "127.0.0.1", true },
    { "127.0.0.1", "::ffff:127.0.0.1", true },
    { "127.0.0.1", "127.0.0.2", false },
    { "10.0.0.0/8", "10.255.255.255", true },
    { "10.0.0.0/8", "11.0.0.0", false },
    { "192.0.2.128/25", "192.0.2.127", false },
    { "192.0.2.128/25", "192.0.2.128", true },
    { "0.0.0.0/0", "203.0.113.1", true },
    { "0.0.0.0/0", "2001:db8::1", false },
    { "::/0", "203.0.113.1", true },
    { "2001:db8::/33", "2001:db8:7fff::1", true },
    { "2001:db8::/33", "2001:db8:8000::1", false },
    { "::ffff:10.0.0.0/104", "10.1.2.3", true },
    { "10.0.0.0/8, ::1\t2001:db8::/32", "2001:db8::5", true },
};

static const char *const no_sets[] = { "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8", "::/129", "/8", "a", "::1,b",
                                       "10.0.0.0/99999999999999999999" };

static void addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        struct ip ip;
        char      text[IP_TEXT_BYTES_MAX + 1];
        bool      fine = ip_read(span_text(spellings[i].text), &ip);

        if (fine != (spellings[i].written != NULL))
            fail_msg("%s", spellings[i].text);
        if (!fine)
            continue;
        assert_int_equal(ip_write(&ip, text), strlen(spellings[i].written));
        assert_string_equal(text, spellings[i].written);
    }
    assert_false(ip_read(SPAN("127.0.0.1\0x"), &(struct ip){ { 0 } }));
}

static void prefixes(void **state)
{
    struct ip_prefix some[3];
    struct err       err;
    size_t           count;

    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct ip ip;

        assert_int_equal(ip_prefixes_read(sets[i].list, some, 3, &count, &err), 0);
        assert_true(ip_read(span_text(sets[i].address), &ip));
        if (ip_prefixes_hold(some, count, &ip) != sets[i].holds)
            fail_msg("%s: %s", sets[i].list, sets[i].address);
    }
    for (size_t i = 0; i < sizeof no_sets / sizeof *no_sets; i++) {
        assert_int_equal(ip_prefixes_read(no_sets[i], some, 3, &count, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    assert_int_equal(ip_prefixes_read("::1,::2,::3", some, 3, &count, &err), 0);
    assert_int_equal(ip_prefixes_read("::1,::2,::3,::4", some, 3, &count, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(addresses), cmocka_unit_test(prefixes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
