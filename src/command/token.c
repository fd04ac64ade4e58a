/* command/token.c - penstock token list | create | revoke. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/catalog_access.h"
#include "wire/json.h"
#include "wire/time.h"

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
    buf_add_format(out, ",\"secret\":%s,\"created_at\":\"", token->secret ? "true" : "false");
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

    if (command_catalog_read(args, &catalog, &snapshot, &err) < 0)
        return command_failed(&err);
    buf_init(&out, 64 << 20);
    count = catalog_snapshot_tokens(snapshot, &tokens);
    buf_add_text(&out, json ? "[" : "");
    for (size_t i = 0; i < count; i++) {
        if (json) {
            buf_add_text(&out, i > 0 ? ",\n " : "");
            token_print_json(&out, snapshot, &tokens[i]);
        } else {
            buf_add_format(&out, "%-48s  %s (project %u)%s, since ", tokens[i].token,
                           project_name(snapshot, tokens[i].project), tokens[i].project,
                           tokens[i].secret ? ", secret" : "");
            time_write_rfc3339(&out, tokens[i].created_us / 1000000 * 1000000);
            buf_add_text(&out, "\n");
        }
    }
    buf_add_text(&out, json ? "]\n" : "");
    command_print(&out);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    return EXIT_DONE;
}

int token_create_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    struct buf      out;
    uint32_t        project;
    char            token[CATALOG_TOKEN_BYTES_MAX + 1];
    int             code = EXIT_DONE;

    if (command_catalog_open(args, true, &catalog, &err) < 0)
        return command_failed(&err);
    if (command_project(args, true, catalog, &project, &err) < 0 ||
        catalog_token_create(catalog, project, args_text(args, "--token"), args_has(args, "--secret"),
                             token, &err) < 0) {
        code = command_failed(&err);
        catalog_close(catalog);
        return code;
    }
    command_wait_in_force(args, catalog);
    if (args_has(args, "--json")) {
        buf_init(&out, 1 << 16);
        buf_add_text(&out, "{\"token\":");
        json_write_string(&out, span_text(token));
        buf_add_format(&out, ",\"project_id\":%u}\n", project);
        command_print(&out);
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

    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (catalog_token_revoke(catalog, args_at(args, 0), &err) < 0) {
        code = command_failed(&err);
    } else {
        command_wait_in_force(args, catalog);
        fprintf(stderr, "penstock: revoked; events with this token are refused from now on\n");
    }
    catalog_close(catalog);
    return code;
}
