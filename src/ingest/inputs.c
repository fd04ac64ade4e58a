/* ingest/inputs.c - see inputs.h. Several lanes in one batch, and not a batch a lane: a batch costs up to a
 * dozen syncs however small it is, and a lane that waits for another one's syncs waits twice. */
#include "ingest/inputs.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/say.h"

enum { BYTES_SHARE = 16, AHEAD_BYTES = 8 << 20 /* 20,000 usual events, packed */ };

static const enum input order[INPUT_COUNT] = { INPUT_CONTROL, INPUT_RAW, INPUT_OVERFLOW, INPUT_HISTORICAL };

int inputs_init(struct inputs *inputs, size_t records_max)
{
    *inputs = (struct inputs){ .batch = { .room = records_max } };
    inputs->batch.records = calloc(records_max, sizeof *inputs->batch.records); /* touched only as far as batches go */
    return inputs->batch.records == NULL ? -1 : 0;
}

void inputs_fini(struct inputs *inputs)
{
    free(inputs->batch.records);
    inputs->batch.records = NULL;
}

int inputs_begin(struct log *log, uint32_t partition, struct people_place *place, struct err *err)
{
    static const enum input shared[] = { INPUT_RAW, INPUT_HISTORICAL };

    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        uint64_t begin;
        int      rc = place->input_next[shared[i]] != 0 ? 0 : log_begin(log, input_topic(shared[i]), partition, &begin, err);

        if (rc < 0)
            return err_wrap(err, input_topic(shared[i]));
        if (rc == 1) {
            say(SAY_INFO, "unit %u begins %s where the group penstock.begin says", partition, input_topic(shared[i]));
            place->input_next[shared[i]] = begin;
        }
    }
    return 0;
}

int inputs_open(struct inputs *inputs, struct log *log, uint32_t partition, const struct people_place *place, bool control,
                struct err *err)
{
    inputs->partition = partition;
    for (int i = 0; i < INPUT_COUNT; i++) {
        inputs->first[i] = inputs->next[i] = place->input_next[i];
        inputs->until[i] = UINT64_MAX;
        if ((i != INPUT_CONTROL || control) &&
            gather_open(&inputs->gathers[i], log, (enum input)i, partition, place->input_next[i], err) < 0)
            return -1;
    }
    return 0;
}

void inputs_close(struct inputs *inputs)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        gather_close(&inputs->gathers[i]);
}

int inputs_settle_control(struct log *log, struct err *err)
{
    static const char *const       needed[] = { "ingest", NULL };
    const struct log_topic_options options = { .segment_bytes = 1 << 20, .cursors_needed = needed };
    struct log_writer             *writer;
    int                            rc;

    if (log_writer_open(log, input_topic(INPUT_CONTROL), 0, &options, &writer, err) < 0)
        return err->kind == ERR_RETRY ? 0 : err_wrap(err, input_topic(INPUT_CONTROL));
    rc = log_writer_retain(writer, clock_wall_us(), err);
    log_writer_publish(writer, log_writer_end(writer));
    log_writer_close(writer);
    return rc;
}

/* Bytes that a lane may bring the batch to: live records, however large, leave a share to those behind them. */
static size_t bytes_end(const struct inputs *inputs, enum input input, const size_t quota[INPUT_COUNT], size_t bytes)
{
    bool others = (quota[INPUT_OVERFLOW] > 0 && inputs_lag(inputs, INPUT_OVERFLOW) > 0) ||
                  (quota[INPUT_HISTORICAL] > 0 && inputs_lag(inputs, INPUT_HISTORICAL) > 0);

    return input == INPUT_RAW && others ? bytes - bytes / BYTES_SHARE : bytes;
}

int inputs_take(struct inputs *inputs, struct arena *arena, const size_t quota[INPUT_COUNT], size_t bytes, struct err *err)
{
    struct gathered *batch = &inputs->batch;
    bool             any = false;

    batch->count = batch->bytes = batch->gap_count = 0;
    inputs->now_us = clock_wall_us();
    for (int i = 0; i < INPUT_COUNT; i++) {
        enum input     input = order[i];
        struct gather *gather = &inputs->gathers[input];
        size_t         room = batch->room - batch->count, records = quota[input] < room ? quota[input] : room;
        size_t         end = bytes_end(inputs, input, quota, bytes);

        inputs->first[input] = inputs->next[input];
        inputs->taken[input] = 0;
        gather->until = inputs->until[input];
        if (gather->reader != NULL && records > 0 && batch->bytes < end && gather_lag(gather) > 0) {
            int rc = gather_take(gather, batch, arena, records, end - batch->bytes, err);

            if (rc < 0)
                return err_wrap(err, input_topic(input));
            any = any || rc > 0;
            inputs->next[input] = gather->next;
            inputs->taken[input] = gather->taken;
        }
        if (input == INPUT_CONTROL)
            inputs->control_count = batch->count;
    }
    return any;
}

uint64_t inputs_events(const struct inputs *inputs)
{
    uint64_t events = 0;

    for (int i = 0; i < INPUT_COUNT; i++)
        if (i != INPUT_CONTROL)
            events += inputs->taken[i];
    return events;
}

uint64_t inputs_lag(const struct inputs *inputs, enum input input)
{
    return gather_lag(&inputs->gathers[input]);
}

int inputs_age_us(struct inputs *inputs, enum input input, int64_t *out, struct err *err)
{
    struct gather *gather = &inputs->gathers[input];

    *out = 0;
    if (gather->reader == NULL)
        return 1;
    return gather_age_us(gather, clock_wall_us(), out, err) < 0 ? err_wrap(err, input_topic(input)) : 1;
}

void inputs_store_cursors(struct inputs *inputs, struct log *log, const struct people_place *place)
{
    static struct say_gate gate;

    for (int i = 0; i < INPUT_COUNT; i++) {
        struct err err = { 0 };

        if (place->input_next[i] == inputs->cursors[i] && i != INPUT_RAW && !(log_is_kafka(log) && place->input_next[i] > 0))
            continue; /* a topic that nobody writes to gets no folder */
        if (log_cursor_store(log, input_topic((enum input)i), inputs->partition, "ingest", place->input_next[i], &err) < 0)
            say_seldom(&gate, SAY_WARN, "cursor: %s", err.text);
        else
            inputs->cursors[i] = place->input_next[i];
    }
}

void inputs_ahead(struct inputs *inputs)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        if (inputs->gathers[i].reader != NULL && inputs_lag(inputs, (enum input)i) > 0)
            log_reader_ahead(inputs->gathers[i].reader, AHEAD_BYTES);
}

void inputs_wait(struct inputs *inputs, int64_t timeout_us)
{
    (void)log_reader_wait(inputs->gathers[INPUT_RAW].reader, timeout_us);
}
