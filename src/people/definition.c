/* people/definition.c - names in one table, in the order of project and kind.
 *
 * key      4 project (big-endian) · 1 kind · and then
 *     0 how many   nothing
 *     1 event      its name
 *     2 property   1 parent · 1 group + 1 · its name
 *     3 pair       1 bytes of the event's name · that name · the property's name
 * value    of events and properties:
 *    at  bytes  field
 *     0      1  version (1)
 *     1      1  type of a property
 *     2      2  zero
 *     4      4  crc32c of the key and of all else but the version
 *     8      8  created_us
 *    16      8  version of the definition
 *    24      8  last_seen_us of an event
 * how many: 0 1 version (1) · 1 3 zero · 4 4 crc32c as above · 8 12 how many there are of kinds 1, 2, 3
 * pair: nothing; that it is there says all */
#include "people/definition.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/table.h"

enum { KIND_COUNTS, KIND_EVENT, KIND_PROPERTY, KIND_PAIR, KIND_END };
enum { FORM = 1, KEY_HEAD = 5, EVENT_BYTES = 32, PROPERTY_BYTES = 24, COUNTS_BYTES = 8 + 4 * (KIND_END - 1), CRC_FROM = 8 };
_Static_assert(KEY_HEAD + 1 + 2 * DEFINITION_NAME_BYTES_MAX <= PEOPLE_KEY_BYTES_MAX, "a pair must fit into a key");

static const uint32_t counts_max[KIND_END] = {
    [KIND_EVENT] = DEFINITION_EVENTS_MAX, [KIND_PROPERTY] = DEFINITION_PROPERTIES_MAX, [KIND_PAIR] = DEFINITION_PAIRS_MAX
};

struct key {
    uint8_t bytes[PEOPLE_KEY_BYTES_MAX];
    size_t  count;
};

static void key_init(struct key *key, uint32_t project, int kind)
{
    project = __builtin_bswap32(project);
    memcpy(key->bytes, &project, 4);
    key->bytes[4] = (uint8_t)kind;
    key->count = KEY_HEAD;
}

static void key_byte(struct key *key, int byte)
{
    key->bytes[key->count++] = (uint8_t)byte;
}

static void key_name(struct key *key, struct span name)
{
    assert(name.bytes > 0 && name.bytes <= DEFINITION_NAME_BYTES_MAX);
    memcpy(key->bytes + key->count, name.at, name.bytes);
    key->count += name.bytes;
}

static struct span key_span(const struct key *key)
{
    return span_of(key->bytes, key->count);
}

static uint32_t crc_of(const struct key *key, struct span value)
{
    return crc32c(crc32c(crc32c(0, key_span(key)), span_of(value.at + 1, 3)), span_from(value, CRC_FROM));
}

/* 1: there, and whole; 0: not there; -1. */
static int value_get(struct people_txn *txn, const struct key *key, size_t bytes, struct span *out, struct err *err)
{
    int got = people_table_get(txn, TABLE_DEFINITIONS, key_span(key), out, err);

    if (got <= 0)
        return got;
    if (out->bytes != bytes || out->at[0] != FORM)
        return err_set(err, ERR_CORRUPT, "people: a definition is of no known form");
    if (crc_of(key, *out) != bytes_get_u32(out->at + 4))
        return err_set(err, ERR_CORRUPT, "people: a definition is damaged (its checksum is wrong)");
    return 1;
}

static int value_put(struct people_txn *txn, const struct key *key, uint8_t *value, size_t bytes, struct err *err)
{
    value[0] = FORM;
    bytes_put_u32(value + 4, crc_of(key, span_of(value, bytes)));
    return people_table_put(txn, TABLE_DEFINITIONS, key_span(key), span_of(value, bytes), err);
}

/* Counts one more of a kind. 1: there was room; 0: not; -1. */
static int count_add(struct people_txn *txn, uint32_t project, int kind, struct err *err)
{
    uint8_t     counts[COUNTS_BYTES] = { 0 };
    uint8_t    *at = counts + 8 + 4 * (kind - 1);
    struct key  key;
    struct span stored;
    int         got;

    key_init(&key, project, KIND_COUNTS);
    got = value_get(txn, &key, COUNTS_BYTES, &stored, err);
    if (got < 0)
        return -1;
    if (got > 0)
        memcpy(counts, stored.at, sizeof counts);
    if (bytes_get_u32(at) >= counts_max[kind])
        return 0;
    bytes_put_u32(at, bytes_get_u32(at) + 1);
    return value_put(txn, &key, counts, sizeof counts, err) < 0 ? -1 : 1;
}

/* Into value: what is stored, else a new one when there is room. The answer is DEFINITION_KNOWN for the former. */
static int value_begin(struct people_txn *txn, const struct key *key, uint32_t project, int kind, uint8_t *value, size_t bytes,
                       int64_t now_us, struct err *err)
{
    struct span stored;
    int         got = value_get(txn, key, bytes, &stored, err);

    if (got < 0)
        return -1;
    if (got > 0) {
        memcpy(value, stored.at, bytes);
        return DEFINITION_KNOWN;
    }
    got = count_add(txn, project, kind, err);
    if (got <= 0)
        return got < 0 ? -1 : DEFINITION_FULL;
    memset(value, 0, bytes);
    bytes_put_u64(value + 8, (uint64_t)now_us);
    return DEFINITION_CHANGED;
}

int people_define_event(struct people_txn *txn, uint32_t project, struct span name, int64_t last_seen_us, int64_t now_us,
                        struct definition *out, struct err *err)
{
    uint8_t    value[EVENT_BYTES];
    struct key key;
    int        answer;

    key_init(&key, project, KIND_EVENT);
    key_name(&key, name);
    answer = value_begin(txn, &key, project, KIND_EVENT, value, sizeof value, now_us, err);
    if (answer < 0 || answer == DEFINITION_FULL)
        return answer;
    if (answer == DEFINITION_KNOWN) {
        if ((int64_t)bytes_get_u64(value + 24) >= last_seen_us) /* T2 */
            return DEFINITION_KNOWN;
        bytes_put_u64(value + 16, bytes_get_u64(value + 16) + 1);
    }
    bytes_put_u64(value + 24, (uint64_t)last_seen_us);
    *out = (struct definition){ .created_us = (int64_t)bytes_get_u64(value + 8), .version = bytes_get_u64(value + 16),
                                .last_seen_us = last_seen_us };
    return value_put(txn, &key, value, sizeof value, err) < 0 ? -1 : DEFINITION_CHANGED;
}

int people_define_property(struct people_txn *txn, uint32_t project, enum definition_parent parent, int group,
                           struct span name, enum definition_type type, int64_t now_us, struct definition *out,
                           struct err *err)
{
    uint8_t    value[PROPERTY_BYTES];
    struct key key;
    int        answer;

    key_init(&key, project, KIND_PROPERTY);
    key_byte(&key, (int)parent);
    key_byte(&key, group + 1);
    key_name(&key, name);
    answer = value_begin(txn, &key, project, KIND_PROPERTY, value, sizeof value, now_us, err);
    if (answer < 0 || answer == DEFINITION_FULL)
        return answer;
    if (answer == DEFINITION_KNOWN) {
        if (type == DEFINITION_UNTYPED || value[1] != DEFINITION_UNTYPED) /* T1 */
            return DEFINITION_KNOWN;
        bytes_put_u64(value + 16, bytes_get_u64(value + 16) + 1);
    }
    value[1] = (uint8_t)type;
    *out = (struct definition){ .created_us = (int64_t)bytes_get_u64(value + 8), .version = bytes_get_u64(value + 16),
                                .type = type };
    return value_put(txn, &key, value, sizeof value, err) < 0 ? -1 : DEFINITION_CHANGED;
}

int people_define_pair(struct people_txn *txn, uint32_t project, struct span event, struct span property, struct err *err)
{
    struct key  key;
    struct span ignored;
    int         got;

    key_init(&key, project, KIND_PAIR);
    key_byte(&key, (int)event.bytes);
    key_name(&key, event);
    key_name(&key, property);
    got = people_table_get(txn, TABLE_DEFINITIONS, key_span(&key), &ignored, err);
    if (got != 0)
        return got < 0 ? -1 : DEFINITION_KNOWN;
    got = count_add(txn, project, KIND_PAIR, err);
    if (got <= 0)
        return got < 0 ? -1 : DEFINITION_FULL;
    return people_table_put(txn, TABLE_DEFINITIONS, key_span(&key), span_of("", 0), err) < 0 ? -1 : DEFINITION_CHANGED;
}
