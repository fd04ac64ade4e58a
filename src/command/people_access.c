/* command/people_access.c - see people_access.h. A reader of LMDB stops nobody, but pages that it may see are not used again
 * while it is open: so whoever asks begins, reads, and ends. */
#include "command/people_access.h"

#include <sys/stat.h>

#include "command/command.h"
#include "command/config_stores.h"

int command_people_begin(const char *data, struct people_access *out, struct err *err)
{
    return command_people_begin_unit(data, 0, out, err);
}

int command_people_begin_unit(const char *data, uint32_t unit, struct people_access *out, struct err *err)
{
    char                  path[4096];
    struct people_options options = { .folder = path, .unit = unit };
    const struct stores  *stores;
    struct stat           found;

    *out = (struct people_access){ .people = NULL };
    if (data_path(data, "people", path, sizeof path, err) < 0 || command_stores(data, &stores, err) < 0)
        return -1;
    options.settings = &stores->people;
    if (!people_on_postgres(&stores->people) && stat(path, &found) < 0)
        return 0;
    if (people_open(&options, &out->people, err) < 0 || people_begin(out->people, false, &out->txn, err) < 0) {
        command_people_end(out);
        return -1;
    }
    return 1;
}

void command_people_end(struct people_access *access)
{
    if (access->txn != NULL)
        people_abort(access->txn);
    if (access->people != NULL)
        people_close(access->people);
    *access = (struct people_access){ .people = NULL };
}
