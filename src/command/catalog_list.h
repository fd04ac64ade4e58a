/* command/catalog_list.h - how the commands `list` of the catalog print (token, project, restrict, quota, limit): a line for each
 * thing, or with --json an array of objects; with --project those of one project alone. */
#ifndef PENSTOCK_COMMAND_CATALOG_LIST_H
#define PENSTOCK_COMMAND_CATALOG_LIST_H

#include "command/catalog_access.h"

struct catalog_list {
    struct buf out;
    bool       json;
    /* catalog_list.c's */
    uint32_t only; /* a project; 0: all */
    bool     any;
};

/* True: a thing of this project is wanted, and its text comes next in list->out: a line with its end, or an object. */
bool catalog_list_next(struct catalog_list *list, uint32_t project);

/* show() goes through all of its things. none: what is said on stderr when there is nothing to list; NULL: nothing.
 * Returns the exit code. */
typedef void catalog_list_show(struct catalog_list *list, const struct catalog_snapshot *snapshot);
int catalog_list_run(const struct command_args *args, catalog_list_show *show, const char *none);

#endif
