/* people/pg_joins.c - which counts of joins (joins.c) are there for certain, and which not.
 *
 * Each merge asks how many joined its person in the hour, and nearly always nobody did: a way to the server for nothing. But
 * only we write our unit's counts. So when an hour begins for which the server has none, whatever is there later was written by
 * us, and who that was is kept here, in a set of so many persons at most. For the rest of an hour in which we started, and for
 * hours with more persons, the server is asked. */
#include <stdlib.h>

#include "people/pg.h"

enum { KEY_BYTES = 12, SLOTS = 1 << 18, PERSONS_MAX = SLOTS / 2 };

struct pg_joins {
    uint8_t  hour[4]; /* as a key begins */
    bool     begun, known;
    size_t   count;
    uint64_t slots[SLOTS]; /* persons; 0: free */
};

void pg_joins_forget(struct pg *pg)
{
    if (pg->joins != NULL)
        pg->joins->begun = false;
}

static uint64_t person_of(struct span key)
{
    uint64_t person;

    memcpy(&person, key.at + 4, sizeof person);
    return person;
}

static uint64_t *slot_of(struct pg_joins *joins, uint64_t person)
{
    uint64_t at = person * UINT64_C(0x9E3779B97F4A7C15) >> 40;

    while (joins->slots[at % SLOTS] != 0 && joins->slots[at % SLOTS] != person)
        at++;
    return &joins->slots[at % SLOTS];
}

/* An hour that was not asked for before. */
static int begin(struct people_txn *txn, struct pg_joins *joins, struct span key, struct err *err)
{
    uint8_t             first[KEY_BYTES] = { 0 };
    struct people_entry entry;
    int                 got;

    memcpy(first, key.at, 4);
    got = people_table_seek(txn, TABLE_JOINS, span_of(first, sizeof first), &entry, err);
    if (got < 0)
        return -1;
    memset(joins, 0, sizeof *joins);
    memcpy(joins->hour, key.at, 4);
    joins->begun = true;
    joins->known = got == 0 || memcmp(entry.key.at, key.at, 4) > 0;
    return 0;
}

bool pg_joins_absent(struct people_txn *txn, struct span key, int *rc_out, struct err *err)
{
    struct pg *pg = pg_of(txn->people);

    *rc_out = 0;
    if (!txn->write || key.bytes != KEY_BYTES || person_of(key) == 0)
        return false;
    if (pg->joins == NULL && (pg->joins = calloc(1, sizeof *pg->joins)) == NULL)
        return false;
    if ((!pg->joins->begun || memcmp(pg->joins->hour, key.at, 4) < 0) && begin(txn, pg->joins, key, err) < 0) {
        *rc_out = -1;
        return false;
    }
    return pg->joins->known && memcmp(pg->joins->hour, key.at, 4) == 0 && *slot_of(pg->joins, person_of(key)) == 0;
}

void pg_joins_note(struct pg *pg, struct span key)
{
    struct pg_joins *joins = pg->joins;

    if (joins == NULL || !joins->begun || key.bytes != KEY_BYTES || memcmp(joins->hour, key.at, 4) != 0)
        return;
    if (joins->count == PERSONS_MAX) {
        joins->known = false;
        return;
    }
    joins->count += *slot_of(joins, person_of(key)) == 0;
    *slot_of(joins, person_of(key)) = person_of(key);
}
