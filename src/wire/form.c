/* wire/form.c - see form.h.
 *
 * Fields stay encoded until somebody wants one: the payload of a form is most of a request, and it is
 * decoded once, straight into the buffer where it is needed. Names are compared decoded (`d%61ta` is
 * `data`), because that is what every other form parser understands. */
#include "wire/form.h"

enum { FORM_LOOK_BYTES = 128 }; /* docs: how a body is recognised */

bool form_next(struct span *at, struct form_field *out)
{
    while (at->bytes > 0) {
        const uint8_t *and = memchr(at->at, '&', at->bytes);
        struct span    piece = { at->at, and == NULL ? at->bytes : (size_t)(and - at->at) };
        const uint8_t *equals;

        *at = span_from(*at, piece.bytes + (and != NULL));
        if (piece.bytes == 0)
            continue; /* `a=1&&b=2`: an empty piece is no field (WHATWG URL §5.1) */
        equals = memchr(piece.at, '=', piece.bytes);
        out->name_raw = piece;
        out->value_raw = span_of(piece.at + piece.bytes, 0);
        if (equals != NULL) {
            out->name_raw.bytes = (size_t)(equals - piece.at);
            out->value_raw = span_from(piece, out->name_raw.bytes + 1);
        }
        return true;
    }
    return false;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that raw begins with, decoded, and how many raw bytes it takes; -1 for a broken escape. */
static int first_decoded(struct span raw, size_t *used_out)
{
    int high, low;

    *used_out = 1;
    if (raw.at[0] == '+')
        return ' ';
    if (raw.at[0] != '%')
        return raw.at[0];
    if (raw.bytes < 3)
        return -1;
    high = hex_value(raw.at[1]);
    low = hex_value(raw.at[2]);
    *used_out = 3;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool form_text_is(struct span raw, const char *text)
{
    for (size_t used; raw.bytes > 0; raw = span_from(raw, used), text++)
        if (*text == '\0' || first_decoded(raw, &used) != (uint8_t)*text)
            return false;
    return *text == '\0';
}

bool form_find(struct span text, const char *name, struct span *value_raw_out)
{
    struct form_field field;

    while (form_next(&text, &field))
        if (form_text_is(field.name_raw, name)) {
            *value_raw_out = field.value_raw;
            return true;
        }
    return false;
}

/* Of what has no broken escape; more than enough for the bytes before one. */
static size_t decoded_bytes(struct span raw)
{
    size_t bytes = 0;

    for (size_t i = 0; i < raw.bytes; i += raw.at[i] == '%' ? 3 : 1)
        bytes++;
    return bytes;
}

bool form_decode(struct span raw, struct buf *out)
{
    uint8_t *to = buf_reserve(out, decoded_bytes(raw));
    uint8_t *start = to;

    if (to == NULL)
        return raw.bytes == 0 && !out->failed; /* nothing to write, and nowhere yet */
    while (raw.bytes > 0) {
        size_t used;
        int    byte = first_decoded(raw, &used);

        if (byte < 0)
            return false;
        *to++ = (uint8_t)byte;
        raw = span_from(raw, used);
    }
    out->bytes += (size_t)(to - start);
    return true;
}

bool form_looks(struct span body)
{
    static const struct span keys[] = {
        { (const uint8_t *)"data=", 5 },
        { (const uint8_t *)"_=", 2 },
        { (const uint8_t *)"ip=", 3 },
        { (const uint8_t *)"compression=", 12 },
    };

    for (size_t i = 0; i < body.bytes && i < FORM_LOOK_BYTES; i++)
        if (i == 0 || body.at[i - 1] == '&')
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
                if (span_starts(span_from(body, i), keys[k]))
                    return true;
    return false;
}
