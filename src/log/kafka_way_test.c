/* log/kafka_way_test.c - the way of batches, with brokers that do what the test says: answer, keep silent, lose messages, take
 * them and not say so, and take later what was abandoned long ago. Long random histories; at the end of each:
 *   everything that was answered with yes is at the brokers; the first copies of a key's records stand in the order in which they
 *   were submitted; batches were answered in order. */
#include "log/kafka_way.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "log/kafka_frame.h"
#include "log/log_batch.h"

enum { PARTITIONS = 3, KEYS = 8, STORED_MAX = 200000, FLIGHT_MAX = 20000, GENERATIONS = 64 };

static uint64_t draw_state;

static uint32_t draw(uint32_t below)
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

static void fake_close(struct kafka_line *line) { (void)line; }
static uint32_t fake_partitions(const struct kafka_line *line) { (void)line; return PARTITIONS; }
static void fake_wake(struct kafka_line *line) { (void)line; }
static bool fake_reach(struct kafka_line *line, struct err *err) { (void)line; (void)err; return true; }

static int fake_send(struct kafka_line *line, const struct line_message *message, struct err *err)
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

static int fake_abandon(struct kafka_line *line, struct err *err)
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

static void store(const struct flight_message *message)
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
static void brokers_work(size_t most)
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

static size_t fake_answers(struct kafka_line *line, struct line_answer *to, size_t max, int64_t wait_us)
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

static void brokers_begin(void)
{
    memset(&brokers, 0, sizeof brokers);
    brokers.line.ops = &fake_ops;
}

static void brokers_end(void)
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

static int key_of(void *ctx, const char *topic, struct span body, struct buf *room, struct span *out, struct err *err)
{
    (void)ctx;
    (void)topic;
    (void)room;
    (void)err;
    *out = span_of(body.at, 1);
    return 0;
}

/* Key and number stay, the rest goes. */
static int shrink(void *ctx, const char *topic, struct span body, size_t bytes_max, struct log_batch *batch, struct err *err)
{
    (void)ctx;
    (void)topic;
    (void)bytes_max;
    return log_batch_add(batch, span_of(body.at, 9), err);
}

static const struct log_form_hooks hooks = { .key = key_of, .too_large = shrink };

static void on_answer(void *ctx, struct log_batch *batch, const struct log_commit_result *result)
{
    (void)ctx;
    assert_true(sender.answered < sender.count);
    assert_ptr_equal(sender.batch[sender.answered], batch); /* in order */
    assert_int_equal(ASKED, sender.answer[sender.answered]);
    sender.answer[sender.answered++] = result->ok ? YES : NO;
    sender.kind_last = result->ok ? ERR_NONE : result->err.kind;
    log_batch_free(batch);
}

static struct log_batch *batch_make(uint32_t count, size_t bytes)
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

static void sender_end(void)
{
    for (size_t i = 0; i < sender.count; i++) {
        free(sender.records[i]);
        if (sender.answer[i] == NOBODY)
            log_batch_free(sender.batch[i]);
    }
    memset(&sender, 0, sizeof sender);
}

/* Each record that was answered with yes is there; the first copies of a key stand in order. */
static void check_all(void)
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
static int64_t           now_us;

static void folder_make(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-way.XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static void folder_remove(void)
{
    char command[300];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(0, system(command));
}

static void way_begin(bool with_spool, uint64_t spool_bytes_max, size_t frame_bytes_max)
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

static void way_end(void)
{
    way_free(way);
    spool_close(spool);
    way = NULL;
    spool = NULL;
}

static void turn(int64_t passes_us)
{
    now_us += passes_us;
    if (way_wants_reach(way) && (brokers.mode == BROKERS_UP || brokers.mode == BROKERS_LOSE))
        way_reached(way, now_us);
    (void)way_step(way, now_us);
    brokers_work(1 + draw(20));
    way_listen(way, 0);
}

static struct log_commit_look look(void)
{
    struct log_commit_look out;

    way_look(way, &out);
    return out;
}

static void submit(uint32_t count, size_t bytes)
{
    way_take(way, batch_make(count, bytes), now_us);
}

/* Brokers are up, and time passes until everything is there. */
static void settle(void)
{
    brokers.mode = BROKERS_UP;
    for (int i = 0; i < 20000 && !(look().way == LOG_WAY_DIRECT && way_idle(way) && look().spool_records == 0); i++)
        turn(20000);
    assert_int_equal(LOG_WAY_DIRECT, look().way);
    assert_int_equal(sender.count, sender.answered);
    assert_int_equal(0, look().spool_records);
}

/* --- facts ------------------------------------------------------------------------------------- */

static void brokers_answer(void **state)
{
    (void)state;
    brokers_begin();
    folder_make();
    way_begin(true, 0, 100000);
    for (int i = 0; i < 200; i++) {
        submit(1 + draw(20), 30);
        turn(3000);
    }
    settle();
    assert_int_equal(0, look().spooled_records);
    assert_true(look().messages * 2 < look().records); /* lingering joins */
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

/* One client waits for nobody but the brokers; of many that come in a steady stream a message holds what comes within the
 * linger; and those that all wait for answers are not kept waiting for more. */
static void records_wait_for_others_that_can_come(void **state)
{
    uint64_t messages;
    int      early = 0;

    (void)state;
    brokers_begin();
    folder_make();
    way_begin(true, 0, 100000);
    settle();
    now_us += 1000000;
    for (int i = 0; i < 50; i++) { /* one event, now and then */
        messages = look().messages;
        now_us += 100000;
        submit(1, 30);
        (void)way_step(way, now_us);
        assert_int_equal(messages + 1, look().messages);
        settle();
    }
    messages = look().messages;
    for (int i = 0; i < 1000; i++) { /* a stream: one every 200 us, so 25 in 5 ms */
        submit(1, 30);
        turn(200);
    }
    settle();
    assert_true(look().messages - messages < 1000 / 25 * PARTITIONS * 2);
    for (int i = 0; i < 200; i++) { /* 60 together, again when they are answered */
        now_us += 1000;
        messages = look().messages;
        submit(60, 30);
        (void)way_step(way, now_us);
        early += look().messages > messages;
        for (int k = 0; k < 10000 && !way_idle(way); k++)
            turn(300);
        assert_true(way_idle(way));
    }
    assert_true(early > 160);
    settle();
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

static void disk_answers_within_its_time(void **state)
{
    int64_t asked_us;

    (void)state;
    brokers_begin();
    folder_make();
    way_begin(true, 0, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    submit(5, 30);
    asked_us = now_us;
    while (sender.answered < 1 && now_us - asked_us < 10000000)
        turn(10000);
    assert_true(now_us - asked_us <= 1200000);
    assert_int_equal(YES, sender.answer[0]);
    assert_int_equal(LOG_WAY_SPOOLING, look().way);
    assert_int_equal(5, look().spool_records);
    submit(5, 30); /* and from now on nobody waits for brokers */
    turn(1000);
    assert_int_equal(2, sender.answered);
    settle();
    assert_int_equal(10, look().drained_records);
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

static void without_a_spool_it_is_no(void **state)
{
    int64_t asked_us;

    (void)state;
    brokers_begin();
    way_begin(false, 0, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    submit(5, 30);
    submit(5, 30);
    asked_us = now_us;
    while (sender.answered < 2 && now_us - asked_us < 10000000)
        turn(10000);
    assert_true(now_us - asked_us <= 1200000);
    assert_int_equal(NO, sender.answer[0]);
    assert_int_equal(ERR_RETRY, sender.kind_last);
    assert_int_equal(LOG_WAY_AWAY, look().way);
    submit(1, 30);
    turn(1000);
    assert_int_equal(3, sender.answered); /* at once */
    brokers.mode = BROKERS_UP;
    turn(1000);
    submit(7, 30);
    settle();
    assert_int_equal(YES, sender.answer[3]);
    check_all();
    way_end();
    sender_end();
    brokers_end();
}

static void a_full_spool_says_no(void **state)
{
    (void)state;
    brokers_begin();
    folder_make();
    way_begin(true, 3000, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    for (int i = 0; i < 40; i++) {
        submit(1, 200);
        turn(100000);
    }
    turn(2000000);
    turn(1000);
    assert_int_equal(40, sender.answered);
    assert_int_equal(YES, sender.answer[0]);
    assert_int_equal(NO, sender.answer[39]);
    assert_int_equal(ERR_FULL, sender.kind_last);
    assert_true(look().spool_bytes <= 3000);
    settle();
    submit(1, 200);
    settle();
    assert_int_equal(YES, sender.answer[40]); /* there is room again */
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

static void nothing_is_wedged_by_its_size(void **state)
{
    (void)state;
    for (int with_spool = 0; with_spool < 2; with_spool++) {
        brokers_begin();
        folder_make();
        way_begin(with_spool, 0, 100000);
        turn(1000);
        brokers.bytes_max = 900; /* the topic takes less than everybody thought, and less than one of the records */
        for (int i = 0; i < 30; i++) {
            submit(40, i == 7 ? 40000 : 60); /* LZ4 makes them small; that of 40000 is not random, so ... */
            turn(3000);
        }
        settle();
        for (int i = 0; i < 30; i++) {
            submit(3, 60);
            turn(3000);
        }
        settle();
        check_all();
        way_end();
        sender_end();
        brokers_end();
        folder_remove();
    }
}

static void a_full_spool_of_the_last_time_goes_first(void **state)
{
    (void)state;
    brokers_begin();
    folder_make();
    way_begin(true, 0, 100000);
    turn(1000);
    brokers.mode = BROKERS_SILENT;
    for (int i = 0; i < 50; i++) {
        submit(10, 100);
        turn(100000);
    }
    turn(2000000);
    turn(1000);
    assert_int_equal(sender.count, sender.answered);
    way_end(); /* the process ends; another one comes */
    (void)fake_abandon(&brokers.line, NULL);
    way_begin(true, 0, 100000);
    assert_int_equal(LOG_WAY_SPOOLING, look().way);
    assert_int_equal(500, look().spool_records);
    submit(3, 100);
    turn(1000);
    assert_int_equal(sender.count, sender.answered); /* by the disk */
    settle();
    assert_int_equal(503, look().drained_records);
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

/* Once a random history; `ends`: the process dies now and then. */
static void history(uint64_t seed, bool with_spool, bool ends)
{
    static const int64_t passes[] = { 1000, 5000, 20000, 300000, 1200000 };

    draw_state = seed;
    now_us = 1000000;
    brokers_begin();
    folder_make();
    way_begin(with_spool, draw(2) == 0 ? 0 : 200000, 2000);
    for (int i = 0; i < 1500; i++) {
        if (draw(60) == 0)
            brokers.mode = (enum mode)draw(4);
        else if (brokers.mode != BROKERS_UP && draw(40) == 0)
            brokers.mode = BROKERS_UP;
        if (draw(3) != 0)
            submit(1 + draw(6), 9 + draw(120));
        turn(passes[draw(draw(4) == 0 ? 5 : 3)]);
        if (ends && draw(200) == 0) {
            way_end();
            (void)fake_abandon(&brokers.line, NULL);
            for (; sender.answered < sender.count; sender.answered++)
                sender.answer[sender.answered] = NOBODY;
            way_begin(with_spool, 0, 2000);
        }
    }
    settle();
    check_all();
    way_end();
    sender_end();
    brokers_end();
    folder_remove();
}

static void histories(void **state)
{
    const char *more = getenv("PENSTOCK_WAY_SEEDS");
    uint64_t    seeds = more == NULL ? 12 : strtoull(more, NULL, 10);

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        history(seed, seed % 4 != 0, seed % 2 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brokers_answer),       cmocka_unit_test(records_wait_for_others_that_can_come),
        cmocka_unit_test(disk_answers_within_its_time),
        cmocka_unit_test(without_a_spool_it_is_no), cmocka_unit_test(a_full_spool_says_no),
        cmocka_unit_test(nothing_is_wedged_by_its_size), cmocka_unit_test(a_full_spool_of_the_last_time_goes_first),
        cmocka_unit_test(histories),
    };

    now_us = 1000000;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
