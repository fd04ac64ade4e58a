/* log/steady.c - see steady.h.
 *
 * Why each jump has its place, and not one sum for all: a sum would either be forgotten at some moment, and everything from before
 * the jump be old at once, or never, and what is stamped after it be kept for as long as the clock once jumped. */
#include "log/steady.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

enum { STEADY_HEAD_BYTES = 88, STEADY_CRC_AT = 84, STEADY_TRIES = 64, JUMP_BYTES = 16 };
_Static_assert(STEADY_HEAD_BYTES + STEADY_JUMPS_MAX * JUMP_BYTES <= HEAD_NOTE_BYTES, "all jumps fit into the head's page");

static uint32_t steady_crc(const uint8_t *bytes, uint32_t count)
{
    uint32_t crc = crc32c(0, span_of(bytes, STEADY_CRC_AT));

    return crc32c(crc, span_of(bytes + STEADY_HEAD_BYTES, (size_t)count * JUMP_BYTES));
}

static bool steady_get(const uint8_t *bytes, uint64_t id, struct steady *out)
{
    uint32_t count = bytes_get_u32(bytes + 68);

    if (bytes_get_u64(bytes) != id || bytes_get_u64(bytes + 24) == 0 || count > STEADY_JUMPS_MAX ||
        bytes_get_u32(bytes + STEADY_CRC_AT) != steady_crc(bytes, count))
        return false;
    *out = (struct steady){ .wall_us = (int64_t)bytes_get_u64(bytes + 8), .boot_us = (int64_t)bytes_get_u64(bytes + 16),
                            .boot_id = bytes_get_u64(bytes + 24), .lag_us = (int64_t)bytes_get_u64(bytes + 32),
                            .jumped_us = (int64_t)bytes_get_u64(bytes + 40), .held_bytes = bytes_get_u64(bytes + 48),
                            .held_us = (int64_t)bytes_get_u64(bytes + 56), .held_segments = bytes_get_u32(bytes + 64),
                            .base = bytes_get_u64(bytes + 72), .count = count };
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = bytes + STEADY_HEAD_BYTES + (size_t)i * JUMP_BYTES;

        out->jumps[i] = (struct steady_jump){ bytes_get_u64(at), (int64_t)bytes_get_u64(at + 8) };
    }
    return true;
}

bool steady_load(const struct head *head, uint64_t id, struct steady *out)
{
    uint8_t bytes[HEAD_NOTE_BYTES];

    for (int i = 0; i < STEADY_TRIES; i++) { /* one that is just being written is tried again */
        head_note_get(head, bytes);
        if (steady_get(bytes, id, out))
            return true;
    }
    *out = (struct steady){ .jumped_us = INT64_MIN };
    return false;
}

void steady_store(struct head *head, uint64_t id, const struct steady *steady)
{
    uint8_t bytes[HEAD_NOTE_BYTES] = { 0 };

    bytes_put_u64(bytes, id);
    bytes_put_u64(bytes + 8, (uint64_t)steady->wall_us);
    bytes_put_u64(bytes + 16, (uint64_t)steady->boot_us);
    bytes_put_u64(bytes + 24, steady->boot_id);
    bytes_put_u64(bytes + 32, (uint64_t)steady->lag_us);
    bytes_put_u64(bytes + 40, (uint64_t)steady->jumped_us);
    bytes_put_u64(bytes + 48, steady->held_bytes);
    bytes_put_u64(bytes + 56, (uint64_t)steady->held_us);
    bytes_put_u32(bytes + 64, steady->held_segments);
    bytes_put_u32(bytes + 68, steady->count);
    bytes_put_u64(bytes + 72, steady->base);
    for (uint32_t i = 0; i < steady->count; i++) {
        uint8_t *at = bytes + STEADY_HEAD_BYTES + (size_t)i * JUMP_BYTES;

        bytes_put_u64(at, steady->jumps[i].base);
        bytes_put_u64(at + 8, (uint64_t)steady->jumps[i].us);
    }
    bytes_put_u32(bytes + STEADY_CRC_AT, steady_crc(bytes, steady->count));
    head_note_put(head, bytes);
}

void steady_begin(struct steady *steady, int64_t wall_us)
{
    *steady = (struct steady){ .wall_us = wall_us, .jumped_us = INT64_MIN };
}

static void jump_add(struct steady *steady, uint64_t base, int64_t us)
{
    struct steady_jump *last = steady->count > 0 ? &steady->jumps[steady->count - 1] : NULL;

    if (last != NULL && last->base >= base) { /* it may be of the same moment */
        last->us += us;
        if (last->us == 0)
            steady->count--;
        return;
    }
    if (steady->count == STEADY_JUMPS_MAX)
        memmove(steady->jumps, steady->jumps + 1, --steady->count * sizeof *steady->jumps);
    steady->jumps[steady->count++] = (struct steady_jump){ base, us };
}

int64_t steady_look(struct steady *steady, const struct steady_now *now, uint64_t base)
{
    uint64_t sealed_below = steady->base; /* surely before a jump that this look sees */
    bool     known = steady->boot_id != 0, same = steady->boot_id == now->boot_id && now->boot_us >= steady->boot_us;
    int64_t  jump_us = now->wall_us - steady->wall_us - (same ? now->boot_us - steady->boot_us : 0);

    if (jump_us > -STEADY_JUMP_US && jump_us < STEADY_JUMP_US)
        jump_us = 0;
    steady->wall_us = now->wall_us;
    steady->boot_us = now->boot_us;
    steady->boot_id = now->boot_id;
    steady->base = base;
    if (jump_us == 0)
        return 0;
    if (known)
        steady->lag_us += jump_us;
    if (jump_us >= STEADY_NOTABLE_US)
        steady->jumped_us = steady_us(steady);
    jump_add(steady, jump_us > 0 ? base : sealed_below, jump_us);
    return jump_us;
}

int64_t steady_us(const struct steady *steady)
{
    return steady->wall_us - steady->lag_us;
}

int64_t steady_moved_us(const struct steady *steady, uint64_t base)
{
    int64_t moved_us = 0;

    for (uint32_t i = steady->count; i-- > 0 && steady->jumps[i].base >= base;)
        moved_us += steady->jumps[i].us;
    return moved_us;
}

void steady_forget(struct steady *steady, uint64_t base)
{
    uint32_t gone = 0;

    while (gone < steady->count && steady->jumps[gone].base <= base)
        gone++;
    if (gone > 0)
        memmove(steady->jumps, steady->jumps + gone, (steady->count -= gone) * sizeof *steady->jumps);
}

void steady_confirm(struct steady *steady)
{
    struct steady_jump kept[STEADY_JUMPS_MAX];
    uint32_t           count = 0;
    int64_t            moved_us = 0, after_us = 0; /* as they were, and as they will be, from the newest back */

    for (uint32_t i = steady->count; i-- > 0;) {
        int64_t wanted_us;

        moved_us += steady->jumps[i].us;
        wanted_us = moved_us < 0 ? moved_us : 0;
        if (wanted_us != after_us)
            kept[count++] = (struct steady_jump){ steady->jumps[i].base, wanted_us - after_us };
        after_us = wanted_us;
    }
    for (uint32_t i = 0; i < count; i++)
        steady->jumps[i] = kept[count - 1 - i];
    steady->count = count;
    steady->jumped_us = INT64_MIN;
    steady->held_bytes = steady->held_segments = 0;
    steady->held_us = 0;
}
