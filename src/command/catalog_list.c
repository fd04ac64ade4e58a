/* command/catalog_list.c - how the commands `list` of the catalog print. */
#include "command/catalog_list.h"

#include <stdio.h>

enum { LIST_BYTES_MAX = 256 << 20 };

bool catalog_list_next(struct catalog_list *list, uint32_t project)
{
    if (list->only != 0 && list->only != project)
        return false;
    if (list->json && list->any)
        buf_add_text(&list->out, ",\n ");
    list->any = true;
    return true;
}

int catalog_list_run(const struct command_args *args, catalog_list_show *show, const char *none)
{
    struct catalog          *catalog;
    struct catalog_snapshot *snapshot;
    struct catalog_list      list = { .json = args_has(args, "--json") };
    struct err               err = { .kind = ERR_NONE };

    if (command_catalog_read(args, &catalog, &snapshot, &err) < 0)
        return command_failed(&err);
    if (args_has(args, "--project") && command_project(args, false, catalog, &list.only, &err) < 0) {
        catalog_snapshot_free(snapshot);
        catalog_close(catalog);
        return command_failed(&err);
    }
    buf_init(&list.out, LIST_BYTES_MAX);
    buf_add_text(&list.out, list.json ? "[" : "");
    show(&list, snapshot);
    buf_add_text(&list.out, list.json ? "]\n" : "");
    if (!list.any && !list.json && none != NULL)
        fprintf(stderr, "penstock: %s\n", none);
    command_print(&list.out);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    return EXIT_DONE;
}
