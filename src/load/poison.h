/* load/poison.h - what load was working on when it died, so that a row that ends the process harms only itself.
 *
 * As ingest's (ingest/attempt.h), over the topics that load follows. A small file, DIR/run/load.attempt, mapped: a store into it
 * costs nothing and outlives the process. When the next start finds that the last one died inside a batch:
 *   - a row was noted (it was being read or added, or was the only one of its batch): it is the suspect. What stands
 *     before it in its topic is loaded first, then it alone; after POISON_CRASHES_MAX crashes, all but the first of them
 *     alone, it is condemned and becomes a dead letter with its bytes
 *   - none was noted (the engine, while it took or committed many rows): batches get POISON_SHRINK times smaller until
 *     the rows of that batch are done; at POISON_FEW, one row each. By so much, because each crash costs a start and the
 *     supervisor's wait before it, and those cost more than commits. Where a commit is dear (several requests to a server),
 *     POISON_SHRINK_DEAR times: most processes that die are killed, and 256 rows one by one would take minutes
 *   - the whole server ended (base/note.h): as if none was noted, and nobody is blamed for it
 *  X1  a row that did not end the process alone is never condemned
 *  X2  while there is a suspect only its topic is loaded: a few commits
 *  X3  while batches are small only rows of the batch that died are loaded: what came after it is no suspect, and there may be so
 *      much of one topic that those of another would wait for its end, and all of it would go in small batches
 * @thread loader */
#ifndef PENSTOCK_LOAD_POISON_H
#define PENSTOCK_LOAD_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/note.h"
#include "warehouse/warehouse.h"

enum { POISON_CRASHES_MAX = 3, POISON_SHRINK = 64, POISON_FEW = 256, POISON_SHRINK_DEAR = 8, POISON_TOPICS = WAREHOUSE_CURSORS_MAX };
#define POISON_NONE UINT64_MAX

struct poison_state { /* the file, in the machine's own order: it is read where it was written */
    uint64_t          version;
    uint64_t          busy;          /* the open batch has rows */
    uint64_t          rows;          /* of them */
    volatile uint64_t current;       /* mark of the row in work, or POISON_NONE */
    uint64_t          suspect, crashes;
    uint64_t          limit;         /* of a batch's rows, while a topic is not past `until` */
    uint64_t          next[POISON_TOPICS], until[POISON_TOPICS];
    /* since version 2; in an older file they are zeros */
    struct note_starter supervisor; /* who outlived the last death, or did not */
    uint64_t            deaths;     /* that the rows up to `until` have had a part in: 1, or 0 when the whole server ended */
};

struct poison;

/* run_folder NULL: without a file. dear: a commit costs more than a tenth of a start. Draws the conclusions from the last death. */
int  poison_open(const char *run_folder, bool dear, struct poison **out, struct err *err) must_check;
void poison_close(struct poison *poison);

/* How many rows the open batch, which has `pending`, may get to from this topic, whose next record is `next`: at most
 * rows_max; not more than `pending`: none now. */
size_t poison_limit(const struct poison *poison, int topic, uint64_t next, size_t pending, size_t rows_max);
/* A batch should be committed as soon as it has a row. */
bool poison_hurries(const struct poison *poison);
/* The offset in this topic that is condemned, or POISON_NONE. *blind_out: not even reading it is safe. */
uint64_t poison_condemned(const struct poison *poison, int topic, bool *blind_out);

/* poison may be NULL in all of these. */
void poison_mark(struct poison *poison, int topic, uint64_t offset);  /* this record is in work */
void poison_added(struct poison *poison, int topic, uint64_t offset); /* it is done, as far as adding goes */
/* The batch is over: loaded up to next[], or (NULL) rolled back without harm. Also told where a topic goes on without a row (what
 * it had was erased), or X2 and X3 would wait for it. */
void poison_end(struct poison *poison, const uint64_t next[POISON_TOPICS]);

#endif
