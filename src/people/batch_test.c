/* people/batch_test.c - what events do to persons and groups, as small stories. Merges: merge_test.c; what operators do:
 * operate_test.c; what is too large: trim_test.c. */
#include "people/story_test_kit.h"

static void updates(void **state)
{
    static const char *const stories[] = {
        "# vector D03\n"
        "view n {\"$set_once\":{\"a\":1,\"b\":2},\"$set\":{\"b\":3,\"c\":4}}\n"
        "? n v0 anon {\"a\":1,\"b\":3,\"c\":4}\ntold n v0\nov n n 0\n= @n",

        "# vector D04\n"
        "+ n {}\nview n {\"$set\":{\"a\":1}}\n= {\"a\":1}\nview n {\"$set\":{\"a\":2}}\n= {\"a\":2}\n"
        "? n v1 anon {\"a\":2}\ntold n v1",

        "# vector D05\n"
        "+ n {\"b\":3,\"c\":4}\nview n {\"$set_once\":{\"c\":3,\"e\":4},\"$set\":{\"b\":4}}\n? n v1 anon "
        "{\"b\":4,\"c\":4,\"e\":4}",

        "# vector D06\n"
        "+ n {\"b\":3}\nview n {\"$set_once\":{\"b\":9},\"$set\":{\"b\":3}}\n? n v0 anon {\"b\":3}\ntold n not",

        "# vector D07\n"
        "+ n {\"x\":null}\nview n {\"$set_once\":{\"x\":5}}\n? n v1 anon {\"x\":5}",
        "+ n {\"x\":null}\nview n {\"$set_once\":{\"x\":null}}\n? n v0 anon {\"x\":null}",
        "+ n {\"x\":null}\nview n {\"$set_once\":{\"x\":5},\"$set\":{\"x\":6}}\n? n v1 anon {\"x\":6}",

        /* Only what is filtered changed: on the row, not on the person. */
        "# vector D08\n"
        "+ n {\"$current_url\":\"u1\"}\nview n {\"$set\":{\"$current_url\":\"u2\"}}\n= {\"$current_url\":\"u2\"}\n"
        "? n v0 anon {\"$current_url\":\"u1\"}\ntold n not",
        "# vector D09\n"
        "+ n {\"$current_url\":\"u1\"}\n$set n {\"$set\":{\"$current_url\":\"u2\"}}\n? n v1 anon "
        "{\"$current_url\":\"u2\"}",
        "# vector D10\n"
        "+ n {}\nview n {\"$set\":{\"$current_url\":\"u2\"}}\n? n v1 anon {\"$current_url\":\"u2\"}",
        "# vector D11\n"
        "+ n {\"$current_url\":\"u1\",\"plan\":\"a\"}\nview n {\"$set\":{\"$current_url\":\"u2\",\"plan\":\"b\"}}\n"
        "? n v1 anon {\"$current_url\":\"u2\",\"plan\":\"b\"}",
        "# vector D12\n"
        "+ n {\"$geoip_country_name\":\"A\",\"$geoip_latitude\":1}\n"
        "view n {\"$set\":{\"$geoip_country_name\":\"B\",\"$geoip_latitude\":2}}\n"
        "? n v1 anon {\"$geoip_country_name\":\"B\",\"$geoip_latitude\":2}",
        "# vector D13\n"
        "+ n {\"$geoip_latitude\":1}\nview n {\"$set\":{\"$geoip_latitude\":2}}\n? n v0 anon {\"$geoip_latitude\":1}",
        "# vector D14\n"
        "+ n {\"$initial_current_url\":\"a\"}\nview n {\"$set\":{\"$initial_current_url\":\"b\"}}\n"
        "? n v1 anon {\"$initial_current_url\":\"b\"}",
        "+ n {\"$os\":1,\"k\":1}\nview n {\"$set\":{\"$os\":2},\"$unset\":[\"k\"]}\n? n v1 anon {\"$os\":2}",
        /* Every event for itself: what was only shown does not come back with a later write. */
        "+ n {\"$os\":1}\nview n {\"$set\":{\"$os\":2}}\nview n {\"$set\":{\"k\":1}}\n= {\"$os\":1,\"k\":1}\n? n v1 "
        "anon "
        "{\"$os\":1,\"k\":1}",

        "# vector D15\n"
        "+ n {\"a\":1,\"b\":2}\nview n {\"$unset\":[\"a\",\"zz\"]}\n= {\"b\":2}\n? n v1 anon {\"b\":2}",
        "# vector D16\n"
        "+ n {\"a\":1}\nview n {\"$unset\":{\"a\":\"\"}}\n? n v1 anon {}",
        "# vector D17: last, but the row shows what was set\n"
        "+ n {\"a\":1}\nview n {\"$set\":{\"a\":2},\"$unset\":[\"a\"]}\n= {\"a\":2}\n? n v1 anon {}",
        "+ n {}\nview n {\"$set\":{\"a\":2},\"$unset\":[\"a\"]}\n? n v1 anon {\"a\":2}",
        "+ n {\"a\":1,\"b\":2,\"c\":3}\nview n {\"$unset\":[\"a\",\"a\",\"c\",\"b\"]}\nview n {\"$set\":{\"b\":7}}\n? "
        "n v1 anon "
        "{\"b\":7}",
        "+ n {\"a\":1}\nview n {\"$unset\":[\"zz\"]}\n? n v0 anon {\"a\":1}",

        "# vector D19\n"
        "+ n {\"o\":{\"x\":1}}\nview n {\"$set\":{\"o\":{\"x\":1}}}\n? n v1 anon {\"o\":{\"x\":1}}",
        "+ n {\"l\":[]}\nview n {\"$set\":{\"l\":[]}}\n? n v1 anon {\"l\":[]}",
        "# vector D20\n"
        "+ n {\"b\":3}\n$$heatmap n {\"$set\":{\"b\":4}}\n= {\"b\":4}\n? n v0 anon {\"b\":3}",
        "# vector D21\n"
        "bare_identify n {\"$set\":{\"a\":1}}\n? n v0 anon {\"a\":1}",
        "# vector D27\n"
        "+ n {}\nview n {\"$set\":{\"toString\":1,\"__proto__\":2,\"\":3}}\n? n v1 anon "
        "{\"toString\":1,\"__proto__\":2,\"\":3}",

        "# vector D23: changed, then merged, then changed, all before the first is written\n"
        "+ o {\"x\":1}\n+ n {\"k\":1}\nview o {\"$set\":{\"a\":1}}\nidentify n o\nview o {\"$set\":{\"b\":2}}\n= @n\n"
        "? o @n\n? n v2 ident {\"k\":1,\"x\":1,\"a\":1,\"b\":2}",
        "# vector D28\n"
        "+ n {}\nalso n o\nview n {\"$set\":{\"a\":1}}\nview o {\"$set\":{\"b\":2}}\n? n v1 anon {\"a\":1,\"b\":2}\n? o @n",
        "# vector D28, a batch each\n"
        "+ n {}\nalso n o\nview n {\"$set\":{\"a\":1}}\n/\nview o {\"$set\":{\"b\":2}}\n? n v2 anon {\"a\":1,\"b\":2}",

        /* The text of a value stays what it was sent as. */
        "+ n {\"i\":1}\nview n {\"$set\":{\"i\":1.0}}\n? n v0 anon {\"i\":1}",
        "+ n {\"i\":9007199254740993}\nview n {\"$set\":{\"i\":9007199254740992}}\n? n v1 anon "
        "{\"i\":9007199254740992}",
        "+ n {\"i\":1e400}\nview n {\"$set\":{\"i\":1e401}}\n? n v1 anon {\"i\":1e401}",
        "+ n {\"i\":0}\nview n {\"$set\":{\"i\":-0.0}}\n? n v0 anon {\"i\":0}",
        "+ n {\"i\":0}\nview n {\"$set\":{\"i\":1e-400}}\n? n v1 anon {\"i\":1e-400}",
        "+ n {\"s\":\"a\"}\nview n {\"$set\":{\"s\":\"\\u0061\"}}\n? n v0 anon {\"s\":\"a\"}",
        "+ n {\"s\":\"1\"}\nview n {\"$set\":{\"s\":1}}\n? n v1 anon {\"s\":1}",
        "+ n {\"\\u0061\":1}\nview n {\"$set\":{\"a\":2}}\n? n v1 anon {\"\\u0061\":2}",
        "+ n {\"q\\\"\":\"\\\\\",\"r\":\"}{,:\\\"\",\"o\":{\"]\":[\"\\\"}\"]}}\nview n {\"$set\":{\"z\":1}}\n"
        "? n v1 anon {\"q\\\"\":\"\\\\\",\"r\":\"}{,:\\\"\",\"o\":{\"]\":[\"\\\"}\"]},\"z\":1}",
        "+ n { \"a\" : 1 , \"b\" : [ 1 ] }\nview n {\"$set\":{\"a\":2}}\n? n v1 anon {\"a\":2,\"b\":[ 1 ]}",
        "+ n {\"a\":true,\"b\":null,\"c\":false}\nview n {\"$set\":{\"a\":true,\"b\":null,\"c\":false}}\n? n v0 anon "
        "{\"a\":true,\"b\":null,\"c\":false}",

        /* An unset person property that comes again; versions rise once a batch. */
        "view n {\"$set\":{\"a\":1}}\n/\nview n {\"$unset\":[\"a\"]}\n/\nview n {\"$set_once\":{\"a\":2}}\n? n v2 anon "
        "{\"a\":2}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void personless(void **state)
{
    static const char *const stories[] = {
        "# vector F01\n"
        "personless n {\"$set\":{\"a\":1}}\n= @n\n= at 5\n= {}\n= propertyless\n? nobody n\ntold n not",
        "# vector F02\n"
        "personless n\nidentify n o\n? n @n\n? n #0\n? o #1",
        "# vector F03\n"
        "personless o\nview n\nidentify n o\n/\nov o n 1\n? o @n",
        "# vector F05\n"
        "+ n {}\nlater 300\npersonless n\n= force_upgrade\n= @n\n= at 1709287200\n= {}",
        "# vector F06\n"
        "+ n {}\nlater 30\npersonless n\n= propertyless\n= @n\n= at 1709287200",
        "+ n {}\nlater 60\npersonless n\n= propertyless",
        "# vector F07\n"
        "+ n {}\nlater 300\noptout n\n= propertyless\n= at 1709287200",
        "# vector F08\n"
        "+ n {\"c\":1}\npersonless n {\"$set\":{\"c\":2}}\n= {}\n? n v0 anon {\"c\":1}",
        "# vector F10\n"
        "+ o {}\nidentify n o\nlater 300\npersonless n\n= @o\nforced n\n= @n\n= at 5\n= propertyless",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* A flag that a server asks for must not make a person of each id that it was asked about. */
static void known_only(void **state)
{
    static const char *const stories[] = {
        ("# vector F12\n"
         "known n {\"$set\":{\"a\":1}}\n= propertyless\n= @n\n= at 5\n= {}\n? nobody n\ntold n not"),
        "+ n {\"c\":1}\nknown n\n= full\n= {\"c\":1}\n= at 1709287200\n? n v0 anon {\"c\":1}",
        "+ n {\"c\":1}\nknown n {\"$set\":{\"c\":2}}\n= {\"c\":2}\n? n v1 anon {\"c\":2}",
        "view n\nknown n\n= full", /* made by an event before it in the batch */
        "+ n {}\ndelete n\nknown n\n= propertyless\n? nobody n",
        "known n\nview n {\"$set\":{\"a\":1}}\n? n v0 anon {\"a\":1}",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* T is 10:00:00. */
static void last_seen(void **state)
{
    static const char *const stories[] = {
        "# vector D26\n"
        "later 2220\nseen n\n? n seen 0\ntold n v0\n? n v0 anon {}\n" /* 10:37 */
        "later 3540\nseen n\n? n seen 0\ntold n not\n"                /* 10:59 */
        "later 3720\nseen n\n? n seen 3600\ntold n v1\n"              /* 11:02 */
        "later -3600\nseen n\n? n seen 3600\ntold n not",             /* 09:00, late */
        "+ n {}\nview n\n? n seen never\ntold n not",
        "+ n {}\nseen n\n? n seen 0\ntold n v1",
        "+ n {}\nseen n\nlater 3600\nseen n\nlater 7200\nview n\n? n seen 3600\ntold n v1", /* a batch is a step */
        "+ n {}\n$exception n\n? n seen never",
        "later -1709287201\nseen n\n? n seen -1709290800", /* a second before 1970 */
        "seen o\nlater 7200\nseen n\nidentify n o\n? n seen 7200",
        "seen n\nlater 7200\nseen o\nidentify n o\n? n seen 7200",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void groups(void **state)
{
    static const char *const stories[] = {
        "# vector G01\n"
        "group org o1 {\"foo\":\"bar\"}\norg 0 o1 v1 {\"foo\":\"bar\"}",
        "# vector G07\n"
        "group org o1 {\"foo\":\"bar\"}\n/\ngroup org o1 {\"foo\":\"bar\"}\norg 0 o1 v1 {\"foo\":\"bar\"}",
        "# vector G08, G12: one writer, so one after the other\n"
        "group org o1 {\"foo\":\"bar\"}\n/\ngroup org o1 {\"foo2\":1}\norg 0 o1 v2 {\"foo\":\"bar\",\"foo2\":1}",
        "group org o1 {\"foo\":\"bar\"}\ngroup org o1 {\"foo2\":1}\norg 0 o1 v2 {\"foo\":\"bar\",\"foo2\":1}",
        "group org o1 {}\norg 0 o1 v1 {}",
        "# vector G09\n"
        "group org o1 {\"n\":1}\n/\ngroup org o1 {\"n\":\"1\"}\norg 0 o1 v1 {\"n\":1}",
        "group org o1 {\"n\":1,\"t\":true,\"z\":0,\"s\":\" 2 \",\"x\":null}\n/\n"
        "group org o1 {\"n\":true,\"t\":\"1\",\"z\":\"\",\"s\":2.0}\norg 0 o1 v1 "
        "{\"n\":1,\"t\":true,\"z\":0,\"s\":\" 2 \",\"x\":null}",
        "group org o1 {\"x\":null}\n/\ngroup org o1 {\"x\":0}\norg 0 o1 v2 {\"x\":0}",
        "group org o1 {\"s\":\"a\"}\n/\ngroup org o1 {\"s\":\"b\"}\norg 0 o1 v2 {\"s\":\"b\"}",
        "group org o1 {\"s\":\"1a\"}\n/\ngroup org o1 {\"s\":1}\norg 0 o1 v2 {\"s\":1}",
        "group org o1 {\"l\":[1]}\n/\ngroup org o1 {\"l\":[1]}\norg 0 o1 v2 {\"l\":[1]}",
        "# vector G14\n"
        "group org k {\"a\":1}\ngroup team k {\"b\":2}\norg 0 k v1 {\"a\":1}\nteam 1 k v1 {\"b\":2}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void group_of_events(void **state)
{
    static const char *const types[] = { "org", "team", "c", "d", "e", "sixth" };
    struct world world = { .story = "groups of ordinary events" };
    struct json_members set;
    struct people_group group = { 0 };
    struct err err = { 0 };
    int64_t early_us = T_US - (int64_t)4 * 365 * 86400 * 1000000;

    (void)state;
    world_open(&world);
    for (int i = 0; i < 6; i++) {
        MUST(&world, people_batch_group(world.batch, PROJECT, span_text(types[i]), SPAN("k"), &group, &err));
        assert_int_equal(group.found, i < 5);
        assert_true(i == 5 || group.index == i);
        assert_false(group.known);
        assert_true(span_is(group.properties, "{}"));
    }
    MUST(&world, json_members_read(SPAN("{\"a\":1}"), world.arena, &set, &err));
    MUST(&world,
         people_batch_group_set(world.batch, PROJECT, SPAN("sixth"), SPAN("k"), &set, T_US, T_US, &group, &err));
    assert_false(group.found);
    MUST(&world,
         people_batch_group_set(world.batch, PROJECT, SPAN("team"), SPAN("k"), &set, early_us, T_US, &group, &err));
    assert_true(group.found && group.known && group.index == 1 && group.created_us == early_us);
    MUST(&world,
         people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("k"), NULL, T_US + 5, T_US, &group, &err));
    assert_true(group.known && group.index == 0 && group.created_us == T_US);
    world_flush(&world);
    MUST(&world, people_batch_group(world.batch, PROJECT, SPAN("team"), SPAN("k"), &group, &err));
    assert_true(group.known && group.created_us == early_us && span_is(unpacked(&world, group.properties), "{\"a\":1}"));
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates),
        cmocka_unit_test(personless),
        cmocka_unit_test(known_only),
        cmocka_unit_test(last_seen),
        cmocka_unit_test(groups),
        cmocka_unit_test(group_of_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
