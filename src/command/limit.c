/* command/limit.c - penstock limit list | set | remove. What a limit is: catalog/catalog.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/catalog_list.h"
#include "wire/json.h"
#include "wire/time.h"

/* --- list -------------------------------------------------------------------------------------- */

static void limit_print(struct buf *out, const struct catalog_limit *one, bool json)
{
    bool token = one->kind == CATALOG_LIMIT_TOKEN;

    if (json) {
        buf_add_format(out, "{\"project_id\":%u,\"kind\":\"%s\"", one->project, catalog_limit_name(one->kind));
        if (one->token.bytes > 0) {
            buf_add_text(out, ",\"token\":");
            json_write_string(out, one->token);
        }
        buf_add_format(out, token ? ",\"events_per_second\":%u" : ",\"events_per_minute\":%u", one->events);
        if (token)
            buf_add_format(out, ",\"burst\":%u", one->burst);
        buf_add_text(out, ",\"created_at\":\"");
        time_write_rfc3339(out, one->created_us);
        buf_add_text(out, "\"}");
    } else {
        buf_add_format(out, "project %u  %-11s  ", one->project, catalog_limit_name(one->kind));
        if (one->token.bytes > 0) {
            buf_add_text(out, "token ");
            buf_add(out, one->token);
            buf_add_text(out, "  ");
        }
        buf_add_format(out, token ? "%u events a second" : "%u events a minute of one id", one->events);
        if (token)
            buf_add_format(out, ", %u at once", one->burst);
        buf_add_text(out, "  since ");
        time_write_rfc3339(out, one->created_us / 1000000 * 1000000);
        buf_add_text(out, "\n");
    }
}

static void limits_show(struct catalog_list *list, const struct catalog_snapshot *snapshot)
{
    const struct catalog_limit *all;
    size_t                      count = catalog_snapshot_limits(snapshot, &all);

    for (size_t i = 0; i < count; i++)
        if (catalog_list_next(list, all[i].project))
            limit_print(&list->out, &all[i], list->json);
}

int limit_list_run(const struct command_args *args)
{
    return catalog_list_run(args, limits_show, "there are no limits; what they can do: penstock limit set --help");
}

/* --- set, remove ------------------------------------------------------------------------------- */

static int count_read(const char *text, const char *what, uint32_t *out, struct err *err)
{
    char         *end;
    unsigned long count;

    errno = 0;
    count = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || count < 1 || count > CATALOG_LIMIT_MAX)
        return err_set(err, ERR_INPUT, "%s is a number from 1 to %d, not \"%.60s\"", what, CATALOG_LIMIT_MAX, text);
    *out = (uint32_t)count;
    return 0;
}

static int limit_read(const struct command_args *args, struct catalog *catalog, struct catalog_limit *limit, struct err *err)
{
    const char *kind = args_at(args, 0), *near;
    const char *names[CATALOG_LIMIT_KIND_COUNT + 1] = { NULL };

    for (size_t i = 0; i < CATALOG_LIMIT_KIND_COUNT; i++)
        names[i] = catalog_limit_name((enum catalog_limit_kind)i);
    near = nearest_word(kind, names);
    if (!catalog_limit_find(kind, &limit->kind))
        return err_set(err, ERR_INPUT, "there is no limit of \"%.60s\"%s%s%s: token, distinct_id", kind,
                       near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
    return command_project(args, false, catalog, &limit->project, err) < 0 || command_token(args, &limit->token, err) < 0 ? -1
                                                                                                                       : 0;
}

/* Without --burst ten seconds' worth: a page full of tabs that come back at once is no flood. */
static int limit_read_numbers(const struct command_args *args, struct catalog_limit *limit, struct err *err)
{
    enum { BURST_SECONDS = 10 };
    const char *burst = args_text(args, "--burst");

    if (count_read(args_at(args, 1), "EVENTS", &limit->events, err) < 0)
        return -1;
    if (burst != NULL && limit->kind != CATALOG_LIMIT_TOKEN)
        return err_set(err, ERR_INPUT, "--burst goes with a limit of token only");
    limit->burst = limit->events < CATALOG_LIMIT_MAX / BURST_SECONDS ? limit->events * BURST_SECONDS : CATALOG_LIMIT_MAX;
    return burst == NULL ? 0 : count_read(burst, "--burst", &limit->burst, err);
}

static int limit_change(const struct command_args *args, bool set)
{
    struct catalog_limit limit = { .token = SPAN("") };
    struct catalog      *catalog;
    struct err           err = { .kind = ERR_NONE };
    int                  code = EXIT_DONE;

    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (limit_read(args, catalog, &limit, &err) < 0 || (set && limit_read_numbers(args, &limit, &err) < 0) ||
        (set ? catalog_limit_set : catalog_limit_remove)(catalog, &limit, &err) < 0)
        code = command_failed(&err);
    else
        command_wait_in_force(args, catalog);
    catalog_close(catalog);
    return code;
}

int limit_set_run(const struct command_args *args)
{
    return limit_change(args, true);
}

int limit_remove_run(const struct command_args *args)
{
    return limit_change(args, false);
}
