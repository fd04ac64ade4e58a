/* event/packed_test.c - rows of facts: text, and the bytes that stand for it; what is damaged; and that nothing else comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "event/packed.h"
#include "wire/json.h"

/* All members of an object that is written without white space, packed. */
static struct span pack(struct arena *arena, struct span text)
{
    struct json_reader   reader;
    struct json_value    key, value;
    struct packed_writer writer;
    uint8_t             *to = arena_alloc(arena, packed_room(text.bytes));

    json_reader_init(&reader, text, 0);
    packed_begin(&writer, to);
    assert_int_equal(json_object_enter(&reader), 0);
    while (json_object_next(&reader, &key) > 0) {
        assert_int_equal(json_skip(&reader, &value), 0);
        packed_add(&writer, packed_key_find(key.raw), key.raw, value.raw);
    }
    return span_of(to, packed_end(&writer));
}

/* The same by way of packed members: copied, not made anew. */
static struct span pack_again(struct arena *arena, struct span packed)
{
    struct packed_reader reader;
    struct packed_member member;
    struct packed_writer writer;
    struct err           err = { 0 };
    uint8_t             *to = arena_alloc(arena, 4 * packed.bytes + 4096);
    int                  rc;

    packed_begin(&writer, to);
    assert_int_equal(packed_reader_init(&reader, packed, &err), 0);
    while ((rc = packed_next(&reader, &member, &err)) > 0)
        packed_add_coded(&writer, &member);
    assert_int_equal(rc, 0);
    return span_of(to, packed_end(&writer));
}

enum { PACKED_TEST_CRC = 0x3429073c };

/* Numbers of words, as the lists of packed_words.h count. The bytes are behind the head of five. */
#define BROWSER "\x09"         /* the fifth pair */
#define INITIAL_BROWSER "\x0a"
#define CREATOR "\x7d"         /* behind 62 pairs */
#define CHROME "\x06"

static const struct { const char *name, *text; struct span body; } forms[] = {
    { "a word for the key and for the value", "{\"$browser\":\"Chrome\"}", SPAN(BROWSER CHROME) },
    { "a value of its own", "{\"$browser\":\"Lynx\"}", SPAN(BROWSER "\x45\"Lynx\"") },
    { "a key of its own", "{\"my\":true}", SPAN("\xdf\"my\"\x02") },
    { "the first and the present value are the same", "{\"$initial_browser\":\"Lynx\",\"$browser\":\"Lynx\"}",
      SPAN(INITIAL_BROWSER "\x45\"Lynx\"" BROWSER "\0") },
    { "they are the same the other way round, and a word", "{\"$browser\":\"Chrome\",\"$initial_browser\":\"Chrome\"}",
      SPAN(BROWSER CHROME INITIAL_BROWSER "\0") },
    { "they differ", "{\"$initial_browser\":\"Lynx\",\"$browser\":\"w3m\"}",
      SPAN(INITIAL_BROWSER "\x45\"Lynx\"" BROWSER "\x44\"w3m\"") },
    { "a number", "{\"$creator_event_uuid\":-1.5e3}", SPAN(CREATOR "\x45-1.5e3") },
    { "an object and an array, as they are written", "{\"a\":{\"b\" : [1, 2]},\"c\":[]}",
      SPAN("\xde\"a\"\x4d{\"b\" : [1, 2]}\xde\"c\"\x41[]") },
    { "escapes stay", "{\"\\u0024browser\":\"\\\"\\u00e9\"}", SPAN("\xea\"\\u0024browser\"\x49\"\\\"\\u00e9\"") },
    { "an empty key", "{\"\":0}", SPAN("\xdd\"\"\x40" "0") },
    { "the longest of the short keys", "{\"k23456789012345678901234567890123\":1}",
      SPAN("\xfe\"k23456789012345678901234567890123\"\x40" "1") },
    { "a longer key", "{\"k234567890123456789012345678901234\":1}",
      SPAN("\xff\x24\"k234567890123456789012345678901234\"\x40" "1") },
};

static void forms_are_what_is_drawn(void **state)
{
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    struct err    err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct span text = span_text(forms[i].text), packed = pack(arena, text), back;

        if (!span_equal(span_from(packed, PACKED_HEAD_BYTES), forms[i].body) || packed.at[0] != 1 ||
            bytes_get_u32(packed.at + 1) != text.bytes)
            fail_msg("%s: other bytes", forms[i].name);
        assert_int_equal(packed_text_in_arena(packed, arena, &back, &err), 0);
        if (!span_equal(back, text))
            fail_msg("%s: %.*s", forms[i].name, (int)back.bytes, (const char *)back.at);
        assert_true(span_equal(pack_again(arena, packed), packed));
    }
    arena_free(arena);
}

/* Lengths on both sides of where their form changes. */
static void every_length_comes_back(void **state)
{
    static const size_t lengths[] = { 2, 3, 34, 35, 36, 37, 127, 128, 129, 190, 191, 192, 193, 16383, 16384, 16385, 300000 };
    struct arena       *arena = arena_new(1 << 20, 1 << 30);
    struct err          err = { 0 };

    (void)state;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
        for (size_t v = 0; v < sizeof lengths / sizeof *lengths; v++) {
            size_t      bytes = lengths[k] + lengths[v] + 3;
            uint8_t    *text = arena_alloc(arena, bytes);
            struct span packed, back;

            memset(text, 'x', bytes);
            text[0] = '{';
            text[1] = text[lengths[k]] = '"';
            text[lengths[k] + 1] = ':';
            text[lengths[k] + 2] = text[bytes - 2] = '"';
            text[bytes - 1] = '}';
            packed = pack(arena, span_of(text, bytes));
            assert_true(packed.bytes <= bytes + 12);
            assert_int_equal(packed_text_in_arena(packed, arena, &back, &err), 0);
            assert_true(span_equal(back, span_of(text, bytes)));
            arena_reset(arena);
        }
    arena_free(arena);
}

static void text_stays_text(void **state)
{
    static const char *const texts[] = { "{}", "{\"a\":1}", "{ \"a\" : 1 }", "" };
    struct arena            *arena = arena_new(1 << 16, 1 << 20);
    struct err               err = { 0 };
    struct span              back;
    size_t                   bytes;
    uint8_t                  to[32];
    struct packed_writer     writer;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(packed_is(span_text(texts[i])));
        assert_int_equal(packed_text_in_arena(span_text(texts[i]), arena, &back, &err), 0);
        assert_true(span_is(back, texts[i]));
        assert_int_equal(packed_text_bytes(span_text(texts[i]), &bytes, &err), 0);
        assert_int_equal(bytes, strlen(texts[i]));
        assert_int_equal(packed_text(span_text(texts[i]), to, &err), 0);
        assert_memory_equal(to, texts[i], bytes);
    }
    packed_begin(&writer, to);
    assert_true(span_is(span_of(to, packed_end(&writer)), "{}")); /* of no members */
    arena_free(arena);
}

/* What was a pair's one value becomes two, and the other way round; the bytes are those of packing it from the text. */
static void changed_pairs_are_written_anew(void **state)
{
    static const struct { const char *before, *changed, *after; } rows[] = {
        { "{\"$initial_os\":\"A\",\"$os\":\"A\"}", "\"$initial_os\"", "{\"$initial_os\":\"new\",\"$os\":\"A\"}" },
        { "{\"$initial_os\":\"A\",\"$os\":\"A\"}", "\"$os\"", "{\"$initial_os\":\"A\",\"$os\":\"new\"}" },
        { "{\"$initial_os\":\"new\",\"$os\":\"A\"}", "\"$os\"", "{\"$initial_os\":\"new\",\"$os\":\"new\"}" },
        { "{\"$initial_os\":\"A\",\"x\":1,\"$os\":\"new\"}", "\"$initial_os\"", "{\"$initial_os\":\"new\",\"x\":1,\"$os\":\"new\"}" },
        { "{\"$initial_os\":\"A\",\"x\":1,\"$os\":\"A\"}", NULL, "{\"x\":1,\"$os\":\"A\"}" }, /* the first is left out */
    };
    struct arena *arena = arena_new(1 << 16, 1 << 20);
    struct err    err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span          packed = pack(arena, span_text(rows[i].before)), want = pack(arena, span_text(rows[i].after));
        uint8_t             *to = arena_alloc(arena, 500);
        struct packed_reader reader;
        struct packed_member member;
        struct packed_writer writer;
        size_t               at = 0;

        packed_begin(&writer, to);
        assert_int_equal(packed_reader_init(&reader, packed, &err), 0);
        for (; packed_next(&reader, &member, &err) > 0; at++)
            if (rows[i].changed == NULL ? at > 0 : !span_is(member.key, rows[i].changed))
                packed_add_coded(&writer, &member);
            else if (rows[i].changed != NULL)
                packed_add(&writer, member.word, member.key, SPAN("\"new\""));
        assert_true(span_equal(span_of(to, packed_end(&writer)), want));
    }
    arena_free(arena);
}

/* A word that changed its number, or another hash of them, would make other persons of stored ones. */
static void words_are_those_of_form_1(void **state)
{
    uint32_t crc = 0;

    (void)state;
    for (unsigned i = 1; i <= PACKED_KEYS; i++) {
        struct span key = span_of(packed_keys[i].text, packed_keys[i].bytes);

        assert_int_equal(key.bytes, strlen(packed_keys[i].text) - 1);
        assert_int_equal(packed_keys[i].text[key.bytes], ':');
        assert_int_equal(packed_key_find(key), i);
        crc = crc32c(crc, key);
    }
    for (unsigned i = 1; i <= PACKED_WORDS_OF_VALUES; i++) {
        struct span        value = span_of(packed_values[i].text, packed_values[i].bytes);
        struct json_reader reader;
        struct json_value  is;

        json_reader_init(&reader, value, 0);
        assert_int_equal(json_skip(&reader, &is), 0);
        assert_int_equal(json_finish(&reader), 0);
        assert_int_equal(packed_value_find(value), i);
        crc = crc32c(crc, value);
    }
    assert_int_equal(packed_key_find(SPAN("\"$browsers\"")), 0);
    assert_int_equal(packed_key_find(SPAN("")), 0);
    assert_int_equal(packed_value_find(SPAN("\"chrome\"")), 0);
    assert_int_equal(PACKED_PAIRS, 62);
    assert_int_equal(PACKED_KEYS, 206);
    assert_int_equal(packed_pair(packed_key_find(SPAN("\"$browser\""))), packed_pair(packed_key_find(SPAN("\"$initial_browser\""))));
    assert_int_equal(packed_pair(packed_key_find(SPAN("\"email\""))), 0);
    assert_int_equal(crc, PACKED_TEST_CRC);
}

static const struct { const char *name; struct span packed; } damages[] = {
    { "no head", SPAN("\1\0\0\0") },
    { "no members, though there is text", SPAN("\1\2\0\0\0") },
    { "more text than may be", SPAN("\1\xff\xff\xff\x7f" BROWSER CHROME) },
    { "less text than there is", SPAN("\1\x13\0\0\0" BROWSER CHROME) },
    { "more text than there is", SPAN("\1\x16\0\0\0" BROWSER CHROME) },
    { "no text at all", SPAN("\1\0\0\0\0" BROWSER CHROME) },
    { "a key without a value", SPAN("\1\x15\0\0\0" BROWSER) },
    { "the number 0 for a key", SPAN("\1\x15\0\0\0\0" CHROME) },
    { "a word that is none", SPAN("\1\x15\0\0\0\xcf" CHROME) },
    { "a value that ends early", SPAN("\1\x13\0\0\0" BROWSER "\x45\"Lyn") },
    { "a key that ends early", SPAN("\1\x13\0\0\0\xdf\"m") },
    { "a key without quotes", SPAN("\1\x13\0\0\0\xdcm\x06") },
    { "the pair's value, and there is none", SPAN("\1\x13\0\0\0" BROWSER "\0") },
    { "the pair's value of a key that has no pair", SPAN("\1\x13\0\0\0" CREATOR "\0") },
    { "the pair's value of a key of its own", SPAN("\1\x13\0\0\0\xdf\"my\"\0") },
    { "a length that ends early", SPAN("\1\x13\0\0\0" BROWSER "\xff\x80") },
    { "a length that does not end", SPAN("\1\x13\0\0\0" BROWSER "\xff\x80\x80\x80\x80\x80\x01") },
    { "a long value of no bytes", SPAN("\1\x0d\0\0\0" BROWSER "\xff\0") },
};

static void damage_is_told(void **state)
{
    struct arena *arena = arena_new(1 << 16, 1 << 30);
    struct span   text, packed;

    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct err err = { 0 };
        uint8_t   *exact = malloc(damages[i].packed.bytes); /* at its end a sanitizer stands guard */

        memcpy(exact, damages[i].packed.at, damages[i].packed.bytes);
        if (packed_text_in_arena(span_of(exact, damages[i].packed.bytes), arena, &text, &err) == 0)
            fail_msg("%s: became text", damages[i].name);
        assert_int_equal(err.kind, ERR_CORRUPT);
        free(exact);
    }
    packed = pack(arena, SPAN("{\"$initial_os\":\"Windows\",\"$os\":\"Windows\",\"mine\":\"0123456789\"}"));
    for (size_t cut = 1; cut < packed.bytes; cut++) {
        struct err err = { 0 };

        assert_int_equal(packed_text_in_arena(span_of(packed.at, cut), arena, &text, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_what_is_drawn),   cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(text_stays_text),           cmocka_unit_test(changed_pairs_are_written_anew),
        cmocka_unit_test(words_are_those_of_form_1), cmocka_unit_test(damage_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
