/* people/batch.h - who did it: persons and groups of a batch of events, decided in order.
 *
 * Between the store (people.h) and ingest: reads each person once, applies the events in memory one after
 * the other (people/update.c: properties; people/merge.c: identify, alias, merge; people/group.c), writes
 * each changed person once at the end, and gives the rows of what changed.
 * An event sees every change of the events before it, in the batch or long ago; the result does not
 * depend on how events were cut into batches, but for versions (one step a batch and person).
 * Life: begin, apply..., finish (rows), then the caller commits the transaction. Everything given out is
 * in the arenas or the transaction: gone with the batch. @thread one */
#ifndef PENSTOCK_PEOPLE_BATCH_H
#define PENSTOCK_PEOPLE_BATCH_H

#include "base/arena.h"
#include "base/err.h"
#include "event/row.h"
#include "people/people.h"
#include "wire/json.h"

struct people_batch;

int people_batch_begin(struct people_txn *txn, struct arena *arena, struct people_batch **out, struct err *err) must_check;
/* From here on what is needed for single events lies in this arena instead. Between two events the caller may say
 * that it is done with all results so far, and reset it: memory that is used again stays in the CPU's cache. */
void people_batch_event_arena(struct people_batch *batch, struct arena *arena);
int  people_batch_events_done(struct people_batch *batch, struct err *err) must_check;

/* What may be merged. Without it: all. */
struct people_limits {
    uint64_t merge_ids_max;      /* distinct ids of a person that is merged into another; 0: any number */
    uint64_t joins_per_hour_max; /* ids and persons that join one person in an hour of acceptance; 0: any number */
    size_t   move_at_once;       /* ids of a merged person that move with the merge; more of them move later, with
                                  * the batches that come. 0: PEOPLE_MOVE_AT_ONCE */
    size_t   moves_a_batch;      /* so many with each; 0: PEOPLE_MOVES_A_BATCH */
};
enum { PEOPLE_MOVE_AT_ONCE = 1000, PEOPLE_MOVES_A_BATCH = 20000 };
void people_batch_limit(struct people_batch *batch, const struct people_limits *limits);

enum people_merge { PEOPLE_MERGE_NONE, PEOPLE_MERGE_IDENTIFY, PEOPLE_MERGE_ALIAS, PEOPLE_MERGE_DANGEROUSLY };

/* What the people step needs of one event; borrowed until people_batch_events_done, or for the whole batch. */
struct people_event {
    uint32_t                   project;
    struct span                distinct_id;
    struct uuid                uuid;
    int64_t                    timestamp_us;
    int64_t                    accepted_us;    /* its hour counts for joins_per_hour_max */
    bool                       personless;     /* $process_person_profile false: look, do not touch */
    bool                       opted_out;      /* personless by the project's setting: never a force_upgrade */
    bool                       forced_off;     /* by header: not even a look-up */
    bool                       if_known;       /* as personless while its id has no person; as any other when it has */
    bool                       last_seen;      /* the person's last_seen_us follows this event */
    bool                       person_event;   /* $identify, $create_alias, $merge_dangerously, $set: filtered keys are written too */
    bool                       no_update;      /* $exception, $$heatmap: never changes a person's properties */
    enum people_merge          merge;
    struct span                merge_other;    /* the other distinct id */
    const struct json_members *set, *set_once; /* NULL: none */
    const struct span         *unset;          /* keys */
    size_t                     unset_count;
};

enum people_mode { PEOPLE_FULL, PEOPLE_PROPERTYLESS, PEOPLE_FORCE_UPGRADE };

enum people_warning_kind {
    PEOPLE_WARN_NONE,
    PEOPLE_WARN_ALREADY_IDENTIFIED, /* cannot_merge_already_identified */
    PEOPLE_WARN_ILLEGAL_ID,         /* cannot_merge_with_illegal_distinct_id */
    PEOPLE_WARN_TOO_MANY_JOINS,     /* joins_per_hour_max: the event went on without the merge */
    PEOPLE_WARN_PROPERTIES_SIZE     /* person_properties_size_violation: this event's change was refused, or made
                                     * room for by removing `trimmed` other properties */
};

struct people_warning {
    enum people_warning_kind kind;
    struct span              source_id, target_id;   /* of the merge */
    struct uuid              person, other_person;
    size_t                   trimmed;
};

struct people_result {
    struct uuid           person_id;
    int64_t               person_created_us;
    struct span           properties; /* packed (event/packed.h): after this event, filtered changes included, $set over it;
                                       * `{}` when not full */
    enum people_mode      mode;
    struct people_warning warnings[2];
    size_t                warning_count;
    bool                  merge_too_large; /* merge_ids_max: nothing was done, the event is to be set aside */
};

/* Says whose events come next, at most PEOPLE_EXPECT_MAX. It only makes them faster. */
void people_batch_expect(struct people_batch *batch, const struct people_expected *ids, size_t count);

/* ERR_FULL (arena) and store errors fail the batch; everything that strangers can cause is a warning. */
int people_batch_apply(struct people_batch *batch, const struct people_event *event, struct people_result *out,
                       struct err *err) must_check;

/* A group that an event belongs to: its index, its properties now. found false: sixth type, no index. */
struct people_group {
    bool        found, known; /* known: the group was identified before */
    bool        refused;      /* of people_batch_group_set: too large with these properties, nothing was changed */
    size_t      trimmed;      /* of the same: was too large already; so many properties were removed */
    int         index;
    struct span properties; /* packed; `{}` when not known */
    int64_t     created_us;
};
int people_batch_group(struct people_batch *batch, uint32_t project, struct span type, struct span key,
                       struct people_group *out, struct err *err) must_check;
/* $groupidentify: merges `set` into the group. now_us: for created_at (the earlier of it and event time). */
int people_batch_group_set(struct people_batch *batch, uint32_t project, struct span type, struct span key,
                           const struct json_members *set, int64_t timestamp_us, int64_t now_us,
                           struct people_group *out, struct err *err) must_check;

/* Writes what changed into the transaction and calls back with each row: persons (deleted ones too),
 * distinct ids that moved or were made, groups; and distinct ids that earlier merges left to be moved. Rows' spans
 * live until the call returns. While people_moves_pending, a batch without events is worth having. */
typedef int people_row_seen(void *ctx, const struct row *row, struct err *err);
int people_batch_finish(struct people_batch *batch, people_row_seen *seen, void *ctx, struct err *err) must_check;

/* Illegal for merging: the lists of ingestion's contract, blank, U+0000, over 400 code points. */
bool people_id_is_illegal(struct span distinct_id);
/* UUID v5 of "<project>:<distinct_id>" in Penstock's (and PostHog's) person namespace. */
struct uuid people_person_uuid(uint32_t project, struct span distinct_id);

#endif
