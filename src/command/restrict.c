/* command/restrict.c - penstock restrict list | add | remove. What a restriction does: catalog/catalog.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/terminal.h"
#include "command/catalog_list.h"
#include "wire/json.h"
#include "wire/time.h"

/* --- list -------------------------------------------------------------------------------------- */

/* As it is, unless a terminal would obey part of it: then as JSON. Who is restricted is copied from what strangers sent. */
static void text_print(struct buf *out, struct span text)
{
    struct buf quoted;
    uint32_t   point;
    size_t     bytes;
    bool       odd = false;

    for (size_t at = 0; at < text.bytes && !odd; at += bytes)
        odd = terminal_obeys(span_from(text, at), &point, &bytes);
    if (!odd) {
        buf_add(out, text);
        return;
    }
    buf_init(&quoted, 6 * text.bytes + 2);
    json_write_string(&quoted, text);
    terminal_write_json(out, buf_span(&quoted));
    buf_fini(&quoted);
}

static void print_condition(struct buf *out, const char *name, struct span text, bool json)
{
    if (text.bytes == 0)
        return;
    if (json) {
        buf_add_format(out, ",\"%s\":", name);
        json_write_string(out, text);
    } else {
        buf_add_format(out, "  %s ", name);
        text_print(out, text);
    }
}

static void restriction_print(struct buf *out, const struct catalog_restriction *one, bool json)
{
    char uuid[UUID_TEXT_BYTES];

    uuid_format(&one->uuid, uuid);
    if (json)
        buf_add_format(out, "{\"id\":%u,\"project_id\":%u,\"action\":\"%s\"", one->id, one->project,
                       catalog_action_name(one->action));
    else
        buf_add_format(out, "%6u  project %u  %-12s", one->id, one->project, catalog_action_name(one->action));
    print_condition(out, "token", one->token, json);
    print_condition(out, json ? "distinct_id" : "distinct-id", one->distinct_id, json);
    print_condition(out, "event", one->event, json);
    print_condition(out, "uuid", span_of(uuid, one->has_uuid ? sizeof uuid : 0), json);
    print_condition(out, "property", one->property, json);
    if (one->property.bytes > 0)
        print_condition(out, "value", one->value, json);
    if (json) {
        buf_add_text(out, ",\"created_at\":\"");
        time_write_rfc3339(out, one->created_us);
        buf_add_text(out, "\"}");
    } else {
        buf_add_text(out, "  since ");
        time_write_rfc3339(out, one->created_us / 1000000 * 1000000);
        buf_add_text(out, "\n");
    }
}

static void restrictions_show(struct catalog_list *list, const struct catalog_snapshot *snapshot)
{
    const struct catalog_restriction *all;
    size_t                            count = catalog_snapshot_restrictions(snapshot, &all);

    for (size_t i = 0; i < count; i++)
        if (catalog_list_next(list, all[i].project))
            restriction_print(&list->out, &all[i], list->json);
}

int restrict_list_run(const struct command_args *args)
{
    return catalog_list_run(args, restrictions_show, "there are no restrictions; what they can do: penstock restrict add --help");
}

/* --- add --------------------------------------------------------------------------------------- */

/* A flag's text; "" is refused, because a condition without text would hold for everything. */
static int condition_read(const struct command_args *args, const char *flag, struct span *out, struct err *err)
{
    const char *text = args_text(args, flag);

    *out = SPAN("");
    if (text == NULL)
        return 0;
    if (*text == '\0')
        return err_set(err, ERR_INPUT, "%s is empty; leave it out to mean any", flag);
    *out = span_text(text);
    return 0;
}

static int property_read(const struct command_args *args, struct catalog_restriction *restriction, struct err *err)
{
    const char *text = args_text(args, "--property"), *equals;

    if (text == NULL)
        return 0;
    equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0')
        return err_set(err, ERR_INPUT, "--property takes KEY=VALUE, not \"%.60s\"", text);
    restriction->property = span_of(text, (size_t)(equals - text));
    restriction->value = span_text(equals + 1);
    return 0;
}

static int restriction_read(const struct command_args *args, struct catalog *catalog,
                            struct catalog_restriction *restriction, struct err *err)
{
    const char *action = args_at(args, 0), *uuid = args_text(args, "--uuid"), *near;
    const char *names[CATALOG_ACTION_COUNT + 1] = { NULL };

    for (size_t i = 0; i < CATALOG_ACTION_COUNT; i++)
        names[i] = catalog_action_name((enum catalog_action)i);
    near = nearest_word(action, names);
    if (!catalog_action_find(action, &restriction->action))
        return err_set(err, ERR_INPUT, "there is no action \"%.60s\"%s%s%s: drop, dead_letter, overflow, skip_persons, filter",
                       action, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
    if (uuid != NULL && !uuid_parse(span_text(uuid), &restriction->uuid))
        return err_set(err, ERR_INPUT, "--uuid: \"%.60s\" is no UUID", uuid);
    restriction->has_uuid = uuid != NULL;
    return command_project(args, false, catalog, &restriction->project, err) < 0 ||
                   condition_read(args, "--token", &restriction->token, err) < 0 ||
                   condition_read(args, "--distinct-id", &restriction->distinct_id, err) < 0 ||
                   condition_read(args, "--event", &restriction->event, err) < 0 || property_read(args, restriction, err) < 0
               ? -1 : 0;
}

/* One that was revoked may be what is meant: its events may be on the way. One with a mistake in it restricts nobody. */
static void token_tell(struct catalog *catalog, const struct catalog_restriction *restriction)
{
    struct catalog_snapshot    *snapshot;
    const struct catalog_token *token;
    struct err                  ignored = { .kind = ERR_NONE };

    if (restriction->token.bytes == 0 || catalog_snapshot_load(catalog, &snapshot, &ignored) < 0)
        return;
    token = catalog_snapshot_find_token(snapshot, restriction->token);
    if (token == NULL || token->project != restriction->project)
        fprintf(stderr, "penstock: project %u has no token %.*s: only events that came with it before are restricted. penstock token list shows "
                "those that there are\n", restriction->project, SPAN_ARG(restriction->token));
    catalog_snapshot_free(snapshot);
}

int restrict_add_run(const struct command_args *args)
{
    struct catalog_restriction restriction = { .id = 0 };
    struct catalog            *catalog;
    struct err                 err = { .kind = ERR_NONE };
    uint32_t                   id;
    int                        code = EXIT_DONE;

    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (restriction_read(args, catalog, &restriction, &err) < 0 ||
        catalog_restriction_add(catalog, &restriction, &id, &err) < 0) {
        code = command_failed(&err);
    } else {
        token_tell(catalog, &restriction);
        command_wait_in_force(args, catalog);
        command_print_id(args, id);
    }
    catalog_close(catalog);
    return code;
}

int restrict_remove_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    const char     *text = args_at(args, 0);
    char           *end;
    unsigned long   id;
    int             code = EXIT_DONE;

    errno = 0;
    id = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || id > UINT32_MAX)
        return args_wrong(args, "\"%.60s\" is no number of a restriction", text);
    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (catalog_restriction_remove(catalog, (uint32_t)id, &err) < 0)
        code = command_failed(&err);
    else
        command_wait_in_force(args, catalog);
    catalog_close(catalog);
    return code;
}
