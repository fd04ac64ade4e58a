/* people/people_backend.h - what keeps a store of persons: the functions of one backend, and what all of them have in common.
 *
 * Two levels. Persons, distinct ids, groups and seen event ids are operations of a meaning, as each backend has its own way to
 * keep them; the small tables around them are bytes (table.h), and one code serves all backends.
 * LMDB: lmdb.c, store.c, seen*.c. PostgreSQL: pg_*.c. people.c calls them.
 * A backend's own structs begin with these. */
#ifndef PENSTOCK_PEOPLE_PEOPLE_BACKEND_H
#define PENSTOCK_PEOPLE_PEOPLE_BACKEND_H

#include "people/table.h"

struct people {
    const struct people_ops *ops;
    /* @thread the writer's */
    bool     conflict; /* people_conflict */
    bool     went_back; /* people_went_back */
    uint8_t *text; /* a distinct id in work: people_text_keep */
    size_t   text_max;
};

struct people_txn {
    struct people *people;
    enum { MOVES_UNKNOWN, MOVES_NONE, MOVES_SOME } moves;
    bool write;
};

struct people_ops {
    bool rewritable; /* rewrite.h is for it */

    void (*close)(struct people *people);
    int (*begin)(struct people *people, bool write, struct people_txn **out, struct err *err);
    int (*commit)(struct people_txn *txn_take, struct err *err);
    void (*abort)(struct people_txn *txn_take);
    int64_t (*clock)(struct people *people, int64_t now_us); /* NULL: now_us */
    int (*epoch)(struct people *people, uint64_t *out, struct err *err);

    /* As in people.h, but for link_get: what is stored, without the notes of merges. */
    int (*link_get)(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out, struct err *err);
    int (*link_put)(struct people_txn *txn, uint32_t project, struct span distinct_id, const struct person_link *link,
                    struct err *err);
    int (*link_erase)(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err);
    /* The ids that stand under holder, each of which must belong to owner by the notes of merges. */
    int (*links_under)(struct people_txn *txn, uint64_t holder, uint64_t owner, uint32_t project, people_link_seen *seen,
                       void *ctx, struct err *err);
    /* Any id that stands under holder, until the next write. */
    int (*first_under)(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err);
    /* Nothing stands under holder any more, and its note ends. */
    int (*holder_end)(struct people_txn *txn, uint64_t holder, struct err *err);
    /* Whether the ids under holder are ours to move, and not another writer's. 1, 0, -1. */
    int (*holder_ours)(struct people_txn *txn, uint64_t holder, struct err *err);

    int (*person_get)(struct people_txn *txn, uint64_t id, struct person *out, struct err *err);
    /* NULL: none is missing. */
    int (*person_heir)(struct people_txn *txn, uint64_t id, uint64_t *out, struct err *err);
    int (*person_find)(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct person *out, struct err *err);
    int (*person_put)(struct people_txn *txn, struct person *person, struct err *err);
    int (*person_id_new)(struct people_txn *txn, uint64_t *out, struct err *err);
    int (*person_delete)(struct people_txn *txn, const struct person *person, uint64_t into, struct err *err);
    int (*person_version)(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out, struct err *err);

    void (*expect)(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out);
    /* NULL: a batch need not be told. */
    int (*expect_batch)(struct people_txn *txn, const struct people_expected *ids, size_t count, struct err *err);

    int (*group_type)(struct people_txn *txn, uint32_t project, struct span type, bool create, int *index_out, struct err *err);
    int (*group_get)(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out, struct err *err);
    int (*group_put)(struct people_txn *txn, const struct group *group, struct err *err);

    int (*seen_add)(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err);
    int (*seen_find)(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err);
    int (*seen_load)(struct people *people, struct err *err);
    void (*seen_stats)(const struct people *people, struct people_seen_stats *out);

    /* table.h */
    int (*table_get)(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err);
    uint8_t *(*table_reserve)(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, bool append,
                              struct err *err);
    int (*table_delete)(struct people_txn *txn, enum people_table table, struct span key, struct err *err);
    int (*table_seek)(struct people_txn *txn, enum people_table table, struct span from, struct people_entry *out, struct err *err);
    int (*table_next)(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err);
    int (*table_last)(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err);
    int (*table_drop)(struct people_txn *txn, enum people_table table, struct err *err);

    /* NULL: there are no other units. A person is erased in this transaction: no batch that began before commits after it. */
    void (*erase)(struct people_txn *txn);
    int (*others_each)(struct people_txn *txn, people_other_seen *seen, void *ctx, struct err *err);
};

/* The opening of each. */
int people_lmdb_open(const struct people_options *options, struct people **out, struct err *err) must_check;
int people_pg_open(const struct people_options *options, struct people **out, struct err *err) must_check;

/* A copy of *text that lives over writes, until the next call. */
int people_text_keep(struct people *people, struct span *text, struct err *err) must_check;

#endif
