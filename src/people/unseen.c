/* people/unseen.c - ids of events that were noted as seen before the event was set aside.
 *
 * Whether a merge is too large is known only when the persons are looked at, and by then the event's id is noted: the
 * notes are append-only (seen.c), nothing is taken out of them. So what comes again and must not be a repeat stands here;
 * it is rare, and costs nothing but for events that are repeats.
 *   under project (u32) and uuid (16), big-endian: u32 day
 * An entry lives as long as the note that it takes back. Each put looks at its neighbours for old ones, a few more than it
 * adds: ids are random, so all are looked at in time. */
#include "base/bytes.h"
#include "people/table.h"

enum { UNSEEN_KEY_BYTES = 20, SWEEP_EACH = 4 };

static struct span unseen_key(uint8_t to[UNSEEN_KEY_BYTES], uint32_t project, const struct uuid *uuid)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(project >> (24 - 8 * i));
    memcpy(to + 4, uuid->bytes, 16);
    return span_of(to, UNSEEN_KEY_BYTES);
}

/* Deletes old ones of the next few, round the end to the begin. */
static int unseen_sweep(struct people_txn *txn, struct span from, uint32_t day, struct err *err)
{
    struct people_entry entry;
    int got = people_table_seek(txn, TABLE_UNSEEN, from, &entry, err);

    for (int i = 0; i < SWEEP_EACH && got >= 0; i++) {
        if (got == 0 && (got = people_table_seek(txn, TABLE_UNSEEN, SPAN(""), &entry, err)) != 1)
            break; /* there is none */
        if ((entry.value.bytes != 4 || bytes_get_u32(entry.value.at) + PEOPLE_SEEN_DAYS < day) &&
            people_table_drop(txn, TABLE_UNSEEN, err) < 0)
            return -1;
        got = people_table_next(txn, TABLE_UNSEEN, &entry, err);
    }
    return got < 0 ? -1 : 0;
}

int people_unseen_put(struct people_txn *txn, uint32_t project, const struct uuid *uuid, int32_t day, struct err *err)
{
    uint8_t key[UNSEEN_KEY_BYTES], value[4];
    uint32_t today = day < 0 ? 0 : (uint32_t)day;

    bytes_put_u32(value, today);
    if (unseen_sweep(txn, unseen_key(key, project, uuid), today, err) < 0)
        return -1;
    return people_table_put(txn, TABLE_UNSEEN, unseen_key(key, project, uuid), span_of(value, sizeof value), err);
}

int people_unseen_take(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct err *err)
{
    uint8_t key[UNSEEN_KEY_BYTES];

    return people_table_delete(txn, TABLE_UNSEEN, unseen_key(key, project, uuid), err);
}
