/* load/follow.h - from the log's topics into the warehouse's open batch.
 *
 * Follows each topic (partition 0) from a place on, and turns records into rows. What is no row becomes a
 * dead letter, a gap becomes a warning, both in the same batch.
 *  F1  next[i] is the first offset of topic i that is not in the open batch or an earlier one
 *  F2  a record that was skipped by follow_skip comes as a dead letter, once
 * @thread loader */
#ifndef PENSTOCK_LOAD_FOLLOW_H
#define PENSTOCK_LOAD_FOLLOW_H

#include "base/buf.h"
#include "load/eraser.h"
#include "load/poison.h"
#include "log/log.h"
#include "warehouse/warehouse.h"

/* X(number, enum suffix, name). The numbers are those of ingest's outputs, and of the warehouse's cursors (next_N):
 * stored. A number that is left out is a topic that is not loaded. */
#define FOLLOW_LIST(X)                                                                                          \
    X(0, EVENTS, "events") X(1, PEOPLE, "people") X(2, WARNINGS, "warnings") X(3, DEAD_LETTERS, "dead_letters") \
    X(4, HEATMAPS, "heatmaps") X(5, DEFINITIONS, "definitions") X(7, RECEIPTS, "receipts")
#define FOLLOW_ENUM(number, suffix, name) FOLLOW_##suffix = number,
enum { FOLLOW_LIST(FOLLOW_ENUM) FOLLOW_TOPICS };
_Static_assert((int)FOLLOW_TOPICS <= (int)WAREHOUSE_CURSORS_MAX, "each topic has a cursor in the warehouse");
_Static_assert((int)FOLLOW_RECEIPTS == (int)WAREHOUSE_ORDERS, "orders to erase are receipts");
extern const char *const follow_topics[FOLLOW_TOPICS]; /* NULL: not loaded */

struct follow_counts {
    uint64_t unreadable; /* records that are no rows */
    uint64_t refused;    /* rows that the warehouse does not take */
    uint64_t crashed;    /* rows that ended the process */
    uint64_t gap_records;
};

struct follow_topic {
    struct log_reader *reader;
    struct log_chunk   chunk;
    bool               in_chunk;
    bool               gap;    /* the chunk is one, and was not told yet */
    uint64_t           next;   /* F1 */
    uint64_t           until;  /* a batch that is made again ends here (warehouse.h); UINT64_MAX: it is another one */
    uint64_t           stored; /* what the log was told last */
    uint64_t           skip;   /* UINT64_MAX: none */
    bool               skip_crashed, skip_blind; /* why; and that it must not even be read */
};

struct follow {
    struct log          *log;    /* borrowed */
    uint32_t             partition;
    struct poison       *poison; /* borrowed; NULL: none */
    struct span          crash_on; /* tests: abort at an event of this name; or, behind "commit:", in its commit */
    bool                 crash_commit;
    struct follow_topic  topics[FOLLOW_TOPICS];
    struct follow_counts counts;
    struct row           row;
    struct buf           text; /* of dead letters and warnings */
    struct eraser        eraser;
    size_t               live;       /* events of the open batch that are no import's; the loader forgets them with it */
    int                  last_topic; /* where the row that was added last came from */
    uint64_t             last_offset;
};

void follow_init(struct follow *follow, struct log *log, uint32_t partition);
void follow_fini(struct follow *follow);

/* Begins anew at these places (after start, after a failure). */
int follow_seek(struct follow *follow, const struct warehouse_place *place, struct err *err) must_check;
/* The warehouse is about to be a new one: tells the log that nothing is loaded. */
int follow_begin_anew(struct follow *follow, struct err *err) must_check;
/* The topic's records that were published and are not in a batch yet. 0 before follow_seek. */
uint64_t follow_lag(struct follow *follow, int topic);
/* So long after the last people were committed at `place`: those that came since wait for others (load/people_wait.h). */
bool follow_people_wait(struct follow *follow, const struct warehouse_place *place, int64_t since_us);
/* Adds rows of this topic to the open batch until it has rows_max or there are no more, or after a good
 * many (so that others get their turn): 1 when there may be more, 0 when not, -1 as warehouse_add (the
 * batch is then to be rolled back and the place sought again) or as the log. */
int follow_fill(struct follow *follow, int topic, struct warehouse *warehouse, size_t rows_max, int64_t now_us,
                struct err *err) must_check;
/* 1: an order to erase was met, and everything before it is in the open batch or loaded, by other units' loaders too: that batch is to
 * be committed, then the order carried out by follow_erase in a batch of its own. 0: not yet; -1. */
int  follow_erase_due(struct follow *follow, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;
int  follow_erase(struct follow *follow, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;
/* Sought at a place that says `again`: the batch is complete again. */
bool follow_ended(const struct follow *follow);
/* The row added last is to blame: the next time its record becomes a dead letter. False when it is one
 * already. */
bool follow_skip(struct follow *follow);
/* This record becomes a dead letter, because it ended the process. blind: without being read. */
void follow_condemn(struct follow *follow, int topic, uint64_t offset, bool blind);
/* After a commit: tells the log how far the warehouse is, for retention. */
int follow_store(struct follow *follow, struct err *err) must_check;

#endif
