/* people/joins.c - how many distinct ids and persons joined a person within an hour.
 *
 * For the alarm of merge.c: an id that thousands of people share joins them all into one person, and nothing parts
 * them again. Kept in the store and not in memory, so that a restart does not forget and a batch that is given up
 * counts nothing.
 *   under hour and internal person id (both big-endian): u64
 * The hour comes first: what is asked for lies together, and what is old is deleted from the front. */
#include "base/bytes.h"
#include "people/table.h"

enum { HOURS_KEPT = 48, SWEEP_MAX = 64 /* more than a put adds, so that it comes to an end */ };

static struct span joins_key(uint8_t to[12], uint32_t hour, uint64_t person)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(hour >> (24 - 8 * i));
    for (int i = 0; i < 8; i++)
        to[4 + i] = (uint8_t)(person >> (56 - 8 * i));
    return span_of(to, 12);
}

int people_joins_get(struct people_txn *txn, uint32_t hour, uint64_t person, uint64_t *out, struct err *err)
{
    struct span value;
    uint8_t key[12];
    int got = people_table_get(txn, TABLE_JOINS, joins_key(key, hour, person), &value, err);

    if (got < 0)
        return -1;
    if (got == 1 && value.bytes != 8)
        return err_set(err, ERR_CORRUPT, "people: a count of merges has %zu bytes", value.bytes);
    *out = got == 1 ? bytes_get_u64(value.at) : 0;
    return 0;
}

/* Some entries of hours before `hour`. */
static int joins_sweep(struct people_txn *txn, uint32_t hour, struct err *err)
{
    struct people_entry entry;
    uint8_t end[12];
    int got;

    (void)joins_key(end, hour, 0);
    for (int i = 0; i < SWEEP_MAX; i++) {
        got = people_table_seek(txn, TABLE_JOINS, SPAN(""), &entry, err);
        if (got < 0)
            return -1;
        if (got == 0 || entry.key.bytes != sizeof end || memcmp(entry.key.at, end, sizeof end) >= 0)
            break;
        if (people_table_drop(txn, TABLE_JOINS, err) < 0)
            return -1;
    }
    return 0;
}

int people_joins_put(struct people_txn *txn, uint32_t hour, uint64_t person, uint64_t joins, struct err *err)
{
    uint8_t key[12], value[8];

    bytes_put_u64(value, joins);
    if (hour > HOURS_KEPT && joins_sweep(txn, hour - HOURS_KEPT, err) < 0)
        return -1;
    return people_table_put(txn, TABLE_JOINS, joins_key(key, hour, person), span_of(value, sizeof value), err);
}
