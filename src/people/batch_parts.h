/* people/batch_parts.h - what the files of the people step share: the persons, ids and groups of one batch.
 *
 * Not for others: they include people/batch.h.
 * Everything read is kept here, each once, until the batch ends; nothing is written to the store before
 * people_batch_finish (but for indexes of new group types).
 *  M1  a batch_link is in the list of its person, and of no other
 *  M2  a person that is deleted has no links, and is reached by none
 *  M3  before the links of a stored person move, all of its stored links are here (links_read); or, when they are
 *      many, only those that are here move now, and the others by a note (people/moves.c) at the end */
#ifndef PENSTOCK_PEOPLE_BATCH_PARTS_H
#define PENSTOCK_PEOPLE_BATCH_PARTS_H

#include "base/clock.h"
#include "people/batch.h"
#include "people/properties.h"

struct batch_person {
    struct person        person; /* id 0 until finish when made in this batch; its `properties` are not used */
    struct span          packed;     /* its properties, as they were when it was last taken apart */
    struct properties    properties; /* taken apart, in the event arena: see batch_person_open */
    uint32_t             opened;     /* the stretch of events in which that was done */
    struct batch_person *next_open;
    struct batch_link   *links;
    uint64_t             link_count;  /* those here */
    uint64_t             links_owed;  /* and those that will come by notes of this batch; only with merge_ids_max */
    struct batch_person *merged_into; /* NULL, but when deleted */
    uint64_t             joins;       /* in joins_hour; 0: not asked for yet */
    uint32_t             joins_hour;
    bool                 links_read;
    bool                 dirty;   /* to be written, and told: in the list below */
    bool                 stepped; /* its version has risen in this batch */
    bool                 deleted;
    struct batch_person *next_joined;
    struct batch_person *next_dirty; /* those that were made in this batch stand in the order of that */
};

struct batch_link {
    uint64_t             hash;
    uint32_t             project;
    struct span          distinct_id;
    uint64_t             version;
    bool                 known;   /* it leads, or led, to somebody: version counts */
    uint32_t             order;   /* in which the batch came across it */
    bool                 dirty;   /* to be written, and told: in the list below */
    struct batch_person *person;  /* NULL: nobody */
    struct batch_link   *of_person; /* the next of the same person */
    struct batch_link   *next_dirty;
};

struct batch_group {
    uint64_t            hash;
    struct group        group; /* its `properties` are not used */
    struct properties   properties;
    struct span         type;
    bool                known; /* stored, or made in this batch */
    bool                dirty, stepped;
    struct batch_group *next;
};

struct batch_group_type {
    uint32_t    project;
    struct span type;
    int         index; /* -1: no place was left */
};

/* An open table of pointers, by hash; grown in the arena. */
struct batch_index {
    void   **slots;
    uint64_t *hashes;
    size_t   count, slot_mask;
};

struct people_batch {
    struct people_txn    *txn;
    struct people_limits  limits;
    struct arena         *arena;       /* of what is kept until the batch ends */
    struct arena         *event_arena; /* of what one event needs; may be the same */
    struct batch_index    persons_by_id, links_by_id, groups_by_key;
    uint32_t              stretch;      /* of events that share the event arena's memory; from 1 on */
    struct batch_person  *open_persons; /* taken apart in this stretch */
    struct batch_person  *dirty_persons, **dirty_persons_end;
    struct batch_link    *dirty_links;
    struct batch_person  *joined;      /* somebody joined them */
    size_t                dirty_person_count, dirty_link_count;
    uint32_t              link_count;
    struct batch_group   *groups, **groups_end;
    struct batch_group_type *group_types;
    size_t                group_type_count, group_type_room;
    struct change        *changes; /* update.c: room for the changes of one event */
    size_t                changes_max;
};

/* --- batch.c --- */
/* The link of a distinct id, read when it is not here yet; never NULL but on failure. */
struct batch_link *batch_link_get(struct people_batch *batch, uint32_t project, struct span distinct_id, struct err *err);
/* To be written and told at the end: kept apart, as walking over all that was only read costs more than writing
 * what changed. */
void batch_link_dirty(struct people_batch *batch, struct batch_link *link);
void batch_person_dirty(struct people_batch *batch, struct batch_person *person);
/* Takes a person's properties apart, unless they are: they hold until the stretch of events is over. Only their packed
 * form stays longer: a batch meets thousands of persons, most of them once. */
int batch_person_open(struct people_batch *batch, struct batch_person *person, struct err *err) must_check;
/* Makes link lead to person, with this version. */
void batch_link_set(struct people_batch *batch, struct batch_link *link, struct batch_person *person, uint64_t version);
/* How many distinct ids person has; stops counting at max + 1. */
int batch_person_count_links(struct people_batch *batch, struct batch_person *person, uint64_t max, uint64_t *out,
                             struct err *err) must_check;
/* Whoever a person was merged into, in this batch, at the end of all; *steps_out: over how many merges. */
struct batch_person *batch_person_survivor(struct batch_person *person, uint64_t *steps_out);
/* All stored links of person are here afterwards, or (M3) move_at_once more and links_read is not set. */
int batch_person_read_links(struct people_batch *batch, struct batch_person *person, struct err *err) must_check;
/* A person that nobody knew, of this uuid; no links yet. NULL on failure. */
struct batch_person *batch_person_new(struct people_batch *batch, uint32_t project, struct uuid uuid, int64_t created_us,
                                      struct err *err);
/* A copy of a member of an event, for a group to keep: key, colon and value in one piece. */
int batch_member_keep(struct people_batch *batch, const struct json_member *member, struct json_member *out,
                      struct err *err) must_check;
/* Notes that something of it was changed: once a batch its version rises. */
void batch_person_touch(struct people_batch *batch, struct batch_person *person);
void batch_warn(struct people_result *result, enum people_warning_kind kind, const struct people_event *event,
                const struct batch_person *person, const struct batch_person *other);
void  batch_index_init(struct batch_index *index);
/* The first entry with this hash, and further ones: *at starts at 0. NULL: no more. */
void *batch_index_find(const struct batch_index *index, uint64_t hash, size_t *at);
int   batch_index_add(struct batch_index *index, uint64_t hash, void *entry, struct arena *arena, struct err *err) must_check;
uint64_t batch_hash(uint64_t head, struct span text);

/* --- merge.c --- */
/* Decides whose event it is: *person_out, the event's person after any merge. *created_out: it was made by
 * this event, properties and all. */
int batch_merge(struct people_batch *batch, const struct people_event *event, struct batch_link *target,
                struct batch_person **person_out, bool *created_out, struct people_result *result, struct err *err) must_check;
/* Makes the event's person with the event's properties; the link of event->distinct_id leads to it. */
int batch_create(struct people_batch *batch, const struct people_event *event, struct batch_link *link,
                 struct batch_person **person_out, struct people_result *result, struct err *err) must_check;

/* --- update.c --- */
/* Fills a new person's properties from the event that makes it. */
int batch_properties_create(struct people_batch *batch, const struct people_event *event, struct batch_person *person,
                            struct people_result *result, struct err *err) must_check;
/* Applies the event's $set_once, $set, $unset; fills result->properties. created: they were applied already. */
int batch_properties_update(struct people_batch *batch, const struct people_event *event, struct batch_person *person, bool created,
                            struct people_result *result, struct err *err) must_check;

/* --- trim.c --- */
/* Removes properties until the text is no longer than a person's or group's may be, or only protected ones are
 * left; *trimmed_out: how many. set, set_once (may be NULL): of the event that is applied, they go last. */
int properties_trim(struct properties *properties, const struct json_members *set, const struct json_members *set_once,
                    bool group, struct arena *arena, size_t *trimmed_out, struct err *err) must_check;

/* --- group.c --- */
int batch_groups_finish(struct people_batch *batch, people_row_seen *seen, void *ctx, struct err *err) must_check;

#endif
