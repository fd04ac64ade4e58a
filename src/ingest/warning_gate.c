/* ingest/warning_gate.c - when which warning was last let through.
 *
 * A set-associative table of 64-bit hashes: fixed memory whatever strangers send, no list to walk. Two
 * keys with one hash would share an hour; with a seeded 64-bit hash nobody can aim at that. A batch that is
 * rolled back gives its passes back, or its warnings would be lost: each change is kept until commit.
 *
 * What is committed is also written into a file that is mapped (DIR/run/ingest.warned), so that a restart does not
 * tell everything once more. It is a hint and no promise, hence never synced: a process that is killed leaves it
 * whole, since the pages are the system's; after a power cut an hour's silence may be forgotten, or a torn entry, whose hash
 * is nobody's, waits to be overwritten. Written after the commit and not before: a warning that is told twice is
 * better than one that is never told.
 *
 * File, little-endian:  at  bytes  field
 *                        0      8  GATE_MAGIC, whose last byte is the version
 *                        8      8  seed
 *                       16     16  of each entry: hash (0: free), time in microseconds */
#include "ingest/warning.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/note.h"
#include "wire/time.h"

enum { GATE_WAYS = 8, GATE_SETS = 1 << 14 }; /* 131,072 keys, 2 MiB */

#define GATE_MAGIC UINT64_C(0x0144454e5241574e)

struct gate_entry {
    uint64_t hash; /* 0: free */
    int64_t  at_us;
};

struct gate_table {
    uint64_t          magic, seed;
    struct gate_entry entries[GATE_SETS * GATE_WAYS];
};

struct gate_change {
    uint32_t          index;
    struct gate_entry before;
};

struct warning_gate {
    struct gate_table  *kept;    /* mapped; NULL: of this process alone */
    struct gate_change *changes; /* of the batch that is not yet committed */
    size_t              change_count, change_room;
    struct gate_table   now;
};

/* --- the file ---------------------------------------------------------------------------------- */

static void gate_take_over(struct warning_gate *gate)
{
    if (gate->kept->magic == GATE_MAGIC) {
        gate->now = *gate->kept;
        return;
    }
    memset(gate->kept, 0, sizeof *gate->kept);
    gate->kept->seed = gate->now.seed;
    gate->kept->magic = GATE_MAGIC;
}

struct warning_gate *warning_gate_new(const char *run_folder)
{
    struct warning_gate *gate = calloc(1, sizeof *gate);
    struct err           ignored = { .kind = ERR_NONE }; /* without the file, warnings once an hour of this process */

    if (gate == NULL)
        return NULL;
    if (getrandom(&gate->now.seed, sizeof gate->now.seed, 0) != sizeof gate->now.seed)
        gate->now.seed = (uint64_t)(uintptr_t)gate;
    if (run_folder != NULL)
        gate->kept = note_map(run_folder, "ingest.warned", sizeof *gate->kept, &ignored);
    if (gate->kept != NULL)
        gate_take_over(gate);
    return gate;
}

void warning_gate_free(struct warning_gate *gate)
{
    if (gate == NULL)
        return;
    if (gate->kept != NULL)
        (void)munmap(gate->kept, sizeof *gate->kept);
    free(gate->changes);
    free(gate);
}

/* --- passing ----------------------------------------------------------------------------------- */

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
    gate->changes[gate->change_count++] = (struct gate_change){ index, gate->now.entries[index] };
}

bool warning_gate_pass(struct warning_gate *gate, uint32_t project, enum warning_type type, struct span key, int64_t now_us)
{
    const char       *name = warning_infos[type].type; /* and not its number, which another version may give to another */
    uint64_t          of = XXH3_64bits_withSeed(name, strlen(name), gate->now.seed ^ project);
    uint64_t          hash = XXH3_64bits_withSeed(key.bytes > 0 ? (const void *)key.at : "", key.bytes, of) | 1;
    uint32_t          first = (uint32_t)(hash >> 32) % GATE_SETS * GATE_WAYS, oldest = first;
    struct gate_entry *entries = gate->now.entries;

    if (warning_infos[type].rate == WARNING_ALWAYS)
        return true;
    for (uint32_t i = first; i < first + GATE_WAYS; i++) {
        if (entries[i].hash == hash) {
            if (now_us - entries[i].at_us < TIME_US_HOUR && now_us >= entries[i].at_us)
                return false;
            change_add(gate, i);
            entries[i].at_us = now_us;
            return true;
        }
        if (entries[i].hash == 0 ? entries[oldest].hash != 0
                                 : entries[oldest].hash != 0 && entries[i].at_us < entries[oldest].at_us)
            oldest = i;
    }
    change_add(gate, oldest);
    entries[oldest] = (struct gate_entry){ hash, now_us };
    return true;
}

void warning_gate_sift(struct warning_gate *gate, uint32_t project, struct warning_list *list, int64_t now_us)
{
    struct warning *next = list->first;

    list->first = list->last = NULL;
    while (next != NULL) {
        struct warning *warning = next;

        next = warning->next;
        if (!warning_gate_pass(gate, project, warning->type, warning->key, now_us))
            continue;
        warning->next = NULL;
        if (list->first == NULL)
            list->first = warning;
        else
            list->last->next = warning;
        list->last = warning;
    }
}

void warning_gate_commit(struct warning_gate *gate)
{
    if (gate->kept != NULL)
        for (size_t i = 0; i < gate->change_count; i++)
            gate->kept->entries[gate->changes[i].index] = gate->now.entries[gate->changes[i].index];
    gate->change_count = 0;
}

void warning_gate_abort(struct warning_gate *gate)
{
    while (gate->change_count > 0) {
        struct gate_change *change = &gate->changes[--gate->change_count];

        gate->now.entries[change->index] = change->before;
    }
}
