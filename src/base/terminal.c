/* base/terminal.c - see terminal.h. */
#include "base/terminal.h"

static bool is_more(struct span text, size_t at)
{
    return at < text.bytes && (text.at[at] & 0xc0) == 0x80;
}

/* C1; of writing directions the marks, embeddings, overrides and isolates; and the ends of lines and paragraphs beside them. */
static bool is_obeyed(uint32_t point)
{
    return (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e || point == 0x200f ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

bool terminal_obeys(struct span text, uint32_t *point_out, size_t *bytes_out)
{
    uint32_t first = text.bytes > 0 ? text.at[0] : ' ';

    *point_out = first;
    *bytes_out = 1;
    if (first < 0x20 || first == 0x7f)
        return true;
    if ((first & 0xe0) == 0xc0 && is_more(text, 1)) {
        *point_out = (first & 0x1f) << 6 | (text.at[1] & 0x3fu);
        *bytes_out = 2;
    } else if ((first & 0xf0) == 0xe0 && is_more(text, 1) && is_more(text, 2)) {
        *point_out = (first & 0xf) << 12 | (text.at[1] & 0x3fu) << 6 | (text.at[2] & 0x3fu);
        *bytes_out = 3;
    }
    return is_obeyed(*point_out) && *bytes_out > 1;
}

void terminal_write_json(struct buf *out, struct span text)
{
    size_t   from = 0, bytes;
    uint32_t point;

    for (size_t at = 0; at < text.bytes; at += bytes) {
        if (!terminal_obeys(span_from(text, at), &point, &bytes) || point < 0x7f)
            continue;
        buf_add(out, span_of(text.at + from, at - from));
        buf_add_format(out, "\\u%04x", (unsigned)point);
        from = at + bytes;
    }
    buf_add(out, span_from(text, from));
}
