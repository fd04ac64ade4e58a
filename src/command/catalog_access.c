/* command/catalog_access.c - see catalog_access.h. Capture tells in its metrics which version of the catalog it
 * follows; that is what is waited for. Ingest looks for a newer one after it has read a batch and before it works on
 * it, so that whatever is accepted after a change is always treated by it. */
#include "command/catalog_access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metric.h"
#include "command/as_owner.h"
#include "command/config_stores.h"

int command_catalog_open(const struct command_args *args, bool make, struct catalog **out, struct err *err)
{
    if (make && mkdir(args_data(args), 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make the data folder %s", args_data(args));
    if (!make && data_check(args_data(args), err) < 0)
        return -1;
    return command_catalog_of(args_data(args), out, err);
}

int command_catalog_of(const char *data, struct catalog **out, struct err *err)
{
    const struct stores *stores;
    struct as_owner      before = { .changed = false };
    int                  rc;

    if (command_stores(data, &stores, err) < 0)
        return -1;
    if (!command_catalog_there(data))
        before = as_owner_begin(data);
    rc = catalog_open_at(data, &stores->catalog, out, err);
    as_owner_end(&before);
    return rc;
}

bool command_catalog_there(const char *data)
{
    const struct stores *stores;
    struct err           ignored = { .kind = ERR_NONE };
    char                 path[4096];

    if (command_stores(data, &stores, &ignored) == 0 && catalog_on_postgres(&stores->catalog) &&
        (log_on_kafka(&stores->log) || access(data, F_OK) == 0))
        return true;
    return data_path(data, "catalog.db", path, sizeof path, &ignored) == 0 && access(path, F_OK) == 0;
}

int command_catalog_read(const struct command_args *args, struct catalog **catalog_out, struct catalog_snapshot **snapshot_out,
                         struct err *err)
{
    *catalog_out = NULL;
    *snapshot_out = NULL;
    if (command_catalog_open(args, false, catalog_out, err) < 0)
        return -1;
    if (catalog_snapshot_load(*catalog_out, snapshot_out, err) == 0)
        return 0;
    catalog_close(*catalog_out);
    *catalog_out = NULL;
    return -1;
}

void command_print_id(const struct command_args *args, uint32_t id)
{
    printf(args_has(args, "--json") ? "{\"id\":%u}\n" : "%u\n", id);
}

/* An id goes before a name that looks like one. *also_out: another project of the same name, or NULL. */
static const struct catalog_project *project_named(const struct catalog_snapshot *snapshot, const char *wanted,
                                                   const struct catalog_project **also_out)
{
    const struct catalog_project *projects, *found = NULL;
    size_t                        count = catalog_snapshot_projects(snapshot, &projects);

    *also_out = NULL;
    if (wanted == NULL)
        return count > 0 ? &projects[0] : NULL;
    for (size_t i = 0; i < count; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "%u", projects[i].id);
        if (strcmp(wanted, id) == 0)
            return &projects[i];
    }
    for (size_t i = 0; i < count && *also_out == NULL; i++) {
        if (strcmp(wanted, projects[i].name) != 0)
            continue;
        *(found == NULL ? &found : also_out) = &projects[i];
    }
    return found;
}

int command_project_named(struct catalog *catalog, const char *wanted, uint32_t *out, struct err *err)
{
    const struct catalog_project *found, *also;
    struct catalog_snapshot      *snapshot;
    uint32_t                      other;

    if (catalog_snapshot_load(catalog, &snapshot, err) < 0)
        return -1;
    found = project_named(snapshot, wanted, &also);
    *out = found != NULL ? found->id : 0;
    other = also != NULL ? also->id : 0;
    catalog_snapshot_free(snapshot);
    if (other != 0)
        return err_set(err, ERR_INPUT, "several projects are called \"%.60s\", such as %u and %u; say the id", wanted, *out, other);
    if (*out != 0)
        return 0;
    return wanted != NULL ? err_set(err, ERR_INPUT, "there is no project \"%.60s\"; penstock project list shows them", wanted)
                          : err_set(err, ERR_INPUT, "there is no project yet; make one: penstock project create NAME");
}

int command_project(const struct command_args *args, bool make, struct catalog *catalog, uint32_t *out, struct err *err)
{
    const char *wanted = args_text(args, "--project");

    if (command_project_named(catalog, wanted, out, err) == 0)
        return 0;
    return make && wanted == NULL && err->kind == ERR_INPUT ? catalog_project_create(catalog, "default", out, err) : -1;
}

int command_token(const struct command_args *args, struct span *out, struct err *err)
{
    const char *text = args_text(args, "--token");

    *out = text != NULL ? span_text(text) : SPAN("");
    return text != NULL && *text == '\0' ? err_set(err, ERR_INPUT, "--token is empty; leave it out to mean all of the project") : 0;
}

void command_wait_in_force(const struct command_args *args, struct catalog *catalog)
{
    enum { WAIT_US = 6000000, POLL_US = 5000 };
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
            fprintf(stderr, "penstock: done, but the running capture has not taken it over within 6 s\n");
            break;
        }
        usleep(POLL_US);
    }
    catalog_snapshot_free(snapshot);
}
