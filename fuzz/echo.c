/* fuzz/echo.c - any bytes as an event's properties that name places in themselves: no crash, and a text of the length that they say. The same
 * bytes as a JSON object, of which some members are said again in the two lists: what comes out is the text written out. */
#include <stdlib.h>

#include "event/echo.h"
#include "event/packed.h"
#include "fuzz.h"
#include "wire/json.h"

enum { TAG_SET = 254, TAG_ONCE = 255, MEMBERS_MAX = 500 };

struct member { struct span key, value; uint8_t tag; };

static void check(bool fine)
{
    if (!fine)
        abort();
}

static void read_any(struct span echo, struct arena *arena)
{
    struct span text;
    struct err  err;
    size_t      bytes;

    if (packed_text_bytes(echo, &bytes, &err) < 0 || bytes > (4 << 20) || packed_text_in_arena(echo, arena, &text, &err) < 0)
        return;
    check(text.bytes == bytes);
}

/* The first byte of each value says what becomes of it; whatever it is, the text must be the same. */
static void list_write(struct echo_writer *writer, const struct member *members, size_t count, bool once, size_t offset, struct buf *text)
{
    bool any = false;

    echo_list_begin(writer, offset);
    for (size_t i = 0; i < count; i++) {
        struct span key = members[i].key;
        uint8_t     word = packed_key_find(key);

        if (members[i].key.bytes % 4 == 0 || members[i].tag >= TAG_SET)
            continue;
        if (once && packed_pair(word) != 0) { /* the other one of the pair */
            word = (uint8_t)(word % 2 == 0 ? word - 1 : word + 1);
            key = span_of(packed_keys[word].text, packed_keys[word].bytes);
        }
        echo_member(writer, word, key, members[i].tag, members[i].value);
        buf_add_text(text, any ? "," : "");
        buf_add(text, key);
        buf_add_byte(text, ':');
        buf_add(text, members[i].value);
        any = true;
    }
    echo_list_end(writer);
}

static void from_text(struct span object, struct arena *arena)
{
    static uint8_t       words[256];
    static struct member members[MEMBERS_MAX];
    struct json_reader   reader;
    struct json_value    key, value;
    struct echo_writer   writer;
    struct buf           text;
    struct span          back;
    struct err           err;
    size_t               count = 0, all = 0;
    uint8_t             *to, *start, *at;

    json_reader_init(&reader, object, 0);
    if (json_object_enter(&reader) < 0)
        return;
    while (count < MEMBERS_MAX - 2 && json_object_next(&reader, &key) > 0 && json_skip(&reader, &value) == 0) {
        uint8_t tag = (uint8_t)(value.raw.at[value.raw.bytes / 2] % 3 == 0 ? 0 : 1 + count % 250);

        members[count++] = (struct member){ key.raw, value.raw, tag };
        all += key.raw.bytes + value.raw.bytes + 64;
        if (count == 3)
            members[count++] = (struct member){ SPAN("\"$set_once\""), SPAN("{}"), TAG_ONCE };
    }
    if (object.bytes % 2 == 0)
        members[count++] = (struct member){ SPAN("\"$set\""), SPAN("{}"), TAG_SET };
    to = arena_alloc(arena, echo_room(3 * all + 64, 3 * count));
    check(to != NULL);
    at = start = echo_begin(&writer, to);
    *at++ = '{';
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *at++ = ',';
        memcpy(at, members[i].key.at, members[i].key.bytes);
        at += members[i].key.bytes;
        *at++ = ':';
        echo_place(&writer, members[i].tag, (size_t)(at - start), members[i].value);
        words[members[i].tag] = members[i].tag >= TAG_SET ? 0 : packed_key_find(members[i].key);
        memcpy(at, members[i].value.at, members[i].value.bytes);
        at += members[i].value.bytes;
    }
    *at++ = '}';
    echo_stem_end(&writer, (size_t)(at - start), words);
    buf_init(&text, 64 << 20);
    buf_add_byte(&text, '{');
    for (size_t i = 0; i < count; i++) {
        buf_add_text(&text, i > 0 ? "," : "");
        buf_add(&text, members[i].key);
        buf_add_byte(&text, ':');
        if (members[i].tag >= TAG_SET) {
            buf_add_byte(&text, '{');
            list_write(&writer, members, count, members[i].tag == TAG_ONCE, writer.offsets[members[i].tag] + 1, &text);
            buf_add_byte(&text, '}');
        } else {
            buf_add(&text, members[i].value);
        }
    }
    buf_add_byte(&text, '}');
    check(!text.failed);
    check(packed_text_in_arena(span_of(to, echo_end(&writer)), arena, &back, &err) == 0);
    check(span_equal(back, buf_span(&text)));
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena *arena = arena_new(1 << 16, (size_t)512 << 20);

    check(arena != NULL);
    read_any(span_of(data, bytes), arena);
    arena_reset(arena);
    if (bytes > 0 && bytes < (1 << 20))
        from_text(span_of(data, bytes), arena);
    arena_free(arena);
    return 0;
}
