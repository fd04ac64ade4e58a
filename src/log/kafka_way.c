/* log/kafka_way.c - see kafka_way.h.
 *
 * One list holds what is under way, batches and pieces of the spool alike, in the order in which they were sent. So there is
 * nothing to wait for between the last piece of the spool and the first batch behind it: when the brokers fail in between, the
 * batches go to the disk, behind pieces that are there still.
 * Failing is always the same: the line is abandoned, which makes everything under way unknown; batches go to the disk (or are
 * answered with no), the spool is read again from its cursor. What the brokers had taken after all is there twice then, and
 * ingest takes the first of two records with one uuid. */
#include "log/kafka_way.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_gather.h"
#include "log/log_batch.h"

enum {
    WAY_DRAIN_BYTES = 8 << 20,
    WAY_ANSWERS = 64,
    WAY_IDLE_US = 1000000,
    WAY_PATIENCE_US = 5000000,       /* DRAINING: no answer for so long is SPOOLING again */
    WAY_ANEW_US = 15000000,          /* SPOOLING: an offer that nobody answered for so long is made anew, on another connection */
    WAY_OFFER_PAUSE_US = 200000,     /* after a failure, doubled up to */
    WAY_OFFER_PAUSE_US_MAX = 2000000,
    WAY_TELL_US = 10000000,          /* how often it is told that an outage goes on */
    WAY_PUT_MAX = 512
};

const char *log_way_text(enum log_way way)
{
#define WAY_TEXT(name, text) text,
    static const char *const texts[] = { LOG_WAYS(WAY_TEXT) };

    return (unsigned)way < LOG_WAY_COUNT ? texts[way] : "?";
}

/* Under way: a batch, or a piece of the spool (batch NULL). */
struct piece {
    struct piece     *next;
    struct parcel     parcel;
    struct log_batch *batch;
    uint64_t          offset_end; /* of the spool's records */
    uint64_t          count, bytes;
    int64_t           since_us;
};

struct kafka_way {
    struct way_options options;
    struct kafka_line *line;
    struct spool      *spool;
    struct sorter     *sorter;
    enum log_way       state;
    bool               reached;
    struct log_batch  *first, **last; /* taken, and not sent yet */
    struct piece      *sent, **sent_last;
    struct piece      *free;
    size_t             drain_under_way; /* bytes of the spool's pieces */
    int64_t            answer_us;       /* when the brokers last took something, or were offered something anew */
    int64_t            offer_us, offer_pause_us; /* not before; after the next failure */
    int64_t            since_us, told_us;
    uint64_t           spooled_then;    /* spooled_records when the outage began */
    struct log_commit_look look;
    struct gather      gather;       /* DIRECT: batches that are not sent yet */
    bool               rewind_due;   /* the spool is to be read again from where the brokers are */
    bool               heard;        /* the brokers took something since the last step */
    bool               too_large;    /* the trouble is a message's size: nobody need look whether brokers and topics are there */
    char               trouble[300]; /* why the line is to be abandoned; "" */
};

/* Words for people about a change. The only place that writes the state. */
static void way_set_state(struct kafka_way *way, enum log_way next, const char *why, int64_t now_us)
{
    static const unsigned allowed[LOG_WAY_COUNT] = {
        [LOG_WAY_DIRECT] = 1u << LOG_WAY_SPOOLING | 1u << LOG_WAY_AWAY,
        [LOG_WAY_SPOOLING] = 1u << LOG_WAY_DRAINING | 1u << LOG_WAY_DIRECT,
        [LOG_WAY_DRAINING] = 1u << LOG_WAY_SPOOLING | 1u << LOG_WAY_DIRECT,
        [LOG_WAY_AWAY] = 1u << LOG_WAY_DIRECT,
    };
    enum log_way was = way->state;
    double       took = (double)(now_us - way->since_us) / 1e6;

    assert((allowed[was] & 1u << next) != 0);
    way->state = next;
    if (was == LOG_WAY_DIRECT) {
        way->look.outages++;
        way->since_us = way->told_us = now_us;
        way->spooled_then = way->look.spooled_records;
    }
    switch (next) {
    case LOG_WAY_SPOOLING:
        say(SAY_WARN, "%s: the brokers do not take events (%s): this machine's disk does, and sends them later", way->options.label, why);
        break;
    case LOG_WAY_AWAY:
        say(SAY_WARN, "%s: the brokers do not take events (%s): they are refused, as log.spool is off", way->options.label, why);
        break;
    case LOG_WAY_DRAINING:
        say(SAY_INFO, "%s: the brokers answer after %.1f s: %llu records on the disk are sent, in order", way->options.label, took,
            (unsigned long long)spool_waiting(way->spool));
        break;
    default:
        if (way->look.outages == 0 && way->look.spooled_records == 0 && way->look.drained_records == 0)
            say(SAY_INFO, "%s: the brokers take events", way->options.label);
        else
            say(SAY_INFO, "%s: the brokers take events again, after %.1f s; %llu records went over the disk", way->options.label, took,
            (unsigned long long)(way->look.spooled_records - way->spooled_then));
        break;
    }
}

int way_new(const struct way_options *options, struct kafka_line *line, struct spool *spool, int64_t now_us, struct kafka_way **out,
            struct err *err)
{
    struct kafka_way *way = calloc(1, sizeof *way);

    if (way == NULL)
        return err_set(err, ERR_FULL, "no memory for a committer");
    way->options = *options;
    if (way->options.drain_bytes == 0)
        way->options.drain_bytes = WAY_DRAIN_BYTES;
    way->line = line;
    way->spool = spool;
    way->gather.linger_us = options->linger_us;
    way->last = &way->first;
    way->sent_last = &way->sent;
    way->offer_pause_us = WAY_OFFER_PAUSE_US;
    way->since_us = way->told_us = way->answer_us = now_us;
    way->state = spool == NULL ? LOG_WAY_AWAY : LOG_WAY_SPOOLING;
    if (sorter_new(&options->sorter, line, &way->sorter, err) < 0) {
        free(way);
        return -1;
    }
    if (spool != NULL && spool_waiting(spool) > 0)
        say(SAY_INFO, "%s: %llu records wait on the disk since the last time: they are sent first", options->label,
            (unsigned long long)spool_waiting(spool));
    *out = way;
    return 0;
}

void way_free(struct kafka_way *way)
{
    if (way == NULL)
        return;
    while (way->sent != NULL) {
        struct piece *next = way->sent->next;

        free(way->sent);
        way->sent = next;
    }
    while (way->free != NULL) {
        struct piece *next = way->free->next;

        free(way->free);
        way->free = next;
    }
    sorter_free(way->sorter);
    free(way);
}

/* --- pieces ------------------------------------------------------------------------------------ */

static struct piece *piece_new(struct kafka_way *way)
{
    struct piece *piece = way->free;

    if (piece != NULL)
        way->free = piece->next;
    else
        piece = malloc(sizeof *piece);
    if (piece != NULL)
        memset(piece, 0, sizeof *piece);
    return piece;
}

static void piece_append(struct kafka_way *way, struct piece *piece)
{
    *way->sent_last = piece;
    way->sent_last = &piece->next;
}

static struct piece *piece_pop(struct kafka_way *way)
{
    struct piece *piece = way->sent;

    way->sent = piece->next;
    if (way->sent == NULL)
        way->sent_last = &way->sent;
    return piece;
}

static void piece_give(struct kafka_way *way, struct piece *piece)
{
    piece->next = way->free;
    way->free = piece;
}

static void batch_answer(struct kafka_way *way, struct log_batch *batch, const struct err *failed, uint64_t base)
{
    struct log_commit_result result = { .ok = failed == NULL, .base = base };

    batch->next = NULL;
    if (failed != NULL) {
        result.err = *failed;
        way->look.refused++;
    }
    way->options.answered(way->options.ctx, batch, &result);
}

/* What was taken by the brokers, from the front (W3). */
static void way_answer(struct kafka_way *way, int64_t now_us)
{
    while (way->sent != NULL && way->sent->parcel.under_way == 0) {
        struct piece *piece = piece_pop(way);

        if (piece->batch != NULL) {
            batch_answer(way, piece->batch, piece->parcel.failed ? &piece->parcel.err : NULL, 0);
        } else {
            if (piece->parcel.failed) {
                way->look.lost += piece->count;
                say(SAY_ERROR, "%s: %llu records of the spool cannot be sent: %s", way->options.label, (unsigned long long)piece->count,
                    piece->parcel.err.text);
            }
            way->drain_under_way -= piece->bytes;
            way->look.drained_records += piece->count;
            spool_taken(way->spool, piece->offset_end, piece->bytes, now_us);
        }
        piece_give(way, piece);
    }
}

/* --- the disk ---------------------------------------------------------------------------------- */

/* Puts a list of batches on the disk and answers them. */
static void way_put(struct kafka_way *way, struct log_batch *list, int64_t now_us)
{
    while (list != NULL) {
        const struct log_batch *group[WAY_PUT_MAX];
        struct log_batch       *at = list;
        size_t                  count = 0, done = 0;
        struct err              err = { 0 };
        int                     rc;

        for (; at != NULL && count < WAY_PUT_MAX; at = at->next)
            group[count++] = at;
        rc = spool_put(way->spool, group, count, clock_wall_us(), &done, &err);
        for (size_t i = 0; i < done; i++) {
            struct log_batch *batch = list;

            list = list->next;
            way->look.spooled_records += batch->count;
            batch_answer(way, batch, NULL, 0);
        }
        if (rc < 0 && list != NULL) { /* the next one may be smaller: each is tried */
            struct log_batch *batch = list;

            list = list->next;
            batch_answer(way, batch, &err, 0);
        }
    }
    (void)now_us;
}

/* --- failing ----------------------------------------------------------------------------------- */

/* Takes the batches out of what is under way, in front of those that were not sent yet, and forgets the spool's pieces. */
static void way_take_back(struct kafka_way *way)
{
    struct log_batch *back = NULL, **end = &back;

    while (way->sent != NULL) {
        struct piece *piece = piece_pop(way);

        if (piece->batch != NULL) {
            piece->batch->next = NULL;
            *end = piece->batch;
            end = &piece->batch->next;
        }
        piece_give(way, piece);
    }
    way->drain_under_way = 0;
    if (back == NULL)
        return;
    *end = way->first;
    if (way->first == NULL)
        way->last = end;
    way->first = back;
}

static struct log_batch *way_all(struct kafka_way *way)
{
    struct log_batch *list = way->first;

    way->first = NULL;
    way->last = &way->first;
    return list;
}

/* Answers all that waits: by the disk, or with no. */
static void way_turn_aside(struct kafka_way *way, const char *why, int64_t now_us)
{
    struct log_batch *list = way_all(way);
    struct err        err;

    if (way->spool != NULL) {
        way_put(way, list, now_us);
        return;
    }
    (void)err_set(&err, ERR_RETRY, "the brokers do not take events: %s", why);
    while (list != NULL) {
        struct log_batch *batch = list;

        list = list->next;
        batch_answer(way, batch, &err, 0);
    }
}

static void way_fail(struct kafka_way *way, const char *why, int64_t now_us)
{
    char       text[300];
    struct err err = { 0 };

    (void)snprintf(text, sizeof text, "%s", why);
    if (way->line->ops->abandon(way->line, &err) < 0)
        say(SAY_ERROR, "%s: %s", way->options.label, err.text);
    sorter_reset(way->sorter);
    way->gather.waiting = 0;
    way_take_back(way);
    way->trouble[0] = '\0';
    /* A topic may be gone, which a line that begins anew says late or never; all behind its messages would be sent again and again. */
    way->reached = way->reached && way->too_large && way->spool != NULL;
    if (way->spool == NULL) {
        if (way->state == LOG_WAY_DIRECT)
            way_set_state(way, LOG_WAY_AWAY, text, now_us);
    } else {
        way->rewind_due = true; /* before anything of it is sent again */
        if (way->state != LOG_WAY_SPOOLING)
            way_set_state(way, LOG_WAY_SPOOLING, text, now_us);
        way->offer_us = now_us + way->offer_pause_us;
        way->offer_pause_us = way->offer_pause_us * 2 > WAY_OFFER_PAUSE_US_MAX ? WAY_OFFER_PAUSE_US_MAX : way->offer_pause_us * 2;
    }
    way->too_large = false;
    way->answer_us = now_us;
    way_turn_aside(way, text, now_us);
}

/* --- sending ----------------------------------------------------------------------------------- */

/* Moves the first batch that waits to what is under way, before it is sent, so that it is not lost when that fails; where there is no
 * memory for the piece it goes on waiting, and is answered with the others. */
static int batch_send(struct kafka_way *way, int64_t now_us, struct err *err)
{
    struct log_batch *batch = way->first;
    struct piece     *piece = piece_new(way);

    if (piece == NULL)
        return err_set(err, ERR_FULL, "no memory for a batch under way");
    way->first = batch->next;
    if (way->first == NULL)
        way->last = &way->first;
    batch->next = NULL;
    piece->batch = batch;
    piece->count = batch->count;
    piece->bytes = batch->bytes;
    piece->since_us = now_us;
    piece_append(way, piece);
    way->gather.waiting++;
    return sorter_add(way->sorter, &piece->parcel, log_batch_records(batch), batch->count, err);
}

static int chunk_send(struct kafka_way *way, const struct log_chunk *chunk, int64_t now_us, struct err *err)
{
    struct piece *piece = piece_new(way);

    if (piece == NULL)
        return err_set(err, ERR_FULL, "no memory for a piece of the spool");
    piece->offset_end = chunk->base + chunk->count;
    piece->since_us = now_us;
    piece_append(way, piece);
    if (chunk->kind == LOG_GAP) {
        if (strcmp(chunk->why, "expired") != 0) { /* those were taken: the cursor is older than what is deleted */
            way->look.lost += chunk->count;
            say(SAY_ERROR, "%s: %u records of the spool are damaged (offsets %llu to %llu), and lost", way->options.label, chunk->count,
                (unsigned long long)chunk->base, (unsigned long long)(chunk->base + chunk->count - 1));
        }
        return 0;
    }
    piece->count = chunk->count;
    piece->bytes = (size_t)(chunk->end - chunk->at);
    way->drain_under_way += piece->bytes;
    return sorter_add(way->sorter, &piece->parcel, span_of(chunk->at, piece->bytes), chunk->count, err);
}

/* Sends of the spool what fits; while nobody answers, one piece. */
static int way_drain(struct kafka_way *way, int64_t now_us, struct err *err)
{
    struct log_chunk chunk;
    int              rc;

    if (!way->reached || now_us < way->offer_us)
        return 0;
    if (way->rewind_due && spool_rewind(way->spool, err) < 0)
        return -1; /* that is a failure again, and a pause */
    way->rewind_due = false;
    while (way->drain_under_way < (way->state == LOG_WAY_DRAINING ? way->options.drain_bytes : 1)) {
        rc = spool_next(way->spool, &chunk, err);
        if (rc <= 0)
            return rc;
        if (way->sent == NULL)
            way->answer_us = now_us;
        if (chunk_send(way, &chunk, now_us, err) < 0)
            return -1;
    }
    return 0;
}

static int way_send_batches(struct kafka_way *way, int64_t now_us, struct err *err)
{
    while (way->first != NULL)
        if (batch_send(way, now_us, err) < 0)
            return -1;
    return 0;
}

/* --- steps ------------------------------------------------------------------------------------- */

void way_take(struct kafka_way *way, struct log_batch *list, int64_t now_us)
{
    *way->last = list;
    while (*way->last != NULL)
        way->last = &(*way->last)->next;
    (void)now_us;
}

void way_reached(struct kafka_way *way, int64_t now_us)
{
    way->reached = true;
    way->answer_us = now_us;
    if (way->state == LOG_WAY_AWAY)
        way_set_state(way, LOG_WAY_DIRECT, "", now_us);
}

bool way_wants_reach(const struct kafka_way *way)
{
    return !way->reached;
}

static void way_tell(struct kafka_way *way, int64_t now_us)
{
    if (way->state == LOG_WAY_DIRECT || now_us - way->told_us < WAY_TELL_US)
        return;
    way->told_us = now_us;
    if (way->spool == NULL)
        say(SAY_WARN, "%s: the brokers are away for %.0f s", way->options.label, (double)(now_us - way->since_us) / 1e6);
    else
        say(SAY_WARN, "%s: %s for %.0f s: %llu records wait on the disk, %.1f MB", way->options.label, log_way_text(way->state),
            (double)(now_us - way->since_us) / 1e6, (unsigned long long)spool_waiting(way->spool), (double)spool_bytes(way->spool) / 1e6);
}

/* Is it time to give up waiting? */
static const char *way_impatient(struct kafka_way *way, int64_t now_us, char *text, size_t room)
{
    int64_t oldest_us = way->sent == NULL ? now_us : way->sent->since_us, silent_us = now_us - way->answer_us;

    if (way->trouble[0] != '\0')
        return way->trouble;
    /* A long queue that moves is no outage for the spool's pieces; for a batch somebody waits. */
    if (way->state == LOG_WAY_DIRECT && now_us - oldest_us > way->options.spool_after_us &&
        (way->sent->batch != NULL || silent_us > way->options.spool_after_us)) {
        (void)snprintf(text, room, "no answer for %.1f s", (double)(now_us - oldest_us) / 1e6);
        return text;
    }
    if (way->state == LOG_WAY_DRAINING && way->sent != NULL && silent_us > WAY_PATIENCE_US)
        way_set_state(way, LOG_WAY_SPOOLING, "no answer", now_us);
    if (way->state == LOG_WAY_SPOOLING && way->sent != NULL && silent_us > WAY_ANEW_US)
        return "no answer";
    return NULL;
}

static int way_send(struct kafka_way *way, int64_t now_us, struct err *err)
{
    if (way->state == LOG_WAY_AWAY)
        return 0;
    /* All of the spool is under way: what comes now goes behind it. */
    if (way->state != LOG_WAY_DIRECT && !way->rewind_due && spool_unread(way->spool) == 0 && way->reached && now_us >= way->offer_us &&
        (way->state == LOG_WAY_DRAINING || way->sent == NULL))
        way_set_state(way, LOG_WAY_DIRECT, "", now_us);
    if (way->state != LOG_WAY_DIRECT) {
        if (way->first != NULL)
            way_turn_aside(way, "", now_us);
        if (way_drain(way, now_us, err) < 0)
            return -1;
    }
    if (way->state == LOG_WAY_DIRECT && way_send_batches(way, now_us, err) < 0)
        return -1;
    return gather_goes(&way->gather, now_us) || way->state != LOG_WAY_DIRECT ? sorter_flush(way->sorter, err) : 0;
}

int64_t way_step(struct kafka_way *way, int64_t now_us)
{
    char        text[100];
    struct err  err = { 0 };
    const char *why;
    int64_t     next_us = now_us + WAY_IDLE_US;

    if (way->heard)
        way->answer_us = now_us;
    if (way->heard && way->state == LOG_WAY_SPOOLING && way->trouble[0] == '\0')
        way_set_state(way, LOG_WAY_DRAINING, "", now_us);
    way->heard = false;
    way_answer(way, now_us);
    why = way_impatient(way, now_us, text, sizeof text);
    if (why == NULL && way_send(way, now_us, &err) < 0)
        why = err.text;
    if (why != NULL)
        way_fail(way, why, now_us);
    else if (way->state == LOG_WAY_AWAY && way->first != NULL)
        way_turn_aside(way, "they were not reached", now_us);
    way_answer(way, now_us); /* gaps need no answer */
    way_tell(way, now_us);
    if (way->spool != NULL)
        spool_tidy(way->spool, now_us);
    if (gather_due_us(&way->gather) < next_us)
        next_us = gather_due_us(&way->gather);
    if (way->sent != NULL && way->sent->since_us + way->options.spool_after_us < next_us && way->state == LOG_WAY_DIRECT)
        next_us = way->sent->since_us + way->options.spool_after_us + 1000;
    if (way->state == LOG_WAY_SPOOLING && way->sent == NULL && way->offer_us > now_us && way->offer_us < next_us)
        next_us = way->offer_us;
    return next_us > now_us ? next_us : now_us + 1000;
}

void way_listen(struct kafka_way *way, int64_t wait_us)
{
    struct line_answer answers[WAY_ANSWERS];
    size_t             count;

    do {
        count = way->line->ops->answers(way->line, answers, WAY_ANSWERS, wait_us);
        wait_us = 0;
        for (size_t i = 0; i < count && way->trouble[0] == '\0'; i++) {
            if (answers[i].fate == LINE_LOST) {
                (void)snprintf(way->trouble, sizeof way->trouble, "%s", answers[i].why[0] != '\0' ? answers[i].why : "a message was lost");
            } else if (!sorter_answer(way->sorter, &answers[i])) {
                (void)snprintf(way->trouble, sizeof way->trouble, "a message is larger than the topic takes: smaller ones are sent");
                way->offer_pause_us = 1000; /* they are not away */
                way->too_large = true;
            } else {
                way->heard = true;
                way->offer_pause_us = WAY_OFFER_PAUSE_US;
            }
        }
    } while (count == WAY_ANSWERS && way->trouble[0] == '\0');
}

bool way_idle(const struct kafka_way *way)
{
    if (way->first != NULL)
        return false;
    for (const struct piece *piece = way->sent; piece != NULL; piece = piece->next)
        if (piece->batch != NULL)
            return false;
    return true;
}

void way_settle(struct kafka_way *way, int64_t patience_us)
{
    int64_t    until_us = clock_mono_us() + patience_us;
    struct err err = { 0 };

    for (;;) {
        int64_t now_us = clock_mono_us();

        (void)way_step(way, now_us);
        if (sorter_flush(way->sorter, &err) < 0)
            (void)snprintf(way->trouble, sizeof way->trouble, "%s", err.text);
        if (way_idle(way))
            return;
        if (now_us >= until_us)
            break;
        way_listen(way, 10000);
    }
    way_fail(way, "this process ends", clock_mono_us());
}

void way_look(const struct kafka_way *way, struct log_commit_look *out)
{
    struct sorter_counts counts;

    sorter_counts(way->sorter, &counts);
    *out = way->look;
    out->way = way->state;
    out->spool_records = way->spool == NULL ? 0 : spool_waiting(way->spool);
    out->spool_bytes = way->spool == NULL ? 0 : spool_bytes(way->spool);
    out->messages = counts.messages;
    out->message_bytes = counts.bytes;
    out->records = counts.records;
    out->replaced = counts.replaced;
}
