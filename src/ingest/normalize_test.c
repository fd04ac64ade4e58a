/* ingest/normalize_test.c - one event in, its row (or its fate) out: each row of a table is one fact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/testing.h"

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
    size_t                 rows;        /* of another table, exactly */
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
    { "null properties", "view", PROPS("null"), .expected = { { "properties", "{}" } } },
    { "properties that are a list", "view", PROPS("[\"x\"]"), FATE_DEAD_LETTERED },
    { "a text as top-level $set", "view", "{\"$set\":\"x\"}", FATE_DEAD_LETTERED },
    { "data that is a list", "view", "[1]", FATE_DEAD_LETTERED },
    { "data that is no JSON", "view", "{\"properties\":{", FATE_DEAD_LETTERED },
    { "two documents", "view", "{}{}", FATE_DEAD_LETTERED },
    { "a numeric distinct id is text by now", "view", "{}", .record = { .distinct_id = { (const uint8_t *)"12345", 5 } },
      .expected = { { "distinct_id", "12345" }, { "person_mode", "full" } } },
    { "capture's name wins over the one inside", "outer", "{\"event\":\"inner\"}", .expected = { { "event", "outer" } } },
    { "capture's time wins over the one inside", "view", "{\"timestamp\":\"2024-03-01T09:00:00Z\"}",
      .record = { .timestamp_us = 1709287190000000, .timestamp_source = RECORD_TIME_SENT_AT_SKEW },
      .expected = { { "timestamp", "1709287190000000" } } },
    { "values are copied, order and digits kept", "view",
      PROPS("{\"z\":1e400, \"a\" : 123456789012345678901234567890,\"\\u0061b\":-0,\"n\":{\"y\":1.0,\"x\": [ 1 ]}}"),
      .expected = { { "properties",
                      "{\"z\":1e400,\"a\":123456789012345678901234567890,\"\\u0061b\":-0,\"n\":{\"y\":1.0,\"x\": [ 1 ]}}" } } },
    { "the last of equal keys wins, at every depth", "view", PROPS("{\"a\":1,\"b\":{\"c\":1,\"d\":2,\"c\":3},\"a\":2}"),
      .expected = { { P "a", "2" }, { P "b/c", "3" }, { P "b/d", "2" } } },

    /* the person's properties in the event */
    { "top-level $set wins over the nested one", "view",
      "{\"$set\":{\"a\":1,\"b\":1},\"properties\":{\"$set\":{\"b\":2,\"c\":3}}}",
      .expected = { { P "$set/a", "1" }, { P "$set/b", "1" }, { P "$set/c", "3" }, { "person_properties/b", "1" } } },
    { "the same for $set_once", "view",
      "{\"$set_once\":{\"a\":1,\"b\":1},\"properties\":{\"$set_once\":{\"b\":2,\"c\":3}}}",
      .expected = { { P "$set_once/a", "1" }, { P "$set_once/b", "1" }, { P "$set_once/c", "3" } } },
    { "browser and campaign go to the person", "view", PROPS("{\"$browser\":\"Firefox\",\"utm_source\":\"ads\"}"),
      .expected = { { P "$set", "{\"$browser\":\"Firefox\",\"utm_source\":\"ads\"}" },
                    { P "$set_once", "{\"$initial_browser\":\"Firefox\",\"$initial_utm_source\":\"ads\"}" },
                    { "person_properties/$initial_browser", "\"Firefox\"" } } },
    { "the client's own $set stays", "view", PROPS("{\"$browser\":\"Firefox\",\"$set\":{\"$browser\":\"Mine\"}}"),
      .expected = { { P "$set/$browser", "\"Mine\"" }, { P "$set_once/$initial_browser", "\"Firefox\"" } } },
    { "and its own first value", "view",
      PROPS("{\"$browser\":\"Firefox\",\"$set_once\":{\"$initial_browser\":\"Mine\"}}"),
      .expected = { { P "$set/$browser", "\"Firefox\"" }, { P "$set_once/$initial_browser", "\"Mine\"" } } },
    { "null is copied too", "view", PROPS("{\"$referrer\":null}"),
      .expected = { { P "$set/$referrer", "null" }, { P "$set_once/$initial_referrer", "null" } } },
    { "$os_name is another name of $os", "view", PROPS("{\"$os_name\":\"Android\"}"),
      .expected = { { P "$os", "\"Android\"" }, { P "$set", "{\"$os\":\"Android\"}" },
                    { P "$set_once", "{\"$initial_os\":\"Android\"}" } } },
    { "$os wins over $os_name", "view", PROPS("{\"$os_name\":\"A\",\"$os\":\"B\"}"),
      .expected = { { P "$os", "\"B\"" }, { P "$set/$os", "\"B\"" }, { P "$set/$os_name", "-" },
                    { P "$set_once", "{\"$initial_os\":\"B\"}" } } },
    { "a server's system is not its user's", "view", PROPS("{\"$os\":\"Linux\",\"$is_server\":true}"),
      .expected = { { P "$set", "-" }, { P "$set_once", "-" } } },
    { "_kx keeps its underscore", "view", PROPS("{\"_kx\":\"k\"}"),
      .expected = { { P "$set_once/$initial__kx", "\"k\"" }, { P "$set/_kx", "\"k\"" } } },
    { "$set that is text, with something to set", "view", PROPS("{\"$set\":\"oops\",\"$browser\":\"X\"}"),
      .expected = { { P "$set", "{\"$browser\":\"X\"}" } },
      .warning = "invalid_person_update", "details/receivedType", "\"string\"" },
    { "$set that is text, alone", "view", PROPS("{\"$set\":\"oops\"}"),
      .expected = { { P "$set", "\"oops\"" }, { "person_properties/0", "-" } },
      .warning = "invalid_person_update", "details/field", "\"$set\"" },
    { "$unset of a wrong type", "view", PROPS("{\"$unset\":5}"), .warning = "invalid_person_update", "details/field",
      "\"$unset\"" },
    { "$snapshot tells nothing of the person", "$snapshot", PROPS("{\"$browser\":\"X\"}"),
      .expected = { { P "$set", "-" } } },
    { "$groupidentify sets no person", "$groupidentify", PROPS("{\"$set\":{\"a\":1},\"$browser\":\"X\"}"),
      .expected = { { P "$set", "-" }, { "person_properties/a", "-" } } },
    { "a key named toString is a key", "view", PROPS("{\"$set\":{\"toString\":1}}"),
      .expected = { { "person_properties/toString", "1" } } },

    /* the request */
    { "the address of the request", "view", "{}", .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } },
      .expected = { { P "$ip", "\"11.1.1.1\"" } } },
    { "the client's own address stays", "view", PROPS("{\"$ip\":\"9.9.9.9\"}"),
      .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } }, .expected = { { P "$ip", "\"9.9.9.9\"" } } },
    { "an empty one is replaced in its place", "view", PROPS("{\"$ip\":\"\",\"a\":1}"),
      .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } },
      .expected = { { "properties", "{\"$ip\":\"11.1.1.1\",\"a\":1}" } } },
    { "no address at all", "view", "{}", .expected = { { P "$ip", "-" } } },
    { "anonymous addresses", "view", "{}", .record = { .ip = { (const uint8_t *)"11.1.1.1", 8 } },
      .settings = { .anonymize_ips = true }, .expected = { { P "$ip", "-" } } },
    { "when it was sent, in the client's zone", "view", "{}",
      .record = { .sent_at_us = 1709287200000000, .sent_at_zone_min = 330 },
      .expected = { { P "$sent_at", "\"2024-03-01T15:30:00+05:30\"" } } },

    /* ids */
    { "a session id in lower case", "view", PROPS("{\"$session_id\":\"A1B2C3D4-E5F6-7890-ABCD-EF1234567890\"}"),
      .expected = { { P "$session_id", "\"a1b2c3d4-e5f6-7890-abcd-ef1234567890\"" },
                    { "$session_id", "a1b2c3d4-e5f6-7890-abcd-ef1234567890" } } },
    { "a session id of another kind", "view", PROPS("{\"$session_id\":\"NOT-A-UUID\"}"),
      .expected = { { P "$session_id", "\"NOT-A-UUID\"" }, { "$session_id", "NOT-A-UUID" } },
      .warning = "invalid_event_session_id", "details/sessionId", "\"NOT-A-UUID\"" },
    { "a session id that is a number", "view", PROPS("{\"$session_id\":12345}"), .expected = { { "$session_id", "12345" } },
      .warning = "invalid_event_session_id", "details/sessionId", "\"12345\"" },
    { "window id; null is none", "view", PROPS("{\"$window_id\":\"w\",\"$session_id\":null}"),
      .expected = { { "$window_id", "w" }, { "$session_id", "-" } } },
    { "a uuid of another version, from a library we do not know", "view", PROPS("{\"$lib\":\"acme-lib\"}"),
      .record = { .uuid = { { 1, [6] = 0x40, [8] = 0x80 } } }, .warning = "event_uuid_not_v7", "details/lib", "\"acme-lib\"" },
    { "the same from the web", "view", PROPS("{\"$lib\":\"web\"}"), .record = { .uuid = { { 2, [6] = 0x40, [8] = 0x80 } } } },
    { "a client may not call itself verified", "view", PROPS("{\"$verified\":true,\"a\":1}"),
      .expected = { { "properties", "{\"a\":1}" } } },
    { "what no warehouse wants", "view",
      PROPS("{\"ph_product_tours\":[1],\"$product_tours_activated\":1,\"$override_feature_flag_payloads\":{},\"a\":1}"),
      .expected = { { "properties", "{\"a\":1}" } } },

    /* names and sizes */
    { "a name of 250 is cut at 200", E50 E50 E50 E50 E50, "{}", .expected = { { "event", E50 E50 E50 E50 } },
      .warning = "event_name_too_long", "details/maxLength", "200" },
    { "a distinct id of 400", "view", "{}", .record = { .distinct_id = { (const uint8_t *)X200 X200, 400 } },
      .expected = { { "distinct_id", X200 X200 } } },
    { "a distinct id of 401", "view", "{}", FATE_DISTINCT_ID_TOO_LONG,
      .record = { .distinct_id = { (const uint8_t *)X200 X200 "x", 401 } },
      .warning = "skipping_event_invalid_distinct_id", "details/distinctIdLength", "401" },
    { "its warning shows the first 100", "view", "{}", FATE_DISTINCT_ID_TOO_LONG,
      .record = { .distinct_id = { (const uint8_t *)X200 X200 "x", 401 } },
      .warning = "skipping_event_invalid_distinct_id", "details/distinctId", "\"" X50 X50 "\"" },
    { "a group key of 401", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"" X200 X200 "x\"}"),
      FATE_GROUP_KEY_TOO_LONG, .warning = "group_key_too_long", "details/groupKeyLength", "401" },
    { "an id that capture cut", "view", "{}", .record = { .flags = RECORD_DISTINCT_CUT },
      .warning = "distinct_id_too_large", "details/severity", "\"error\"" },
    { "text that capture repaired", "view", "{}", .record = { .flags = RECORD_REPAIRED },
      .warning = "invalid_text_replaced", "details/category", "\"event\"" },

    /* merges that cannot be meant */
    { "$identify with an object as anonymous id", "$identify", PROPS("{\"$anon_distinct_id\":{\"a\":1}}"),
      FATE_INVALID_ANON_DISTINCT_ID, .warning = "invalid_anon_distinct_id", "details/receivedType", "\"object\"" },
    { "$create_alias with a list as alias", "$create_alias", PROPS("{\"alias\":[\"x\"]}"), FATE_INVALID_ALIAS,
      .warning = "invalid_alias", "details/receivedType", "\"array\"" },
    { "any other event may carry such an alias", "view", PROPS("{\"alias\":[\"x\"]}"),
      .expected = { { P "alias", "[\"x\"]" } } },
    { "a missing anonymous id is the text null", "$identify", PROPS("{\"$anon_distinct_id\":null}"),
      .warning = "cannot_merge_with_illegal_distinct_id", "details/illegalDistinctId", "\"null\"" },

    /* age */
    { "older than the project takes", "view", "{}", FATE_EVENT_TOO_OLD, .settings = { .drop_older_than_s = 3600 },
      .record = { .timestamp_us = FIXTURE_NOW_US - INT64_C(3601) * 1000000 },
      .warning = "event_dropped_too_old", "details/ageInSeconds", "3601" },
    { "exactly as old as it takes", "view", "{}", .settings = { .drop_older_than_s = 3600 },
      .record = { .timestamp_us = FIXTURE_NOW_US - INT64_C(3600) * 1000000 } },
    { "no limit", "view", "{}", .record = { .timestamp_us = 1 }, .expected = { { "timestamp", "1" } } },

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
    { "a flag that is text counts as true", "view", PROPS("{\"$process_person_profile\":\"false\"}"),
      .expected = { { P "$process_person_profile", "-" }, { "person_mode", "full" } },
      .warning = "invalid_process_person_profile", "details/$process_person_profile", "\"false\"" },
    { "a flag that is true goes away", "view", PROPS("{\"$process_person_profile\":true}"),
      .expected = { { P "$process_person_profile", "-" }, { "person_mode", "full" } } },
    { "no person asked for", "view",
      "{\"$set_once\":{\"q\":1},\"properties\":{\"$process_person_profile\":false,\"$set\":{\"a\":1},\"$unset\":[\"x\"],\"$browser\":\"F\"}}",
      .expected = { { "properties", "{\"$process_person_profile\":false,\"$browser\":\"F\"}" },
                    { "person_mode", "propertyless" }, { "person_properties", "{}" },
                    { "person_created_at", "5000000" } } },
    { "personless rows carry no group keys", "view", PROPS("{\"$process_person_profile\":false,\"$group_0\":\"x\"}"),
      .expected = { { P "$group_0", "-" }, { "$group_0", "-" } } },
    { "$identify without a person", "$identify", PROPS("{\"$process_person_profile\":false}"), FATE_INVALID_EVENT_FOR_FLAGS,
      .warning = "invalid_event_when_process_person_profile_is_false", "details/event", "\"$identify\"" },
    { "$groupidentify without a person stays", "$groupidentify", PROPS("{\"$process_person_profile\":false}"),
      .expected = { { "person_mode", "propertyless" } } },
    { "persons switched off by the request", "$identify", PROPS("{\"$anon_distinct_id\":\"o\"}"),
      .record = { .flags = RECORD_PERSON_OFF },
      .expected = { { "person_mode", "propertyless" }, { P "$process_person_profile", "false" } } },
    { "persons switched off by the project", "view", PROPS("{\"$set\":{\"a\":1}}"),
      .settings = { .person_processing_off = true },
      .expected = { { "person_mode", "propertyless" }, { P "$set", "-" }, { P "$process_person_profile", "false" } } },
    { "a merge in such a project", "$identify", "{}", FATE_INVALID_EVENT_FOR_FLAGS, .settings = { .person_processing_off = true },
      .warning = "invalid_event_when_process_person_profile_is_false", "details/event", "\"$identify\"" },
    { "cookieless events have no person yet", "view", PROPS("{\"$cookieless_mode\":true}"),
      .record = { .flags = RECORD_COOKIELESS, .distinct_id = { (const uint8_t *)"$posthog_cookieless", 19 } },
      .expected = { { "person_mode", "propertyless" }, { "distinct_id", "$posthog_cookieless" } } },

    /* times */
    { "a time that nobody can read", "view", "{\"timestamp\":\"garbage\"}", .warning = "ignored_invalid_timestamp",
      "details/reason", "\"not a time\"", .expected = { { "timestamp", "1709287200000000" } } },
    { "a readable one that fell back to now is not told", "view", "{\"timestamp\":\"2024-03-05T00:00:00Z\"}" },
    { "a time in the year 12345", "view", "{\"timestamp\":\"+012345-01-01T00:00:00Z\"}",
      .warning = "ignored_invalid_timestamp", "details/field", "\"timestamp\"" },

    /* elements */
    { "a finished chain is used as it is", "view", PROPS("{\"$elements_chain\":\"x\",\"$elements\":[{\"tag_name\":\"a\"}]}"),
      .expected = { { "elements_chain", "x" }, { "properties", "{}" } } },
    { "no elements", "view", PROPS("{\"$elements\":[]}"), .expected = { { "elements_chain", "" }, { "properties", "{}" } } },
    { "elements that are text", "view", PROPS("{\"$elements\":\"str\"}"), .expected = { { "elements_chain", "" } } },
    { "one element", "view", PROPS("{\"$elements\":[{\"tag_name\":\"b\"}]}"),
      .expected = { { "elements_chain", "b:nth-child=\"0\"nth-of-type=\"0\"" } } },

    /* special events */
    { "a client's warning is no event", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_message\":\"too big\"}"), FATE_CLIENT_WARNING,
      .warning = "client_ingestion_warning", "details/message", "\"too big\"" },
    { "it may name capture's types", "$$client_ingestion_warning",
      PROPS("{\"$$client_ingestion_warning_type\":\"empty_batch\"}"), FATE_CLIENT_WARNING, .warning = "empty_batch",
      "details/category", "\"event\"" },
    { "but no others", "$$client_ingestion_warning", PROPS("{\"$$client_ingestion_warning_type\":\"merge_race_condition\"}"),
      FATE_CLIENT_WARNING, .warning = "client_ingestion_warning", "details/severity", "\"info\"" },
    { "an exception is an event", "$exception", PROPS("{\"$set\":{\"a\":1}}"), .expected = { { "event", "$exception" } } },

    /* heatmaps */
#define VIEWPORT "\"$viewport_height\":1000,\"$viewport_width\":800"
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
    { "an id that everybody uses", "view", PROPS("{" VIEWPORT "," POINTS("[]") "}"), FATE_HEATMAP_ID, .record = { .distinct_id = SPAN("null") } },
    { "no viewport", "view", PROPS("{\"$viewport_height\":1000," POINTS("[" POINT("1", "2") "]") "}"), FATE_HEATMAP_VIEWPORT },
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
        (fixture_count(fixture, fact->table) != fact->rows || !fixture_row(fixture, fact->table, 0, &row)))
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
    fixture->gate = warning_gate_new();
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

/* A dead letter carries the client's bytes, where it stood and why. */
static void test_dead_letter(void **state)
{
    static const uint8_t garbage[] = { 1, 2, 0xff, 0xfe };
    struct fixture       fixture;
    struct span          bodies[3];
    struct row           row;
    char                 value[256];

    (void)state;
    fixture_init(&fixture);
    bodies[0] = fixture_record(&fixture,
                               (struct record){ .kind = RECORD_REJECTED, .rejection = RECORD_REJECTED_NO_DISTINCT_ID,
                                                .event = SPAN("view"), .data = SPAN("{ \"event\" : \"view\" }"),
                                                .request = 77, .index = 3 },
                               fixture.arena);
    bodies[2] = fixture_record(&fixture,
                               (struct record){ .kind = RECORD_REJECTED, .rejection = RECORD_REJECTED_TOO_LARGE,
                                                .data = SPAN("cut off \xc3") }, fixture.arena);
    bodies[1] = span_of(garbage, sizeof garbage);
    fixture_run(&fixture, bodies, 3);
    assert_int_equal(fixture.fates[FATE_DEAD_LETTERED], 3);
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 2, &row)); /* no text, and its reason stays its own */
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "oversize_event");
    fixture_value(&row, "data", value, sizeof value);
    assert_string_equal(value, "Y3V0IG9mZiDD"); /* printf 'cut off \xc3' | base64 */
    fixture_value(&row, "encoding", value, sizeof value);
    assert_string_equal(value, "base64");
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 0, &row));
    const char *const first[][2] = {
        { "data", "{ \"event\" : \"view\" }" }, { "step", "capture" }, { "reason", "no_distinct_id" },
        { "detail", "event submitted without a distinct_id" }, { "request", "77" }, { "index", "3" }, { "team_id", "7" },
        { "raw_offset", "0" },
    };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        fixture_value(&row, first[i][0], value, sizeof value);
        assert_string_equal(value, first[i][1]);
    }
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 1, &row));
    fixture_value(&row, "data", value, sizeof value);
    assert_string_equal(value, "AQL//g=="); /* printf '\x01\x02\xff\xfe' | base64 */
    fixture_value(&row, "step", value, sizeof value);
    assert_string_equal(value, "read");
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "unreadable_record");
    fixture_value(&row, "encoding", value, sizeof value);
    assert_string_equal(value, "base64");
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_facts), cmocka_unit_test(test_dead_letter) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
