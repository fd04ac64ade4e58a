/* people/seen_test_kit.h - what the tests of the seen ids share: a store in a folder, ids, batches. Tests only. */
#ifndef PENSTOCK_PEOPLE_SEEN_TEST_KIT_H
#define PENSTOCK_PEOPLE_SEEN_TEST_KIT_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/seen.h"

struct kit {
    char           folder[64];
    size_t         recent_max;
    struct people *people;
};

static inline void kit_must(int rc, const struct err *err, const char *what)
{
    if (rc < 0)
        fail_msg("%s: %s", what, err->text);
}
#define MUST(call) kit_must(call, &err, #call)

static inline uint64_t kit_mix(uint64_t n)
{
    n += UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
    return n ^ n >> 31;
}

static inline uint64_t kit_random(uint64_t *state)
{
    return *state = kit_mix(*state);
}

/* The n-th id: one in two is a UUID v7 of a time of its own, one in two is a v4, a few are nothing of the kind. */
static inline struct uuid kit_uuid(uint64_t n)
{
    uint64_t    random[2] = { kit_mix(2 * n), kit_mix(2 * n + 1) };
    struct uuid uuid = { { 0 } };

    if (n % 2 == 0)
        return uuid_v7((int64_t)(UINT64_C(1700000000000) + n * 1000), (const uint8_t *)random);
    if (n % 17 == 3) {
        memcpy(uuid.bytes + 8, &n, 8);
        return uuid;
    }
    memcpy(uuid.bytes, random, 16);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 15) | 0x40);
    return uuid;
}

static inline uint32_t kit_project(uint64_t n)
{
    return (uint32_t)(n % 5 + 1);
}

static inline struct people_seen kit_id(uint64_t n)
{
    return (struct people_seen){ .project = kit_project(n), .uuid = kit_uuid(n), .place = n * 3 + 1 };
}

static inline void kit_open(struct kit *kit)
{
    struct err err = { 0 };

    MUST(people_open(&(struct people_options){ .folder = kit->folder, .map_bytes_max = (uint64_t)1 << 34, .seen_recent_max = kit->recent_max },
                     &kit->people, &err));
}

static inline void kit_close(struct kit *kit)
{
    people_close(kit->people);
    kit->people = NULL;
}

static inline void kit_again(struct kit *kit)
{
    kit_close(kit);
    kit_open(kit);
}

static inline struct people_txn *kit_begin(struct kit *kit, bool write)
{
    struct people_txn *txn = NULL;
    struct err         err = { 0 };

    MUST(people_begin(kit->people, write, &txn, &err));
    return txn;
}

/* One transaction that adds ids `from` to `from + count - 1` on a day; how many were repeated. */
static inline size_t kit_add(struct kit *kit, uint64_t from, size_t count, int day, bool commit)
{
    struct people_txn  *txn = kit_begin(kit, true);
    struct people_seen *ids = calloc(count + 1, sizeof *ids);
    struct err          err = { 0 };
    size_t              repeated = 0;

    for (size_t i = 0; i < count; i++)
        ids[i] = kit_id(from + i);
    MUST(people_seen_add(txn, ids, count, day, &err));
    for (size_t i = 0; i < count; i++)
        repeated += ids[i].repeated;
    free(ids);
    if (commit)
        MUST(people_commit(txn, &err));
    else
        people_abort(txn);
    return repeated;
}

/* Where the n-th id came first, asked as a writer or as a reader; -1: not seen. */
static inline int64_t kit_find(struct kit *kit, uint64_t n, bool write)
{
    struct people_txn *txn = kit_begin(kit, write);
    struct uuid        uuid = kit_uuid(n);
    struct err         err = { 0 };
    uint64_t           place = 77;
    int                got = people_seen_find(txn, kit_project(n), &uuid, &place, &err);

    kit_must(got, &err, "people_seen_find");
    people_abort(txn);
    return got == 1 ? (int64_t)place : -1;
}

static inline struct people_seen_stats kit_stats(struct kit *kit)
{
    struct people_seen_stats stats;

    people_seen_stats(kit->people, &stats);
    return stats;
}

/* Goes on with empty transactions until all that is due was made and listed. */
static inline void kit_settle(struct kit *kit, int day)
{
    for (int i = 0; i < 12; i++) {
        (void)kit_add(kit, 0, 0, day, true);
        seen_settle(kit->people);
    }
}

static inline int kit_make(void **state)
{
    struct kit *kit = calloc(1, sizeof *kit);

    (void)snprintf(kit->folder, sizeof kit->folder, "%s/penstock_seen_XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(kit->folder) == NULL)
        return -1;
    kit->recent_max = 100;
    kit_open(kit);
    *state = kit;
    return 0;
}

static inline int kit_remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

static inline int kit_drop(void **state)
{
    struct kit *kit = *state;

    kit_close(kit);
    (void)nftw(kit->folder, kit_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(kit);
    return 0;
}

#endif
