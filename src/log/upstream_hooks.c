/* log/upstream_hooks.c - see upstream_hooks.h. The functions are called by many threads at once, so nothing is kept here: memory is
 * the caller's room, or an arena of one message, whose first piece holds an ordinary one. */
#include "log/upstream_hooks.h"

#include <stdio.h>
#include <string.h>

#include "event/upstream_row.h"

enum {
    READ_ARENA_MORE = 64 << 10,         /* beside the message and its decoded data */
    READ_ARENA_TIMES = 8,
    LOG_KAFKA_OFFSET_SHIFT = 20,        /* our offset is Kafka's, and the index in a frame */
    TOO_LARGE_DATA_BYTES = 16 << 10     /* of an event that no message can hold, so much is kept */
};

_Static_assert(sizeof ((struct log_message *)0)->headers / sizeof ((struct log_message *)0)->headers[0] >= UPSTREAM_HEADERS_MAX,
               "a message's headers must fit");

static bool is_raw(const char *topic)
{
    return strcmp(topic, input_topic(INPUT_RAW)) == 0 || strcmp(topic, input_topic(INPUT_HISTORICAL)) == 0;
}

static bool is_replay(const char *topic)
{
    return strcmp(topic, "replay") == 0;
}

/* --- topics ------------------------------------------------------------------------------------ */

static const char *name_of(const struct upstream_hooks *hooks, enum upstream_topic topic)
{
    return hooks->options.names[topic] != NULL ? hooks->options.names[topic] : upstream_topic_name(topic);
}

/* Where the rows of our topics go, unless they say otherwise themselves. */
static const struct { const char *topic; enum upstream_topic upstream; bool rows; } topics[] = {
    { "raw", UPSTREAM_ANALYTICS, false },      { "raw_historical", UPSTREAM_HISTORICAL, false },
    { "replay", UPSTREAM_REPLAY, false },      { "events", UPSTREAM_ROW_EVENTS, true },
    { "people", UPSTREAM_ROW_PERSONS, true },  { "warnings", UPSTREAM_ROW_WARNINGS, true },
    { "heatmaps", UPSTREAM_ROW_HEATMAPS, true }, { "dead_letters", UPSTREAM_DEAD_LETTERS, true },
};

static bool topic_is_upstreams(const struct upstream_hooks *hooks, const char *topic, enum upstream_topic *out)
{
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (strcmp(topics[i].topic, topic) == 0) {
            *out = topics[i].upstream;
            return topics[i].rows ? hooks->options.rows : hooks->options.records;
        }
    return false;
}

static const char *hook_topic_name(void *ctx, const char *topic)
{
    const struct upstream_hooks *hooks = ctx;
    enum upstream_topic          upstream;

    return topic_is_upstreams(hooks, topic, &upstream) ? name_of(hooks, upstream) : NULL;
}

static const char *const *hook_others(void *ctx, const char *topic)
{
    const struct upstream_hooks *hooks = ctx;

    return is_raw(topic) && hooks->apart[0] != NULL ? hooks->apart : NULL;
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Others may have put any number of headers in front of these. */
static bool is_asked_for(struct span name)
{
    static const char *const names[] = { "token", "distinct_id", "session_id", "timestamp", "event", "uuid", "now", "force_disable_person_processing",
                                         "historical_migration", "skip_heatmap_processing", "dlq_reason", "dlq_step", "content-encoding" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

static void message_in(const struct log_message *from, struct upstream_message *out)
{
    *out = (struct upstream_message){ .has_key = from->key.bytes > 0, .key = from->key, .value = from->value };
    for (size_t i = 0; i < from->header_count; i++)
        if (!is_asked_for(from->headers[i].name))
            continue;
        else if (from->headers[i].value.at == NULL)
            upstream_header_add_null(out, from->headers[i].name);
        else
            upstream_header_add(out, from->headers[i].name, from->headers[i].value);
}

static int batch_put(struct log_batch *batch, const struct record *record, struct err *err)
{
    size_t   bytes = record_bytes(record);
    uint8_t *to = log_batch_begin(batch, bytes);

    if (to == NULL)
        return err_set(err, ERR_FULL, "no room for a record of %zu bytes", bytes);
    record_write(record, to);
    log_batch_end(batch, bytes);
    return 0;
}

static int hook_read(void *ctx, const char *topic, const struct log_message *from, struct log_batch *batch, struct err *err)
{
    const struct upstream_origin origin = { .appended_us = from->timestamp_us, .place = (uint64_t)from->timestamp_us,
                                            .historical = strcmp(topic, input_topic(INPUT_HISTORICAL)) == 0 };
    struct upstream_message      message;
    struct record                record;
    struct arena                *arena;
    int                          rc;

    (void)ctx;
    if (!is_raw(topic))
        return err_set(err, ERR_INPUT, "%s: a message that is no frame", topic);
    arena = arena_new(2 * from->value.bytes + READ_ARENA_MORE / 16, READ_ARENA_TIMES * from->value.bytes + READ_ARENA_MORE);
    if (arena == NULL)
        return err_set(err, ERR_FULL, "no memory for a message of %zu bytes", from->value.bytes);
    message_in(from, &message);
    rc = upstream_record_read(&message, &origin, arena, &record, err);
    if (rc == 0)
        rc = batch_put(batch, &record, err);
    arena_free(arena);
    return rc;
}

/* --- writing ----------------------------------------------------------------------------------- */

static void message_out(const struct upstream_hooks *hooks, const char *topic, const struct upstream_message *from, struct log_message *out)
{
    enum upstream_topic usual = from->topic;

    out->key = from->has_key ? from->key : (struct span){ NULL, 0 };
    out->value = from->value;
    for (size_t i = 0; i < from->header_count; i++) {
        out->headers[i].name = from->headers[i].name;
        out->headers[i].value = from->headers[i].null ? (struct span){ NULL, 0 } : from->headers[i].value;
    }
    out->header_count = from->header_count;
    (void)topic_is_upstreams(hooks, topic, &usual);
    if (from->topic != usual)
        out->topic = name_of(hooks, from->topic);
}

/* The record's messages are written anew for each of them: nearly all have one. */
static int record_out(const struct upstream_hooks *hooks, const char *topic, struct span body, struct buf *room, struct log_message *place,
                      struct upstream_message *out, struct err *err)
{
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct record           record;
    size_t                  count;

    place->more = false;

    if (record_read(body, &record, err) < 0)
        return -1;
    place->timestamp_us = record.received_us;
    if (is_replay(topic))
        return upstream_replay_write(&hooks->form, &record, room, out, err);
    if (upstream_record_write(&hooks->form, &record, room, messages, &count, err) < 0)
        return -1;
    if (place->part >= count)
        return err_set(err, ERR_INPUT, "the record has no message %u", place->part);
    *out = messages[place->part];
    place->more = place->part + 1 < count;
    return 0;
}

static int row_out(const struct upstream_hooks *hooks, struct span body, uint32_t partition, struct buf *room,
                   struct upstream_message *out, struct err *err)
{
    struct upstream_source source = { .partition = (int32_t)partition, .offset_shift = LOG_KAFKA_OFFSET_SHIFT };
    char                   notes[ROW_CELLS_MAX][UPSTREAM_NOTE_BYTES];
    struct row             row;
    int                    rc = row_read(body, &row, err);

    for (int i = 0; i < INPUT_COUNT; i++)
        source.topics[i] = hooks->sources[i][0] != '\0' ? hooks->sources[i] : NULL;
    if (rc == 0)
        rc = upstream_row_write(&row, &source, room, out, err);
    for (int i = 0; rc == 1 && out->value.bytes > hooks->form.bytes_max && i < ROW_CELLS_MAX &&
                    upstream_row_shorten(&row, out->value.bytes - hooks->form.bytes_max, notes[i]); i++) {
        buf_reset(room); /* no row may be what nobody can go past */
        rc = upstream_row_write(&row, &source, room, out, err);
    }
    if (rc == 0)
        return err_set(err, ERR_INPUT, "rows of %s have no message in that form", row_tables[row.table].name);
    return rc < 0 ? -1 : 0;
}

static int hook_write(void *ctx, const char *topic, struct span body, struct buf *room, struct log_message *out, struct err *err)
{
    const struct upstream_hooks *hooks = ctx;
    struct log_message           place = { .partition = out->partition, .part = out->part };
    struct upstream_message      message;
    int                          rc;

    buf_reset(room);
    if (is_raw(topic) || is_replay(topic))
        rc = record_out(hooks, topic, body, room, &place, &message, err);
    else
        rc = row_out(hooks, body, place.partition, room, &message, err);
    if (rc < 0)
        return err_wrap(err, topic);
    message_out(hooks, topic, &message, &place);
    *out = place;
    return 0;
}

/* --- keys -------------------------------------------------------------------------------------- */

/* What has no distinct id stands in one partition, in order. */
static int hook_key(void *ctx, const char *topic, struct span body, struct buf *room, struct span *out, struct err *err)
{
    struct record record;

    (void)ctx;
    buf_reset(room);
    if (!is_raw(topic) && !is_replay(topic)) {
        *out = span_text(topic);
        return 0;
    }
    if (record_read(body, &record, err) < 0)
        return err_wrap(err, topic);
    if (is_replay(topic)) {
        *out = record.detail;
        return 0;
    }
    upstream_record_key(&record, room);
    if (room->failed)
        return err_set(err, ERR_FULL, "%s: no memory for a key", topic);
    *out = buf_span(room);
    return 0;
}

/* --- what no message can hold ------------------------------------------------------------------ */

static int hook_too_large(void *ctx, const char *topic, struct span body, size_t bytes_max, struct log_batch *batch, struct err *err)
{
    struct record record;
    char          detail[120];
    size_t        beside, keep;

    (void)ctx;
    if (!is_raw(topic))
        return err_set(err, ERR_INPUT, "%s: a record of %zu bytes is larger than a message may be", topic, body.bytes);
    if (record_read(body, &record, err) < 0)
        return err_wrap(err, topic);
    if (record.kind != RECORD_REJECTED) {
        (void)snprintf(detail, sizeof detail, "the event has %zu bytes, a message of this topic %zu at most", body.bytes, bytes_max);
        record.kind = RECORD_REJECTED;
        record.rejection = RECORD_REJECTED_TOO_LARGE;
        record.detail = span_text(detail);
    }
    record.event.bytes = record.event.bytes > 200 ? 0 : record.event.bytes;
    beside = record_bytes(&record) - record.data.bytes;
    keep = beside >= bytes_max ? 0 : (bytes_max - beside) / 8; /* escaped twice, each byte may become six */
    keep = keep > TOO_LARGE_DATA_BYTES ? TOO_LARGE_DATA_BYTES : keep;
    if (record.data.bytes > keep)
        record.data.bytes = keep;
    return batch_put(batch, &record, err);
}

void upstream_hooks_init(struct upstream_hooks *hooks, const struct upstream_hooks_options *options)
{
    static const enum upstream_topic apart[] = { UPSTREAM_OVERFLOW,        UPSTREAM_DEAD_LETTERS, UPSTREAM_EXCEPTIONS, UPSTREAM_HEATMAPS,
                                                 UPSTREAM_CLIENT_WARNINGS, UPSTREAM_LLM };

    *hooks = (struct upstream_hooks){ .options = *options };
    hooks->form = (struct upstream_form){ .lanes = options->kinds_apart, .heatmap_split = options->kinds_apart,
                                          .bytes_max = options->message_bytes_max > 0 ? options->message_bytes_max : UPSTREAM_MESSAGE_BYTES_MAX };
    if (options->records) {
        (void)kafka_topic_prefixed(options->prefix, name_of(hooks, UPSTREAM_ANALYTICS), hooks->sources[INPUT_RAW]);
        (void)kafka_topic_prefixed(options->prefix, name_of(hooks, UPSTREAM_HISTORICAL), hooks->sources[INPUT_HISTORICAL]);
    }
    hooks->hooks = (struct log_form_hooks){ .read = hook_read, .write = hook_write, .key = hook_key, .topic_name = hook_topic_name,
                                            .others = hook_others, .too_large = hook_too_large, .ctx = hooks };
    for (size_t i = 0; options->records && options->kinds_apart && i < sizeof apart / sizeof *apart; i++)
        hooks->apart[i] = name_of(hooks, apart[i]);
}
