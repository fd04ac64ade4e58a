/* event/echo_test.c - rows of facts: properties with what is said again, and the bytes that stand for them; limits of places; what is
 * damaged; and events drawn at random against their text written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "event/echo.h"
#include "event/packed.h"

/* tag: of a property's value; of a member of a list: of the property whose value it has. 0: none, the value is its own. */
struct member { const char *key, *value; uint8_t tag; };

enum { TAG_SET = 254, TAG_ONCE = 255, MEMBERS_MAX = 400 }; /* of the two objects themselves, in whose places lists go */

struct fact {
    const char   *name;
    struct member properties[6], set[6], once[6];
    const char   *stem;
    struct span   behind; /* behind the stem */
};

#define SET { "\"$set\"", "{}", TAG_SET }
#define ONCE { "\"$set_once\"", "{}", TAG_ONCE }

/* Numbers of words, as the lists of packed_words.h count. */
#define BROWSER "\x09"
#define INITIAL_BROWSER "\x0a"
#define CURRENT_URL "\x0f"
#define CHROME "\x06"

static const struct fact facts[] = {
    { "a value is said again in both objects",
      { { "\"$browser\"", "\"Lynx\"", 1 }, { "\"a\"", "1", 0 }, SET, ONCE }, { { "\"$browser\"", NULL, 1 } }, { { "\"$initial_browser\"", NULL, 1 } },
      "{\"$browser\":\"Lynx\",\"a\":1,\"$set\":{},\"$set_once\":{}}",
      SPAN("\1" BROWSER "\x06\x0c\0" "\x21\1\0\0\1\0" "\x0f\1\0\0\1\1") },
    { "two values side by side are one piece, whatever stands between them and in which order they stand",
      { { "\"$current_url\"", "\"u\"", 2 }, { "\"a\"", "1", 0 }, { "\"$browser\"", "\"Lynx\"", 1 }, SET },
      { { "\"$browser\"", NULL, 1 }, { "\"$current_url\"", NULL, 2 } }, { { NULL, NULL, 0 } },
      "{\"$current_url\":\"u\",\"a\":1,\"$browser\":\"Lynx\",\"$set\":{}}",
      SPAN("\2" BROWSER "\x06\x25\0" CURRENT_URL "\3\x10\0" "\x34\1\0\0\2\0") },
    { "in another order they are two pieces", { { "\"$current_url\"", "\"u\"", 2 }, { "\"$browser\"", "\"Lynx\"", 1 }, SET },
      { { "\"$current_url\"", NULL, 2 }, { "\"$browser\"", NULL, 1 } }, { { NULL, NULL, 0 } },
      "{\"$current_url\":\"u\",\"$browser\":\"Lynx\",\"$set\":{}}",
      SPAN("\2" BROWSER "\x06\x1f\0" CURRENT_URL "\3\x10\0" "\x2e\2\0\1\1\0\0\0\1\0") },
    { "other members stand between, with their values", { { "\"$browser\"", "\"Lynx\"", 1 }, SET },
      { { "\"$browser\"", "\"Chrome\"", 0 }, { "\"my\"", "[1, 2]", 0 } }, { { NULL, NULL, 0 } },
      "{\"$browser\":\"Lynx\",\"$set\":{}}",
      SPAN("\1" BROWSER "\x06\x0c\0" "\x1b\2" BROWSER CHROME "\xdf\"my\"\x45[1, 2]") },
    { "a copy under a name of its own", { { "\"$browser\"", "\"Lynx\"", 1 }, SET }, { { "\"\\u0024browser\"", NULL, 1 } }, { { NULL, NULL, 0 } },
      "{\"$browser\":\"Lynx\",\"$set\":{}}",
      SPAN("\1" BROWSER "\x06\x0c\0" "\x1b\1\xea\"\\u0024browser\"\x45\"Lynx\"") },
    { "a copy under the name of another pair", { { "\"$browser\"", "\"Lynx\"", 1 }, SET }, { { "\"$browser_version\"", NULL, 1 } },
      { { NULL, NULL, 0 } }, "{\"$browser\":\"Lynx\",\"$set\":{}}",
      SPAN("\1" BROWSER "\x06\x0c\0" "\x1b\1\x0b\x45\"Lynx\"") },
    { "lists without members, the second object first", { ONCE, { "\"a\"", "{}", 0 }, SET }, { { NULL, NULL, 0 } }, { { NULL, NULL, 0 } },
      "{\"$set_once\":{},\"a\":{},\"$set\":{}}", SPAN("\0\x0e\0\x11\0") },
    { "a copy of what stood there before", { { "\"$browser\"", "\"Lynx\"", 1 }, SET }, { { "\"$browser\"", "\"w3m.\"", 1 } }, { { NULL, NULL, 0 } },
      "{\"$browser\":\"Lynx\",\"$set\":{}}", SPAN("\1" BROWSER "\x06\x0c\0" "\x1b\1" BROWSER "\x45\"w3m.\"") },
    { "a copy of what is no longer there", { SET }, { { "\"$browser\"", "\"Lynx\"", 7 } }, { { NULL, NULL, 0 } }, "{\"$set\":{}}",
      SPAN("\0\x09\1" BROWSER "\x45\"Lynx\"") },
};

static struct span text_of(struct arena *arena, const char *text)
{
    return arena_copy(arena, span_text(text));
}

struct made { struct span echo, text; };

/* Of one test: what it makes, and the texts that went in and came back. */
struct desk { struct arena *arena; struct buf text, back; };

static int desk_set(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);

    desk->arena = arena_new(8 << 20, 256 << 20);
    buf_init(&desk->text, 4 << 20);
    buf_init(&desk->back, 4 << 20);
    *state = desk;
    return 0;
}

static int desk_clear(void **state)
{
    struct desk *desk = *state;

    buf_fini(&desk->text);
    buf_fini(&desk->back);
    arena_free(desk->arena);
    free(desk);
    return 0;
}

static void list_make(struct echo_writer *writer, const struct member *list, const struct span values[256], size_t offset, struct buf *text,
                      struct arena *arena)
{
    echo_list_begin(writer, offset);
    for (size_t i = 0; list[i].key != NULL; i++) {
        struct span key = text_of(arena, list[i].key);
        struct span value = list[i].value == NULL ? values[list[i].tag] : text_of(arena, list[i].value);

        echo_member(writer, packed_key_find(key), key, list[i].tag, value);
        buf_add_text(text, i > 0 ? "," : "");
        buf_add(text, key);
        buf_add_byte(text, ':');
        buf_add(text, value);
    }
    echo_list_end(writer);
}

/* The lists are written where their objects stand; text is what must come out. */
static struct made make(struct arena *arena, const struct member *properties, const struct member *set, const struct member *once, struct buf *text)
{
    static uint8_t     words[256];
    struct span        values[256];
    struct echo_writer writer;
    uint8_t           *to = arena_alloc(arena, 4 << 20), *start = echo_begin(&writer, to), *at = start;
    size_t             bytes;

    *at++ = '{';
    for (size_t i = 0; properties[i].key != NULL; i++) {
        const struct member *member = &properties[i];
        struct span          value = text_of(arena, member->value);

        at += sprintf((char *)at, "%s%s:", i > 0 ? "," : "", member->key);
        memcpy(at, value.at, value.bytes);
        echo_place(&writer, member->tag, (size_t)(at - start), value);
        at += value.bytes;
        values[member->tag] = value;
        words[member->tag] = packed_key_find(span_text(member->key));
    }
    *at++ = '}';
    words[TAG_SET] = words[TAG_ONCE] = 0;
    echo_stem_end(&writer, (size_t)(at - start), words);
    buf_reset(text);
    buf_add_byte(text, '{');
    for (size_t i = 0; properties[i].key != NULL; i++) {
        buf_add_text(text, i > 0 ? "," : "");
        buf_add_text(text, properties[i].key);
        buf_add_byte(text, ':');
        if (properties[i].tag >= TAG_SET) {
            buf_add_byte(text, '{');
            list_make(&writer, properties[i].tag == TAG_SET ? set : once, values, writer.offsets[properties[i].tag] + 1, text, arena);
            buf_add_byte(text, '}');
        } else {
            buf_add_text(text, properties[i].value);
        }
    }
    buf_add_byte(text, '}');
    bytes = echo_end(&writer);
    assert_int_equal(writer.text_bytes, text->bytes);
    return (struct made){ span_of(to, bytes), buf_span(text) };
}

/* At the end of both, a sanitizer stands guard. */
static int text_exact(struct span echo, struct buf *out, struct err *err)
{
    uint8_t *exact = malloc(echo.bytes + 1), *to;
    size_t   bytes;
    int      rc;

    memcpy(exact + 1, echo.at, echo.bytes);
    buf_reset(out);
    rc = packed_text_bytes(span_of(exact + 1, echo.bytes), &bytes, err);
    if (rc == 0) {
        to = malloc(bytes + 1);
        rc = packed_text(span_of(exact + 1, echo.bytes), to, err);
        if (rc == 0)
            buf_add(out, span_of(to, bytes));
        free(to);
    }
    free(exact);
    return rc;
}

static void forms_are_what_is_drawn(void **state)
{
    struct desk *desk = *state;
    struct err   err = { 0 };

    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        struct made made = make(desk->arena, facts[i].properties, facts[i].set, facts[i].once, &desk->text);
        size_t      stem = strlen(facts[i].stem);

        if (made.echo.at[0] != 2 || bytes_get_u32(made.echo.at + 1) != made.text.bytes || bytes_get_u32(made.echo.at + 5) != stem ||
            memcmp(made.echo.at + ECHO_HEAD_BYTES, facts[i].stem, stem) != 0 ||
            !span_equal(span_from(made.echo, ECHO_HEAD_BYTES + stem), facts[i].behind))
            fail_msg("%s: other bytes", facts[i].name);
        if (text_exact(made.echo, &desk->back, &err) < 0 || !span_equal(buf_span(&desk->back), made.text))
            fail_msg("%s: %.*s", facts[i].name, (int)desk->back.bytes, (const char *)desk->back.at);
        for (size_t cut = 0; cut < made.echo.bytes; cut++) { /* lists without members may be missing, and nothing else */
            int rc = text_exact(span_of(made.echo.at, cut), &desk->back, &err);

            assert_true(rc == -1 || cut == 0 || span_equal(buf_span(&desk->back), made.text));
        }
        arena_reset(desk->arena);
    }
}

/* Values and offsets on both sides of what a place can tell, and lists on both sides of where their count takes one byte more. */
static void limits_of_places_and_lists(void **state)
{
    static const struct { size_t before, value, members; bool told_by_place; } rows[] = {
        { 0, 255, 1, true }, { 0, 256, 1, false }, { 65535 - 13, 9, 1, true }, { 65536 - 13, 9, 1, false },
        { 0, 9, 127, true }, { 0, 9, 128, true }, { 0, 9, 16383, true }, { 0, 9, 16384, true },
    };
    struct desk *desk = *state;
    struct err   err = { 0 };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char          *before = calloc(1, rows[i].before + 3), *value = calloc(1, rows[i].value + 1);
        struct member *set = calloc(rows[i].members + 1, sizeof *set);
        struct made    made;

        /* the value stands behind `{"a":`, one digit and `before` more, and `,"$os":`: 13 + before */
        memset(before, '1', rows[i].before + 1);
        memset(value, 'x', rows[i].value);
        value[0] = value[rows[i].value - 1] = '"';
        for (size_t k = 0; k < rows[i].members; k++)
            set[k] = k % 2 == 0 ? (struct member){ "\"$os\"", NULL, 1 } : (struct member){ "\"b\"", "true", 0 };

        const struct member properties[] = { { "\"a\"", before, 0 }, { "\"$os\"", value, 1 }, SET, { NULL, NULL, 0 } };

        made = make(desk->arena, properties, set, set + rows[i].members, &desk->text);
        assert_int_equal(made.echo.at[ECHO_HEAD_BYTES + bytes_get_u32(made.echo.at + 5)], rows[i].told_by_place);
        assert_int_equal(text_exact(made.echo, &desk->back, &err), 0);
        assert_true(span_equal(buf_span(&desk->back), made.text));
        free(before);
        free(value);
        free(set);
        arena_reset(desk->arena);
    }
}

#define STEM "{\"$browser\":\"Lynx\",\"$set\":{}}"
#define HEAD "\2\x2e\0\0\0\x1d\0\0\0" STEM

static const struct { const char *name; struct span echo; } damages[] = {
    { "no head", SPAN("\2\x2e\0\0\0\x1d\0\0") },
    { "a stem that ends early", SPAN("\2\x2e\0\0\0\x1e\0\0\0" STEM) },
    { "nothing behind the stem", SPAN(HEAD) },
    { "a place that ends early", SPAN(HEAD "\1" BROWSER "\6\x0c") },
    { "a place behind the stem", SPAN(HEAD "\1" BROWSER "\6\x18\0\x1b\1\0\0\1\0") },
    { "a place whose word is none", SPAN(HEAD "\1\0\6\x0c\0\x1b\1\0\0\1\0") },
    { "a place behind the last word", SPAN(HEAD "\1\xce\6\x0c\0\x1b\1\0\0\1\1") },
    { "a list behind the stem", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1e\1\0\0\1\0") },
    { "a list without its count", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b") },
    { "more pieces than there are", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\2\0\0\1\0") },
    { "a run that ends early", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\0\0\1") },
    { "a run of no place", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\0\0\0\0") },
    { "a run of more places than there are", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\0\0\2\0") },
    { "a run behind the places", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\0\1\1\0") },
    { "a run told in another way", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\0\0\1\2") },
    { "a pair's value", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1" BROWSER "\0") },
    { "a key without a value", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1" BROWSER) },
    { "a word that is none", SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\xcf" CHROME) },
    { "more text than there is", SPAN("\2\x2f\0\0\0\x1d\0\0\0" STEM "\1" BROWSER "\6\x0c\0\x1b\1\0\0\1\0") },
    { "less text than there is", SPAN("\2\x2d\0\0\0\x1d\0\0\0" STEM "\1" BROWSER "\6\x0c\0\x1b\1\0\0\1\0") },
    { "no text at all", SPAN("\2\0\0\0\0\x1d\0\0\0" STEM "\0") },
    { "more text than may be", SPAN("\2\xff\xff\xff\x7f\x1d\0\0\0" STEM "\0") },
};

static void damage_is_told(void **state)
{
    static const struct span fine = SPAN(HEAD "\1" BROWSER "\6\x0c\0\x1b\1\0\0\1\0");
    struct packed_reader     reader;
    struct desk             *desk = *state;
    struct err               err = { 0 };

    assert_int_equal(text_exact(fine, &desk->back, &err), 0);
    assert_true(span_is(buf_span(&desk->back), "{\"$browser\":\"Lynx\",\"$set\":{\"$browser\":\"Lynx\"}}"));
    assert_true(packed_is(fine));
    assert_int_equal(packed_reader_init(&reader, fine, &err), -1); /* nobody's properties */
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        err = (struct err){ 0 };
        if (text_exact(damages[i].echo, &desk->back, &err) == 0)
            fail_msg("%s: became text", damages[i].name);
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    for (size_t at = 0; at < fine.bytes * 8; at++) { /* one bit each: an error, or a text of the length that it says */
        uint8_t bytes[128];

        memcpy(bytes, fine.at, fine.bytes);
        bytes[at / 8] ^= (uint8_t)(1u << at % 8);
        if (at / 8 >= 1 && at / 8 < 5 && bytes_get_u32(bytes + 1) > 1 << 16)
            continue;
        (void)!text_exact(span_of(bytes, fine.bytes), &desk->back, &err);
    }
}

static uint64_t draw_state = 88172645463325252u;

static unsigned draw(unsigned below)
{
    draw_state ^= draw_state << 13;
    draw_state ^= draw_state >> 7;
    draw_state ^= draw_state << 17;
    return (unsigned)(draw_state % below);
}

/* Events of which some properties are copied to either object, some members have values of their own, and some names are no words. */
static void drawn_events_come_back(void **state)
{
    static const char *const values[] = { "1", "null", "\"\"", "\"Chrome\"", "{\"a\" : [1]}", "\"0123456789012345678901234567890\"",
                                          "\"a value that is longer than a piece which is copied at once\"", "-1.5e3" };
    static char  keys[206][2][64];
    struct desk *desk = *state;
    struct err   err = { 0 };

    for (unsigned i = 1; i < PACKED_KEYS; i++) {
        (void)snprintf(keys[i][0], sizeof keys[i][0], "%.*s", packed_keys[i].bytes, packed_keys[i].text);
        (void)snprintf(keys[i][1], sizeof keys[i][1], "\"own %u\"", i);
    }
    for (int round = 0; round < 3000; round++) {
        struct member properties[MEMBERS_MAX] = { { NULL, NULL, 0 } }, set[MEMBERS_MAX] = { { NULL, NULL, 0 } }, once[MEMBERS_MAX] = { { NULL, NULL, 0 } };
        unsigned      count = draw(60), n = 0, sets = 0, onces = 0;
        struct made   made;

        for (unsigned i = 0; i < count; i++) {
            unsigned word = 1 + 2 * i % 124;
            uint8_t  tag = draw(3) == 0 ? (uint8_t)(1 + i) : 0;

            if (draw(20) == 0 && n > 0)
                continue;
            properties[n++] = (struct member){ keys[word][draw(8) == 0], values[draw(8)], tag };
            if (draw(3) > 0)
                set[sets++] = (struct member){ keys[word][draw(9) == 0], tag == 0 ? values[draw(8)] : NULL, tag };
            if (draw(3) > 0)
                once[onces++] = (struct member){ keys[word + draw(9) % 2][draw(9) == 0], tag == 0 ? values[draw(8)] : NULL, tag };
            if (draw(40) == 0)
                break;
        }
        if (draw(5) > 0)
            properties[n++] = (struct member)SET;
        if (draw(5) > 0)
            properties[n++] = (struct member)ONCE;
        if (draw(4) == 0)
            properties[n++] = (struct member){ "\"$group_0\"", "\"x\"", 0 };
        made = make(desk->arena, properties, set, once, &desk->text);
        assert_int_equal(text_exact(made.echo, &desk->back, &err), 0);
        if (!span_equal(buf_span(&desk->back), made.text))
            fail_msg("round %d: %.*s\n%.*s", round, (int)desk->back.bytes, (const char *)desk->back.at, (int)made.text.bytes, (const char *)made.text.at);
        arena_reset(desk->arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forms_are_what_is_drawn, desk_set, desk_clear),
        cmocka_unit_test_setup_teardown(limits_of_places_and_lists, desk_set, desk_clear),
        cmocka_unit_test_setup_teardown(damage_is_told, desk_set, desk_clear),
        cmocka_unit_test_setup_teardown(drawn_events_come_back, desk_set, desk_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
