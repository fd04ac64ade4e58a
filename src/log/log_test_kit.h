/* log/log_test_kit.h - what the log's tests share: a folder that goes away, records that can be checked.
 *
 * A record's body tells its own offset, length and filling, so a reader needs no second copy to know that
 * every byte is right. Included by tests only. */
#ifndef PENSTOCK_LOG_LOG_TEST_KIT_H
#define PENSTOCK_LOG_LOG_TEST_KIT_H

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "log/log.h"

static inline int kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void kit_remove(const char *path)
{
    (void)nftw(path, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void kit_folder(char path[64])
{
    (void)snprintf(path, 64, "/tmp/penstock-log-XXXXXX");
    if (mkdtemp(path) == NULL)
        abort();
}

static inline uint64_t kit_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* body_bytes >= 16: number, length, then bytes that follow from both. */
static inline void kit_fill(uint8_t *body, size_t body_bytes, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + body_bytes + 1;

    bytes_put_u64(body, number);
    bytes_put_u64(body + 8, body_bytes);
    for (size_t i = 16; i < body_bytes; i++) {
        if (i % 64 == 0) /* eight repeats: LZ4 finds them */
            (void)kit_random(&state);
        body[i] = (uint8_t)(state >> (i % 8 * 8));
    }
}

static inline bool kit_is_right(struct span body, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + body.bytes + 1;

    if (body.bytes < 16 || bytes_get_u64(body.at) != number || bytes_get_u64(body.at + 8) != body.bytes)
        return false;
    for (size_t i = 16; i < body.bytes; i++) {
        if (i % 64 == 0) /* eight repeats: LZ4 finds them */
            (void)kit_random(&state);
        if (body.at[i] != (uint8_t)(state >> (i % 8 * 8)))
            return false;
    }
    return true;
}

static inline void kit_add(struct log_batch *batch, size_t body_bytes, uint64_t number)
{
    uint8_t *to = log_batch_begin(batch, body_bytes);

    if (to == NULL)
        abort();
    kit_fill(to, body_bytes, number);
    log_batch_end(batch, body_bytes);
}

#endif
