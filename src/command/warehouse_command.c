/* command/warehouse_command.c - penstock warehouse rebuild: asks the loader to begin anew, and may wait for it; penstock
 * warehouse ddl: the tables at ClickHouse, as statements.
 *
 * What the log has no more would be missing in the new warehouse. So that is looked at first, and has to be wanted. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "command/account.h"
#include "command/as_owner.h"
#include "command/command.h"
#include "command/config_stores.h"
#include "command/question.h"
#include "load/follow.h"
#include "load/query_socket.h"
#include "load/rebuild.h"
#include "log/log.h"
#include "warehouse/clickhouse_schema.h"

enum { LOOK_MS = 200, TAKEN_US_MAX = 60000000 };

struct rows {
    uint64_t end[FOLLOW_TOPICS], cursor[FOLLOW_TOPICS];
    uint64_t have, lost; /* records of all topics: in the log; no more */
};

static void rows_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors,
                      size_t cursor_count)
{
    struct rows *rows = ctx;

    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        if (follow_topics[i] == NULL || strcmp(follow_topics[i], info->topic) != 0)
            continue;
        rows->end[i] = info->end;
        rows->have += info->end - info->start;
        rows->lost += info->start;
        for (size_t k = 0; k < cursor_count; k++)
            if (strcmp(cursors[k].consumer, "load") == 0)
                rows->cursor[i] = cursors[k].offset;
    }
}

static int rows_read(const char *data, struct rows *out, struct err *err)
{
    struct log *log;
    int         rc;

    *out = (struct rows){ .have = 0 };
    if (account_log_open(data, &log, err) < 0)
        return -1;
    rc = log_info(log, rows_seen, out, err);
    log_close(log);
    return rc;
}

static bool confirmed(const struct command_args *args, const struct rows *rows)
{
    char line[20] = "";

    if (rows->lost > 0)
        fprintf(stderr, "The log has %" PRIu64 " rows, and no more %" PRIu64 " older ones: those would be in the old warehouse alone.\n",
                rows->have, rows->lost);
    if (rows->lost > 0 && !args_has(args, "--partial")) {
        fprintf(stderr, "penstock: nothing was done; say --partial when that is what you want\n");
        return false;
    }
    if (args_has(args, "--yes"))
        return true;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "penstock: the warehouse would be built anew from %" PRIu64 " rows of the log; say so with --yes\n", rows->have);
        return false;
    }
    fprintf(stderr, "Build the warehouse anew from %" PRIu64 " rows of the log? Queries see part of it meanwhile. [y/N] ", rows->have);
    return fgets(line, sizeof line, stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

/* Until everything that the log had when it was asked for is in the new warehouse. */
static int wait_for(const char *data, const struct rows *asked, struct err *err)
{
    int64_t     began_us = clock_mono_us(), seconds_us;
    char        mark[REBUILD_MARK_BYTES];
    struct rows now;
    bool        all;

    for (int rc; (rc = rebuild_asked(data, mark, err)) != 0; (void)poll(NULL, 0, LOOK_MS)) {
        if (rc < 0)
            return -1;
        if (clock_mono_us() - began_us > TAKEN_US_MAX)
            return err_set(err, ERR_RETRY, "the loader has not begun after a minute; the request stays (penstock doctor)");
    }
    do {
        (void)poll(NULL, 0, LOOK_MS);
        if (rows_read(data, &now, err) < 0)
            return -1;
        all = true;
        for (int i = 0; i < FOLLOW_TOPICS; i++)
            all = all && now.cursor[i] >= asked->end[i];
    } while (!all);
    seconds_us = clock_mono_us() - began_us;
    fprintf(stderr, "penstock: %" PRIu64 " rows in %.1f s\n", asked->have, (double)seconds_us / 1e6);
    return 0;
}

int warehouse_rebuild_run(const struct command_args *args)
{
    const char *data = args_data(args);
    char        mark[REBUILD_MARK_BYTES], run[4096];
    struct rows rows;
    struct err  err = { .kind = ERR_NONE };
    bool        serving;
    struct as_owner before;
    int         rc;

    if (data_check(data, &err) < 0 || data_path(data, "run", run, sizeof run, &err) < 0 || rows_read(data, &rows, &err) < 0)
        return command_failed(&err);
    if (question_to_clickhouse(data)) {
        fprintf(stderr, "penstock: the warehouse is ClickHouse: name another warehouse.database in the settings, and the loader fills it from\n"
                        "          the log's first row on. The old database stays until you drop it\n");
        return EXIT_FAILED;
    }
    if (!confirmed(args, &rows))
        return EXIT_FAILED;
    before = as_owner_begin(data);
    rc = rebuild_ask(data, clock_wall_us(), mark, &err);
    as_owner_end(&before);
    if (rc < 0)
        return command_failed(&err);
    serving = query_served(run);
    fprintf(stderr, "penstock: %s; the old warehouse becomes %s/warehouse.duckdb%s. Delete it when it is not needed: it also holds\n"
                    "          what is erased from now on\n",
            serving ? "the loader begins anew" : "the next `penstock serve` builds it", data, mark);
    if (serving && args_has(args, "--wait") && wait_for(data, &rows, &err) < 0)
        return command_failed(&err);
    return EXIT_DONE;
}

/* --- ddl --------------------------------------------------------------------------------------- */

static int statement_print(void *ctx, const char *sql, struct err *err)
{
    (void)ctx;
    return printf("%s;\n\n", sql) < 0 ? command_stdout_failed(err) : 0;
}

int warehouse_ddl_run(const struct command_args *args)
{
    static const char *const forms[] = { "single", "cluster", "kafka-engine" }, *const names[] = { "--database", "--cluster", "--brokers" };
    const char              *form = args_text(args, "--form"), *database = args_text(args, "--database"),
                            *cluster = args_text(args, "--cluster"), *brokers = args_text(args, "--brokers"),
                            *prefix = args_text(args, "--topic-prefix");
    struct clickhouse_schema schema = { .database = database != NULL ? database : "posthog", .cluster = cluster != NULL ? cluster : "posthog",
                                        .brokers = brokers != NULL ? brokers : "kafka:9092", .topic_prefix = prefix };
    struct err               err = { .kind = ERR_NONE };
    int                      chosen = -1;

    for (int i = 0; i < 3; i++)
        if (strcmp(form != NULL ? form : "single", forms[i]) == 0)
            chosen = i;
    if (chosen < 0)
        return args_wrong(args, "--form takes single, cluster or kafka-engine, not \"%s\"", form);
    schema.form = (enum clickhouse_form)chosen;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (args_has(args, names[i]) && *args_text(args, names[i]) == '\0')
            return args_wrong(args, "%s is empty; leave it out for its default", names[i]);
    if (strpbrk(schema.database, "`'\\") != NULL || strpbrk(schema.cluster, "`'\\") != NULL)
        return args_wrong(args, "--database and --cluster take names");
    return clickhouse_schema(&schema, statement_print, NULL, &err) < 0 ? command_failed(&err) : EXIT_DONE;
}
