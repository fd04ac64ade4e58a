/* ingest/item.c - the only places that write an item's fate. */
#include "ingest/item.h"

#include <assert.h>

void item_decide(struct item *item, enum fate fate)
{
    assert(item->fate == FATE_PENDING);
    assert(fate != FATE_PENDING);
    item->fate = fate;
}

void item_bury(struct item *item, const char *step, const char *reason, struct span detail, struct arena *arena)
{
    struct span copy = arena_copy(arena, detail);

    item_decide(item, FATE_DEAD_LETTERED);
    item->dead_step = step;
    item->dead_reason = reason;
    item->dead_detail = copy.at == NULL ? SPAN("") : copy;
}

void item_drop_repeat(struct item *item)
{
    assert(item->fate == FATE_PENDING || item->fate == FATE_DEAD_LETTERED);
    item->fate = FATE_DEDUPLICATED;
    item->warnings.first = NULL;
}
