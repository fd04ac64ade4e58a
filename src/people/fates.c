/* people/fates.c - what became of events, by hour of acceptance and project; and the last ones that left no row.
 *
 * Both are written in the batch's own transaction, so they are exact over every crash. Hours come first in the
 * key: a batch touches the last few keys of the table, and the oldest hours are at its left edge. An hour that
 * is too old is added to hour 0 of its project before it goes, so a project's sums stay exact for ever.
 * The events that left no row are a tape and no index: a note costs forty bytes at its end, and a look for one
 * id reads all of it (PEOPLE_ENDED_MAX entries, some ten milliseconds). An index by id would cost a page for
 * each note, and a client that repeats everything would pay it for each event.
 *
 * fates   key:   4 hour, 4 project (big-endian)
 *         value: 1 version (1), 1 pairs, then each: 1 index, 8 count
 * ended   key:   8 number of the value's first entry (the machine's order)
 *         value: entries of 40 bytes: 16 uuid, 8 place, 8 at_us, 4 project, 1 fate, 3 zero */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "people/table.h"

enum {
    FATES_VERSION = 1, FATES_KEY_BYTES = 8, FATES_PAIR_BYTES = 9,
    FATES_BYTES_MAX = 2 + FATES_PAIR_BYTES * PEOPLE_COUNTERS_MAX,
    FORGET_EACH = 64, /* old rows folded in one call: more than a batch makes */
    ENDED_BYTES = 40,
    ENDED_CHUNK = 40  /* entries in a value: below what LMDB would put onto a page of its own */
};

/* --- counts ------------------------------------------------------------------------------------ */

static void fates_key(uint8_t key[FATES_KEY_BYTES], uint32_t hour, uint32_t project)
{
    uint32_t big[2] = { __builtin_bswap32(hour), __builtin_bswap32(project) };

    memcpy(key, big, sizeof big);
}

int people_fates_read(struct span value, struct people_fates *out, struct err *err)
{
    const uint8_t *at = value.at + 2;

    if (value.bytes < 2 || value.at[0] != FATES_VERSION || value.bytes != 2 + (size_t)value.at[1] * FATES_PAIR_BYTES)
        return err_set(err, ERR_CORRUPT, "people: counts of fates are of no known form");
    memset(out->counts, 0, sizeof out->counts);
    for (size_t i = 0; i < value.at[1]; i++, at += FATES_PAIR_BYTES) {
        if (at[0] >= PEOPLE_COUNTERS_MAX)
            return err_set(err, ERR_INPUT, "people: counts of fates were written by a later Penstock");
        out->counts[at[0]] = bytes_get_u64(at + 1);
    }
    return 0;
}

static int fates_put(struct people_txn *txn, const struct people_fates *row, struct err *err)
{
    uint8_t key[FATES_KEY_BYTES], value[FATES_BYTES_MAX];
    size_t  bytes = 2;

    value[0] = FATES_VERSION;
    value[1] = 0;
    for (unsigned i = 0; i < PEOPLE_COUNTERS_MAX; i++)
        if (row->counts[i] > 0) {
            value[bytes] = (uint8_t)i;
            bytes_put_u64(value + bytes + 1, row->counts[i]);
            bytes += FATES_PAIR_BYTES;
            value[1]++;
        }
    fates_key(key, row->hour, row->project);
    return people_table_put(txn, TABLE_FATES, span_of(key, sizeof key), span_of(value, bytes), err);
}

static int fates_get(struct people_txn *txn, uint32_t hour, uint32_t project, struct people_fates *out, struct err *err)
{
    uint8_t     key[FATES_KEY_BYTES];
    struct span value;
    int         got;

    *out = (struct people_fates){ .hour = hour, .project = project };
    fates_key(key, hour, project);
    got = people_table_get(txn, TABLE_FATES, span_of(key, sizeof key), &value, err);
    if (got > 0 && people_fates_read(value, out, err) < 0)
        return -1;
    return got;
}

int people_fates_add(struct people_txn *txn, const struct people_fates *rows, size_t count, struct err *err)
{
    for (size_t r = 0; r < count; r++) {
        struct people_fates sum;

        if (fates_get(txn, rows[r].hour, rows[r].project, &sum, err) < 0)
            return -1;
        for (size_t i = 0; i < PEOPLE_COUNTERS_MAX; i++)
            sum.counts[i] += rows[r].counts[i];
        if (fates_put(txn, &sum, err) < 0)
            return -1;
    }
    return 0;
}

int people_fates_begin(struct people_txn *txn, const uint64_t counts[PEOPLE_COUNTERS_MAX], struct err *err)
{
    struct people_fates row;
    int                 got = fates_get(txn, 0, PEOPLE_FATES_BEFORE, &row, err);

    if (got != 0)
        return got < 0 ? -1 : 0;
    memcpy(row.counts, counts, sizeof row.counts);
    return fates_put(txn, &row, err);
}

static int fates_entry(const struct people_entry *entry, struct people_fates *out, struct err *err)
{
    uint32_t big[2];

    if (entry->key.bytes != FATES_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "people: a key of fates has %zu bytes", entry->key.bytes);
    memcpy(big, entry->key.at, sizeof big);
    out->hour = __builtin_bswap32(big[0]);
    out->project = __builtin_bswap32(big[1]);
    return people_fates_read(entry->value, out, err);
}

/* The first row that has an hour; 0 when there is none. */
static int fates_oldest(struct people_txn *txn, struct people_fates *out, struct err *err)
{
    struct people_entry entry;
    uint8_t             start[FATES_KEY_BYTES];
    int                 got;

    fates_key(start, 1, 0);
    got = people_table_seek(txn, TABLE_FATES, span_of(start, sizeof start), &entry, err);
    return got == 1 && fates_entry(&entry, out, err) < 0 ? -1 : got;
}

int people_fates_forget(struct people_txn *txn, uint32_t hour, struct err *err)
{
    struct people_fates row;
    uint8_t             key[FATES_KEY_BYTES];

    for (int i = 0; i < FORGET_EACH; i++) {
        uint32_t old;
        int      got = fates_oldest(txn, &row, err);

        if (got <= 0 || row.hour >= hour)
            return got < 0 ? -1 : 0;
        old = row.hour;
        row.hour = 0;
        fates_key(key, old, row.project);
        if (people_fates_add(txn, &row, 1, err) < 0 ||
            people_table_delete(txn, TABLE_FATES, span_of(key, sizeof key), err) < 0)
            return -1;
    }
    return 0;
}

int people_fates_each(struct people_txn *txn, people_fates_seen *seen, void *ctx, struct err *err)
{
    struct people_entry entry;
    struct people_fates row;
    int                 got;

    for (got = people_table_seek(txn, TABLE_FATES, SPAN(""), &entry, err); got == 1;
         got = people_table_next(txn, TABLE_FATES, &entry, err))
        if (fates_entry(&entry, &row, err) < 0 || seen(ctx, &row, err) < 0)
            return -1;
    return got;
}

/* --- events that left no row -------------------------------------------------------------------- */

static void ended_write(const struct people_ended *ended, uint8_t *to)
{
    memset(to, 0, ENDED_BYTES);
    memcpy(to, ended->uuid.bytes, 16);
    bytes_put_u64(to + 16, ended->place);
    bytes_put_u64(to + 24, (uint64_t)ended->at_us);
    bytes_put_u32(to + 32, ended->project);
    to[36] = ended->fate;
}

static void ended_read(const uint8_t *at, struct people_ended *out)
{
    memcpy(out->uuid.bytes, at, 16);
    out->place = bytes_get_u64(at + 16);
    out->at_us = (int64_t)bytes_get_u64(at + 24);
    out->project = bytes_get_u32(at + 32);
    out->fate = at[36];
}

/* The number of the value's first entry. */
static int ended_first(const struct people_entry *entry, uint64_t *out, struct err *err)
{
    *out = 0;
    if (entry->value.bytes == 0 || entry->value.bytes % ENDED_BYTES != 0)
        return err_set(err, ERR_CORRUPT, "people: a note of ended events is of no known form");
    return people_entry_number(entry, out, err);
}

/* The number after the tape's last entry. */
static int ended_end(struct people_txn *txn, uint64_t *out, struct err *err)
{
    struct people_entry entry;
    int                 got = people_table_last(txn, TABLE_ENDED, &entry, err);

    *out = 0;
    if (got <= 0)
        return got;
    if (ended_first(&entry, out, err) < 0)
        return -1;
    *out += entry.value.bytes / ENDED_BYTES;
    return 0;
}

static int ended_forget(struct people_txn *txn, uint64_t before, struct err *err)
{
    struct people_entry entry;
    uint64_t            first;
    int                 got;

    while ((got = people_table_seek(txn, TABLE_ENDED, SPAN(""), &entry, err)) == 1) {
        if (ended_first(&entry, &first, err) < 0)
            return -1;
        if (first + entry.value.bytes / ENDED_BYTES > before)
            return 0;
        if (people_table_drop(txn, TABLE_ENDED, err) < 0)
            return -1;
    }
    return got;
}

int people_ended_add(struct people_txn *txn, const struct people_ended *ended, size_t count, struct err *err)
{
    uint64_t next;

    if (count == 0)
        return 0;
    if (ended_end(txn, &next, err) < 0)
        return -1;
    for (size_t from = 0; from < count; from += ENDED_CHUNK) {
        size_t   taken = count - from < ENDED_CHUNK ? count - from : ENDED_CHUNK;
        uint8_t *at = people_table_append(txn, TABLE_ENDED, people_number_span(&next), taken * ENDED_BYTES, err);

        if (at == NULL)
            return -1;
        for (size_t i = 0; i < taken; i++)
            ended_write(&ended[from + i], at + i * ENDED_BYTES);
        next += taken;
    }
    return next > PEOPLE_ENDED_MAX ? ended_forget(txn, next - PEOPLE_ENDED_MAX, err) : 0;
}

int people_ended_find(struct people_txn *txn, const struct uuid *uuid, people_ended_seen *seen, void *ctx, struct err *err)
{
    struct people_entry entry;
    struct people_ended ended;
    uint64_t            first;
    int                 got;

    for (got = people_table_seek(txn, TABLE_ENDED, SPAN(""), &entry, err); got == 1;
         got = people_table_next(txn, TABLE_ENDED, &entry, err)) {
        const uint8_t *at = entry.value.at;

        if (ended_first(&entry, &first, err) < 0)
            return -1;
        for (size_t left = entry.value.bytes / ENDED_BYTES; left > 0; left--, at += ENDED_BYTES)
            if (memcmp(at, uuid->bytes, 16) == 0) {
                ended_read(at, &ended);
                if (seen(ctx, &ended, err) < 0)
                    return -1;
            }
    }
    return got;
}
