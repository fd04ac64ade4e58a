/* capture/addresses.c - a hash table of sets, the least recently seen address of a set without connections gives
 * way. A sketch would need less memory, but it cannot be told that a connection closed, and two strangers that share
 * its counters would be refused for each other. The hash is keyed: nobody can aim at a set.
 *
 * A rate is one number, the time at which all that was sent so far would have been due (a leaky bucket): what comes
 * is always let through while the debt is small, however large it is, so a body above a second's worth is no problem. */
#include "capture/addresses.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "wire/ip.h"

struct address {
    uint64_t        key; /* 0: free */
    int64_t         seen_us;
    int64_t         connects_due_us; /* @lock */
    _Atomic int64_t requests_due_us, bytes_due_us;
    uint32_t        connections;     /* @lock */
};

struct addresses {
    /* fixed after start */
    struct addresses_limits limits;
    struct ip_prefix        exempt[ADDRESSES_EXEMPT_MAX];
    size_t                  exempt_count;
    uint64_t                secret;

    pthread_mutex_t lock;
    struct address  places[ADDRESSES_SETS][ADDRESSES_WAYS]; /* @lock, but for the atomics */
};

/* --- which address it is ----------------------------------------------------------------------- */

/* IPv4 mapped into IPv6 keeps all of its bits, any other address its first 64. Never 0. */
static uint64_t address_key(const uint8_t at[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    uint64_t             key = 0;

    if (memcmp(at, mapped, sizeof mapped) == 0) {
        for (int i = 12; i < 16; i++)
            key = key << 8 | at[i];
        return key | (uint64_t)1 << 32; /* a /64 of ::/16, which nobody has */
    }
    for (int i = 0; i < 8; i++)
        key = key << 8 | at[i];
    return key == 0 ? 1 : key;
}

static struct address *addresses_set(struct addresses *addresses, uint64_t key)
{
    uint64_t hash = key ^ addresses->secret;

    for (int i = 0; i < 2; i++) { /* the finish of MurmurHash3, twice around the secret */
        hash ^= hash >> 33;
        hash *= 0xff51afd7ed558ccdu;
        hash ^= hash >> 33;
        hash *= 0xc4ceb9fe1a85ec53u;
        hash ^= hash >> 33;
        hash += addresses->secret;
    }
    return addresses->places[hash % ADDRESSES_SETS];
}

/* --- life -------------------------------------------------------------------------------------- */

int addresses_check_exempt(const char *list, struct err *err)
{
    struct ip_prefix prefixes[ADDRESSES_EXEMPT_MAX];
    size_t           count;

    return ip_prefixes_read(list, prefixes, ADDRESSES_EXEMPT_MAX, &count, err);
}

int addresses_open(const struct addresses_limits *limits, struct addresses **out, struct err *err)
{
    struct addresses *addresses;

    *out = NULL;
    if (limits->connections_max == 0 && limits->connects_per_s == 0 && limits->requests_per_s == 0 && limits->bytes_per_s == 0)
        return 0;
    addresses = calloc(1, sizeof *addresses);
    if (addresses == NULL)
        return err_set(err, ERR_FULL, "no memory for the table of addresses");
    addresses->limits = *limits;
    if (ip_prefixes_read(limits->exempt == NULL ? "" : limits->exempt, addresses->exempt, ADDRESSES_EXEMPT_MAX,
                         &addresses->exempt_count, err) < 0) {
        free(addresses);
        return -1;
    }
    if (getrandom(&addresses->secret, sizeof addresses->secret, 0) != sizeof addresses->secret) {
        free(addresses);
        return err_set(err, ERR_RETRY, "getrandom gives nothing");
    }
    (void)pthread_mutex_init(&addresses->lock, NULL);
    *out = addresses;
    return 0;
}

void addresses_close(struct addresses *addresses)
{
    if (addresses == NULL)
        return;
    (void)pthread_mutex_destroy(&addresses->lock);
    free(addresses);
}

const struct addresses_limits *addresses_limits(const struct addresses *addresses)
{
    return &addresses->limits;
}

/* --- counting ---------------------------------------------------------------------------------- */

/* @lock. NULL: every place of its set is held. */
static struct address *addresses_find(struct addresses *addresses, uint64_t key)
{
    struct address *set = addresses_set(addresses, key);
    struct address *oldest = NULL;

    for (int i = 0; i < ADDRESSES_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].connections == 0 && (oldest == NULL || set[i].seen_us < oldest->seen_us))
            oldest = &set[i];
    }
    if (oldest == NULL)
        return NULL;
    oldest->key = key;
    oldest->connects_due_us = 0;
    atomic_store_explicit(&oldest->requests_due_us, 0, memory_order_relaxed);
    atomic_store_explicit(&oldest->bytes_due_us, 0, memory_order_relaxed);
    return oldest;
}

/* When all is due that was so far and `count` more; -1: too much of it waits already, until *wait_us_out. */
static int64_t due_after(int64_t due_us, uint64_t count, int64_t per_s, int64_t now_us, int64_t *wait_us_out)
{
    int64_t from = due_us > now_us ? due_us : now_us;

    if (from - now_us >= ADDRESSES_BURST_US) {
        *wait_us_out = from - now_us - ADDRESSES_BURST_US + 1;
        return -1;
    }
    return from + (int64_t)((double)count * 1e6 / (double)per_s);
}

enum address_verdict addresses_enter(struct addresses *addresses, const struct sockaddr_storage *peer, int64_t now_us,
                                     struct address **out)
{
    enum address_verdict verdict = ADDRESS_FINE;
    struct address      *address;
    struct ip            ip;
    int64_t              wait_us, due;

    *out = NULL;
    if (addresses == NULL || !ip_of_peer(peer, &ip) || ip_prefixes_hold(addresses->exempt, addresses->exempt_count, &ip))
        return ADDRESS_FINE;
    (void)pthread_mutex_lock(&addresses->lock);
    address = addresses_find(addresses, address_key(ip.at));
    if (address != NULL) {
        address->seen_us = now_us;
        due = addresses->limits.connects_per_s == 0 ? 0
              : due_after(address->connects_due_us, 1, addresses->limits.connects_per_s, now_us, &wait_us);
        if (addresses->limits.connections_max != 0 && address->connections >= addresses->limits.connections_max) {
            verdict = ADDRESS_CONNECTIONS;
        } else if (due < 0) {
            verdict = ADDRESS_CONNECTS;
        } else {
            address->connects_due_us = due;
            address->connections++;
            *out = address;
        }
    }
    (void)pthread_mutex_unlock(&addresses->lock);
    return verdict;
}

void addresses_leave(struct addresses *addresses, struct address *address)
{
    if (address == NULL)
        return;
    (void)pthread_mutex_lock(&addresses->lock);
    assert(address->connections > 0);
    address->connections--;
    (void)pthread_mutex_unlock(&addresses->lock);
}

/* Loops that add at the same instant: each one's share is counted. */
static bool spend(_Atomic int64_t *due_us, uint64_t count, int64_t per_s, int64_t now_us, int64_t *wait_us_out)
{
    int64_t old = atomic_load_explicit(due_us, memory_order_relaxed), due;

    do {
        due = due_after(old, count, per_s, now_us, wait_us_out);
        if (due < 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(due_us, &old, due, memory_order_relaxed, memory_order_relaxed));
    return true;
}

enum address_verdict addresses_spend(struct addresses *addresses, struct address *address, unsigned requests,
                                     uint64_t bytes, int64_t now_us, int64_t *wait_us_out)
{
    const struct addresses_limits *limits = &addresses->limits;

    assert(address != NULL);
    if (limits->bytes_per_s != 0 && requests > 0) { /* what it owes is looked at before anything is counted */
        int64_t due = atomic_load_explicit(&address->bytes_due_us, memory_order_relaxed);

        if (due_after(due, 0, limits->bytes_per_s, now_us, wait_us_out) < 0)
            return ADDRESS_BYTES;
    }
    if (limits->requests_per_s != 0 && requests > 0 &&
        !spend(&address->requests_due_us, requests, limits->requests_per_s, now_us, wait_us_out))
        return ADDRESS_REQUESTS;
    if (limits->bytes_per_s != 0 && bytes > 0)
        (void)spend(&address->bytes_due_us, bytes, limits->bytes_per_s, now_us, wait_us_out);
    return ADDRESS_FINE;
}
