/* capture/tls_pair_test.c - each mistake that people make with a certificate and its key, and what they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "capture/tls_test_kit.h"

static int read_pair(int certificate_fd, int key_fd, struct tls_pair *out, struct err *err)
{
    struct tls_source source = { certificate_fd, key_fd, "c.pem", "k.pem" };

    *err = (struct err){ .kind = ERR_NONE };
    return tls_pair_read(&source, out, err);
}

static void refused(int certificate_fd, int key_fd, const char *says)
{
    struct tls_pair pair = { .leaf = NULL };
    struct err      err;

    assert_int_equal(read_pair(certificate_fd, key_fd, &pair, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_null(pair.leaf);
    if (strstr(err.text, says) == NULL)
        fail_msg("\"%s\" is not in: %s", says, err.text);
}

static void mistakes(void **state)
{
    struct test_pair a = test_pair_make("ec", "DNS:a.example"), b = test_pair_make("2048", "DNS:b.example");
    EVP_PKEY        *weak_key = test_key("1024");
    X509            *weak = test_certificate(weak_key, "DNS:weak.example", 86400);
    int              weak_fd = test_certificate_file(weak), weak_key_fd = test_key_file(weak_key, 0600, NULL);
    int              open_fd = test_key_file(a.key, 0604, NULL), locked_fd = test_key_file(a.key, 0600, "secret");
    int              group_fd = test_key_file(a.key, 0640, NULL), empty_fd = test_file("", 0, 0600);
    int              words_fd = test_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 58, 0600);
    int              large_fd = test_file("", 0, 0600);
    struct tls_pair  pair;
    struct err       err;

    (void)state;
    assert_int_equal(ftruncate(large_fd, (256 << 10) + 1), 0);
    refused(a.certificate_fd, b.key_fd, "the key k.pem does not belong to the certificate c.pem (for a.example)");
    refused(b.certificate_fd, a.key_fd, "does not belong to the certificate c.pem (for b.example)");
    refused(a.certificate_fd, open_fd, "open to every user of this machine (mode 604)");
    refused(a.certificate_fd, locked_fd, "locked with a pass phrase");
    refused(a.certificate_fd, empty_fd, "k.pem holds no private key");
    refused(a.certificate_fd, a.certificate_fd, "open to every user"); /* the file of the certificate, named twice */
    refused(empty_fd, a.key_fd, "c.pem holds no certificate");
    refused(a.key_fd, a.key_fd, "c.pem holds no certificate");
    refused(words_fd, a.key_fd, "c.pem holds no certificate");
    refused(large_fd, a.key_fd, "c.pem is larger than 256 KiB");
    refused(weak_fd, weak_key_fd, "c.pem: ");
    assert_int_equal(read_pair(a.certificate_fd, group_fd, &pair, &err), 0);
    tls_pair_fini(&pair);
    assert_int_equal(read_pair(a.certificate_fd, a.key_fd, &pair, &err), 0); /* read again from its begin */
    tls_pair_fini(&pair);
    X509_free(weak);
    EVP_PKEY_free(weak_key);
    for (int i = 0, all[] = { weak_fd, weak_key_fd, open_fd, locked_fd, group_fd, empty_fd, words_fd, large_fd }; i < 8; i++)
        (void)close(all[i]);
    test_pair_free(&a);
    test_pair_free(&b);
}

static void what_is_read(void **state)
{
    static const struct { const char *host; bool is; } rows[] = {
        { "a.example", true }, { "A.Example", true }, { "x.b.example", true }, { "b.example", false },
        { "x.y.b.example", false }, { "a.example.org", false }, { "", false },
    };
    struct test_pair made = test_pair_make("ec", "DNS:a.example,DNS:*.b.example,IP:127.0.0.1"), other = test_pair_make("ec", "DNS:ca");
    BIO             *bio = BIO_new(BIO_s_mem());
    struct tls_pair  pair, second;
    struct err       err;
    int              chain_fd;

    (void)state;
    PEM_write_bio_X509(bio, made.certificate);
    PEM_write_bio_X509(bio, other.certificate);
    chain_fd = test_bio_file(bio, 0644);
    assert_int_equal(read_pair(chain_fd, made.key_fd, &pair, &err), 0);
    assert_string_equal(pair.names, "a.example, *.b.example");
    assert_int_equal(sk_X509_num(pair.chain), 1);
    assert_true(pair.expires_us > clock_wall_us() + 86000 * INT64_C(1000000));
    assert_true(pair.expires_us < clock_wall_us() + 86500 * INT64_C(1000000));
    second = tls_pair_ref(&pair);
    tls_pair_fini(&pair);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].host[0] != '\0' && tls_pair_is_for(&second, rows[i].host) != rows[i].is)
            fail_msg("%s", rows[i].host);
    tls_pair_fini(&second);
    (void)close(chain_fd);
    test_pair_free(&made);
    test_pair_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(mistakes), cmocka_unit_test(what_is_read) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
