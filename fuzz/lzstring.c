/* fuzz/lzstring.c - LZ-string from strangers: what comes out is UTF-8, its ceiling is exact to the byte. And
 * any UTF-16 packed by the small encoder below comes back, with U+FFFD for what is half of a pair. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/lzstring.h"
#include "wire/utf8.h"

enum { CAP = 100000, UNITS_MAX = 400 };

static void as_it_came(struct span text)
{
    struct err err = { 0 };
    struct buf out;
    size_t     exact;

    buf_init(&out, CAP);
    if (lzstring_decode_base64(text, &out, &err) < 0) {
        MUST(err.kind == ERR_INPUT || err.kind == ERR_FULL);
        MUST(out.bytes == 0 && !out.failed);
        buf_fini(&out);
        return;
    }
    MUST(utf8_valid(buf_span(&out)) && out.size <= CAP);
    exact = out.bytes;
    buf_fini(&out);
    buf_init(&out, exact);
    MUST(lzstring_decode_base64(text, &out, &err) == 0 && out.bytes == exact);
    buf_fini(&out);
    if (exact == 0)
        return;
    buf_init(&out, exact - 1);
    MUST(lzstring_decode_base64(text, &out, &err) < 0 && err.kind == ERR_FULL);
    buf_fini(&out);
}

/* --- an encoder: slow and plain --- */

struct packer {
    char     text[20000];
    size_t   bytes, bits;
    unsigned digit;
};

static void put(struct packer *packer, unsigned number, unsigned width)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (unsigned i = 0; i < width; i++) {
        packer->digit = (packer->digit << 1 | (number >> i & 1)) & 63;
        if (++packer->bits % 6 == 0)
            packer->text[packer->bytes++] = digits[packer->digit];
    }
}

struct piece {
    size_t at, count;
};

/* The decoder's dictionary, and how wide its codes are, as it will be when each symbol is read. */
static void pack(const uint16_t *units, size_t count, struct packer *packer)
{
    static struct piece entries[4 * UNITS_MAX + 8];
    size_t              entry_count = 0;
    unsigned            width = 2, left = 1;
    struct piece        before = { 0, 0 };

    for (size_t at = 0; at < count;) {
        struct piece best = { at, 0 };
        size_t       best_entry = 0;

        for (size_t i = 0; i < entry_count; i++)
            if (entries[i].count > best.count && entries[i].count <= count - at &&
                memcmp(units + entries[i].at, units + at, entries[i].count * sizeof *units) == 0) {
                best.count = entries[i].count;
                best_entry = i;
            }
        if (best.count > 0)
            put(packer, (unsigned)best_entry + 3, width);
        else {
            best.count = 1;
            put(packer, units[at] >= 256, width);
            put(packer, units[at], units[at] < 256 ? 8 : 16);
            entries[entry_count++] = best;
            if (before.count == 0)
                width = 3, left = 4;
            else if (--left == 0)
                left = 1u << width++;
        }
        if (before.count > 0) {
            entries[entry_count++] = (struct piece){ before.at, before.count + 1 };
            if (--left == 0)
                left = 1u << width++;
        }
        before = best;
        at += best.count;
    }
    put(packer, 2, width);
    put(packer, 0, 6);
}

static void as_text(const uint8_t *data, size_t bytes)
{
    static struct packer packer;
    static uint16_t      units[UNITS_MAX];
    size_t               count = bytes / 2 < UNITS_MAX ? bytes / 2 : UNITS_MAX;
    struct err           err = { 0 };
    struct buf           want, out;

    buf_init(&want, CAP);
    buf_init(&out, CAP);
    memcpy(units, data, count * sizeof *units);
    for (size_t i = 0; i < count; i++) {
        uint32_t point = units[i];
        uint8_t  utf8[4];

        if (point >= 0xd800 && point < 0xdc00 && i + 1 < count && units[i + 1] >= 0xdc00 && units[i + 1] < 0xe000)
            point = 0x10000 + ((point & 0x3ff) << 10 | (units[++i] & 0x3ffu));
        else if (point >= 0xd800 && point < 0xe000)
            point = 0xfffd;
        buf_add(&want, span_of(utf8, utf8_put(point, utf8)));
    }
    packer = (struct packer){ .bytes = 0 };
    pack(units, count, &packer);
    MUST(lzstring_decode_base64(span_of(packer.text, packer.bytes), &out, &err) == 0);
    MUST(span_equal(buf_span(&out), buf_span(&want)));
    buf_fini(&want);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    as_it_came(span_of(data, bytes));
    as_text(data, bytes);
    return 0;
}
