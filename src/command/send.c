/* command/send.c - penstock send: an event from the shell, through the front door like every SDK's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "command/catalog_access.h"
#include "command/command.h"
#include "command/post.h"
#include "wire/json.h"

enum { SEND_BODY_BYTES_MAX = 32 << 20, SEND_ANSWER_BYTES_MAX = 1 << 20 };

/* The first token of the data folder. */
static int first_token(const char *data, char token_out[CATALOG_TOKEN_BYTES_MAX + 1], struct err *err)
{
    struct catalog             *catalog;
    struct catalog_snapshot    *snapshot;
    const struct catalog_token *tokens;
    size_t                      count, at = 0;
    int                         rc;

    if (data_check(data, err) < 0 || command_catalog_of(data, &catalog, err) < 0)
        return -1;
    rc = catalog_snapshot_load(catalog, &snapshot, err);
    if (rc == 0) {
        count = catalog_snapshot_tokens(snapshot, &tokens);
        while (at < count && tokens[at].secret)
            at++;
        if (at < count)
            (void)snprintf(token_out, CATALOG_TOKEN_BYTES_MAX + 1, "%s", tokens[at].token);
        else
            rc = err_set(err, ERR_INPUT, "%.200s has no token; make one: penstock token create", data);
        catalog_snapshot_free(snapshot);
    }
    catalog_close(catalog);
    return rc;
}

/* KEY=VALUE: VALUE as JSON when it is JSON, else as text. */
static int property_add(struct buf *body, const char *text, bool first, struct err *err)
{
    const char        *equals = strchr(text, '=');
    struct json_reader reader;
    struct json_value  value;

    if (equals == NULL || equals == text)
        return err_set(err, ERR_INPUT, "--property takes KEY=VALUE, not \"%.80s\"", text);
    buf_add_text(body, first ? "" : ",");
    json_write_string(body, span_of(text, (size_t)(equals - text)));
    buf_add_byte(body, ':');
    json_reader_init(&reader, span_text(equals + 1), 0);
    if (json_skip(&reader, &value) == 0 && json_finish(&reader) == 0)
        buf_add(body, value.raw);
    else
        json_write_string(body, span_text(equals + 1));
    return 0;
}

static int body_of_flags(const struct command_args *args, const char *token, struct buf *body, struct err *err)
{
    const char *who = args_text(args, "--distinct-id");

    buf_add_text(body, "{\"api_key\":");
    json_write_string(body, span_text(token));
    buf_add_text(body, ",\"event\":");
    json_write_string(body, span_text(args_at(args, 0)));
    buf_add_text(body, ",\"distinct_id\":");
    json_write_string(body, span_text(who != NULL ? who : "penstock-send"));
    buf_add_text(body, ",\"properties\":{");
    for (size_t i = 0; args_text_nth(args, "--property", i) != NULL; i++)
        if (property_add(body, args_text_nth(args, "--property", i), i == 0, err) < 0)
            return -1;
    buf_add_text(body, "}}");
    return body->failed ? err_set(err, ERR_FULL, "the event is larger than %d bytes", SEND_BODY_BYTES_MAX) : 0;
}

/* Puts `"api_key": token` in front when the body is one object without a token of its own. */
static void token_add(struct buf *body, const char *token)
{
    struct arena       *arena = arena_new(1 << 16, SEND_BODY_BYTES_MAX);
    struct json_members members;
    struct err          ignored = { .kind = ERR_NONE };
    struct span         content = buf_span(body);
    size_t              brace = 0;

    if (arena == NULL)
        return;
    while (brace < content.bytes && strchr(" \t\r\n", content.at[brace]) != NULL)
        brace++;
    if (brace < content.bytes && content.at[brace] == '{' &&
        json_members_read(content, arena, &members, &ignored) == 0 &&
        json_members_find(&members, SPAN("api_key")) == NULL && json_members_find(&members, SPAN("token")) == NULL &&
        json_members_find(&members, SPAN("$token")) == NULL) {
        struct buf fresh;

        buf_init(&fresh, SEND_BODY_BYTES_MAX);
        buf_add_text(&fresh, "{\"api_key\":");
        json_write_string(&fresh, span_text(token));
        buf_add_text(&fresh, members.count > 0 ? "," : "");
        buf_add(&fresh, span_from(content, brace + 1));
        buf_fini(body);
        *body = fresh;
    }
    arena_free(arena);
}

int send_run(const struct command_args *args)
{
    const char *token = args_text(args, "--token"), *file = args_text(args, "--file");
    char        found[CATALOG_TOKEN_BYTES_MAX + 1] = "", url[400];
    struct post *post = NULL;
    struct buf  body, answer;
    struct err  err = { .kind = ERR_NONE };
    long        status = 0;
    int         code = EXIT_DONE;

    if ((args_count(args) == 1) == (file != NULL))
        return args_wrong(args, "give either EVENT or --file");
    buf_init(&body, SEND_BODY_BYTES_MAX);
    buf_init(&answer, SEND_ANSWER_BYTES_MAX);
    if (post_url(args, url, sizeof url, &err) < 0 ||
        (token == NULL && first_token(args_data(args), found, &err) < 0))
        goto failed;
    token = token != NULL ? token : found;
    if ((file != NULL ? file_read(file, &body, &err) : body_of_flags(args, token, &body, &err)) < 0)
        goto failed;
    if (file != NULL)
        token_add(&body, token);
    if (post_open(url, &post, &err) < 0 || post_body(post, buf_span(&body), &answer, &status, &err) < 0)
        goto failed;
    if (args_has(args, "--json")) {
        printf("{\"status\":%ld,\"answer\":", status);
        buf_reset(&body);
        json_write_string(&body, buf_span(&answer));
        printf("%.*s}\n", (int)body.bytes, (const char *)body.at);
    } else {
        printf("%ld %.*s\n", status, (int)answer.bytes, (const char *)answer.at);
    }
    if (status < 200 || status >= 300)
        code = EXIT_FAILED;
    goto done;
failed:
    code = command_failed(&err);
done:
    post_close(post);
    buf_fini(&body);
    buf_fini(&answer);
    return code;
}
