/* command/config_stores_test.c - backends in the configuration: what is taken, what must hold, and that no secret is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command/command.h"
#include "command/config_stores.h"

static struct config config;

static int load(const char *text, struct err *err)
{
    *err = (struct err){ .kind = ERR_NONE };
    return config_init(&config, err) < 0 || config_load_text(&config, "f.yaml", text, strlen(text), err) < 0 ||
                   config_check(&config, err) < 0 ? -1 : 0;
}

static void without_a_file_everything_is_embedded(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(load("", &err), 0);
    assert_false(log_on_kafka(&config.stores.log));
    assert_false(people_on_postgres(&config.stores.people));
    assert_false(warehouse_on_clickhouse(&config.stores.warehouse));
    assert_false(catalog_on_postgres(&config.stores.catalog));
    assert_false(log_on_kafka(NULL));
    config_fini(&config);
}

static void a_cluster_is_taken(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(load("log:\n  backend: kafka\n  brokers: [a:9092, \"[::1]:9093\"]\n  form: upstream\n  spool: off\n"
                          "  carry: [events_plugin_ingestion_overflow, error_tracking_events, custom]\n"
                          "  partitions: 64\n  sasl: SCRAM-SHA-512\n  sasl_user: me\n"
                          "people: {backend: postgres, url: \"postgresql://me@db/x\"}\n"
                          "warehouse: {backend: clickhouse, url: \"https://ch:8443\", cluster: main}\n"
                          "catalog: {backend: postgres, url: \"postgres://me@db/x\"}\n", &err), 0);
    assert_true(log_on_kafka(&config.stores.log) && people_on_postgres(&config.stores.people));
    assert_true(warehouse_on_clickhouse(&config.stores.warehouse) && catalog_on_postgres(&config.stores.catalog));
    assert_string_equal(config.stores.log.brokers, "a:9092, [::1]:9093");
    assert_string_equal(config.stores.log.carry, "events_plugin_ingestion_overflow, error_tracking_events, custom");
    assert_string_equal(config.stores.log.form, "upstream");
    assert_false(config.stores.log.spool);
    assert_int_equal(config.stores.log.partitions, 64);
    assert_string_equal(config.stores.warehouse.cluster, "main");
    assert_string_equal(config.stores.warehouse.database, "penstock");
    config_fini(&config);
}

static void what_cannot_be_is_told(void **state)
{
    static const struct { const char *text, *what; } rows[] = {
        { "log: {backend: kafka}\n", "log.backend: kafka needs log.brokers" },
        { "log: {backend: rabbit}\n", "f.yaml:1:16: log.backend: \"rabbit\" is not one of them; it takes embedded or kafka" },
        { "log: {brokers: [a]}\n", "\"a\" is no address of a broker" },
        { "log: {brokers: [\"a:0\"]}\n", "\"a:0\" is no address of a broker" },
        { "log: {brokers: [\"a:70000\"]}\n", "\"a:70000\" is no address of a broker" },
        { "log: {topic_prefix: \"a b\"}\n", "letters, digits" },
        { "log: {carry: [\"a/b\"]}\n", "letters, digits" },
        { "log: {carry: [heatmaps_ingestion, events_plugin_ingestion]}\n", "events_plugin_ingestion is read or written anyway" },
        { "log: {carry: [events_plugin_ingestion_dlq]}\n", "events_plugin_ingestion_dlq is read or written anyway" },
        { "log: {carry: [clickhouse_person]}\n", "clickhouse_person is read or written anyway" },
        { "log: {carry: [raw_overflow]}\n", "raw_overflow is read or written anyway" },
        { "log: {carry: [people]}\n", "people is read or written anyway" },
        { "log: {carry: [replay]}\n", "replay is read or written anyway" },
        { "log: {carry: [custom]}\n", "log.carry names topics of Kafka, and log.backend is embedded" },
        { "log: {form: json}\n", "it takes frames or upstream" },
        { "log: {replication: 2, insync_min: 3}\n", "log.insync_min is 3 and log.replication 2" },
        { "log: {sasl: PLAIN}\n", "log.sasl needs log.sasl_user" },
        { "log: {tls_key: /k}\n", "go together" },
        { "log: {spool: maybe}\n", "true or false" },
        { "log: {brokers_: x}\n", "did you mean \"log.brokers\"" },
        { "people: {backend: postgres}\n", "people.backend: postgres needs people.url" },
        { "people: {url: \"mysql://a\"}\n", "is no address of it; such as postgresql://" },
        { "people: {url: \"mysql://a:geheim@b/c\"}\n", "mysql://a:***@b/c" },
        { "warehouse: {backend: clickhouse}\n", "needs warehouse.url" },
        { "warehouse: {url: \"tcp://x:9000\"}\n", "such as http://" },
        { "catalog: {backend: postgres}\n", "needs catalog.url" },
        { "people: postgres\n", "takes keys below it" },
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (load(rows[i].text, &err) == 0)
            fail_msg("%s was taken", rows[i].text);
        if (err.kind != ERR_INPUT || strstr(err.text, rows[i].what) == NULL || strstr(err.text, "geheim") != NULL)
            fail_msg("%s: %s", rows[i].text, err.text);
        config_fini(&config);
    }
}

static void a_password_is_never_shown(void **state)
{
    static const struct { const char *url, *shown; } rows[] = {
        { "postgresql://db:5432/x", "postgresql://db:5432/x" },
        { "postgresql://me@db/x", "postgresql://me@db/x" },
        { "postgresql://me:pw@db/x", "postgresql://me:***@db/x" },
        { "postgresql://me:p@w@db/x", "postgresql://me:***@db/x" },
        { "postgresql://me:pw@a:1,b:2/x?sslmode=require", "postgresql://me:***@a:1,b:2/x?sslmode=require" },
        { "postgresql://db/x?password=pw&sslmode=require", "postgresql://db/x?password=***&sslmode=require" },
        { "postgresql://db/x?user=me&password=pw", "postgresql://db/x?user=me&password=***" },
        { "http://me:pw@ch:8123", "http://me:***@ch:8123" },
        { "http://ch:8123/a@b:c", "http://ch:8123/a@b:c" },
        { "no url", "no url" },
    };
    char shown[URL_SHOWN_BYTES], text[CONFIG_VALUE_BYTES_MAX];
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        url_shown(rows[i].url, shown);
        assert_string_equal(shown, rows[i].shown);
    }
    assert_int_equal(load("people: {backend: postgres, url: \"postgresql://me:geheim@db/x\"}\n", &err), 0);
    config_shown(config_find(&config, "people.url"), text);
    assert_string_equal(text, "postgresql://me:***@db/x");
    assert_string_equal(config.stores.people.url, "postgresql://me:geheim@db/x");
    config_fini(&config);
}

static void the_environment_goes_over_the_file(void **state)
{
    struct err err = { .kind = ERR_NONE };

    (void)state;
    assert_int_equal(load("log: {topic_prefix: a_, partitions: 3}\n", &err), 0);
    assert_int_equal(setenv("PENSTOCK_LOG_TOPIC_PREFIX", "b_", 1), 0);
    assert_int_equal(config_stores_environment(&config, &err), 0);
    assert_string_equal(config.stores.log.topic_prefix, "b_");
    assert_string_equal(config_find(&config, "log.topic_prefix")->source, "PENSTOCK_LOG_TOPIC_PREFIX");
    assert_int_equal(config.stores.log.partitions, 3);
    assert_int_equal(setenv("PENSTOCK_LOG_TOPIC_PREFIX", "b b", 1), 0);
    assert_int_equal(config_stores_environment(&config, &err), -1);
    assert_non_null(strstr(err.text, "PENSTOCK_LOG_TOPIC_PREFIX: log.topic_prefix: \"b b\""));
    assert_int_equal(unsetenv("PENSTOCK_LOG_TOPIC_PREFIX"), 0);
    config_fini(&config);
}

static void secrets_come_from_a_file_or_the_environment(void **state)
{
    char       path[] = "/tmp/config_stores_test.XXXXXX", secret[SECRET_BYTES_MAX + 1];
    struct err err = { .kind = ERR_NONE };
    int        fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && write(fd, "ge heim\nmore\n", 13) == 13);
    assert_int_equal(secret_read(path, "X", secret, &err), 0);
    assert_string_equal(secret, "ge heim");
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(secret_read(path, "X", secret, &err), -1);
    assert_non_null(strstr(err.text, "every user may read it"));
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(secret_read(path, "X", secret, &err), -1);
    assert_int_equal(secret_read("", "CONFIG_TEST", secret, &err), 0);
    assert_string_equal(secret, "");
    assert_int_equal(setenv("PENSTOCK_CONFIG_TEST", "from there", 1), 0);
    assert_int_equal(secret_read("", "CONFIG_TEST", secret, &err), 0);
    assert_string_equal(secret, "from there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_everything_is_embedded), cmocka_unit_test(a_cluster_is_taken),
        cmocka_unit_test(what_cannot_be_is_told), cmocka_unit_test(a_password_is_never_shown),
        cmocka_unit_test(the_environment_goes_over_the_file),
        cmocka_unit_test(secrets_come_from_a_file_or_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
