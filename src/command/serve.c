/* command/serve.c - penstock serve: the first thing that anybody runs.
 *
 * An empty folder must become a running pipeline with one command, so a first start makes the project
 * "default" and its token and says, in full, how to send an event. A second start finds them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"
#include "catalog/catalog.h"
#include "command/command.h"
#include "command/config.h"
#include "command/supervisor.h"

/* The oldest token of the oldest project; made when there is none. */
static int token_ensure(const char *data, char token_out[CATALOG_TOKEN_BYTES_MAX + 1], bool *made_out, struct err *err)
{
    struct catalog               *catalog = NULL;
    struct catalog_snapshot      *snapshot = NULL;
    const struct catalog_token   *tokens, *oldest = NULL;
    const struct catalog_project *projects;
    char                          path[4096];
    uint32_t                      project;
    size_t                        count;
    int                           rc = -1;

    if (data_path(data, "catalog.db", path, sizeof path, err) < 0 || catalog_open(path, &catalog, err) < 0)
        return -1;
    if (catalog_snapshot_load(catalog, &snapshot, err) < 0)
        goto done;
    count = catalog_snapshot_tokens(snapshot, &tokens);
    for (size_t i = 0; i < count; i++) /* a secret one is not for apps, and not for a screen */
        if (!tokens[i].secret && (oldest == NULL || tokens[i].created_us < oldest->created_us))
            oldest = &tokens[i];
    *made_out = oldest == NULL;
    if (oldest != NULL) {
        (void)snprintf(token_out, CATALOG_TOKEN_BYTES_MAX + 1, "%s", oldest->token);
        rc = 0;
        goto done;
    }
    if (catalog_snapshot_projects(snapshot, &projects) > 0)
        project = projects[0].id;
    else if (catalog_project_create(catalog, "default", &project, err) < 0)
        goto done;
    rc = catalog_token_create(catalog, project, NULL, false, token_out, err);
done:
    if (snapshot != NULL)
        catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    return rc;
}

static void banner(const struct command_args *args, const struct config *config, const char *token, bool first)
{
    char   data[4200] = "", url[LISTEN_URL_BYTES], curl[LISTEN_URL_BYTES + 40];
    char   urls[LISTEN_MAX][LISTEN_URL_BYTES];
    size_t count = supervisor_urls(config->data, urls);

    if (!supervisor_url(config->data, url, sizeof url)) /* each wants a PROXY header first */
        (void)snprintf(url, sizeof url, "http://ADDRESS-OF-YOUR-PROXY");
    if (strncmp(url, "unix:", 5) == 0)
        (void)snprintf(curl, sizeof curl, "--unix-socket %s http://localhost", url + 5);
    else
        (void)snprintf(curl, sizeof curl, "%s%s", strncmp(url, "https:", 6) == 0 ? "-k " : "", url);

    if (strcmp(config->data, "penstock-data") != 0)
        (void)snprintf(data, sizeof data, " --data %s", config->data);
    fprintf(stderr, "\nPenstock %s %s. Everything it keeps is in %s; Ctrl-C stops it.\n\n", PENSTOCK_VERSION,
            first ? "runs for the first time here" : "runs", config->data);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "  address  %s\n", urls[i]);
    fprintf(stderr, "  token    %s\n\n", token);
    fprintf(stderr, "%s:\n\n  curl %s/i/v0/e/ -H 'Content-Type: application/json' \\\n"
                    "    -d '{\"api_key\":\"%s\",\"event\":\"hello\",\"distinct_id\":\"me\"}'\n\n",
            first ? "Send a first event" : "Send an event", curl, token);
    fprintf(stderr, "and look at it:\n\n  %s sql%s \"SELECT event, distinct_id, timestamp FROM events\"\n\n",
            args_program(args), data);
}

int serve_run(const struct command_args *args)
{
    static struct config config; /* large, and the roles point into it for their lives */
    struct supervisor   *supervisor = NULL;
    const char          *only = args_text(args, "--role");
    struct err           err = { .kind = ERR_NONE };
    char                 token[CATALOG_TOKEN_BYTES_MAX + 1];
    bool                 first = false;
    bool                 adopts = supervisor_adopts();
    int                  code = EXIT_DONE;

    if (only != NULL && role_find(only) == NULL)
        return args_wrong(args, "there is no role \"%s\"; the roles are capture, ingest, load", only);
    if (config_of_args(&config, args, &err) < 0 || supervisor_new(&config, args, &supervisor, &err) < 0 ||
        token_ensure(config.data, token, &first, &err) < 0 ||
        supervisor_listen(supervisor, &err) < 0) {
        code = command_failed(&err);
    } else {
        if (!adopts && (only == NULL || strcmp(only, "capture") == 0))
            banner(args, &config, token, first);
        say_init("serve", SAY_INFO);
        if (supervisor_run(supervisor, &err) < 0)
            code = command_failed(&err);
    }
    supervisor_free(supervisor);
    config_fini(&config);
    return code;
}
