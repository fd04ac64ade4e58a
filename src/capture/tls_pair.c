/* capture/tls_pair.c - certificates and keys, by OpenSSL. Every mistake that people make with them gets words of its
 * own: the wrong file, the key of last year's certificate, a key with a pass phrase, a file that all can read. */
#include "capture/tls_pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

int tls_error(struct err *err, enum err_kind kind, const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return err_set(err, kind, "%s%s%s", what, why != NULL ? ": " : "", why != NULL ? why : "");
}

/* The whole file, to be freed by file_forget. -1: which one, and why. */
static int file_take(int fd, const char *name, char **out, size_t *bytes_out, struct err *err)
{
    char   *text = malloc(TLS_FILE_BYTES_MAX + 1);
    size_t  bytes = 0;
    ssize_t got = 1;

    if (text == NULL)
        return err_set(err, ERR_FULL, "no memory for %.150s", name);
    while (bytes <= TLS_FILE_BYTES_MAX && got > 0) {
        got = pread(fd, text + bytes, TLS_FILE_BYTES_MAX + 1 - bytes, (off_t)bytes);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            bytes += (size_t)got;
    }
    if (got < 0)
        (void)err_errno(err, errno, "cannot read %.150s", name);
    else if (bytes > TLS_FILE_BYTES_MAX)
        (void)err_set(err, ERR_INPUT, "%.150s is larger than %d KiB: it is no certificate and no key", name,
                      TLS_FILE_BYTES_MAX >> 10);
    else {
        *out = text;
        *bytes_out = bytes;
        return 0;
    }
    OPENSSL_cleanse(text, bytes);
    free(text);
    return -1;
}

static void file_forget(char *text, size_t bytes)
{
    OPENSSL_cleanse(text, bytes);
    free(text);
}

static int no_pass_phrase(char *to, int room, int writing, void *asked)
{
    (void)to, (void)room, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int certificate_read(const struct tls_source *source, struct tls_pair *out, struct err *err)
{
    char  *text = NULL;
    size_t bytes = 0;
    BIO   *bio;
    X509  *more;
    bool   asked = false;

    if (file_take(source->certificate_fd, source->certificate_name, &text, &bytes, err) < 0)
        return -1;
    bio = BIO_new_mem_buf(text, (int)bytes);
    if (bio != NULL)
        out->leaf = PEM_read_bio_X509(bio, NULL, no_pass_phrase, &asked);
    while (out->leaf != NULL && (more = PEM_read_bio_X509(bio, NULL, no_pass_phrase, &asked)) != NULL) {
        if (out->chain == NULL)
            out->chain = sk_X509_new_null();
        if (out->chain == NULL || sk_X509_push(out->chain, more) <= 0) {
            X509_free(more);
            break;
        }
    }
    BIO_free(bio);
    file_forget(text, bytes);
    ERR_clear_error(); /* the end of the file is one */
    if (out->leaf == NULL)
        return err_set(err, ERR_INPUT, "%.150s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
                       source->certificate_name);
    return 0;
}

static int key_read(const struct tls_source *source, struct tls_pair *out, struct err *err)
{
    struct stat file;
    char       *text = NULL;
    size_t      bytes = 0;
    BIO        *bio;
    bool        asked = false;

    if (fstat(source->key_fd, &file) < 0)
        return err_errno(err, errno, "cannot look at %.150s", source->key_name);
    if ((file.st_mode & S_IRWXO) != 0)
        return err_set(err, ERR_INPUT, "the key %.150s is open to every user of this machine (mode %03o); take that away: "
                       "chmod o= %.60s", source->key_name, (unsigned)file.st_mode & 0777, source->key_name);
    if (file_take(source->key_fd, source->key_name, &text, &bytes, err) < 0)
        return -1;
    bio = BIO_new_mem_buf(text, (int)bytes);
    if (bio != NULL)
        out->key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, &asked);
    BIO_free(bio);
    file_forget(text, bytes);
    ERR_clear_error();
    if (asked)
        return err_set(err, ERR_INPUT, "the key %.100s is locked with a pass phrase, and nobody is there to type it; write it "
                       "without one: openssl pkey -in %.60s -out NEW", source->key_name, source->key_name);
    if (out->key == NULL)
        return err_set(err, ERR_INPUT, "%.150s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)",
                       source->key_name);
    return 0;
}

/* For people: the names that clients may call this server by. */
static void names_list(struct tls_pair *pair)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(pair->leaf, NID_subject_alt_name, NULL, NULL);
    size_t         bytes = 0;

    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const char         *text = name->type == GEN_DNS ? (const char *)ASN1_STRING_get0_data(name->d.dNSName) : NULL;
        int                 length = text != NULL ? ASN1_STRING_length(name->d.dNSName) : 0;

        if (length <= 0 || memchr(text, 0, (size_t)length) != NULL || bytes + (size_t)length + 3 > sizeof pair->names)
            continue;
        bytes += (size_t)snprintf(pair->names + bytes, sizeof pair->names - bytes, "%s%.*s", bytes > 0 ? ", " : "", length,
                                  text);
    }
    GENERAL_NAMES_free(names);
    for (char *at = pair->names; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    if (bytes == 0 && X509_NAME_get_text_by_NID(X509_get_subject_name(pair->leaf), NID_commonName, pair->names,
                                                sizeof pair->names) <= 0)
        (void)snprintf(pair->names, sizeof pair->names, "no name");
}

static int expiry_read(struct tls_pair *pair, const char *name, struct err *err)
{
    struct tm when;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(pair->leaf), &when) != 1)
        return tls_error(err, ERR_INPUT, name);
    pair->expires_us = (int64_t)timegm(&when) * 1000000;
    return 0;
}

/* Whether a server could be run with it: OpenSSL refuses keys that are too short, curves that nobody speaks. */
static int pair_try(const struct tls_pair *pair, const char *name, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int      rc = 0;

    if (ctx == NULL || SSL_CTX_use_certificate(ctx, pair->leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, pair->key) != 1)
        rc = tls_error(err, ERR_INPUT, name);
    SSL_CTX_free(ctx);
    return rc;
}

int tls_pair_read(const struct tls_source *source, struct tls_pair *out, struct err *err)
{
    struct tls_pair pair = { .leaf = NULL };

    ERR_clear_error();
    if (certificate_read(source, &pair, err) < 0 || key_read(source, &pair, err) < 0)
        goto failed;
    names_list(&pair);
    if (X509_check_private_key(pair.leaf, pair.key) != 1) {
        ERR_clear_error();
        (void)err_set(err, ERR_INPUT, "the key %.80s does not belong to the certificate %.80s (for %.60s): they are of two "
                      "pairs", source->key_name, source->certificate_name, pair.names);
        goto failed;
    }
    if (expiry_read(&pair, source->certificate_name, err) < 0 || pair_try(&pair, source->certificate_name, err) < 0)
        goto failed;
    *out = pair;
    return 0;
failed:
    tls_pair_fini(&pair);
    return -1;
}

void tls_pair_fini(struct tls_pair *pair)
{
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key); /* which wipes it */
    *pair = (struct tls_pair){ .leaf = NULL };
}

struct tls_pair tls_pair_ref(const struct tls_pair *pair)
{
    struct tls_pair copy = *pair;

    X509_up_ref(copy.leaf);
    EVP_PKEY_up_ref(copy.key);
    copy.chain = copy.chain != NULL ? X509_chain_up_ref(copy.chain) : NULL;
    return copy;
}

bool tls_pair_is_for(const struct tls_pair *pair, const char *host)
{
    return X509_check_host(pair->leaf, host, strlen(host), 0, NULL) == 1;
}
