/* capture/tls_test_kit.h - certificates made on the spot, in files of memory, and a client of OpenSSL's: what tests of
 * TLS share. */
#ifndef PENSTOCK_CAPTURE_TLS_TEST_KIT_H
#define PENSTOCK_CAPTURE_TLS_TEST_KIT_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "capture/tls_pair.h"

static inline EVP_PKEY *test_key(const char *kind)
{
    return strcmp(kind, "ec") == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen((unsigned)atoi(kind));
}

/* For these names ("DNS:a.example,DNS:b.example"), signed by itself; valid until `seconds` from now. */
static inline X509 *test_certificate(EVP_PKEY *key, const char *names, long seconds)
{
    X509           *made = X509_new();
    X509_NAME      *name = X509_get_subject_name(made);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

    assert_non_null(san);
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), rand());
    X509_gmtime_adj(X509_getm_notBefore(made), -86400 * 400L);
    X509_gmtime_adj(X509_getm_notAfter(made), seconds);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(made, name);
    X509_set_pubkey(made, key);
    X509_add_ext(made, san, -1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(made, key, EVP_sha256()) > 0);
    return made;
}

static inline int test_file(const void *bytes, size_t count, mode_t mode)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, bytes, count), (ssize_t)count);
    return fd;
}

static inline int test_bio_file(BIO *bio, mode_t mode)
{
    char *text;
    long  bytes = BIO_get_mem_data(bio, &text);
    int   fd = test_file(text, (size_t)bytes, mode);

    BIO_free(bio);
    return fd;
}

static inline int test_certificate_file(X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_X509(bio, certificate);
    return test_bio_file(bio, 0644);
}

static inline int test_key_file(EVP_PKEY *key, mode_t mode, const char *pass_phrase)
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_PrivateKey(bio, key, pass_phrase != NULL ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                             (void *)(uintptr_t)pass_phrase);
    return test_bio_file(bio, mode);
}

struct test_pair { EVP_PKEY *key; X509 *certificate; int certificate_fd, key_fd; };

static inline struct test_pair test_pair_make(const char *kind, const char *names)
{
    struct test_pair pair = { .key = test_key(kind) };

    pair.certificate = test_certificate(pair.key, names, 86400);
    pair.certificate_fd = test_certificate_file(pair.certificate);
    pair.key_fd = test_key_file(pair.key, 0600, NULL);
    return pair;
}

static inline void test_pair_free(struct test_pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
    (void)close(pair->certificate_fd);
    (void)close(pair->key_fd);
}

#endif
