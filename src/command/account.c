/* command/account.c - the equation of fates. */
#include "command/account.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command/command.h"
#include "command/question.h"
#include "ingest/fate.h"
#include "log/log.h"

int account_log_open(const char *data, struct log **out, struct err *err)
{
    char               path[4096];
    struct log_options options = { .folder = path };
    struct stat        found;

    if (data_check(data, err) < 0 || data_path(data, "log", path, sizeof path, err) < 0)
        return -1;
    if (stat(path, &found) < 0)
        return err_set(err, ERR_RETRY, "%.200s has no log yet: nothing was served here", data);
    return log_open(&options, out, err);
}

int account_place(const char *data, struct people_place *out, struct err *err)
{
    char                  path[4096];
    struct people_options options = { .folder = path };
    struct people        *people;
    struct people_txn    *txn;
    struct stat           found;
    int                   rc;

    *out = (struct people_place){ .raw_next = 0 };
    if (data_path(data, "people", path, sizeof path, err) < 0)
        return -1;
    if (stat(path, &found) < 0)
        return 0;
    if (people_open(&options, &people, err) < 0)
        return -1;
    rc = people_begin(people, false, &txn, err);
    if (rc == 0) {
        rc = people_place_get(txn, out, err);
        people_abort(txn);
    }
    people_close(people);
    return rc;
}

/* Rows that the warehouse's table events ever got. */
static int events_loaded(const char *data, uint64_t *out, struct err *err)
{
    struct buf  answer;
    const char *digits;
    int         rc;

    *out = 0;
    if (!question_possible(data))
        return 0;
    buf_init(&answer, 1 << 16);
    rc = question_json(data, "SELECT events FROM penstock_place", &answer, err);
    if (rc == 0) {
        buf_add_byte(&answer, '\0');
        digits = strchr((const char *)answer.at, ':');
        if (digits == NULL)
            rc = err_set(err, ERR_CORRUPT, "the warehouse does not say how many rows it loaded");
        else
            *out = strtoull(digits + 1 + strspn(digits + 1, " "), NULL, 10);
    }
    buf_fini(&answer);
    return rc;
}

static int raw_end(const char *data, uint64_t *out, struct err *err)
{
    struct log        *log;
    struct log_reader *reader;
    int                rc;

    *out = 0;
    if (account_log_open(data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    rc = log_reader_open(log, "raw", 0, 0, &reader, err);
    if (rc == 0) {
        *out = log_reader_end(reader);
        log_reader_close(reader);
    }
    log_close(log);
    return rc;
}

int account_read(const char *data, struct account *out, struct err *err)
{
    uint64_t emitted;

    *out = (struct account){ .accepted = 0 };
    if (data_check(data, err) < 0 || events_loaded(data, &out->stored, err) < 0 ||
        account_place(data, &out->place, err) < 0 || raw_end(data, &out->accepted, err) < 0)
        return -1;
    emitted = fate_sum(&out->place, FATE_CLASS_STORED);
    out->deduplicated = fate_sum(&out->place, FATE_CLASS_DEDUPLICATED);
    out->dead_lettered = fate_sum(&out->place, FATE_CLASS_DEAD_LETTERED);
    out->dropped = fate_sum(&out->place, FATE_CLASS_DROPPED);
    if (out->accepted < out->place.raw_next || emitted < out->stored)
        return err_set(err, ERR_CORRUPT, "the stores do not belong together: raw ends at %" PRIu64 ", ingest is at %" PRIu64
                       "; %" PRIu64 " events were finished, the warehouse has %" PRIu64, out->accepted,
                       out->place.raw_next, emitted, out->stored);
    out->ingest_lag = out->accepted - out->place.raw_next;
    out->load_lag = emitted - out->stored;
    out->pending = out->ingest_lag + out->load_lag;
    return 0;
}
