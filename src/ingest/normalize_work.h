/* ingest/normalize_work.h - what the files of normalisation share: one event's members while rules run.
 * normalize.c decides and calls in order; project_rules.c holds what a project's people decided;
 * cookieless_keys.c takes out what tells a visitor; person_keys.c copies to the person; group_keys.c reads groups;
 * heatmap.c takes points of pages out; flag_event.c knows questions for feature flags; advice.c tells what changes
 * nothing. */
#ifndef PENSTOCK_INGEST_NORMALIZE_WORK_H
#define PENSTOCK_INGEST_NORMALIZE_WORK_H

#include "ingest/member_list.h"
#include "ingest/normalize.h"

struct work {
    const struct normalize_env *env;
    struct item                *item;
    struct json_value           set_raw, set_once_raw; /* of the event's top; raw.bytes 0: not there */
    struct json_value           properties_raw; /* of the event's top, when it is no object */
    struct json_value           timestamp;
    struct member_list          properties;
    struct member_list          set, set_once;
    bool                        cookieless;      /* its address and browser are for the hash alone */
    bool                        person_keys_off; /* no `$set`, `$set_once`, `$unset` at all */
    unsigned                    restrictions;    /* 1 << enum catalog_action: what the project asks for this event */
};

/* Warns that a property has a type that its rule cannot use. */
void work_warn_type(struct work *work, enum warning_type type, const char *field, const struct json_value *value);

/* project_rules.c: */
/* Restrictions of the project that need nothing but the record. May decide the item. */
void project_restrict(struct work *work);
/* Older than the project takes, or unwanted by one of its filters. May decide the item. */
int project_drop(struct work *work, struct err *err) must_check;

/* person_keys.c: */
/* `$set` and `$set_once` of the properties, with those of the event's top over them. */
int person_keys_read(struct work *work, struct err *err) must_check;
/* `$geoip_*` onto properties, `$set` and `$set_once`. */
void person_keys_add_place(struct work *work, const struct geoip_place *place);
/* What every event tells of its person: browser, campaign, ... */
void person_keys_copy(struct work *work);
/* The finished lists into the properties and into item->who. */
int person_keys_finish(struct work *work, struct err *err) must_check;

/* flag_event.c: */
/* Whether a `$feature_flag_called` event asks for a person where there is none. */
bool flag_event_wants_person(const struct work *work);
/* Takes out what tells neither of the flag nor of who asked. */
void flag_event_strip(struct work *work);

/* heatmap.c: */
/* `$heatmap_data` and how far the page before was scrolled into item->heatmap. May decide the item. */
int heatmap_take(struct work *work, struct err *err) must_check;

/* advice.c: */
/* Warnings that change nothing: what capture mended, times, ids, counts that are none. */
void advice_give(struct work *work);
/* A `$$client_ingestion_warning` event becomes a warning. Decides the item. */
void advice_become(struct work *work);

/* cookieless_keys.c: */
/* Takes what an event in cookieless mode tells its visitor by; leaves room for what comes instead. May decide it. */
int cookieless_keys_take(struct work *work, struct err *err) must_check;
/* The same out of `$set` and `$set_once`. */
void cookieless_keys_strip(struct work *work);

/* group_keys.c: */
/* `$groups`, `$group_type`, `$group_key`, `$group_set`, `$group_0..4`. May decide the item. */
int group_keys_check(struct work *work, struct err *err) must_check;
int group_keys_read(struct work *work, struct err *err) must_check;

#endif
