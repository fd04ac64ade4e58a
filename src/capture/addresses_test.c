/* capture/addresses_test.c - which addresses count as one, what each bound lets through, and that the memory is
 * fixed whoever comes. Times are arguments. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "capture/addresses.h"

#define S INT64_C(1000000)

static struct sockaddr_storage peer_of(const char *text)
{
    struct sockaddr_storage peer = { 0 };
    struct sockaddr_in     *four = (struct sockaddr_in *)(void *)&peer;
    struct sockaddr_in6    *six = (struct sockaddr_in6 *)(void *)&peer;

    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        peer.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        peer.ss_family = AF_INET6;
    return peer;
}

static struct addresses *opened(int64_t connections, int64_t connects, int64_t requests, int64_t bytes, const char *exempt)
{
    struct addresses_limits limits = { connections, connects, requests, bytes, exempt };
    struct addresses       *addresses;
    struct err              err = { 0 };

    if (addresses_open(&limits, &addresses, &err) < 0)
        fail_msg("%s", err.text);
    return addresses;
}

static enum address_verdict enter(struct addresses *addresses, const char *text, int64_t now_us, struct address **out)
{
    struct sockaddr_storage peer = peer_of(text);

    return addresses_enter(addresses, &peer, now_us, out);
}

/* One connection each: whether the second address is refused because the first is there. */
static void which_are_one(void **state)
{
    static const struct { const char *first, *second; bool one; } rows[] = {
        { "203.0.113.7", "203.0.113.7", true },
        { "203.0.113.7", "203.0.113.8", false },
        { "203.0.113.7", "::ffff:203.0.113.7", true },
        { "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true },
        { "2001:db8::1", "2001:db8:0:1::1", false },
        { "10.1.2.3", "10.1.2.3", false },       /* exempt */
        { "10.128.0.0", "10.128.0.0", true },    /* one bit behind the prefix */
        { "::ffff:10.1.2.3", "10.1.2.3", false },
        { "fd00::1", "fd00::1", false },
        { "fe00::1", "fe00::1", true },
        { "192.0.2.9", "192.0.2.9", false },
        { "192.0.2.10", "192.0.2.10", true },
        { "a unix socket", "a unix socket", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct addresses *addresses = opened(1, 0, 0, 0, "10.0.0.0/9,fc00::/7  192.0.2.9");
        struct address   *first, *second;

        assert_int_equal(enter(addresses, rows[i].first, S, &first), ADDRESS_FINE);
        if (enter(addresses, rows[i].second, S, &second) != (rows[i].one ? ADDRESS_CONNECTIONS : ADDRESS_FINE))
            fail_msg("%s and %s", rows[i].first, rows[i].second);
        addresses_leave(addresses, first);
        addresses_leave(addresses, second);
        assert_int_equal(enter(addresses, rows[i].first, S, &first), ADDRESS_FINE);
        addresses_leave(addresses, first);
        addresses_close(addresses);
    }
}

static void bad_lists(void **state)
{
    static const struct { const char *list; bool fine; } rows[] = {
        { "", true },          { " , ", true },        { "::/0", true },       { "0.0.0.0/0 ::1/128", true },
        { "10.0.0.0/33", false }, { "10.0.0.0/", false }, { "10.0.0.0/-1", false }, { "10.0.0/8", false },
        { "::1/129", false },  { "localhost", false }, { "10.0.0.0/8x", false }, { "1.2.3.4 nonsense", false },
        { "10.0.0.0/8888888888888888888888888888888888888888888888888888888888888888", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct addresses_limits limits = { .connections_max = 1, .exempt = rows[i].list };
        struct addresses       *addresses;
        struct err              err = { 0 };
        int                     rc = addresses_open(&limits, &addresses, &err);

        if (rc != (rows[i].fine ? 0 : -1))
            fail_msg("\"%s\": %d %s", rows[i].list, rc, err.text);
        assert_int_equal(err.kind, rows[i].fine ? ERR_NONE : ERR_INPUT);
        addresses_close(addresses);
    }
}

/* 10 a second: 50 at once, as five seconds are forgiven, then 10 a second, for ever. */
static void rate_of_connects(void **state)
{
    struct addresses *addresses = opened(0, 10, 0, 0, "");
    struct address   *address;
    int               fine = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        if (enter(addresses, "203.0.113.7", 100 * S, &address) == ADDRESS_FINE)
            fine++;
        addresses_leave(addresses, address);
    }
    assert_int_equal(fine, 50);
    assert_int_equal(enter(addresses, "203.0.113.8", 100 * S, &address), ADDRESS_FINE); /* nobody else pays */
    addresses_leave(addresses, address);
    for (int i = 0; i < 1000; i++) { /* ten seconds */
        if (enter(addresses, "203.0.113.7", 100 * S + i * (S / 100), &address) == ADDRESS_FINE)
            fine++;
        addresses_leave(addresses, address);
    }
    assert_in_range(fine, 149, 151);
    addresses_close(addresses);
}

static void rate_of_requests(void **state)
{
    struct addresses *addresses = opened(0, 0, 100, 1000000, "");
    struct address   *address;
    int64_t           wait_us = 0;

    (void)state;
    assert_int_equal(enter(addresses, "203.0.113.7", S, &address), ADDRESS_FINE);
    for (int i = 0; i < 500; i++)
        assert_int_equal(addresses_spend(addresses, address, 1, 0, S, &wait_us), ADDRESS_FINE);
    assert_int_equal(addresses_spend(addresses, address, 1, 0, S, &wait_us), ADDRESS_REQUESTS);
    assert_in_range(wait_us, 1, 20000);
    assert_int_equal(addresses_spend(addresses, address, 1, 0, S + wait_us, &wait_us), ADDRESS_FINE);
    /* Twenty seconds' worth of bytes go through at once, and are then waited off but for five. */
    assert_int_equal(addresses_spend(addresses, address, 1, 20000000, 10 * S, &wait_us), ADDRESS_FINE);
    assert_int_equal(addresses_spend(addresses, address, 1, 1, 10 * S, &wait_us), ADDRESS_BYTES);
    assert_in_range(wait_us, 14 * S, 15 * S + 1);
    assert_int_equal(addresses_spend(addresses, address, 1, 1, 26 * S, &wait_us), ADDRESS_FINE);
    /* What was refused was not counted. */
    assert_int_equal(addresses_spend(addresses, address, 499, 0, 60 * S, &wait_us), ADDRESS_FINE);
    assert_int_equal(addresses_spend(addresses, address, 2, 0, 60 * S, &wait_us), ADDRESS_FINE);
    for (int i = 0; i < 10; i++)
        assert_int_equal(addresses_spend(addresses, address, 1, 0, 60 * S, &wait_us), ADDRESS_REQUESTS);
    assert_in_range(wait_us, 1, 20000);
    addresses_leave(addresses, address);
    addresses_close(addresses);
}

/* Millions of addresses: those that are connected keep their count, the others are forgotten. */
static void many_strangers(void **state)
{
    enum { HELD = 100 };
    struct addresses *addresses = opened(1, 0, 0, 0, "");
    struct address   *held[HELD], *passing;
    char              text[32];
    int               refused = 0;

    (void)state;
    for (int i = 0; i < HELD; i++) {
        (void)snprintf(text, sizeof text, "198.51.100.%d", i);
        assert_int_equal(enter(addresses, text, S, &held[i]), ADDRESS_FINE);
        assert_non_null(held[i]);
    }
    for (uint32_t i = 0; i < 1000000; i++) {
        struct sockaddr_storage peer = { .ss_family = AF_INET };

        ((struct sockaddr_in *)(void *)&peer)->sin_addr.s_addr = htonl(0x20000000 + i);
        assert_int_equal(addresses_enter(addresses, &peer, 2 * S + i, &passing), ADDRESS_FINE);
        addresses_leave(addresses, passing);
    }
    for (int i = 0; i < HELD; i++) {
        (void)snprintf(text, sizeof text, "198.51.100.%d", i);
        refused += enter(addresses, text, 3 * S, &passing) == ADDRESS_CONNECTIONS;
        addresses_leave(addresses, held[i]);
    }
    assert_int_equal(refused, HELD);
    addresses_close(addresses);
}

static void no_bounds_no_table(void **state)
{
    struct address *address;

    (void)state;
    assert_null(opened(0, 0, 0, 0, "10.0.0.0/8"));
    assert_int_equal(enter(NULL, "203.0.113.7", S, &address), ADDRESS_FINE);
    assert_null(address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_are_one),    cmocka_unit_test(bad_lists),      cmocka_unit_test(rate_of_connects),
        cmocka_unit_test(rate_of_requests), cmocka_unit_test(many_strangers), cmocka_unit_test(no_bounds_no_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
