/* command/serve.c - penstock serve: the first thing that anybody runs.
 *
 * An empty folder must become a running pipeline with one command, so a first start makes the project
 * "default" and its token and says, in full, how to send an event. A second start finds them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"
#include "capture/capture.h"
#include "catalog/catalog.h"
#include "catalog/catalog_restore.h"
#include "command/command.h"
#include "command/config.h"
#include "command/supervisor.h"

/* Not where another server's capture lives by the catalog: that one holds the lock then. */
static int catalog_mend(const struct config *config, const struct command_args *args, char told[CATALOG_RESTORE_TOLD_BYTES], struct err *err)
{
    char run[4200];

    told[0] = '\0';
    if (supervisor_adopts() || !supervisor_role_chosen(args, capture_role.name) || catalog_on_postgres(&config->stores.catalog))
        return 0;
    return data_path(config->data, "run", run, sizeof run, err) < 0 ? -1 : catalog_restore(config->data, run, told, err);
}

/* The token to show; made when there is none. */
static int token_ensure(const struct config *config, char token_out[CATALOG_TOKEN_BYTES_MAX + 1], bool *made_out, struct err *err)
{
    struct catalog *catalog = NULL;
    int             rc;

    if (catalog_open_at(config->data, &config->stores.catalog, &catalog, err) < 0)
        return -1;
    rc = catalog_token_ensure(catalog, token_out, made_out, err);
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

/* No token was known, and yet something was accepted here before. */
static void new_catalog_tell(const struct config *config)
{
    char path[4200];

    (void)snprintf(path, sizeof path, "%.4000s/log/raw", config->data);
    if (access(path, F_OK) == 0)
        say(SAY_WARN, "a token was made, for none was known, though events were accepted here before: was the catalog lost, or all tokens revoked? "
            "Those with a token of before are refused (401) until a copy of the catalog is put back (stop the server first), or the token is made "
            "anew: penstock token create --token TOKEN");
}

int serve_run(const struct command_args *args)
{
    static struct config config; /* large, and the roles point into it for their lives */
    struct supervisor   *supervisor = NULL;
    char                 wrong[60];
    struct err           err = { .kind = ERR_NONE };
    char                 token[CATALOG_TOKEN_BYTES_MAX + 1], mended[CATALOG_RESTORE_TOLD_BYTES] = "";
    bool                 first = false;
    bool                 adopts = supervisor_adopts();
    int                  code = EXIT_DONE;

    if (!supervisor_roles_known(args, wrong, sizeof wrong))
        return args_wrong(args, "there is no role \"%s\"; the roles are capture, ingest, load", wrong);
    if (config_of_args(&config, args, &err) < 0 || supervisor_new(&config, args, &supervisor, &err) < 0 ||
        catalog_mend(&config, args, mended, &err) < 0 || token_ensure(&config, token, &first, &err) < 0 ||
        supervisor_listen(supervisor, &err) < 0) {
        code = command_failed(&err);
    } else {
        if (!adopts && supervisor_role_chosen(args, "capture") && say_taken())
            banner(args, &config, token, first);
        say_init("serve", SAY_INFO);
        if (mended[0] != '\0')
            say(SAY_WARN, "%s", mended);
        if (first)
            new_catalog_tell(&config);
        if (supervisor_run(supervisor, &err) < 0)
            code = command_failed(&err);
    }
    supervisor_free(supervisor);
    config_fini(&config);
    return code;
}
