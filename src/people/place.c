/* people/place.c - ingest's place and its counters, one value.
 *
 *    at  bytes  field
 *     0      1  version (2)
 *     1      1  outputs
 *     2      2  counters
 *     4      4  crc32c of all that follows
 *     8      8  inputs
 *    16     8n  places in the inputs, then ends of the outputs, then counters
 * Version 1 had one input and did not count it: the place in `raw` stood at 8.
 * The counts are stored, so that a later Penstock with more of them reads an older value: what is missing is
 * zero. Fewer than were stored would forget something, and is refused. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/table.h"

enum {
    PLACE_VERSION_ONE_INPUT = 1,
    PLACE_VERSION = 2,
    PLACE_HEAD = 8,
    PLACE_BYTES = PLACE_HEAD + 8 * (1 + PEOPLE_INPUTS_MAX + PEOPLE_OUTPUTS_MAX + PEOPLE_COUNTERS_MAX)
};

static const uint8_t *numbers_get(const uint8_t *at, uint64_t *to, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++, at += 8)
        to[i] = bytes_get_u64(at);
    return at;
}

static uint8_t *numbers_put(uint8_t *at, const uint64_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++, at += 8)
        bytes_put_u64(at, from[i]);
    return at;
}

int people_place_read(struct span value, struct people_place *out, struct err *err)
{
    struct people_place place = { 0 };
    const uint8_t      *at = value.at + PLACE_HEAD;
    uint64_t            inputs = 1;
    unsigned            outputs, counters, version;

    if (value.bytes < PLACE_HEAD + 8)
        return err_set(err, ERR_CORRUPT, "people: the place is of no known form");
    version = value.at[0];
    if (version != PLACE_VERSION && version != PLACE_VERSION_ONE_INPUT)
        return version > PLACE_VERSION ? err_set(err, ERR_INPUT, "people: the place was written by a later Penstock")
                                       : err_set(err, ERR_CORRUPT, "people: the place is of no known form");
    if (crc32c(0, span_from(value, PLACE_HEAD)) != bytes_get_u32(value.at + 4))
        return err_set(err, ERR_CORRUPT, "people: the place is damaged");
    outputs = value.at[1];
    counters = bytes_get_u16(value.at + 2);
    if (version == PLACE_VERSION)
        at = numbers_get(at, &inputs, 1);
    if (inputs > PEOPLE_INPUTS_MAX || outputs > PEOPLE_OUTPUTS_MAX || counters > PEOPLE_COUNTERS_MAX)
        return err_set(err, ERR_INPUT, "people: the place was written by a later Penstock");
    if (value.bytes != (size_t)(at - value.at) + 8 * ((size_t)inputs + outputs + counters))
        return err_set(err, ERR_CORRUPT, "people: the place is damaged");
    at = numbers_get(at, place.input_next, inputs);
    at = numbers_get(at, place.output_end, outputs);
    (void)numbers_get(at, place.counters, counters);
    *out = place;
    return 0;
}

int people_place_get(struct people_txn *txn, struct people_place *out, struct err *err)
{
    struct span value;
    int         got = people_table_get(txn, TABLE_META, SPAN("place"), &value, err);

    if (got < 0)
        return -1;
    if (got > 0)
        return people_place_read(value, out, err);
    *out = (struct people_place){ .input_next = { 0 } };
    return 0;
}

int people_place_put(struct people_txn *txn, const struct people_place *place, struct err *err)
{
    const uint64_t inputs = PEOPLE_INPUTS_MAX;
    uint8_t        bytes[PLACE_BYTES];
    uint8_t       *at;

    bytes[0] = PLACE_VERSION;
    bytes[1] = PEOPLE_OUTPUTS_MAX;
    bytes_put_u16(bytes + 2, PEOPLE_COUNTERS_MAX);
    at = numbers_put(bytes + PLACE_HEAD, &inputs, 1);
    at = numbers_put(at, place->input_next, PEOPLE_INPUTS_MAX);
    at = numbers_put(at, place->output_end, PEOPLE_OUTPUTS_MAX);
    (void)numbers_put(at, place->counters, PEOPLE_COUNTERS_MAX);
    bytes_put_u32(bytes + 4, crc32c(0, span_of(bytes + PLACE_HEAD, sizeof bytes - PLACE_HEAD)));
    return people_table_put(txn, TABLE_META, SPAN("place"), span_of(bytes, sizeof bytes), err);
}
