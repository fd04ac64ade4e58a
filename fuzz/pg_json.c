/* fuzz/pg_json.c - any properties on their way to jsonb: what comes out is no longer than its room, and JSON when JSON went in. */
#include <stdlib.h>

#include "fuzz.h"
#include "people/pg.h"
#include "wire/json_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    struct arena       *arena = arena_new(1 << 16, (size_t)64 << 20);
    struct span         text = span_of(at, bytes), out;
    struct json_members members;
    struct err          err = { .kind = ERR_NONE };
    bool                json;

    if (arena == NULL)
        return 0;
    json = json_members_read(text, arena, &members, &err) == 0 && bytes > 0 && at[0] == '{';
    if (pg_json(text, arena, &out, &err) == 0) {
        if (json && json_members_read(out, arena, &members, &err) < 0)
            abort();
        if (out.bytes > 2 * bytes + 16)
            abort();
    }
    arena_free(arena);
    return 0;
}
