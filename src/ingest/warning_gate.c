/* ingest/warning_gate.c - when which warning was last let through.
 *
 * A set-associative table of 64-bit hashes: fixed memory whatever strangers send, no list to walk. Two
 * keys with one hash would share an hour; with a seeded 64-bit hash nobody can aim at that. A batch that is
 * rolled back gives its passes back, or its warnings would be lost: each change is kept until commit. */
#include "ingest/warning.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "wire/time.h"

enum { GATE_WAYS = 4, GATE_SETS = 1 << 14 }; /* 65,536 keys, 1 MiB */

struct gate_entry {
    uint64_t hash; /* 0: free */
    int64_t  at_us;
};

struct gate_change {
    uint32_t          index;
    struct gate_entry before;
};

struct warning_gate {
    uint64_t            seed;
    struct gate_change *changes; /* of the batch that is not yet committed */
    size_t              change_count, change_room;
    struct gate_entry   entries[GATE_SETS * GATE_WAYS];
};

struct warning_gate *warning_gate_new(void)
{
    struct warning_gate *gate = calloc(1, sizeof *gate);

    if (gate != NULL && getrandom(&gate->seed, sizeof gate->seed, 0) != sizeof gate->seed)
        gate->seed = (uint64_t)(uintptr_t)gate;
    return gate;
}

void warning_gate_free(struct warning_gate *gate)
{
    if (gate == NULL)
        return;
    free(gate->changes);
    free(gate);
}

/* Remembers what entry `index` was. Without memory the change is simply not undone: an hour's silence. */
static void change_add(struct warning_gate *gate, uint32_t index)
{
    if (gate->change_count == gate->change_room) {
        size_t              room = gate->change_room == 0 ? 64 : gate->change_room * 2;
        struct gate_change *more = realloc(gate->changes, room * sizeof *more);

        if (more == NULL)
            return;
        gate->changes = more;
        gate->change_room = room;
    }
    gate->changes[gate->change_count++] = (struct gate_change){ index, gate->entries[index] };
}

bool warning_gate_pass(struct warning_gate *gate, uint32_t project, enum warning_type type, struct span key, int64_t now_us)
{
    uint64_t seed = gate->seed ^ ((uint64_t)project << 32 | (uint64_t)type);
    uint64_t hash = XXH3_64bits_withSeed(key.bytes > 0 ? (const void *)key.at : "", key.bytes, seed) | 1;
    uint32_t first = (uint32_t)(hash >> 32) % GATE_SETS * GATE_WAYS, oldest = first;

    if (warning_infos[type].rate == WARNING_ALWAYS)
        return true;
    for (uint32_t i = first; i < first + GATE_WAYS; i++) {
        struct gate_entry *entry = &gate->entries[i];

        if (entry->hash == hash) {
            if (now_us - entry->at_us < TIME_US_HOUR && now_us >= entry->at_us)
                return false;
            change_add(gate, i);
            entry->at_us = now_us;
            return true;
        }
        if (entry->hash == 0 ? gate->entries[oldest].hash != 0
                             : gate->entries[oldest].hash != 0 && entry->at_us < gate->entries[oldest].at_us)
            oldest = i;
    }
    change_add(gate, oldest);
    gate->entries[oldest] = (struct gate_entry){ hash, now_us };
    return true;
}

void warning_gate_commit(struct warning_gate *gate)
{
    gate->change_count = 0;
}

void warning_gate_abort(struct warning_gate *gate)
{
    while (gate->change_count > 0) {
        struct gate_change *change = &gate->changes[--gate->change_count];

        gate->entries[change->index] = change->before;
    }
}
