/* ingest/log_eraser.c - see log_eraser.h. The ids of a walk are kept in memory, in a table by hash: each record of the
 * log is asked once. */
#include "ingest/log_eraser.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/say.h"
#include "event/record.h"
#include "event/row.h"
#include "ingest/inputs.h"
#include "people/batch.h"
#include "wire/json.h"

enum { TEXTS_BYTES_MAX = 1 << 30, DETAILS_BYTES_MAX = 32 << 20 };

enum kind { KIND_RECORD, KIND_MOVED, KIND_ROW, KIND_CONTROL };

static const struct walked {
    const char *topic, *consumer;
    enum kind   kind;
} topics[] = {
    { "raw", "ingest", KIND_RECORD },          { "raw_historical", "ingest", KIND_RECORD },
    { "raw_overflow", "ingest", KIND_MOVED },  { "events", "load", KIND_ROW },
    { "people", "load", KIND_ROW },            { "warnings", "load", KIND_ROW },
    { "dead_letters", "load", KIND_ROW },      { "heatmaps", "load", KIND_ROW },
    { "control", "ingest", KIND_CONTROL },
};
enum { TOPICS = sizeof topics / sizeof *topics };

struct erased_id {
    uint64_t hash, version;
    uint32_t project;
    bool     is_person, used;
    bool     merged;    /* a person that was merged into an erased one: rows of it go, events name their own ids */
    size_t   at, bytes; /* of texts */
};

struct log_eraser {
    struct log       *log;
    bool              walking;
    uint64_t          below;           /* numbers of this walk */
    uint64_t          from[TOPICS], end[TOPICS];
    bool              done[TOPICS];
    uint64_t          records;
    struct erased_id *ids;             /* open table */
    size_t            id_count, id_mask; /* slots - 1 */
    struct buf        texts;
    struct people_txn *txn;            /* while they are read */
    struct arena     *arena;           /* of a warning's details */
    const struct catalog_snapshot *catalog;
    enum kind         kind;            /* of the topic in work */
    struct err        newer;           /* a row of it that only a newer Penstock can read; kind ERR_NONE: none */
};

int log_eraser_new(struct log *log, struct log_eraser **out, struct err *err)
{
    struct log_eraser *eraser = calloc(1, sizeof *eraser);

    if (eraser == NULL)
        return err_set(err, ERR_FULL, "no memory");
    eraser->log = log;
    eraser->arena = arena_new(1 << 16, DETAILS_BYTES_MAX);
    buf_init(&eraser->texts, TEXTS_BYTES_MAX);
    if (eraser->arena == NULL) {
        log_eraser_free(eraser);
        return err_set(err, ERR_FULL, "no memory");
    }
    *out = eraser;
    return 0;
}

void log_eraser_free(struct log_eraser *eraser)
{
    if (eraser == NULL)
        return;
    free(eraser->ids);
    buf_fini(&eraser->texts);
    arena_free(eraser->arena);
    free(eraser);
}

/* --- who was erased ---------------------------------------------------------------------------- */

static uint64_t hash_of(uint32_t project, bool is_person, struct span text)
{
    return XXH3_64bits_withSeed(text.bytes > 0 ? (const void *)text.at : "", text.bytes, (uint64_t)project << 1 | is_person);
}

static struct erased_id *slot_of(const struct log_eraser *eraser, uint64_t hash, uint32_t project, bool is_person,
                                 struct span text)
{
    size_t slot = hash & eraser->id_mask;

    for (;; slot = (slot + 1) & eraser->id_mask) {
        struct erased_id *id = &eraser->ids[slot];

        if (!id->used || (id->hash == hash && id->project == project && id->is_person == is_person &&
                          span_equal(span_of(eraser->texts.at + id->at, id->bytes), text)))
            return id;
    }
}

static int table_grow(struct log_eraser *eraser, struct err *err)
{
    size_t            slots = eraser->ids == NULL ? 256 : 2 * (eraser->id_mask + 1);
    struct erased_id *old = eraser->ids, *more = calloc(slots, sizeof *more);
    size_t            old_slots = old == NULL ? 0 : eraser->id_mask + 1;

    if (more == NULL)
        return err_set(err, ERR_FULL, "no memory for %zu erased ids", eraser->id_count);
    eraser->ids = more;
    eraser->id_mask = slots - 1;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].used)
            *slot_of(eraser, old[i].hash, old[i].project, old[i].is_person,
                     span_of(eraser->texts.at + old[i].at, old[i].bytes)) = old[i];
    free(old);
    return 0;
}

static int id_put(struct log_eraser *eraser, uint32_t project, bool is_person, bool merged, struct span text, uint64_t version, struct err *err)
{
    uint64_t          hash = hash_of(project, is_person, text);
    struct erased_id *id;

    if ((eraser->ids == NULL || 2 * (eraser->id_count + 1) > eraser->id_mask) && table_grow(eraser, err) < 0)
        return -1;
    id = slot_of(eraser, hash, project, is_person, text);
    if (!id->used) {
        *id = (struct erased_id){ .hash = hash, .project = project, .is_person = is_person, .used = true, .merged = merged,
                                  .at = eraser->texts.bytes, .bytes = text.bytes };
        buf_add(&eraser->texts, text);
        eraser->id_count++;
    }
    id->merged = id->merged && merged;
    if (version > id->version)
        id->version = version;
    return eraser->texts.failed ? err_set(err, ERR_FULL, "no memory for erased ids") : 0;
}

/* An id was perhaps a person of its own, before that was merged into the erased one: its uuid follows from the id. Up to its
 * tombstone no row of it counts, whoever it is today. */
static int merged_put(struct log_eraser *eraser, uint32_t project, struct span distinct_id, struct err *err)
{
    struct uuid uuid = people_person_uuid(project, distinct_id);
    uint64_t    begins;

    if (people_person_version(eraser->txn, project, &uuid, &begins, err) < 0)
        return -1;
    return begins == 0 ? 0 : id_put(eraser, project, true, true, span_of(uuid.bytes, 16), begins - 1, err);
}

static int id_add(void *ctx, const struct people_erasing *erasing, struct err *err)
{
    struct log_eraser *eraser = ctx;
    struct span        text = erasing->is_person ? span_of(erasing->uuid.bytes, 16) : erasing->distinct_id;

    if (erasing->number + 1 > eraser->below)
        eraser->below = erasing->number + 1;
    if (id_put(eraser, erasing->project, erasing->is_person, false, text, erasing->version, err) < 0)
        return -1;
    return erasing->is_person ? 0 : merged_put(eraser, erasing->project, text, err);
}

/* NULL: not one of them. */
static const struct erased_id *find(const struct log_eraser *eraser, uint32_t project, bool is_person, struct span text)
{
    const struct erased_id *id = slot_of(eraser, hash_of(project, is_person, text), project, is_person, text);

    return id->used ? id : NULL;
}

static bool is_erased(const struct log_eraser *eraser, uint32_t project, struct span distinct_id)
{
    return find(eraser, project, false, distinct_id) != NULL;
}

/* --- which records ----------------------------------------------------------------------------- */

static bool record_wanted(const struct log_eraser *eraser, struct span body)
{
    const struct catalog_project *project;
    struct record                 record;
    struct err                    why;

    if (record_read(body, &record, &why) < 0)
        return false;
    if (record.project == 0) {
        project = catalog_snapshot_find(eraser->catalog, record.token);
        record.project = project == NULL ? 0 : project->id;
    }
    return is_erased(eraser, record.project, record.distinct_id);
}

static bool details_wanted(struct log_eraser *eraser, uint32_t project, struct span details)
{
    static const char *const names[] = { "distinctId", "sourcePersonDistinctId", "targetPersonDistinctId", "illegalDistinctId",
                                         "otherDistinctId" };
    struct json_members members;
    struct err          why;

    arena_reset(eraser->arena);
    if (json_members_read(details, eraser->arena, &members, &why) < 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct json_member *member = json_members_find(&members, span_text(names[i]));
        struct span               text = { NULL, 0 };

        if (member != NULL && member->value.kind == JSON_STRING)
            text = json_text(&member->value, eraser->arena);
        if (text.at != NULL && is_erased(eraser, project, text))
            return true;
    }
    return false;
}

static bool cell_erased(const struct log_eraser *eraser, uint32_t project, const struct row_cell *cell)
{
    return !cell->null && is_erased(eraser, project, cell->text);
}

static bool row_wanted(struct log_eraser *eraser, struct span body)
{
    const struct erased_id *id;
    struct row              row;
    struct err              why;

    if (row_read(body, &row, &why) < 0) {
        if (why.kind == ERR_RETRY)
            eraser->newer = why;
        return false;
    }
    switch (row.table) {
    case ROW_EVENT:
        return cell_erased(eraser, (uint32_t)row.cells[ROW_EVENT_TEAM_ID].i64, &row.cells[ROW_EVENT_DISTINCT_ID]) ||
               (!row.cells[ROW_EVENT_PERSON_ID].null &&
                (id = find(eraser, (uint32_t)row.cells[ROW_EVENT_TEAM_ID].i64, true,
                           span_of(row.cells[ROW_EVENT_PERSON_ID].uuid.bytes, 16))) != NULL && !id->merged);
    case ROW_PERSON:
        id = find(eraser, (uint32_t)row.cells[ROW_PERSON_TEAM_ID].i64, true, span_of(row.cells[ROW_PERSON_ID].uuid.bytes, 16));
        return id != NULL && (uint64_t)row.cells[ROW_PERSON_VERSION].i64 <= id->version;
    case ROW_DISTINCT:
        id = find(eraser, (uint32_t)row.cells[ROW_DISTINCT_TEAM_ID].i64, false, row.cells[ROW_DISTINCT_DISTINCT_ID].text);
        return id != NULL && (uint64_t)row.cells[ROW_DISTINCT_VERSION].i64 <= id->version;
    case ROW_WARNING:
        return cell_erased(eraser, (uint32_t)row.cells[ROW_WARNING_TEAM_ID].i64, &row.cells[ROW_WARNING_DISTINCT_ID]) ||
               (!row.cells[ROW_WARNING_DETAILS].null &&
                details_wanted(eraser, (uint32_t)row.cells[ROW_WARNING_TEAM_ID].i64, row.cells[ROW_WARNING_DETAILS].text));
    case ROW_DEAD_LETTER:
        return cell_erased(eraser, (uint32_t)row.cells[ROW_DEAD_LETTER_TEAM_ID].i64, &row.cells[ROW_DEAD_LETTER_DISTINCT_ID]);
    case ROW_HEATMAP:
        return cell_erased(eraser, (uint32_t)row.cells[ROW_HEATMAP_TEAM_ID].i64, &row.cells[ROW_HEATMAP_DISTINCT_ID]);
    default:
        return false;
    }
}

static bool control_wanted(const struct log_eraser *eraser, struct span body)
{
    struct control control;
    struct span    distinct_id;
    struct err     why;
    size_t         at = 0;

    if (control_read(body, &control, &why) < 0)
        return false;
    while (control_id(&control, &at, &distinct_id))
        if (is_erased(eraser, control.project, distinct_id))
            return true;
    return false;
}

static bool wanted(void *ctx, uint64_t offset, struct span body)
{
    struct log_eraser  *eraser = ctx;
    struct record_moved moved;
    struct err          why;

    (void)offset;
    switch (eraser->kind) {
    case KIND_RECORD: return record_wanted(eraser, body);
    case KIND_MOVED: return record_moved_read(body, &moved, &why) == 0 && record_wanted(eraser, moved.body);
    case KIND_ROW: return row_wanted(eraser, body);
    case KIND_CONTROL: return control_wanted(eraser, body);
    }
    return false;
}

/* --- the walk ---------------------------------------------------------------------------------- */

static int walk_begin(struct log_eraser *eraser, struct people *people, struct err *err)
{
    struct people_txn *txn;
    int                rc;

    eraser->below = 0;
    eraser->records = 0;
    eraser->id_count = 0;
    buf_reset(&eraser->texts);
    if (eraser->ids != NULL)
        memset(eraser->ids, 0, (eraser->id_mask + 1) * sizeof *eraser->ids);
    if (people_begin(people, false, &txn, err) < 0)
        return -1;
    eraser->txn = txn;
    rc = people_erasing_each(txn, id_add, eraser, err);
    eraser->txn = NULL;
    people_abort(txn);
    if (rc < 0 || eraser->id_count == 0)
        return rc;
    for (size_t i = 0; i < TOPICS; i++) {
        struct log_reader *reader;

        if (log_reader_open(eraser->log, topics[i].topic, 0, 0, &reader, err) < 0)
            return -1;
        rc = log_reader_end(reader, &eraser->end[i], err);
        log_reader_close(reader);
        if (rc < 0)
            return -1;
        eraser->from[i] = 0;
        eraser->done[i] = eraser->end[i] == 0;
        if (!eraser->done[i] && log_roll_ask(eraser->log, topics[i].topic, 0, err) < 0)
            return -1;
    }
    eraser->walking = true;
    return 0;
}

/* One segment of a topic. 1: something was done; 0: it has to wait. */
static int topic_step(struct log_eraser *eraser, size_t i, struct err *err)
{
    struct log_erased erased;
    uint64_t          consumed = 0;

    if (log_cursor_load(eraser->log, topics[i].topic, 0, topics[i].consumer, &consumed, err) < 0)
        return -1;
    if (consumed < eraser->end[i])
        return 0;
    if (topics[i].kind == KIND_CONTROL && inputs_settle_control(eraser->log, err) < 0)
        return -1;
    eraser->kind = topics[i].kind;
    eraser->newer = (struct err){ .kind = ERR_NONE };
    if (log_erase(eraser->log, topics[i].topic, 0, eraser->from[i], eraser->end[i], 1, wanted, eraser, &erased, err) < 0)
        return -1;
    eraser->records += erased.records;
    if (eraser->newer.kind != ERR_NONE) { /* whose it is cannot be said here: not done */
        *err = eraser->newer;
        return err_wrap(err, topics[i].topic);
    }
    eraser->done[i] = erased.done_below >= eraser->end[i];
    if (erased.done_below <= eraser->from[i])
        return eraser->done[i];
    eraser->from[i] = erased.done_below;
    return 1;
}

int log_eraser_step(struct log_eraser *eraser, struct people *people, const struct catalog_snapshot *catalog,
                    uint64_t *below_out, uint64_t *records_out, struct err *err)
{
    bool all = true;
    int  rc = 0;

    if (!eraser->walking && walk_begin(eraser, people, err) < 0)
        return -1;
    if (!eraser->walking)
        return 0;
    eraser->catalog = catalog;
    for (size_t i = 0; i < TOPICS && rc == 0; i++)
        if (!eraser->done[i])
            rc = topic_step(eraser, i, err);
    for (size_t i = 0; i < TOPICS; i++)
        all = all && eraser->done[i];
    if (rc < 0 || !all)
        return rc < 0 ? -1 : 0;
    eraser->walking = false;
    *below_out = eraser->below;
    *records_out = eraser->records;
    return 1;
}

void log_eraser_chore(struct log_eraser *eraser, struct people *people, const struct catalog_snapshot *catalog,
                      uint64_t *below_out, uint64_t *records_out)
{
    static struct say_gate gate;
    struct err             err = { .kind = ERR_NONE };

    if (log_eraser_step(eraser, people, catalog, below_out, records_out, &err) < 0)
        say_seldom(&gate, SAY_WARN, "what was erased is still in the log; trying again: %s", err.text);
}
