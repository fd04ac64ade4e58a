/* command/token.c - penstock token list | create | revoke. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/catalog_list.h"
#include "wire/json.h"
#include "wire/time.h"

/* Borrowed for ever: "?" for a project that is gone. */
static const char *project_name(const struct catalog_snapshot *snapshot, uint32_t id)
{
    const struct catalog_project *project = catalog_snapshot_project(snapshot, id);

    return project != NULL ? project->name : "?";
}

static void token_print(struct buf *out, const struct catalog_snapshot *snapshot, const struct catalog_token *token, bool json)
{
    if (!json) {
        buf_add_format(out, "%-48s  %s (project %u)%s, since ", token->token, project_name(snapshot, token->project), token->project,
                       token->secret ? ", secret" : "");
        time_write_rfc3339(out, token->created_us / 1000000 * 1000000);
        buf_add_text(out, "\n");
        return;
    }
    buf_add_text(out, "{\"token\":");
    json_write_string(out, span_text(token->token));
    buf_add_format(out, ",\"project_id\":%u,\"project\":", token->project);
    json_write_string(out, span_text(project_name(snapshot, token->project)));
    buf_add_format(out, ",\"secret\":%s,\"created_at\":\"", token->secret ? "true" : "false");
    time_write_rfc3339(out, token->created_us);
    buf_add_text(out, "\"}");
}

static void tokens_show(struct catalog_list *list, const struct catalog_snapshot *snapshot)
{
    const struct catalog_token *all;
    size_t                      count = catalog_snapshot_tokens(snapshot, &all);

    for (size_t i = 0; i < count; i++)
        if (catalog_list_next(list, all[i].project))
            token_print(&list->out, snapshot, &all[i], list->json);
}

int token_list_run(const struct command_args *args)
{
    return catalog_list_run(args, tokens_show, NULL);
}

/* The contract's tags are for SDKs; who types a token is told in words. Blanks and control characters no SDK would send. */
static int token_check(const char *token, struct err *err)
{
    static const char *const words[][2] = {
        { "empty", "--token is empty; leave it out for a random one" },
        { "too_long", "--token is longer than 64 bytes" },
        { "not_ascii", "--token holds a character that is not ASCII" },
        { "personal_api_key", "--token begins with phx_: that is a person's key for the API of PostHog, not a project's token" },
    };
    struct span text;

    if (token == NULL)
        return 0;
    text = span_text(token);
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] <= ' ' || text.at[i] == 0x7f)
            return err_set(err, ERR_INPUT, "--token holds a blank or a control character, as byte %zu", i + 1);
    if (catalog_token_check(text, err) == 0)
        return 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(err->text, words[i][0]) == 0)
            return err_set(err, ERR_INPUT, "%s", words[i][1]);
    return -1;
}

int token_create_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    struct buf      out;
    uint32_t        project;
    char            token[CATALOG_TOKEN_BYTES_MAX + 1];
    int             code = EXIT_DONE;

    if (token_check(args_text(args, "--token"), &err) < 0 || command_catalog_open(args, true, &catalog, &err) < 0)
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
