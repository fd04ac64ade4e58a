/* command/quota.c - penstock quota list | set | remove. What a quota is: catalog/catalog.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "command/catalog_list.h"
#include "wire/json.h"
#include "wire/time.h"

/* As long as a setting of time may be; whoever wants it for ever revokes tokens, or restricts. */
enum { UNTIL_DAYS_MAX = 36500 };

/* --- list -------------------------------------------------------------------------------------- */

static void quota_print(struct buf *out, const struct catalog_quota *one, bool json)
{
    bool over = one->until_us <= clock_wall_us();

    if (json) {
        buf_add_format(out, "{\"project_id\":%u,\"resource\":\"%s\"", one->project, catalog_resource_name(one->resource));
        if (one->token.bytes > 0) {
            buf_add_text(out, ",\"token\":");
            json_write_string(out, one->token);
        }
        buf_add_text(out, ",\"until\":\"");
        time_write_rfc3339(out, one->until_us);
        buf_add_format(out, "\",\"in_force\":%s,\"created_at\":\"", over ? "false" : "true");
        time_write_rfc3339(out, one->created_us);
        buf_add_text(out, "\"}");
    } else {
        buf_add_format(out, "project %u  %-10s  ", one->project, catalog_resource_name(one->resource));
        if (one->token.bytes > 0) {
            buf_add_text(out, "token ");
            buf_add(out, one->token);
            buf_add_text(out, "  ");
        }
        buf_add_text(out, over ? "was limited until " : "none is taken until ");
        time_write_rfc3339(out, one->until_us / 1000000 * 1000000);
        buf_add_text(out, "\n");
    }
}

static void quotas_show(struct catalog_list *list, const struct catalog_snapshot *snapshot)
{
    const struct catalog_quota *all;
    size_t                      count = catalog_snapshot_quotas(snapshot, &all);

    for (size_t i = 0; i < count; i++)
        if (catalog_list_next(list, all[i].project))
            quota_print(&list->out, &all[i], list->json);
}

int quota_list_run(const struct command_args *args)
{
    return catalog_list_run(args, quotas_show, "no quota is used up; what one does: penstock quota set --help");
}

/* --- set, remove ------------------------------------------------------------------------------- */

/* A time, or how long from now: "90m", "24h", "30d". */
static bool until_read(const char *text, int64_t *us_out)
{
    static const struct { char letter; int64_t us; } units[] = { { 's', 1000000 }, { 'm', 60000000 },
                                                                 { 'h', INT64_C(3600000000) }, { 'd', INT64_C(86400000000) } };
    char         *end;
    unsigned long count;

    if (time_parse_rfc3339(span_text(text), us_out, NULL))
        return true;
    errno = 0;
    count = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || count > 100000000)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (end[0] == units[i].letter && end[1] == '\0') {
            *us_out = clock_wall_us() + (int64_t)count * units[i].us;
            return true;
        }
    return false;
}

static int until_check(const char *text, int64_t *us_out, struct err *err)
{
    int64_t now_us;

    if (!until_read(text, us_out))
        return err_set(err, ERR_INPUT, "--until takes a time (2026-02-03T04:05:06Z) or how long from now (90m, 24h, 30d), not \"%.60s\"", text);
    now_us = clock_wall_us();
    if (*us_out <= now_us)
        return err_set(err, ERR_INPUT, "--until: %.60s is over already: nothing would be kept out. To take a quota away: penstock quota remove", text);
    if (*us_out > now_us + UNTIL_DAYS_MAX * TIME_US_DAY)
        return err_set(err, ERR_INPUT, "--until: at most %d days from now, not \"%.60s\"", UNTIL_DAYS_MAX, text);
    return 0;
}

static int quota_read(const struct command_args *args, struct catalog *catalog, struct catalog_quota *quota, struct err *err)
{
    const char *resource = args_at(args, 0), *until = args_text(args, "--until"), *near;
    const char *names[CATALOG_RESOURCE_COUNT + 1] = { NULL };

    for (size_t i = 0; i < CATALOG_RESOURCE_COUNT; i++)
        names[i] = catalog_resource_name((enum catalog_resource)i);
    near = nearest_word(resource, names);
    if (!catalog_resource_find(resource, &quota->resource))
        return err_set(err, ERR_INPUT, "there is no resource \"%.60s\"%s%s%s: exceptions, surveys, llm_events, events, recordings",
                       resource, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
    if (until != NULL && until_check(until, &quota->until_us, err) < 0)
        return -1;
    return command_project(args, false, catalog, &quota->project, err) < 0 ||
                   command_token(args, &quota->token, err) < 0
               ? -1 : 0;
}

static int quota_change(const struct command_args *args, int (*change)(struct catalog *, const struct catalog_quota *, struct err *))
{
    struct catalog_quota quota = { .token = SPAN("") };
    struct catalog      *catalog;
    struct err           err = { .kind = ERR_NONE };
    int                  code = EXIT_DONE;

    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (quota_read(args, catalog, &quota, &err) < 0 || change(catalog, &quota, &err) < 0)
        code = command_failed(&err);
    else
        command_wait_in_force(args, catalog);
    catalog_close(catalog);
    return code;
}

int quota_set_run(const struct command_args *args)
{
    if (!args_has(args, "--until"))
        return args_wrong(args, "--until is missing: the time until which nothing is taken");
    return quota_change(args, catalog_quota_set);
}

int quota_remove_run(const struct command_args *args)
{
    return quota_change(args, catalog_quota_remove);
}
