/* people/definition.h - which names a project's clients use: events, properties, and which stands on which.
 *
 * Written in the transaction of the batch that used the name, so each is told once, however often a batch is
 * begun. A name is never forgotten, and a client that makes names up must not fill the store: each project has
 * room for so many, and says DEFINITION_FULL to the next one. Names are texts of 1 to DEFINITION_NAME_BYTES_MAX
 * bytes.
 *  T1  the first type that a property is given stays; none may be filled later
 *  T2  last_seen_us never goes back
 * @thread one (ingest's) */
#ifndef PENSTOCK_PEOPLE_DEFINITION_H
#define PENSTOCK_PEOPLE_DEFINITION_H

#include "people/people.h"

enum {
    DEFINITION_NAME_BYTES_MAX = 200,
    DEFINITION_EVENTS_MAX = 10000, /* of a project */
    DEFINITION_PROPERTIES_MAX = 50000,
    DEFINITION_PAIRS_MAX = 500000
};

/* What the calls below answer, besides -1. */
enum { DEFINITION_KNOWN, DEFINITION_CHANGED, DEFINITION_FULL };

/* Of whom a property is; stored. */
enum definition_parent { DEFINITION_OF_EVENT = 1, DEFINITION_OF_PERSON = 2, DEFINITION_OF_GROUP = 3 };
/* Stored. */
enum definition_type {
    DEFINITION_UNTYPED, DEFINITION_DATETIME, DEFINITION_STRING, DEFINITION_NUMERIC, DEFINITION_BOOLEAN,
    DEFINITION_TYPE_COUNT
};

/* As it is stored after the call, when that says DEFINITION_CHANGED. */
struct definition {
    int64_t              created_us;
    int64_t              last_seen_us; /* of events */
    enum definition_type type;         /* of properties */
    uint64_t             version;      /* rises with each change, from 0 */
};

int people_define_event(struct people_txn *txn, uint32_t project, struct span name, int64_t last_seen_us, int64_t now_us,
                        struct definition *out, struct err *err) must_check;
/* group: 0..4 of DEFINITION_OF_GROUP, else -1. */
int people_define_property(struct people_txn *txn, uint32_t project, enum definition_parent parent, int group,
                           struct span name, enum definition_type type, int64_t now_us, struct definition *out,
                           struct err *err) must_check;
int people_define_pair(struct people_txn *txn, uint32_t project, struct span event, struct span property,
                       struct err *err) must_check;

#endif
