/* capture/rates.c - a bucket is one number: the moment when it will be empty again if nobody sends. Loops that share one
 * change it by compare-and-swap, and who has no limit never comes here.
 *
 * Ids are counted in a table of sets of eight: exact counts of the ids that send most. A sketch would take less memory,
 * but where its cells are shared it would take the person off an event of somebody who sends little; here the id
 * that sent least gives its place away, which errs to the other side. */
#include "capture/rates.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/utf8.h"

enum { WAYS = 8, SETS = RATES_IDS_MAX / WAYS, LOCKS = 64, PROBES = 16 };

#define NS_OF_US  INT64_C(1000)
#define NS_OF_S   INT64_C(1000000000)
#define WINDOW_US INT64_C(60000000)
#define FORGET_NS (3600 * NS_OF_S) /* a bucket that is empty for so long gives its cell away */

struct bucket {
    _Atomic uint32_t limit;    /* its id; 0: free */
    _Atomic int64_t  empty_ns; /* when it will be empty */
};

struct window {
    uint64_t key;
    uint32_t minute; /* that `events` counts; 0: free */
    uint32_t events, before;
};

struct rates {
    uint64_t        seed;
    struct bucket  *buckets; /* RATES_LIMITS_MAX */
    struct window  *windows; /* SETS x WAYS @lock locks[set % LOCKS] */
    pthread_mutex_t locks[LOCKS];
};

struct rates *rates_new(void)
{
    struct rates *rates = calloc(1, sizeof *rates);

    if (rates == NULL)
        return NULL;
    rates->buckets = calloc(RATES_LIMITS_MAX, sizeof *rates->buckets); /* untouched pages take no memory */
    rates->windows = calloc((size_t)SETS * WAYS, sizeof *rates->windows);
    if (rates->buckets == NULL || rates->windows == NULL ||
        getrandom(&rates->seed, sizeof rates->seed, 0) != (ssize_t)sizeof rates->seed) {
        free(rates->buckets);
        free(rates->windows);
        free(rates);
        return NULL;
    }
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&rates->locks[i], NULL);
    return rates;
}

void rates_free(struct rates *rates)
{
    if (rates == NULL)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&rates->locks[i]);
    free(rates->buckets);
    free(rates->windows);
    free(rates);
}

/* --- buckets ----------------------------------------------------------------------------------- */

static struct bucket *bucket_find(struct rates *rates, uint32_t limit, int64_t now_ns)
{
    for (uint32_t i = 0; i < PROBES; i++) {
        struct bucket *bucket = &rates->buckets[(limit + i) % RATES_LIMITS_MAX];
        uint32_t       is = atomic_load_explicit(&bucket->limit, memory_order_acquire);

        if (is == limit)
            return bucket;
        if (is == 0 || atomic_load_explicit(&bucket->empty_ns, memory_order_relaxed) < now_ns - FORGET_NS)
            if (atomic_compare_exchange_strong(&bucket->limit, &is, limit) || is == limit)
                return bucket;
    }
    return NULL;
}

int64_t rates_take(struct rates *rates, const struct catalog_limit *limit, uint64_t events, int64_t mono_us)
{
    int64_t        now_ns = mono_us * NS_OF_US, room_ns = (int64_t)(limit->burst - 1) * NS_OF_S / limit->events;
    struct bucket *bucket = bucket_find(rates, limit->id, now_ns);
    int64_t        empty_ns;

    if (bucket == NULL || events == 0)
        return 0;
    empty_ns = atomic_load_explicit(&bucket->empty_ns, memory_order_relaxed);
    for (;;) {
        int64_t from_ns = empty_ns > now_ns ? empty_ns : now_ns, next_ns;

        if (from_ns - now_ns > room_ns)
            return (from_ns - now_ns - room_ns + NS_OF_US - 1) / NS_OF_US;
        if (__builtin_add_overflow(from_ns, (int64_t)(events * (uint64_t)NS_OF_S / limit->events), &next_ns))
            next_ns = INT64_MAX;
        if (atomic_compare_exchange_weak_explicit(&bucket->empty_ns, &empty_ns, next_ns, memory_order_relaxed,
                                                  memory_order_relaxed))
            return 0;
    }
}

/* --- windows ----------------------------------------------------------------------------------- */

/* The id's window, at this minute; locked. */
static struct window *window_find(struct window *set, uint64_t key, uint32_t minute)
{
    struct window *least = set;

    for (size_t i = 0; i < WAYS; i++) {
        struct window *window = &set[i];

        if (window->minute != 0 && window->key == key) {
            if (window->minute != minute) {
                window->before = window->minute + 1 == minute ? window->events : 0;
                window->events = 0;
                window->minute = minute;
            }
            return window;
        }
        if (window->minute + 1 < minute) /* nothing of it counts any more; a free one too */
            window->events = window->before = 0;
        if (window->events + window->before < least->events + least->before)
            least = window;
    }
    *least = (struct window){ .key = key, .minute = minute };
    return least;
}

bool rates_id_over(struct rates *rates, const struct catalog_limit *limit, struct span distinct_id, int64_t mono_us)
{
    struct span    id = distinct_id.bytes > RATES_ID_CHARS_MAX ? utf8_cut(distinct_id, RATES_ID_CHARS_MAX) : distinct_id;
    uint64_t       key = XXH3_64bits_withSeed(id.at, id.bytes, rates->seed ^ limit->id);
    size_t         set = (size_t)(key % SETS);
    uint32_t       minute = (uint32_t)(mono_us / WINDOW_US) + 2; /* never 0, and never one after 0 */
    int64_t        left_us = WINDOW_US - mono_us % WINDOW_US;
    struct window *window;
    uint64_t       count;

    pthread_mutex_lock(&rates->locks[set % LOCKS]);
    window = window_find(rates->windows + set * WAYS, key, minute);
    if (window->events < UINT32_MAX)
        window->events++;
    count = window->events + (uint64_t)window->before * (uint64_t)left_us / (uint64_t)WINDOW_US;
    pthread_mutex_unlock(&rates->locks[set % LOCKS]);
    return count > limit->events;
}
