/* wire/lzstring.c - see lzstring.h. Written from how LZ-string behaves, and compared with it in
 * tests/differential.
 *
 * The stream: base64 digits give 6 bits each, highest first; numbers are read from those bits lowest
 * first. A number is 2 bits wide at first (3 after the first symbol) and grows as the dictionary does:
 *   0      a new unit of 8 bits follows          2   the end
 *   1      a new unit of 16 bits follows         n   entry n of the dictionary
 * After each symbol the dictionary gains "the text before, plus the first unit of this one".
 *
 * Every entry is a piece of what was already put out, so an entry is a place in `out` and a length; no
 * text is kept twice. Units are put out as if each were a code point of its own, surrogates as three
 * bytes each, because an entry may begin or end in the middle of a pair; the pairs are joined at the
 * end. `out` may for that while hold half as much again as its ceiling; the ceiling itself is counted
 * in joined bytes, on every symbol. A half without the other stays as long as it is: U+FFFD. */
#include "wire/lzstring.h"

#include <stdlib.h>

enum { CODE_UNIT8, CODE_UNIT16, CODE_END, CODE_FIRST_ENTRY };

/* The value of a base64 digit, plus one: 0 is everything else. */
static const uint8_t digits[256] = {
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* --- bits ---------------------------------------------------------------------------------------- */

struct bits {
    struct span text;
    size_t      next; /* digit to load */
    uint64_t    held; /* lowest bit is the next one */
    unsigned    count;
    uint64_t    used; /* bits given out */
};

static uint64_t digit_reversed(uint8_t value)
{
    uint64_t v = value;

    return (v & 1) << 5 | (v & 2) << 3 | (v & 4) << 1 | (v & 8) >> 1 | (v & 16) >> 3 | v >> 5;
}

/* width <= 32. Behind the text, and for padding, the bits are zero. */
static uint32_t bits_take(struct bits *bits, unsigned width)
{
    uint32_t number;

    while (bits->count < width) {
        uint8_t digit = bits->next < bits->text.bytes ? digits[bits->text.at[bits->next]] : 0;

        bits->next++;
        bits->held |= (digit > 0 ? digit_reversed((uint8_t)(digit - 1)) : 0) << bits->count;
        bits->count += 6;
    }
    number = (uint32_t)(bits->held & (((uint64_t)1 << width) - 1));
    bits->held >>= width;
    bits->count -= width;
    bits->used += width;
    return number;
}

/* The text ended without an end code. A code may borrow zero bits from behind the text (that is how
 * the last digit of a tightly cut stream still counts), but none may begin there. */
static bool bits_ended(const struct bits *bits)
{
    return bits->used / 6 >= bits->text.bytes;
}

/* --- dictionary ---------------------------------------------------------------------------------- */

struct entry {
    uint32_t at;         /* in out, from where this text began */
    uint32_t bytes;      /* surrogates counted as three */
    uint32_t surrogates; /* units that are half a pair */
};

struct lzstring {
    struct bits   bits;
    struct buf   *out;
    size_t        out_start;
    size_t        joined_bytes, joined_max; /* of this text, as UTF-8 */
    struct entry *entries;                  /* from CODE_FIRST_ENTRY on */
    size_t        count, size;
    unsigned      width;
    uint64_t      until_wider; /* dictionary additions left before codes get one bit more */
};

static int full(const struct lzstring *lz, struct err *err)
{
    return err_set(err, ERR_FULL, "lz64: more than %zu bytes when decompressed", lz->joined_max);
}

static int broken(struct err *err)
{
    return err_set(err, ERR_INPUT, "failed decompress to UTF16");
}

static int dictionary_add(struct lzstring *lz, struct entry entry, struct err *err)
{
    if (lz->count == lz->size) {
        size_t        size = lz->size == 0 ? 256 : lz->size * 2;
        struct entry *entries = realloc(lz->entries, size * sizeof *entries);

        lz->out->denied |= entries == NULL;
        if (entries == NULL)
            return err_set(err, ERR_FULL, "lz64: no memory for %zu dictionary entries", size);
        lz->entries = entries;
        lz->size = size;
    }
    lz->entries[lz->count++] = entry;
    if (--lz->until_wider == 0)
        lz->until_wider = (uint64_t)1 << lz->width++;
    return 0;
}

/* Room in out for an entry of this shape, or NULL. */
static uint8_t *emit_room(struct lzstring *lz, struct entry shape, struct err *err)
{
    uint8_t *to;

    if (shape.bytes - shape.surrogates > lz->joined_max - lz->joined_bytes) {
        full(lz, err);
        return NULL;
    }
    to = buf_reserve(lz->out, shape.bytes);
    if (to == NULL) {
        full(lz, err);
        return NULL;
    }
    lz->out->bytes += shape.bytes;
    lz->joined_bytes += shape.bytes - shape.surrogates;
    return to;
}

static int emit_unit(struct lzstring *lz, uint32_t unit, struct entry *entry_out, struct err *err)
{
    struct entry entry = { .at = (uint32_t)(lz->out->bytes - lz->out_start),
                           .bytes = unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3,
                           .surrogates = (unit & 0xf800) == 0xd800 };
    uint8_t     *to = emit_room(lz, entry, err);

    if (to == NULL)
        return -1;
    if (entry.bytes == 1)
        to[0] = (uint8_t)unit;
    else if (entry.bytes == 2) {
        to[0] = (uint8_t)(0xc0 | unit >> 6);
        to[1] = (uint8_t)(0x80 | (unit & 0x3f));
    } else {
        to[0] = (uint8_t)(0xe0 | unit >> 12);
        to[1] = (uint8_t)(0x80 | (unit >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (unit & 0x3f));
    }
    *entry_out = entry;
    return 0;
}

/* Puts the entry out again; what comes of it is a place like any other. */
static int emit_entry(struct lzstring *lz, struct entry *entry, struct err *err)
{
    uint8_t *to = emit_room(lz, *entry, err);

    if (to == NULL)
        return -1;
    memcpy(to, lz->out->at + lz->out_start + entry->at, entry->bytes);
    entry->at = (uint32_t)((size_t)(to - lz->out->at) - lz->out_start);
    return 0;
}

/* text plus the first unit of `next`. Whenever this is called, next stands right behind text in out. */
static struct entry entry_joined(const struct lzstring *lz, struct entry text, struct entry next)
{
    uint8_t first = lz->out->at[lz->out_start + next.at];
    uint8_t second = first < 0x80 ? 0 : lz->out->at[lz->out_start + next.at + 1];

    text.bytes += first < 0x80 ? 1 : first < 0xe0 ? 2 : 3;
    text.surrogates += first == 0xed && second >= 0xa0;
    return text;
}

/* One symbol: puts it out, and adds to the dictionary what it says about the one before. */
static int step(struct lzstring *lz, uint32_t code, struct entry *before, struct err *err)
{
    struct entry now;

    if (code == CODE_UNIT8 || code == CODE_UNIT16) {
        uint32_t unit = bits_take(&lz->bits, code == CODE_UNIT8 ? 8 : 16);

        if (emit_unit(lz, unit, &now, err) < 0 || dictionary_add(lz, now, err) < 0)
            return -1;
    } else if (code - CODE_FIRST_ENTRY < lz->count) {
        now = lz->entries[code - CODE_FIRST_ENTRY];
        if (emit_entry(lz, &now, err) < 0)
            return -1;
    } else if (code - CODE_FIRST_ENTRY == lz->count) {
        /* The entry that this very symbol completes: the text before and its own first unit. */
        struct entry again = entry_joined(lz, *before, *before);
        struct entry first = { before->at, again.bytes - before->bytes, again.surrogates - before->surrogates };

        now = *before;
        if (emit_entry(lz, &now, err) < 0 || emit_entry(lz, &first, err) < 0)
            return -1;
        now.bytes = again.bytes;
        now.surrogates = again.surrogates;
    } else
        return broken(err);
    if (dictionary_add(lz, entry_joined(lz, *before, now), err) < 0)
        return -1;
    *before = now;
    return 0;
}

static int text_decode(struct lzstring *lz, struct err *err)
{
    uint32_t     code = bits_take(&lz->bits, 2);
    struct entry before;

    if (code == CODE_END)
        return 0;
    if (code > CODE_END)
        return broken(err);
    if (emit_unit(lz, bits_take(&lz->bits, code == CODE_UNIT8 ? 8 : 16), &before, err) < 0)
        return -1;
    lz->width = 3;
    lz->until_wider = 5; /* the first entry below does not count */
    if (dictionary_add(lz, before, err) < 0)
        return -1;
    for (;;) {
        if (bits_ended(&lz->bits))
            return broken(err);
        code = bits_take(&lz->bits, lz->width);
        if (code == CODE_END)
            return 0;
        if (step(lz, code, &before, err) < 0)
            return -1;
    }
}

/* --- surrogates ---------------------------------------------------------------------------------- */

static uint32_t unit_of(const uint8_t *at)
{
    return (at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
}

/* Joins the pairs in place: 3 + 3 bytes become 4. What is no pair was counted as half a one. */
static int pairs_join(struct lzstring *lz, struct err *err)
{
    struct span    text = span_from(buf_span(lz->out), lz->out_start);
    const uint8_t *from = text.bytes > 0 ? memchr(text.at, 0xed, text.bytes) : NULL, *end;
    uint8_t       *to;

    if (from == NULL)
        return 0;
    end = text.at + text.bytes;
    for (to = lz->out->at + (from - lz->out->at); from < end;) {
        uint32_t high, low, point;

        if (from[0] != 0xed || from[1] < 0xa0) {
            *to++ = *from++;
            continue;
        }
        high = unit_of(from);
        low = end - from >= 6 && from[3] == 0xed ? unit_of(from + 3) : 0;
        if (high >= 0xdc00 || low < 0xdc00 || low > 0xdfff) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            from += 3;
            continue;
        }
        point = 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff));
        *to++ = (uint8_t)(0xf0 | point >> 18);
        *to++ = (uint8_t)(0x80 | (point >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (point & 0x3f));
        from += 6;
    }
    lz->out->bytes = (size_t)(to - lz->out->at);
    return lz->out->bytes - lz->out_start > lz->joined_max ? full(lz, err) : 0;
}

/* Base64 digits, then up to three `=`: LZ-string itself pads with as many. */
static bool text_is_base64(struct span text)
{
    size_t count = text.bytes;

    while (count > 0 && text.bytes - count < 3 && text.at[count - 1] == '=')
        count--;
    for (size_t i = 0; i < count; i++)
        if (digits[text.at[i]] == 0)
            return false;
    return count > 0;
}

int lzstring_decode_base64(struct span text, struct buf *out, struct err *err)
{
    size_t          bytes_max = out->bytes_max, bytes_before = out->bytes;
    size_t          room = bytes_max - out->bytes;
    struct lzstring lz = { .bits.text = text, .out = out, .out_start = out->bytes };
    int             rc;

    if (text.bytes > INT32_MAX)
        return err_set(err, ERR_FULL, "lz64: %zu bytes of text", text.bytes);
    if (!text_is_base64(text))
        return broken(err);
    lz.joined_max = room > INT32_MAX ? INT32_MAX : room; /* places are 32 bits wide */
    out->bytes_max = out->bytes + lz.joined_max + lz.joined_max / 2;
    rc = text_decode(&lz, err);
    if (rc == 0)
        rc = pairs_join(&lz, err);
    free(lz.entries);
    out->bytes_max = bytes_max;
    if (rc < 0) {
        out->bytes = bytes_before;
        out->failed = false;
    }
    if (out->size > bytes_max) {
        uint8_t *at = realloc(out->at, bytes_max > 0 ? bytes_max : 1);

        if (at != NULL) {
            out->at = at;
            out->size = bytes_max;
        }
    }
    return rc;
}
