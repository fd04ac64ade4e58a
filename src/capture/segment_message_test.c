/* capture/segment_message_test.c - messages as the API's specification shows them, and the events that they become.
 * The properties are written out by docs/segment.md. Each row is tried again in arenas that are too small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "capture/segment_message.h"

#define UUID "022bb90c-bbac-11e4-8dfc-aa07a5b093db"
#define ID "\"messageId\":\"" UUID "\""
#define PHONE_AGENT                                                                                                   \
    "Mozilla/5.0 (iPhone; CPU iPhone OS 9_1 like Mac OS X) AppleWebKit/601.1.46 (KHTML, like Gecko) Version/9.0 "      \
    "Mobile/13B143 Safari/601.1"

/* envelope: context of the batch, or NULL. properties: of the event; event: its name and distinct id. */
static const struct row {
    const char       *name;
    enum segment_type type;
    const char       *message, *envelope, *event, *properties;
} rows[] = {
    { "the first example of track", SEGMENT_TRACK,
      "{\"userId\":\"019mr8mf4r\",\"event\":\"Item Purchased\",\"properties\":{\"name\":\"Leap to Conclusions Mat\","
      "\"revenue\":14.99},\"context\":{\"ip\":\"24.5.68.47\"},\"timestamp\":\"2012-12-02T00:30:12.984Z\","
      "\"writeKey\":\"k\"," ID "}", NULL, "Item Purchased 019mr8mf4r",
      "{\"name\":\"Leap to Conclusions Mat\",\"revenue\":14.99,\"$ip\":\"24.5.68.47\"}" },
    { "the first example of identify", SEGMENT_IDENTIFY,
      "{\"userId\":\"019mr8mf4r\",\"traits\":{\"email\":\"pgibbons@example.com\",\"name\":\"Peter Gibbons\"},"
      "\"context\":{\"ip\":\"24.5.68.47\"}," ID "}", NULL, "$identify 019mr8mf4r",
      "{\"$set\":{\"email\":\"pgibbons@example.com\",\"name\":\"Peter Gibbons\"},\"$ip\":\"24.5.68.47\"}" },
    { "identify says who was anonymous", SEGMENT_IDENTIFY,
      "{\"anonymousId\":\"507f191e\",\"userId\":\"97980cfea0067\",\"traits\":{\"plan\":\"team\"}," ID "}", NULL,
      "$identify 97980cfea0067", "{\"$set\":{\"plan\":\"team\"},\"$anon_distinct_id\":\"507f191e\"}" },
    { "identify of one and the same id merges nothing", SEGMENT_IDENTIFY,
      "{\"anonymousId\":\"a\",\"userId\":\"\\u0061\",\"traits\":{\"x\":1}," ID "}", NULL, "$identify a",
      "{\"$set\":{\"x\":1}}" },
    { "traits of nobody known", SEGMENT_IDENTIFY, "{\"anonymousId\":\"507f191e\",\"userId\":null,\"traits\":{\"x\":1}," ID "}",
      NULL, "$set 507f191e", "{\"$set\":{\"x\":1}}" },
    { "traits in the context, as RudderStack's browser SDK sends them", SEGMENT_IDENTIFY,
      "{\"anonymousId\":\"b\",\"userId\":\"a\",\"context\":{\"traits\":{\"x\":1}}," ID "}", NULL, "$identify a",
      "{\"$anon_distinct_id\":\"b\",\"$set\":{\"x\":1}}" },
    { "traits in both places, as RudderStack's Node SDK sends them", SEGMENT_IDENTIFY,
      "{\"userId\":\"a\",\"traits\":{\"x\":1},\"context\":{\"traits\":{\"x\":1}}," ID "}", NULL, "$identify a",
      "{\"$set\":{\"x\":1}}" },
    { "traits in the context beside an empty object, as Python SDKs send them", SEGMENT_IDENTIFY,
      "{\"userId\":\"a\",\"traits\":{ },\"context\":{\"traits\":{\"x\":1}}," ID "}", NULL, "$identify a",
      "{\"$set\":{\"x\":1}}" },
    { "an empty object of traits alone", SEGMENT_IDENTIFY, "{\"userId\":\"a\",\"traits\":{}," ID "}", NULL, "$identify a",
      "{\"$set\":{}}" },
    { "empty traits in both places", SEGMENT_IDENTIFY, "{\"userId\":\"a\",\"traits\":{},\"context\":{\"traits\":{}}," ID "}", NULL,
      "$identify a", "{\"$set\":{}}" },
    { "other traits in the context stay readable", SEGMENT_IDENTIFY,
      "{\"userId\":\"a\",\"traits\":{\"x\":1},\"context\":{\"traits\":{\"x\":2}}," ID "}", NULL, "$identify a",
      "{\"$set\":{\"x\":1},\"segment_traits\":{\"x\":2}}" },
    { "page", SEGMENT_PAGE,
      "{\"anonymousId\":\"a\",\"name\":\"Home\",\"category\":\"Docs\",\"properties\":{\"url\":\"https://segment.com/academy/\","
      "\"path\":\"/academy/\",\"referrer\":\"https://google.com/q\",\"title\":\"Analytics Academy\"}," ID "}", NULL,
      "$pageview a",
      "{\"url\":\"https://segment.com/academy/\",\"path\":\"/academy/\",\"referrer\":\"https://google.com/q\","
      "\"title\":\"Analytics Academy\",\"name\":\"Home\",\"category\":\"Docs\","
      "\"$current_url\":\"https://segment.com/academy/\",\"$host\":\"segment.com\",\"$pathname\":\"/academy/\","
      "\"$referrer\":\"https://google.com/q\",\"$referring_domain\":\"google.com\"}" },
    { "the page of other messages is that of the context", SEGMENT_TRACK,
      "{\"anonymousId\":\"a\",\"event\":\"x\",\"properties\":{\"url\":\"film://1\"},\"context\":{\"page\":{"
      "\"url\":\"http://u:p@e.org:81?x\",\"path\":\"/\",\"referrer\":\"\",\"title\":\"T\",\"search\":\"?x\"}}," ID "}",
      NULL, "x a",
      "{\"url\":\"film://1\",\"$current_url\":\"http://u:p@e.org:81?x\",\"$host\":\"e.org:81\",\"$pathname\":\"/\","
      "\"title\":\"T\",\"$referrer\":\"$direct\",\"$referring_domain\":\"$direct\",\"segment_page\":{"
      "\"url\":\"http://u:p@e.org:81?x\",\"path\":\"/\",\"referrer\":\"\",\"title\":\"T\",\"search\":\"?x\"}}" },
    { "RudderStack names the referring domain", SEGMENT_TRACK,
      "{\"anonymousId\":\"a\",\"event\":\"x\",\"context\":{\"page\":{\"referrer\":\"https://g.co/\",\"referring_domain\":\"g\"}},"
      ID "}", NULL, "x a",
      "{\"$referrer\":\"https://g.co/\",\"$referring_domain\":\"g\",\"segment_page\":{\"referrer\":\"https://g.co/\","
      "\"referring_domain\":\"g\"}}" },
    { "screen", SEGMENT_SCREEN, "{\"userId\":\"a\",\"name\":\"Home\",\"properties\":{\"k\":[1]}," ID "}", NULL, "$screen a",
      "{\"k\":[1],\"name\":\"Home\",\"$screen_name\":\"Home\"}" },
    { "group", SEGMENT_GROUP,
      "{\"userId\":\"019mr8mf4r\",\"groupId\":\"8e9df332ac\",\"traits\":{\"name\":\"Initech\",\"employees\":420}," ID "}", NULL,
      "$groupidentify 019mr8mf4r",
      "{\"$group_type\":\"segment_group\",\"$group_key\":\"8e9df332ac\",\"$group_set\":{\"name\":\"Initech\","
      "\"employees\":420},\"$groups\":{\"segment_group\":\"8e9df332ac\"}}" },
    { "a group without traits, by number", SEGMENT_GROUP, "{\"userId\":7,\"groupId\":42," ID "}", NULL, "$groupidentify 7",
      "{\"$group_type\":\"segment_group\",\"$group_key\":\"42\",\"$group_set\":{},\"$groups\":{\"segment_group\":\"42\"}}" },
    { "a group that names its type", SEGMENT_GROUP,
      "{\"userId\":\"a\",\"groupId\":\"g\",\"traits\":{\"groupType\":\"company\"}," ID "}", NULL, "$groupidentify a",
      "{\"$group_type\":\"company\",\"$group_key\":\"g\",\"$group_set\":{\"groupType\":\"company\"},"
      "\"$groups\":{\"company\":\"g\"}}" },
    { "an event of a group", SEGMENT_TRACK, "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"groupId\":\"12345\"}," ID "}", NULL,
      "x a", "{\"$groups\":{\"segment_group\":\"12345\"}}" },
    { "an event of a group of a type", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"groupId\":9,\"groupType\":\"company\"}," ID "}", NULL, "x a",
      "{\"$groups\":{\"company\":\"9\"}}" },
    { "the client's own groups stay", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"properties\":{\"$groups\":{\"team\":\"t\"}},\"context\":{\"groupId\":\"g\"}," ID "}",
      NULL, "x a", "{\"$groups\":{\"team\":\"t\"},\"segment_groupId\":\"g\"}" },
    { "alias", SEGMENT_ALIAS, "{\"previousId\":\"39239-239239\",\"userId\":\"019mr8mf4r\"," ID "}", NULL,
      "$create_alias 019mr8mf4r", "{\"alias\":\"39239-239239\"}" },
    { "numbers as ids keep their digits", SEGMENT_ALIAS, "{\"previousId\":12345678901234567890,\"userId\":1.50," ID "}", NULL,
      "$create_alias 1.50", "{\"alias\":\"12345678901234567890\"}" },
    { "a track of both ids", SEGMENT_TRACK, "{\"userId\":\"a\",\"anonymousId\":\"b\",\"event\":\"x\"," ID "}", NULL, "x a",
      "{\"$anon_distinct_id\":\"b\"}" },
    { "a blank user is none", SEGMENT_TRACK, "{\"userId\":\" \",\"anonymousId\":\"b\",\"event\":\"x\"," ID "}", NULL, "x b", "{}" },
    { "a user that is no id is none", SEGMENT_TRACK, "{\"userId\":{},\"anonymousId\":\"b\",\"event\":\"x\"," ID "}", NULL, "x b",
      "{}" },
    { "a batch's message says its type", SEGMENT_BY_MESSAGE, "{\"type\":\"screen\",\"userId\":\"a\"," ID "}", NULL, "$screen a",
      "{}" },
    { "a path's type counts", SEGMENT_SCREEN, "{\"type\":\"track\",\"userId\":\"a\",\"event\":\"x\"," ID "}", NULL, "$screen a",
      "{\"segment_event\":\"x\"}" },
    { "the common fields of the specification", SEGMENT_TRACK,
      "{\"anonymousId\":\"507f191e810c19729de860ea\",\"context\":{\"active\":true,\"app\":{\"name\":\"InitechGlobal\","
      "\"version\":\"545\",\"build\":\"3.0.1.545\",\"namespace\":\"com.production.segment\"},\"campaign\":{"
      "\"name\":\"TPS Innovation Newsletter\",\"source\":\"Newsletter\",\"medium\":\"email\",\"term\":\"tps reports\","
      "\"content\":\"image link\"},\"device\":{\"id\":\"B5372DB0\",\"manufacturer\":\"Apple\",\"model\":\"iPhone7,2\","
      "\"name\":\"maguro\",\"type\":\"ios\"},\"ip\":\"8.8.8.8\",\"library\":{\"name\":\"analytics.js\","
      "\"version\":\"2.11.1\"},\"locale\":\"en-US\",\"network\":{\"bluetooth\":false,\"carrier\":\"T-Mobile US\","
      "\"cellular\":true,\"wifi\":false},\"os\":{\"name\":\"iPhone OS\",\"version\":\"8.1.3\"},\"screen\":{\"width\":320,"
      "\"height\":568,\"density\":2},\"timezone\":\"Europe/Amsterdam\",\"userAgent\":\"" PHONE_AGENT "\"},"
      "\"event\":\"x\",\"integrations\":{\"All\":true,\"Mixpanel\":false}," ID ",\"receivedAt\":\"2015-12-10T04:08:31.909Z\","
      "\"sentAt\":\"2015-12-10T04:08:31.581Z\",\"timestamp\":\"2015-12-10T04:08:31.905Z\",\"type\":\"track\","
      "\"userId\":\"97980cfea0067\",\"version\":2}", NULL, "x 97980cfea0067",
      "{\"$anon_distinct_id\":\"507f191e810c19729de860ea\",\"$ip\":\"8.8.8.8\",\"$raw_user_agent\":\"" PHONE_AGENT "\","
      "\"$locale\":\"en-US\",\"$timezone\":\"Europe/Amsterdam\",\"$os\":\"iPhone OS\",\"$os_version\":\"8.1.3\","
      "\"$screen_width\":320,\"$screen_height\":568,\"$screen_density\":2,\"$device_id\":\"B5372DB0\","
      "\"$device_type\":\"ios\",\"$device_name\":\"maguro\",\"$device_model\":\"iPhone7,2\","
      "\"$device_manufacturer\":\"Apple\",\"$app_name\":\"InitechGlobal\",\"$app_version\":\"545\","
      "\"$app_build\":\"3.0.1.545\",\"$app_namespace\":\"com.production.segment\",\"$lib\":\"analytics.js\","
      "\"$lib_version\":\"2.11.1\",\"$network_carrier\":\"T-Mobile US\",\"$network_wifi\":false,"
      "\"$network_cellular\":true,\"$browser\":\"Mobile Safari\",\"$browser_version\":9,\"segment_active\":true,"
      "\"segment_app\":{\"name\":\"InitechGlobal\",\"version\":\"545\",\"build\":\"3.0.1.545\","
      "\"namespace\":\"com.production.segment\"},\"utm_campaign\":\"TPS Innovation Newsletter\","
      "\"utm_source\":\"Newsletter\",\"utm_medium\":\"email\",\"utm_term\":\"tps reports\",\"utm_content\":\"image link\","
      "\"segment_device\":{\"id\":\"B5372DB0\",\"manufacturer\":\"Apple\",\"model\":\"iPhone7,2\",\"name\":\"maguro\","
      "\"type\":\"ios\"},\"segment_network\":{\"bluetooth\":false,\"carrier\":\"T-Mobile US\",\"cellular\":true,"
      "\"wifi\":false},\"segment_os\":{\"name\":\"iPhone OS\",\"version\":\"8.1.3\"},\"segment_screen\":{\"width\":320,"
      "\"height\":568,\"density\":2},\"segment_integrations\":{\"All\":true,\"Mixpanel\":false},"
      "\"segment_receivedAt\":\"2015-12-10T04:08:31.909Z\",\"segment_version\":2}" },
    { "system and device out of the agent when nothing else says", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"userAgent\":\"" PHONE_AGENT "\"}," ID "}", NULL, "x a",
      "{\"$raw_user_agent\":\"" PHONE_AGENT "\",\"$browser\":\"Mobile Safari\",\"$browser_version\":9,\"$os\":\"iOS\","
      "\"$os_version\":\"9.1\",\"$device_type\":\"Mobile\"}" },
    { "what the client says himself is not replaced, and what it would have been stays readable", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"properties\":{\"$lib\":\"mine\",\"$locale\":\"de\",\"utm_source\":\"s\",\"$ip\":\"1.1.1.1\"},"
      "\"context\":{\"library\":{\"name\":\"analytics.js\",\"more\":1},\"locale\":\"en\",\"ip\":\"2.2.2.2\",\"campaign\":{"
      "\"source\":\"t\"}}," ID "}", NULL, "x a",
      "{\"$lib\":\"mine\",\"$locale\":\"de\",\"utm_source\":\"s\",\"$ip\":\"1.1.1.1\","
      "\"segment_library\":{\"name\":\"analytics.js\",\"more\":1},\"segment_locale\":\"en\"}" },
    { "a context inherited of the batch", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"locale\":\"en\"}," ID "}",
      "{\"locale\":\"de\",\"device\":{\"type\":\"phone\"}}", "x a",
      "{\"$locale\":\"en\",\"$device_type\":\"phone\",\"segment_device\":{\"type\":\"phone\"}}" },
    { "of two contexts the message's own counts", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"os\":{\"name\":\"o\"}}," ID "}",
      "{\"os\":{\"name\":\"p\",\"version\":\"1\"}}", "x a",
      "{\"$os\":\"o\",\"segment_os\":{\"name\":\"o\"}}" },
    { "a form that is not of the specification stays whole", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"os\":\"Linux\",\"ip\":[\"1.1.1.1\"],\"page\":{\"url\":{}},\"campaign\":\"c\"},"
      "\"more\":[null],\"messageId\":\"" UUID "\",\"_metadata\":{\"a\":1}}", NULL, "x a",
      "{\"segment_os\":\"Linux\",\"segment_ip\":[\"1.1.1.1\"],\"segment_page\":{\"url\":{}},\"segment_campaign\":\"c\","
      "\"segment_more\":[null],\"segment__metadata\":{\"a\":1}}" },
    { "a campaign may name itself", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"context\":{\"campaign\":{\"name\":\"n\",\"campaign\":\"c\",\"id\":7}}," ID "}", NULL, "x a",
      "{\"utm_name\":\"n\",\"utm_campaign\":\"c\",\"utm_id\":7}" },
    { "an id that is no UUID stays readable", SEGMENT_TRACK, "{\"userId\":\"a\",\"event\":\"x\",\"messageId\":\"ajs-next-1\"}", NULL,
      "x a", "{\"segment_messageId\":\"ajs-next-1\"}" },
    { "both times", SEGMENT_TRACK,
      "{\"userId\":\"a\",\"event\":\"x\",\"timestamp\":\"2020-01-01T00:00:00Z\",\"originalTimestamp\":\"2021-01-01T00:00:00Z\"," ID "}",
      NULL, "x a", "{\"segment_originalTimestamp\":\"2021-01-01T00:00:00Z\"}" },
    { "values are copied as written", SEGMENT_TRACK,
      "{\"userId\":\"\\u00e9\",\"event\":\"a \\\"b\\\"\",\"properties\":{ \"n\" : 314159265358979323846264338327 , \"e\":\"\\u0041\\/\" },"
      ID "}", NULL, "a \"b\" \xc3\xa9",
      "{ \"n\" : 314159265358979323846264338327 , \"e\":\"\\u0041\\/\" }" },
};

static void read_row(const struct row *row, struct arena *arena, struct segment_envelope *envelope)
{
    struct err err = { 0 };

    *envelope = (struct segment_envelope){ 0 };
    if (row->envelope == NULL)
        return;
    assert_int_equal(json_members_read(span_text(row->envelope), arena, &envelope->context, &err), 0);
    envelope->inherited_bytes = strlen(row->envelope);
}

static bool row_runs(const struct row *row, struct arena *arena, struct arena *inherited, struct buf *out,
                     struct segment_message *message)
{
    static struct segment_envelope envelope;
    struct segment_fault           fault;
    struct uuid                    uuid;

    arena_reset(inherited);
    read_row(row, inherited, &envelope);
    buf_reset(out);
    if (segment_message_read(span_text(row->message), row->type, &envelope, 1 << 20, arena, message, &fault) < 0)
        return false;
    if (fault.rejection != RECORD_REJECTED_NONE)
        fail_msg("%s: refused: %s", row->name, fault.detail);
    assert_true(uuid_parse(SPAN(UUID), &uuid));
    if (!message->has_uuid)
        message->uuid = uuid;
    return segment_message_write(message, arena, out) == 0;
}

/* The event's text begins with the fields that are not its properties. */
static void check_text(const struct row *row, const struct segment_message *message, struct span text)
{
    static const char mark[] = ",\"uuid\":\"" UUID "\",\"properties\":";
    char              expected[8192], who[512];
    const uint8_t    *at = memmem(text.at, text.bytes, mark, sizeof mark - 1);
    struct span       rest;

    (void)snprintf(who, sizeof who, "%.*s %.*s", SPAN_ARG(message->event), SPAN_ARG(message->distinct_id));
    if (strcmp(who, row->event) != 0)
        fail_msg("%s: %s, expected %s", row->name, who, row->event);
    assert_non_null(at);
    rest = span_from(text, (size_t)(at - text.at) + sizeof mark - 1);
    if (message->timestamp.raw.at == NULL)
        (void)snprintf(expected, sizeof expected, "%s}", row->properties);
    else
        (void)snprintf(expected, sizeof expected, "%s,\"timestamp\":%.*s}", row->properties, SPAN_ARG(message->timestamp.raw));
    if (!span_is(rest, expected))
        fail_msg("%s:\n%.*s\nexpected\n%s", row->name, SPAN_ARG(rest), expected);
}

static void test_rows(void **state)
{
    struct arena          *inherited = arena_new(4096, 1 << 20);
    struct segment_message message;
    struct buf             out;

    (void)state;
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t room = 0; room <= 65536; room = room == 0 ? 64 : room * 2) {
            struct arena *arena = arena_new(64, room);

            assert_non_null(arena);
            if (row_runs(&rows[i], arena, inherited, &out, &message))
                check_text(&rows[i], &message, buf_span(&out));
            else
                assert_true(room < 65536);
            arena_free(arena);
        }
    buf_fini(&out);
    arena_free(inherited);
}

/* --- what a batch says for all its messages ------------------------------------------------------ */

static void test_integrations(void **state)
{
    static const struct { const char *own, *batch, *properties; } rows_of[] = {
        { "", "{\"All\":true}", "{\"segment_integrations\":{\"All\":true}}" },
        { ",\"integrations\":null", "{\"All\":true}", "{\"segment_integrations\":{\"All\":true}}" },
        { ",\"integrations\":{}", "{\"All\":true}", "{\"segment_integrations\":{\"All\":true}}" },
        { ",\"integrations\":{\"All\":false,\"a\":1}", "{\"Al\\u006c\":true,\"b\\n\":{\"c\":[]}}",
          "{\"segment_integrations\":{\"All\":false,\"a\":1,\"b\\n\":{\"c\":[]}}}" },
        { ",\"integrations\":{\"All\":false}", "{}", "{\"segment_integrations\":{\"All\":false}}" },
        { ",\"integrations\":[1]", "{\"All\":true}", "{\"segment_integrations\":[1]}" },
        { ",\"properties\":{\"segment_integrations\":1},\"integrations\":{\"a\":1}", "{\"b\":1}", "{\"segment_integrations\":1}" },
    };
    struct segment_message message;
    struct segment_fault   fault;
    struct buf             out;
    char                   text[512];

    (void)state;
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof rows_of / sizeof *rows_of; i++)
        for (size_t room = 0; room <= 65536; room = room == 0 ? 64 : room * 2) {
            struct arena           *arena = arena_new(64, room);
            struct segment_envelope envelope = { .integrations = { .raw = span_text(rows_of[i].batch), .kind = JSON_OBJECT } };

            (void)snprintf(text, sizeof text, "{\"userId\":\"a\"," ID "%s}", rows_of[i].own);
            buf_reset(&out);
            if (segment_message_read(span_text(text), SEGMENT_PAGE, &envelope, 1 << 20, arena, &message, &fault) < 0 ||
                segment_message_write(&message, arena, &out) < 0) {
                assert_true(room < 65536);
            } else {
                (void)snprintf(text, sizeof text, ",\"uuid\":\"" UUID "\",\"properties\":%s}", rows_of[i].properties);
                if (memmem(out.at, out.bytes, text, strlen(text)) == NULL)
                    fail_msg("%s: %.*s", text, SPAN_ARG(buf_span(&out)));
            }
            arena_free(arena);
        }
    buf_fini(&out);
}

/* --- what is refused ---------------------------------------------------------------------------- */

static const struct bad { const char *name; enum segment_type type; const char *message; enum record_rejection rejection; } bads[] = {
    { "no object", SEGMENT_BY_MESSAGE, "7", RECORD_REJECTED_BAD_FIELD },
    { "no type in a batch", SEGMENT_BY_MESSAGE, "{\"userId\":\"a\"}", RECORD_REJECTED_BAD_FIELD },
    { "another type", SEGMENT_BY_MESSAGE, "{\"type\":\"merge\",\"userId\":\"a\"}", RECORD_REJECTED_BAD_FIELD },
    { "nobody", SEGMENT_TRACK, "{\"event\":\"x\"}", RECORD_REJECTED_NO_DISTINCT_ID },
    { "nobody but blanks", SEGMENT_TRACK, "{\"event\":\"x\",\"userId\":\"\",\"anonymousId\":\"\\t\"}", RECORD_REJECTED_NO_DISTINCT_ID },
    { "a track without a name", SEGMENT_TRACK, "{\"userId\":\"a\"}", RECORD_REJECTED_MISSING_EVENT_NAME },
    { "a track of no name", SEGMENT_TRACK, "{\"userId\":\"a\",\"event\":\"\"}", RECORD_REJECTED_NO_EVENT_NAME },
    { "a track of a number", SEGMENT_TRACK, "{\"userId\":\"a\",\"event\":1}", RECORD_REJECTED_BAD_FIELD },
    { "properties of a number", SEGMENT_TRACK, "{\"userId\":\"a\",\"event\":\"x\",\"properties\":1}", RECORD_REJECTED_BAD_FIELD },
    { "traits of a text", SEGMENT_IDENTIFY, "{\"userId\":\"a\",\"traits\":\"x\"}", RECORD_REJECTED_BAD_FIELD },
    { "a context of an array", SEGMENT_PAGE, "{\"userId\":\"a\",\"context\":[]}", RECORD_REJECTED_BAD_FIELD },
    { "a group of nothing", SEGMENT_GROUP, "{\"userId\":\"a\"}", RECORD_REJECTED_BAD_FIELD },
    { "an alias of nobody", SEGMENT_ALIAS, "{\"userId\":\"a\"}", RECORD_REJECTED_BAD_FIELD },
    { "cookieless, perhaps", SEGMENT_PAGE, "{\"userId\":\"a\",\"properties\":{\"$cookieless_mode\":\"yes\"}}",
      RECORD_REJECTED_INVALID_COOKIELESS },
    { "larger than may be", SEGMENT_PAGE,
      "{\"userId\":\"a\",\"properties\":{\"x\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}}",
      RECORD_REJECTED_TOO_LARGE },
};

static void test_refused(void **state)
{
    struct arena           *arena = arena_new(4096, 1 << 20);
    struct segment_envelope envelope = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        struct segment_message message;
        struct segment_fault   fault;

        arena_reset(arena);
        assert_int_equal(segment_message_read(span_text(bads[i].message), bads[i].type, &envelope, 100, arena, &message, &fault), 0);
        if (fault.rejection != bads[i].rejection)
            fail_msg("%s: %s", bads[i].name, record_rejection_tag(fault.rejection));
        assert_true(fault.detail[0] != 0);
    }
    arena_free(arena);
}

/* --- servers ------------------------------------------------------------------------------------ */

static void test_servers(void **state)
{
    static const struct { const char *message; bool server; } senders[] = {
        { "{\"userId\":\"a\",\"context\":{\"library\":{\"name\":\"@segment/analytics-node\"}}}", true },
        { "{\"userId\":\"a\",\"context\":{\"library\":{\"name\":\"segment-analytics-python\"}}}", true },
        { "{\"userId\":\"a\",\"context\":{\"library\":{\"name\":\"segment-analytics-python\"},\"direct\":true}}", false },
        { "{\"userId\":\"a\",\"context\":{\"library\":{\"name\":\"analytics.js\"}}}", false },
        { "{\"userId\":\"a\",\"channel\":\"server\"}", true },
        { "{\"userId\":\"a\",\"channel\":\"web\",\"context\":{\"library\":{\"name\":\"analytics-node\"}}}", false },
        { "{\"userId\":\"a\"}", false },
    };
    struct arena           *arena = arena_new(4096, 1 << 20);
    struct segment_envelope envelope = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        struct segment_message message;
        struct segment_fault   fault;

        arena_reset(arena);
        assert_int_equal(segment_message_read(span_text(senders[i].message), SEGMENT_PAGE, &envelope, 1000, arena, &message, &fault), 0);
        if (segment_message_from_server(&message) != senders[i].server)
            fail_msg("%s", senders[i].message);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_integrations), cmocka_unit_test(test_refused),
                                        cmocka_unit_test(test_servers) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
