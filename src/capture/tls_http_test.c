/* capture/tls_http_test.c - capture behind TLS: what clients are given, what attackers are not, and certificates that
 * change while connections are open. */
#include <signal.h>

#include "capture/capture_test_kit.h"
#include "capture/tls_test_kit.h"

static struct test_pair  first, second, other;
static int               channel; /* the supervisor's end */

static void send_pairs(const struct test_pair *const pairs[], size_t count)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(16 * sizeof(int))]; } control = { 0 };
    char            names[200];
    size_t          bytes = 0;
    struct iovec    part = { names, 0 };
    struct msghdr   message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = count > 0 ? &control : NULL,
                                .msg_controllen = count > 0 ? CMSG_SPACE(2 * count * sizeof(int)) : 0 };
    int             fds[16];

    control.head = (struct cmsghdr){ CMSG_LEN(2 * count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
    for (size_t i = 0; i < count; i++) {
        fds[2 * i] = pairs[i]->certificate_fd;
        fds[2 * i + 1] = pairs[i]->key_fd;
        bytes += (size_t)snprintf(names + bytes, sizeof names - bytes, "c%zu", i) + 1;
        bytes += (size_t)snprintf(names + bytes, sizeof names - bytes, "k%zu", i) + 1;
    }
    memcpy(CMSG_DATA(&control.head), fds, 2 * count * sizeof(int));
    part.iov_len = bytes > 0 ? bytes : 1;
    assert_true(sendmsg(channel, &message, 0) >= 0);
}

static void begin(const struct test_pair *const pairs[], size_t count, const char *hello_timeout)
{
    int ends[2];

    kit_init(&kit);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    channel = ends[0];
    kit.listener.tls = true;
    kit.tls_fd = ends[1];
    send_pairs(pairs, count);
    kit_set(&kit, "hello_timeout", hello_timeout);
    kit_start(&kit);
}

static void end(void)
{
    kit_stop(&kit);
    (void)close(channel);
    (void)close(kit.tls_fd);
}

/* NULL: the handshake failed. */
static SSL *hello(SSL_CTX *ctx, const char *host, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, kit_connect(&kit));
    if (host != NULL)
        SSL_set_tlsext_host_name(ssl, host);
    if (session != NULL)
        SSL_set_session(ssl, session);
    if (SSL_connect(ssl) == 1)
        return ssl;
    (void)close(SSL_get_fd(ssl));
    SSL_free(ssl);
    return NULL;
}

static void bye(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_free(ssl);
    (void)close(fd);
}

static void ssl_send(SSL *ssl, const char *text, size_t bytes)
{
    size_t sent = 0;

    assert_int_equal(SSL_write_ex(ssl, text, bytes, &sent), 1);
    assert_int_equal(sent, bytes);
}

/* Reads exactly one answer; 0: the connection ended, with a goodbye. -1: without one. */
static int ssl_answer(SSL *ssl)
{
    size_t bytes = 0, got, length = 0;
    char  *body = NULL;

    while (body == NULL || bytes < (size_t)(body - answer.text) + length) {
        size_t want = body == NULL ? 1 : (size_t)(body - answer.text) + length - bytes;
        int    rc = SSL_read_ex(ssl, answer.text + bytes, want, &got);

        if (rc != 1)
            return SSL_get_error(ssl, rc) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
        bytes += got;
        answer.text[bytes] = 0;
        if (body == NULL && bytes >= 4 && memcmp(answer.text + bytes - 4, "\r\n\r\n", 4) == 0) {
            body = answer.text + bytes;
            length = strtoul(strstr(answer.text, "\r\ncontent-length: ") + 18, NULL, 10);
        }
    }
    return atoi(answer.text + 9);
}

#define E1   "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define ASK1 "POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 58\r\n\r\n" E1
_Static_assert(sizeof(E1) - 1 == 58, "the length in the request");

static void ask(SSL *ssl)
{
    ssl_send(ssl, ASK1, sizeof ASK1 - 1);
    assert_int_equal(ssl_answer(ssl), 200);
}

static SSL_CTX *client(int version_max)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_max_proto_version(ctx, version_max);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_security_level(ctx, 0);
    return ctx;
}

static void requests(void **state)
{
    const struct test_pair *const pairs[] = { &first };
    const int                     versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    size_t                        large_bytes = 3 << 20, head;
    char                         *large = malloc(large_bytes + 400);

    (void)state;
    begin(pairs, 1, "60s");
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = client(versions[i]);
        SSL     *ssl = hello(ctx, NULL, NULL);

        assert_non_null(ssl);
        assert_int_equal(SSL_version(ssl), versions[i]);
        ask(ssl);
        ssl_send(ssl, ASK1 ASK1 ASK1, 3 * (sizeof ASK1 - 1)); /* in one record */
        for (int k = 0; k < 3; k++)
            assert_int_equal(ssl_answer(ssl), 200);
        for (const char *at = ASK1; *at != 0; at++) /* a record for each byte */
            ssl_send(ssl, at, 1);
        assert_int_equal(ssl_answer(ssl), 200);

        /* Many records, more than the loop reads at once. */
        head = (size_t)sprintf(large, "POST /batch HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: %zu\r\n\r\n", large_bytes);
        memset(large + head, ' ', large_bytes);
        memcpy(large + head, E1, 58);
        ssl_send(ssl, large, head);
        assert_int_equal(SSL_read(ssl, answer.text, 25), 25);
        assert_memory_equal(answer.text, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        ssl_send(ssl, large + head, large_bytes);
        assert_int_equal(ssl_answer(ssl), 200);

        /* An answer of many records, to somebody who reads late. */
        for (int k = 0; k < 40; k++)
            ssl_send(ssl, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n", 34);
        (void)poll(NULL, 0, 50);
        for (int k = 0; k < 40; k++)
            assert_int_equal(ssl_answer(ssl), 200);
        ssl_send(ssl, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", 46);
        assert_true(ssl_answer(ssl) > 0);
        assert_int_equal(ssl_answer(ssl), 0); /* a goodbye, so that nobody could have cut the answer */
        bye(ssl);
        SSL_CTX_free(ctx);
        assert_int_equal(kit_records(&kit), 6);
    }
    assert_true(kit_metric("capture_tls_handshakes_total") == 2);
    assert_true(kit_metric("capture_tls_handshakes_failed_total") == 0);
    end();
    free(large);
}

/* A client that is right, and was not kept from shaking hands for the half of the time for it. */
static SSL *hello_at_once(SSL_CTX *ctx)
{
    for (;;) {
        int64_t from_us = clock_mono_us();
        SSL    *ssl = hello(ctx, NULL, NULL);

        if (ssl != NULL || clock_mono_us() - from_us < 1000000)
            return ssl;
    }
}

static void refused_hellos(void **state)
{
    const struct test_pair *const pairs[] = { &first };
    SSL_CTX                      *old = client(TLS1_1_VERSION), *weak = client(TLS1_2_VERSION), *h2 = client(TLS1_3_VERSION);
    const unsigned char          *chosen;
    unsigned                      chosen_bytes;
    SSL                          *ssl;
    int                           fd, idle;
    int64_t                       from_us;

    (void)state;
    begin(pairs, 1, "2s");
    assert_null(hello(old, NULL, NULL));
    SSL_CTX_set_cipher_list(weak, "AES128-SHA:AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA:@SECLEVEL=0");
    assert_null(hello(weak, NULL, NULL)); /* no forward secrecy, or no authenticated cipher */
    SSL_CTX_set_alpn_protos(h2, (const unsigned char *)"\x02h2", 3);
    assert_null(hello(h2, NULL, NULL));
    SSL_CTX_set_alpn_protos(h2, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    ssl = hello_at_once(h2);
    assert_non_null(ssl);
    SSL_get0_alpn_selected(ssl, &chosen, &chosen_bytes);
    assert_true(chosen_bytes == 8 && memcmp(chosen, "http/1.1", 8) == 0);
    ask(ssl);
    kit_wait("capture_tls_handshakes_failed_total", 3, 1e9);

    /* Plain HTTP is told so, in words that HTTP understands. */
    fd = kit_connect(&kit);
    kit_send(fd, "POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 58\r\n\r\n" E1, sizeof ASK1 - 1);
    assert_int_equal(kit_receive(fd, &answer), 400);
    assert_non_null(strstr(answer.body, "https://"));
    assert_int_equal(kit_receive(fd, &answer), 0);
    (void)close(fd);
    kit_wait("capture_tls_plain_total", 1, 1);

    /* What is neither is closed without a word; so is who stops in the middle, after the time for it. */
    fd = kit_connect(&kit);
    kit_send(fd, "\x80\x2e\x01", 3);
    assert_int_equal(kit_receive(fd, &answer), 0);
    (void)close(fd);
    from_us = clock_mono_us(); /* before the server's time for them begins */
    fd = kit_connect(&kit);
    idle = kit_connect(&kit);
    kit_send(fd, "\x16\x03\x01\x02\x00\x01", 6);
    assert_int_equal(kit_receive(fd, &answer), 0);
    assert_int_equal(kit_receive(idle, &answer), 0);
    assert_true(clock_mono_us() - from_us > 1500000);
    (void)close(fd);
    (void)close(idle);
    ask(ssl); /* and all that did nothing to others */
    bye(ssl);

    /* TLS 1.2 knows renegotiation, with which a client could make a server work for nothing. */
    SSL_CTX_free(h2);
    h2 = client(TLS1_2_VERSION);
    ssl = hello_at_once(h2);
    assert_non_null(ssl);
    ask(ssl);
    assert_int_equal(SSL_renegotiate(ssl), 1);
    assert_int_not_equal(SSL_do_handshake(ssl), 1);
    bye(ssl);
    SSL_CTX_free(old);
    SSL_CTX_free(weak);
    SSL_CTX_free(h2);
    assert_int_equal(kit_records(&kit), 3);
    end();
}

/* The certificate that a new client sees. */
static void sees(SSL_CTX *ctx, const char *host, const struct test_pair *pair)
{
    SSL *ssl = hello(ctx, host, NULL);

    assert_non_null(ssl);
    assert_int_equal(X509_cmp(SSL_get0_peer_certificate(ssl), pair->certificate), 0);
    ask(ssl);
    bye(ssl);
}

static void names_choose(void **state)
{
    const struct test_pair *const pairs[] = { &first, &other };
    SSL_CTX                      *ctx = client(TLS1_3_VERSION);

    (void)state;
    begin(pairs, 2, "60s");
    sees(ctx, NULL, &first);
    sees(ctx, "first.example", &first);
    sees(ctx, "other.example", &other);
    sees(ctx, "x.other.example", &other);
    sees(ctx, "nobody.example", &first);
    SSL_CTX_free(ctx);
    end();
}

static SSL_SESSION *ticket;

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static void renewal(void **state)
{
    const struct test_pair *const one[] = { &first }, *const two[] = { &second };
    const int                     versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    struct test_pair              wrong = { .certificate_fd = first.certificate_fd, .key_fd = second.key_fd };
    const struct test_pair *const mixed[] = { &wrong };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = client(versions[i]);
        SSL     *open, *half, *again;
        char    *half_text;
        long     half_bytes;
        int      half_fd;

        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(ctx, on_ticket);
        begin(one, 1, "60s");
        open = hello(ctx, NULL, NULL);
        assert_non_null(open);
        ask(open);
        half = SSL_new(ctx); /* the first bytes before the renewal, the others after it */
        SSL_set_bio(half, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        assert_int_equal(SSL_connect(half), -1);
        half_bytes = BIO_get_mem_data(SSL_get_wbio(half), &half_text);
        half_fd = kit_connect(&kit);
        kit_send(half_fd, half_text, 10);
        kit_wait("capture_connections_total", 2, 1e9);
        for (int k = 0; k < 5; k++) /* a turn of the loop each: what came before them is looked at */
            ask(open);
        send_pairs(two, 1);
        kit_wait("capture_tls_certificate_loads_total", 2, 1e9);
        sees(ctx, NULL, &second);
        ask(open);
        kit_send(half_fd, half_text + 10, (size_t)half_bytes - 10);
        SSL_set_fd(half, half_fd);
        assert_int_equal(SSL_connect(half), 1);
        assert_int_equal(X509_cmp(SSL_get0_peer_certificate(half), first.certificate), 0);
        ask(half);

        /* The old ticket is good for the new certificate. */
        assert_non_null(ticket);
        again = hello(ctx, NULL, ticket);
        assert_non_null(again);
        assert_true(SSL_session_reused(again));
        ask(again);
        assert_true(kit_metric("capture_tls_resumed_total") == 1);

        /* A bad pair, and none at all, change nothing. */
        send_pairs(mixed, 1);
        kit_wait("capture_tls_certificate_loads_failed_total", 1, 1e9);
        sees(ctx, NULL, &second);
        send_pairs(NULL, 0);
        kit_wait("capture_tls_certificate_loads_failed_total", 2, 1e9);
        sees(ctx, NULL, &second);
        ask(open);
        bye(open);
        bye(half);
        bye(again);
        SSL_SESSION_free(ticket);
        ticket = NULL;
        SSL_CTX_free(ctx);
        end();
    }
}

static void no_certificate_at_first(void **state)
{
    struct test_pair              wrong = { .certificate_fd = first.certificate_fd, .key_fd = second.key_fd };
    const struct test_pair *const mixed[] = { &wrong }, *const one[] = { &first };
    SSL_CTX                      *ctx = client(TLS1_3_VERSION);

    (void)state;
    begin(mixed, 1, "60s");
    assert_null(hello(ctx, NULL, NULL));
    send_pairs(one, 1);
    kit_wait("capture_tls_certificate_loads_total", 1, 1e9);
    sees(ctx, NULL, &first);
    SSL_CTX_free(ctx);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),     cmocka_unit_test(refused_hellos), cmocka_unit_test(names_choose),
        cmocka_unit_test(renewal),      cmocka_unit_test(no_certificate_at_first),
    };

    int failed;

    first = test_pair_make("ec", "DNS:first.example");
    second = test_pair_make("2048", "DNS:first.example");
    other = test_pair_make("ec", "DNS:other.example,DNS:*.other.example");
    (void)signal(SIGPIPE, SIG_IGN);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_pair_free(&first);
    test_pair_free(&second);
    test_pair_free(&other);
    return failed;
}
