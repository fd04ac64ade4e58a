/* capture/uuid_derive.c - a cryptographic hash, because a stranger who could make two events meet could
 * make one of another's disappear: 74 bits behind a millisecond, under the same token, cannot be aimed at
 * cheaply with SHA-256, and could be with a fast hash whose seed is known. */
#include "capture/uuid_derive.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/bytes.h"

struct uuid_source {
    EVP_MD     *sha256;
    EVP_MD_CTX *context;
    size_t      random_at; /* next unused byte */
    uint8_t     random[2000];
};

struct uuid_source *uuid_source_new(void)
{
    struct uuid_source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return NULL;
    source->random_at = sizeof source->random;
    source->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    source->context = EVP_MD_CTX_new();
    if (source->sha256 == NULL || source->context == NULL) {
        uuid_source_free(source);
        return NULL;
    }
    return source;
}

void uuid_source_free(struct uuid_source *source)
{
    if (source == NULL)
        return;
    EVP_MD_CTX_free(source->context);
    EVP_MD_free(source->sha256);
    free(source);
}

static int64_t uuid_floor_ms(int64_t us)
{
    return us < 0 ? 0 : us / 1000;
}

/* One part: its length, then its two halves. */
static int uuid_hash(struct uuid_source *source, struct span first, struct span second)
{
    uint8_t length[8];

    bytes_put_u64(length, first.bytes + second.bytes);
    return EVP_DigestUpdate(source->context, length, sizeof length) & EVP_DigestUpdate(source->context, first.at, first.bytes) &
           EVP_DigestUpdate(source->context, second.at, second.bytes);
}

struct uuid uuid_derive(struct uuid_source *source, struct span token, struct span distinct_id, struct span object,
                        struct span without, int64_t client_us)
{
    size_t  before = without.bytes == 0 ? object.bytes : (size_t)(without.at - object.at);
    uint8_t digest[EVP_MAX_MD_SIZE];
    int     ok = EVP_DigestInit_ex2(source->context, source->sha256, NULL);

    assert(before + without.bytes <= object.bytes);
    ok &= uuid_hash(source, token, SPAN(""));
    ok &= uuid_hash(source, distinct_id, SPAN(""));
    ok &= uuid_hash(source, span_of(object.at, before), span_from(object, before + without.bytes));
    ok &= EVP_DigestFinal_ex(source->context, digest, NULL);
    assert(ok == 1); /* no input makes SHA-256 fail */
    return uuid_v7(uuid_floor_ms(client_us), digest);
}

struct uuid uuid_make(struct uuid_source *source, int64_t us)
{
    const uint8_t *bytes;

    if (source->random_at + 10 > sizeof source->random) {
        for (size_t have = 0; have < sizeof source->random;) {
            ssize_t got = getrandom(source->random + have, sizeof source->random - have, 0);

            assert(got > 0 || errno == EINTR);
            if (got > 0)
                have += (size_t)got;
        }
        source->random_at = 0;
    }
    bytes = source->random + source->random_at;
    source->random_at += 10;
    return uuid_v7(uuid_floor_ms(us), bytes);
}
