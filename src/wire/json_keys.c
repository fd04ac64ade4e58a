/* wire/json_keys.c - XXH3 with a random seed: the fastest hash of short keys that takes one. */
#include "wire/json_keys.h"

#define XXH_INLINE_ALL
#include <pthread.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

static pthread_once_t keys_once = PTHREAD_ONCE_INIT;
static uint64_t       keys_seed; /* fixed after the first call */

static void keys_init(void)
{
    struct timespec now;

    if (getrandom(&keys_seed, sizeof keys_seed, GRND_NONBLOCK) == (ssize_t)sizeof keys_seed)
        return;
    /* Only in the first moments of a machine without entropy: harder to guess than a constant. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    keys_seed = XXH64(&now, sizeof now, (uint64_t)(uintptr_t)&now);
}

uint64_t json_keys_seed(void)
{
    pthread_once(&keys_once, keys_init);
    return keys_seed;
}

uint64_t json_keys_hash(struct span key, uint64_t seed)
{
    return XXH3_64bits_withSeed(key.at, key.bytes, seed);
}

size_t json_keys_slots(size_t keys)
{
    size_t slots = 64;

    while (slots < 2 * keys)
        slots *= 2;
    return slots;
}
