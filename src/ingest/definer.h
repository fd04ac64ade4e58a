/* ingest/definer.h - tells which names an event uses: its own, its properties, those of its person or group.
 *
 * Nearly every event uses names that are known, so what is remembered in memory decides what an event costs:
 * a hash over all its names (its shape) that was seen before is one look. Otherwise each name is looked up by
 * itself, and only what is not remembered is asked of the store (people/definition.h), in the batch's
 * transaction. What is remembered is bounded and may be forgotten at any time; the store alone decides.
 *  D1  a new or changed definition gives exactly one row, in the batch that used it
 *  D2  what a batch taught counts only if it is committed: definer_abort after one that was not
 * Which names count, and how: docs/ingest.md. @thread one */
#ifndef PENSTOCK_INGEST_DEFINER_H
#define PENSTOCK_INGEST_DEFINER_H

#include "ingest/item.h"
#include "ingest/render.h"

enum { DEFINER_UPDATES_MAX = 10000 }; /* an event that tells more tells nothing */

struct definer;

struct definer *definer_new(void); /* NULL: no memory */
void definer_free(struct definer *definer);
void definer_abort(struct definer *definer);

struct definer_env {
    struct people_txn *txn;
    struct arena      *arena; /* of the event */
    int64_t            now_us;
    row_sink          *sink;
    void              *sink_ctx;
};

/* A stored event, after its group was found. A project without room for more names gets a warning. */
int definer_item(struct definer *definer, const struct definer_env *env, struct item *item, struct err *err) must_check;

/* The hour in which `now` lies, begun for each name at a minute of its own, so that not all names of a project
 * change at once. */
int64_t definer_hour(uint32_t project, struct span name, int64_t now_us);

#endif
