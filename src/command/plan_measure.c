/* command/plan_measure.c - this machine beside the one of bench/results, by work that needs neither disk nor network: JSON, copies,
 * branches, memory, as all of an event's way is made of. The quickest of many rounds is what the machine can do when nobody disturbs. */
#include "command/plan_costs.h"

#include <stdlib.h>

#include "base/clock.h"
#include "event/upstream_record.h"

enum { ROUNDS = 40, EVENTS = 400 };
#define REFERENCE_US 3.65 /* an event on the machine of bench/results/2026-11-21-kafka.md, by this very function */

static const char text[] =
    "{\"uuid\":\"019c21ac-e950-7abc-8def-0123456789ab\",\"event\":\"$pageview\",\"properties\":{\"$os\":\"Mac OS X\",\"$browser\":\""
    "Chrome\",\"$device_type\":\"Desktop\",\"$current_url\":\"https://shop.example/products/12?utm_source=mail\",\"$host\":\"sh"
    "op.example\",\"$pathname\":\"/products/12\",\"$raw_user_agent\":\"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Appl"
    "eWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36\",\"$browser_version\":150,\"$screen_height\":111"
    "7,\"$screen_width\":1728,\"$viewport_height\":900,\"$viewport_width\":1728,\"$lib\":\"web\",\"$lib_version\":\"1.298.0\",\"$i"
    "nsert_id\":\"k3x9z31\",\"$time\":1770091506.123,\"distinct_id\":\"019c21ac-e950-7abc-8def-0123456789ab\",\"$device_id\":\""
    "019c21ac-e950-7abc-8def-0123456789ab\",\"$referrer\":\"https://www.google.com/\",\"$session_id\":\"019c21ac-e950-7abc-"
    "8def-0123456789ab\",\"$window_id\":\"019c21ac-e950-7abc-8def-0123456789ab\",\"plan\":\"team\"},\"timestamp\":\"2026-02-03T"
    "04:05:06.123Z\"}";

static int64_t round_us(const struct upstream_form *form, const struct record *record, struct buf *room, struct arena *arena)
{
    const struct upstream_origin origin = { .appended_us = record->received_us };
    struct upstream_message      messages[UPSTREAM_MESSAGES_MAX];
    struct record                read;
    struct err                   err;
    size_t                       count;
    int64_t                      from_us = clock_thread_us();

    for (int i = 0; i < EVENTS; i++) {
        buf_reset(room);
        arena_reset(arena);
        if (upstream_record_write(form, record, room, messages, &count, &err) < 0 ||
            upstream_record_read(&messages[0], &origin, arena, &read, &err) < 0 || read.kind != RECORD_EVENT)
            return 0;
    }
    return clock_thread_us() - from_us;
}

double plan_measure(void)
{
    const struct upstream_form form = { .bytes_max = 1000000 };
    struct record              record = { .kind = RECORD_EVENT, .received_us = 1770091506000000, .timestamp_us = 1770091506000000, .sent_at_us = CLOCK_NONE,
                                          .token = SPAN("phc_alpha"), .ip = SPAN("203.0.113.7"), .distinct_id = SPAN("u-1"), .event = SPAN("$pageview"),
                                          .pipeline = PIPELINE_ANALYTICS };
    struct arena              *arena = arena_new(64 << 10, 1 << 20);
    struct buf                 room;
    int64_t                    best = INT64_MAX;

    buf_init(&room, 1 << 20);
    record.data = span_text(text);
    for (int i = 0; i < ROUNDS && arena != NULL && best > 0; i++) {
        int64_t us = round_us(&form, &record, &room, arena);

        best = us < best ? us : best;
    }
    if (arena != NULL)
        arena_free(arena);
    buf_fini(&room);
    return best <= 0 || best == INT64_MAX ? 0 : (double)best / EVENTS / REFERENCE_US;
}
