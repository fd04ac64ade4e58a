/* ingest/cookieless_test.c - events in cookieless mode: ids, drops, days, visits, identifies. The hashes were reckoned
 * with libsodium's SipHash, not with ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/root_domain.h"
#include "ingest/testing.h"

#define OFF CATALOG_COOKIELESS_OFF
#define STATELESS CATALOG_COOKIELESS_STATELESS
#define STATEFUL CATALOG_COOKIELESS_STATEFUL

/* What a browser sends, and more. */
#define SENT(more) "{\"properties\":{\"$cookieless_mode\":true,\"$host\":\"shop.example.com\",\"$raw_user_agent\":\"Firefox\"" more "}}"
#define P "properties/"
#define DAY_29 19782 /* 2024-02-29; the fixture's now is 2024-03-01T10:00:00Z */
#define DAY_1 19783

/* Of 7-1.2.3.4-example.com-Firefox-0- with the salt of 2024-03-01. */
#define BASE "RikiFBEF0rCXCNxO0Ma4FA"
#define BASE_SESSION "018df74f-8400-7629-a214-1105d2b09708" /* 2024-03-01T00:00:00Z */
#define BASE_29 "DlXkIk1XZBdQwiVF27agKA" /* with that of 2024-02-29 */

enum { EXPECTED_MAX = 8 };

static const struct fact {
    const char             *name, *event, *data;
    enum catalog_cookieless mode;
    enum fate               fate;
    const char             *expected[EXPECTED_MAX][2];
    const char             *warning, *missing;
    const char             *zone;
    int64_t                 at_s; /* its time; 0: now */
    const char             *distinct_id, *ip;
} facts[] = {
    /* ids */
    { "stateless", "view", SENT(""), STATELESS,
      .expected = { { "distinct_id", "cookieless_" BASE }, { P "$distinct_id", "\"cookieless_" BASE "\"" },
                    { P "$device_id", "\"cookielessd_" BASE "\"" }, { P "$session_id", "\"" BASE_SESSION "\"" },
                    { "$session_id", BASE_SESSION }, { "properties/$ip", "-" }, { P "$raw_user_agent", "-" } } },
    { "stateful", "view", SENT(",\"$distinct_id\":\"x\""), STATEFUL,
      .expected = { { "distinct_id", "cookieless_" BASE }, { P "$distinct_id", "-" }, { P "$device_id", "\"cookielessd_" BASE "\"" },
                    { "person_mode", "full" } } },
    { "the client's own ids give way", "view", SENT(",\"$session_id\":\"NO-UUID\",\"$device_id\":null,\"$distinct_id\":1"), STATELESS,
      .expected = { { P "$session_id", "\"" BASE_SESSION "\"" }, { P "$device_id", "\"cookielessd_" BASE "\"" },
                    { P "$distinct_id", "\"cookieless_" BASE "\"" } } },
    { "stateless replaces any id", "view", SENT(""), STATELESS, .distinct_id = "ada", .expected = { { "distinct_id", "cookieless_" BASE } } },
    { "stateful keeps one that is known", "view", SENT(""), STATEFUL, .distinct_id = "ada",
      .expected = { { "distinct_id", "ada" }, { P "$device_id", "\"cookielessd_" BASE "\"" } } },
    { "the client's address wins", "view", SENT(",\"$ip\":\"2001:db8::1\""), STATELESS,
      .expected = { { "distinct_id", "cookieless_cs4crpRO+FT3L9QQLMMdGg" }, { P "$ip", "-" } } },
    { "more for the hash", "view", SENT(",\"$cookieless_extra\":\"abc\""), STATELESS,
      .expected = { { "distinct_id", "cookieless_WLNLMvV5A8fWXPPZkdVmug" }, { P "$cookieless_extra", "-" } } },
    { "a number for the hash", "view", SENT(",\"$cookieless_extra\":5"), STATELESS,
      .expected = { { "distinct_id", "cookieless_xZDuxP3lhar5F6puh0HGtw" } } },
    { "its first hundred characters", "view",
      SENT(",\"$cookieless_extra\":\"ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää and more\""),
      STATELESS, .expected = { { "distinct_id", "cookieless_j3CLt6JACZ3eaxYv89A8TQ" } } },
    { "a host with a port", "view",
      "{\"properties\":{\"$cookieless_mode\":1,\"$host\":\"www.Example.co.uk:8080\",\"$raw_user_agent\":\"Firefox\"}}", STATELESS,
      .expected = { { "distinct_id", "cookieless_33jt+/lLtQ+Gy7jpdc/9dg" } } },
    { "what a person is told", "view",
      SENT(",\"$browser\":\"Firefox\",\"$set\":{\"$raw_user_agent\":\"F\",\"a\":1},\"$set_once\":{\"$initial_raw_user_agent\":\"F\",\"$ip\":\"9\"}"),
      STATEFUL,
      .expected = { { P "$set", "{\"a\":1,\"$browser\":\"Firefox\"}" }, { P "$set_once", "{\"$initial_browser\":\"Firefox\"}" },
                    { "person_properties/$initial_raw_user_agent", "-" } } },
    { "without a person when it says so", "view", SENT(",\"$process_person_profile\":false"), STATELESS,
      .expected = { { "person_mode", "propertyless" }, { "distinct_id", "cookieless_" BASE } } },
    { "false is no mode", "view", "{\"properties\":{\"$cookieless_mode\":false}}", OFF,
      .expected = { { "distinct_id", "$posthog_cookieless" }, { P "$ip", "\"1.2.3.4\"" } } },
    { "heatmaps have the visit's id", "$$heatmap",
      SENT(",\"$viewport_height\":160,\"$viewport_width\":160,\"$heatmap_data\":{\"http://a.example/\":[{\"x\":16,\"y\":16,\"type\":\"click\"}]}"),
      STATELESS, FATE_HEATMAP, .expected = { { "session_id", BASE_SESSION }, { "distinct_id", "cookieless_" BASE } } },

    /* drops, in the order in which they are looked for */
    { "alias", "$create_alias", SENT(",\"alias\":\"x\""), OFF, FATE_COOKIELESS_UNSUPPORTED },
    { "merge", "$merge_dangerously", SENT(",\"alias\":\"x\""), STATEFUL, FATE_COOKIELESS_UNSUPPORTED },
    { "identify, stateless", "$identify", SENT(""), STATELESS, FATE_COOKIELESS_NO_IDENTIFY },
    { "off", "view", "{\"properties\":{\"$cookieless_mode\":true}}", OFF, FATE_COOKIELESS_OFF },
    { "identify, off", "$identify", SENT(""), OFF, FATE_COOKIELESS_OFF },
    { "no browser", "view", "{\"properties\":{\"$cookieless_mode\":true,\"$raw_user_agent\":\"\"}}", STATELESS, FATE_COOKIELESS_NO_AGENT,
      .warning = "cookieless_missing_user_agent", .missing = "\"$raw_user_agent\"", .ip = "" },
    { "no address", "view", "{\"properties\":{\"$cookieless_mode\":true,\"$raw_user_agent\":\"F\"}}", STATEFUL, FATE_COOKIELESS_NO_IP,
      .warning = "cookieless_missing_ip", .missing = "\"$ip\"", .ip = "" },
    { "no host", "view", "{\"properties\":{\"$cookieless_mode\":true,\"$raw_user_agent\":\"F\",\"$host\":{}}}", STATELESS, FATE_COOKIELESS_NO_HOST,
      .warning = "cookieless_missing_host", .missing = "\"$host\"" },

    /* days: 2024-02-29 is there until 86 hours after its start by UTC, 2024-03-02 from 12 hours before */
    { "yesterday", "view", SENT(""), STATELESS, .at_s = 1709251199,
      .expected = { { "distinct_id", "cookieless_" BASE_29 }, { "$session_id", "018df229-2800-7e55-a422-4d57641750c2" } } },
    { "the event's zone", "view", SENT(",\"$timezone\":\"America/Los_Angeles\""), STATELESS, .at_s = 1709279999, /* 23:59:59 there */
      .zone = "Europe/Berlin",
      .expected = { { "distinct_id", "cookieless_" BASE_29 }, { "$session_id", "018df3e0-9c00-7e55-a422-4d57641750c2" } } },
    { "the project's zone", "view", SENT(",\"$timezone\":\"No/Where\""), STATELESS, .at_s = 1709247600, .zone = "Europe/Berlin",
      .expected = { { "distinct_id", "cookieless_" BASE }, { "$session_id", "018df718-9580-7629-a214-1105d2b09708" } } },
    { "no zone that is known", "view", SENT(",\"$timezone\":\"../../etc/passwd\""), STATELESS, .zone = "Not/A_Zone",
      .expected = { { "$session_id", BASE_SESSION } } },
    { "the last day that is there", "view", SENT(""), STATELESS, .at_s = 1708992000 }, /* 2024-02-27T00:00Z, over at 03-01T14:00Z */
    { "the day before it", "view", SENT(""), STATELESS, FATE_COOKIELESS_RANGE, .at_s = 1708991999, .warning = "cookieless_timestamp_out_of_range" },
    { "tomorrow, here", "view", SENT(""), STATELESS, FATE_COOKIELESS_RANGE, .at_s = 1709337600, .warning = "cookieless_timestamp_out_of_range" },
    { "long ago", "view", SENT(""), STATEFUL, FATE_COOKIELESS_RANGE, .at_s = -62135596800, .warning = "cookieless_timestamp_out_of_range" },
    { "far ahead", "view", SENT(""), STATEFUL, FATE_COOKIELESS_RANGE, .at_s = 253402300799, .warning = "cookieless_timestamp_out_of_range" },
};

static void salts_set(struct fixture *fixture)
{
    struct people_txn *txn;
    struct err         err = { 0 };
    uint8_t            salt[VISIT_SALT_BYTES], got[VISIT_SALT_BYTES];

    fixture_must(people_begin(fixture->people, true, &txn, &err), &err);
    for (uint8_t i = 0; i < 32; i++) {
        salt[i % 16] = (uint8_t)(i + 1);
        if (i % 16 == 15)
            fixture_must(people_salt(txn, i < 16 ? DAY_1 : DAY_29, salt, got, &err), &err);
    }
    fixture_must(people_commit(txn, &err), &err);
}

static void fixture_begin(struct fixture *fixture, enum catalog_cookieless mode, const char *zone)
{
    struct catalog_project settings = { .cookieless = mode };

    fixture_init(fixture);
    snprintf(settings.time_zone, sizeof settings.time_zone, "%s", zone == NULL ? "UTC" : zone);
    fixture_settings(fixture, &settings);
    salts_set(fixture);
}

static void check_fact(const struct fact *fact)
{
    static struct fixture fixture;
    struct row            row;
    struct span           body;
    char                  value[4096];

    fixture_begin(&fixture, fact->mode, fact->zone);
    body = fixture_record(&fixture, (struct record){ .event = span_text(fact->event), .data = span_text(fact->data),
                                                     .flags = RECORD_COOKIELESS, .timestamp_us = fact->at_s * TIME_US_S,
                                                     .ip = span_text(fact->ip == NULL ? "1.2.3.4" : fact->ip),
                                                     .distinct_id = span_text(fact->distinct_id == NULL ? COOKIELESS_SENTINEL : fact->distinct_id) },
                          fixture.arena);
    fixture_run(&fixture, &body, 1);
    if (fixture.fates[fact->fate] != 1)
        for (int i = 0; i < FATE_COUNT; i++)
            if (fixture.fates[i] == 1)
                fail_msg("%s: %s instead of %s", fact->name, fate_info(i)->name, fate_info(fact->fate)->name);
    if (fact->expected[0][0] != NULL)
        assert_true(fixture_row(&fixture, fact->fate == FATE_HEATMAP ? ROW_HEATMAP : ROW_EVENT, 0, &row));
    for (size_t i = 0; i < EXPECTED_MAX && fact->expected[i][0] != NULL; i++) {
        fixture_value(&row, fact->expected[i][0], value, sizeof value);
        if (strcmp(value, fact->expected[i][1]) != 0)
            fail_msg("%s: %s is %s, not %s", fact->name, fact->expected[i][0], value, fact->expected[i][1]);
    }
    assert_int_equal(fixture_count(&fixture, ROW_WARNING), fact->warning != NULL);
    if (fact->warning != NULL) {
        assert_true(fixture_row(&fixture, ROW_WARNING, 0, &row));
        fixture_value(&row, "type", value, sizeof value);
        assert_string_equal(value, fact->warning);
        fixture_value(&row, "details/missingProperty", value, sizeof value);
        assert_string_equal(value, fact->missing == NULL ? "-" : fact->missing);
        fixture_value(&row, "details/event", value, sizeof value);
        assert_string_equal(value, "\"view\"");
    }
    /* the address is nowhere in what was written */
    for (size_t i = 0; i < fixture.row_count && fact->fate == FATE_STORED && strstr(fact->name, "false is") == NULL; i++)
        assert_null(memmem(fixture.rows[i], fixture.row_bytes[i], "1.2.3.4", 7));
    fixture_fini(&fixture);
}

static void test_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        check_fact(&facts[i]);
}

/* --- visits and identifies ---------------------------------------------------------------------- */

/* One event, `minute` minutes after the fixture's now; its distinct id and session go to out. */
struct got { char distinct_id[64], session[40], anon[64], person[40]; };

static struct got send_visit(struct fixture *fixture, const char *event, const char *distinct_id, int minute, struct uuid uuid)
{
    struct span body = fixture_record(fixture, (struct record){ .event = span_text(event), .data = SPAN(SENT("")), .uuid = uuid,
                                                                .distinct_id = span_text(distinct_id), .ip = SPAN("1.2.3.4"),
                                                                .timestamp_us = FIXTURE_NOW_US + minute * (int64_t)60 * TIME_US_S },
                                      fixture->arena);
    struct got  got = { .session = "" };
    struct row  row;

    fixture_forget_rows(fixture);
    fixture_run(fixture, &body, 1);
    if (fixture_row(fixture, ROW_EVENT, 0, &row)) {
        fixture_value(&row, "distinct_id", got.distinct_id, sizeof got.distinct_id);
        fixture_value(&row, "$session_id", got.session, sizeof got.session);
        fixture_value(&row, P "$anon_distinct_id", got.anon, sizeof got.anon);
        fixture_value(&row, "person_id", got.person, sizeof got.person);
    }
    return got;
}

static const struct uuid none;

static void test_visits(void **state)
{
    static struct fixture fixture;
    struct got            first, next, later;
    const struct uuid     uuid = uuid_v7(FIXTURE_NOW_US / 1000, (const uint8_t[10]){ 1 });

    (void)state;
    fixture_begin(&fixture, STATEFUL, "UTC");
    first = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 0, none);
    assert_int_equal(strncmp(first.session, "018df974-d500-7", 15), 0); /* 2024-03-01T10:00:00Z, version 7 */
    next = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 30, uuid);
    assert_string_equal(next.session, first.session); /* thirty minutes are not more than thirty */
    next = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 60, none);
    assert_string_equal(next.session, first.session);
    (void)send_visit(&fixture, "view", COOKIELESS_SENTINEL, 80, uuid); /* sent again: it was at 30, and prolongs nothing */
    assert_int_equal(fixture.fates[FATE_DEDUPLICATED], 1);
    later = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 91, none);
    assert_string_not_equal(later.session, first.session);
    assert_string_equal(later.distinct_id, first.distinct_id);
    fixture_fini(&fixture);
}

/* Who identifies, leaves and comes again is somebody new each time; the events before belong to the person. */
static void test_identifies(void **state)
{
    static struct fixture fixture;
    struct got            anon, identify, known, after, again, second;
    struct uuid           uuid = uuid_v7(FIXTURE_NOW_US / 1000, (const uint8_t[10]){ 2 });
    uint8_t               salt[VISIT_SALT_BYTES];
    struct cookieless    *cookieless;
    struct visitor        visitor = { .ip = SPAN("1.2.3.4"), .domain = SPAN("example.com"), .agent = SPAN("Firefox") };
    struct err            err = { 0 };

    (void)state;
    fixture_begin(&fixture, STATEFUL, "UTC");
    anon = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 0, none);
    assert_string_equal(anon.distinct_id, "cookieless_" BASE);
    identify = send_visit(&fixture, "$identify", "ada", 1, uuid);
    assert_string_equal(identify.distinct_id, "ada");
    assert_string_equal(identify.anon, "\"cookieless_" BASE "\""); /* vector E35 */
    assert_string_equal(identify.session, anon.session);
    assert_string_equal(identify.person, anon.person); /* merged: one person */
    known = send_visit(&fixture, "view", "ada", 2, none);
    assert_string_equal(known.distinct_id, "ada");
    assert_string_equal(known.session, anon.session);
    assert_string_equal(known.person, anon.person);
    after = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 3, none); /* logged out */
    assert_string_equal(after.distinct_id, "cookieless_VfnqNibDtsSnsW7HU3aCCA");
    assert_string_not_equal(after.session, anon.session);
    assert_string_not_equal(after.person, anon.person);
    (void)send_visit(&fixture, "$identify", "ada", 4, uuid); /* sent again: still one */
    again = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 5, none);
    assert_string_equal(again.distinct_id, after.distinct_id);
    second = send_visit(&fixture, "$identify", "bob", 6, none);
    assert_string_equal(second.anon, "\"cookieless_VfnqNibDtsSnsW7HU3aCCA\"");
    assert_string_equal(second.person, after.person);
    again = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 7, none);
    assert_string_equal(again.distinct_id, "cookieless_ld1j9JI+tH/CcElaj7nB5Q");
    fixture_fini(&fixture);

    /* an id that nobody identified with today counts one before the first */
    fixture_must(cookieless_new(&cookieless, &err), &err);
    for (uint8_t i = 0; i < sizeof salt; i++)
        salt[i] = (uint8_t)(i + 1);
    for (int i = 0; i < 2; i++) { /* and a second time the same */
        uint8_t hash[VISIT_HASH_BYTES], want[] = { 0x10, 0x32, 0x20, 0xce, 0x30, 0x2b, 0x43, 0x21, 0xea, 0x80, 0x7d, 0x4d, 0x33, 0xd9, 0xa5, 0x60 };

        fixture_must(cookieless_hash(cookieless, salt, 7, &visitor, -1, hash, &err), &err);
        assert_memory_equal(hash, want, sizeof want);
    }
    cookieless_free(cookieless);
}

/* A page that identifies with the id which it was told, the one of all visitors, identifies nobody: else that id would make them one person. */
static void test_sentinel_identifies_nobody(void **state)
{
    static struct fixture fixture;
    struct got            anon, identify, later;
    struct row            row;
    char                  text[64];

    (void)state;
    fixture_begin(&fixture, STATEFUL, "UTC");
    anon = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 0, none);
    identify = send_visit(&fixture, "$identify", COOKIELESS_SENTINEL, 1, none);
    assert_string_equal(identify.distinct_id, anon.distinct_id);
    assert_string_equal(identify.session, anon.session);
    assert_string_equal(identify.person, anon.person);
    assert_int_equal(fixture_count(&fixture, ROW_DISTINCT), 0);
    assert_int_equal(fixture_count(&fixture, ROW_PERSON), 0); /* not even identified */
    later = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 2, none);
    assert_string_equal(later.distinct_id, anon.distinct_id);
    later = send_visit(&fixture, "$identify", "ada", 3, none);
    assert_string_equal(later.person, anon.person);
    assert_true(fixture_row(&fixture, ROW_DISTINCT, 0, &row));
    fixture_value(&row, "distinct_id", text, sizeof text);
    assert_string_equal(text, "ada");
    fixture_fini(&fixture);
}

/* --- salts -------------------------------------------------------------------------------------- */

/* A batch that is given up leaves no salt; one that is committed keeps it until its day is over. */
static void test_salts(void **state)
{
    static struct fixture fixture;
    struct people_txn    *txn;
    struct err            err = { 0 };
    struct got            first, other;
    const struct uuid     event = { { 9 } };
    const struct uuid     again = uuid_v7(FIXTURE_NOW_US / 1000, (const uint8_t[10]){ 3 });
    uint8_t               fresh[VISIT_SALT_BYTES] = { 7 }, got[VISIT_SALT_BYTES];
    struct visit          visit = { .last_ms = 5 };
    uint32_t              others;

    (void)state;
    fixture_begin(&fixture, STATEFUL, "UTC");
    first = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 12 * 60, none); /* 2024-03-01T22:00Z */
    fixture.now_us += 26 * TIME_US_HOUR; /* 2024-03-02T12:00Z: the new day has a salt of its own */
    other = send_visit(&fixture, "view", COOKIELESS_SENTINEL, 25 * 60, none);
    assert_string_not_equal(other.distinct_id, first.distinct_id);
    assert_string_equal(send_visit(&fixture, "view", COOKIELESS_SENTINEL, 26 * 60, again).distinct_id, other.distinct_id);

    fixture_must(people_begin(fixture.people, true, &txn, &err), &err);
    fixture_must(people_salt(txn, DAY_1 + 9, fresh, got, &err), &err);
    people_abort(txn);
    fixture_must(people_begin(fixture.people, true, &txn, &err), &err);
    fresh[0] = 8;
    fixture_must(people_salt(txn, DAY_1 + 9, fresh, got, &err), &err);
    assert_int_equal(got[0], 8);
    fresh[0] = 9;
    fixture_must(people_salt(txn, DAY_1 + 9, fresh, got, &err), &err);
    assert_int_equal(got[0], 8);
    for (uint8_t i = 0; i < 100; i++) {
        uint8_t hash[VISIT_HASH_BYTES] = { i };

        fixture_must(people_visit_put(txn, DAY_1, 7, hash, &visit, &err), &err);
        fixture_must(people_identifies_add(txn, DAY_1, 7, hash, &event, &others, &err), &err);
        assert_int_equal(others, 0);
    }
    for (uint8_t i = 1; i < 4; i++) { /* an event counts once, and each is before the others but itself */
        struct uuid one = { { 1 } }, two = { { 2 } };
        uint8_t     hash[VISIT_HASH_BYTES] = { 200 };

        fixture_must(people_identifies_add(txn, DAY_1, 7, hash, &one, &others, &err), &err);
        assert_int_equal(others, i > 1);
        fixture_must(people_identifies_add(txn, DAY_1, 7, hash, &two, &others, &err), &err);
        assert_int_equal(others, 1);
        fixture_must(people_identifies(txn, DAY_1, 7, hash, &others, &err), &err);
        assert_int_equal(others, 2);
    }
    assert_int_equal(people_visits_old(txn, DAY_29, &err), 0);
    assert_int_equal(people_visits_forget(txn, DAY_1 + 1, 100, &err), 1); /* more than a hundred: the rest later */
    assert_int_equal(people_visits_old(txn, DAY_1 + 1, &err), 1);
    assert_int_equal(people_visits_forget(txn, DAY_1 + 1, 1000, &err), 0);
    assert_int_equal(people_visits_old(txn, DAY_1 + 1, &err), 0);
    fresh[0] = 10;
    fixture_must(people_salt(txn, DAY_1, fresh, got, &err), &err);
    assert_int_equal(got[0], 10); /* the old one is gone */
    fixture_must(people_salt(txn, DAY_1 + 9, fresh, got, &err), &err);
    assert_int_equal(got[0], 8);
    fixture_must(people_commit(txn, &err), &err);

    assert_int_equal(cookieless_first_day(FIXTURE_NOW_US), DAY_1 - 3); /* 10:00: 02-27 ends at 14:00 */
    assert_int_equal(cookieless_first_day(FIXTURE_NOW_US + 4 * TIME_US_HOUR), DAY_1 - 2);
    assert_true(cookieless_day_valid(DAY_1 + 1, FIXTURE_NOW_US + 2 * TIME_US_HOUR));
    assert_false(cookieless_day_valid(DAY_1 + 1, FIXTURE_NOW_US + 2 * TIME_US_HOUR - 1));
    fixture_fini(&fixture);
}

/* --- domains ------------------------------------------------------------------------------------ */

static const struct { const char *host, *domain; } domains[] = {
    { "example.com", "example.com" },
    { "shop.example.com", "example.com" },
    { "a.b.Shop.EXAMPLE.co.uk", "example.co.uk" },
    { "https://user:pw@www.example.com:8443/path?x=1", "example.com:8443" },
    { "https://www.example.com:443/", "example.com" },
    { "www.example.com:80", "example.com" },
    { "www.example.com:443", "example.com:443" },
    { "www.example.com:", "example.com" },
    { "somebody.github.io", "github.io" }, /* the registry's suffixes alone */
    { "com", "com" },
    { "intranet", "intranet" },
    { "a.b.intranet", "b.intranet" },
    { "localhost", "127.0.0.1" },
    { "localhost:3000", "127.0.0.1:3000" },
    { "192.168.0.1:8080", "192.168.0.1:8080" },
    { "[2001:DB8:0::1]:8080", "[2001:db8::1]:8080" },
    { "2001:DB8::1", "[2001:db8::1]" },
    { "xn--bcher-kva.example", "xn--bcher-kva.example" },
    { "www.city.kawasaki.jp", "city.kawasaki.jp" }, /* an exception of the list */
    { "a.b.other.kawasaki.jp", "b.other.kawasaki.jp" },
    { "not a host", "not a host" },
    { "example.com:99999", "example.com:99999" },
    { "", "" },
};

static void test_domains(void **state)
{
    struct arena *arena = arena_new(1 << 14, 1 << 20);

    (void)state;
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
        struct span got = root_domain(span_text(domains[i].host), arena);

        if (!span_is(got, domains[i].domain))
            fail_msg("%s gives %.*s, not %s", domains[i].host, (int)got.bytes, (const char *)got.at, domains[i].domain);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts), cmocka_unit_test(test_visits), cmocka_unit_test(test_identifies),
        cmocka_unit_test(test_sentinel_identifies_nobody),
        cmocka_unit_test(test_salts), cmocka_unit_test(test_domains),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
