/* command/letter_event_test.c - what is sent for a dead letter: the client's own members, and what only the first
 * request knew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "command/letter_event.h"

#define UUID "0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55"
#define OWN  "0190a6c8-9f5e-7c3a-b6f1-000000000001"
#define RECEIVED_US INT64_C(1770091506789000) /* 2026-02-03T04:05:06.789Z */
#define WHEN "2026-02-03T04:05:06.789Z"

struct fact {
    const char *name;
    const char *data, *repaired, *uuid, *event, *ip;
    int64_t     received_us; /* 0: RECEIVED_US */
    bool        stored, base64; /* not the client's bytes; no text */
    const char *sent;        /* the event; NULL: refused */
    const char *says;        /* the refusal; or the uuid */
};

static const struct fact facts[] = {
    { "everything is the client's own", "{\"event\":\"e\",\"uuid\":\"" OWN "\",\"timestamp\":\"2020-01-01\",\"properties\":{\"$ip\":\"1.1.1.1\"}}",
      "", UUID, "e", "9.9.9.9", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" OWN "\",\"timestamp\":\"2020-01-01\",\"properties\":{\"$ip\":\"1.1.1.1\"}}", OWN },
    { "numbers, escapes and order stay", "{\"z\":1.50E+03,\"a\":9007199254740993,\"event\":\"\\u00e9\",\"uuid\":\"" OWN "\",\"timestamp\":5,\"properties\":{\"$ip\":null}}",
      "", UUID, "e", "9.9.9.9", 0, false, false,
      "{\"z\":1.50E+03,\"a\":9007199254740993,\"event\":\"\\u00e9\",\"uuid\":\"" OWN "\",\"timestamp\":5,\"properties\":{\"$ip\":null}}", OWN },
    { "the letter's uuid, the time of arrival and the address are added", "{\"event\":\"e\",\"properties\":{\"a\":1}}", "", UUID, "e", "9.9.9.9",
      0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"properties\":{\"$ip\":\"9.9.9.9\",\"a\":1},\"timestamp\":\"" WHEN "\"}", UUID },
    { "no properties at all", "{\"event\":\"e\"}", "", UUID, "e", "9.9.9.9", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"properties\":{\"$ip\":\"9.9.9.9\"},\"timestamp\":\"" WHEN "\"}", UUID },
    { "empty properties", "{\"event\":\"e\",\"properties\":{ } }", "", UUID, "e", "9.9.9.9", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"properties\":{\"$ip\":\"9.9.9.9\" },\"timestamp\":\"" WHEN "\"}", UUID },
    { "properties that are null", "{\"event\":\"e\",\"properties\":null}", "", UUID, "e", "9.9.9.9", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"properties\":{\"$ip\":\"9.9.9.9\"},\"timestamp\":\"" WHEN "\"}", UUID },
    { "properties that are no object are left alone", "{\"event\":\"e\",\"properties\":[1]}", "", UUID, "e", "9.9.9.9", 0, false, false,
      "{\"event\":\"e\",\"properties\":[1],\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "no address known", "{\"event\":\"e\"}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "no time of arrival known", "{\"event\":\"e\"}", "", UUID, "e", "", CLOCK_NONE, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\"}", UUID },
    { "the offset counts back from arrival, and is not sent again", "{\"event\":\"e\",\"offset\":789}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"2026-02-03T04:05:06Z\"}", UUID },
    { "it counts more than the event's own time", "{\"event\":\"e\",\"timestamp\":\"2020-01-01\",\"offset\":789}", "", UUID, "e", "", 0, false,
      false, "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"2026-02-03T04:05:06Z\"}", UUID },
    { "an offset of a thousand days", "{\"event\":\"e\",\"offset\":86400000000}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"2023-05-10T04:05:06.789Z\"}", UUID },
    { "an offset into the future", "{\"event\":\"e\",\"offset\":-5}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"2026-02-03T04:05:06.794Z\"}", UUID },
    { "an offset that no time can have stays", "{\"event\":\"e\",\"offset\":9223372036854775807}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"offset\":9223372036854775807,\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "an offset that is no number stays", "{\"event\":\"e\",\"offset\":\"x\"}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"offset\":\"x\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "an offset without a known arrival stays", "{\"event\":\"e\",\"offset\":789}", "", UUID, "e", "", CLOCK_NONE, false, false,
      "{\"event\":\"e\",\"offset\":789,\"uuid\":\"" UUID "\"}", UUID },
    { "an empty timestamp is none", "{\"event\":\"e\",\"timestamp\":\"\"}", "", UUID, "e", "", 0, false, false,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "a person update has no name of its own", "{\"distinct_id\":\"u\"}", "", UUID, "$identify", "", 0, false, false,
      "{\"distinct_id\":\"u\",\"uuid\":\"" UUID "\",\"event\":\"$identify\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "an empty name gets the letter's", "{\"event\":\"\"}", "", UUID, "$identify", "", 0, false, false,
      "{\"uuid\":\"" UUID "\",\"event\":\"$identify\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "nobody knows a name: capture says so", "{\"event\":\"\"}", "", UUID, "", "", 0, false, false,
      "{\"event\":\"\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "the repaired text is sent, and not the data", "{\"event\":5}", "{\"event\":\"mended\"}", UUID, "", "", 0, false, false,
      "{\"event\":\"mended\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "the last of two members counts", "{\"event\":\"a\",\"event\":\"b\"}", "", UUID, "", "", 0, false, false,
      "{\"event\":\"b\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "an upper-case uuid is the same one", "{\"event\":\"e\",\"uuid\":\"0190A6C8-9F5E-7C3A-B6F1-000000000001\",\"timestamp\":1}", "", UUID, "", "", 0,
      false, false, "{\"event\":\"e\",\"uuid\":\"0190A6C8-9F5E-7C3A-B6F1-000000000001\",\"timestamp\":1}", OWN },

    { "a uuid that is none", "{\"event\":\"e\",\"uuid\":\"x\"}", "", UUID, "", "", 0, false, false, NULL, "its uuid is not a UUID" },
    { "no event", "[1]", "", UUID, "", "", 0, false, false, NULL, "capture:7" },
    { "cut off", "{\"event\":\"e", "", UUID, "", "", 0, false, false, NULL, "capture:7" },
    { "bytes that are no text", "eyJldmVudCI6Iv8ifQ==", "", UUID, "", "", 0, false, true, NULL, "no text" },
    { "bytes that are no text, repaired: the letter's uuid", "eyJldmVudCI6Iv8ifQ==", "{\"event\":\"e\"}", UUID, "", "", 0, false, true,
      "{\"event\":\"e\",\"uuid\":\"" UUID "\",\"timestamp\":\"" WHEN "\"}", UUID },
    { "a stored record", "AQAB", "", UUID, "", "", 0, true, true, NULL, "no event, but a stored record" },
    { "a stored record, repaired without a uuid: the old one counts as seen", "AQAB", "{\"event\":\"e\"}", UUID, "", "", 0, true, true, NULL,
      "new uuid" },
    { "a stored record, repaired with a new uuid", "AQAB", "{\"event\":\"e\",\"uuid\":\"" OWN "\"}", UUID, "", "", 0, true, true,
      "{\"event\":\"e\",\"uuid\":\"" OWN "\",\"timestamp\":\"" WHEN "\"}", OWN },
};

static void test_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const struct fact *fact = &facts[i];
        struct letter      letter = {
            .key = "capture:7", .received_us = fact->received_us == 0 ? RECEIVED_US : fact->received_us, .is_event = !fact->stored,
            .base64 = fact->base64, .uuid = span_text(fact->uuid), .event = span_text(fact->event), .ip = span_text(fact->ip),
            .data = span_text(fact->data), .repaired = span_text(fact->repaired)
        };
        char       uuid[UUID_TEXT_BYTES + 1] = "", body[2048];
        struct err err = { .text = "" };
        struct buf out;
        int        rc;

        buf_init(&out, 1 << 16);
        rc = letter_event_write(&letter, SPAN("phc_\"x"), &out, uuid, &err);
        if (fact->sent == NULL) {
            if (rc == 0 || err.kind != ERR_INPUT || strstr(err.text, fact->says) == NULL)
                fail_msg("%s: %d, \"%s\"", fact->name, rc, err.text);
        } else {
            (void)snprintf(body, sizeof body, "{\"api_key\":\"phc_\\\"x\",\"batch\":[%s]}", fact->sent);
            if (rc < 0 || !span_is(buf_span(&out), body) || strcmp(uuid, fact->says) != 0)
                fail_msg("%s: %d %s %s\n%.*s\n%s", fact->name, rc, err.text, uuid, SPAN_ARG(buf_span(&out)), body);
        }
        buf_fini(&out);
    }
}

static void test_no_room(void **state)
{
    struct letter letter = { .key = "capture:7", .received_us = RECEIVED_US, .is_event = true, .uuid = SPAN(UUID), .data = SPAN("{\"event\":\"e\"}") };
    char          uuid[UUID_TEXT_BYTES + 1], little[40];
    struct err    err = { .text = "" };
    struct buf    out;

    (void)state;
    buf_init_over(&out, little, sizeof little);
    assert_int_equal(letter_event_write(&letter, SPAN("t"), &out, uuid, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_facts), cmocka_unit_test(test_no_room) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
