/* people/table.h - the ordered tables of a store of persons, whatever keeps them: keys and values are bytes.
 *
 * For the files of src/people alone; others include people/people.h. Keys of a table sort by their bytes, or by their
 * number where the table says so (8 bytes, the machine's order). What is drawn beside the code that writes a value is
 * its stored form in every backend.
 * Each table has one position, which seek, next and last move, and get, put, reserve and delete may move too; drop deletes
 * the entry that stands there, and next then gives the one behind it.
 *  B1  a write transaction sees its own writes
 *  B2  spans given out live until the transaction's next write */
#ifndef PENSTOCK_PEOPLE_TABLE_H
#define PENSTOCK_PEOPLE_TABLE_H

#include "people/people.h"

/* X(enum suffix, name, keys are numbers) */
#define PEOPLE_TABLES(X)                                                                                        \
    X(META, "meta", 0)                     /* format, place, next person, how far seen ids were swept */        \
    X(PERSONS, "persons", 1)               /* internal id -> person; of LMDB */                                 \
    X(LINKS, "links", 0)                   /* project, distinct id -> person, version; of LMDB */               \
    X(PERSON_LINKS, "person_links", 0)     /* person, distinct id -> nothing: the way back; of LMDB */          \
    X(GRAVES, "graves", 0)                 /* project, uuid -> version of the deleted person's last row; of LMDB */ \
    X(GROUP_TYPES, "group_types", 0)       /* project, type -> index; of LMDB */                                \
    X(GROUPS, "groups", 0)                 /* project, index, key -> group; of LMDB */                          \
    X(SEEN, "seen", 0)                     /* event id, project -> day, place: of before there were runs; of LMDB */ \
    X(SEEN_RECENT, "seen_recent", 1)       /* sequence -> newest event ids; of LMDB */                          \
    X(SEEN_RUNS, "seen_runs", 1)           /* number -> what file seen/NUMBER.run holds; of LMDB */             \
    X(FATES, "fates", 0)                   /* hour, project -> counts of fates */                               \
    X(ENDED, "ended", 1)                   /* number -> events that left no row */                              \
    X(MOVES, "moves", 1)                   /* internal id of a merged person -> to whom its ids belong */       \
    X(JOINS, "joins", 0)                   /* hour, person -> how many joined it */                             \
    X(DEFINITIONS, "definitions", 0)       /* project, name of event or property -> since when, of which type */ \
    X(ERASING, "erasing", 0)               /* number, distinct id -> what the log still holds */               \
    X(REQUESTS, "requests", 1)             /* number -> what an operator asked for that is not due yet */       \
    X(VISITS, "visits", 0)                 /* day, project, hash of a cookieless visitor -> salt, session, identifies */ \
    X(UNSEEN, "unseen", 0)                 /* project, event id -> day: noted as seen, and then set aside */
#define PEOPLE_TABLE_ENUM(suffix, name, numbers) TABLE_##suffix,
enum people_table { PEOPLE_TABLES(PEOPLE_TABLE_ENUM) TABLE_COUNT };

struct people_entry {
    struct span key, value;
};

/* 1 found, 0 not, -1. */
int people_table_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err)
    must_check;
int people_table_put(struct people_txn *txn, enum people_table table, struct span key, struct span value, struct err *err)
    must_check;
/* Room for a value, to be filled before the next call; NULL on failure. */
uint8_t *people_table_reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err);
/* 1 deleted, 0 was not there, -1. */
int people_table_delete(struct people_txn *txn, enum people_table table, struct span key, struct err *err) must_check;

/* The first entry at or behind `from` (of no bytes: the very first), the next one, the last of all. 1, 0: there is none, -1. */
int people_table_seek(struct people_txn *txn, enum people_table table, struct span from, struct people_entry *out, struct err *err)
    must_check;
int people_table_next(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err) must_check;
int people_table_last(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err) must_check;
int people_table_drop(struct people_txn *txn, enum people_table table, struct err *err) must_check;
/* Behind all that are there: as put, but cheaper. */
uint8_t *people_table_append(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err);

static inline struct span people_number_span(const uint64_t *number)
{
    return span_of(number, sizeof *number);
}

/* 0, or -1: the key is not a number. */
static inline int people_entry_number(const struct people_entry *entry, uint64_t *out, struct err *err)
{
    if (entry->key.bytes != sizeof *out) {
        (void)err_set(err, ERR_CORRUPT, "people: a number as a key has %zu bytes", entry->key.bytes);
        return -1; /* as it does, but the compiler sees that nothing of *out is read */
    }
    memcpy(out, entry->key.at, sizeof *out);
    return 0;
}

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

/* --- what the modules over the tables say to each other ------------------------------------------ */

/* There are bytes of somebody who was erased (rewrite.h). */
int people_rewrite_want(struct people_txn *txn, struct err *err) must_check;
/* The stored form of ingest's place (place.c), of this version or an older one. */
int people_place_read(struct span value, struct people_place *out, struct err *err) must_check;
/* That of the hot keys (flags.c). */
int people_flags_read(struct span value, struct people_flag *out, size_t *count_out, struct err *err) must_check;
/* fates.c: the counts of a stored row; its hour and project are the caller's. */
int people_fates_read(struct span value, struct people_fates *out, struct err *err) must_check;

/* --- moves.c --- */
/* Where a stored link leads by the notes of merges, and with which version. 0, -1. */
int people_moves_follow(struct people_txn *txn, struct person_link *link, struct err *err) must_check;
/* The next merged person (of an internal id above *after, which is moved on) under which ids stand that belong to
 * owner. 1, 0: no more, -1. */
int people_moves_holder(struct people_txn *txn, uint64_t owner, uint64_t *after, uint64_t *holder_out, struct err *err)
    must_check;
/* Forgets a distinct id that leads to nobody but for its version, under the uuid that is made of it. */
int people_link_erase(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err) must_check;
/* The first distinct id that stands under holder, a copy that lives until the next call. 1, 0: none, -1. */
int people_first_id(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err) must_check;

#endif
