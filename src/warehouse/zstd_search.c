/* warehouse/zstd_search.c - see the header.
 *
 * The engine compresses 2048 values of a column as one stream: some megabytes of JSON objects whose members are those of the
 * rows before. zstd's own search looks at nearly every byte for 5 to 7 equal ones and finds pieces of names and numbers; each
 * is a sequence that must be coded, and decoded. This one looks at quotes for 12 equal bytes, as that of the log does
 * (wire/lz4_pack.c), and finds whole members: fewer sequences, in less time. The numbers: docs/decisions/warehouse-duckdb.md.
 *
 * Blocks of a stream lie side by side in zstd's buffer, which holds the window and one block more, and begins anew at its start
 * when it is full. So a block that begins where the last one of the same stream ended can refer to all that stands before it;
 * any other begins with nothing. */
#include "warehouse/zstd_search.h"

#include <stdint.h>
#include <string.h>

#include "wire/json_repeat.h"

enum {
    MARK_BITS = 8, /* of a slot: of the hash, so that most places where nothing is equal need not be looked at, which are cold */
    PLACE_MAX = (1 << (32 - MARK_BITS)) - 1, /* 16 MiB: more than any window of ours */
    SLOT_BITS = 15, /* 14: 2 % larger, as fast; 16: as fast */
    TAIL_BYTES = 64 /* of a block, without a search: room to look ahead */
};

_Static_assert((int)TAIL_BYTES >= JSON_REPEAT_BYTES + JSON_REPEAT_PIECE && (int)TAIL_BYTES >= 1 + JSON_REPEAT_STEP,
               "looking ahead must stay inside");

/* @thread its own */
struct memory {
    void          *stream;
    const uint8_t *start, *end;           /* of what was seen of it, side by side */
    uint32_t       slots[1 << SLOT_BITS]; /* a place from start on, a mark; 0: looked at like any other */
};

static void memory_meet(struct memory *memory, void *stream, const uint8_t *block, size_t bytes)
{
    if (memory->stream != stream || memory->end != block || (size_t)(block - memory->start) + bytes > PLACE_MAX) {
        memory->stream = stream;
        memory->start = block;
        memset(memory->slots, 0, sizeof memory->slots);
    }
    memory->end = block + bytes;
}

size_t zstd_search(void *stream, struct zstd_sequence *out, size_t room, const void *block, size_t bytes, const void *dictionary,
                   size_t dictionary_bytes, int level, size_t window)
{
    static _Thread_local struct memory memory;
    const uint8_t                     *at = block, *literals = block, *end = at + bytes, *start;
    size_t                             count = 0;

    (void)dictionary;
    (void)level;
    if (dictionary_bytes > 0 || room == 0)
        return ZSTD_SEARCH_FAILED;
    memory_meet(&memory, stream, block, bytes);
    start = memory.start;
    if (at == start)
        at += bytes < 8 ? bytes : 8; /* json_repeat_before reads 8 bytes */
    while (bytes > TAIL_BYTES && at < end - TAIL_BYTES) {
        size_t         hash = json_repeat_slot(at, SLOT_BITS + MARK_BITS), back = 0;
        uint32_t       mark = hash & ((1u << MARK_BITS) - 1), *slot = &memory.slots[hash >> MARK_BITS], was = *slot;
        const uint8_t *match = start + (was >> MARK_BITS), *matched;

        *slot = (uint32_t)(at - start) << MARK_BITS | mark;
        if ((was & ((1u << MARK_BITS) - 1)) != mark || !json_repeat_equal(at, match) || (size_t)(at - match) > window) {
            at += 1 + json_repeat_quote(at + 1);
            continue;
        }
        if (at > literals && match - start >= 8)
            back = json_repeat_before(at, match, (size_t)(at - literals));
        matched = at + JSON_REPEAT_BYTES;
        while (matched < end - TAIL_BYTES) {
            unsigned equal = json_repeat_piece(matched, match + (matched - at));

            matched += equal;
            if (equal < JSON_REPEAT_PIECE)
                break;
        }
        if (count + 1 >= room)
            return ZSTD_SEARCH_FAILED;
        out[count++] = (struct zstd_sequence){ .offset = (unsigned)(at - match), .literals = (unsigned)(at - back - literals),
                                               .match = (unsigned)((size_t)(matched - at) + back) };
        at = literals = matched;
    }
    out[count++] = (struct zstd_sequence){ .literals = (unsigned)(end - literals) };
    return count;
}
