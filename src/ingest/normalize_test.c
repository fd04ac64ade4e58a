/* ingest/normalize_test.c - one event in, its row (or its fate) out: each row of a table is one fact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "event/packed.h"
#include "ingest/testing.h"

#define VIEWPORT "\"$viewport_height\":1000,\"$viewport_width\":800"

enum { EXPECTED_MAX = 12, RULES_MAX = 3 };

struct fact {
    const char            *name;
    const char            *event, *data;
    enum fate              fate;
    struct record          record;   /* what differs from the usual */
    struct catalog_project settings;
    size_t                 rule_count;
    struct catalog_restriction rules[RULES_MAX];
    enum row_table         table;       /* that `expected` speaks of: an event's, unless said */
    size_t                 rows;        /* of another table, exactly; if none, `expected` speaks of the event's */
    size_t                 warnings;    /* rows, exactly; 0: as `warning` says. `warning` is the last one */
    const char            *expected[EXPECTED_MAX][2]; /* path in the row, value; "-": nothing there */
    const char            *warning, *warning_path, *warning_value; /* its type; NULL: none at all */
};

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X200 X50 X50 X50 X50
#define E50 "EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE"
#define PROPS(text) "{\"properties\":" text "}"
#define P "properties/"

static const struct fact facts[] = {
    /* reading */
    { "an event without properties", "view", "{}", .expected = { { "properties", "{}" } } },
    { "vector A14: null properties", "view", PROPS("null"), .expected = { { "properties", "{}" } } },
    { "vector A13: properties that are a list", "view", PROPS("[\"x\"]"), FATE_DEAD_LETTERED },
    { "a text as top-level $set", "view", "{\"$set\":\"x\"}", FATE_DEAD_LETTERED },
    { "vector A03: data that is a list", "view", "[1]", FATE_DEAD_LETTERED },
    { "data that is no JSON", "view", "{\"properties\":{", FATE_DEAD_LETTERED },
    { "two documents", "view", "{}{}", FATE_DEAD_LETTERED },
    { "vector A09: a numeric distinct id is text by now", "view", "{}", .record = { .distinct_id = { (const uint8_t *)"12345", 5 } },
      .expected = { { "distinct_id", "12345" }, { "person_mode", "full" } } },
    { "vector A11: capture's name wins over the one inside", "outer", "{\"event\":\"inner\"}", .expected = { { "event", "outer" } } },
    { "vector A12: capture's time wins over the one inside", "view", "{\"timestamp\":\"2024-03-01T09:00:00Z\"}",
      .record = { .timestamp_us = 1709287190000000, .timestamp_source = RECORD_TIME_SENT_AT_SKEW },
      .expected = { { "timestamp", "1709287190000000" } } },
    { "values are copied, order and digits kept", "view",
      PROPS("{\"z\":1e400, \"a\" : 123456789012345678901234567890,\"\\u0061b\":-0,\"n\":{\"y\":1.0,\"x\": [ 1 ]}}"),
      .expected = { { "properties",
                      "{\"z\":1e400,\"a\":123456789012345678901234567890,\"\\u0061b\":-0,\"n\":{\"y\":1.0,\"x\": [ 1 ]}}" } } },
    { "the last of equal keys wins, at every depth", "view", PROPS("{\"a\":1,\"b\":{\"c\":1,\"d\":2,\"c\":3},\"a\":2}"),
      .expected = { { P "a", "2" }, { P "b/c", "3" }, { P "b/d", "2" } } },

    /* the person's properties in the event */
    { "vector B01: top-level $set wins over the nested one", "view",
      "{\"$set\":{\"a\":1,\"b\":1},\"properties\":{\"$set\":{\"b\":2,\"c\":3}}}",
      .expected = { { P "$set/a", "1" }, { P "$set/b", "1" }, { P "$set/c", "3" }, { "person_properties/b", "1" } } },
    { "vector B01: the same for $set_once", "view",
      "{\"$set_once\":{\"a\":1,\"b\":1},\"properties\":{\"$set_once\":{\"b\":2,\"c\":3}}}",
      .expected = { { P "$set_once/a", "1" }, { P "$set_once/b", "1" }, { P "$set_once/c", "3" } } },
    { "vector B10: browser and campaign go to the person", "view", PROPS("{\"$browser\":\"Firefox\",\"utm_source\":\"ads\"}"),
      .expected = { { P "$set", "{\"$browser\":\"Firefox\",\"utm_source\":\"ads\"}" },
                    { P "$set_once", "{\"$initial_browser\":\"Firefox\",\"$initial_utm_source\":\"ads\"}" },
                    { "person_properties/$initial_browser", "\"Firefox\"" } } },
    { "vector B11: the client's own $set stays", "view", PROPS("{\"$browser\":\"Firefox\",\"$set\":{\"$browser\":\"Mine\"}}"),
      .expected = { { P "$set/$browser", "\"Mine\"" }, { P "$set_once/$initial_browser", "\"Firefox\"" } } },
    { "and its own first value", "view",
      PROPS("{\"$browser\":\"Firefox\",\"$set_once\":{\"$initial_browser\":\"Mine\"}}"),
      .expected = { { P "$set/$browser", "\"Firefox\"" }, { P "$set_once/$initial_browser", "\"Mine\"" } } },
    { "null is copied too", "view", PROPS("{\"$referrer\":null}"),
      .expected = { { P "$set/$referrer", "null" }, { P "$set_once/$initial_referrer", "null" } } },
    { "vector B13: $os_name is another name of $os", "view", PROPS("{\"$os_name\":\"Android\"}"),
      .expected = { { P "$os", "\"Android\"" }, { P "$set", "{\"$os\":\"Android\"}" },
                    { P "$set_once", "{\"$initial_os\":\"Android\"}" } } },
    { "vector B14: $os wins over $os_name", "view", PROPS("{\"$os_name\":\"A\",\"$os\":\"B\"}"),
      .expected = { { P "$os", "\"B\"" }, { P "$set/$os", "\"B\"" }, { P "$set/$os_name", "-" },
                    { P "$set_once", "{\"$initial_os\":\"B\"}" } } },
    { "vector B15: a server's system is not its user's", "view", PROPS("{\"$os\":\"Linux\",\"$is_server\":true}"),
      .expected = { { P "$set", "-" }, { P "$set_once", "-" } } },
    { "vector B16: _kx keeps its underscore", "view", PROPS("{\"_kx\":\"k\"}"),
      .expected = { { P "$set_once/$initial__kx", "\"k\"" }, { P "$set/_kx", "\"k\"" } } },
    { "vector B18: $set that is text, with something to set", "view", PROPS("{\"$set\":\"oops\",\"$browser\":\"X\"}"),
      .expected = { { P "$set", "{\"$browser\":\"X\"}" } },
      .warning = "invalid_person_update", "details/receivedType", "\"string\"" },
    { "vector B18: $set that is text, alone", "view", PROPS("{\"$set\":\"oops\"}"),
      .expected = { { P "$set", "\"oops\"" }, { "person_properties/0", "-" } },
      .warning = "invalid_person_update", "details/field", "\"$set\"" },
    { "both stay where the client has them", "view",
      PROPS("{\"$set_once\":{\"x\":1},\"$browser\":\"F\",\"$set\":{\"b\":[2, 3]},\"z\":\"F\"}"),
      .expected = { { "properties", "{\"$set_once\":{\"x\":1,\"$initial_browser\":\"F\"},\"$browser\":\"F\","
                                    "\"$set\":{\"b\":[2, 3],\"$browser\":\"F\"},\"z\":\"F\"}" } } },
    { "names that are written otherwise", "view",
      PROPS("{\"\\u0024browser\":\"F\",\"\\u0024set\":{\"\\u0024os\":\"Mine\",\"\\u0024browser_version\":1},\"$os\":\"B\"}"),
      .expected = { { "properties", "{\"\\u0024browser\":\"F\",\"\\u0024set\":{\"\\u0024os\":\"Mine\",\"\\u0024browser_version\":1,"
                                    "\"$browser\":\"F\"},\"$os\":\"B\","
                                    "\"$set_once\":{\"$initial_browser\":\"F\",\"$initial_os\":\"B\"}}" } } },
    { "one value under two names, and one that was null", "view", PROPS("{\"$os\":null,\"$os_name\":\"A\",\"$referrer\":\"A\"}"),
      .expected = { { "properties", "{\"$os\":\"A\",\"$os_name\":\"A\",\"$referrer\":\"A\","
                                    "\"$set\":{\"$os\":\"A\",\"$referrer\":\"A\"},"
                                    "\"$set_once\":{\"$initial_os\":\"A\",\"$initial_referrer\":\"A\"}}" } } },
    { "an address of a page that is longer than most", "view", PROPS("{\"$current_url\":\"" X200 X50 X50 "\",\"$pathname\":\"/\"}"),
      .expected = { { "properties", "{\"$current_url\":\"" X200 X50 X50 "\",\"$pathname\":\"/\","
                                    "\"$set\":{\"$current_url\":\"" X200 X50 X50 "\",\"$pathname\":\"/\"},"
                                    "\"$set_once\":{\"$initial_current_url\":\"" X200 X50 X50 "\",\"$initial_pathname\":\"/\"}}" } } },
    { "the group's own member comes last", "view", PROPS("{\"$browser\":\"F\",\"$groups\":{\"org\":\"5\"}}"),
      .expected = { { "properties", "{\"$browser\":\"F\",\"$groups\":{\"org\":\"5\"},\"$set\":{\"$browser\":\"F\"},"
                                    "\"$set_once\":{\"$initial_browser\":\"F\"},\"$group_0\":\"5\"}" } } },
    { "$unset of a wrong type", "view", PROPS("{\"$unset\":5}"), .warning = "invalid_person_update", "details/field",
      "\"$unset\"" },
    { "$snapshot tells nothing of the person", "$snapshot", PROPS("{\"$browser\":\"X\"}"),
      .expected = { { P "$set", "-" } } },
    { "vector B25: $groupidentify sets no person", "$groupidentify", PROPS("{\"$set\":{\"a\":1},\"$browser\":\"X\"}"),
      .expected = { { P "$set", "-" }, { "person_properties/a", "-" } } },
    { "vector D27: a key named toString is a key", "view", PROPS("{\"$set\":{\"toString\":1}}"),
      .expected = { { "person_properties/toString", "1" } } },

    /* the request */
    { "vector B04: the address of the request", "view", "{}", .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } },
      .expected = { { P "$ip", "\"11.1.1.1\"" } } },
    { "vector B05: the client's own address stays", "view", PROPS("{\"$ip\":\"9.9.9.9\"}"),
      .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } }, .expected = { { P "$ip", "\"9.9.9.9\"" } } },
    { "an empty one is replaced in its place", "view", PROPS("{\"$ip\":\"\",\"a\":1}"),
      .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } },
      .expected = { { "properties", "{\"$ip\":\"11.1.1.1\",\"a\":1}" } } },
    { "vector B05: no address at all", "view", "{}", .expected = { { P "$ip", "-" } } },
    { "vector B07, but for the place: anonymous addresses", "view", "{}", .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } },
      .settings = { .anonymize_ips = true }, .expected = { { P "$ip", "-" } } },
    { "vector B08: when it was sent, in the client's zone", "view", "{}",
      .record = { .sent_at_us = 1709287200000000, .sent_at_zone_min = 330 },
      .expected = { { P "$sent_at", "\"2024-03-01T15:30:00+05:30\"" } } },

    /* ids */
    { "vector B09: a session id in lower case", "view", PROPS("{\"$session_id\":\"A1B2C3D4-E5F6-7890-ABCD-EF1234567890\"}"),
      .expected = { { P "$session_id", "\"a1b2c3d4-e5f6-7890-abcd-ef1234567890\"" },
                    { "$session_id", "a1b2c3d4-e5f6-7890-abcd-ef1234567890" } } },
    { "vector B09: a session id of another kind", "view", PROPS("{\"$session_id\":\"NOT-A-UUID\"}"),
      .expected = { { P "$session_id", "\"NOT-A-UUID\"" }, { "$session_id", "NOT-A-UUID" } },
      .warning = "invalid_event_session_id", "details/sessionId", "\"NOT-A-UUID\"" },
    { "vector B09: a session id that is a number", "view", PROPS("{\"$session_id\":12345}"), .expected = { { "$session_id", "12345" } },
      .warning = "invalid_event_session_id", "details/sessionId", "\"12345\"" },
    { "window id; null is none", "view", PROPS("{\"$window_id\":\"w\",\"$session_id\":null}"),
      .expected = { { "$window_id", "w" }, { "$session_id", "-" } } },
    { "vector A25: a uuid of another version, from a library we do not know", "view", PROPS("{\"$lib\":\"acme-lib\"}"),
      .record = { .uuid = { { 1, [6] = 0x40, [8] = 0x80 } } }, .warning = "event_uuid_not_v7", "details/lib", "\"acme-lib\"" },
    { "vector A25: the same from the web", "view", PROPS("{\"$lib\":\"web\"}"), .record = { .uuid = { { 2, [6] = 0x40, [8] = 0x80 } } } },
    { "vector A24: a client may not call itself verified", "view", PROPS("{\"$verified\":true,\"a\":1}"),
      .expected = { { "properties", "{\"a\":1}" } } },
    { "what no warehouse wants", "view",
      PROPS("{\"ph_product_tours\":[1],\"$product_tours_activated\":1,\"$override_feature_flag_payloads\":{},\"a\":1}"),
      .expected = { { "properties", "{\"a\":1}" } } },

    /* names and sizes */
    { "vector B19: a name of 250 is cut at 200", E50 E50 E50 E50 E50, "{}", .expected = { { "event", E50 E50 E50 E50 } },
      .warning = "event_name_too_long", "details/maxLength", "200" },
    { "vector A15: a distinct id of 400", "view", "{}", .record = { .distinct_id = { (const uint8_t *)X200 X200, 400 } },
      .expected = { { "distinct_id", X200 X200 } } },
    { "vector A15: a distinct id of 401", "view", "{}", FATE_DISTINCT_ID_TOO_LONG,
      .record = { .distinct_id = { (const uint8_t *)X200 X200 "x", 401 } },
      .warning = "skipping_event_invalid_distinct_id", "details/distinctIdLength", "401" },
    { "vector A15: its warning shows the first 100", "view", "{}", FATE_DISTINCT_ID_TOO_LONG,
      .record = { .distinct_id = { (const uint8_t *)X200 X200 "x", 401 } },
      .warning = "skipping_event_invalid_distinct_id", "details/distinctId", "\"" X50 X50 "\"" },
    { "vector A16: a group key of 401", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"" X200 X200 "x\"}"),
      FATE_GROUP_KEY_TOO_LONG, .warning = "group_key_too_long", "details/groupKeyLength", "401" },
    { "an id that capture cut", "view", "{}", .record = { .flags = RECORD_DISTINCT_CUT },
      .warning = "distinct_id_too_large", "details/severity", "\"error\"" },
    { "text that capture repaired", "view", "{}", .record = { .flags = RECORD_REPAIRED },
      .warning = "invalid_text_replaced", "details/category", "\"event\"" },

    /* merges that cannot be meant */
    { "vector A18: $identify with an object as anonymous id", "$identify", PROPS("{\"$anon_distinct_id\":{\"a\":1}}"),
      FATE_INVALID_ANON_DISTINCT_ID, .warning = "invalid_anon_distinct_id", "details/receivedType", "\"object\"" },
    { "vector A19: $create_alias with a list as alias", "$create_alias", PROPS("{\"alias\":[\"x\"]}"), FATE_INVALID_ALIAS,
      .warning = "invalid_alias", "details/receivedType", "\"array\"" },
    { "any other event may carry such an alias", "view", PROPS("{\"alias\":[\"x\"]}"),
      .expected = { { P "alias", "[\"x\"]" } } },
    { "vector E16: a missing anonymous id is the text null", "$identify", PROPS("{\"$anon_distinct_id\":null}"),
      .warning = "cannot_merge_with_illegal_distinct_id", "details/illegalDistinctId", "\"null\"" },

    /* age */
    { "vector A20: older than the project takes", "view", "{}", FATE_EVENT_TOO_OLD, .settings = { .drop_older_than_s = 3600 },
      .record = { .timestamp_us = FIXTURE_NOW_US - INT64_C(3601) * 1000000 },
      .warning = "event_dropped_too_old", "details/ageInSeconds", "3601" },
    { "vector A20: exactly as old as it takes", "view", "{}", .settings = { .drop_older_than_s = 3600 },
      .record = { .timestamp_us = FIXTURE_NOW_US - INT64_C(3600) * 1000000 } },
    { "vector A20: no limit", "view", "{}", .record = { .timestamp_us = 1 }, .expected = { { "timestamp", "1" } } },

    /* restrictions and filters */
#define RULE(...) .rule_count = 1, .rules = { { __VA_ARGS__ } }
    { "a token that is blocked", "view", "{no JSON", FATE_BLOCKED_TOKEN, .record = { .project = 7, .token = SPAN("phc_bad") },
      RULE(.action = CATALOG_DROP, .token = SPAN("phc_bad")) },
    { "another token of the project", "view", "{}", .record = { .project = 7, .token = SPAN("phc_good") },
      RULE(.action = CATALOG_DROP, .token = SPAN("phc_bad")) },
    { "an event that is set aside", "view", "{}", FATE_DEAD_LETTERED, RULE(.action = CATALOG_DEAD_LETTER, .event = SPAN("view")) },
    { "vector A22: drop goes before dead_letter", "view", "{}", FATE_BLOCKED_TOKEN, .rule_count = 2,
      .rules = { { .action = CATALOG_DEAD_LETTER }, { .action = CATALOG_DROP } } },
    { "vector A23: what is to go the overflow lane and came here is processed", "view", "{}", RULE(.action = CATALOG_OVERFLOW) },
    { "persons are skipped", "view", PROPS("{\"$set\":{\"a\":1}}"), RULE(.action = CATALOG_SKIP_PERSONS, .event = SPAN("view")),
      .expected = { { "person_mode", "propertyless" }, { "person_created_at", "5000000" }, { P "$set", "-" },
                    { P "$process_person_profile", "false" } } },
    { "a merge that is skipped stays an event", "$identify", PROPS("{\"$anon_distinct_id\":\"o\"}"), RULE(.action = CATALOG_SKIP_PERSONS),
      .expected = { { "person_mode", "propertyless" } } },
    { "a filter by name", "view", "{}", FATE_EVENT_FILTERED, RULE(.action = CATALOG_FILTER, .event = SPAN("view")) },
    { "a filter by text", "view", PROPS("{\"$host\":\"local\\u0068ost\"}"), FATE_EVENT_FILTERED,
      RULE(.action = CATALOG_FILTER, .property = SPAN("$host"), .value = SPAN("localhost")) },
    { "a filter by number", "view", PROPS("{\"n\":5}"), FATE_EVENT_FILTERED,
      RULE(.action = CATALOG_FILTER, .property = SPAN("n"), .value = SPAN("5")) },
    { "another value", "view", PROPS("{\"n\":55}"), RULE(.action = CATALOG_FILTER, .property = SPAN("n"), .value = SPAN("5")) },
    { "no such property", "view", PROPS("{\"m\":5}"), RULE(.action = CATALOG_FILTER, .property = SPAN("n"), .value = SPAN("5")) },
    { "the property of another event", "view", PROPS("{\"n\":5}"),
      RULE(.action = CATALOG_FILTER, .event = SPAN("click"), .property = SPAN("n"), .value = SPAN("5")) },
    { "a faulty event is told as faulty", "$create_alias", PROPS("{\"alias\":[1]}"), FATE_INVALID_ALIAS,
      RULE(.action = CATALOG_FILTER, .event = SPAN("$create_alias")), .warning = "invalid_alias", "details/receivedType", "\"array\"" },

    /* flags */
    { "vector B20: a flag that is text counts as true", "view", PROPS("{\"$process_person_profile\":\"false\"}"),
      .expected = { { P "$process_person_profile", "-" }, { "person_mode", "full" } },
      .warning = "invalid_process_person_profile", "details/$process_person_profile", "\"false\"" },
    { "vector B21: a flag that is true goes away", "view", PROPS("{\"$process_person_profile\":true}"),
      .expected = { { P "$process_person_profile", "-" }, { "person_mode", "full" } } },
    { "vector B22: no person asked for", "view",
      "{\"$set_once\":{\"q\":1},\"properties\":{\"$process_person_profile\":false,\"$set\":{\"a\":1},\"$unset\":[\"x\"],\"$browser\":\"F\"}}",
      .expected = { { "properties", "{\"$process_person_profile\":false,\"$browser\":\"F\"}" },
                    { "person_mode", "propertyless" }, { "person_properties", "{}" },
                    { "person_created_at", "5000000" } } },
    { "vector F11: personless rows carry no group keys", "view", PROPS("{\"$process_person_profile\":false,\"$group_0\":\"x\"}"),
      .expected = { { P "$group_0", "-" }, { "$group_0", "-" } } },
    { "vector F09: $identify without a person", "$identify", PROPS("{\"$process_person_profile\":false}"), FATE_INVALID_EVENT_FOR_FLAGS,
      .warning = "invalid_event_when_process_person_profile_is_false", "details/event", "\"$identify\"" },
    { "$groupidentify without a person stays", "$groupidentify", PROPS("{\"$process_person_profile\":false}"),
      .expected = { { "person_mode", "propertyless" } } },
    { "vector F10: persons switched off by the request", "$identify", PROPS("{\"$anon_distinct_id\":\"o\"}"),
      .record = { .flags = RECORD_PERSON_OFF },
      .expected = { { "person_mode", "propertyless" }, { P "$process_person_profile", "false" } } },
    { "persons switched off by the project", "view", PROPS("{\"$set\":{\"a\":1}}"),
      .settings = { .person_processing_off = true },
      .expected = { { "person_mode", "propertyless" }, { P "$set", "-" }, { P "$process_person_profile", "false" } } },
    { "a merge in such a project", "$identify", "{}", FATE_INVALID_EVENT_FOR_FLAGS, .settings = { .person_processing_off = true },
      .warning = "invalid_event_when_process_person_profile_is_false", "details/event", "\"$identify\"" },

    /* times */
    { "vector C13: a time that nobody can read", "view", "{\"timestamp\":\"garbage\"}", .warning = "ignored_invalid_timestamp",
      "details/reason", "\"not a time\"", .expected = { { "timestamp", "1709287200000000" } } },
    { "a readable one that fell back to now is not told", "view", "{\"timestamp\":\"2024-03-05T00:00:00Z\"}" },
    { "vector C14: a time in the year 12345", "view", "{\"timestamp\":\"+012345-01-01T00:00:00Z\"}",
      .warning = "ignored_invalid_timestamp", "details/field", "\"timestamp\"" },

    /* elements */
    { "vector H02: a finished chain is used as it is", "view", PROPS("{\"$elements_chain\":\"x\",\"$elements\":[{\"tag_name\":\"a\"}]}"),
      .expected = { { "elements_chain", "x" }, { "properties", "{}" } } },
    { "a chain without a letter is none: the elements count", "view", PROPS("{\"$elements_chain\":\"\",\"$elements\":[{\"tag_name\":\"a\"}]}"),
      .expected = { { "elements_chain", "a:nth-child=\"0\"nth-of-type=\"0\"" }, { "properties", "{}" } } },
    { "vector H03: no elements", "view", PROPS("{\"$elements\":[]}"), .expected = { { "elements_chain", "" }, { "properties", "{}" } } },
    { "vector H03: elements that are text", "view", PROPS("{\"$elements\":\"str\"}"), .expected = { { "elements_chain", "" } } },
    { "one element", "view", PROPS("{\"$elements\":[{\"tag_name\":\"b\"}]}"),
      .expected = { { "elements_chain", "b:nth-child=\"0\"nth-of-type=\"0\"" } } },

    /* special events */
    { "vector A27: a client's warning is no event", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_message\":\"too big\"}"), FATE_CLIENT_WARNING,
      .warning = "client_ingestion_warning", "details/message", "\"too big\"" },
    { "it may name capture's types", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_type\":\"empty_batch\"}"), FATE_CLIENT_WARNING, .warning = "empty_batch",
      "details/category", "\"event\"" },
    { "vector A28: but no others", "$$client_ingestion_warning", PROPS("{\"$$client_ingestion_warning_type\":\"merge_race_condition\"}"),
      FATE_CLIENT_WARNING, .warning = "client_ingestion_warning", "details/severity", "\"info\"" },
    { "vector A26, which keeps its row: an exception is an event", "$exception", PROPS("{\"$set\":{\"a\":1}}"), .expected = { { "event", "$exception" } } },


    /* questions for feature flags */
#define ASKED "\"$feature_flag\":\"f\",\"$feature_flag_response\":"
    { "vector B24: what tells nothing of the flag goes", "$feature_flag_called",
      PROPS("{\"$process_person_profile\":false," ASKED "true,\"custom\":1,\"$feature/f\":true,\"$session_entry_url\":\"x\",\"$initial_x\":1,"
            "\"$geoip_city_confidence\":1,\"$geoip_city_name\":\"Z\",\"$browser\":\"B\",\"utm_source\":\"s\",\"$feature_flagged\":1,\"$lib\":\"web\"}"),
      .expected = { { "properties", "{" ASKED "true,\"$feature/f\":true,\"$session_entry_url\":\"x\",\"$initial_x\":1,\"$geoip_city_name\":\"Z\","
                                    "\"$browser\":\"B\",\"utm_source\":\"s\",\"$lib\":\"web\"}" } } },
    { "vector B24: an answer in text keeps all", "$feature_flag_called", PROPS("{" ASKED "\"variant-a\",\"custom\":1}"),
      .expected = { { P "custom", "1" }, { P "$feature_flag_response", "\"variant-a\"" } } },
    { "no answer", "$feature_flag_called", PROPS("{\"custom\":1}"), .expected = { { P "custom", "-" } } },
    { "another event keeps all", "view", PROPS("{" ASKED "true,\"custom\":1}"), .expected = { { P "custom", "1" } } },
    { "vector F12: a server's question makes no person", "$feature_flag_called",
      PROPS("{" ASKED "true,\"$browser\":\"B\",\"$set\":{\"a\":1},\"$unset\":[\"b\"],\"$group_0\":\"x\"}"), .table = ROW_PERSON, .rows = 0,
      .expected = { { "person_mode", "propertyless" }, { "person_created_at", "5000000" }, { "person_properties", "{}" }, { "$group_0", "-" },
                    { "properties", "{" ASKED "true,\"$browser\":\"B\"}" } } },
    { "vector F12: unless it wants one", "$feature_flag_called", PROPS("{" ASKED "true,\"$process_person_profile\":true,\"$set\":{\"a\":1}}"),
      .expected = { { "person_mode", "full" }, { "person_properties/a", "1" }, { P "$process_person_profile", "-" } } },
    { "vector F12: or names groups", "$feature_flag_called", PROPS("{" ASKED "true,\"$groups\":{\"org\":\"o\"}}"),
      .expected = { { "person_mode", "full" }, { P "$group_0", "\"o\"" } } },
    { "no groups at all", "$feature_flag_called", PROPS("{" ASKED "\"v\",\"$groups\":{ }}"), .expected = { { "person_mode", "propertyless" } } },
    { "groups that are a list", "$feature_flag_called", PROPS("{" ASKED "\"v\",\"$groups\":[\"o\"]}"), .expected = { { "person_mode", "propertyless" } },
      .warning = "invalid_groups", "details/receivedType", "\"array\"" },

    /* when a person was last seen */
    { "vector D26: the hour of an event", "view", "{}", .settings = { .person_last_seen = true },
      .record = { .timestamp_us = FIXTURE_NOW_US + INT64_C(37) * 60000000 }, .table = ROW_PERSON, .rows = 1,
      .expected = { { "last_seen_at", "1709287200000000" } } },
    { "an event that does not count", "view", PROPS("{\"$update_person_last_seen_at\":false}"), .settings = { .person_last_seen = true },
      .table = ROW_PERSON, .rows = 1, .expected = { { "last_seen_at", "-" } } },
    { "a project that does not ask", "view", "{}", .table = ROW_PERSON, .rows = 1, .expected = { { "last_seen_at", "-" } } },

    /* surveys */
    { "a survey's day goes to the person", "survey shown", "{}",
      .expected = { { P "$set/$survey_last_seen_date", "\"2024-03-01T10:00:00Z\"" },
                    { "person_properties/$survey_last_seen_date", "\"2024-03-01T10:00:00Z\"" } } },
    { "unless it is there", "survey shown", "{\"$set\":{\"$survey_last_seen_date\":\"never\"}}",
      .expected = { { P "$set/$survey_last_seen_date", "\"never\"" } } },
    { "or nobody is asked for", "survey shown", PROPS("{\"$process_person_profile\":false}"), .expected = { { P "$set", "-" } } },
    { "another survey event", "survey sent", "{}", .expected = { { P "$set", "-" } } },

    /* details of warnings, to the letter */
#define ID(n) .uuid = { { n, [6] = 0x70, [8] = 0x80 } }, .distinct_id = SPAN("dd")
#define IDS(n) "\"eventUuid\":\"" n "000000-0000-7000-8000-000000000000\",\"distinctId\":\"dd\","
#define KIND(category, severity) "\"category\":\"" category "\",\"severity\":\"" severity "\"}"
    { "counts of tokens that are none", "$ai_generation", PROPS("{\"$ai_input_tokens\":12,\"$ai_output_tokens\":\"many\"}"),
      .record = { ID(0xa0) }, .warning = "invalid_ai_token_property", "details",
      "{\"event\":\"$ai_generation\",\"property\":\"$ai_output_tokens\",\"value\":\"\\\"many\\\"\",\"receivedType\":\"string\"," IDS("a0") KIND("event", "warning") },
    { "counts in quotes, none, zero", "$ai_generation", PROPS("{\"$ai_input_tokens\":\"12\",\"$ai_output_tokens\":null,\"$ai_total_tokens\":0,\"tokens\":\"x\"}") },
    { "a count below zero", "$ai_span", PROPS("{\"$ai_total_tokens\":-1}"), .warning = "invalid_ai_token_property", "details/value", "\"-1\"" },
    { "another event may say what it likes", "view", PROPS("{\"$ai_total_tokens\":\"x\"}") },
    { "skipping_event_invalid_distinct_id", "view", "{}", FATE_DISTINCT_ID_TOO_LONG,
      .record = { .distinct_id = { (const uint8_t *)X200 X200 "x", 401 } }, .warning = "skipping_event_invalid_distinct_id", "details",
      "{\"distinctId\":\"" X50 X50 "\",\"distinctIdLength\":401,\"maxLength\":400," KIND("event", "error") },
    { "group_key_too_long", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"" X200 X200 "x\"}"), FATE_GROUP_KEY_TOO_LONG,
      .record = { ID(0xa1) }, .warning = "group_key_too_long", "details",
      "{\"event\":\"$groupidentify\",\"groupKey\":\"" X200 X200 "\",\"groupKeyLength\":401,\"maxLength\":400," IDS("a1") KIND("size", "error") },
    { "cannot_merge_with_illegal_distinct_id", "$identify", PROPS("{\"$anon_distinct_id\":\"null\"}"), .record = { ID(0xa2) },
      .warning = "cannot_merge_with_illegal_distinct_id", "details",
      "{\"illegalDistinctId\":\"null\",\"otherDistinctId\":\"dd\"," IDS("a2") KIND("merge", "warning") },
    { "client_ingestion_warning", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_message\":\"m\",\"$$client_ingestion_warning_details\":{\"a\":1},\"$$client_ingestion_warning_source\":\"s\"}"),
      FATE_CLIENT_WARNING, .record = { ID(0xa3) }, .warning = "client_ingestion_warning", "details",
      "{\"event\":\"$$client_ingestion_warning\",\"message\":\"m\"," IDS("a3") KIND("event", "info") },
    { "a type of capture's brings its own details", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_type\":\"missing_event_name\",\"$$client_ingestion_warning_message\":\"m\","
            "\"$$client_ingestion_warning_details\":{\"a\": [1],\"severity\":\"none\",\"distinctId\":\"other\",\"category\":1,\"pipelineStep\":\"shape\"}}"),
      FATE_CLIENT_WARNING, .record = { ID(0xa4) }, .warning = "missing_event_name", "details",
      "{\"a\":[1],\"distinctId\":\"other\",\"pipelineStep\":\"shape\",\"eventUuid\":\"a4000000-0000-7000-8000-000000000000\"," KIND("event", "error") },
    { "a step that is no text is none", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_type\":\"empty_batch\",\"$$client_ingestion_warning_details\":{\"pipelineStep\":5}}"), FATE_CLIENT_WARNING,
      .record = { ID(0xa5) }, .warning = "empty_batch", "details", "{" IDS("a5") KIND("event", "error") },
    { "and its own source", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_type\":\"empty_batch\",\"$$client_ingestion_warning_source\":\"capture\"}"), FATE_CLIENT_WARNING,
      .warning = "empty_batch", "source", "capture" },
    { "who claims nothing has no source", "$$client_ingestion_warning", PROPS("{\"$$client_ingestion_warning_source\":\"capture\"}"),
      FATE_CLIENT_WARNING, .warning = "client_ingestion_warning", "source", "ingest" },
    { "details that are no object", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_type\":\"empty_batch\",\"$$client_ingestion_warning_details\":\"x\"}"), FATE_CLIENT_WARNING,
      .record = { ID(0xa5) }, .warning = "empty_batch", "details", "{" IDS("a5") KIND("event", "error") },
    { "invalid_process_person_profile", "view", PROPS("{\"$process_person_profile\":[1]}"), .record = { ID(0xa6) },
      .warning = "invalid_process_person_profile", "details/$process_person_profile", "[1]" },
    { "invalid_event_when_process_person_profile_is_false", "$identify", PROPS("{\"$process_person_profile\":false}"), FATE_INVALID_EVENT_FOR_FLAGS,
      .record = { ID(0xa7) }, .warning = "invalid_event_when_process_person_profile_is_false", "details",
      "{\"event\":\"$identify\"," IDS("a7") KIND("event", "error") },
    { "ignored_invalid_timestamp", "view", "{\"timestamp\":\"+012345-01-01T00:00:00Z\"}", .record = { ID(0xa8) },
      .warning = "ignored_invalid_timestamp", "details",
      "{\"field\":\"timestamp\",\"value\":\"+012345-01-01T00:00:00Z\",\"reason\":\"out of bounds\",\"parsed_year\":12345,"
      "\"eventUuid\":\"a8000000-0000-7000-8000-000000000000\"," KIND("event", "warning") },
    { "event_dropped_too_old", "view", "{}", FATE_EVENT_TOO_OLD, .settings = { .drop_older_than_s = 3600 },
      .record = { ID(0xa9), .timestamp_us = FIXTURE_NOW_US - INT64_C(3601999999) }, .warning = "event_dropped_too_old", "details",
      "{\"event\":\"view\",\"eventTimestamp\":\"2024-03-01T08:59:58.000001Z\",\"ageInSeconds\":3601,\"dropThresholdSeconds\":3600," IDS("a9") KIND("event", "info") },
    { "invalid_group_set", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"k\",\"$group_set\":[1]}"), .record = { ID(0xaa) },
      .warning = "invalid_group_set", "details",
      "{\"groupType\":\"org\",\"groupKey\":\"k\",\"receivedType\":\"array\"," IDS("aa") KIND("event", "warning") },
    { "invalid_anon_distinct_id", "$identify", PROPS("{\"$anon_distinct_id\":5}"), FATE_INVALID_ANON_DISTINCT_ID, .record = { ID(0xab) },
      .warning = "invalid_anon_distinct_id", "details", "{\"event\":\"$identify\",\"receivedType\":\"number\"," IDS("ab") KIND("event", "error") },
    { "event_uuid_not_v7", "view", PROPS("{\"$lib\":\"posthog-mine\"}"),
      .record = { .uuid = { { 0xac, [6] = 0x40, [8] = 0x80 } }, .distinct_id = SPAN("dd") }, .warning = "event_uuid_not_v7", "details",
      "{\"event\":\"view\",\"lib\":\"posthog-mine\",\"eventUuid\":\"ac000000-0000-4000-8000-000000000000\",\"distinctId\":\"dd\"," KIND("event", "info") },
    { "a first-party server", "view", PROPS("{\"$lib\":\"posthog-elixir\"}"), .record = { .uuid = { { 0xad, [6] = 0x40, [8] = 0x80 } } } },
    { "no library named", "view", PROPS("{\"$lib\":\"\"}"), .record = { .uuid = { { 0xae, [6] = 0x40, [8] = 0x80 } } } },
    { "an id that the client did not choose", "view", PROPS("{\"$lib\":\"acme\"}"),
      .record = { .uuid = { { 0xaf, [6] = 0x40, [8] = 0x80 } }, .flags = RECORD_UUID_DERIVED } },
    { "invalid_event_session_id", "view", PROPS("{\"$session_id\":\"NOT\"}"), .record = { ID(0xb0) }, .warning = "invalid_event_session_id", "details",
      "{\"sessionId\":\"NOT\",\"eventUuid\":\"b0000000-0000-7000-8000-000000000000\"," KIND("event", "warning") },
    { "invalid_heatmap_data", "view", PROPS("{" VIEWPORT ",\"$heatmap_data\":7}"), .record = { ID(0xb1) }, .warning = "invalid_heatmap_data", "details",
      "{\"eventUuid\":\"b1000000-0000-7000-8000-000000000000\"," KIND("event", "warning") },
    { "rejecting_heatmap_data_with_invalid_items", "view",
      PROPS("{" VIEWPORT ",\"$session_id\":\"0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55\",\"$heatmap_data\":{\"u\":1}}"),
      .warning = "rejecting_heatmap_data_with_invalid_items", "details",
      "{\"heatmapUrl\":\"u\",\"session_id\":\"0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55\"," KIND("event", "warning") },

    /* heatmaps */
#define POINT(x, y) "{\"x\":" x ",\"y\":" y ",\"target_fixed\":true,\"type\":\"click\"}"
#define POINTS(list) "\"$heatmap_data\":{\"http://a.b/c\":" list "}"
    { "a heatmap is rows of its own", "$$heatmap",
      PROPS("{" VIEWPORT ",\"$session_id\":\"A1B2C3D4-E5F6-7890-ABCD-EF1234567890\"," POINTS("[" POINT("100", "200") "]") "}"), FATE_HEATMAP,
      .record = { .distinct_id = SPAN("dd"), .timestamp_us = 1709287190000000 }, .table = ROW_HEATMAP, .rows = 1,
      .expected = { { "type", "click" }, { "x", "6" }, { "y", "13" }, { "pointer_target_fixed", "1" }, { "viewport_height", "63" },
                    { "viewport_width", "50" }, { "current_url", "http://a.b/c" },
                    { "session_id", "a1b2c3d4-e5f6-7890-abcd-ef1234567890" }, { "scale_factor", "16" },
                    { "timestamp", "1709287190000000" }, { "team_id", "7" }, { "distinct_id", "dd" } } },
    { "heatmap data never reaches the event", "view", PROPS("{" VIEWPORT "," POINTS("[" POINT("8", "-8") "," POINT("7", "24") "]") ",\"a\":1}"),
      .expected = { { P "$heatmap_data", "-" }, { P "a", "1" } } },
    { "halves go up, below zero too", "view", PROPS("{" VIEWPORT "," POINTS("[" POINT("8", "-8") "," POINT("-9.5", "24.1") "]") "}"),
      .table = ROW_HEATMAP, .rows = 2,
      .expected = { { "x", "1" }, { "y", "0" }, { "session_id", "undefined" }, { "event_uuid", "-" }, { "captured_at", "-" } } },
    { "what is no point is passed over", "view",
      PROPS("{" VIEWPORT "," POINTS("[5,null,{},[],{\"x\":1,\"y\":\"2\",\"type\":\"c\"},{\"y\":2,\"type\":\"c\"},{\"x\":1,\"y\":2},"
                                    "{\"x\":1e400,\"y\":2,\"type\":\"c\"},{\"x\":32,\"y\":2,\"type\":\"c\"}]") "}"),
      .table = ROW_HEATMAP, .rows = 1, .expected = { { "x", "2" }, { "pointer_target_fixed", "0" } } },
    { "a blank url", "view", PROPS("{" VIEWPORT ",\"$session_id\":null,\"$heatmap_data\":{\" \":[" POINT("1", "2") "]}}"),
      .warning = "rejecting_heatmap_data_with_invalid_url", "details/heatmapUrl", "\" \"" },
    { "points that are no list", "view", PROPS("{" VIEWPORT ",\"$session_id\":\"x\",\"$heatmap_data\":{\"u\":{\"x\":1}}}"),
      .warnings = 2, .warning = "rejecting_heatmap_data_with_invalid_items", "details/session_id", "\"x\"" },
    { "data that is no object", "view", PROPS("{" VIEWPORT ",\"$heatmap_data\":[1]}"), .warning = "invalid_heatmap_data",
      "details/severity", "\"warning\"", .expected = { { P "$heatmap_data", "-" } } },
    { "data that is nothing", "view", PROPS("{\"$heatmap_data\":null}"), .expected = { { "properties", "{}" } } },
    { "no page at all", "view", PROPS("{\"$heatmap_data\":{}}"), .expected = { { "properties", "{}" } } },
    { "an id that everybody uses", "$$heatmap", PROPS("{" VIEWPORT "," POINTS("[" POINT("1", "2") "]") "}"), FATE_HEATMAP_ID,
      .record = { .distinct_id = SPAN("null") } },
    { "no viewport", "$$heatmap", PROPS("{\"$viewport_height\":1000," POINTS("[" POINT("1", "2") "]") "}"), FATE_HEATMAP_VIEWPORT },
    { "an event of an id that everybody uses keeps all but its points", "view", PROPS("{" VIEWPORT "," POINTS("[" POINT("1", "2") "]") "}"),
      .record = { .distinct_id = SPAN("guest") }, .warning = "invalid_heatmap_data", "details/reason",
      "\"the distinct id is one that many clients share\"", .expected = { { P "$heatmap_data", "-" }, { P "$viewport_height", "1000" } } },
    { "so does one without a viewport", "view", PROPS("{\"$viewport_height\":1000," POINTS("[" POINT("1", "2") "]") "}"),
      .warning = "invalid_heatmap_data", "details/reason", "\"$viewport_height and $viewport_width are not both numbers\"",
      .expected = { { P "$heatmap_data", "-" } } },
    { "and one that tells how far the page before was scrolled", "$pageview",
      PROPS("{\"$current_url\":\"https://a.b/c\",\"$prev_pageview_pathname\":\"/d\",\"$prev_pageview_max_scroll\":1600}"),
      .warning = "invalid_heatmap_data", "details/severity", "\"warning\"", .expected = { { P "$prev_pageview_max_scroll", "1600" } } },
    { "a viewport that is text", "$$heatmap", PROPS("{\"$viewport_height\":\"1000\",\"$viewport_width\":1," POINTS("[" POINT("1", "2") "]") "}"),
      FATE_HEATMAP_VIEWPORT },
    { "a heatmap without a point", "$$heatmap", PROPS("{" VIEWPORT "," POINTS("[]") "}"), FATE_HEATMAP_EMPTY },
    { "a heatmap without data", "$$heatmap", "{}", FATE_HEATMAP_EMPTY },
    { "a project that keeps none: an event", "view", PROPS("{" POINTS("[" POINT("1", "2") "]") ",\"a\":1}"), .settings = { .heatmaps_off = true },
      .expected = { { "properties", "{\"a\":1}" } } },
    { "a project that keeps none: a heatmap", "$$heatmap", PROPS("{" VIEWPORT "," POINTS("[" POINT("1", "2") "]") "}"), FATE_HEATMAPS_OFF,
      .settings = { .heatmaps_off = true } },
    { "data that went another way", "view", PROPS("{" POINTS("[" POINT("1", "2") "]") ",\"a\":1}"), .record = { .flags = RECORD_HEATMAP_SKIP },
      .expected = { { "properties", "{\"a\":1}" } } },
#define SCROLL(url, path) PROPS("{" VIEWPORT ",\"$process_person_profile\":false,\"$current_url\":\"" url "\",\"$prev_pageview_pathname\":\"" path "\",\"$prev_pageview_max_scroll\":1600}")
    { "how far the page before was scrolled", "$pageview", SCROLL("https://a.b:8/now?q=1/2#h", "/be fore?#\u00fc"), .table = ROW_HEATMAP, .rows = 1,
      .expected = { { "type", "scrolldepth" }, { "x", "0" }, { "y", "100" }, { "pointer_target_fixed", "0" },
                    { "current_url", "https://a.b:8/be%20fore%3F%23%C3%BC?q=1/2#h" } } },
    { "an address without a path", "$pageview", SCROLL("https://a.b", "before"), .table = ROW_HEATMAP, .rows = 1,
      .expected = { { "current_url", "https://a.b/before" } } },
    { "an address that is none", "$pageview", SCROLL("now", "/before"), .warning = "invalid_heatmap_data", "details/category", "\"event\"" },
    { "no path before: no scrolling", "$pageview", SCROLL("now", ""), .expected = { { P "$current_url", "\"now\"" } } },
    { "an unknown depth", "$pageview", PROPS("{" VIEWPORT ",\"$current_url\":\"http://a/\",\"$prev_pageview_pathname\":\"/b\"}"),
      .expected = { { "event", "$pageview" } } },

    /* tokens */
    { "a token that nobody has", "view", "{}", FATE_INVALID_TOKEN, .record = { .token = { (const uint8_t *)"phc_x", 5 } } },
    { "a project that is not there", "view", "{}", FATE_INVALID_TOKEN, .record = { .project = 99 } },
    { "refused by capture", "view", "{\"event\":5}", FATE_DEAD_LETTERED,
      .record = { .kind = RECORD_REJECTED, .rejection = RECORD_REJECTED_BAD_FIELD } },
};

static void check_warning(struct fixture *fixture, const struct fact *fact)
{
    struct row row;
    char       value[2048];

    if (fact->warning == NULL) {
        if (fixture_row(fixture, ROW_WARNING, 0, &row)) {
            fixture_value(&row, "details", value, sizeof value);
            fail_msg("%s: unexpected warning %s", fact->name, value);
        }
        return;
    }
    if (fact->warnings > 0 && fixture_row(fixture, ROW_WARNING, fact->warnings, &row))
        fail_msg("%s: more than %zu warnings", fact->name, fact->warnings);
    if (!fixture_row(fixture, ROW_WARNING, fact->warnings > 0 ? fact->warnings - 1 : 0, &row))
        fail_msg("%s: no warning %s", fact->name, fact->warning);
    fixture_value(&row, "type", value, sizeof value);
    if (strcmp(value, fact->warning) != 0)
        fail_msg("%s: warning %s instead of %s", fact->name, value, fact->warning);
    fixture_value(&row, fact->warning_path, value, sizeof value);
    if (strcmp(value, fact->warning_value) != 0)
        fail_msg("%s: warning's %s is %s, not %s", fact->name, fact->warning_path, value, fact->warning_value);
}

/* One fixture for all facts, since a store costs several syncs; what one fact leaves is cleared. */
static void check_fact(struct fixture *fixture, const struct fact *fact, const char *distinct_id)
{
    static const struct catalog_project usual;
    struct record                       record = fact->record;
    struct span                         body;
    struct row                          row;
    char                                value[8192];
    uint32_t                            rules[RULES_MAX];
    bool                                there;

    if (memcmp(&fact->settings, &usual, sizeof usual) != 0)
        fixture_settings(fixture, &fact->settings);
    for (size_t i = 0; i < fact->rule_count; i++)
        rules[i] = fixture_restrict(fixture, &fact->rules[i]);
    record.event = span_text(fact->event);
    record.data = span_text(fact->data);
    if (record.distinct_id.bytes == 0)
        record.distinct_id = span_text(distinct_id);
    body = fixture_record(fixture, record, fixture->arena);
    fixture_run(fixture, &body, 1);
    if (fixture->fates[fact->fate] != 1)
        for (int i = 0; i < FATE_COUNT; i++)
            if (fixture->fates[i] == 1)
                fail_msg("%s: %s instead of %s", fact->name, fate_info(i)->name, fate_info(fact->fate)->name);
    there = fixture_row(fixture, ROW_EVENT, 0, &row);
    if (there != (fact->fate == FATE_STORED))
        fail_msg("%s: %s row", fact->name, there ? "a" : "no");
    if (fact->table != ROW_EVENT &&
        (fixture_count(fixture, fact->table) != fact->rows || (fact->rows > 0 && !fixture_row(fixture, fact->table, 0, &row))))
        fail_msg("%s: %zu rows, not %zu", fact->name, fixture_count(fixture, fact->table), fact->rows);
    for (size_t i = 0; i < EXPECTED_MAX && fact->expected[i][0] != NULL; i++) {
        fixture_value(&row, fact->expected[i][0], value, sizeof value);
        if (strcmp(value, fact->expected[i][1]) != 0)
            fail_msg("%s: %s is %s, not %s", fact->name, fact->expected[i][0], value, fact->expected[i][1]);
    }
    check_warning(fixture, fact);
    if (memcmp(&fact->settings, &usual, sizeof usual) != 0)
        fixture_settings(fixture, &usual);
    for (size_t i = 0; i < fact->rule_count; i++)
        fixture_unrestrict(fixture, rules[i]);
    fixture_forget_rows(fixture);
    memset(fixture->fates, 0, sizeof fixture->fates);
    warning_gate_free(fixture->gate);
    fixture->gate = warning_gate_new(NULL);
}

static void test_facts(void **state)
{
    struct fixture fixture;
    char           distinct_id[16];

    (void)state;
    fixture_init(&fixture);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        (void)snprintf(distinct_id, sizeof distinct_id, "n%zu", i);
        check_fact(&fixture, &facts[i], distinct_id);
    }
    fixture_fini(&fixture);
}

/* In the stored row what is said again is not written again, and nothing else is stored otherwise than it came. */
static void rows_say_where_it_stands(void **state)
{
    static const struct { const char *data; bool said_again; } rows[] = {
        { PROPS("{\"$browser\":\"Konqueror\",\"$current_url\":\"https://example.org/a/page/of/a/site\"}"), true },
        { PROPS("{\"$browser\":\"Konqueror\",\"$set\":{\"a\":1}}"), true },
        { PROPS("{\"page\":\"https://example.org/a/page/of/a/site\",\"$set\":{\"a\":1}}"), false },
        { PROPS("{\"$browser\":\"Konqueror\",\"$process_person_profile\":false}"), false },
    };
    struct fixture fixture;
    struct row     stored, row;
    struct err     err = { 0 };

    (void)state;
    fixture_init(&fixture);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct record record = { .event = SPAN("view"), .distinct_id = SPAN("n"), .data = span_text(rows[i].data) };
        struct span         body = fixture_record(&fixture, record, fixture.arena), text;

        fixture_run(&fixture, &body, 1);
        for (size_t k = 0; k < fixture.row_count; k++)
            if (row_stored_table(span_of(fixture.rows[k], fixture.row_bytes[k])) == ROW_EVENT)
                assert_int_equal(row_read(span_of(fixture.rows[k], fixture.row_bytes[k]), &stored, &err), 0);
        assert_true(fixture_row(&fixture, ROW_EVENT, 0, &row));
        text = row.cells[ROW_EVENT_PROPERTIES].text;
        assert_int_equal(text.at[0], '{');
        assert_int_equal(stored.cells[ROW_EVENT_PROPERTIES].text.at[0], rows[i].said_again ? PACKED_ECHO : '{');
        if (rows[i].said_again)
            assert_non_null(memmem(text.at, text.bytes, "\"$initial_browser\":\"Konqueror\"", 30));
        if (i == 0)
            assert_true(stored.cells[ROW_EVENT_PROPERTIES].text.bytes < text.bytes * 2 / 3);
        fixture_forget_rows(&fixture);
    }
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_facts), cmocka_unit_test(rows_say_where_it_stands) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
