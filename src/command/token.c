/* command/token.c - penstock token list | create | revoke. A running server sees a change within 200 ms, and
 * create and revoke return when it has: the next line of a script may count on it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metric.h"
#include "catalog/catalog.h"
#include "command/command.h"
#include "wire/json.h"
#include "wire/time.h"

/* make: the data folder is made when it is missing, so that a token can be there before the first start. */
static int token_catalog_open(const struct command_args *args, bool make, struct catalog **out, struct err *err)
{
    char path[4096];

    if (make && mkdir(args_data(args), 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make the data folder %s", args_data(args));
    if ((!make && data_check(args_data(args), err) < 0) || data_path(args_data(args), "catalog.db", path, sizeof path, err) < 0)
        return -1;
    return catalog_open(path, out, err);
}

/* Borrowed for ever: "?" for a project that is gone. */
static const char *project_name(const struct catalog_snapshot *snapshot, uint32_t id)
{
    const struct catalog_project *project = catalog_snapshot_project(snapshot, id);

    return project != NULL ? project->name : "?";
}

static void token_print_json(struct buf *out, const struct catalog_snapshot *snapshot, const struct catalog_token *token)
{
    buf_add_text(out, "{\"token\":");
    json_write_string(out, span_text(token->token));
    buf_add_format(out, ",\"project_id\":%u,\"project\":", token->project);
    json_write_string(out, span_text(project_name(snapshot, token->project)));
    buf_add_text(out, ",\"created_at\":\"");
    time_write_rfc3339(out, token->created_us);
    buf_add_text(out, "\"}");
}

int token_list_run(const struct command_args *args)
{
    struct catalog             *catalog;
    struct catalog_snapshot    *snapshot;
    const struct catalog_token *tokens;
    struct err                  err = { .kind = ERR_NONE };
    struct buf                  out;
    bool                        json = args_has(args, "--json");
    size_t                      count;

    if (token_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (catalog_snapshot_load(catalog, &snapshot, &err) < 0) {
        catalog_close(catalog);
        return command_failed(&err);
    }
    buf_init(&out, 64 << 20);
    count = catalog_snapshot_tokens(snapshot, &tokens);
    buf_add_text(&out, json ? "[" : "");
    for (size_t i = 0; i < count; i++) {
        if (json) {
            buf_add_text(&out, i > 0 ? ",\n " : "");
            token_print_json(&out, snapshot, &tokens[i]);
        } else {
            buf_add_format(&out, "%-48s  %s (project %u), since ", tokens[i].token,
                           project_name(snapshot, tokens[i].project), tokens[i].project);
            time_write_rfc3339(&out, tokens[i].created_us / 1000000 * 1000000);
            buf_add_text(&out, "\n");
        }
    }
    buf_add_text(&out, json ? "]\n" : "");
    (void)fwrite(out.at, 1, out.bytes, stdout);
    buf_fini(&out);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    return EXIT_DONE;
}

/* --project as an id; without it the first project. */
static int token_project(const struct command_args *args, struct catalog *catalog, uint32_t *out, struct err *err)
{
    struct catalog_snapshot      *snapshot;
    const struct catalog_project *projects;
    const char                   *wanted = args_text(args, "--project");
    size_t                        count;
    bool                          found = false;

    if (catalog_snapshot_load(catalog, &snapshot, err) < 0)
        return -1;
    count = catalog_snapshot_projects(snapshot, &projects);
    for (size_t i = 0; i < count && !found; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "%u", projects[i].id);
        found = wanted == NULL || strcmp(wanted, id) == 0 || strcmp(wanted, projects[i].name) == 0;
        if (found)
            *out = projects[i].id;
    }
    catalog_snapshot_free(snapshot);
    if (!found && wanted != NULL)
        return err_set(err, ERR_INPUT, "there is no project \"%.60s\"", wanted);
    return found ? 0 : catalog_project_create(catalog, "default", out, err);
}

/* Waits until a running capture has what was written here; not at all when none runs. */
static void token_wait_in_force(const struct command_args *args, struct catalog *catalog)
{
    enum { WAIT_US = 3000000, POLL_US = 5000 };
    int64_t                  until_us = clock_mono_us() + WAIT_US;
    struct catalog_snapshot *snapshot;
    struct err               err = { .kind = ERR_NONE };
    char                     run[4096];
    double                   in_force;

    if (data_path(args_data(args), "run", run, sizeof run, &err) < 0 || catalog_snapshot_load(catalog, &snapshot, &err) < 0)
        return;
    while (metric_read(run, "capture", "capture_catalog_version", "", &in_force) &&
           in_force < (double)catalog_snapshot_version(snapshot)) {
        if (clock_mono_us() > until_us) {
            fprintf(stderr, "penstock: done, but the running capture has not taken it over within 3 s\n");
            break;
        }
        usleep(POLL_US);
    }
    catalog_snapshot_free(snapshot);
}

int token_create_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    struct buf      out;
    uint32_t        project;
    char            token[CATALOG_TOKEN_BYTES_MAX + 1];
    int             code = EXIT_DONE;

    if (token_catalog_open(args, true, &catalog, &err) < 0)
        return command_failed(&err);
    if (token_project(args, catalog, &project, &err) < 0 ||
        catalog_token_create(catalog, project, args_text(args, "--token"), token, &err) < 0) {
        code = command_failed(&err);
        catalog_close(catalog);
        return code;
    }
    token_wait_in_force(args, catalog);
    if (args_has(args, "--json")) {
        buf_init(&out, 1 << 16);
        buf_add_text(&out, "{\"token\":");
        json_write_string(&out, span_text(token));
        buf_add_format(&out, ",\"project_id\":%u}\n", project);
        (void)fwrite(out.at, 1, out.bytes, stdout);
        buf_fini(&out);
    } else {
        printf("%s\n", token);
    }
    catalog_close(catalog);
    return code;
}

int token_revoke_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    int             code = EXIT_DONE;

    if (token_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (catalog_token_revoke(catalog, args_at(args, 0), &err) < 0) {
        code = command_failed(&err);
    } else {
        token_wait_in_force(args, catalog);
        fprintf(stderr, "penstock: revoked; events with this token are refused from now on\n");
    }
    catalog_close(catalog);
    return code;
}
