/* command/account.c - the equation of fates. */
#include "command/account.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "catalog/catalog.h"
#include "command/catalog_access.h"
#include "command/command.h"
#include "command/config_stores.h"
#include "command/people_access.h"
#include "command/question.h"
#include "event/record.h"
#include "event/row.h"
#include "ingest/fate.h"
#include "ingest/outputs.h"
#include "load/follow.h"
#include "log/log_access.h"

int account_log_open(const char *data, struct log **out, struct err *err)
{
    static struct log_access access; /* of the one log that a command has open; the settings are the same each time */
    const struct stores     *stores;
    struct stat              found;

    if (data_check(data, err) < 0 || command_stores(data, &stores, err) < 0 ||
        log_access_init(&access, data, &stores->log, NULL, false, err) < 0)
        return -1;
    if (access.options.kafka == NULL && stat(access.folder, &found) < 0)
        return err_set(err, ERR_RETRY, "%.200s has no log yet: nothing was served here", data);
    return log_open(&access.options, out, err);
}

int account_place(const char *data, struct people_place *out, struct err *err)
{
    struct people_access access;
    int                  rc = command_people_begin(data, &access, err);

    *out = (struct people_place){ .input_next = { 0 } };
    if (rc > 0)
        rc = people_place_get(access.txn, out, err);
    command_people_end(&access);
    return rc;
}

/* What the warehouse has taken, in one look: rows that its table events ever got, and where it stands in
 * each of ingest's output topics (its numbering is ingest's). */
struct taken {
    uint64_t events;
    uint64_t next[OUTPUT_COUNT];
};

static int taken_read(const char *data, struct taken *out, struct err *err)
{
    struct buf answer;
    char      *at;
    char       nexts[OUTPUT_COUNT * sizeof ", sum(next_0)"], sql[sizeof nexts + 60];
    bool       units; /* a row a partition */
    uint64_t   values[1 + OUTPUT_COUNT];
    int        rc;

    *out = (struct taken){ .events = 0 };
    if (!question_possible(data))
        return 0;
    buf_init(&answer, 1 << 16);
    units = question_to_clickhouse(data);
    for (int i = 0, used = 0; i < OUTPUT_COUNT; i++)
        used += snprintf(nexts + used, sizeof nexts - (size_t)used, units ? ", sum(next_%d)" : ", next_%d", i);
    (void)snprintf(sql, sizeof sql, "SELECT %s%s FROM penstock_place", units ? "sum(events)" : "events", nexts);
    rc = question_json(data, sql, &answer, err);
    buf_add_byte(&answer, '\0');
    at = (char *)answer.at;
    for (size_t i = 0; rc == 0 && i < sizeof values / sizeof *values; i++) {
        at = strstr(at, "\":");
        if (at == NULL)
            rc = err_set(err, ERR_CORRUPT, "the warehouse does not say how many rows it loaded");
        else
            values[i] = strtoull(at + 2, &at, 10);
    }
    buf_fini(&answer);
    if (rc < 0)
        return -1;
    out->events = values[0];
    memcpy(out->next, values + 1, sizeof out->next);
    return 0;
}

/* Where each topic that ingest reads ends. */
static int input_ends(const char *data, uint64_t ends[INPUT_COUNT], struct err *err)
{
    struct log        *log;
    struct log_reader *reader;
    int                rc = 0;

    memset(ends, 0, INPUT_COUNT * sizeof *ends);
    if (account_log_open(data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    for (int i = 0; i < INPUT_COUNT && rc == 0; i++) {
        rc = log_reader_open(log, input_topic((enum input)i), 0, 0, &reader, err);
        if (rc == 0) {
            ends[i] = log_reader_end(reader);
            log_reader_close(reader);
        }
    }
    log_close(log);
    return rc;
}

/* What people did about letters; zeros when there is no catalog. It is no part of the sum: a replayed letter stays
 * dead-lettered, and what was sent for it is an accepted event of its own. */
static int letters_read(const char *data, struct account *out, struct err *err)
{
    struct catalog *catalog;
    int             rc;

    if (!command_catalog_there(data))
        return 0;
    if (command_catalog_of(data, &catalog, err) < 0)
        return -1;
    rc = catalog_letter_counts(catalog, &out->letters_replayed, &out->letters_discarded, err);
    catalog_close(catalog);
    return rc;
}

uint64_t account_letters_open(const struct account *account)
{
    uint64_t done = account->letters_replayed + account->letters_discarded;

    return account->dead_lettered > done ? account->dead_lettered - done : 0;
}

/* ends: of the inputs, read after ingest's place was; moved records are told by the place, which says which
 * of them count. */
static int account_lanes(struct account *account, const uint64_t ends[INPUT_COUNT], struct err *err)
{
    const struct people_place *place = &account->place;

    for (int i = 0; i < INPUT_COUNT; i++) {
        uint64_t end = i == INPUT_OVERFLOW ? place->output_end[OUTPUT_RAW_OVERFLOW] : ends[i];

        if (end < place->input_next[i])
            return err_set(err, ERR_CORRUPT, "the stores do not belong together: %s ends at %" PRIu64 ", ingest is at %" PRIu64,
                           input_topic((enum input)i), end, place->input_next[i]);
        account->lane_lag[i] = end - place->input_next[i];
    }
    account->accepted = ends[INPUT_RAW] + ends[INPUT_HISTORICAL];
    account->ingest_lag = account->lane_lag[INPUT_RAW] + account->lane_lag[INPUT_HISTORICAL] + account->lane_lag[INPUT_OVERFLOW];
    return 0;
}

/* `$$heatmap` events whose last row the warehouse has not taken: their only trace is that row. */
static int heatmaps_waiting(const char *data, uint64_t from, uint64_t end, uint64_t *out, struct err *err)
{
    struct log        *log;
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    struct row         row;
    struct err         ignored;
    uint64_t           offset = from;
    int                more = 1;

    *out = 0;
    if (from >= end)
        return 0;
    if (account_log_open(data, &log, err) < 0)
        return -1;
    if (log_reader_open(log, "heatmaps", 0, from, &reader, err) < 0) {
        log_close(log);
        return -1;
    }
    while (more > 0 && offset + 1 < end) {
        more = log_reader_next(reader, &chunk, err);
        while (more > 0 && chunk.kind != LOG_GAP && log_chunk_next(&chunk, &offset, &body) && offset < end)
            *out += row_read(body, &row, &ignored) == 0 && row.table == ROW_HEATMAP && !row.cells[ROW_HEATMAP_EVENT_UUID].null;
    }
    log_reader_close(reader);
    log_close(log);
    return more < 0 ? -1 : 0;
}

int account_read(const char *data, struct account *out, struct err *err)
{
    const uint64_t *ends = out->place.output_end;
    struct taken    taken;
    uint64_t        emitted, waiting, inputs[INPUT_COUNT];

    *out = (struct account){ .accepted = 0 };
    if (data_check(data, err) < 0 || taken_read(data, &taken, err) < 0 || account_place(data, &out->place, err) < 0 ||
        input_ends(data, inputs, err) < 0 || account_lanes(out, inputs, err) < 0 || letters_read(data, out, err) < 0)
        return -1;
    emitted = out->place.counters[FATE_STORED];
    if (taken.next[OUTPUT_EVENTS] < taken.events || ends[OUTPUT_EVENTS] < taken.next[OUTPUT_EVENTS] ||
        emitted != ends[OUTPUT_EVENTS])
        return err_set(err, ERR_CORRUPT, "the stores do not belong together: %" PRIu64 " events were finished, of %" PRIu64
                       " rows; the warehouse took %" PRIu64 " and has %" PRIu64, emitted, ends[OUTPUT_EVENTS],
                       taken.next[OUTPUT_EVENTS], taken.events);
    if (heatmaps_waiting(data, taken.next[OUTPUT_HEATMAPS], ends[OUTPUT_HEATMAPS], &waiting, err) < 0)
        return -1;
    waiting = waiting < out->place.counters[FATE_HEATMAP] ? waiting : out->place.counters[FATE_HEATMAP];
    out->stored = taken.events + out->place.counters[FATE_HEATMAP] - waiting;
    out->deduplicated = fate_sum(&out->place, FATE_CLASS_DEDUPLICATED);
    /* What load took and could not store stands in the table dead_letters (or was lost in the log, and named). */
    out->dead_lettered = fate_sum(&out->place, FATE_CLASS_DEAD_LETTERED) + taken.next[OUTPUT_EVENTS] - taken.events;
    out->dropped = fate_sum(&out->place, FATE_CLASS_DROPPED);
    for (size_t i = 0; i < OUTPUT_COUNT && i < FOLLOW_TOPICS; i++)
        if (follow_topics[i] != NULL)
            out->load_lag += ends[i] > taken.next[i] ? ends[i] - taken.next[i] : 0;
    out->pending = out->ingest_lag + ends[OUTPUT_EVENTS] - taken.next[OUTPUT_EVENTS] + waiting;
    return 0;
}
