/* people/seen.c - which event ids were seen: exactly, for PEOPLE_SEEN_DAYS days, first wins.
 *
 * The problem: a tree of a hundred million random ids is gigabytes of which each id touches another page; the cost of
 * an event then grows with the number of events. So ids are only ever appended: to a table in memory and a chunk in
 * LMDB, later in sorted files. What is left of a random access is one line of a file's filter for each of some ten
 * files, all asked for before the first is needed (GROUP ids at once), because waiting for memory is what costs.
 * docs/decisions/seen-ids.md has the numbers and what else was considered. */
#include "people/seen.h"

#include <assert.h>

#include "base/say.h"

enum {
    GROUP = 64,    /* ids whose filter lines are on their way at one time */
    MASK_RUNS = 64, /* runs beyond are asked one by one; there are never so many (docs/decisions/seen-ids.md) */
    SWEEP_EACH = 4, /* ids of the old tree looked at for each id added: once around takes at most 28/4 = 7 days */
    SWEEP_LEAST = 16
};

struct seen_group {
    struct seen_entry entries[GROUP];
    uint64_t          hashes[GROUP];
    uint64_t          maybe[GROUP]; /* bit r: run r may have it */
    size_t            count;
};

/* Asks memory for all that the group will look at, then asks the filters. */
static void group_prepare(struct seen *seen, struct seen_group *group)
{
    size_t runs = seen->run_count < MASK_RUNS ? seen->run_count : MASK_RUNS;

    for (size_t i = 0; i < group->count; i++) {
        group->hashes[i] = seen_entry_hash(&group->entries[i], seen->state.seed);
        group->maybe[i] = 0;
        seen_recent_prefetch(&seen->active, group->hashes[i]);
        seen_recent_prefetch(&seen->frozen, group->hashes[i]);
    }
    for (size_t r = 0; r < runs; r++) {
        const struct seen_run *run = seen->runs[r];

        if (!run->usable)
            continue;
        for (size_t i = 0; i < group->count; i++)
            if (seen_run_covers(run, seen_entry_minute(&group->entries[i]))) {
                group->maybe[i] |= UINT64_C(1) << r;
                __builtin_prefetch(seen_run_line(run, group->hashes[i]));
            }
    }
    for (size_t r = 0; r < runs; r++)
        for (size_t i = 0; i < group->count; i++)
            if ((group->maybe[i] >> r & 1) != 0 && !seen_run_maybe(seen->runs[r], group->hashes[i]))
                group->maybe[i] &= ~(UINT64_C(1) << r);
}

/* A damaged block is not a reason to stop: what it held is forgotten, loudly, and the run will be written anew. */
static int look_into(struct seen *seen, struct seen_run *run, const struct seen_entry *key, uint64_t hash,
                     struct seen_entry *out)
{
    static struct say_gate gate;
    struct err             why;
    int                    found = seen_run_find(run, key, hash, out, &why);

    if (found >= 0)
        return found;
    run->lost++;
    seen->stats.lost++;
    say_seldom(&gate, SAY_ERROR, "%s; its ids are forgotten, a repeated event among them would be stored twice", why.text);
    return 0;
}

static bool run_knows(struct seen *seen, size_t r, const struct seen_group *group, size_t i, uint16_t today)
{
    struct seen_run  *run = seen->runs[r];
    struct seen_entry found;

    return look_into(seen, run, &group->entries[i], group->hashes[i], &found) == 1 &&
           seen_day_known(seen_entry_day(&found), today);
}

static bool recent_knows(const struct seen_recent *recent, const struct seen_group *group, size_t i, uint16_t today)
{
    const struct seen_entry *found = seen_recent_find(recent, &group->entries[i], group->hashes[i]);

    return found != NULL && seen_day_known(seen_entry_day(found), today);
}

/* 1: known and not forgotten, 0, -1. */
static int group_knows(struct seen *seen, const struct seen_group *group, size_t i, uint16_t today, struct err *err)
{
    uint16_t day;
    uint64_t place;
    int      got;

    if (recent_knows(&seen->active, group, i, today) || (seen->flushing && recent_knows(&seen->frozen, group, i, today)))
        return 1;
    for (uint64_t left = group->maybe[i]; left != 0; left &= left - 1)
        if (run_knows(seen, (size_t)__builtin_ctzll(left), group, i, today))
            return 1;
    for (size_t r = MASK_RUNS; r < seen->run_count; r++)
        if (seen->runs[r]->usable && seen_run_maybe(seen->runs[r], group->hashes[i]) && run_knows(seen, r, group, i, today))
            return 1;
    if (!seen->old_left)
        return 0;
    got = seen_old_find(seen->txn, &group->entries[i], &day, &place, err);
    return got == 1 ? seen_day_known(day, today) : got;
}

static int group_add(struct seen *seen, struct seen_group *group, struct people_seen *ids, uint16_t today, struct err *err)
{
    for (size_t i = 0; i < group->count; i++)
        group->entries[i] = seen_entry_make(ids[i].project, &ids[i].uuid, today, ids[i].place);
    group_prepare(seen, group);
    for (size_t i = 0; i < group->count; i++) {
        int known = group_knows(seen, group, i, today, err);

        if (known < 0 || (known == 0 && seen_recent_add(&seen->active, &group->entries[i], group->hashes[i], err) < 0))
            return -1;
        ids[i].repeated = known == 1;
    }
    return 0;
}

int lmdb_seen_add(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err)
{
    uint16_t     today = (uint16_t)(day < 0 ? 0 : day > UINT16_MAX ? UINT16_MAX : day);
    struct seen *seen;
    struct seen_group group;

    assert(txn->write);
    if (seen_enter(txn, &seen, err) < 0 || seen_chores(seen, today, err) < 0 ||
        (seen->old_left && seen_old_sweep(txn, SWEEP_LEAST + SWEEP_EACH * count, today, err) < 0))
        return -1;
    for (size_t from = 0; from < count; from += group.count) {
        group.count = count - from < GROUP ? count - from : GROUP;
        if (group_add(seen, &group, ids + from, today, err) < 0)
            return -1;
    }
    return 0;
}

/* --- where it came first ----------------------------------------------------------------------- */

static void keep_later(struct seen_entry *best, bool *found, const struct seen_entry *entry)
{
    if (!*found || seen_entry_day(entry) > seen_entry_day(best))
        *best = *entry;
    *found = true;
}

static int find_as_writer(struct people_txn *txn, struct seen_entry *key, struct seen_entry *out, struct err *err)
{
    const struct seen_entry *entry;
    struct seen_entry        of_run;
    struct seen             *seen;
    uint64_t                 hash;
    bool                     found = false;

    if (seen_enter(txn, &seen, err) < 0)
        return -1;
    hash = seen_entry_hash(key, seen->state.seed);
    entry = seen_recent_find(&seen->active, key, hash);
    if (entry != NULL)
        keep_later(out, &found, entry);
    entry = seen->flushing ? seen_recent_find(&seen->frozen, key, hash) : NULL;
    if (entry != NULL)
        keep_later(out, &found, entry);
    for (size_t r = seen->run_count; r-- > 0;)
        if (seen->runs[r]->usable && seen_run_maybe(seen->runs[r], hash) &&
            look_into(seen, seen->runs[r], key, hash, &of_run) == 1)
            keep_later(out, &found, &of_run);
    return found;
}

int lmdb_seen_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err)
{
    struct seen_entry key = seen_entry_make(project, uuid, 0, 0), found;
    uint16_t          day;
    int               got = txn->write ? find_as_writer(txn, &key, &found, err) : seen_view_find(txn, &key, &found, err);

    if (got < 0)
        return -1;
    if (got == 0)
        return seen_old_find(txn, &key, &day, place_out, err);
    *place_out = seen_entry_place(&found);
    return 1;
}
