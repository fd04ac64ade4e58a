/* capture/client_ip_test.c - whose address an event bears, and who can make us believe another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "capture/client_ip.h"

/* trusted_proxies is empty: what upstream does. */
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

/* The peer is 10.0.0.1, one of the proxies 10.0.0.0/8 and 2001:db8:aaaa::/48. Headers as they came; S: what a client that is
 * no proxy sent to deceive us. */
static const struct { const char *header, *lines, *expected; } walks[] = {
    { "X-Forwarded-For", "", "peer" },
    { "X-Forwarded-For", "X-Forwarded-For: 198.51.100.9\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: 198.51.100.9, 10.0.0.2\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: 198.51.100.9, 10.0.0.2,10.1.1.1 , 2001:db8:aaaa::1\r\n", "198.51.100.9" },
    /* S */
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1, 198.51.100.9\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1, 198.51.100.9, 10.0.0.2\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 198.51.100.9\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 10.0.0.2\r\n", "1.1.1.1" },
    { "X-Forwarded-For", "X-Forwarded-For: 10.0.0.3, 198.51.100.9\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n", "peer" },
    { "X-Forwarded-For", "X_Forwarded_For: 1.1.1.1\r\nX-Forwarded-For-: 1.1.1.1\r\n", "peer" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For:\r\n", "peer" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1,\r\n", "peer" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n", "10.0.0.2" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1, <script>, 10.0.0.2\r\n", "10.0.0.2" },
    { "X-Forwarded-For", "X-Forwarded-For: 1.1.1.1 198.51.100.9\r\n", "peer" },
    { "X-Forwarded-For", "X-Forwarded-For: ::ffff:10.0.0.9\r\nX-Forwarded-For: ::ffff:10.0.0.2\r\n", "10.0.0.9" },
    { "X-Forwarded-For", "X-Forwarded-For: 010.0.0.1\r\n", "peer" },
    /* all of them are proxies: the first one is as far as can be seen */
    { "X-Forwarded-For", "X-Forwarded-For: 10.0.0.4, 10.0.0.2\r\n", "10.0.0.4" },
    { "X-Forwarded-For", "X-Forwarded-For: ,10.0.0.4\r\n", "10.0.0.4" },
    /* forms */
    { "X-Forwarded-For", "X-Forwarded-For: 198.51.100.9:4711, 10.0.0.2:80\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: [2001:db8::7]:443\r\n", "2001:db8::7" },
    { "X-Forwarded-For", "X-Forwarded-For: 2001:DB8:0::7\r\n", "2001:db8::7" },
    { "X-Forwarded-For", "X-Forwarded-For: ::ffff:198.51.100.9\r\n", "198.51.100.9" },
    { "X-Forwarded-For", "X-Forwarded-For: ::FFFF:c633:6409\r\n", "198.51.100.9" },

    { "Forwarded", "Forwarded: for=198.51.100.9;proto=https\r\n", "198.51.100.9" },
    { "Forwarded", "Forwarded: for=1.1.1.1, for=198.51.100.9;by=10.0.0.1, For=\"10.0.0.2:1234\"\r\n", "198.51.100.9" },
    { "Forwarded", "Forwarded: for=1.1.1.1\r\nForwarded: for=\"[2001:db8::7]:9\", for=\"[2001:db8:aaaa::2]\"\r\n", "2001:db8::7" },
    { "Forwarded", "Forwarded: for=1.1.1.1, for=unknown, for=10.0.0.2\r\n", "10.0.0.2" },
    { "Forwarded", "Forwarded: for=1.1.1.1, by=10.0.0.1\r\n", "peer" },
    { "Forwarded", "Forwarded: for=\"1.1.1.1, for=198.51.100.9;by=\"10.0.0.1\"\r\n", "peer" },
    { "Forwarded", "Forwarded: for=\"x\r\nForwarded: for=10.0.0.2\r\n", "10.0.0.2" },
    { "Forwarded", "X-Forwarded-For: 1.1.1.1\r\n", "peer" },

    { "X-Real-IP", "X-Real-IP: 198.51.100.9\r\nX-Forwarded-For: 1.1.1.1\r\n", "198.51.100.9" },
    { "X-Real-IP", "X-Real-IP: 1.1.1.1\r\nX-Real-IP: 198.51.100.9\r\n", "198.51.100.9" },
    { "X-Real-IP", "X-Real-IP: 1.1.1.1, 198.51.100.9\r\n", "peer" },
    { "X-Real-IP", "X-Real-IP: 10.0.0.2\r\n", "10.0.0.2" },
};

static void walk(const struct client_ip_rules *rules, const char *lines, const char *expected)
{
    static char                text[1 << 15];
    static struct http_request request;
    struct http_problem        problem;
    char                       got[CLIENT_IP_BYTES_MAX + 1] = "peer";
    struct ip                  ip;

    (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: t\r\n%s\r\n", lines);
    assert_int_equal(http1_parse(span_text(text), 0, &request, &problem), HTTP1_DONE);
    if (client_ip_walk(rules, &request, &ip))
        (void)ip_write(&ip, got);
    if (strcmp(got, expected) != 0)
        fail_msg("%s: %s, expected %s", lines, got, expected);
}

static void walking(void **state)
{
    static char            many[1 << 14];
    struct client_ip_rules rules;
    struct err             err;

    (void)state;
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
        assert_int_equal(client_ip_rules_read("10.0.0.0/8, 2001:db8:aaaa::/48", walks[i].header, true, &rules, &err), 0);
        walk(&rules, walks[i].lines, walks[i].expected);
    }
    for (int hops = 63; hops <= 66; hops++) { /* as many proxies as anybody has, and more than that */
        for (int forwarded = 0; forwarded < 2; forwarded++) {
            size_t at = (size_t)sprintf(many, forwarded ? "Forwarded: for=198.51.100.9" : "X-Forwarded-For: 198.51.100.9");

            for (int i = 1; i < hops; i++)
                at += (size_t)sprintf(many + at, forwarded ? ", for=10.0.0.2" : ", 10.0.0.2");
            (void)sprintf(many + at, "\r\n");
            assert_int_equal(client_ip_rules_read("10.0.0.0/8", forwarded ? "forwarded" : "x-forwarded-for", false, &rules, &err), 0);
            walk(&rules, many, hops <= 64 ? "198.51.100.9" : "peer");
        }
    }
}

static void who_is_believed(void **state)
{
    static const struct { const char *proxies; bool any; const char *peer; bool proxied; enum client_ip_trust trust; bool may_proxy; } all[] = {
        { "", true, "203.0.113.1", false, CLIENT_IP_ANY, false },
        { "", true, "127.0.0.1", false, CLIENT_IP_ANY, true },
        { "", true, NULL, false, CLIENT_IP_ANY, true },
        { "", false, "127.0.0.1", false, CLIENT_IP_PEER, true },
        { "", true, "10.0.0.1", true, CLIENT_IP_PEER, true },
        { "", false, "fd00::1", true, CLIENT_IP_PEER, true },
        { "203.0.113.0/24", true, "203.0.113.1", false, CLIENT_IP_WALK, true },
        { "203.0.113.0/24", true, "203.0.113.1", true, CLIENT_IP_WALK, true },
        { "203.0.113.0/24", true, "198.51.100.1", false, CLIENT_IP_PEER, false },
        { "203.0.113.0/24", true, "127.0.0.1", false, CLIENT_IP_PEER, false },
        { "203.0.113.0/24", false, NULL, false, CLIENT_IP_WALK, true },
        { "203.0.113.0/24", false, NULL, true, CLIENT_IP_PEER, true },
    };
    struct client_ip_rules rules;
    struct err             err;

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ip ip, *peer = NULL;

        if (all[i].peer != NULL) {
            assert_true(ip_read(span_text(all[i].peer), &ip));
            peer = &ip;
        }
        assert_int_equal(client_ip_rules_read(all[i].proxies, "X-Forwarded-For", all[i].any, &rules, &err), 0);
        if (client_ip_trust(&rules, peer, all[i].proxied) != all[i].trust || client_ip_may_proxy(&rules, peer) != all[i].may_proxy)
            fail_msg("row %zu", i);
    }
    assert_int_equal(client_ip_check_proxies("10.0.0.0/8,nonsense", &err), -1);
    assert_int_equal(client_ip_check_header("X-Forwarded", &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(choices), cmocka_unit_test(walking), cmocka_unit_test(who_is_believed) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
