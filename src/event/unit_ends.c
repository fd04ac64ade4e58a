/* event/unit_ends.c - see unit_ends.h. */
#include "event/unit_ends.h"

#include <inttypes.h>

void unit_ends_add(struct buf *text, const struct unit_ends *ends, size_t count)
{
    buf_add_format(text, "%s%" PRIu32, text->bytes > 0 ? ";" : "", ends->unit);
    for (size_t i = 0; i < count; i++)
        buf_add_format(text, "%c%" PRIu64, i == 0 ? ':' : ',', ends->end[i]);
}

/* Digits, at least one, and no more than a number has. */
static bool number_take(struct span *text, uint64_t *out)
{
    size_t bytes = 0;

    *out = 0;
    while (bytes < text->bytes && text->at[bytes] >= '0' && text->at[bytes] <= '9') {
        unsigned digit = text->at[bytes] - (unsigned)'0';

        if (*out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
        bytes++;
    }
    *text = span_from(*text, bytes);
    return bytes > 0;
}

static bool byte_take(struct span *text, uint8_t byte)
{
    if (text->bytes == 0 || text->at[0] != byte)
        return false;
    *text = span_from(*text, 1);
    return true;
}

int unit_ends_next(struct span *text, struct unit_ends *out, struct err *err)
{
    uint64_t unit;
    size_t   count = 0;

    *out = (struct unit_ends){ .unit = 0 };
    if (text->bytes == 0)
        return 0;
    if (!number_take(text, &unit) || unit > UINT32_MAX || !byte_take(text, ':'))
        return err_set(err, ERR_CORRUPT, "an order to erase does not say where the units are");
    out->unit = (uint32_t)unit;
    do {
        if (count == UNIT_ENDS_MAX || !number_take(text, &out->end[count++]))
            return err_set(err, ERR_CORRUPT, "an order to erase does not say where the units are");
    } while (byte_take(text, ','));
    if (text->bytes > 0 && (!byte_take(text, ';') || text->bytes == 0))
        return err_set(err, ERR_CORRUPT, "an order to erase does not say where the units are");
    return 1;
}
