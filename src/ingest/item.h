/* ingest/item.h - one accepted event on its way through ingest.
 *
 * A slice of a batch is an array of these. The passes fill it in order: read and normalise (normalize.h;
 * nothing but the event itself is looked at, so any thread does it), people and groups (in order, one
 * thread), render (any thread again). `fate` is FATE_PENDING until a pass decides; a decided item is left
 * alone by later ones. Everything it points to is in an arena or in the record's bytes. */
#ifndef PENSTOCK_INGEST_ITEM_H
#define PENSTOCK_INGEST_ITEM_H

#include "catalog/catalog.h"
#include "event/record.h"
#include "ingest/fate.h"
#include "ingest/heatmap.h"
#include "ingest/property_key.h"
#include "ingest/warning.h"
#include "people/batch.h"
#include "wire/json.h"

enum event_kind {
    EVENT_ORDINARY,
    EVENT_IDENTIFY,
    EVENT_ALIAS,
    EVENT_MERGE,
    EVENT_SET,
    EVENT_GROUP_IDENTIFY,
    EVENT_EXCEPTION,
    EVENT_HEATMAP,
    EVENT_CLIENT_WARNING,
    EVENT_FLAG_CALLED,
    EVENT_NO_PERSON_KEYS /* $snapshot, $performance_event: their properties are not copied to the person */
};

/* A record of one of the topics that ingest reads, as it was stored. Where it is read now and where it was
 * accepted (event/record.h) are the same place, unless it was moved aside. */
struct raw_record {
    uint64_t    mark;  /* where it is read: its name for attempt.h */
    uint64_t    place; /* where it was accepted: its name for everybody else */
    struct span body;
};

struct item_group {
    struct span         type, key; /* text */
    struct span         raw_key;   /* as the client wrote it */
    struct people_group found;
};

enum { ITEM_GROUPS_MAX = 64 }; /* entries of `$groups` that are looked at; a project has five types */

struct visitor; /* ingest/cookieless.h */

struct item {
    uint64_t      mark;
    uint64_t      raw_offset; /* its place: where it was accepted */
    struct span   body;     /* the stored record */
    bool          readable; /* record was read */
    struct record record;
    enum fate     fate;
    size_t        tally; /* where it is counted: a row of passes.tally */

    /* dead letter: FATE_DEAD_LETTERED */
    const char *dead_step, *dead_reason;
    struct span dead_detail;

    /* read and normalise */
    const struct catalog_project *project;
    enum event_kind               kind;
    struct span                   name;           /* at most 200 UTF-16 units */
    struct span                   elements_chain;
    struct json_members           properties;     /* finished, but for `$group_N` */
    uint32_t                      own_group[PEOPLE_GROUP_TYPES_MAX]; /* index + 1 of the client's own `$group_N` in it */
    struct span                   session_id, window_id;              /* JSON; bytes 0: none */
    struct json_members           set, set_once;
    struct people_event           who;
    struct item_group            *groups; /* of `$groups` */
    size_t                        group_count;
    bool                          group_identify; /* group_own gets group_set */
    bool                          group_register; /* only its type gets an index */
    struct item_group             group_own;
    struct json_members           group_set;
    struct heatmap               *heatmap;        /* NULL: no points */
    struct visitor               *visitor; /* of an event in cookieless mode, else NULL */
    struct warning_list           warnings;
    bool                          message_told; /* render.c: what its message cannot hold */

    /* people */
    struct people_result result;
};

static inline bool item_pending(const struct item *item)
{
    return item->fate == FATE_PENDING;
}

/* After the people step: a question for a feature flag that found no person is told without one. */
void flag_event_settle(struct item *item, const struct property_key_table *keys);
/* Sets the fate, once. */
void item_decide(struct item *item, enum fate fate);
/* FATE_DEAD_LETTERED with where and why. step and reason are constant text; detail is copied. */
void item_bury(struct item *item, const char *step, const char *reason, struct span detail, struct arena *arena);
/* FATE_DEDUPLICATED, also of a letter, with nothing to tell: everything was told when it came first. */
void item_drop_repeat(struct item *item);

#endif
