/* people/place.c - ingest's place and its counters, one value.
 *
 *    at  bytes  field
 *     0      1  version (1)
 *     1      1  outputs
 *     2      2  counters
 *     4      4  crc32c of all that follows
 *     8      8  raw_next
 *    16     8n  output ends, then counters
 * The counts are stored, so that a later Penstock with more outputs or counters reads an older value: what
 * is missing is zero. Fewer than were stored would forget something, and is refused. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/lmdb.h"

enum {
    PLACE_VERSION = 1,
    PLACE_HEAD = 8,
    PLACE_BYTES = PLACE_HEAD + 8 * (1 + PEOPLE_OUTPUTS_MAX + PEOPLE_COUNTERS_MAX)
};

int people_place_get(struct people_txn *txn, struct people_place *out, struct err *err)
{
    struct people_place place = { 0 };
    struct span value;
    const uint8_t *at;
    unsigned outputs, counters;
    int got = people_table_get(txn, TABLE_META, SPAN("place"), &value, err);

    if (got < 0)
        return -1;
    if (got == 0) {
        *out = place;
        return 0;
    }
    if (value.bytes < PLACE_HEAD || value.at[0] != PLACE_VERSION)
        return err_set(err, ERR_CORRUPT, "people: the place is of no known form");
    outputs = value.at[1];
    counters = bytes_get_u16(value.at + 2);
    if (value.bytes != PLACE_HEAD + 8 * (1 + (size_t)outputs + counters) ||
        crc32c(0, span_from(value, PLACE_HEAD)) != bytes_get_u32(value.at + 4))
        return err_set(err, ERR_CORRUPT, "people: the place is damaged");
    if (outputs > PEOPLE_OUTPUTS_MAX || counters > PEOPLE_COUNTERS_MAX)
        return err_set(err, ERR_INPUT, "people: the place was written by a later Penstock");
    at = value.at + PLACE_HEAD;
    place.raw_next = bytes_get_u64(at);
    at += 8;
    for (unsigned i = 0; i < outputs; i++, at += 8)
        place.output_end[i] = bytes_get_u64(at);
    for (unsigned i = 0; i < counters; i++, at += 8)
        place.counters[i] = bytes_get_u64(at);
    *out = place;
    return 0;
}

int people_place_put(struct people_txn *txn, const struct people_place *place, struct err *err)
{
    uint8_t bytes[PLACE_BYTES];
    uint8_t *at = bytes + PLACE_HEAD;

    bytes[0] = PLACE_VERSION;
    bytes[1] = PEOPLE_OUTPUTS_MAX;
    bytes_put_u16(bytes + 2, PEOPLE_COUNTERS_MAX);
    bytes_put_u64(at, place->raw_next);
    at += 8;
    for (unsigned i = 0; i < PEOPLE_OUTPUTS_MAX; i++, at += 8)
        bytes_put_u64(at, place->output_end[i]);
    for (unsigned i = 0; i < PEOPLE_COUNTERS_MAX; i++, at += 8)
        bytes_put_u64(at, place->counters[i]);
    bytes_put_u32(bytes + 4, crc32c(0, span_of(bytes + PLACE_HEAD, sizeof bytes - PLACE_HEAD)));
    return people_table_put(txn, TABLE_META, SPAN("place"), span_of(bytes, sizeof bytes), err);
}
