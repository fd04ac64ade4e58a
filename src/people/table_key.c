/* people/table_key.c - keys that hold texts of any length: see table.h. A long text is cut, and its hash tells it from others;
 * where that is not enough, the whole text stands in the value. */
#include <assert.h>

#include <openssl/sha.h>

#include "people/table.h"

void people_key_init(struct people_key *key, uint64_t head, size_t head_bytes)
{
    for (size_t i = 0; i < head_bytes; i++)
        key->bytes[i] = (uint8_t)(head >> 8 * (head_bytes - 1 - i));
    key->count = head_bytes;
    key->hashed = false;
}

int people_key_add_text(struct people_key *key, struct span text, struct err *err)
{
    uint8_t *at = key->bytes + key->count;

    assert(key->count + 1 + PEOPLE_KEY_TEXT_MAX <= PEOPLE_KEY_BYTES_MAX);
    key->hashed = text.bytes > PEOPLE_KEY_TEXT_MAX;
    *at++ = key->hashed;
    if (!key->hashed) {
        if (text.bytes > 0)
            memcpy(at, text.at, text.bytes);
        key->count += 1 + text.bytes;
        return 0;
    }
    memcpy(at, text.at, PEOPLE_KEY_CUT);
    if (SHA256(text.at, text.bytes, at + PEOPLE_KEY_CUT) == NULL)
        return err_set(err, ERR_STOP, "people: SHA-256 is not to be had");
    key->count += 1 + PEOPLE_KEY_CUT + SHA256_DIGEST_LENGTH;
    return 0;
}
