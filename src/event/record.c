/* event/record.c - see record.h for the form. Fixed fields first, so that a reader which wants only the
 * uuid or the project touches one cache line. */
#include "event/record.h"

#include <assert.h>

#include "base/bytes.h"

enum { RECORD_VERSION = 1, PIPELINE_SHIFT = 12, FLAGS_MASK = (1 << PIPELINE_SHIFT) - 1 };

size_t record_bytes(const struct record *record)
{
    return RECORD_HEAD_BYTES + record->token.bytes + record->ip.bytes + record->distinct_id.bytes +
           record->event.bytes + record->detail.bytes + record->data.bytes;
}

static uint8_t *record_put(uint8_t *to, struct span from)
{
    if (from.bytes > 0)
        memcpy(to, from.at, from.bytes);
    return to + from.bytes;
}

uint8_t *record_write_head(const struct record *record, uint8_t *to)
{
    uint8_t *at = to + RECORD_HEAD_BYTES;

    assert(record->token.bytes <= UINT8_MAX);
    assert(record->ip.bytes <= UINT8_MAX);
    assert(record->distinct_id.bytes <= UINT16_MAX);
    assert(record->event.bytes <= UINT32_MAX);
    assert(record->detail.bytes <= UINT32_MAX);
    assert(record->data.bytes <= UINT32_MAX);
    to[0] = RECORD_VERSION;
    to[1] = (uint8_t)record->kind;
    bytes_put_u16(to + 2, (uint16_t)((record->flags & FLAGS_MASK) | (unsigned)record->pipeline << PIPELINE_SHIFT));
    bytes_put_u32(to + 4, record->project);
    memcpy(to + 8, record->uuid.bytes, 16);
    bytes_put_u64(to + 24, (uint64_t)record->received_us);
    bytes_put_u64(to + 32, (uint64_t)record->timestamp_us);
    bytes_put_u64(to + 40, (uint64_t)record->sent_at_us);
    bytes_put_u16(to + 48, (uint16_t)record->sent_at_zone_min);
    to[50] = (uint8_t)record->timestamp_source;
    to[51] = (uint8_t)record->rejection;
    bytes_put_u64(to + 52, record->request);
    bytes_put_u32(to + 60, record->index);
    to[64] = (uint8_t)record->token.bytes;
    to[65] = (uint8_t)record->ip.bytes;
    bytes_put_u16(to + 66, (uint16_t)record->distinct_id.bytes);
    bytes_put_u32(to + 68, (uint32_t)record->event.bytes);
    bytes_put_u32(to + 72, (uint32_t)record->detail.bytes);
    bytes_put_u32(to + 76, (uint32_t)record->data.bytes);
    at = record_put(at, record->token);
    at = record_put(at, record->ip);
    at = record_put(at, record->distinct_id);
    at = record_put(at, record->event);
    return record_put(at, record->detail);
}

void record_write(const struct record *record, uint8_t *to)
{
    (void)record_put(record_write_head(record, to), record->data);
}

static struct span record_take(struct span *rest, size_t bytes)
{
    struct span part = span_of(rest->at, bytes);

    *rest = span_from(*rest, bytes);
    return part;
}

int record_read(struct span body, struct record *out, struct err *err)
{
    const uint8_t *at = body.at;
    struct record  found;
    struct span    rest;

    if (body.bytes < RECORD_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "a raw record of %zu bytes is shorter than its head of %d", body.bytes,
                       RECORD_HEAD_BYTES);
    if (at[0] != RECORD_VERSION)
        return err_set(err, ERR_CORRUPT, "raw record of version %u; this Penstock reads version %d", at[0],
                       RECORD_VERSION);
    found = (struct record){
        .kind = at[1],
        .flags = bytes_get_u16(at + 2) & FLAGS_MASK,
        .pipeline = bytes_get_u16(at + 2) >> PIPELINE_SHIFT,
        .project = bytes_get_u32(at + 4),
        .received_us = (int64_t)bytes_get_u64(at + 24),
        .timestamp_us = (int64_t)bytes_get_u64(at + 32),
        .sent_at_us = (int64_t)bytes_get_u64(at + 40),
        .sent_at_zone_min = (int16_t)bytes_get_u16(at + 48),
        .timestamp_source = at[50],
        .rejection = at[51],
        .request = bytes_get_u64(at + 52),
        .index = bytes_get_u32(at + 60),
    };
    memcpy(found.uuid.bytes, at + 8, 16);
    found.token.bytes = at[64];
    found.ip.bytes = at[65];
    found.distinct_id.bytes = bytes_get_u16(at + 66);
    found.event.bytes = bytes_get_u32(at + 68);
    found.detail.bytes = bytes_get_u32(at + 72);
    found.data.bytes = bytes_get_u32(at + 76);
    if (record_bytes(&found) != body.bytes)
        return err_set(err, ERR_CORRUPT, "a raw record's parts add up to %zu bytes, it has %zu", record_bytes(&found),
                       body.bytes);
    if (found.kind != RECORD_EVENT && found.kind != RECORD_REJECTED)
        return err_set(err, ERR_CORRUPT, "raw record of unknown kind %d", (int)found.kind);
    if (found.pipeline >= PIPELINE_COUNT)
        return err_set(err, ERR_CORRUPT, "raw record of unknown pipeline %d", (int)found.pipeline);
    if (found.rejection >= RECORD_REJECTION_COUNT || found.timestamp_source > RECORD_TIME_OFFSET)
        return err_set(err, ERR_CORRUPT, "raw record with rejection %d, timestamp source %d", (int)found.rejection,
                       (int)found.timestamp_source);
    rest = span_from(body, RECORD_HEAD_BYTES);
    found.token = record_take(&rest, found.token.bytes);
    found.ip = record_take(&rest, found.ip.bytes);
    found.distinct_id = record_take(&rest, found.distinct_id.bytes);
    found.event = record_take(&rest, found.event.bytes);
    found.detail = record_take(&rest, found.detail.bytes);
    found.data = record_take(&rest, found.data.bytes);
    *out = found;
    return 0;
}

enum { MOVED_VERSION = 1 };

void record_moved_write(const struct record_moved *moved, uint8_t *to)
{
    memset(to, 0, RECORD_MOVED_HEAD_BYTES);
    to[0] = MOVED_VERSION;
    bytes_put_u64(to + 8, moved->place);
    memcpy(to + RECORD_MOVED_HEAD_BYTES, moved->body.at, moved->body.bytes);
}

int record_moved_read(struct span bytes, struct record_moved *out, struct err *err)
{
    if (bytes.bytes < RECORD_MOVED_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "a moved record of %zu bytes is too short", bytes.bytes);
    if (bytes.at[0] != MOVED_VERSION)
        return err_set(err, ERR_CORRUPT, "moved record of version %d: written by a later Penstock", bytes.at[0]);
    *out = (struct record_moved){ .place = bytes_get_u64(bytes.at + 8), .body = span_from(bytes, RECORD_MOVED_HEAD_BYTES) };
    return 0;
}

const char *input_topic(enum input input)
{
#define INPUT_TOPIC(number, suffix, topic) [number] = topic,
    static const char *const topics[INPUT_COUNT] = { INPUTS(INPUT_TOPIC) };

    return topics[input];
}

#define RECORD_REJECTION_TAG(name, tag, text) tag,
#define RECORD_REJECTION_TEXT(name, tag, text) text,

const char *record_rejection_tag(enum record_rejection rejection)
{
    static const char *const tags[] = { RECORD_REJECTIONS(RECORD_REJECTION_TAG) };

    return rejection < RECORD_REJECTION_COUNT ? tags[rejection] : "unknown";
}

const char *record_rejection_text(enum record_rejection rejection)
{
    static const char *const texts[] = { RECORD_REJECTIONS(RECORD_REJECTION_TEXT) };

    return rejection < RECORD_REJECTION_COUNT ? texts[rejection] : "unknown";
}

const char *record_rejection_step(enum record_rejection rejection)
{
    return (int)rejection >= (int)RECORD_REJECTED_CAPTURE_COUNT ? "parse_message" : "capture";
}
