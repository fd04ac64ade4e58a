/* ingest/elements_test.c - chains, and the order of attributes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/elements.h"
#include "ingest/member_list.h"

#define X100 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct { const char *elements, *chain; } chains[] = {
    /* vector H01 */
    { "[{\"tag_name\":\"a\",\"$el_text\":\"Buy \\\"now\\\"\",\"attr__href\":\"/shop\",\"attr__class\":\"zeta alpha\","
      "\"nth_child\":2,\"nth_of_type\":1},{\"tag_name\":\"div\",\"attr__id\":\"root\"}]",
      "a.alpha.zeta:attr__class=\"zeta alpha\"attr__href=\"/shop\"href=\"/shop\"nth-child=\"2\"nth-of-type=\"1\""
      "text=\"Buy \\\"now\\\"\";div:attr__id=\"root\"attr_id=\"root\"nth-child=\"0\"nth-of-type=\"0\"" },
    /* vector H03 */
    { "[]", "" },
    { "\"str\"", "" },
    { "[1,\"x\",null]", "" },
    { "[{}]", ":nth-child=\"0\"nth-of-type=\"0\"" },
    { "[{\"tag_name\":\"p\",\"attr__class\":[\"b\",\"a\\\"q\"]}]",
      "p.aq.b:attr__class=\"[\\\"b\\\",\\\"a\\\\\"q\\\"]\"nth-child=\"0\"nth-of-type=\"0\"" },
    { "[{\"tag_name\":\"p\",\"$el_text\":\"\",\"attr__href\":\"\",\"attr__id\":\"\"}]",
      "p:attr__href=\"\"attr__id=\"\"nth-child=\"0\"nth-of-type=\"0\"" },
    { "[{\"tag_name\":\"p\",\"$el_text\":\"" X100 X100 X100 X100 "y\"}]",
      "p:nth-child=\"0\"nth-of-type=\"0\"text=\"" X100 X100 X100 X100 "\"" },
    { "[{\"tag_name\":\"p\",\"other\":1,\"attr__a\":true,\"attr__b\":null,\"attr__c\":5}]",
      "p:attr__a=\"true\"attr__c=\"5\"nth-child=\"0\"nth-of-type=\"0\"" },
};

static void test_chains(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        struct arena     *arena = arena_new(1 << 12, 1 << 24);
        struct json_value value = value_of(span_text(chains[i].elements));
        struct span       chain;
        struct err        err = { 0 };

        assert_int_equal(elements_chain(&value, arena, &chain, &err), 0);
        if (!span_is(chain, chains[i].chain))
            fail_msg("%s gives %.*s", chains[i].elements, (int)chain.bytes, (const char *)chain.at);
        arena_free(arena);
    }
}

/* Vector H06. The order of the root collation over all of printable ASCII, lower case before upper. */
static void test_order(void **state)
{
    static const char  ascii[] = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ";
    static const char *keys[] = { "_u", "attr__type", "attr-x", "nth-child", "nth-of-type", "Zed", "zed1", "\xc3\xa9" };

    (void)state;
    for (size_t i = 0; i + 1 < sizeof ascii - 1; i++)
        assert_true(elements_compare_keys(span_of(ascii + i, 1), span_of(ascii + i + 1, 1)) < 0);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (size_t j = 0; j < sizeof keys / sizeof *keys; j++) {
            int order = elements_compare_keys(span_text(keys[i]), span_text(keys[j]));

            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    assert_true(elements_compare_keys(SPAN("aB"), SPAN("Ab")) < 0); /* case decides from the left, and last */
    assert_true(elements_compare_keys(SPAN("Aa"), SPAN("ab")) < 0);
    assert_true(elements_compare_keys(SPAN("a\x01"), SPAN("a")) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_chains), cmocka_unit_test(test_order) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
