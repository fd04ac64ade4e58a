/* people/seen_old.c - the ids of a store in which they stood in one tree: `seen`, id and project -> day and place.
 *
 * Nothing is added to it any more. What is in it is answered until it is over, and swept: each call looks at the next
 * few entries in key order and deletes the old ones, going around for ever. So the table is empty some five weeks
 * after the first start of a Penstock with runs, and no start waits for a conversion.
 *
 * Key:    16 uuid, 4 project (big-endian).
 * Value:  2 day, 8 place (little-endian); the oldest have no place. */
#include "people/seen_table.h"

enum { VALUE_BYTES = 10, VALUE_BYTES_OLDEST = 2 };

bool seen_old_left(struct people_txn *txn)
{
    MDB_stat stat;

    return mdb_stat(lmdb_txn_of(txn)->mdb, lmdb_of(txn->people)->tables[TABLE_SEEN], &stat) != 0 || stat.ms_entries > 0;
}

int seen_old_find(struct people_txn *txn, const struct seen_entry *id, uint16_t *day_out, uint64_t *place_out, struct err *err)
{
    uint8_t     key[SEEN_KEY_BYTES];
    uint32_t    project = __builtin_bswap32(bytes_get_u32(id->bytes + 16));
    struct span value;
    int         got;

    memcpy(key, id->bytes, 16);
    memcpy(key + 16, &project, 4);
    got = lmdb_get(txn, TABLE_SEEN, span_of(key, sizeof key), &value, err);
    if (got <= 0)
        return got;
    if (value.bytes != VALUE_BYTES && value.bytes != VALUE_BYTES_OLDEST)
        return err_set(err, ERR_CORRUPT, "people: a seen id has %zu bytes", value.bytes);
    *day_out = bytes_get_u16(value.at);
    *place_out = value.bytes == VALUE_BYTES ? bytes_get_u64(value.at + 2) : PEOPLE_SEEN_PLACE_UNKNOWN;
    return 1;
}

int seen_old_sweep(struct people_txn *txn, size_t steps, uint16_t today, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, TABLE_SEEN, err);
    uint8_t     start[SEEN_KEY_BYTES] = { 0 }, end[SEEN_KEY_BYTES] = { 0 };
    MDB_val     key = { SEEN_KEY_BYTES, start }, value;
    struct span from;
    int         rc = lmdb_get(txn, TABLE_META, SPAN("seen_swept"), &from, err);

    if (cursor == NULL || rc < 0)
        return -1;
    if (rc == 1 && from.bytes == SEEN_KEY_BYTES)
        memcpy(start, from.at, SEEN_KEY_BYTES);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (size_t i = 0; i < steps && rc == 0; i++) {
        if (value.mv_size >= VALUE_BYTES_OLDEST && seen_day_over(bytes_get_u16(value.mv_data), today))
            rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return people_fail(rc, "seen", err);
    if (rc == 0 && key.mv_size == SEEN_KEY_BYTES)
        memcpy(end, key.mv_data, SEEN_KEY_BYTES); /* else: around, from the first */
    return lmdb_put(txn, TABLE_META, SPAN("seen_swept"), span_of(end, sizeof end), err);
}
