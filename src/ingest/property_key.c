/* ingest/property_key.c - the texts, and a hash table over them.
 *
 * The table is fixed and ours, so its hash needs no secret: strangers choose what is looked up, never what
 * is in it, and a look-up compares with at most the keys of one short run of slots. */
#include "ingest/property_key.h"

#include <assert.h>

#include "event/packed_words.h"

#define TEXT(literal) { SPAN(literal), SPAN("\"" literal "\"") }
#define TEXT_PERSON(suffix, name) [KEY_##suffix] = TEXT("$" name), [KEY_INITIAL_##suffix] = TEXT("$initial_" name),
#define TEXT_CAMPAIGN(suffix, name) [KEY_##suffix] = TEXT(name), [KEY_INITIAL_##suffix] = TEXT("$initial_" name),
#define TEXT_GEOIP(suffix, name)                                                                                \
    [KEY_GEOIP_##suffix] = TEXT("$geoip_" name), [KEY_INITIAL_GEOIP_##suffix] = TEXT("$initial_geoip_" name),
#define TEXT_OTHER(suffix, name) [KEY_##suffix] = TEXT(name),

#undef SPAN /* as an initializer of a static: the struct literal of span.h is no constant here */
#define SPAN(literal) { (const uint8_t *)("" literal), sizeof(literal) - 1 }

const struct property_key_text property_key_texts[PROPERTY_KEY_COUNT] = {
    PROPERTY_PERSON_KEYS(TEXT_PERSON)
    PROPERTY_CAMPAIGN_KEYS(TEXT_CAMPAIGN)
    PROPERTY_GEOIP_KEYS(TEXT_GEOIP)
    PROPERTY_OTHER_KEYS(TEXT_OTHER)
};

_Static_assert(PROPERTY_KEY_COUNT < UINT8_MAX, "a key's number plus one must fit into a slot");
_Static_assert(PROPERTY_KEY_COUNT * 4 < PROPERTY_KEY_SLOTS, "runs of full slots must stay short");

/* Length, the first and the last eight bytes tell nearly all of these names apart. */
static inline size_t slot_of(struct span name)
{
    uint64_t head = 0, tail = 0;

    if (name.bytes >= 8) {
        memcpy(&head, name.at, 8);
        memcpy(&tail, name.at + name.bytes - 8, 8);
    } else {
        for (size_t i = 0; i < name.bytes; i++) /* a call of memcpy costs more */
            head = head << 8 | name.at[i];
    }
    head = (head ^ name.bytes) * UINT64_C(0x9E3779B97F4A7C15);
    tail = tail * UINT64_C(0xC2B2AE3D27D4EB4F);
    return (size_t)((head ^ tail) >> 54) & (PROPERTY_KEY_SLOTS - 1);
}

void property_key_table_init(struct property_key_table *table)
{
    memset(table, 0, sizeof *table);
    for (size_t i = 0; i < PROPERTY_KEY_COUNT; i++) {
        size_t slot = slot_of(property_key_texts[i].name);

        assert(property_key_texts[i].name.bytes > 0);
        while (table->slots[slot] != 0)
            slot = (slot + 1) & (PROPERTY_KEY_SLOTS - 1);
        table->slots[slot] = (uint8_t)(i + 1);
        table->words[i + 1] = packed_key_find(property_key_texts[i].raw);
    }
}

enum property_key property_key_find(const struct property_key_table *table, struct span name)
{
    size_t slot = slot_of(name);

    for (; table->slots[slot] != 0; slot = (slot + 1) & (PROPERTY_KEY_SLOTS - 1))
        if (span_equal(property_key_texts[table->slots[slot] - 1].name, name))
            return (enum property_key)(table->slots[slot] - 1);
    return PROPERTY_KEY_NONE;
}
