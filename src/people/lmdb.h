/* people/lmdb.h - what the files of the LMDB backend share: the environment and its tables.
 *
 * Not for others: they include people/people.h. Stored forms are drawn beside the code that writes them:
 * store.c (persons, ids, groups), seen_table.c (event ids); those of the small tables beside the modules over table.h. */
#ifndef PENSTOCK_PEOPLE_LMDB_H
#define PENSTOCK_PEOPLE_LMDB_H

#include <lmdb.h>

#include "people/people_backend.h"
#include "people/hot.h"

struct lmdb {
    struct people people; /* first */
    char    *folder; /* the store's: its file's name changes when it is written anew (rewrite.h) */
    MDB_env *env;
    MDB_dbi  tables[TABLE_COUNT];
    /* @thread the writer's */
    struct warm *warm; /* NULL: nothing is read ahead */
    struct hot  *hot;  /* of LINKS and PERSONS; NULL: none */
    struct seen *seen; /* NULL: nobody asked yet */
    size_t       seen_recent_max;
    uint32_t     format; /* of the store, when it was opened; the newest, when a writer raised it since */
    unsigned     begins; /* write transactions so far: dead readers are looked for now and then */
    /* @thread who reads */
    struct seen_view *seen_view; /* NULL: nobody asked yet */
};

struct lmdb_txn {
    struct people_txn txn; /* first */
    MDB_txn    *mdb;
    MDB_cursor *cursors[TABLE_COUNT]; /* opened on first use; NULL: not yet */
    uint64_t    person_next;          /* 0: not read yet */
    bool        packed; /* persons or groups were written: an earlier Penstock could not read them */
};

extern const struct people_ops people_lmdb_ops;

static inline struct lmdb *lmdb_of(const struct people *people)
{
    return (struct lmdb *)(uintptr_t)people;
}

static inline struct lmdb_txn *lmdb_txn_of(const struct people_txn *txn)
{
    return (struct lmdb_txn *)(uintptr_t)txn;
}

/* -1 and the kind that follows from an LMDB (or errno) result. */
int people_fail(int rc, const char *what, struct err *err);
/* A table's cursor, NULL on failure. It stays near its last key, which makes ordered access cheap. */
MDB_cursor *people_cursor(struct people_txn *txn, enum people_table table, struct err *err);
/* As people_table_*, of this backend: without the way through its table of functions. */
int lmdb_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err) must_check;
int lmdb_put(struct people_txn *txn, enum people_table table, struct span key, struct span value, struct err *err) must_check;
uint8_t *lmdb_reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err);
/* The same of LINKS and PERSONS for who calls people_hot_replace with what was written there, at once. */
uint8_t *lmdb_reserve_hot(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err);
int lmdb_delete(struct people_txn *txn, enum people_table table, struct span key, struct err *err) must_check;
int lmdb_seek(struct people_txn *txn, enum people_table table, struct span from, struct people_entry *out, struct err *err) must_check;
int lmdb_next(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err) must_check;

/* Of LINKS and PERSONS, in memory (hot.h), for the writer's transaction. Only what was checked is kept there, so it need
 * not be checked again. People_table_put, _reserve and _delete forget what they change. */
enum hot_answer people_hot_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out);
/* Gives the copy, which lives until the transaction ends; at is NULL when it is not kept. */
struct span people_hot_keep(struct people_txn *txn, enum people_table table, struct span key, struct span value);
/* Of a value that was written: it takes the place of the one before, which nobody may look at any more. */
void people_hot_replace(struct people_txn *txn, enum people_table table, struct span key, struct span value);
void people_hot_keep_absent(struct people_txn *txn, enum people_table table, struct span key);

/* rewrite.c: the store's file, by number; which is the newest in a folder (0: data.mdb, or none yet). */
enum { PEOPLE_FILE_NAME_BYTES = 40 };
void people_file_name(uint64_t number, char to[PEOPLE_FILE_NAME_BYTES]);
int  people_file_newest(const char *folder, uint64_t *number_out, struct err *err) must_check;
/* As people_open, of this file in the folder. */
int  people_open_file(const struct people_options *options, const char *name, struct people **out, struct err *err) must_check;

/* Marks the store as one that an earlier Penstock must not write any more. */
int people_format_raise(struct people_txn *txn, struct err *err) must_check;

/* --- store.c, seen.c: the operations of people_backend.h --- */
int lmdb_link_get(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out, struct err *err) must_check;
int lmdb_link_put(struct people_txn *txn, uint32_t project, struct span distinct_id, const struct person_link *link, struct err *err)
    must_check;
int lmdb_link_erase(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err) must_check;
int lmdb_links_under(struct people_txn *txn, uint64_t holder, uint64_t owner, uint32_t project, people_link_seen *seen, void *ctx,
                     struct err *err) must_check;
int lmdb_first_under(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err) must_check;
int lmdb_person_get(struct people_txn *txn, uint64_t id, struct person *out, struct err *err) must_check;
int lmdb_person_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct person *out, struct err *err) must_check;
int lmdb_person_put(struct people_txn *txn, struct person *person, struct err *err) must_check;
int lmdb_person_id_new(struct people_txn *txn, uint64_t *out, struct err *err) must_check;
int lmdb_person_delete(struct people_txn *txn, const struct person *person, uint64_t into, struct err *err) must_check;
int lmdb_person_version(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out, struct err *err) must_check;
void lmdb_expect(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out);
int lmdb_group_type(struct people_txn *txn, uint32_t project, struct span type, bool create, int *index_out, struct err *err) must_check;
int lmdb_group_get(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out, struct err *err) must_check;
int lmdb_group_put(struct people_txn *txn, const struct group *group, struct err *err) must_check;
int lmdb_seen_add(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err) must_check;
int lmdb_seen_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err) must_check;
int lmdb_seen_load(struct people *people, struct err *err) must_check;
void lmdb_seen_stats(const struct people *people, struct people_seen_stats *out);

#endif
