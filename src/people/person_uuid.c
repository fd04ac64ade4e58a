/* people/person_uuid.c - the uuid of the person that a distinct id makes: RFC 9562 version 5.
 *
 * Derived and not random, so that an event which only looked (personless) and one which later creates the
 * person carry the same id, and a second ingestion of the same events gives the same people.
 * SHA-1 through its plain functions: they work on the stack and cannot fail, and it is no secret. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stdio.h>

#include "people/batch.h"

static const uint8_t person_namespace[16] = { 0x93, 0x29, 0x79, 0xb4, 0x65, 0xc3, 0x44, 0x24,
                                              0x84, 0x67, 0x0b, 0x66, 0xec, 0x27, 0xbc, 0x22 };

struct uuid people_person_uuid(uint32_t project, struct span distinct_id)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    char prefix[16];
    int prefix_bytes = snprintf(prefix, sizeof prefix, "%u:", project);
    SHA_CTX sha;
    struct uuid uuid;

    SHA1_Init(&sha);
    SHA1_Update(&sha, person_namespace, sizeof person_namespace);
    SHA1_Update(&sha, prefix, (size_t)prefix_bytes);
    SHA1_Update(&sha, distinct_id.at, distinct_id.bytes);
    SHA1_Final(digest, &sha);
    memcpy(uuid.bytes, digest, sizeof uuid.bytes);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x50);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}
