/* base/metric_test.c - pages written by one, rendered by another; and options from text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/metric.h"
#include "base/role.h"

static void pages_render_as_prometheus_text(void **state)
{
    static const double            bounds[] = { 0.001, 0.01, INFINITY };
    static const struct metric_def defs[] = {
        { "x_total", "cause=\"a\"", "Things.", METRIC_COUNTER, NULL },
        { "x_total", "cause=\"b\"", "Things.", METRIC_COUNTER, NULL },
        { "depth", "", "Now.", METRIC_GAUGE, NULL },
        { "took_seconds", "", "Time.", METRIC_HISTOGRAM, bounds },
    };
    char                folder[] = "/tmp/metric-XXXXXX";
    char                path[64];
    struct metric_page *page;
    struct buf          text;
    struct err          err;
    double              value;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(metric_page_open(folder, "test", defs, 4, &page, &err), 0);
    metric_add(page, 0, 3);
    metric_add(page, 1, 1);
    metric_set(page, 2, -7);
    metric_observe(page, 3, 0.001);
    metric_observe(page, 3, 0.5);
    buf_init(&text, 1 << 16);
    assert_int_equal(metric_render_folder(folder, &text, &err), 0);
    buf_add_byte(&text, 0);
    assert_string_equal((char *)text.at,
                        "# HELP x_total Things.\n# TYPE x_total counter\n"
                        "x_total{role=\"test\",cause=\"a\"} 3\nx_total{role=\"test\",cause=\"b\"} 1\n"
                        "# HELP depth Now.\n# TYPE depth gauge\ndepth{role=\"test\"} -7\n"
                        "# HELP took_seconds Time.\n# TYPE took_seconds histogram\n"
                        "took_seconds_bucket{role=\"test\",le=\"0.001\"} 1\n"
                        "took_seconds_bucket{role=\"test\",le=\"0.01\"} 1\n"
                        "took_seconds_bucket{role=\"test\",le=\"+Inf\"} 2\n"
                        "took_seconds_sum{role=\"test\"} 0.501\ntook_seconds_count{role=\"test\"} 2\n"
                        "# HELP penstock_role_up Whether the role's process is running.\n"
                        "# TYPE penstock_role_up gauge\npenstock_role_up{role=\"test\"} 1\n");
    assert_true(metric_read(folder, "test", "x_total", "cause=\"b\"", &value));
    assert_true(value == 1);
    assert_false(metric_read(folder, "test", "x_total", "", &value));
    assert_false(metric_read(folder, "nobody", "x_total", "", &value));
    buf_fini(&text);
    metric_page_close(page);
    (void)snprintf(path, sizeof path, "%s/test.metrics", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* What Prometheus asks for: one description a name, and its samples together. */
static void pages_of_several_units_are_one_group(void **state)
{
    static const struct metric_def defs[2] = {
        { .name = "u_total", .labels = "unit=\"0\"", .kind = METRIC_COUNTER, .help = "Units." },
        { .name = "u_total", .labels = "unit=\"1\"", .kind = METRIC_COUNTER, .help = "Units." },
    };
    static const char *const names[3] = { "role.u0", "other.page", "role.u1" };
    static const struct metric_def own = { .name = "own_total", .labels = "", .kind = METRIC_COUNTER, .help = "Own." };
    struct metric_page *pages[3];
    struct buf          text;
    struct err          err;
    char                folder[] = "/tmp/metric_test_XXXXXX", path[80], *at;

    (void)state;
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 3; i++)
        assert_int_equal(metric_page_open(folder, names[i], i == 1 ? &own : &defs[i / 2], 1, &pages[i], &err), 0);
    buf_init(&text, 1 << 16);
    assert_int_equal(metric_render_folder(folder, &text, &err), 0);
    buf_add_byte(&text, 0);
    at = strstr((char *)text.at, "# HELP u_total Units.\n# TYPE u_total counter\nu_total{role=\"role\",unit=\"");
    assert_non_null(at);
    assert_null(strstr(strstr(at, "# TYPE u_total") + 1, "# TYPE u_total"));
    assert_non_null(strstr(at, "u_total{role=\"role\",unit=\"0\"} 0\n"));
    assert_non_null(strstr(at, "u_total{role=\"role\",unit=\"1\"} 0\n"));
    assert_non_null(strstr((char *)text.at, "# TYPE own_total counter\nown_total{role=\"other\"} 0\n"));
    assert_true(strstr(at, "own_total") == NULL && strstr(at, "# HELP penstock_role_up") > strstr(at, "unit=\"1\""));
    buf_fini(&text);
    for (int i = 0; i < 3; i++) {
        metric_page_close(pages[i]);
        (void)snprintf(path, sizeof path, "%s/%s.metrics", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

struct sample { int64_t size, wait_us, count; bool on; const char *name; };

static const struct option sample_options[] = {
    { "size", OPTION_BYTES, "20MiB", 1, (int64_t)1 << 30, "", offsetof(struct sample, size) },
    { "wait", OPTION_DURATION, "10s", 1000, 60000000, "", offsetof(struct sample, wait_us) },
    { "count", OPTION_COUNT, "1", 1, 64, "", offsetof(struct sample, count) },
    { "on", OPTION_BOOL, "true", 0, 0, "", offsetof(struct sample, on) },
    { "name", OPTION_TEXT, "", 0, 0, "", offsetof(struct sample, name) },
    { NULL, OPTION_TEXT, NULL, 0, 0, NULL, 0 },
};

static void options_say_what_they_take(void **state)
{
    static const struct { int option; const char *text; int rc; const char *says; } rows[] = {
        { 0, "512KiB", 0, "" },
        { 0, "7", 0, "" },
        { 0, "2GiB", -1, "size is 2GiB; it must be from 1B to 1GiB" },
        { 0, "5 MB", -1, "size is \"5 MB\"; it takes a size such as 512KiB, 20MiB or 1GiB" },
        { 0, "99999999999999999999", -1, "size is \"99999999999999999999\"; it takes a size such as 512KiB, 20MiB or 1GiB" },
        { 1, "1500ms", 0, "" },
        { 1, "3", -1, "wait is \"3\"; it takes a time such as 500ms, 10s, 5m, 12h or 7d" },
        { 1, "2h", -1, "wait is 2h; it must be from 1ms to 1m" },
        { 2, "-1", -1, "count is \"-1\"; it takes a whole number such as 4" },
        { 2, "65", -1, "count is 65; it must be from 1 to 64" },
        { 3, "yes", -1, "on is \"yes\"; it takes true or false" },
    };
    struct sample sample;

    (void)state;
    option_defaults(sample_options, &sample);
    assert_int_equal(sample.size, 20 << 20);
    assert_int_equal(sample.wait_us, 10000000);
    assert_true(sample.on);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { .kind = ERR_NONE };

        assert_int_equal(option_set(&sample_options[rows[i].option], &sample, rows[i].text, &err), rows[i].rc);
        assert_string_equal(err.text, rows[i].says);
    }
    assert_int_equal(sample.size, 7);
    assert_int_equal(sample.wait_us, 1500000);
}

/* A file with holes would end its writer by SIGBUS when the disk is full: all blocks are there from the beginning. */
static void a_page_has_its_blocks(void **state)
{
    enum { COUNT = 2000 };
    static struct metric_def defs[COUNT];
    char                     folder[] = "/tmp/metric_test_XXXXXX", path[80];
    struct metric_page      *page;
    struct err               err = { 0 };
    struct stat              st;

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        defs[i] = (struct metric_def){ "x_total", "", "help", METRIC_COUNTER, NULL };
    assert_non_null(mkdtemp(folder));
    assert_int_equal(metric_page_open(folder, "test", defs, COUNT, &page, &err), 0);
    (void)snprintf(path, sizeof path, "%s/test.metrics", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks * 512 >= st.st_size);
    metric_page_close(page);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* Where no file can be made a role counts for itself; a page whose only use is to be read is an error. */
static void a_page_without_a_file(void **state)
{
    static const struct metric_def def = { "x_total", "", "some help", METRIC_COUNTER, NULL };
    struct metric_page *page;
    struct err          err = { 0 };

    (void)state;
    assert_int_equal(metric_page_make("/tmp/no/such/folder", "test", &def, 1, &page, &err), 0);
    metric_add(page, 0, 3);
    assert_int_equal(metric_page_show(page, &err), 0);
    assert_int_equal(metric_get(page, 0), 3);
    metric_page_close(page);
    assert_int_equal(metric_page_open("/tmp/no/such/folder", "test", &def, 1, &page, &err), -1);
    assert_non_null(strstr(err.text, "/tmp/no/such/folder/test.metrics"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_render_as_prometheus_text),
        cmocka_unit_test(pages_of_several_units_are_one_group),
        cmocka_unit_test(a_page_has_its_blocks),
        cmocka_unit_test(a_page_without_a_file),
        cmocka_unit_test(options_say_what_they_take),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
