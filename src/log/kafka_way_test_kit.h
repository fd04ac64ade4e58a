/* log/kafka_way_test_kit.h - brokers that do what a test says (answer, keep silent, lose messages, take them and not say so, and take
 * later what was abandoned long ago), somebody who submits and remembers the answers, and a way between them over a clock of the
 * test's. Included by tests only; each program has one world at a time: world_begin() ... world_end(), which looks at all of it:
 *   everything that was answered with yes is at the brokers; the first copies of a key's records stand in the order in which they
 *   were submitted; batches were answered in order. */
#ifndef PENSTOCK_LOG_KAFKA_WAY_TEST_KIT_H
#define PENSTOCK_LOG_KAFKA_WAY_TEST_KIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "log/kafka_frame.h"
#include "log/kafka_key_test_kit.h"
#include "log/kafka_way.h"
#include "log/log_batch.h"

enum { PARTITIONS = 3, KEYS = 8, STORED_MAX = 200000, FLIGHT_MAX = 20000, GENERATIONS = 64 };

static uint64_t draw_state;

static inline uint32_t draw(uint32_t below)
{
    draw_state = draw_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(draw_state >> 33) % below;
}

/* --- brokers ----------------------------------------------------------------------------------- */

enum mode { BROKERS_UP, BROKERS_SILENT, BROKERS_MUTE /* they take, and do not say so */, BROKERS_LOSE };

struct flight_message { uint8_t *at; size_t bytes; uint32_t partition; void *token; unsigned generation; bool applied, told; };

static struct brokers {
    struct kafka_line     line;
    enum mode             mode;
    size_t                bytes_max; /* larger is refused */
    unsigned              generation;
    struct flight_message flight[FLIGHT_MAX];
    size_t                first, count; /* [first, count) */
    bool                  cut[GENERATIONS][PARTITIONS]; /* an abandoned generation's messages end somewhere */
    struct { uint8_t key; uint64_t number; } stored[PARTITIONS][STORED_MAX];
    size_t                stored_count[PARTITIONS];
    uint64_t              messages;
} brokers;

static inline void fake_close(struct kafka_line *line) { (void)line; }
static inline uint32_t fake_partitions(const struct kafka_line *line) { (void)line; return PARTITIONS; }
static inline void fake_wake(struct kafka_line *line) { (void)line; }
static inline bool fake_reach(struct kafka_line *line, struct err *err) { (void)line; (void)err; return true; }

static inline int fake_send(struct kafka_line *line, const struct line_message *message, struct err *err)
{
    (void)line;
    (void)err;
    assert_non_null(message->frame_take);
    assert_true(brokers.count < FLIGHT_MAX);
    brokers.flight[brokers.count++] = (struct flight_message){ .at = message->frame_take, .bytes = message->frame_bytes,
                                                               .partition = message->partition, .token = message->token,
                                                               .generation = brokers.generation };
    brokers.messages++;
    return 0;
}

static inline int fake_abandon(struct kafka_line *line, struct err *err)
{
    (void)line;
    (void)err;
    brokers.generation++;
    if (brokers.generation == GENERATIONS) { /* the oldest are forgotten */
        brokers.generation = 1;
        memset(brokers.cut, 0, sizeof brokers.cut);
        for (size_t i = brokers.first; i < brokers.count; i++)
            free(brokers.flight[i].at);
        brokers.first = brokers.count = 0;
    }
    return 0;
}

static inline void store(const struct flight_message *message)
{
    struct kafka_frame frame;
    struct span        raw, whole = span_of(message->at, message->bytes);
    uint8_t           *buf = NULL;
    size_t             size = 0;
    struct err         err;
    const uint8_t     *at;

    assert_true(kafka_frame_get(whole, &frame));
    assert_int_equal(KAFKA_FRAME_SHARED, frame.kind);
    assert_int_equal(1, kafka_frame_body(whole, &frame, &buf, &size, &raw, &err));
    at = raw.at;
    for (uint32_t i = 0; i < frame.count; i++) {
        uint32_t bytes = bytes_get_u32(at + 4);
        size_t   k = brokers.stored_count[message->partition]++;

        assert_true(k < STORED_MAX);
        assert_true(bytes >= 9);
        brokers.stored[message->partition][k].key = at[16];
        brokers.stored[message->partition][k].number = bytes_get_u64(at + 17);
        at += 16 + ((size_t)bytes + 7) / 8 * 8;
    }
    free(buf);
}

/* Brokers look at what came: in order for each partition and generation; at most `most` messages. */
static inline void brokers_work(size_t most)
{
    bool held[GENERATIONS][PARTITIONS] = { { false } };

    if (brokers.mode == BROKERS_SILENT)
        return;
    for (size_t i = brokers.first; i < brokers.count && most > 0; i++) {
        struct flight_message *message = &brokers.flight[i];
        bool                   old = message->generation != brokers.generation;

        if (message->applied || held[message->generation][message->partition] || brokers.cut[message->generation][message->partition])
            continue;
        if (brokers.bytes_max > 0 && message->bytes > brokers.bytes_max) {
            held[message->generation][message->partition] = true;
            brokers.cut[message->generation][message->partition] = old;
            continue;
        }
        if (old && draw(8) == 0) {
            brokers.cut[message->generation][message->partition] = true; /* the rest of it never comes */
            continue;
        }
        if (draw(3) == 0) {
            held[message->generation][message->partition] = true; /* later */
            continue;
        }
        store(message);
        message->applied = true;
        most--;
    }
}

static inline size_t fake_answers(struct kafka_line *line, struct line_answer *to, size_t max, int64_t wait_us)
{
    size_t count = 0;

    (void)line;
    (void)wait_us;
    for (size_t i = brokers.first; i < brokers.count && count < max; i++) {
        struct flight_message *message = &brokers.flight[i];

        if (message->generation != brokers.generation || message->told || brokers.mode == BROKERS_SILENT || brokers.mode == BROKERS_MUTE)
            continue;
        if (brokers.bytes_max > 0 && message->bytes > brokers.bytes_max)
            to[count++] = (struct line_answer){ .token = message->token, .fate = LINE_TOO_LARGE };
        else if (brokers.mode == BROKERS_LOSE && draw(4) == 0)
            to[count++] = (struct line_answer){ .token = message->token, .fate = LINE_LOST, .why = "lost" };
        else if (message->applied)
            to[count++] = (struct line_answer){ .token = message->token, .fate = LINE_TAKEN };
        else
            continue;
        message->told = true;
        if (to[count - 1].fate != LINE_TAKEN)
            break;
    }
    while (brokers.first < brokers.count && brokers.flight[brokers.first].told && brokers.flight[brokers.first].applied)
        free(brokers.flight[brokers.first++].at);
    if (brokers.first == brokers.count)
        brokers.first = brokers.count = 0;
    return count;
}

static const struct line_ops fake_ops = { .close = fake_close, .partitions = fake_partitions, .send = fake_send, .answers = fake_answers,
                                          .wake = fake_wake,   .abandon = fake_abandon,       .reach = fake_reach };

static inline void brokers_begin(void)
{
    memset(&brokers, 0, sizeof brokers);
    brokers.line.ops = &fake_ops;
}

static inline void brokers_end(void)
{
    for (size_t i = brokers.first; i < brokers.count; i++)
        free(brokers.flight[i].at);
}

/* --- who submits ------------------------------------------------------------------------------- */

enum { BATCHES_MAX = 20000 };

static struct {
    struct log_batch *batch[BATCHES_MAX];
    struct { uint8_t key; uint64_t number; } *records[BATCHES_MAX];
    uint32_t          record_count[BATCHES_MAX];
    enum { ASKED, YES, NO, NOBODY } answer[BATCHES_MAX];
    size_t            count, answered; /* in order */
    uint64_t          next[KEYS];
    enum err_kind     kind_last;
} sender;

/* Key and number stay, the rest goes. */
static inline int shrink(void *ctx, const char *topic, struct span body, size_t bytes_max, struct log_batch *batch, struct err *err)
{
    (void)ctx;
    (void)topic;
    (void)bytes_max;
    return log_batch_add(batch, span_of(body.at, 9), err);
}

static const struct log_form_hooks hooks = { .key = key_of, .too_large = shrink };

static inline void on_answer(void *ctx, struct log_batch *batch, const struct log_commit_result *result)
{
    (void)ctx;
    assert_true(sender.answered < sender.count);
    assert_ptr_equal(sender.batch[sender.answered], batch); /* in order */
    assert_int_equal(ASKED, sender.answer[sender.answered]);
    sender.answer[sender.answered++] = result->ok ? YES : NO;
    sender.kind_last = result->ok ? ERR_NONE : result->err.kind;
    log_batch_free(batch);
}

static inline struct log_batch *batch_make(uint32_t count, size_t bytes)
{
    struct log_batch *batch = log_batch_new();
    size_t            i = sender.count++;

    assert_true(i < BATCHES_MAX);
    sender.batch[i] = batch;
    sender.records[i] = calloc(count, sizeof *sender.records[i]);
    sender.record_count[i] = count;
    for (uint32_t k = 0; k < count; k++) {
        uint8_t *at = log_batch_begin(batch, bytes);

        memset(at, 'x', bytes);
        sender.records[i][k].key = at[0] = (uint8_t)draw(KEYS);
        sender.records[i][k].number = ++sender.next[at[0]];
        bytes_put_u64(at + 1, sender.next[at[0]]);
        log_batch_end(batch, bytes);
    }
    return batch;
}

static inline void sender_end(void)
{
    for (size_t i = 0; i < sender.count; i++) {
        free(sender.records[i]);
        if (sender.answer[i] == NOBODY)
            log_batch_free(sender.batch[i]);
    }
    memset(&sender, 0, sizeof sender);
}

/* Each record that was answered with yes is there; the first copies of a key stand in order. */
static inline void check_all(void)
{
    static size_t first[KEYS][STORED_MAX / 8];
    size_t        most = sizeof first[0] / sizeof first[0][0];

    memset(first, 0, sizeof first);
    for (size_t p = 0; p < PARTITIONS; p++)
        for (size_t i = 0; i < brokers.stored_count[p]; i++) {
            uint8_t  key = brokers.stored[p][i].key;
            uint64_t number = brokers.stored[p][i].number;

            assert_true(number < most);
            if (first[key][number] == 0)
                first[key][number] = i + 1;
        }
    for (uint8_t key = 0; key < KEYS; key++) {
        size_t last = 0;

        for (size_t i = 0; i < sender.count; i++)
            for (uint32_t k = 0; k < sender.record_count[i]; k++) {
                size_t at;

                if (sender.records[i][k].key != key)
                    continue;
                at = first[key][sender.records[i][k].number];
                if (sender.answer[i] != YES)
                    continue;
                if (at == 0)
                    fail_msg("key %u: record %llu was answered with yes and is not there", key, (unsigned long long)sender.records[i][k].number);
                if (at < last)
                    fail_msg("key %u: record %llu stands before one that was submitted earlier", key,
                             (unsigned long long)sender.records[i][k].number);
                last = at;
            }
    }
}

/* --- the test's way ---------------------------------------------------------------------------- */

static char              folder[200];
static struct spool     *spool;
static struct kafka_way *way;
static int64_t           now_us = 1000000;

static inline void folder_make(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-way.XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static inline void folder_remove(void)
{
    char command[300];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(0, system(command));
}

static inline void way_begin(bool with_spool, uint64_t spool_bytes_max, size_t frame_bytes_max)
{
    struct spool_options spool_options = { .folder = folder, .topic = "raw", .bytes_max = spool_bytes_max, .segment_bytes = 64 << 10 };
    struct way_options   options = { .sorter = { .topic = "raw", .hooks = &hooks, .frame_bytes_max = frame_bytes_max,
                                                 .message_bytes_max = 1 << 20, .codec = LOG_CODEC_LZ4 },
                                     .spool_after_us = 1000000, .linger_us = 5000, .label = "raw", .answered = on_answer,
                                     .drain_bytes = 16 << 10 };
    struct err           err = { 0 };

    spool = NULL;
    if (with_spool && spool_open(&spool_options, &spool, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(0, way_new(&options, &brokers.line, spool, now_us, &way, &err));
}

static inline void way_end(void)
{
    way_free(way);
    spool_close(spool);
    way = NULL;
    spool = NULL;
}

static inline void turn(int64_t passes_us)
{
    now_us += passes_us;
    if (way_wants_reach(way) && (brokers.mode == BROKERS_UP || brokers.mode == BROKERS_LOSE))
        way_reached(way, now_us);
    (void)way_step(way, now_us);
    brokers_work(1 + draw(20));
    way_listen(way, 0);
}

static inline struct log_commit_look look(void)
{
    struct log_commit_look out;

    way_look(way, &out);
    return out;
}

static inline void submit(uint32_t count, size_t bytes)
{
    way_take(way, batch_make(count, bytes), now_us);
}

/* Brokers are up, and time passes until everything is there. */
static inline void settle(void)
{
    brokers.mode = BROKERS_UP;
    for (int i = 0; i < 20000 && !(look().way == LOG_WAY_DIRECT && way_idle(way) && look().spool_records == 0); i++)
        turn(20000);
    assert_int_equal(LOG_WAY_DIRECT, look().way);
    assert_int_equal(sender.count, sender.answered);
    assert_int_equal(0, look().spool_records);
}

/* The process ends, and another one comes: what was not answered, nobody will answer. */
static inline void process_again(bool with_spool, size_t frame_bytes_max)
{
    way_end();
    (void)fake_abandon(&brokers.line, NULL);
    for (; sender.answered < sender.count; sender.answered++)
        sender.answer[sender.answered] = NOBODY;
    way_begin(with_spool, 0, frame_bytes_max);
}

static inline void world_begin(bool with_spool, uint64_t spool_bytes_max, size_t frame_bytes_max)
{
    brokers_begin();
    folder_make();
    way_begin(with_spool, spool_bytes_max, frame_bytes_max);
}

static inline void world_end(void)
{
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

#endif
