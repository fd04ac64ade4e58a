/* command/config_test.c - what a configuration file may say, and what each mistake is answered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "command/command.h"
#include "command/config.h"
#include "command/supervisor.h"

static struct config config;

static int load(const char *text, struct err *err)
{
    *err = (struct err){ .kind = ERR_NONE };
    assert_int_equal(config_init(&config, err), 0);
    return config_load_text(&config, "f.yaml", text, strlen(text), err);
}

static void files_that_are_right(void **state)
{
    static const struct { const char *text, *key, *value, *source; } rows[] = {
        { "", "listen", "127.0.0.1:8000", "default" },
        { "\n  \n", "listen", "127.0.0.1:8000", "default" },
        { "# only a comment\n", "listen", "127.0.0.1:8000", "default" },
        { "listen: 0.0.0.0:9000\n", "listen", "0.0.0.0:9000", "f.yaml:1" },
        { "\nlisten: \"[::]:9000\"\n", "listen", "[::]:9000", "f.yaml:2" },
        { "capture:\n  body_bytes_max: 1MiB\n", "capture.body_bytes_max", "1MiB", "f.yaml:2" },
        { "capture.body_bytes_max: 1MiB\n", "capture.body_bytes_max", "1MiB", "f.yaml:1" },
        { "{capture: {body_bytes_max: 1MiB}}", "capture.body_bytes_max", "1MiB", "f.yaml:1" },
        { "capture:\nlisten: :1\n", "listen", ":1", "f.yaml:2" },
        { "---\nlisten: :1\n", "listen", ":1", "f.yaml:2" },
        { "listen: [\":1\", \"[::]:2\"]\n", "listen", ":1, [::]:2", "f.yaml:1" },
        { "listen:\n  - :1\n  - unix:/x mode=0600\n", "listen", ":1, unix:/x mode=0600", "f.yaml:2" },
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (load(rows[i].text, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_string_equal(config_find(&config, rows[i].key)->text, rows[i].value);
        assert_string_equal(config_find(&config, rows[i].key)->source, rows[i].source);
        config_fini(&config);
    }
}

static void files_that_are_wrong(void **state)
{
    static const struct { const char *text, *where, *what; } rows[] = {
        { "lisen: :1\n", "f.yaml:1:1: ", "did you mean \"listen\"" },
        { "\n  capture:\n    body_bytes_mx: 1MiB\n", "f.yaml:3:5: ", "did you mean \"capture.body_bytes_max\"" },
        { "captur:\n  body_bytes_max: 1MiB\n", "f.yaml:1:1: ", "there is no key \"captur\"" },
        { "capture:\n  body_bytes_max: 20 MB\n", "f.yaml:2:19: ", "a size such as" },
        { "capture:\n  body_bytes_max: 99999TiB\n", "f.yaml:2:19: ", "must be from" },
        { "capture:\n  body_bytes_max: [1, 2]\n", "f.yaml:2:3: ", "takes one value: a size from" },
        { "capture:\n  body_bytes_max: {a: 1}\n", "f.yaml:2:3: ", "takes one value" },
        { "capture:\n  body_bytes_max:\n", "f.yaml:2:3: ", "takes one value" },
        { "capture: 5\n", "f.yaml:1:10: ", "takes keys below it" },
        { "capture: [body_bytes_max]\n", "f.yaml:1:1: ", "takes keys below it" },
        { "data: [a, b]\n", "f.yaml:1:1: ", "takes one value" },
        { "listen: [\":1\", {a: 1}]\n", "f.yaml:1:1: ", "a text, or a list of texts" },
        { "listen: [\":1\", \":2, :3\"]\n", "f.yaml:1:1: ", "a text, or a list of texts" },
        { "listen: []\n", "f.yaml:", "empty address" },
        { "listen: [\":1\",\n  nine]\n", "f.yaml:1:11: ", "\"nine\" is no address" },
        { "listen: &a :1\ndata: *a\n", "f.yaml:2:1: ", "takes one value" },
        { "- listen\n", "f.yaml:1:1: ", "`key: value`" },
        { "just words\n", "f.yaml:1:1: ", "`key: value`" },
        { "listen: :1\nlisten: :2\n", "f.yaml:2:1: ", "duplicate" },
        { "listen: [1\n", "f.yaml:", "" },
        { "listen: \"abc\n", "f.yaml:", "" },
        { "\tlisten: :1\n", "f.yaml:", "" },
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (load(rows[i].text, &err) == 0)
            fail_msg("row %zu was taken", i);
        if (err.kind != ERR_INPUT || strncmp(err.text, rows[i].where, strlen(rows[i].where)) != 0 ||
            strstr(err.text, rows[i].what) == NULL)
            fail_msg("row %zu: %s", i, err.text);
        config_fini(&config);
    }
}

/* Every option of every role fits its own table, and both of its limits are taken. */
static void every_limit_is_taken(void **state)
{
    struct err err = { .kind = ERR_NONE };

    (void)state;
    assert_int_equal(config_init(&config, &err), 0);
    for (size_t i = 0; i < config.count; i++) {
        const struct option *option = config.values[i].option;
        char                 key[200], text[64];

        config_key(&config.values[i], key, sizeof key);
        assert_true(strlen(option->help) > 10);
        if (option->type == OPTION_TEXT || option->type == OPTION_BOOL || option->type == OPTION_LIST)
            continue;
        for (int high = 0; high < 2; high++) {
            (void)snprintf(text, sizeof text, "%lld%s", (long long)(high ? option->max : option->min),
                           option->type == OPTION_DURATION ? "us" : "");
            if (config_set(&config, key, text, "test", &err) < 0)
                fail_msg("%s: %s", key, err.text);
        }
        if (option->max == INT64_MAX)
            continue;
        (void)snprintf(text, sizeof text, "%lld%s", (long long)option->max + 1, option->type == OPTION_DURATION ? "us" : "");
        assert_int_equal(config_set(&config, key, text, "test", &err), -1);
    }
    config_fini(&config);
}

static void the_nearest_word(void **state)
{
    static const char *const words[] = { "serve", "status", "token list", "token create", NULL };

    (void)state;
    assert_string_equal(nearest_word("sreve", words), "serve");
    assert_string_equal(nearest_word("stats", words), "status");
    assert_string_equal(nearest_word("tokn list", words), "token list");
    assert_null(nearest_word("banana", words));
    assert_null(nearest_word("", words));
}

/* At once, then 0.2 s doubling to 10 s; a second of life forgives. */
static void back_off_doubles_and_forgives(void **state)
{
    static const int64_t waits_ms[] = { 0, 200, 400, 800, 1600, 3200, 6400, 10000, 10000 };
    int64_t              memory = 0;

    (void)state;
    for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++)
        assert_int_equal(supervisor_back_off(&memory, 1000), waits_ms[i] * 1000);
    assert_int_equal(supervisor_back_off(&memory, 999999), 10000000);
    assert_int_equal(supervisor_back_off(&memory, 1000000), 0);
    assert_int_equal(supervisor_back_off(&memory, 0), 200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_right),   cmocka_unit_test(files_that_are_wrong),
        cmocka_unit_test(every_limit_is_taken),   cmocka_unit_test(the_nearest_word),
        cmocka_unit_test(back_off_doubles_and_forgives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
