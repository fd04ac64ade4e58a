/* command/roles.h - every role that this binary can be. Here and in roles.c alone are they named together. */
#ifndef PENSTOCK_COMMAND_ROLES_H
#define PENSTOCK_COMMAND_ROLES_H

#include "base/role.h"

enum { ROLES_MAX = 8 };

/* In the order of an event's way; ended by NULL. */
extern const struct role *const roles[];
extern const size_t role_count;

/* NULL: there is none of this name. */
const struct role *role_find(const char *name);

#endif
