/* command/account.c - the equation of fates. */
#include "command/account.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "command/account_letters.h"
#include "command/account_spool.h"
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

int account_place(const char *data, uint32_t unit, struct people_place *out, struct err *err)
{
    struct people_access access;
    int                  rc = command_people_begin_unit(data, unit, &access, err);

    *out = (struct people_place){ .input_next = { 0 } };
    if (rc > 0)
        rc = people_place_get(access.txn, out, err);
    command_people_end(&access);
    return rc;
}

static int taken_values(char *at, struct taken *taken, uint32_t units, struct err *err)
{
    uint64_t values[2 + TAKEN_TOPICS];

    at = strchr(at, '\n'); /* the names of the columns */
    for (at = at == NULL ? NULL : at + 1; at != NULL && *at != '\0'; at = strchr(at, '\n'), at = at == NULL ? NULL : at + 1) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            char *end;

            values[i] = strtoull(at, &end, 10);
            if (end == at)
                return err_set(err, ERR_CORRUPT, "the warehouse does not say how many rows it loaded: %.60s", at);
            at = *end == ',' ? end + 1 : end;
        }
        if (values[0] >= units)
            return err_set(err, ERR_CORRUPT, "the warehouse has rows of unit %" PRIu64 ", and there are %u (log.partitions)", values[0],
                           units);
        taken[values[0]].events = values[1];
        memcpy(taken[values[0]].next, values + 2, sizeof taken->next);
    }
    return 0;
}

int account_taken(const char *data, struct taken *taken, uint32_t units, struct err *err)
{
    struct buf answer;
    char       nexts[TAKEN_TOPICS * sizeof ", next_0"], sql[sizeof nexts + 60];
    int        rc;

    memset(taken, 0, units * sizeof *taken);
    if (!question_possible(data))
        return 0;
    buf_init(&answer, 1 << 24);
    for (int i = 0, used = 0; i < TAKEN_TOPICS; i++)
        used += snprintf(nexts + used, sizeof nexts - (size_t)used, ", next_%d", i);
    (void)snprintf(sql, sizeof sql, "SELECT %s, events%s FROM penstock_place", question_to_clickhouse(data) ? "unit" : "0 AS unit", nexts);
    rc = question_csv(data, sql, &answer, err);
    buf_add_byte(&answer, '\0');
    if (rc == 0)
        rc = taken_values((char *)answer.at, taken, units, err);
    buf_fini(&answer);
    return rc;
}

/* On Kafka what is there may not have come yet: it is waited for, as long as something is known to be there. Rows that were committed
 * a moment ago are not: their mark comes after the commit, and the log counts only what a mark covers. A partition whose leader
 * moves, or brokers that are slow, are waited for as long. */
int account_reader_next(struct log_reader *reader, uint64_t from, uint64_t known, struct log_chunk *out, struct err *err)
{
    enum { WAIT_US = 100000, WAIT_US_MAX = 5000000 };
    int64_t until_us = clock_mono_us() + WAIT_US_MAX;

    for (;;) {
        int more = log_reader_next(reader, out, err);

        if (more > 0 || (more < 0 && err->kind != ERR_RETRY) || (more == 0 && from >= known && log_reader_lag(reader, from) == 0) ||
            clock_mono_us() > until_us)
            return more;
        (void)log_reader_wait(reader, WAIT_US);
    }
}

/* Records of an input with many writers that ingest has not taken. Where ingest stands is mostly in the middle of a message, and only
 * who reads that knows what of it is left; of many more than are worth reading an estimate will do. */
static int sparse_waiting(struct log *log, const char *topic, uint32_t unit, uint64_t from, uint64_t *out, struct err *err)
{
    enum { EXACT_MAX = 20000 };
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    uint64_t           offset = from, found = 0;
    int                more = 1;

    if (log_reader_open(log, topic, unit, from, &reader, err) < 0)
        return -1;
    while (more > 0 && found < EXACT_MAX) {
        more = account_reader_next(reader, found == 0 ? from : offset + 1, 0, &chunk, err);
        while (more > 0 && chunk.kind != LOG_GAP && log_chunk_next(&chunk, &offset, &body))
            found++;
    }
    *out = found + (more < 0 ? 0 : log_reader_lag(reader, found == 0 ? from : offset + 1)); /* also what did not come in time */
    log_reader_close(reader);
    return more < 0 ? -1 : 0;
}

/* What waits in each input of a unit, and where the inputs end: with many writers (Kafka) no count says that. The reader is
 * behind ingest's place, which was read before. */
static int inputs_read(struct log *log, uint32_t unit, const struct people_place *place, struct account *out, struct err *err)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        const char        *topic = input_topic((enum input)i);
        struct log_reader *reader;
        uint64_t           end = place->output_end[OUTPUT_RAW_OVERFLOW], lag;
        int                rc;

        if (log_sparse(log, topic)) {
            if (sparse_waiting(log, topic, unit, place->input_next[i], &lag, err) < 0)
                return -1;
            out->lane_lag[i] += lag;
            continue;
        }
        if (i != INPUT_OVERFLOW) { /* of moved records the place says which of them count */
            if (log_reader_open(log, topic, unit, 0, &reader, err) < 0)
                return -1;
            rc = log_reader_end(reader, &end, err);
            log_reader_close(reader);
            if (rc < 0)
                return -1;
        }
        if (end < place->input_next[i])
            return err_set(err, ERR_CORRUPT, "the stores do not belong together: %s ends at %" PRIu64 ", ingest is at %" PRIu64
                           "; after a power cut this is so until capture and ingest have started", topic, end, place->input_next[i]);
        out->lane_lag[i] += end - place->input_next[i];
        out->accepted += i == INPUT_RAW || i == INPUT_HISTORICAL ? end : 0;
    }
    return 0;
}

/* `$$heatmap` events whose last row the warehouse has not taken: their only trace is that row. */
static int heatmaps_waiting(struct log *log, uint32_t unit, uint64_t from, uint64_t end, uint64_t *out, struct err *err)
{
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
    if (log_reader_open(log, "heatmaps", unit, from, &reader, err) < 0)
        return -1;
    while (more > 0 && offset + 1 < end) {
        more = account_reader_next(reader, offset, end, &chunk, err);
        while (more > 0 && chunk.kind != LOG_GAP && log_chunk_next(&chunk, &offset, &body) && offset < end)
            *out += row_read(body, &row, &ignored) == 0 && row.table == ROW_HEATMAP && !row.cells[ROW_HEATMAP_EVENT_UUID].null;
    }
    log_reader_close(reader);
    return more < 0 ? -1 : 0;
}

static int unit_read(struct log *log, uint32_t unit, const struct taken *taken, const struct people_place *place, struct account *out,
                     struct err *err)
{
    const uint64_t *ends = place->output_end;
    uint64_t        ahead = place->counters[PLACE_SHOWN_AHEAD], emitted = place->counters[FATE_STORED] + ahead, waiting = 0;

    if (taken->next[OUTPUT_EVENTS] < taken->events || ends[OUTPUT_EVENTS] < taken->next[OUTPUT_EVENTS] ||
        emitted != ends[OUTPUT_EVENTS])
        return err_set(err, ERR_CORRUPT, "the stores do not belong together: %" PRIu64 " events were finished, of %" PRIu64
                       " rows; the warehouse took %" PRIu64 " and has %" PRIu64, emitted, ends[OUTPUT_EVENTS],
                       taken->next[OUTPUT_EVENTS], taken->events);
    if (log != NULL && heatmaps_waiting(log, unit, taken->next[OUTPUT_HEATMAPS], ends[OUTPUT_HEATMAPS], &waiting, err) < 0)
        return -1;
    waiting = waiting < place->counters[FATE_HEATMAP] ? waiting : place->counters[FATE_HEATMAP];
    ahead = ahead < taken->events ? ahead : taken->events; /* their events come again, and are counted then (ingest/shown.h) */
    out->stored += taken->events - ahead + place->counters[FATE_HEATMAP] - waiting;
    out->deduplicated += fate_sum(place, FATE_CLASS_DEDUPLICATED);
    /* What load took and could not store stands in the table dead_letters (or was lost in the log, and named). */
    out->dead_lettered += fate_sum(place, FATE_CLASS_DEAD_LETTERED) + taken->next[OUTPUT_EVENTS] - taken->events;
    out->dropped += fate_sum(place, FATE_CLASS_DROPPED);
    for (size_t i = 0; i < OUTPUT_COUNT && i < FOLLOW_TOPICS; i++)
        if (follow_topics[i] != NULL)
            out->load_lag += ends[i] > taken->next[i] ? ends[i] - taken->next[i] : 0;
    out->letters_waiting += ends[OUTPUT_DEAD_LETTERS] > taken->next[OUTPUT_DEAD_LETTERS] ? ends[OUTPUT_DEAD_LETTERS] - taken->next[OUTPUT_DEAD_LETTERS] : 0;
    out->pending += ends[OUTPUT_EVENTS] - taken->next[OUTPUT_EVENTS] + waiting;
    for (size_t i = 0; i < PEOPLE_COUNTERS_MAX; i++)
        out->place.counters[i] += place->counters[i];
    for (size_t i = 0; i < OUTPUT_COUNT; i++)
        out->place.output_end[i] += ends[i];
    return 0;
}

static int units_read(const char *data, struct log *log, uint32_t units, const struct taken *taken, struct people_place *places,
                      struct account *out, struct err *err)
{
    for (uint32_t u = 0; u < units; u++)
        if (account_place(data, u, &places[u], err) < 0)
            return -1;
    for (uint32_t u = 0; u < units; u++)
        if ((log != NULL && inputs_read(log, u, &places[u], out, err) < 0) || unit_read(log, u, &taken[u], &places[u], out, err) < 0)
            return -1;
    return 0;
}

/* Everything once, in the order of account.h, but the spool first: what leaves it comes to the inputs. 1: it was sent from
 * meanwhile, so some stand in both. */
static int account_read_once(const char *data, uint32_t units, struct taken *taken, struct people_place *places, struct account *out,
                             struct err *err)
{
    struct log          *log = NULL;
    struct account_spool spool;
    int                  rc = -1;

    *out = (struct account){ .accepted = 0 };
    if (account_spool_open(data, &spool, err) < 0 ||
        (account_log_open(data, &log, err) < 0 && err->kind != ERR_RETRY)) /* nothing was served here: zeros */
        goto done;
    if (log != NULL)
        retention_held_read(log, &out->held);
    if (account_taken(data, taken, units, err) < 0 || units_read(data, log, units, taken, places, out, err) < 0 ||
        account_letters_read(data, out, err) < 0)
        goto done;
    out->ingest_lag = out->lane_lag[INPUT_RAW] + out->lane_lag[INPUT_HISTORICAL] + out->lane_lag[INPUT_OVERFLOW];
    out->spooled = account_spool_waiting(&spool);
    out->pending += out->ingest_lag + out->spooled;
    if (log != NULL && log_is_kafka(log)) /* what ingest took, each with its fate, and what waits for it */
        out->accepted = out->stored + out->deduplicated + out->dead_lettered + out->dropped + out->pending;
    rc = account_spool_moved(&spool, err);
done:
    account_spool_close(&spool);
    log_close(log);
    return rc;
}

int account_read(const char *data, struct account *out, struct err *err)
{
    enum { TRIES = 4 }; /* a long spool moves all the time: then some are counted twice */
    const struct stores *stores;
    struct taken        *taken = NULL;
    struct people_place *places = NULL;
    uint32_t             units;
    int                  rc = 1;

    *out = (struct account){ .accepted = 0 };
    if (data_check(data, err) < 0 || command_stores(data, &stores, err) < 0)
        return -1;
    units = stores_units(stores);
    taken = calloc(units, sizeof *taken);
    places = calloc(units, sizeof *places);
    if (taken == NULL || places == NULL)
        rc = err_set(err, ERR_FULL, "no memory for %u units", units);
    for (int i = 0; rc == 1 && i < TRIES; i++)
        rc = account_read_once(data, units, taken, places, out, err);
    free(places);
    free(taken);
    return rc < 0 ? -1 : 0;
}
