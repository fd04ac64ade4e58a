/* command/question.c - asks the warehouse, through the loader or from the file.
 *
 * Which of the two is decided anew at each try, because a loader may be starting or ending right now: then
 * its socket is not there yet, but the file is already locked (or the other way round). Only "nobody
 * answers" is tried again; an answer that was cut off in the middle is not, as its first part was given out. */
#include "command/question.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "command/command.h"
#include "command/config_stores.h"
#include "load/query_socket.h"

enum { QUESTION_WAIT_US_MAX = 2000000, QUESTION_PAUSE_MS = 20 };

bool question_to_clickhouse(const char *data)
{
    const struct stores *stores;
    struct err           ignored = { .kind = ERR_NONE };

    return command_stores(data, &stores, &ignored) == 0 && warehouse_on_clickhouse(&stores->warehouse);
}

/* Passes pieces on and remembers that there were some. */
struct passing { warehouse_write *write; void *ctx; bool begun; };

static int piece_pass(void *ctx, struct span piece, struct err *err)
{
    struct passing *passing = ctx;

    passing->begun = true;
    return passing->write(passing->ctx, piece, err);
}

static int piece_keep(void *ctx, struct span piece, struct err *err)
{
    struct buf *out = ctx;

    buf_add(out, piece);
    return out->failed ? err_set(err, ERR_FULL, "the answer is larger than %zu bytes", out->bytes_max) : 0;
}

static int file_ask(const char *data, const char *sql, enum warehouse_format format, struct passing *passing,
                    struct err *err)
{
    char                     path[4096];
    struct warehouse_options options = { .path = path, .read_only = true };
    const struct stores     *stores;
    struct warehouse        *warehouse;
    int                      rc;

    if (data_path(data, "warehouse.duckdb", path, sizeof path, err) < 0 || command_stores(data, &stores, err) < 0)
        return -1;
    options.settings = &stores->warehouse;
    if (warehouse_open(&options, &warehouse, err) < 0)
        return -1;
    rc = warehouse_query(warehouse, sql, format, piece_pass, passing, NULL, err);
    warehouse_close(warehouse);
    return rc;
}

/* Whether the loader has made its tables there. When that cannot be asked, the question itself will tell why. */
static bool clickhouse_has_tables(const char *data)
{
    char                 sql[400];
    const struct stores *stores;
    struct buf           answer;
    struct err           ignored = { .kind = ERR_NONE };
    struct passing       passing = { .write = piece_keep, .ctx = &answer };
    bool                 has;

    if (command_stores(data, &stores, &ignored) < 0)
        return false;
    (void)snprintf(sql, sizeof sql, "SELECT count() AS n FROM system.tables WHERE database = '%.100s_sql' AND name = 'penstock_erased'",
                   stores->warehouse.database);
    buf_init(&answer, 4096);
    if (file_ask(data, sql, WAREHOUSE_CSV, &passing, &ignored) < 0)
        has = strstr(ignored.text, "Code: 81.") == NULL; /* no such database */
    else
        has = answer.bytes < 4 || memcmp(answer.at, "n\r\n0", 4) != 0;
    buf_fini(&answer);
    return has;
}

bool question_possible(const char *data)
{
    char        path[4096];
    struct stat found;
    struct err  ignored = { .kind = ERR_NONE };

    if (question_to_clickhouse(data))
        return clickhouse_has_tables(data);
    return data_path(data, "warehouse.duckdb", path, sizeof path, &ignored) == 0 && stat(path, &found) == 0;
}

int question_ask(const char *data, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
                 struct err *err)
{
    int64_t        give_up_us = clock_mono_us() + QUESTION_WAIT_US_MAX;
    struct passing passing = { .write = write, .ctx = ctx };
    char           run[4096];

    if (data_path(data, "run", run, sizeof run, err) < 0)
        return -1;
    for (;;) {
        int rc = query_served(run) ? query_ask(run, sql, format, piece_pass, &passing, err)
                 : question_possible(data)
                     ? file_ask(data, sql, format, &passing, err)
                     : err_set(err, ERR_RETRY, "there is no warehouse yet: nothing was loaded into %.200s", data);

        if (rc == 0 || err->kind != ERR_RETRY || passing.begun || clock_mono_us() > give_up_us)
            return rc;
        (void)poll(NULL, 0, QUESTION_PAUSE_MS);
    }
}

/* An answer that is only kept may be asked for again, also when it was cut off in the middle: the loader died. */
static int answer_keep(const char *data, const char *sql, enum warehouse_format format, struct buf *out, struct err *err)
{
    int64_t give_up_us = clock_mono_us() + QUESTION_WAIT_US_MAX;
    size_t  before = out->bytes;

    while (question_ask(data, sql, format, piece_keep, out, err) < 0) {
        if (err->kind != ERR_RETRY || clock_mono_us() > give_up_us)
            return -1;
        out->bytes = before;
        (void)poll(NULL, 0, QUESTION_PAUSE_MS);
    }
    return 0;
}

int question_json(const char *data, const char *sql, struct buf *out, struct err *err)
{
    return answer_keep(data, sql, WAREHOUSE_JSON, out, err);
}

int question_csv(const char *data, const char *sql, struct buf *out, struct err *err)
{
    return answer_keep(data, sql, WAREHOUSE_CSV, out, err);
}
