/* people/visit.c - one table, in the order of days, so that what is old stands at its beginning.
 *
 * key      4 day (big-endian) · 1 kind · and then
 *     0 salt        nothing
 *     1 visit       4 project (big-endian) · 16 hash
 *     2 identifies  4 project · 16 hash
 *     3 identify    4 project · 16 hash · 16 id of the event
 * value    4 crc32c of the key and of what follows · and then
 *     0 salt        16 salt
 *     1 visit       16 session · 8 time of its last event, in milliseconds
 *     2 identifies  4 how many
 *     3 identify    nothing
 * A salt's bytes may stay in a page of the file that is free until the page is written again; the file is as secret
 * as the addresses in the log beside it. */
#include "people/visit.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/table.h"

enum { KIND_SALT, KIND_VISIT, KIND_IDENTIFIES, KIND_IDENTIFY };
enum { KEY_BYTES_MAX = 4 + 1 + 4 + VISIT_HASH_BYTES + 16, VALUE_BYTES_MAX = 4 + 24 };

struct key {
    uint8_t bytes[KEY_BYTES_MAX];
    size_t  count;
};

static void key_init(struct key *key, uint32_t day, int kind)
{
    day = __builtin_bswap32(day);
    memcpy(key->bytes, &day, 4);
    key->bytes[4] = (uint8_t)kind;
    key->count = 5;
}

static struct key key_of(uint32_t day, int kind, uint32_t project, const uint8_t *hash)
{
    struct key key;

    key_init(&key, day, kind);
    project = __builtin_bswap32(project);
    memcpy(key.bytes + 5, &project, 4);
    memcpy(key.bytes + 9, hash, VISIT_HASH_BYTES);
    key.count = 9 + VISIT_HASH_BYTES;
    return key;
}

static struct span key_span(const struct key *key)
{
    return span_of(key->bytes, key->count);
}

static uint32_t crc_of(const struct key *key, struct span body)
{
    return crc32c(crc32c(0, key_span(key)), body);
}

/* 1: *body_out holds `bytes` bytes; 0: not there; -1. */
static int value_get(struct people_txn *txn, const struct key *key, size_t bytes, struct span *body_out, struct err *err)
{
    struct span value;
    int         got = people_table_get(txn, TABLE_VISITS, key_span(key), &value, err);

    *body_out = SPAN("");
    if (got <= 0)
        return got;
    if (value.bytes != 4 + bytes || crc_of(key, span_from(value, 4)) != bytes_get_u32(value.at))
        return err_set(err, ERR_CORRUPT, "people: what is known of a cookieless visitor is damaged (its checksum is wrong)");
    *body_out = span_from(value, 4);
    return 1;
}

static int value_put(struct people_txn *txn, const struct key *key, const void *body, size_t bytes, struct err *err)
{
    uint8_t value[VALUE_BYTES_MAX];

    if (bytes > 0)
        memcpy(value + 4, body, bytes);
    bytes_put_u32(value, crc_of(key, span_of(value + 4, bytes)));
    return people_table_put(txn, TABLE_VISITS, key_span(key), span_of(value, 4 + bytes), err);
}

int people_salt(struct people_txn *txn, uint32_t day, const uint8_t fresh[VISIT_SALT_BYTES], uint8_t out[VISIT_SALT_BYTES],
                struct err *err)
{
    struct key  key;
    struct span body;
    int         got;

    key_init(&key, day, KIND_SALT);
    got = value_get(txn, &key, VISIT_SALT_BYTES, &body, err);
    if (got < 0 || (got == 0 && value_put(txn, &key, fresh, VISIT_SALT_BYTES, err) < 0))
        return -1;
    memcpy(out, got == 0 ? fresh : body.at, VISIT_SALT_BYTES);
    return 0;
}

int people_visit_get(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                     struct visit *out, struct err *err)
{
    struct key  key = key_of(day, KIND_VISIT, project, hash);
    struct span body;
    int         got = value_get(txn, &key, 24, &body, err);

    if (got <= 0)
        return got;
    memcpy(out->session.bytes, body.at, 16);
    out->last_ms = (int64_t)bytes_get_u64(body.at + 16);
    return 1;
}

int people_visit_put(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                     const struct visit *visit, struct err *err)
{
    struct key key = key_of(day, KIND_VISIT, project, hash);
    uint8_t    body[24];

    memcpy(body, visit->session.bytes, 16);
    bytes_put_u64(body + 16, (uint64_t)visit->last_ms);
    return value_put(txn, &key, body, sizeof body, err);
}

int people_identifies(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                      uint32_t *out, struct err *err)
{
    struct key  key = key_of(day, KIND_IDENTIFIES, project, hash);
    struct span body;
    int         got = value_get(txn, &key, 4, &body, err);

    if (got < 0)
        return -1;
    *out = got == 0 ? 0 : bytes_get_u32(body.at);
    return 0;
}

int people_identifies_add(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                          const struct uuid *event, uint32_t *others_out, struct err *err)
{
    struct key  key = key_of(day, KIND_IDENTIFY, project, hash);
    struct span ignored;
    uint8_t     count[4];
    int         got;

    memcpy(key.bytes + key.count, event->bytes, 16);
    key.count += 16;
    if (people_identifies(txn, day, project, hash, others_out, err) < 0)
        return -1;
    got = value_get(txn, &key, 0, &ignored, err);
    if (got != 0) {
        *others_out -= got > 0;
        return got < 0 ? -1 : 0;
    }
    if (value_put(txn, &key, NULL, 0, err) < 0)
        return -1;
    key = key_of(day, KIND_IDENTIFIES, project, hash);
    bytes_put_u32(count, *others_out + 1);
    return value_put(txn, &key, count, sizeof count, err);
}

/* --- forgetting -------------------------------------------------------------------------------- */

/* 1: the table's first entry is of an older day; 0: none is; -1. */
static int first_old(struct people_txn *txn, uint32_t first_day, struct err *err)
{
    struct people_entry entry;
    uint32_t            day;
    int                 got = people_table_seek(txn, TABLE_VISITS, SPAN(""), &entry, err);

    if (got <= 0)
        return got;
    if (entry.key.bytes < 5)
        return err_set(err, ERR_CORRUPT, "people: the key of a cookieless visitor has %zu bytes", entry.key.bytes);
    memcpy(&day, entry.key.at, 4);
    return __builtin_bswap32(day) < first_day;
}

int people_visits_old(struct people_txn *txn, uint32_t first_day, struct err *err)
{
    return first_old(txn, first_day, err);
}

int people_visits_forget(struct people_txn *txn, uint32_t first_day, size_t max, struct err *err)
{
    int old;

    while ((old = first_old(txn, first_day, err)) > 0 && max-- > 0)
        if (people_table_drop(txn, TABLE_VISITS, err) < 0) /* a day's salt is its first key */
            return -1;
    return old;
}
