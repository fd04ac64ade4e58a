/* wire/form_test.c - fields as the WHATWG URL standard §5.1 reads them, and when a body is a form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/form.h"

/* fields: "name=value|name=value", still encoded. */
static const struct { const char *text, *fields; } walks[] = {
    { "", "" },
    { "a=1", "a=1|" },
    { "a=1&b=2", "a=1|b=2|" },
    { "&&a=1&&b=2&", "a=1|b=2|" },
    { "a", "a=|" },
    { "a=", "a=|" },
    { "=1", "=1|" },
    { "=", "=|" },
    { "a=b=c", "a=b=c|" },
    { "a=%26&%61=+", "a=%26|%61=+|" },
};

static void fields_are_walked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
        struct span       at = span_text(walks[i].text);
        struct form_field field;
        struct buf        got;

        buf_init(&got, 1000);
        while (form_next(&at, &field)) {
            buf_add(&got, field.name_raw);
            buf_add_byte(&got, '=');
            buf_add(&got, field.value_raw);
            buf_add_byte(&got, '|');
        }
        if (!span_is(buf_span(&got), walks[i].fields))
            fail_msg("%s: %.*s", walks[i].text, SPAN_ARG(buf_span(&got)));
        buf_fini(&got);
    }
}

static const struct { const char *text, *name, *value; } finds[] = {
    { "a=1&data=x&data=y", "data", "x" },
    { "adata=1&data2=2&dat=3&data=4", "data", "4" },
    { "d%61t%61=x", "data", "x" },
    { "d%6=1&d%zz=2&data=3", "data", "3" },
    { "Data=x", "data", NULL },
    { "a+b=x", "a b", "x" },
    { "data", "data", "" },
    { "", "data", NULL },
    { "data%00=x", "data", NULL },
};

static void fields_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof finds / sizeof *finds; i++) {
        struct span value;
        bool        found = form_find(span_text(finds[i].text), finds[i].name, &value);

        if (found != (finds[i].value != NULL) || (found && !span_is(value, finds[i].value)))
            fail_msg("%s", finds[i].text);
    }
}

static const struct { const char *raw, *decoded; } decodes[] = {
    { "", "" },           { "abc", "abc" },     { "a+b", "a b" },     { "%2B%2b", "++" },
    { "%41%7a", "Az" },   { "%C3%A4", "\xc3\xa4" }, { "%ff", "\xff" }, { "a%", NULL },
    { "a%4", NULL },      { "%zz", NULL },      { "%4g", NULL },      { "%g4", NULL },
    { "%%41", NULL },     { "100%", NULL },     { "% 41", NULL },     { "%+1", NULL },
};

static void values_are_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decodes / sizeof *decodes; i++) {
        struct buf out;
        bool       right;

        buf_init(&out, 100);
        buf_add_text(&out, "before");
        right = form_decode(span_text(decodes[i].raw), &out);
        if (right != (decodes[i].decoded != NULL))
            fail_msg("%s", decodes[i].raw);
        assert_true(span_is(span_from(buf_span(&out), 6), right ? decodes[i].decoded : ""));
        buf_fini(&out);
        /* The ceiling is counted in decoded bytes. */
        for (size_t cap = 0; right && cap <= strlen(decodes[i].decoded); cap++) {
            buf_init(&out, cap);
            assert_int_equal(form_decode(span_text(decodes[i].raw), &out), cap == strlen(decodes[i].decoded));
            buf_fini(&out);
        }
    }
}

static void forms_look_like_forms(void **state)
{
    char late[200];

    (void)state;
    assert_true(form_looks(SPAN("data=x")));
    assert_true(form_looks(SPAN("_=1&data=x")));
    assert_true(form_looks(SPAN("ip=1")));
    assert_true(form_looks(SPAN("compression=gzip")));
    assert_true(form_looks(SPAN("api_key=x&data=")));
    assert_false(form_looks(SPAN("api_key=x")));
    assert_false(form_looks(SPAN("ship=1")));
    assert_false(form_looks(SPAN("{\"data=\":1}")));
    assert_false(form_looks(SPAN("data")));
    assert_false(form_looks(SPAN("")));
    assert_false(form_looks(SPAN("ver=1&sent_at=2")));
    /* It counts when it begins within the first 128 bytes. */
    memset(late, 'x', sizeof late);
    memcpy(late + 126, "&data=", 6);
    assert_true(form_looks(span_of(late, sizeof late)));
    memset(late, 'x', sizeof late);
    memcpy(late + 127, "&data=", 6);
    assert_false(form_looks(span_of(late, sizeof late)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_walked),
        cmocka_unit_test(fields_are_found),
        cmocka_unit_test(values_are_decoded),
        cmocka_unit_test(forms_look_like_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
