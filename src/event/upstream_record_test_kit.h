/* event/upstream_record_test_kit.h - what the tests of messages in upstream's form share: one record, its writing, and texts
 * compared. Tests only. The times are those of the worked examples: it is 2026-02-03T04:05:06Z. */
#ifndef PENSTOCK_EVENT_UPSTREAM_RECORD_TEST_KIT_H
#define PENSTOCK_EVENT_UPSTREAM_RECORD_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/upstream_record.h"
#include "wire/time.h"

#define NOW_US INT64_C(1770091506000000)
#define UUID_TEXT "019c21ac-e950-7abc-8def-0123456789ab"

static inline struct uuid uuid_read(const char *text)
{
    struct uuid uuid;

    assert_true(uuid_parse_hyphenated(span_text(text), &uuid));
    return uuid;
}

static inline struct record record_of(const char *data)
{
    struct record record = { .kind = RECORD_EVENT,
                             .flags = RECORD_UUID_MADE,
                             .project = 7,
                             .uuid = uuid_read(UUID_TEXT),
                             .received_us = NOW_US,
                             .timestamp_us = NOW_US,
                             .sent_at_us = CLOCK_NONE,
                             .token = SPAN("phc_alpha"),
                             .ip = SPAN("203.0.113.7"),
                             .distinct_id = SPAN("u-1"),
                             .event = SPAN("signup") };

    record.data = span_text(data);
    return record;
}

static inline int written(const struct upstream_form *form, struct buf *room, const struct record *record, struct upstream_message *out,
                   size_t *count, struct err *err)
{
    buf_fini(room); /* a new one each time: what is written moves while it grows */
    buf_init(room, 1 << 20);
    return upstream_record_write(form, record, room, out, count, err);
}

static inline void check_text(const char *name, const char *what, struct span have, const char *expected)
{
    if (!span_is(have, expected))
        fail_msg("%s: %s\n is       %.*s\n expected %s", name, what, SPAN_ARG(have), expected);
}

#endif
