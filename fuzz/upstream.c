/* fuzz/upstream.c - a message that somebody else's capture wrote: always a record, fit for the next stage (event/record.h R1); and
 * what is an event comes back out of a message of our own.
 * Input: lines of headers, `name=value` or `name` (null), up to an empty line; then the value. */
#include <stdlib.h>

#include "event/upstream_record.h"
#include "fuzz.h"
#include "wire/json.h"
#include "wire/utf8.h"

static void must_be_text(struct span text)
{
    MUST(utf8_valid(text));
    MUST(text.bytes == 0 || memchr(text.at, 0, text.bytes) == NULL);
}

static void must_be_object(struct span text)
{
    struct json_reader reader;
    struct json_value  value;

    json_reader_init(&reader, text, 0); /* without repair: what is stored needs none */
    MUST(json_skip(&reader, &value) == 0 && json_finish(&reader) == 0);
    MUST(value.raw.bytes == text.bytes && value.kind == JSON_OBJECT);
}

static struct span take_headers(struct span input, struct upstream_message *message)
{
    while (input.bytes > 0 && input.at[0] != '\n') {
        const uint8_t *end = memchr(input.at, '\n', input.bytes);
        struct span    line = end == NULL ? input : span_of(input.at, (size_t)(end - input.at));
        const uint8_t *equals = line.bytes == 0 ? NULL : memchr(line.at, '=', line.bytes);

        if (equals == NULL)
            upstream_header_add_null(message, line);
        else
            upstream_header_add(message, span_of(line.at, (size_t)(equals - line.at)),
                                span_from(line, (size_t)(equals - line.at) + 1));
        input = span_from(input, line.bytes + 1);
    }
    return span_from(input, 1);
}

static void comes_back(const struct record *record, const struct upstream_origin *origin, struct arena *arena)
{
    static const unsigned   kept = RECORD_COOKIELESS | RECORD_HISTORICAL | RECORD_PERSON_OFF | RECORD_HEATMAP_SKIP;
    struct upstream_form    form = { .lanes = true, .heatmap_split = true, .bytes_max = SIZE_MAX };
    struct buf              room;
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct record           again;
    struct err              err = { 0 };
    size_t                  count;

    buf_init(&room, SIZE_MAX);
    MUST(upstream_record_write(&form, record, &room, messages, &count, &err) == 0);
    MUST(count == 1 || count == 2);
    for (size_t i = 0; i < count; i++) {
        must_be_object(messages[i].value);
        MUST(upstream_record_read(&messages[i], origin, arena, &again, &err) == 0 && again.kind == RECORD_EVENT);
        if (i == 0) {
            MUST(span_equal(again.token, record->token) && span_equal(again.event, record->event));
            MUST(span_equal(again.distinct_id, record->distinct_id) && span_equal(again.ip, record->ip));
            MUST(uuid_equal(&again.uuid, &record->uuid));
            MUST(((again.flags ^ record->flags) & kept & ~(unsigned)RECORD_HEATMAP_SKIP) == 0);
            MUST(again.received_us == record->received_us && again.timestamp_us == record->timestamp_us);
        }
    }
    buf_fini(&room);
}

/* Times that RFC 3339 has no text for do not come back. */
static bool time_has_text(int64_t us)
{
    return us > INT64_C(-62167219200000000) && us < INT64_C(253402300800000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct upstream_origin origin = { .appended_us = INT64_C(1770091506000000), .place = 5 };
    static struct arena                *arena;
    struct upstream_message             message = { 0 };
    struct record                       record, stored;
    struct err                          err = { 0 };
    uint8_t                            *body;

    if (arena == NULL)
        arena = arena_new(1 << 16, 1 << 28);
    arena_reset(arena);
    message.value = take_headers(span_of(data, bytes), &message);
    MUST(upstream_record_read(&message, &origin, arena, &record, &err) == 0);
    must_be_text(record.token);
    must_be_text(record.distinct_id);
    must_be_text(record.event);
    must_be_text(record.ip);
    must_be_text(record.detail);
    body = malloc(record_bytes(&record));
    MUST(body != NULL);
    record_write(&record, body);
    MUST(record_read(span_of(body, record_bytes(&record)), &stored, &err) == 0);
    if (record.kind == RECORD_EVENT) {
        must_be_object(record.data);
        MUST(record.rejection == RECORD_REJECTED_NONE);
        if (time_has_text(record.received_us) && time_has_text(record.timestamp_us))
            comes_back(&stored, &origin, arena);
    } else if (record.rejection < RECORD_REJECTED_UNREADABLE) { /* of Penstock's capture, said by headers */
        MUST(record.rejection != RECORD_REJECTED_NONE && record.detail.bytes > 0 && utf8_valid(record.data));
    } else {
        MUST(record.detail.bytes > 0);
        MUST(span_equal(record.data, message.value));
    }
    free(body);
    return 0;
}
