/* people/lmdb.h - what the files of the LMDB backend share: the environment, its tables, their keys.
 *
 * Not for others: they include people/people.h. Stored forms are drawn beside the code that writes them:
 * store.c (persons, ids, groups), seen.c (event ids), place.c (ingest's place), fates.c (counts of fates). */
#ifndef PENSTOCK_PEOPLE_LMDB_H
#define PENSTOCK_PEOPLE_LMDB_H

#include <lmdb.h>

#include "people/hot.h"
#include "people/people.h"

/* X(enum suffix, name, flags) */
#define PEOPLE_TABLES(X)                                                                                        \
    X(META, "meta", 0)                     /* format, place, next person, how far seen ids were swept */        \
    X(PERSONS, "persons", MDB_INTEGERKEY)  /* internal id -> person */                                          \
    X(LINKS, "links", 0)                   /* project, distinct id -> person, version */                        \
    X(PERSON_LINKS, "person_links", 0)     /* person, distinct id -> nothing: the way back */                   \
    X(GRAVES, "graves", 0)                 /* project, uuid -> version of the deleted person's last row */      \
    X(GROUP_TYPES, "group_types", 0)       /* project, type -> index */                                         \
    X(GROUPS, "groups", 0)                 /* project, index, key -> group */                                   \
    X(SEEN, "seen", 0)                     /* event id, project -> day, place: of before there were runs */     \
    X(SEEN_RECENT, "seen_recent", MDB_INTEGERKEY) /* sequence -> newest event ids */                            \
    X(SEEN_RUNS, "seen_runs", MDB_INTEGERKEY)     /* number -> what file seen/NUMBER.run holds */               \
    X(FATES, "fates", 0)                   /* hour, project -> counts of fates */                               \
    X(ENDED, "ended", MDB_INTEGERKEY)      /* number -> events that left no row */                              \
    X(MOVES, "moves", MDB_INTEGERKEY)      /* internal id of a merged person -> to whom its ids belong */       \
    X(JOINS, "joins", 0)                   /* hour, person -> how many joined it */                             \
    X(DEFINITIONS, "definitions", 0)       /* project, name of event or property -> since when, of which type */ \
    X(ERASING, "erasing", 0)               /* number, distinct id -> what the log still holds */               \
    X(REQUESTS, "requests", MDB_INTEGERKEY) /* number -> what an operator asked for that is not due yet */      \
    X(VISITS, "visits", 0)                 /* day, project, hash of a cookieless visitor -> salt, session, identifies */ \
    X(UNSEEN, "unseen", 0)                 /* project, event id -> day: noted as seen, and then set aside */
#define PEOPLE_TABLE_ENUM(suffix, name, flags) TABLE_##suffix,
enum people_table { PEOPLE_TABLES(PEOPLE_TABLE_ENUM) TABLE_COUNT };

struct people {
    MDB_env *env;
    MDB_dbi  tables[TABLE_COUNT];
    /* @thread the writer's */
    uint8_t     *text; /* moves.c: a distinct id in work */
    size_t       text_max;
    struct hot  *hot;  /* of LINKS and PERSONS; NULL: none */
    struct seen *seen; /* NULL: nobody asked yet */
    size_t       seen_recent_max;
    uint32_t     format; /* of the store, when it was opened; the newest, when a writer raised it since */
    unsigned     begins; /* write transactions so far: dead readers are looked for now and then */
    /* @thread who reads */
    struct seen_view *seen_view; /* NULL: nobody asked yet */
};

struct people_txn {
    struct people *people;
    MDB_txn       *txn;
    MDB_cursor    *cursors[TABLE_COUNT]; /* opened on first use; NULL: not yet */
    uint64_t       person_next;          /* 0: not read yet */
    enum { MOVES_UNKNOWN, MOVES_NONE, MOVES_SOME } moves;
    bool           write;
    bool           packed; /* persons or groups were written: an earlier Penstock could not read them */
};

/* -1 and the kind that follows from an LMDB (or errno) result. */
int people_fail(int rc, const char *what, struct err *err);
/* A table's cursor, NULL on failure. It stays near its last key, which makes ordered access cheap. */
MDB_cursor *people_cursor(struct people_txn *txn, enum people_table table, struct err *err);
/* 1 found, 0 not, -1. value_out lives until the transaction's next write. */
int people_table_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err)
    must_check;
int people_table_put(struct people_txn *txn, enum people_table table, struct span key, struct span value, struct err *err)
    must_check;
/* Room for a value, to be filled before the next call; NULL on failure. */
uint8_t *people_table_reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err);
/* 1 deleted, 0 was not there, -1. */
int people_table_delete(struct people_txn *txn, enum people_table table, struct span key, struct err *err) must_check;

/* Of LINKS and PERSONS, in memory (hot.h), for the writer's transaction. Only what was checked is kept there, so it need
 * not be checked again. People_table_put, _reserve and _delete forget what they change. */
enum hot_answer people_hot_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out);
/* Gives the copy, which lives until the transaction ends; at is NULL when it is not kept. */
struct span people_hot_keep(struct people_txn *txn, enum people_table table, struct span key, struct span value);
void people_hot_keep_absent(struct people_txn *txn, enum people_table table, struct span key);

/* rewrite.c: the store's file, by number; which is the newest in a folder (0: data.mdb, or none yet). */
enum { PEOPLE_FILE_NAME_BYTES = 40 };
void people_file_name(uint64_t number, char to[PEOPLE_FILE_NAME_BYTES]);
int  people_file_newest(const char *folder, uint64_t *number_out, struct err *err) must_check;
/* There are bytes of somebody who was erased (rewrite.h). */
int  people_rewrite_want(struct people_txn *txn, struct err *err) must_check;
/* As people_open, of this file in the folder. */
int  people_open_file(const struct people_options *options, const char *name, struct people **out, struct err *err) must_check;

/* Marks the store as one that an earlier Penstock must not write any more. */
int people_format_raise(struct people_txn *txn, struct err *err) must_check;

/* The stored form of ingest's place (place.c), of this version or an older one. */
int people_place_read(struct span value, struct people_place *out, struct err *err) must_check;
/* That of the hot keys (flags.c). */
int people_flags_read(struct span value, struct people_flag *out, size_t *count_out, struct err *err) must_check;

/* --- moves.c --- */
/* Where a stored link leads by the notes of merges, and with which version. 0, -1. */
int people_moves_follow(struct people_txn *txn, struct person_link *link, struct err *err) must_check;
/* The next merged person (of an internal id above *after, which is moved on) under which ids stand that belong to
 * owner. 1, 0: no more, -1. */
int people_moves_holder(struct people_txn *txn, uint64_t owner, uint64_t *after, uint64_t *holder_out, struct err *err)
    must_check;
/* store.c: forgets a distinct id that leads to nobody but for its version, under the uuid that is made of it. */
int people_link_erase(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err) must_check;
/* The first distinct id that stands under holder, a copy that lives until the next call. 1, 0: none, -1. */
int people_first_id(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err) must_check;

/* fates.c: the counts of a stored row; its hour and project are the caller's. */
int people_fates_read(struct span value, struct people_fates *out, struct err *err) must_check;

/* A key of at most LMDB's 511 bytes: a head of our own, then text of any length.
 *    head, 0, text                                 when text is short
 *    head, 1, its first 440 bytes, its SHA-256     otherwise; the value then holds the text, and is checked */
enum { PEOPLE_KEY_BYTES_MAX = 511, PEOPLE_KEY_TEXT_MAX = 480, PEOPLE_KEY_CUT = 440 };
struct people_key {
    uint8_t bytes[PEOPLE_KEY_BYTES_MAX];
    size_t  count;
    bool    hashed;
};
void people_key_init(struct people_key *key, uint64_t head, size_t head_bytes); /* big-endian: keys sort by it */
int  people_key_add_text(struct people_key *key, struct span text, struct err *err) must_check;

#endif
