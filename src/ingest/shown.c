/* ingest/shown.c - see shown.h.
 *
 * What names a row is kept as a hash of 128 bits with a secret of this opening: no stranger can make a row of his name another one, and
 * by chance it does not happen. Nothing is taken out of the table before all of it goes: a batch that fails has nothing to put back, and
 * an event comes once. */
#include "ingest/shown.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"
#include "base/say.h"
#include "people/again.h"

enum { SLOTS_FIRST = 1 << 12, WAIT_US = 1000000 };
#define ANSWER_US ((int64_t)60 * 1000000) /* rows that a mark has shown come within that, or it is tried again */
#define MESSAGE_OFFSETS ((uint64_t)1 << 20) /* of one message in a topic with many writers (log/kafka_frame.h) */

struct entry { XXH128_hash_t key; uint64_t version; bool used; };

struct shown {
    uint64_t      seed, count, slots; /* slots: a power of two */
    struct entry *entries;
    uint64_t      events; /* rows of the batch in hand that are there */
};

/* --- what names a row --------------------------------------------------------------------------- */

#define COLUMN(column) ((uint64_t)1 << (column))
#define EVERY UINT64_MAX

static const uint64_t names[ROW_TABLE_COUNT] = { /* 0: nothing, each is another one */
    [ROW_EVENT] = COLUMN(ROW_EVENT_TEAM_ID) | COLUMN(ROW_EVENT_UUID),
    [ROW_DEAD_LETTER] = COLUMN(ROW_DEAD_LETTER_RAW_OFFSET),
    [ROW_HEATMAP] = EVERY,
    [ROW_WARNING] = EVERY & ~COLUMN(ROW_WARNING_TIMESTAMP),
    [ROW_PERSON] = COLUMN(ROW_PERSON_TEAM_ID) | COLUMN(ROW_PERSON_ID),
    [ROW_DISTINCT] = COLUMN(ROW_DISTINCT_TEAM_ID) | COLUMN(ROW_DISTINCT_DISTINCT_ID),
    [ROW_GROUP] = COLUMN(ROW_GROUP_TEAM_ID) | COLUMN(ROW_GROUP_TYPE_INDEX) | COLUMN(ROW_GROUP_KEY),
};

static bool row_named(const struct row *row)
{
    if (row->table == ROW_WARNING)
        return !row->cells[ROW_WARNING_EVENT_UUID].null; /* one that is nobody's may well come again */
    return names[row->table] != 0;
}

static XXH128_hash_t row_name(const struct shown *shown, const struct row *row)
{
    const struct row_table_info *info = &row_tables[row->table];
    XXH3_state_t                 state = { .seed = 0 };
    uint64_t                     number = (uint64_t)row->table;

    (void)XXH3_128bits_reset_withSeed(&state, shown->seed);
    (void)XXH3_128bits_update(&state, &number, sizeof number);
    for (size_t i = 0; i < info->column_count; i++) {
        const struct row_cell *cell = &row->cells[i];
        struct span            bytes = span_of(&cell->i64, sizeof cell->i64);

        if ((names[row->table] >> i & 1) == 0)
            continue;
        if (info->columns[i].type == ROW_UUID)
            bytes = span_of(cell->uuid.bytes, sizeof cell->uuid.bytes);
        else if (info->columns[i].type == ROW_TEXT || info->columns[i].type == ROW_JSON)
            bytes = cell->text;
        number = cell->null ? UINT64_MAX : bytes.bytes;
        (void)XXH3_128bits_update(&state, &number, sizeof number);
        if (!cell->null && bytes.bytes > 0)
            (void)XXH3_128bits_update(&state, bytes.at, bytes.bytes);
    }
    return XXH3_128bits_digest(&state);
}

/* --- the table ---------------------------------------------------------------------------------- */

static struct entry *entry_of(const struct shown *shown, XXH128_hash_t key)
{
    for (uint64_t at = key.low64 & (shown->slots - 1);; at = (at + 1) & (shown->slots - 1))
        if (!shown->entries[at].used || XXH128_isEqual(shown->entries[at].key, key))
            return &shown->entries[at];
}

static int grow(struct shown *shown, struct err *err)
{
    struct shown grown = { .seed = shown->seed, .slots = shown->slots == 0 ? SLOTS_FIRST : 2 * shown->slots };

    if (shown->count >= SHOWN_ROWS_MAX)
        return err_set(err, ERR_FULL, "the store of persons lacks the commits of more than %d rows that readers have seen: bring the server back that "
                       "has them; or give the topics another log.topic_prefix, if the store was meant to begin anew", SHOWN_ROWS_MAX);
    grown.entries = calloc(grown.slots, sizeof *grown.entries);
    if (grown.entries == NULL)
        return err_set(err, ERR_FULL, "no memory for what names %llu rows", (unsigned long long)shown->count);
    for (uint64_t i = 0; i < shown->slots; i++)
        if (shown->entries[i].used)
            *entry_of(&grown, shown->entries[i].key) = shown->entries[i];
    free(shown->entries);
    shown->entries = grown.entries;
    shown->slots = grown.slots;
    return 0;
}

static int row_note(struct shown *shown, const struct row *row, uint64_t version, struct err *err)
{
    XXH128_hash_t key = row_name(shown, row);
    struct entry *entry;

    if (shown->count * 2 >= shown->slots && grow(shown, err) < 0)
        return -1;
    entry = entry_of(shown, key);
    if (!entry->used) {
        *entry = (struct entry){ .key = key, .used = true };
        shown->count++;
    }
    if (version > entry->version)
        entry->version = version;
    return 0;
}

static struct shown *shown_new(struct err *err)
{
    struct shown *shown = calloc(1, sizeof *shown);

    if (shown == NULL || getrandom(&shown->seed, sizeof shown->seed, 0) != sizeof shown->seed) {
        free(shown);
        (void)err_set(err, ERR_FULL, "no memory, or no random numbers, for what readers were shown");
        return NULL;
    }
    return shown;
}

void shown_free(struct shown *shown)
{
    if (shown != NULL)
        free(shown->entries);
    free(shown);
}

/* --- reading ------------------------------------------------------------------------------------ */

typedef int row_seen(void *ctx, const struct row *row, struct err *err);

static int chunk_read(struct log_chunk *chunk, uint64_t until, row_seen *seen, void *ctx, struct err *err)
{
    struct span body;
    struct row  row;
    uint64_t    offset;

    while (log_chunk_next(chunk, &offset, &body) && offset < until)
        if (body.bytes > 0 && (row_read(body, &row, err) < 0 || seen(ctx, &row, err) < 0))
            return -1;
    return 0;
}

/* Each row of a topic in [from, until). */
static int rows_each(struct log *log, uint32_t unit, const char *topic, uint64_t from, uint64_t until, row_seen *seen, void *ctx, struct err *err)
{
    int64_t            until_us = clock_mono_us() + ANSWER_US;
    struct log_reader *reader;
    struct log_chunk   chunk;
    int                rc = 0;

    if (from >= until)
        return 0;
    if (log_reader_open(log, topic, unit, from, &reader, err) < 0)
        return err_wrap(err, topic);
    for (uint64_t next = from; rc >= 0 && next < until;) {
        rc = log_reader_next(reader, &chunk, err);
        if (rc == 0 && clock_mono_us() > until_us)
            rc = err_set(err, ERR_RETRY, "%s: rows that were shown do not come", topic);
        if (rc == 0)
            (void)log_reader_wait(reader, WAIT_US);
        if (rc < 1)
            continue;
        next = chunk.base + chunk.count;
        if (chunk.kind == LOG_GAP)
            say(SAY_WARN, "%s/%u: %u rows that were shown are gone (%s): what comes of their events comes again", topic, unit, chunk.count, chunk.why);
        else
            rc = chunk_read(&chunk, until, seen, ctx, err);
        until_us = clock_mono_us() + ANSWER_US;
    }
    log_reader_close(reader);
    return rc < 0 ? err_wrap(err, topic) : 0;
}

/* --- are there any ------------------------------------------------------------------------------ */

int shown_look(struct log *log, uint32_t unit, const struct people_place *place, struct people_place *ahead_out, struct err *err)
{
    struct people_place ahead = *place;
    int                 any = 0;

    for (int i = 0; i < OUTPUT_COUNT; i++) {
        const struct log_marked recorded = { .end = place->output_end[i], .epoch = place->counters[PLACE_EPOCH] };
        struct log_marked       marked;

        if (output_infos[i].topic == NULL)
            continue;
        if (log_marked(log, output_infos[i].topic, unit, &recorded, &marked, err) < 0)
            return err_wrap(err, output_infos[i].topic);
        if (marked.end > recorded.end) {
            ahead.output_end[i] = marked.end;
            any = 1;
        }
        if (marked.epoch > ahead.counters[PLACE_EPOCH])
            ahead.counters[PLACE_EPOCH] = marked.epoch;
    }
    if (any)
        *ahead_out = ahead;
    return any;
}

/* --- mending ------------------------------------------------------------------------------------ */

static bool is_kept(int output)
{
    return output == OUTPUT_EVENTS || output == OUTPUT_DEAD_LETTERS || output == OUTPUT_HEATMAPS || output == OUTPUT_WARNINGS;
}

/* S3, but for the commit. What an earlier loss has left is in the range, too. */
static int place_note(struct log *log, uint32_t unit, const struct people_place *place, struct people_place *ahead, struct err *err)
{
    uint64_t *counters = ahead->counters, moved = ahead->output_end[OUTPUT_RAW_OVERFLOW] - place->output_end[OUTPUT_RAW_OVERFLOW];

    counters[PLACE_SHOWN_AHEAD] += ahead->output_end[OUTPUT_EVENTS] - place->output_end[OUTPUT_EVENTS];
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        if (!is_kept(i))
            continue;
        if (counters[PLACE_SHOWN_UNTIL + i] <= counters[PLACE_SHOWN_FROM + i])
            counters[PLACE_SHOWN_FROM + i] = place->output_end[i];
        counters[PLACE_SHOWN_UNTIL + i] = ahead->output_end[i];
    }
    /* Records that were moved aside come from where they were accepted. Copies that are behind others which wait are met, and
     * deduplicated: so many records more were taken. */
    if (place->input_next[INPUT_OVERFLOW] == place->output_end[OUTPUT_RAW_OVERFLOW])
        ahead->input_next[INPUT_OVERFLOW] = ahead->output_end[OUTPUT_RAW_OVERFLOW];
    else
        counters[PLACE_SPARSE] += moved;
    for (int i = 0; i < INPUT_COUNT; i++) {
        struct log_reader *reader;
        int                rc;

        if (log_reader_open(log, input_topic((enum input)i), unit, 0, &reader, err) < 0)
            return err_wrap(err, input_topic((enum input)i));
        rc = log_reader_end(reader, &counters[PLACE_SHOWN_INPUT + i], err);
        log_reader_close(reader);
        if (rc < 0)
            return err_wrap(err, input_topic((enum input)i));
    }
    return 0;
}

struct mending {
    struct shown      *latest; /* of each thing, the version that was shown last */
    struct people_txn *txn;
    struct outputs    *outputs;
    int64_t            now_us;
};

static uint64_t version_of(const struct row *row)
{
    return (uint64_t)row->cells[row->table == ROW_PERSON ? (int)ROW_PERSON_VERSION : row->table == ROW_DISTINCT ? (int)ROW_DISTINCT_VERSION
                                                                                                            : (int)ROW_GROUP_VERSION].i64;
}

static int version_note(void *ctx, const struct row *row, struct err *err)
{
    struct mending *mending = ctx;

    return row_note(mending->latest, row, version_of(row), err);
}

static int tell(void *ctx, const struct row *row, struct err *err)
{
    struct mending *mending = ctx;

    return outputs_add(mending->outputs, row, mending->now_us, err);
}

static int row_again(void *ctx, const struct row *row, struct err *err)
{
    struct mending *mending = ctx;
    struct entry   *entry = entry_of(mending->latest, row_name(mending->latest, row));

    if (!entry->used || entry->version != version_of(row))
        return 0;
    entry->version = UINT64_MAX; /* once */
    return people_row_again(mending->txn, row, tell, mending, err);
}

int shown_mend(struct log *log, uint32_t unit, struct people *people, struct outputs *outputs, const struct people_place *place,
               struct people_place *ahead, int64_t now_us, struct err *err)
{
    const char    *topic = output_infos[OUTPUT_PEOPLE].topic;
    uint64_t       from = place->output_end[OUTPUT_PEOPLE], until = ahead->output_end[OUTPUT_PEOPLE];
    struct mending mending = { .outputs = outputs, .now_us = now_us };
    int            rc = -1;

    mending.latest = shown_new(err);
    if (mending.latest == NULL || grow(mending.latest, err) < 0 || place_note(log, unit, place, ahead, err) < 0 ||
        rows_each(log, unit, topic, from, until, version_note, &mending, err) < 0 || people_begin(people, true, &mending.txn, err) < 0)
        goto out;
    if (rows_each(log, unit, topic, from, until, row_again, &mending, err) < 0 || outputs_sync(outputs, NULL, now_us, ahead, err) < 0 ||
        people_place_put(mending.txn, ahead, err) < 0) {
        people_abort(mending.txn);
        goto out;
    }
    rc = people_commit(mending.txn, err);
    if (rc == 0)
        outputs_publish(outputs);
out:
    shown_free(mending.latest);
    return rc;
}

/* --- what is kept in mind ----------------------------------------------------------------------- */

static int shown_note(void *ctx, const struct row *row, struct err *err)
{
    return row_named(row) ? row_note(ctx, row, 0, err) : 0;
}

int shown_open(struct log *log, uint32_t unit, const struct people_place *place, struct shown **out, struct err *err)
{
    struct shown *shown = NULL;

    *out = NULL;
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        uint64_t from = place->counters[PLACE_SHOWN_FROM + i], until = place->counters[PLACE_SHOWN_UNTIL + i];

        if (from >= until)
            continue;
        if ((shown == NULL && ((shown = shown_new(err)) == NULL || grow(shown, err) < 0)) ||
            rows_each(log, unit, output_infos[i].topic, from, until, shown_note, shown, err) < 0) {
            shown_free(shown);
            return -1;
        }
    }
    *out = shown;
    return 0;
}

bool shown_has(struct shown *shown, const struct row *row)
{
    if (shown == NULL || !row_named(row) || !entry_of(shown, row_name(shown, row))->used)
        return false;
    shown->events += row->table == ROW_EVENT;
    return true;
}

void shown_begin(struct shown *shown)
{
    if (shown != NULL)
        shown->events = 0;
}

/* A place behind a message's last record is stored as such, and not as the next message: then nothing waits behind it. */
static bool has_passed(const struct inputs *inputs, const struct people_place *place, enum input input)
{
    uint64_t next = place->input_next[input], end = place->counters[PLACE_SHOWN_INPUT + input];

    return next >= end || (end - next < MESSAGE_OFFSETS && inputs->gathers[input].sparse && inputs_lag(inputs, input) == 0);
}

bool shown_settle(const struct shown *shown, const struct inputs *inputs, struct people_place *place)
{
    uint64_t *counters = place->counters;
    bool      passed = true;

    if (shown == NULL)
        return false;
    counters[PLACE_SHOWN_AHEAD] -= shown->events < counters[PLACE_SHOWN_AHEAD] ? shown->events : counters[PLACE_SHOWN_AHEAD];
    for (int i = 0; i < INPUT_COUNT; i++)
        passed = passed && has_passed(inputs, place, (enum input)i);
    if (!passed)
        return false;
    memset(&counters[PLACE_SHOWN_FROM], 0, OUTPUT_COUNT * sizeof *counters);
    memset(&counters[PLACE_SHOWN_UNTIL], 0, OUTPUT_COUNT * sizeof *counters);
    memset(&counters[PLACE_SHOWN_INPUT], 0, INPUT_COUNT * sizeof *counters);
    return true;
}
