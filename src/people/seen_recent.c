/* people/seen_recent.c - open addressing with linear steps, because undoing is then trivial: entries leave in the
 * opposite order of their coming, so no later one was put behind an earlier one's slot, and a slot is freed by
 * clearing it. Half of the hash stands in the slot: an id that is not there costs one line of the cache.
 * Memory comes by mmap and not by malloc, in large pages where there are some: a table of a million ids is touched at
 * random, and faulting it in by small pages cost more than filling it. */
#include "people/seen_recent.h"

#include <assert.h>
#include <sys/mman.h>

enum { FIRST_ENTRIES = 1024, LARGE_BYTES = 4 << 20 };

/* The table grows in leaps, so that filling it anew is done while it is small (3 ms at 90,000 ids; it would be 45 at
 * 700,000), and what is left of a leap is memory that was not touched. */
static size_t slots_after(size_t slot_count)
{
    static const size_t leaps[] = { 1 << 11, 1 << 14, 1 << 17, 1 << 21 };

    for (size_t i = 0; i < sizeof leaps / sizeof *leaps; i++)
        if (slot_count < leaps[i])
            return leaps[i];
    return slot_count * 2;
}

/* Grown past this share of its slots the table gets more. */
#define SLOTS_FULL(slots) ((slots) / 10 * 7)

static void *pages_new(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    if (bytes >= LARGE_BYTES)
        (void)madvise(at, bytes, MADV_HUGEPAGE);
    return at;
}

static void pages_free(void *at, size_t bytes)
{
    if (at != NULL)
        (void)munmap(at, bytes);
}

void seen_recent_init(struct seen_recent *recent, uint64_t seed)
{
    *recent = (struct seen_recent){ .seed = seed };
}

void seen_recent_fini(struct seen_recent *recent)
{
    pages_free(recent->entries, recent->entries_max * sizeof *recent->entries);
    pages_free(recent->slots, recent->slot_count * sizeof *recent->slots);
    *recent = (struct seen_recent){ .seed = recent->seed };
}

void seen_recent_clear(struct seen_recent *recent)
{
    if (recent->slot_count > 0)
        memset(recent->slots, 0, recent->slot_count * sizeof *recent->slots);
    recent->count = 0;
}

static void slots_put(uint64_t *slots, size_t slot_count, uint64_t hash, size_t index)
{
    size_t at = hash & (slot_count - 1);

    while (slots[at] != 0)
        at = (at + 1) & (slot_count - 1);
    slots[at] = (hash >> 32 << 32) | (index + 1);
}

static int grow_slots(struct seen_recent *recent)
{
    size_t    more = slots_after(recent->slot_count);
    uint64_t *slots = pages_new(more * sizeof *slots);

    if (slots == NULL)
        return -1;
    for (size_t i = 0; i < recent->count; i++)
        slots_put(slots, more, seen_entry_hash(&recent->entries[i], recent->seed), i);
    pages_free(recent->slots, recent->slot_count * sizeof *recent->slots);
    recent->slots = slots;
    recent->slot_count = more;
    return 0;
}

static int grow_entries(struct seen_recent *recent)
{
    size_t more = recent->entries_max == 0 ? FIRST_ENTRIES : recent->entries_max * 2;
    void  *at = recent->entries_max == 0 ? pages_new(more * sizeof *recent->entries)
                                         : mremap(recent->entries, recent->entries_max * sizeof *recent->entries,
                                                  more * sizeof *recent->entries, MREMAP_MAYMOVE);

    if (at == NULL || at == MAP_FAILED)
        return -1;
    recent->entries = at;
    recent->entries_max = more;
    return 0;
}

const struct seen_entry *seen_recent_find(const struct seen_recent *recent, const struct seen_entry *key, uint64_t hash)
{
    const struct seen_entry *found = NULL;

    if (recent->slot_count == 0)
        return NULL;
    for (size_t at = hash & (recent->slot_count - 1); recent->slots[at] != 0; at = (at + 1) & (recent->slot_count - 1)) {
        const struct seen_entry *entry;

        if (recent->slots[at] >> 32 != hash >> 32)
            continue;
        entry = &recent->entries[(recent->slots[at] & UINT32_MAX) - 1];
        if (seen_entry_same(entry, key) && (found == NULL || seen_entry_day(entry) >= seen_entry_day(found)))
            found = entry;
    }
    return found;
}

int seen_recent_add(struct seen_recent *recent, const struct seen_entry *entry, uint64_t hash, struct err *err)
{
    if ((recent->count >= SLOTS_FULL(recent->slot_count) && grow_slots(recent) < 0) ||
        (recent->count == recent->entries_max && grow_entries(recent) < 0))
        return err_set(err, ERR_FULL, "people: no memory for %zu recent ids", recent->count);
    assert(recent->count < UINT32_MAX);
    recent->entries[recent->count] = *entry;
    slots_put(recent->slots, recent->slot_count, hash, recent->count);
    recent->count++;
    return 0;
}

void seen_recent_cut(struct seen_recent *recent, size_t count)
{
    assert(count <= recent->count);
    while (recent->count > count) {
        size_t   index = --recent->count;
        uint64_t hash = seen_entry_hash(&recent->entries[index], recent->seed);
        size_t   at = hash & (recent->slot_count - 1);

        while ((recent->slots[at] & UINT32_MAX) != index + 1)
            at = (at + 1) & (recent->slot_count - 1);
        recent->slots[at] = 0;
    }
}
