/* load/follow.c - records to rows, and what becomes of those that are none.
 *
 * The stream must not stop for one record (D6), and a row must not vanish. So there are two nets: a record
 * that is no row, or a row that warehouse_add refuses, is known at once; a row that only the engine's
 * flush or commit refuses fails a whole batch, and the loader halves the batch until it knows which one it
 * was (load.c), then skips it here. */
#include "load/follow.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/say.h"
#include "load/people_wait.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/utf8.h"

/* A turn is at most about this much, so that a topic with a long backlog does not starve the others. */
enum { TURN_ROWS = 8192, TEXT_BYTES_MAX = 64 << 20 };

#define NO_OFFSET UINT64_MAX

#define FOLLOW_NAME(number, suffix, name) [number] = name,
const char *const follow_topics[FOLLOW_TOPICS] = { FOLLOW_LIST(FOLLOW_NAME) };

void follow_init(struct follow *follow, struct log *log, uint32_t partition)
{
    *follow = (struct follow){ .log = log, .partition = partition, .last_topic = -1 };
    buf_init(&follow->text, TEXT_BYTES_MAX);
    eraser_init(&follow->eraser);
    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        follow->topics[i].skip = NO_OFFSET;
        follow->topics[i].stored = NO_OFFSET;
    }
}

static void close_readers(struct follow *follow)
{
    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        if (follow->topics[i].reader != NULL)
            log_reader_close(follow->topics[i].reader);
        follow->topics[i].reader = NULL;
        follow->topics[i].in_chunk = follow->topics[i].gap = false;
    }
    follow->last_topic = -1;
    eraser_reset(&follow->eraser);
}

void follow_fini(struct follow *follow)
{
    close_readers(follow);
    buf_fini(&follow->text);
    eraser_fini(&follow->eraser);
}

/* A warehouse that begins anew is behind what the log was told before, and retention must know at once. */
static int tell_back(struct follow *follow, int id, uint64_t next, struct err *err)
{
    uint64_t told;
    int      rc = log_cursor_load(follow->log, follow_topics[id], follow->partition, "load", &told, err);

    if (rc < 1 || told <= next)
        return rc < 0 ? -1 : 0;
    follow->topics[id].stored = NO_OFFSET;
    return log_cursor_store(follow->log, follow_topics[id], follow->partition, "load", next, err);
}

int follow_begin_anew(struct follow *follow, struct err *err)
{
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        if (follow_topics[i] != NULL && tell_back(follow, i, 0, err) < 0)
            return err_wrap(err, follow_topics[i]);
    return 0;
}

int follow_seek(struct follow *follow, const struct warehouse_place *place, struct err *err)
{
    static struct say_gate gate;
    struct err             why;

    close_readers(follow);
    log_cursors_expect(follow->log, follow_topics, FOLLOW_TOPICS, follow->partition, "load");
    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        struct follow_topic *topic = &follow->topics[i];

        topic->next = place->next[i];
        topic->until = place->again ? place->until[i] : NO_OFFSET;
        if (follow_topics[i] == NULL)
            continue;
        if (log_reader_open(follow->log, follow_topics[i], follow->partition, topic->next, &topic->reader, err) < 0) {
            topic->reader = NULL;
            return err_wrap(err, follow_topics[i]);
        }
        log_reader_once(topic->reader);
        if (tell_back(follow, i, topic->next, &why) < 0)
            say_seldom(&gate, SAY_WARN, "the log may delete what the warehouse has not: %s", why.text);
    }
    return 0;
}

uint64_t follow_lag(struct follow *follow, int topic)
{
    const struct follow_topic *at = &follow->topics[topic];

    return at->reader != NULL ? log_reader_lag(at->reader, at->next) : 0;
}

/* Once some are in the open batch the others follow; an order to erase waits for all of them. */
bool follow_people_wait(struct follow *follow, const struct warehouse_place *place, int64_t since_us)
{
    return !follow->eraser.waiting && follow->topics[FOLLOW_PEOPLE].next == place->next[FOLLOW_PEOPLE] &&
           people_wait(follow_lag(follow, FOLLOW_PEOPLE), since_us);
}

/* --- what is no row ---------------------------------------------------------------------------- */

/* Where the record is that is in work: some backends keep it with the row. */
static void came_from(const struct follow *follow, struct row *row)
{
    row->topic = (uint8_t)follow->last_topic;
    row->offset = follow->last_offset;
}

static void keep_text(struct row *to, int column, const struct row_cell *from)
{
    if (!from->null && utf8_valid(from->text))
        to->cells[column] = *from;
}

/* A dead letter of the step "load": what can be said of the row, and the record as base64. */
static int add_dead_letter(struct follow *follow, struct warehouse *warehouse, struct span body, bool readable,
                           const char *reason, const char *why, int64_t now_us, struct err *err)
{
    struct row        letter;
    const struct row *row = &follow->row;

    buf_reset(&follow->text);
    base64_encode(body, &follow->text);
    if (follow->text.failed)
        return err_set(err, ERR_FULL, "no memory for a dead letter of %zu bytes", body.bytes);
    row_init(&letter, ROW_DEAD_LETTER);
    came_from(follow, &letter);
    row_set_i64(&letter, ROW_DEAD_LETTER_FAILED_AT, now_us);
    row_set_text(&letter, ROW_DEAD_LETTER_STEP, SPAN("load"));
    row_set_text(&letter, ROW_DEAD_LETTER_REASON, span_text(reason));
    if (utf8_valid(span_text(why)))
        row_set_text(&letter, ROW_DEAD_LETTER_DETAIL, span_text(why));
    row_set_text(&letter, ROW_DEAD_LETTER_DATA, buf_span(&follow->text));
    row_set_text(&letter, ROW_DEAD_LETTER_ENCODING, SPAN("base64"));
    if (readable && row->table == ROW_EVENT) {
        letter.cells[ROW_DEAD_LETTER_UUID] = row->cells[ROW_EVENT_UUID];
        letter.cells[ROW_DEAD_LETTER_TEAM_ID] = row->cells[ROW_EVENT_TEAM_ID];
        letter.cells[ROW_DEAD_LETTER_RAW_OFFSET] = row->cells[ROW_EVENT_RAW_OFFSET];
        letter.cells[ROW_DEAD_LETTER_RECEIVED_AT] = row->cells[ROW_EVENT_CAPTURED_AT];
        keep_text(&letter, ROW_DEAD_LETTER_EVENT, &row->cells[ROW_EVENT_EVENT]);
        keep_text(&letter, ROW_DEAD_LETTER_DISTINCT_ID, &row->cells[ROW_EVENT_DISTINCT_ID]);
    }
    return warehouse_add(warehouse, &letter, err);
}

static int add_gap_warning(struct follow *follow, struct warehouse *warehouse, int id, const struct log_chunk *gap, int64_t now_us,
                           struct err *err)
{
    struct row warning;

    buf_reset(&follow->text);
    buf_add_format(&follow->text, "{\"topic\":\"%s\",\"first_offset\":%llu,\"records\":%u,\"why\":", follow_topics[id],
                   (unsigned long long)gap->base, gap->count);
    json_write_string(&follow->text, span_text(gap->why));
    buf_add_byte(&follow->text, '}');
    row_init(&warning, ROW_WARNING);
    warning.topic = (uint8_t)id;
    warning.offset = gap->base;
    row_set_i64(&warning, ROW_WARNING_TEAM_ID, 0); /* nobody's alone */
    row_set_text(&warning, ROW_WARNING_SOURCE, SPAN("load"));
    row_set_text(&warning, ROW_WARNING_TYPE, SPAN("log_damaged"));
    row_set_text(&warning, ROW_WARNING_DETAILS, buf_span(&follow->text));
    row_set_i64(&warning, ROW_WARNING_TIMESTAMP, now_us);
    row_set_text(&warning, ROW_WARNING_CATEGORY, SPAN("storage"));
    row_set_text(&warning, ROW_WARNING_SEVERITY, SPAN("error"));
    return warehouse_add(warehouse, &warning, err);
}

static const char crashed_detail[] = "the loader ended three times while it worked on this row alone";

/* For tests: docs/dead-letters.md. */
static void crash_if_asked(struct follow *follow)
{
    const struct row_cell *name = &follow->row.cells[ROW_EVENT_EVENT];
    bool                   commit = span_starts(follow->crash_on, SPAN("commit:"));

    if (follow->row.table != ROW_EVENT || name->null ||
        !span_equal(name->text, commit ? span_from(follow->crash_on, 7) : follow->crash_on))
        return;
    if (!commit)
        abort();
    follow->crash_commit = true;
}

/* --- records ----------------------------------------------------------------------------------- */

static int add_record(struct follow *follow, struct follow_topic *topic, struct warehouse *warehouse, uint64_t offset,
                      struct span body, int64_t now_us, struct err *err)
{
    struct err why = { .text = "" };

    if (offset == topic->skip && topic->skip_blind) {
        follow->counts.crashed++;
        return add_dead_letter(follow, warehouse, body, false, "crashed", crashed_detail, now_us, err);
    }
    if (row_read(body, &follow->row, &why) < 0) {
        if (why.kind == ERR_RETRY) { /* who can read it will: it is no dead letter */
            *err = why;
            return err_wrap(err, follow_topics[topic - follow->topics]);
        }
        follow->counts.unreadable++;
        return add_dead_letter(follow, warehouse, body, false, "unreadable_row", why.text, now_us, err);
    }
    came_from(follow, &follow->row);
    if (offset == topic->skip && topic->skip_crashed) {
        follow->counts.crashed++;
        return add_dead_letter(follow, warehouse, body, true, "crashed", crashed_detail, now_us, err);
    }
    if (offset == topic->skip) {
        follow->counts.refused++;
        return add_dead_letter(follow, warehouse, body, true, "refused_row", "the engine refused the row's batch", now_us,
                               err);
    }
    if (follow->crash_on.bytes > 0)
        crash_if_asked(follow);
    if (warehouse_add(warehouse, &follow->row, &why) == 0) {
        const struct row_cell *import = &follow->row.cells[ROW_EVENT_HISTORICAL_MIGRATION];

        follow->live += follow->row.table == ROW_EVENT && (import->null || import->i64 == 0);
        return 0;
    }
    if (why.kind != ERR_INPUT) {
        *err = why;
        return -1;
    }
    follow->counts.refused++;
    return add_dead_letter(follow, warehouse, body, true, "refused_row", why.text, now_us, err);
}

/* Opens the next chunk of records; gaps on the way become warnings. 1: there is one; 0: no more. */
static int next_chunk(struct follow *follow, int id, struct warehouse *warehouse, int64_t now_us, struct err *err)
{
    struct follow_topic *topic = &follow->topics[id];
    int                  rc = topic->gap ? 1 : log_reader_next(topic->reader, &topic->chunk, err);

    topic->gap = false;
    if (rc < 1)
        return rc < 0 ? err_wrap(err, follow_topics[id]) : 0;
    if (topic->chunk.kind == LOG_RECORDS) {
        topic->in_chunk = true;
        return 1;
    }
    if (add_gap_warning(follow, warehouse, id, &topic->chunk, now_us, err) < 0)
        return -1;
    follow->counts.gap_records += topic->chunk.count;
    follow->last_topic = -1;
    topic->next = topic->chunk.base + topic->chunk.count;
    return 1;
}

/* An order to erase stops its topic until it was carried out (load/eraser.h). 1: it is one; 0; -1: there is no memory for it, or the
 * warehouse does not say what was fixed about it. */
static int meets_order(struct follow *follow, struct warehouse *warehouse, uint64_t offset, struct span body, struct err *err)
{
    struct err why;

    if (row_read(body, &follow->row, &why) < 0 || !eraser_is_order(&follow->row))
        return 0;
    if (eraser_meet(&follow->eraser, warehouse, &follow->row, body, offset, follow->topics[FOLLOW_RECEIPTS].until, err) < 0)
        return err_wrap(err, follow_topics[FOLLOW_RECEIPTS]); /* a row like others it must not become: nobody would carry it out */
    follow->eraser.gathering = true;
    return 1;
}

/* What is published now is loaded before the orders are carried out. */
static int orders_met(struct follow *follow, struct err *err)
{
    struct eraser *eraser = &follow->eraser;

    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        const struct follow_topic *topic = &follow->topics[i];

        eraser->ends[i] = 0;
        if (i != FOLLOW_RECEIPTS && topic->reader != NULL && topic->until == NO_OFFSET && log_reader_end(topic->reader, &eraser->ends[i], err) < 0)
            return err_wrap(err, follow_topics[i]);
    }
    eraser->gathering = false;
    eraser->waiting = true;
    return 0;
}

/* Orders behind the one that was met, and what stands between them. The topic's next record is the first order until they were carried
 * out; whoever is suspected is not taken with them. */
static int gather_orders(struct follow *follow, struct err *err)
{
    struct follow_topic *topic = &follow->topics[FOLLOW_RECEIPTS];
    struct eraser       *eraser = &follow->eraser;

    while (eraser_wants(eraser) && (eraser->fixed > 0 || follow->poison == NULL || !poison_hurries(follow->poison))) {
        struct log_chunk before = topic->chunk;
        struct span      body;
        struct err       why;
        uint64_t         offset;
        int              rc = 1;

        if (topic->gap)
            break;
        if (!topic->in_chunk) {
            rc = log_reader_next(topic->reader, &topic->chunk, err);
            if (rc < 0)
                return err_wrap(err, follow_topics[FOLLOW_RECEIPTS]);
            if (rc == 0 && eraser->fixed > 0)
                return 0; /* what was there when they were fixed is given yet */
            if (rc == 0)
                break;
            topic->gap = topic->chunk.kind != LOG_RECORDS;
            topic->in_chunk = !topic->gap;
            continue;
        }
        if (!log_chunk_next(&topic->chunk, &offset, &body)) {
            topic->in_chunk = false;
            continue;
        }
        if (body.bytes == 0) { /* erased (log.h) */
            eraser->until = offset + 1;
            continue;
        }
        if (offset == topic->skip || row_read(body, &follow->row, &why) < 0 ||
            (rc = eraser_take(eraser, &follow->row, body, offset, err)) == 0) {
            topic->chunk = before;
            break;
        }
        if (rc < 0)
            return err_wrap(err, follow_topics[FOLLOW_RECEIPTS]);
    }
    return orders_met(follow, err);
}

int follow_erase_due(struct follow *follow, struct warehouse *warehouse, int64_t now_us, struct err *err)
{
    for (int i = 0; follow->eraser.waiting && i < FOLLOW_TOPICS; i++)
        if (follow->topics[i].next < follow->eraser.ends[i])
            return 0;
    return follow->eraser.waiting ? eraser_others_loaded(&follow->eraser, warehouse, now_us, err) : 0;
}

int follow_erase(struct follow *follow, struct warehouse *warehouse, int64_t now_us, struct err *err)
{
    if (eraser_run(&follow->eraser, warehouse, now_us, err) < 0)
        return err_wrap(err, "erasing a person");
    follow->topics[FOLLOW_RECEIPTS].next = follow->eraser.until; /* it stood at the first order */
    eraser_reset(&follow->eraser);
    return 0;
}

int follow_fill(struct follow *follow, int id, struct warehouse *warehouse, size_t rows_max, int64_t now_us,
                struct err *err)
{
    struct follow_topic *topic = &follow->topics[id];

    if (follow_topics[id] == NULL)
        return 0;
    assert(topic->reader != NULL);
    if (id == FOLLOW_RECEIPTS && follow->eraser.waiting)
        return 0;
    if (id == FOLLOW_RECEIPTS && follow->eraser.gathering)
        return gather_orders(follow, err);
    for (int rows = 0; rows < TURN_ROWS && warehouse_pending(warehouse) < rows_max && !warehouse_full(warehouse);) {
        uint64_t    offset;
        struct span body;
        int         rc;

        if (topic->next >= topic->until)
            return 0;
        if (!topic->in_chunk) {
            rc = next_chunk(follow, id, warehouse, now_us, err);
            if (rc < 1)
                return rc;
            continue;
        }
        if (!log_chunk_next(&topic->chunk, &offset, &body)) {
            topic->in_chunk = false;
            topic->next = topic->chunk.base + topic->chunk.count;
            continue;
        }
        follow->last_topic = id;
        follow->last_offset = offset;
        if (id == FOLLOW_RECEIPTS && (rc = meets_order(follow, warehouse, offset, body, err)) != 0) {
            topic->next = offset;
            return rc < 0 ? -1 : gather_orders(follow, err);
        }
        if (body.bytes == 0) { /* erased (log.h) */
            topic->next = offset + 1;
            continue;
        }
        poison_mark(follow->poison, id, offset);
        if (add_record(follow, topic, warehouse, offset, body, now_us, err) < 0)
            return -1;
        poison_added(follow->poison, id, offset);
        topic->next = offset + 1;
        rows++;
    }
    return 1;
}

bool follow_ended(const struct follow *follow)
{
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        if (follow->topics[i].reader != NULL && follow->topics[i].next < follow->topics[i].until)
            return false;
    return true;
}

bool follow_skip(struct follow *follow)
{
    struct follow_topic *topic;

    if (follow->last_topic < 0)
        return false;
    topic = &follow->topics[follow->last_topic];
    if (topic->skip == follow->last_offset)
        return false;
    topic->skip = follow->last_offset;
    topic->skip_crashed = topic->skip_blind = false;
    return true;
}

void follow_condemn(struct follow *follow, int topic, uint64_t offset, bool blind)
{
    follow->topics[topic].skip = offset;
    follow->topics[topic].skip_crashed = true;
    follow->topics[topic].skip_blind = blind;
}

int follow_store(struct follow *follow, struct err *err)
{
    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        struct follow_topic *topic = &follow->topics[i];

        /* Zero is what no cursor means, and the topic may not exist yet. Kafka is told five times a second: the last one may be due yet. */
        if ((topic->next == topic->stored && !log_is_kafka(follow->log)) || topic->next == 0 || topic->reader == NULL)
            continue;
        if (log_cursor_store(follow->log, follow_topics[i], follow->partition, "load", topic->next, err) < 0)
            return err_wrap(err, follow_topics[i]);
        topic->stored = topic->next;
    }
    return 0;
}
