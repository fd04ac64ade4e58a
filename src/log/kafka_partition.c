/* log/kafka_partition.c - MurmurHash2, written from its description: four bytes at a time are mixed in, then what is left. */
#include "log/kafka_partition.h"

#include "base/bytes.h"

#define MURMUR_MULTIPLIER UINT32_C(0x5bd1e995)
#define MURMUR_SEED       UINT32_C(0x9747b28c)

uint32_t kafka_murmur2(struct span key)
{
    uint32_t       hash = MURMUR_SEED ^ (uint32_t)key.bytes;
    size_t         left = key.bytes;
    const uint8_t *at = key.at;

    for (; left >= 4; left -= 4, at += 4) {
        uint32_t word = bytes_get_u32(at) * MURMUR_MULTIPLIER;

        word ^= word >> 24;
        hash = (hash * MURMUR_MULTIPLIER) ^ (word * MURMUR_MULTIPLIER);
    }
    for (size_t i = 0; i < left; i++)
        hash ^= (uint32_t)at[i] << (8 * i);
    if (left > 0)
        hash *= MURMUR_MULTIPLIER;
    hash ^= hash >> 13;
    hash *= MURMUR_MULTIPLIER;
    return hash ^ (hash >> 15);
}
