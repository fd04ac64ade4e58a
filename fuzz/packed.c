/* fuzz/packed.c - any bytes as packed properties: no crash; what becomes text is packed again to the same text, and the bytes
 * of that are the same whichever way they come about. The same bytes as text: what has members comes back as it was. */
#include <stdlib.h>

#include "event/packed.h"
#include "fuzz.h"
#include "wire/json.h"

static void check(bool fine)
{
    if (!fine)
        abort();
}

static struct span text_of(struct span packed, struct arena *arena)
{
    struct span text = { NULL, 0 };
    struct err  err;

    check(packed_text_in_arena(packed, arena, &text, &err) == 0);
    return text;
}

static struct span pack(const struct packed_member *members, size_t count, bool coded, size_t text_bytes, struct arena *arena)
{
    struct packed_writer writer;
    uint8_t             *to = arena_alloc(arena, packed_room(text_bytes));
    size_t               packed;

    check(to != NULL);
    packed_begin(&writer, to);
    for (size_t i = 0; i < count; i++)
        if (coded)
            packed_add_coded(&writer, &members[i]);
        else
            packed_add(&writer, packed_key_find(members[i].key), members[i].key, members[i].value);
    packed = packed_end(&writer);
    check(packed <= packed_room(text_bytes));
    return span_of(to, packed);
}

/* Damaged bytes may hold a known word as a key of its own, or a long length for a short one: those are other bytes for the same
 * text, so the members are made anew once, and from then on nothing may differ. */
static void again(struct span packed, struct span text, struct arena *arena)
{
    struct packed_member *members = arena_alloc_array(arena, packed.bytes, sizeof *members);
    struct packed_reader  reader;
    struct err            err;
    size_t                count = 0;
    struct span           made;

    check(members != NULL && packed_reader_init(&reader, packed, &err) == 0);
    while (packed_next(&reader, &members[count], &err) > 0)
        count++;
    check(span_equal(text_of(pack(members, count, true, text.bytes, arena), arena), text));
    made = pack(members, count, false, text.bytes, arena);
    check(span_equal(text_of(made, arena), text));
    check(packed_reader_init(&reader, made, &err) == 0);
    for (count = 0; packed_next(&reader, &members[count], &err) > 0;)
        count++;
    check(span_equal(pack(members, count, true, text.bytes, arena), made));
}

static void from_text(struct span text, struct arena *arena)
{
    struct json_reader   reader;
    struct json_value    key, value;
    struct packed_member *members = arena_alloc_array(arena, text.bytes + 1, sizeof *members);
    size_t                count = 0, sum = 1;
    struct span           back;

    check(members != NULL);
    json_reader_init(&reader, text, 0);
    if (json_object_enter(&reader) < 0)
        return;
    while (json_object_next(&reader, &key) > 0 && json_skip(&reader, &value) == 0) {
        members[count++] = (struct packed_member){ .key = key.raw, .value = value.raw };
        sum += key.raw.bytes + value.raw.bytes + 2;
    }
    back = text_of(pack(members, count, false, sum + 1, arena), arena);
    check(back.bytes == (count == 0 ? 2 : sum));
    for (size_t i = 0, at = 1; i < count; i++) {
        check(memcmp(back.at + at, members[i].key.at, members[i].key.bytes) == 0);
        at += members[i].key.bytes;
        check(back.at[at++] == ':' && memcmp(back.at + at, members[i].value.at, members[i].value.bytes) == 0);
        at += members[i].value.bytes;
        check(back.at[at++] == (i + 1 == count ? '}' : ','));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena *arena = arena_new(1 << 16, (size_t)512 << 20);
    struct span   packed = span_of(data, bytes), text;
    struct err    err;
    size_t        text_bytes;

    check(arena != NULL);
    if (packed_text_bytes(packed, &text_bytes, &err) == 0 && text_bytes < (4 << 20) &&
        packed_text_in_arena(packed, arena, &text, &err) == 0 && packed_is(packed) && packed.at[0] == PACKED_FORM)
        again(packed, text, arena);
    arena_reset(arena);
    if (bytes > 0 && bytes < (1 << 20))
        from_text(packed, arena);
    arena_free(arena);
    return 0;
}
