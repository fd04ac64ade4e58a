/* people/seen.c - which event ids were seen.
 *
 * One table, keyed by id and then project, with the day of the first sight. One look-up an id wherever it
 * was seen before; a table a day would forget faster, but ask up to 28 tables for each id that does not
 * begin with its time. Ids of UUID v7 arrive in order, so the sorted batch is written to the right-hand
 * edge of the tree, page after full page.
 * Forgetting: each call also sweeps over the next few old entries in key order, going around for ever, and
 * deletes those of more than PEOPLE_SEEN_DAYS days ago. It costs the same small amount each batch and leaves
 * no night with a million deletions. An entry that is past its days but not yet swept counts as forgotten,
 * so the answer does not depend on how far the sweep is.
 *
 * Key:    16 uuid, 4 project (big-endian).
 * Value:  2 day, 8 place (little-endian); without the place: noted by an earlier Penstock. */
#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "people/lmdb.h"

enum {
    SEEN_KEY_BYTES = 20,
    SEEN_VALUE_BYTES = 10,
    SEEN_VALUE_BYTES_OLD = 2,
    SWEEP_EACH = 4, /* entries looked at for each id added: once around takes at most 28/4 = 7 days */
    SWEEP_LEAST = 16
};

struct seen_key {
    uint8_t bytes[SEEN_KEY_BYTES];
    uint32_t index;
};

static void seen_key_bytes(uint8_t to[SEEN_KEY_BYTES], uint32_t project, const struct uuid *uuid)
{
    uint32_t big_endian = __builtin_bswap32(project);

    memcpy(to, uuid->bytes, 16);
    memcpy(to + 16, &big_endian, 4);
}

static int seen_value_check(size_t bytes, struct err *err)
{
    if (bytes == SEEN_VALUE_BYTES || bytes == SEEN_VALUE_BYTES_OLD)
        return 0;
    return err_set(err, ERR_CORRUPT, "people: a seen id has %zu bytes", bytes);
}

static int seen_key_order(const void *a, const void *b)
{
    const struct seen_key *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, SEEN_KEY_BYTES);

    if (order != 0)
        return order;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int seen_sort(struct people *people, const struct people_seen *ids, size_t count, struct err *err)
{
    bool sorted = true;

    assert(count <= UINT32_MAX);
    if (count > people->seen_keys_max) {
        struct seen_key *more = realloc(people->seen_keys, count * sizeof *more);

        if (more == NULL)
            return err_set(err, ERR_FULL, "people: no memory to sort %zu ids", count);
        people->seen_keys = more;
        people->seen_keys_max = count;
    }
    for (size_t i = 0; i < count; i++) {
        struct seen_key *key = &people->seen_keys[i];

        seen_key_bytes(key->bytes, ids[i].project, &ids[i].uuid);
        key->index = (uint32_t)i;
        sorted = sorted && (i == 0 || memcmp(key[-1].bytes, key->bytes, SEEN_KEY_BYTES) <= 0);
    }
    if (!sorted)
        qsort(people->seen_keys, count, sizeof *people->seen_keys, seen_key_order);
    return 0;
}

/* Notes one id. 1: it was there, 0: not (or forgotten), -1. append: the key is behind the last one of the table,
 * which fills its pages instead of splitting them. */
static int seen_note(MDB_cursor *cursor, struct seen_key *key, uint16_t day, uint64_t place, bool append, struct err *err)
{
    uint8_t fresh[SEEN_VALUE_BYTES];
    MDB_val k = { SEEN_KEY_BYTES, key->bytes }, v = { sizeof fresh, fresh };
    int rc;

    bytes_put_u16(fresh, day);
    bytes_put_u64(fresh + 2, place);
    rc = mdb_cursor_put(cursor, &k, &v, append ? MDB_APPEND : MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST && !append) {
        if (seen_value_check(v.mv_size, err) < 0)
            return -1;
        if (bytes_get_u16(v.mv_data) + PEOPLE_SEEN_DAYS >= day)
            return 1;
        v = (MDB_val){ sizeof fresh, fresh };
        rc = mdb_cursor_put(cursor, &k, &v, 0);
    }
    return rc == 0 ? 0 : people_fail(rc, "seen", err);
}

/* The table's last key into `to`, all zeros when there is none. */
static int seen_last(MDB_cursor *cursor, uint8_t to[SEEN_KEY_BYTES], struct err *err)
{
    MDB_val key, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);

    memset(to, 0, SEEN_KEY_BYTES);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && key.mv_size != SEEN_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "people: the key of a seen id has %zu bytes", key.mv_size);
    if (rc == 0)
        memcpy(to, key.mv_data, SEEN_KEY_BYTES);
    return rc == 0 ? 0 : people_fail(rc, "seen", err);
}

/* Looks at the next `steps` entries behind where the last sweep ended, and forgets the old ones. */
static int seen_sweep(struct people_txn *txn, size_t steps, uint16_t day, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, TABLE_SEEN, err);
    uint8_t start[SEEN_KEY_BYTES] = { 0 }, end[SEEN_KEY_BYTES] = { 0 };
    MDB_val key = { SEEN_KEY_BYTES, start }, value;
    struct span from;
    int rc = people_table_get(txn, TABLE_META, SPAN("seen_swept"), &from, err);

    if (cursor == NULL || rc < 0)
        return -1;
    if (rc == 1 && from.bytes == SEEN_KEY_BYTES)
        memcpy(start, from.at, SEEN_KEY_BYTES);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (size_t i = 0; i < steps && rc == 0; i++) {
        if (value.mv_size >= SEEN_VALUE_BYTES_OLD && bytes_get_u16(value.mv_data) + PEOPLE_SEEN_DAYS < day)
            rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return people_fail(rc, "seen", err);
    if (rc == 0)
        memcpy(end, key.mv_data, SEEN_KEY_BYTES); /* else: around, from the first */
    return people_table_put(txn, TABLE_META, SPAN("seen_swept"), span_of(end, sizeof end), err);
}

int people_seen_add(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err)
{
    uint16_t today = (uint16_t)(day < 0 ? 0 : day > UINT16_MAX ? UINT16_MAX : day);
    MDB_cursor *cursor = people_cursor(txn, TABLE_SEEN, err);
    struct seen_key *keys;
    uint8_t last[SEEN_KEY_BYTES];

    if (cursor == NULL || seen_sweep(txn, SWEEP_LEAST + SWEEP_EACH * count, today, err) < 0 ||
        seen_sort(txn->people, ids, count, err) < 0 || seen_last(cursor, last, err) < 0)
        return -1;
    keys = txn->people->seen_keys;
    for (size_t i = 0; i < count; i++) {
        int got = 1;

        if (i == 0 || memcmp(keys[i - 1].bytes, keys[i].bytes, SEEN_KEY_BYTES) != 0)
            got = seen_note(cursor, &keys[i], today, ids[keys[i].index].place,
                            memcmp(keys[i].bytes, last, SEEN_KEY_BYTES) > 0, err);
        if (got < 0)
            return -1;
        ids[keys[i].index].repeated = got == 1;
    }
    return 0;
}

int people_seen_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err)
{
    uint8_t key[SEEN_KEY_BYTES];
    struct span value;
    int got;

    seen_key_bytes(key, project, uuid);
    got = people_table_get(txn, TABLE_SEEN, span_of(key, sizeof key), &value, err);
    if (got <= 0)
        return got;
    if (seen_value_check(value.bytes, err) < 0)
        return -1;
    *place_out = value.bytes == SEEN_VALUE_BYTES ? bytes_get_u64(value.at + 2) : PEOPLE_SEEN_PLACE_UNKNOWN;
    return 1;
}
