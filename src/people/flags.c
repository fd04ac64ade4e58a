/* people/flags.c - the hot keys whose records wait aside, one value: it changes with every batch that moves some.
 *
 *    at  bytes  field
 *     0      1  version (1)
 *     1      3  zero
 *     4      4  crc32c of all that follows
 *     8    16n  key, last
 */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/table.h"

enum { FLAGS_VERSION = 1, FLAGS_HEAD = 8, FLAG_BYTES = 16 };

int people_flags_read(struct span value, struct people_flag *out, size_t *count_out, struct err *err)
{
    size_t count;

    if (value.bytes < FLAGS_HEAD || value.at[0] != FLAGS_VERSION)
        return value.bytes > 0 && value.at[0] > FLAGS_VERSION
                   ? err_set(err, ERR_INPUT, "people: the hot keys were written by a later Penstock")
                   : err_set(err, ERR_CORRUPT, "people: the hot keys are of no known form");
    count = (value.bytes - FLAGS_HEAD) / FLAG_BYTES;
    if ((value.bytes - FLAGS_HEAD) % FLAG_BYTES != 0 || count > PEOPLE_FLAGS_MAX ||
        crc32c(0, span_from(value, FLAGS_HEAD)) != bytes_get_u32(value.at + 4))
        return err_set(err, ERR_CORRUPT, "people: the hot keys are damaged");
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = value.at + FLAGS_HEAD + i * FLAG_BYTES;

        out[i] = (struct people_flag){ .key = bytes_get_u64(at), .last = bytes_get_u64(at + 8) };
    }
    *count_out = count;
    return 0;
}

int people_flags_get(struct people_txn *txn, struct people_flag *out, size_t *count_out, struct err *err)
{
    struct span value;
    int         got = people_table_get(txn, TABLE_META, SPAN("flags"), &value, err);

    *count_out = 0;
    return got <= 0 ? got : people_flags_read(value, out, count_out, err);
}

int people_flags_put(struct people_txn *txn, const struct people_flag *flags, size_t count, struct err *err)
{
    uint8_t *value = people_table_reserve(txn, TABLE_META, SPAN("flags"), FLAGS_HEAD + count * FLAG_BYTES, err);

    if (value == NULL)
        return -1;
    memset(value, 0, FLAGS_HEAD);
    value[0] = FLAGS_VERSION;
    for (size_t i = 0; i < count; i++) {
        bytes_put_u64(value + FLAGS_HEAD + i * FLAG_BYTES, flags[i].key);
        bytes_put_u64(value + FLAGS_HEAD + i * FLAG_BYTES + 8, flags[i].last);
    }
    bytes_put_u32(value + 4, crc32c(0, span_of(value + FLAGS_HEAD, count * FLAG_BYTES)));
    return 0;
}
