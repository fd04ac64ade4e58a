/* ingest/requests.c - see requests.h. */
#include "ingest/requests.h"

#include <inttypes.h>
#include <stdio.h>

#include "event/unit_ends.h"
#include "ingest/outputs.h"
#include "people/operate.h"
#include "wire/time.h"

enum { DETAIL_BYTES_MAX = 4 << 20 };
_Static_assert((int)OUTPUT_COUNT <= (int)UNIT_ENDS_MAX, "an order says where each output ends");

/* Versions of a receipt's row rise with what became of it. */
enum receipt_state { RECEIPT_ASKED = 1, RECEIPT_PEOPLE_DONE = 2, RECEIPT_ENDED = 3 };

static int tell_detail(const struct requests *requests, uint64_t number, const struct control *control, enum receipt_state version,
                       const char *state, int64_t due_us, const struct people_operated *operated, struct span detail, struct err *err)
{
    bool       erase = control->kind == CONTROL_DELETE && (control->flags & CONTROL_WITH_EVENTS) != 0;
    struct row row;

    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_ID, (int64_t)number);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, control->project);
    row_set_text(&row, ROW_RECEIPT_KIND, span_text(erase ? "erase" : control_kind_name((int)control->kind)));
    row_set_text(&row, ROW_RECEIPT_STATE, span_text(state));
    if (control->kind != CONTROL_UNDELETE)
        row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, operated != NULL ? operated->person : control->person);
    row_set_text(&row, ROW_RECEIPT_ASKED_BY, control->by);
    row_set_i64(&row, ROW_RECEIPT_ASKED_AT, control->asked_us);
    if (control->kind == CONTROL_DELETE)
        row_set_i64(&row, ROW_RECEIPT_DUE_AT, due_us);
    if (version == RECEIPT_ENDED)
        row_set_i64(&row, ROW_RECEIPT_DONE_AT, requests->now_us);
    if (operated != NULL) {
        row_set_i64(&row, ROW_RECEIPT_PERSONS, (int64_t)operated->persons);
        row_set_i64(&row, ROW_RECEIPT_DISTINCT_IDS, (int64_t)operated->distinct_ids);
    }
    if (detail.bytes > 0)
        row_set_text(&row, ROW_RECEIPT_DETAIL, detail);
    row_set_i64(&row, ROW_RECEIPT_VERSION, version);
    return requests->sink(requests->sink_ctx, &row, err);
}

static int tell(const struct requests *requests, uint64_t number, const struct control *control, enum receipt_state version,
                const char *state, int64_t due_us, const struct people_operated *operated, struct err *err)
{
    return tell_detail(requests, number, control, version, state, due_us, operated, SPAN(""), err);
}

static int take_unreadable(const struct requests *requests, uint64_t number, const char *why, struct err *err)
{
    struct row row;

    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_ID, (int64_t)number);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, 0);
    row_set_text(&row, ROW_RECEIPT_KIND, SPAN("unknown"));
    row_set_text(&row, ROW_RECEIPT_STATE, SPAN("unreadable"));
    row_set_i64(&row, ROW_RECEIPT_DONE_AT, requests->now_us);
    row_set_text(&row, ROW_RECEIPT_DETAIL, span_text(why));
    row_set_i64(&row, ROW_RECEIPT_VERSION, RECEIPT_ENDED);
    return requests->sink(requests->sink_ctx, &row, err);
}

static int take_delete(const struct requests *requests, struct people_txn *txn, uint64_t number,
                       const struct control *control, struct span body, struct err *err)
{
    bool    now = (control->flags & CONTROL_NOW) != 0;
    int64_t due_us = now ? requests->now_us : requests->now_us + requests->undo_us;

    if (people_request_put(txn, number, due_us, body, err) < 0)
        return -1;
    return now ? 0 : tell(requests, number, control, RECEIPT_ASKED, "asked", due_us, NULL, err);
}

/* Finds it by its number; another project's is not there. */
static int take_undelete(const struct requests *requests, struct people_txn *txn, uint64_t number,
                         const struct control *control, struct err *err)
{
    struct people_request waiting;
    int got = people_request_next(txn, control->request == 0 ? PEOPLE_REQUEST_NONE : control->request - 1, &waiting, err);

    if (got < 0)
        return -1;
    if (got == 0 || waiting.number != control->request || waiting.control.project != control->project ||
        (waiting.control.flags & CONTROL_ERASED) != 0)
        return tell(requests, number, control, RECEIPT_ENDED, "nobody", 0, NULL, err);
    if (tell(requests, waiting.number, &waiting.control, RECEIPT_ENDED, "undone", waiting.due_us, NULL, err) < 0 ||
        people_request_delete(txn, waiting.number, err) < 0)
        return -1;
    return tell(requests, number, control, RECEIPT_ENDED, "done", 0, NULL, err);
}

static int take_split(const struct requests *requests, struct people_txn *txn, uint64_t number,
                      const struct control *control, struct err *err)
{
    struct people_operated operated;
    int got = people_split(txn, control, requests->sink, requests->sink_ctx, &operated, err);

    if (got < 0)
        return -1;
    return tell(requests, number, control, RECEIPT_ENDED, got == 1 ? "done" : "nobody", 0, got == 1 ? &operated : NULL,
                err);
}

int requests_take(const struct requests *requests, struct people_txn *txn, const struct raw_record *records, size_t count,
                  struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t       number = place_offset(records[i].mark);
        struct control control;
        struct err     why = { .text = "" };
        int            rc = 0;

        if (control_read(records[i].body, &control, &why) == 0 && (control.flags & CONTROL_ERASED) != 0)
            (void)err_set(&why, ERR_CORRUPT, "control: a request of an unknown kind");
        if (why.text[0] != '\0') {
            if (take_unreadable(requests, number, why.text, err) < 0)
                return -1;
            continue;
        }
        switch (control.kind) {
        case CONTROL_DELETE: rc = take_delete(requests, txn, number, &control, records[i].body, err); break;
        case CONTROL_UNDELETE: rc = take_undelete(requests, txn, number, &control, err); break;
        case CONTROL_SPLIT: rc = take_split(requests, txn, number, &control, err); break;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* The request's spans do not live over writes. */
static int keep(const struct requests *requests, struct control *control, struct err *err)
{
    control->by = arena_copy(requests->arena, control->by);
    control->ids = arena_copy(requests->arena, control->ids);
    if (control->by.at == NULL || control->ids.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a request");
    return 0;
}

/* Other units may have rows of the person that nobody has loaded yet. Where their outputs end says the next transaction, behind this
 * one's commit (people/pg_erase.c); until then the order waits. Of the request nothing is kept that was the person's. */
static int order_later(const struct requests *requests, struct people_txn *txn, const struct people_request *due,
                       const struct people_operated *operated, struct err *err)
{
    struct control control = due->control;
    uint8_t        body[CONTROL_HEAD_BYTES + CONTROL_BY_BYTES_MAX];

    control.flags |= CONTROL_ERASED;
    control.person = operated->person;
    control.request = operated->distinct_ids;
    control.id_count = 0;
    control.ids = SPAN("");
    control_write(&control, NULL, body);
    return people_request_put(txn, due->number, requests->now_us + 1, span_of(body, control_bytes(&control, NULL)), err);
}

static int other_add(void *ctx, uint32_t unit, const struct people_place *place, struct err *err)
{
    struct unit_ends ends = { .unit = unit };
    struct buf      *text = ctx;

    for (size_t i = 0; i < OUTPUT_COUNT; i++)
        ends.end[i] = place->output_end[i];
    unit_ends_add(text, &ends, OUTPUT_COUNT);
    return text->failed ? err_set(err, ERR_FULL, "no memory to say where the units are") : 0;
}

static int order_now(const struct requests *requests, struct people_txn *txn, struct people_request *due, struct err *err)
{
    struct people_operated operated = { .person = due->control.person, .persons = 1, .distinct_ids = due->control.request };
    struct buf             detail;
    int                    rc = -1;

    buf_init(&detail, DETAIL_BYTES_MAX);
    if (keep(requests, &due->control, err) == 0 && people_others_each(txn, other_add, &detail, err) == 0 &&
        people_request_delete(txn, due->number, err) >= 0)
        rc = tell_detail(requests, due->number, &due->control, RECEIPT_PEOPLE_DONE, "people done", due->due_us, &operated,
                         buf_span(&detail), err);
    buf_fini(&detail);
    return rc;
}

/* 1: there is more to do in the next transaction. */
static int do_delete(const struct requests *requests, struct people_txn *txn, struct people_request *due, struct err *err)
{
    bool                   erase = (due->control.flags & CONTROL_WITH_EVENTS) != 0;
    struct people_operated operated;
    struct span            distinct_id;
    size_t                 at = 0;
    int                    got;

    if ((due->control.flags & CONTROL_ERASED) != 0)
        return order_now(requests, txn, due, err);
    if (keep(requests, &due->control, err) < 0)
        return -1;
    got = !control_id(&due->control, &at, &distinct_id)
              ? 0
              : people_delete(txn, due->control.project, distinct_id, erase ? due->number : PEOPLE_REQUEST_NONE, requests->sink, requests->sink_ctx, &operated,
                              err);
    if (got < 0)
        return -1;
    if (got == 1 && erase && requests->log_stays && requests_log_done(requests, txn, due->number + 1, 0, err) < 0)
        return -1;
    if (got == 1 && erase && people_has_others(txn))
        return order_later(requests, txn, due, &operated, err) < 0 ? -1 : 1;
    if (people_request_delete(txn, due->number, err) < 0)
        return -1;
    if (got == 0)
        return tell(requests, due->number, &due->control, RECEIPT_ENDED, "nobody", due->due_us, NULL, err);
    return tell(requests, due->number, &due->control, erase ? RECEIPT_PEOPLE_DONE : RECEIPT_ENDED,
                erase ? "people done" : "done", due->due_us, &operated, err);
}

/* When it may be done; now_us at the latest, if it is due and need not wait. */
static int64_t ready_us(const struct requests *requests, const struct people_request *waiting)
{
    bool at_once = (waiting->control.flags & (CONTROL_NOW | CONTROL_ERASED)) != 0;

    if (waiting->due_us > requests->now_us || requests->wait_us == 0 || at_once)
        return waiting->due_us;
    return requests->now_us + requests->wait_us;
}

int requests_do(const struct requests *requests, struct people_txn *txn, int64_t *next_us_out, struct err *err)
{
    struct people_request waiting;
    uint64_t              after = PEOPLE_REQUEST_NONE;
    int64_t               ready;
    int                   got, rc;

    *next_us_out = REQUESTS_NEVER;
    while ((got = people_request_next(txn, after, &waiting, err)) == 1) {
        after = waiting.number;
        ready = ready_us(requests, &waiting);
        if (ready > requests->now_us) {
            if (ready < *next_us_out)
                *next_us_out = ready;
            continue;
        }
        rc = do_delete(requests, txn, &waiting, err);
        if (rc < 0)
            return -1;
        if (rc == 1)
            *next_us_out = requests->now_us;
    }
    return got;
}

int requests_next(struct people_txn *txn, int64_t *next_us_out, struct err *err)
{
    struct people_request waiting;
    uint64_t              after = PEOPLE_REQUEST_NONE;
    int                   got;

    *next_us_out = REQUESTS_NEVER;
    while ((got = people_request_next(txn, after, &waiting, err)) == 1) {
        after = waiting.number;
        if (waiting.due_us < *next_us_out)
            *next_us_out = waiting.due_us;
    }
    return got;
}

/* --- events that are too old ------------------------------------------------------------------- */

static int expire_project(const struct requests *requests, const struct catalog_project *project, int64_t day, struct err *err)
{
    struct row row;

    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_ID, day);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, project->id);
    row_set_text(&row, ROW_RECEIPT_KIND, SPAN("expire"));
    row_set_text(&row, ROW_RECEIPT_STATE, SPAN("asked"));
    row_set_text(&row, ROW_RECEIPT_ASKED_BY, SPAN("retention_days"));
    row_set_i64(&row, ROW_RECEIPT_ASKED_AT, requests->now_us);
    row_set_i64(&row, ROW_RECEIPT_DUE_AT, (day - (int64_t)project->retention_days) * TIME_US_DAY); /* what is older goes */
    row_set_i64(&row, ROW_RECEIPT_VERSION, RECEIPT_ASKED);
    return requests->sink(requests->sink_ctx, &row, err);
}

int requests_expire(const struct requests *requests, struct people_txn *txn, const struct catalog_snapshot *catalog,
                    int64_t *next_us_in_out, struct err *err)
{
    const struct catalog_project *projects;
    size_t                        count = catalog_snapshot_projects(catalog, &projects);
    int64_t                       today = requests->now_us / TIME_US_DAY, last;
    bool                          follows;

    if (requests->unit != 0)
        return 0;
    if (people_expired_day_get(txn, &last, err) < 0)
        return -1;
    follows = last == today - 1;
    if (follows && requests->wait_us > 0) {
        if (requests->now_us + requests->wait_us < *next_us_in_out)
            *next_us_in_out = requests->now_us + requests->wait_us;
        return 0;
    }
    if (last < today || last > today + 1) {
        for (size_t i = 0; follows && i < count; i++)
            if (projects[i].retention_days > 0 && expire_project(requests, &projects[i], today, err) < 0)
                return -1;
        last = follows ? today : today + 1;
        if (people_expired_day_put(txn, last, err) < 0)
            return -1;
    }
    if ((last + 1) * TIME_US_DAY < *next_us_in_out)
        *next_us_in_out = (last + 1) * TIME_US_DAY;
    return 0;
}

bool requests_expiry_wanted(const struct catalog_snapshot *catalog)
{
    const struct catalog_project *projects;
    size_t                        count = catalog_snapshot_projects(catalog, &projects);

    for (size_t i = 0; i < count; i++)
        if (projects[i].retention_days > 0)
            return true;
    return false;
}

/* --- the log ----------------------------------------------------------------------------------- */

struct log_done {
    const struct requests *requests;
    uint64_t               below, records;
};

static int tell_log_done(void *ctx, const struct people_erasing *erasing, struct err *err)
{
    const struct log_done *done = ctx;
    struct row             row;
    char                   text[64];

    if (!erasing->is_person || erasing->number >= done->below)
        return 0;
    (void)snprintf(text, sizeof text, "%" PRIu64 " records of the log were emptied", done->records);
    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_ID, (int64_t)erasing->number);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, erasing->project);
    row_set_text(&row, ROW_RECEIPT_KIND, SPAN("erase_log"));
    row_set_text(&row, ROW_RECEIPT_STATE, done->requests->log_stays ? SPAN("left to retention") : SPAN("done"));
    row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, erasing->uuid);
    row_set_i64(&row, ROW_RECEIPT_DONE_AT, done->requests->now_us);
    row_set_text(&row, ROW_RECEIPT_DETAIL,
                 done->requests->log_stays ? SPAN("what Kafka's topics hold goes when their retention ends") : span_text(text));
    row_set_i64(&row, ROW_RECEIPT_VERSION, RECEIPT_ASKED);
    return done->requests->sink(done->requests->sink_ctx, &row, err);
}

int requests_log_done(const struct requests *requests, struct people_txn *txn, uint64_t below, uint64_t records,
                      struct err *err)
{
    struct log_done done = { requests, below, records };

    return people_erasing_each(txn, tell_log_done, &done, err) < 0 || people_erasing_end(txn, below, err) < 0 ? -1 : 0;
}
