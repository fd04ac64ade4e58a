/* ingest/geoip_test.c - from what a database knows to properties; with the real database where there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/geoip.h"
#include "ingest/testing.h"

#define VALUE(place, key) ((place).values[KEY_GEOIP_##key - KEY_GEOIP_FIRST])

static void test_values(void **state)
{
    struct arena             *arena = arena_new(1 << 12, 1 << 20);
    struct geoip_place        place;
    const struct geoip_answer flat = { .city = SPAN("Z\"rich"), .subdivision_1 = SPAN("Zurich"), .country_code = SPAN("CH"),
                                       .has_place = true, .latitude = (double)47.3769f, .longitude = (double)-8.5417f,
                                       .single = true };
    const struct geoip_answer nested = { .country = SPAN("Suisse"), .country_code = SPAN("CH"), .continent = SPAN("Europa"),
                                         .continent_code = SPAN("EU"), .has_radius = true, .accuracy_radius = 20,
                                         .has_place = true, .latitude = 1, .longitude = 0.1 };

    (void)state;
    assert_true(geoip_place_of(&flat, arena, &place));
    assert_true(span_is(VALUE(place, CITY_NAME), "\"Z\\\"rich\""));
    assert_true(span_is(VALUE(place, COUNTRY_NAME), "\"Switzerland\""));
    assert_true(span_is(VALUE(place, CONTINENT_NAME), "\"Europe\""));
    assert_true(span_is(VALUE(place, CONTINENT_CODE), "\"EU\""));
    assert_true(span_is(VALUE(place, LATITUDE), "47.3769"));
    assert_true(span_is(VALUE(place, LONGITUDE), "-8.5417"));
    assert_int_equal(VALUE(place, POSTAL_CODE).bytes, 0);
    assert_int_equal(VALUE(place, ACCURACY_RADIUS).bytes, 0);
    assert_true(geoip_place_of(&nested, arena, &place));
    assert_true(span_is(VALUE(place, COUNTRY_NAME), "\"Suisse\""));
    assert_true(span_is(VALUE(place, CONTINENT_NAME), "\"Europa\""));
    assert_true(span_is(VALUE(place, ACCURACY_RADIUS), "20"));
    assert_true(span_is(VALUE(place, LATITUDE), "1"));
    assert_true(span_is(VALUE(place, LONGITUDE), "0.1"));
    assert_int_equal(VALUE(place, CITY_NAME).bytes, 0);
    arena_free(arena);
}

static void test_countries(void **state)
{
    (void)state;
    assert_string_equal(geoip_country_find(SPAN("AD"))->name, "Andorra");
    assert_string_equal(geoip_country_find(SPAN("ZW"))->continent_code, "AF");
    assert_string_equal(geoip_country_find(SPAN("US"))->name, "United States");
    assert_string_equal(geoip_country_find(SPAN("BR"))->continent_code, "SA");
    assert_null(geoip_country_find(SPAN("ZZ")));
    assert_null(geoip_country_find(SPAN("")));
    assert_null(geoip_country_find(SPAN("USA")));
}

static void test_no_database(void **state)
{
    struct geoip *geoip;
    struct err    err = { 0 };

    (void)state;
    assert_int_equal(geoip_open("/nonexistent", &geoip, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
}

/* The real files lie in build/deps/geoip once ./dev has run; without them there is nothing to test. */
static void test_real_database(void **state)
{
    static const struct { const char *address, *country, *continent; } rows[] = {
        { "8.8.8.8", "\"US\"", "\"NA\"" },          { "::ffff:8.8.8.8", "\"US\"", "\"NA\"" },
        { "81.2.69.142", "\"GB\"", "\"EU\"" },      { "2001:4860:4860::8888", NULL, "\"NA\"" },
        { "127.0.0.1", NULL, NULL },                { "10.1.2.3", NULL, NULL },
        { "192.168.1.1", NULL, NULL },              { "::1", NULL, NULL },
        { "fe80::1%eth0", NULL, NULL },             { "nonsense", NULL, NULL },
        { "", NULL, NULL },                         { "8.8.8.8 ", NULL, NULL },
        { "fc00::1", NULL, NULL },                  { "100.64.0.1", NULL, NULL },
    };
    const char         *folder = access("build/deps/geoip", R_OK) == 0 ? "build/deps/geoip" : getenv("PENSTOCK_GEOIP_FOLDER");
    struct arena       *arena = arena_new(1 << 12, 1 << 20);
    struct geoip_place  place;
    struct geoip       *geoip;
    struct err          err = { 0 };

    (void)state;
    if (folder == NULL || geoip_open(folder, &geoip, &err) < 0) {
        arena_free(arena);
        skip();
        return;
    }
    for (int round = 0; round < 2; round++) /* the second time from memory */
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            bool found = geoip_find(geoip, span_text(rows[i].address), arena, &place);

            if (found != (rows[i].continent != NULL))
                fail_msg("%s: %s", rows[i].address, found ? "found" : "not found");
            if (found && !span_is(VALUE(place, CONTINENT_CODE), rows[i].continent))
                fail_msg("%s: continent", rows[i].address);
            if (rows[i].country != NULL && !span_is(VALUE(place, COUNTRY_CODE), rows[i].country))
                fail_msg("%s: country", rows[i].address);
        }
    geoip_close(geoip);
    arena_free(arena);
}

/* The place of an event, of its person now, of its person at first; and the cases without one. */
static void test_event(void **state)
{
    static const struct { const char *data; bool placed; bool person; } rows[] = {
        { "{\"properties\":{\"$ip\":\"8.8.8.8\"}}", true, true },
        { "{\"properties\":{\"$ip\":\"8.8.8.8\",\"$geoip_disable\":true}}", false, false },
        { "{\"properties\":{\"$ip\":\"127.0.0.1\"}}", false, false },
        { "{\"properties\":{\"$ip\":8}}", false, false },
        { "{\"properties\":{\"$ip\":\"8.8.8.8\",\"$process_person_profile\":false}}", true, false },
    };
    struct fixture fixture;
    struct err     err = { 0 };
    struct row     row;
    char           value[256];

    (void)state;
    fixture_init(&fixture);
    if (geoip_open(access("build/deps/geoip", R_OK) == 0 ? "build/deps/geoip" : "/nonexistent", &fixture.geoip, &err) < 0) {
        fixture_fini(&fixture);
        skip();
        return;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span body = fixture_record(&fixture, (struct record){ .event = SPAN("view"), .distinct_id = SPAN("n"),
                                                                     .data = span_text(rows[i].data) }, fixture.arena);

        fixture_run(&fixture, &body, 1);
        assert_true(fixture_row(&fixture, ROW_EVENT, i, &row));
        fixture_value(&row, "properties/$geoip_country_code", value, sizeof value);
        assert_string_equal(value, rows[i].placed ? "\"US\"" : "-");
        fixture_value(&row, "properties/$set/$geoip_country_name", value, sizeof value);
        assert_string_equal(value, rows[i].person ? "\"United States\"" : "-");
        fixture_value(&row, "properties/$set_once/$initial_geoip_country_code", value, sizeof value);
        assert_string_equal(value, rows[i].person ? "\"US\"" : "-");
        fixture_value(&row, "properties/$set/$geoip_city_confidence", value, sizeof value); /* not known: null */
        assert_string_equal(value, rows[i].person ? "null" : "-");
        fixture_value(&row, "properties/$geoip_city_confidence", value, sizeof value);
        assert_string_equal(value, "-");
    }
    geoip_close(fixture.geoip);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_countries), cmocka_unit_test(test_no_database),
        cmocka_unit_test(test_real_database), cmocka_unit_test(test_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
