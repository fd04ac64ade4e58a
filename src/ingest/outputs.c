/* ingest/outputs.c - see outputs.h. */
#include "ingest/outputs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "ingest/fate.h"

enum {
    OUTPUTS_FRAME_BYTES = 1 << 20,    /* a buffer this full is appended: still in the cache when it is compressed */
    OUTPUTS_RESERVE_BYTES = 16 << 20  /* capture stops far earlier, so that ingest can still finish its work */
};

_Static_assert((int)FATE_COUNT <= (int)PLACE_SHOWN_INPUT, "fates and what else is counted in a place must not meet");

#define OUTPUTS_AGAIN_RETENTION_US ((int64_t)3600 * 1000000) /* the records are in the topic that accepted them, too */

struct output_topic {
    struct log_writer *writer; /* NULL: not open (yet) */
    struct log_batch  *batch;
    bool               appended; /* since the last publish */
};

struct outputs {
    struct log            *log;
    struct outputs_options options;
    uint64_t               epoch_committed;
    struct output_topic    topics[OUTPUT_COUNT];
};

static const char *const by_load[] = { "load", NULL };
static const char *const by_ingest[] = { "ingest", NULL };

const struct output_info output_infos[OUTPUT_COUNT] = {
    [OUTPUT_EVENTS] = { "events", by_load, false },
    [OUTPUT_PEOPLE] = { "people", by_load, false },
    [OUTPUT_WARNINGS] = { "warnings", by_load, false },
    [OUTPUT_DEAD_LETTERS] = { "dead_letters", by_load, false },
    [OUTPUT_HEATMAPS] = { "heatmaps", by_load, false },
    [OUTPUT_DEFINITIONS] = { "definitions", by_load, false },
    [OUTPUT_RAW_OVERFLOW] = { "raw_overflow", by_ingest, true },
    [OUTPUT_RECEIPTS] = { "receipts", by_load, false },
};

static const enum output output_of_table[ROW_TABLE_COUNT] = {
    [ROW_EVENT] = OUTPUT_EVENTS,
    [ROW_PERSON] = OUTPUT_PEOPLE,
    [ROW_DISTINCT] = OUTPUT_PEOPLE,
    [ROW_GROUP] = OUTPUT_PEOPLE,
    [ROW_WARNING] = OUTPUT_WARNINGS,
    [ROW_DEAD_LETTER] = OUTPUT_DEAD_LETTERS,
    [ROW_EVENT_DEFINITION] = OUTPUT_DEFINITIONS,
    [ROW_PROPERTY_DEFINITION] = OUTPUT_DEFINITIONS,
    [ROW_EVENT_PROPERTY] = OUTPUT_DEFINITIONS,
    [ROW_HEATMAP] = OUTPUT_HEATMAPS,
    [ROW_RECEIPT] = OUTPUT_RECEIPTS,
};

/* What was published was committed before that, and synced: a store that does not know of it has lost it, or is an older copy. To go on from there would
 * give other rows the places of those that load has taken. (On Kafka: shown.h.) */
static int topic_check(const struct outputs *outputs, enum output output, uint64_t end, struct err *err)
{
    const char        *topic = output_infos[output].topic;
    struct log_reader *reader;
    uint64_t           published;
    int                rc;

    if (log_is_kafka(outputs->log))
        return 0;
    if (log_reader_open(outputs->log, topic, outputs->options.partition, 0, &reader, err) < 0)
        return err_wrap(err, topic);
    rc = log_reader_end(reader, &published, err);
    log_reader_close(reader);
    if (rc == 0 && published > end)
        return err_set(err, ERR_CORRUPT, "the store of persons (people/, or people.url) has lost what it had, or is an older copy: %" PRIu64 " rows of %s "
                       "were finished, and it knows of %" PRIu64 ". Put the one back that belongs to this log, or have all processed anew: "
                       "docs/operations.md, \"When a store is spoilt\"", published, topic, end);
    return rc;
}

static int topic_open(struct outputs *outputs, enum output output, uint64_t end, struct err *err)
{
    const struct output_info      *info = &output_infos[output];
    struct output_topic           *topic = &outputs->topics[output];
    const struct log_topic_options topic_options = {
        .codec = LOG_CODEC_LZ4,
        .retention_us = info->again ? OUTPUTS_AGAIN_RETENTION_US : outputs->options.retention_us,
        .disk_reserve_bytes = OUTPUTS_RESERVE_BYTES,
        .cursors_needed = info->readers,
        .clock_guard = true,
        .epoch = outputs->options.epoch,
        .epoch_committed = outputs->epoch_committed,
    };

    topic->batch = log_batch_new();
    if (topic->batch == NULL)
        return err_set(err, ERR_FULL, "no memory");
    if (log_writer_open(outputs->log, info->topic, outputs->options.partition, &topic_options, &topic->writer, err) < 0 ||
        log_writer_cut(topic->writer, end, err) < 0)
        return err_wrap(err, info->topic);
    log_writer_publish(topic->writer, end);
    return 0;
}

static int topic_sync(struct outputs *outputs, unsigned output, struct err *err)
{
    return log_writer_sync(outputs->topics[output].writer, err) < 0 ? err_wrap(err, output_infos[output].topic) : 0;
}

int outputs_open(struct log *log, const struct people_place *place, const struct outputs_options *options,
                 struct outputs **out, struct err *err)
{
    struct outputs *outputs = calloc(1, sizeof *outputs);

    if (outputs == NULL)
        return err_set(err, ERR_FULL, "no memory");
    outputs->log = log;
    outputs->options = *options;
    outputs->epoch_committed = place->counters[PLACE_EPOCH];
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        if (output_infos[i].topic == NULL || (output_infos[i].again && place->output_end[i] == 0))
            continue;
        if (topic_check(outputs, (enum output)i, place->output_end[i], err) < 0 || topic_open(outputs, (enum output)i, place->output_end[i], err) < 0) {
            outputs_close(outputs);
            return -1;
        }
    }
    /* What was recorded before us is marked before we record anything (log/kafka_writer.h B3). */
    for (size_t i = 0; options->epoch != 0 && i < OUTPUT_COUNT; i++)
        if (outputs->topics[i].writer != NULL && topic_sync(outputs, (unsigned)i, err) < 0) {
            outputs_close(outputs);
            return -1;
        }
    *out = outputs;
    return 0;
}

int outputs_prepare(struct log *log, int64_t retention_us, struct err *err)
{
    const struct log_topic_options options = { .codec = LOG_CODEC_LZ4, .retention_us = retention_us };
    const char                    *topics[OUTPUT_COUNT];
    size_t                         count = 0;

    for (int i = 0; i < OUTPUT_COUNT; i++)
        if (output_infos[i].topic != NULL && !output_infos[i].again)
            topics[count++] = output_infos[i].topic;
    return log_prepare(log, topics, count, &options, err);
}

void outputs_close(struct outputs *outputs)
{
    if (outputs == NULL)
        return;
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        if (outputs->topics[i].writer != NULL)
            log_writer_close(outputs->topics[i].writer);
        if (outputs->topics[i].batch != NULL)
            log_batch_free(outputs->topics[i].batch);
    }
    free(outputs);
}

static int topic_append(struct output_topic *topic, int64_t now_us, struct err *err)
{
    uint64_t base;

    if (topic->writer == NULL || log_batch_count(topic->batch) == 0)
        return 0;
    topic->appended = true; /* also when it fails half-way */
    if (log_writer_append(topic->writer, topic->batch, now_us, &base, err) < 0)
        return -1;
    log_batch_reset(topic->batch);
    return 0;
}

/* Room for a record of a topic. NULL: *err is set. */
static uint8_t *topic_begin(struct outputs *outputs, enum output output, size_t bytes, int64_t now_us, struct err *err)
{
    struct output_topic *topic = &outputs->topics[output];
    uint8_t             *to;

    if (topic->writer == NULL && topic_open(outputs, output, 0, err) < 0)
        return NULL;
    if (log_batch_bytes(topic->batch) > 0 && log_batch_bytes(topic->batch) + bytes > OUTPUTS_FRAME_BYTES &&
        topic_append(topic, now_us, err) < 0) {
        (void)err_wrap(err, output_infos[output].topic);
        return NULL;
    }
    to = log_batch_begin(topic->batch, bytes);
    if (to == NULL)
        (void)err_set(err, ERR_FULL, "%s: no room for a row of %zu bytes", output_infos[output].topic, bytes);
    return to;
}

int outputs_add(struct outputs *outputs, const struct row *row, int64_t now_us, struct err *err)
{
    enum output output = output_of_table[row->table];
    size_t      bytes = row_bytes(row);
    uint8_t    *to = topic_begin(outputs, output, bytes, now_us, err);

    if (to == NULL)
        return -1;
    row_write(row, to);
    log_batch_end(outputs->topics[output].batch, bytes);
    return 0;
}

int outputs_put(struct outputs *outputs, struct span row, int64_t now_us, struct err *err)
{
    enum output output = output_of_table[row_stored_table(row)];
    uint8_t    *to = topic_begin(outputs, output, row.bytes, now_us, err);

    if (to == NULL)
        return -1;
    memcpy(to, row.at, row.bytes);
    log_batch_end(outputs->topics[output].batch, row.bytes);
    return 0;
}

int outputs_add_moved(struct outputs *outputs, const struct record_moved *moved, int64_t now_us, uint64_t *offset_out,
                      struct err *err)
{
    struct output_topic *topic = &outputs->topics[OUTPUT_RAW_OVERFLOW];
    size_t               bytes = RECORD_MOVED_HEAD_BYTES + moved->body.bytes;
    uint8_t             *to = topic_begin(outputs, OUTPUT_RAW_OVERFLOW, bytes, now_us, err);

    if (to == NULL)
        return -1;
    record_moved_write(moved, to);
    *offset_out = log_writer_end(topic->writer) + log_batch_count(topic->batch);
    log_batch_end(topic->batch, bytes);
    return 0;
}

/* As work of a crew: one topic is one slice, without anything that has an order. */
struct syncing {
    struct outputs *outputs;
    unsigned        next, of_slot[CREW_SLOTS_MAX]; /* topics */
};

static bool sync_cut(void *ctx, unsigned slot)
{
    struct syncing *syncing = ctx;

    while (syncing->next < OUTPUT_COUNT && !syncing->outputs->topics[syncing->next].appended)
        syncing->next++;
    if (syncing->next == OUTPUT_COUNT)
        return false;
    syncing->of_slot[slot] = syncing->next++;
    return true;
}

static int sync_one(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct syncing *syncing = ctx;

    (void)hand;
    return topic_sync(syncing->outputs, syncing->of_slot[slot], err);
}

static int sync_order(void *ctx, unsigned slot, struct err *err)
{
    (void)ctx, (void)slot, (void)err;
    return 0;
}

static int sync_done(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    (void)ctx, (void)slot, (void)hand, (void)err;
    return 0;
}

static int topics_sync(struct outputs *outputs, struct crew *crew, struct err *err)
{
    struct syncing         syncing = { .outputs = outputs };
    const struct crew_work work = { .ctx = &syncing, .cut = sync_cut, .parse = sync_one, .order = sync_order,
                                    .ahead = sync_done, .put = sync_done };
    unsigned               count = 0;

    for (unsigned i = 0; i < OUTPUT_COUNT; i++)
        count += outputs->topics[i].appended;
    if (crew != NULL && count > 1)
        return crew_run(crew, &work, err);
    for (unsigned i = 0; i < OUTPUT_COUNT; i++)
        if (outputs->topics[i].appended && topic_sync(outputs, i, err) < 0)
            return -1;
    return 0;
}

int outputs_sync(struct outputs *outputs, struct crew *crew, int64_t now_us, struct people_place *place, struct err *err)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++)
        if (topic_append(&outputs->topics[i], now_us, err) < 0)
            return err_wrap(err, output_infos[i].topic);
    if (topics_sync(outputs, crew, err) < 0)
        return -1;
    for (size_t i = 0; i < OUTPUT_COUNT; i++)
        if (outputs->topics[i].writer != NULL)
            place->output_end[i] = log_writer_end(outputs->topics[i].writer);
    if (outputs->options.epoch != 0)
        place->counters[PLACE_EPOCH] = outputs->options.epoch;
    return 0;
}

static void topic_publish(struct output_topic *topic)
{
    assert(topic->writer == NULL || log_batch_count(topic->batch) == 0);
    if (topic->appended)
        log_writer_publish(topic->writer, log_writer_end(topic->writer));
    topic->appended = false;
}

/* Events behind what they refer to: who sees an event finds its person already there. Receipts behind all: who sees an
 * order to erase sees every row that it is about. */
void outputs_publish(struct outputs *outputs)
{
    for (int i = OUTPUT_COUNT; i-- > 0;)
        if (i != OUTPUT_RECEIPTS)
            topic_publish(&outputs->topics[i]);
    topic_publish(&outputs->topics[OUTPUT_RECEIPTS]);
}

int outputs_retain(struct outputs *outputs, int64_t now_us, struct err *err)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++)
        if (outputs->topics[i].writer != NULL && log_writer_retain(outputs->topics[i].writer, now_us, err) < 0)
            return err_wrap(err, output_infos[i].topic);
    return 0;
}

void outputs_clock(struct outputs *outputs, struct people *people, int64_t now_us, struct log_clock *out)
{
    static struct say_gate gate;
    int64_t                believed_us = people_clock(people, now_us);

    log_writer_clock(outputs->topics[OUTPUT_EVENTS].writer, now_us, out);
    if (believed_us >= out->steady_us)
        return;
    say_seldom(&gate, SAY_WARN, "this machine's clock is %.0f s ahead of the persons' server: the age of event ids goes by the server's, and "
               "nothing that became due is done until the two agree", (double)(now_us - believed_us) / 1e6);
    out->steady_us = believed_us;
    out->calm_us = 0;
}
