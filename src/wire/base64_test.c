/* wire/base64_test.c - RFC 4648 §10, what each flavour takes, and the guess. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/base64.h"

/* NULL: not base64 in that flavour. */
static const struct { const char *text, *strict, *lenient; } rows[] = {
    { "", "", "" },
    { "Zg==", "f", "f" },
    { "Zm8=", "fo", "fo" },
    { "Zm9v", "foo", "foo" },
    { "Zm9vYg==", "foob", "foob" },
    { "Zm9vYmE=", "fooba", "fooba" },
    { "Zm9vYmFy", "foobar", "foobar" },
    { "Zg", NULL, "f" },
    { "Zg=", NULL, "f" },
    { "Zm8", NULL, "fo" },
    { "Zg===", NULL, NULL },
    { "Zm9v=", NULL, NULL },
    { "Zm9v====", NULL, NULL },
    { "Zm9vY", NULL, NULL },
    { "Z", NULL, NULL },
    { "=", NULL, NULL },
    { "==", NULL, NULL },
    { "====", NULL, NULL },
    { "Zh==", NULL, NULL }, /* unused bits */
    { "Zm9=", NULL, NULL },
    { "Z=g=", NULL, NULL },
    { "Zg==Zg==", NULL, NULL },
    { "Zm9v\n", NULL, NULL },
    { "Zm 9v", NULL, NULL },
    { "+/+/", "\xfb\xff\xbf", "\xfb\xff\xbf" },
    { "-_-_", NULL, "\xfb\xff\xbf" },
    { " / /", NULL, "\xfb\xff\xbf" },
    { "-/+_", NULL, "\xfb\xff\xbf" },
    { "Zm9v\x80m9v", NULL, NULL },
    { "Zm9vZm9.", NULL, NULL },
};

static void texts_are_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned flags = BASE64_STRICT; flags <= BASE64_LENIENT; flags++) {
            const char *want = flags == BASE64_STRICT ? rows[i].strict : rows[i].lenient;
            struct buf  out;

            buf_init(&out, 100);
            buf_add_text(&out, "before");
            if (base64_decode(span_text(rows[i].text), flags, &out) != (want != NULL) ||
                !span_is(span_from(buf_span(&out), 6), want != NULL ? want : ""))
                fail_msg("%s (%u)", rows[i].text, flags);
            buf_fini(&out);
        }
}

static void bytes_survive(void **state)
{
    uint8_t    bytes[256];
    struct buf text, back;

    (void)state;
    buf_init(&text, 1000);
    buf_init(&back, 1000);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 151 + 7);
    for (size_t length = 0; length <= sizeof bytes; length++) {
        buf_reset(&text);
        buf_reset(&back);
        base64_encode(span_of(bytes, length), &text);
        assert_int_equal(text.bytes, (length + 2) / 3 * 4);
        assert_true(base64_decode(buf_span(&text), BASE64_STRICT, &back));
        assert_true(span_equal(buf_span(&back), span_of(bytes, length)));
    }
    buf_fini(&text);
    buf_fini(&back);

    buf_init(&back, 5);
    assert_false(base64_decode(SPAN("Zm9vYmFy"), BASE64_STRICT, &back));
    buf_reset(&back);
    assert_true(base64_decode(SPAN("Zm9vYmE="), BASE64_STRICT, &back));
    buf_fini(&back);
}

static void guesses(void **state)
{
    char text[200];

    (void)state;
    assert_true(base64_looks_strict(SPAN("Zm9v")));
    assert_true(base64_looks_strict(SPAN("====")));
    assert_false(base64_looks_strict(SPAN("Zm9")));
    assert_false(base64_looks_strict(SPAN("")));
    assert_false(base64_looks_loose(SPAN("")));
    assert_false(base64_looks_strict(SPAN("Zm 9vZm9")));
    assert_true(base64_looks_loose(SPAN("Zm 9vZm9")));
    assert_false(base64_looks_strict(SPAN("Zm-_")));
    assert_false(base64_looks_loose(SPAN("Zm-_")));
    assert_false(base64_looks_strict(SPAN("{\"a\"")));
    memset(text, 'A', sizeof text);
    text[128] = '{'; /* nobody looks so far */
    assert_true(base64_looks_strict(span_of(text, sizeof text)));
    text[127] = '{';
    assert_false(base64_looks_strict(span_of(text, sizeof text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_decoded),
        cmocka_unit_test(bytes_survive),
        cmocka_unit_test(guesses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
