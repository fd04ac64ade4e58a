/* command/roles.c - the roles, in the order of an event's way. */
#include "command/roles.h"

#include <string.h>

#include "capture/capture.h"
#include "ingest/ingest.h"
#include "load/load.h"

const struct role *const roles[] = { &capture_role, &ingest_role, &load_role, NULL };
const size_t role_count = sizeof roles / sizeof *roles - 1;

_Static_assert(sizeof roles / sizeof *roles <= ROLES_MAX, "the supervisor has room for every role");

const struct role *role_find(const char *name)
{
    for (size_t i = 0; i < role_count; i++)
        if (strcmp(roles[i]->name, name) == 0)
            return roles[i];
    return NULL;
}
