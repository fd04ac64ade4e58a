/* command/catalog_access.h - what the commands that change the catalog share (token, project, restrict, quota, limit).
 *
 * A running server sees a change within 200 ms, and a command that makes one returns when it has: the next
 * line of a script may count on it. */
#ifndef PENSTOCK_COMMAND_CATALOG_ACCESS_H
#define PENSTOCK_COMMAND_CATALOG_ACCESS_H

#include "catalog/catalog.h"
#include "command/command.h"

/* make: the data folder is made when it is missing, so that a token can be there before the first start. */
int command_catalog_open(const struct command_args *args, bool make, struct catalog **out, struct err *err) must_check;
/* The catalog of this data folder, wherever it is kept; made when it is missing. */
int command_catalog_of(const char *data, struct catalog **out, struct err *err) must_check;
/* False: nothing was served in this folder. */
bool command_catalog_there(const char *data);
/* Opens one that is there and reads it. *catalog_out and *snapshot_out are NULL after -1. */
int command_catalog_read(const struct command_args *args, struct catalog **catalog_out, struct catalog_snapshot **snapshot_out,
                         struct err *err) must_check;
/* Tells the id of what was made: bare, or as JSON. */
void command_print_id(const struct command_args *args, uint32_t id);
/* The project with this id or name; for NULL the first one. ERR_INPUT: no such project. */
int command_project_named(struct catalog *catalog, const char *wanted, uint32_t *out, struct err *err) must_check;
/* The project that --project names, by id or name; without it the first one, which is made when make is set
 * and there is none. ERR_INPUT: no such project. */
int command_project(const struct command_args *args, bool make, struct catalog *catalog, uint32_t *out,
                    struct err *err) must_check;
/* What --token names, "" without it; ERR_INPUT: "" was given. */
int command_token(const struct command_args *args, struct span *out, struct err *err) must_check;
/* Waits until a running capture has what was written; not at all when none runs. */
void command_wait_in_force(const struct command_args *args, struct catalog *catalog);

#endif
