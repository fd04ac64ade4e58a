/* people/people_test_kit.h - a store in a folder of its own, for tests of the store. Tests only. */
#ifndef PENSTOCK_PEOPLE_PEOPLE_TEST_KIT_H
#define PENSTOCK_PEOPLE_PEOPLE_TEST_KIT_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/lmdb.h"
#include "people/seen.h"

#define MAP_BYTES ((uint64_t)1 << 30)

struct place {
    char folder[64];
    struct people_options options;
};

/* What holds of the embedded store alone; pg_test_kit.h has its own. */
#ifndef PEOPLE_TEST_POSTGRES
#define people_test_settle seen_settle
#define PEOPLE_TEST_SEEN_FOLDER ""
enum { PEOPLE_TEST_TEXT_MAX = 2000, PEOPLE_TEST_IDS_TAKEN_AGAIN = 1 };
#endif

static inline int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    (void)snprintf(place->folder, sizeof place->folder, "/tmp/penstock_people_XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    place->options = (struct people_options){ .folder = place->folder, .map_bytes_max = MAP_BYTES };
    *state = place;
    return 0;
}

static inline int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

static inline int place_drop(void **state)
{
    struct place *place = *state;

    (void)nftw(place->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(place);
    return 0;
}

/* The calls that have to work in these tests: a failure is told with its text. */
#define MUST(call)                            \
    do {                                      \
        if ((call) < 0)                       \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static inline struct people *must_open(const struct place *place)
{
    struct people *people = NULL;
    struct err err = { 0 };

    MUST(people_open(&place->options, &people, &err));
    return people;
}

static inline struct people_txn *must_begin(struct people *people, bool write)
{
    struct people_txn *txn = NULL;
    struct err err = { 0 };

    MUST(people_begin(people, write, &txn, &err));
    return txn;
}

static inline struct uuid uuid_of(unsigned n)
{
    struct uuid uuid = { { 0 } };

    for (int i = 0; i < 4; i++)
        uuid.bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
    return uuid;
}

/* A test with a folder of its own, and no store in it yet. */
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_make, place_drop)

#endif
