/* people/people.h - the store of persons, distinct ids, groups, seen event ids, and of ingest's place.
 *
 * One transaction at a time, opened by its one writer (ingest), holds everything that a batch of events
 * changes: persons, ids, groups, which event ids were seen, the places in the input topics, the ends of
 * the output topics and the counters of fates, in all and by hour. It is committed whole or not at all, so a batch is
 * processed exactly once however often it is begun (design D4).
 * Backend: LMDB in DIR/people; reads inside a transaction see its own writes. A process has a folder open
 * once at a time.
 *  P1  a distinct id of a project belongs to at most one person
 *  P2  every person has at least one distinct id, until it is deleted
 *  P3  a person's or id's version never falls, not even over delete and reuse (tombstones keep it)
 *  P4  the cursor moves only together with what it covers
 * Spans given out live until the transaction's next write or end. @thread one (ingest's people step) */
#ifndef PENSTOCK_PEOPLE_PEOPLE_H
#define PENSTOCK_PEOPLE_PEOPLE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "base/stores.h"
#include "wire/uuid.h"

enum {
    PEOPLE_GROUP_TYPES_MAX = 5,
    PEOPLE_INPUTS_MAX = 4,
    PEOPLE_OUTPUTS_MAX = 8,
    PEOPLE_COUNTERS_MAX = 64,
    PEOPLE_DELETED_VERSIONS = 100, /* a deleted person's last row has its version and this */
    PEOPLE_PERSON_PROPERTIES_BYTES_MAX = 512 << 10 /* JSON text; upstream's limit for one person */
};

struct people; /* the store */
struct people_txn;

struct people_options {
    const char *folder;        /* embedded: DIR/people; created when missing */
    const struct people_settings *settings; /* borrowed while it is open; NULL: embedded */
    uint32_t    unit;          /* of PostgreSQL: which unit's place and small tables */
    bool        owner;         /* of PostgreSQL: the unit is taken over from whoever had it, at once; else by the first that writes */
    uint64_t    map_bytes_max; /* address space, not memory; 0: 1 TiB. Reaching it is ERR_FULL */
    size_t      memory_bytes;  /* of persons and ids that are kept at hand; 0: 4 MiB (PostgreSQL: 64); less than 64 KiB: none */
    uint64_t    warm_bytes;   /* embedded: so much of the store is read into the page cache at once, by a thread; 0: none */
    size_t      seen_recent_max; /* event ids in memory before they become a file; 0: 1 Mi, some 50 to 150 MiB */
};

int  people_open(const struct people_options *options, struct people **out, struct err *err) must_check;
void people_close(struct people *people);

/* Rises each time that a process takes the store over from another one; 0: this backend has one writer by its nature. */
int people_epoch(struct people *people, uint64_t *out, struct err *err) must_check;
/* now_us of this machine's clock; or, when that is ahead of the store's server's by a minute and more, the server's: nothing is old only
 * because somebody set a clock. Between transactions; a question to the server a minute at most, and only then. */
int64_t people_clock(struct people *people, int64_t now_us);

/* Whether the last transaction failed only because another writer was quicker: the next one may begin at once. */
bool people_conflict(const struct people *people);

/* Commits that were confirmed to us are gone: a server that lacks them answers in place of the other (docs/decisions/people-went-back.md).
 * What the caller knows of the store is not so any more; nothing is written until it is closed and opened anew. */
bool people_went_back(const struct people *people);

/* write: the one writer's transaction (a second one waits); otherwise a read-only view for status, trace. */
int  people_begin(struct people *people, bool write, struct people_txn **out, struct err *err) must_check;
/* Durable when it returns 0. The transaction is over either way; on failure nothing of it remains. */
int  people_commit(struct people_txn *txn_take, struct err *err) must_check;
void people_abort(struct people_txn *txn_take);

/* --- persons and their ids --------------------------------------------------------------------- */

struct person {
    uint64_t    id; /* internal; 0: not stored yet */
    uint32_t    project;
    struct uuid uuid;
    int64_t     created_us;
    int64_t     last_seen_us; /* CLOCK_NONE: not kept */
    bool        identified;
    uint64_t    version;
    struct span properties; /* packed (event/packed.h) */
    bool        lasting;    /* properties live until the transaction ends or this person is written, and not only until its next write */
};

/* What a distinct id leads to. person 0 with version > 0: a tombstone (was deleted; P3). */
struct person_link {
    uint64_t person;
    uint64_t version;
};

/* 1 found, 0 not, -1 error. */
int people_link_get(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out,
                    struct err *err) must_check;
int people_link_put(struct people_txn *txn, uint32_t project, struct span distinct_id, const struct person_link *link,
                    struct err *err) must_check;
int people_person_get(struct people_txn *txn, uint64_t id, struct person *out, struct err *err) must_check;
/* Of a person that is not there (any more), though an id leads to it: into whom another program merged it, leaving its row. 1; 0: nobody
 * has its ids; -1: error, which it is where no other program writes (ERR_CORRUPT). */
int people_person_heir(struct people_txn *txn, uint64_t id, uint64_t *out, struct err *err) must_check;
/* The person of this uuid: looks through all persons. 1, 0, -1. */
int people_person_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct person *out,
                       struct err *err) must_check;
/* id 0: a new internal id is given to *person. */
int people_person_put(struct people_txn *txn, struct person *person, struct err *err) must_check;
/* A new internal id, for a person that will be put before the commit. */
int people_person_id_new(struct people_txn *txn, uint64_t *out, struct err *err) must_check;
/* Deletes a person (stored or not), whose links lead elsewhere by now, and keeps a tombstone of its version. into: the person
 * that it was merged into; 0: none. */
int people_person_delete(struct people_txn *txn, const struct person *person, uint64_t into, struct err *err) must_check;
/* The version with which a new person of this uuid begins: 0, or above its tombstone (P3). */
int people_person_version(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out, struct err *err)
    must_check;

/* Calls back for each distinct id of a person (with its version). A negative answer stops and is returned.
 * The callback may not write. */
typedef int people_link_seen(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err);
int people_person_links(struct people_txn *txn, uint64_t id, people_link_seen *seen, void *ctx, struct err *err) must_check;

/* A merge of a person with very many ids notes where they belong; they are moved later, in pieces (moves.c). To
 * everything above it is as if they had been moved: links lead to the new person at once, with the new version. */
/* What stands under `from` (about to be deleted) belongs to `to`; each id's version rises by steps. */
int people_move_later(struct people_txn *txn, uint32_t project, uint64_t from, uint64_t to, uint64_t steps,
                      struct err *err) must_check;
/* 1: there are ids to be moved; 0; -1. */
int people_moves_pending(struct people_txn *txn, struct err *err) must_check;
/* Moves at most ids_max of them, and calls back for each: its row must be told. */
typedef int people_id_moved(void *ctx, uint32_t project, struct span distinct_id, const struct uuid *person,
                            uint64_t version, struct err *err);
int people_moves_work(struct people_txn *txn, size_t ids_max, people_id_moved *moved, void *ctx, struct err *err)
    must_check;

/* How many distinct ids and persons joined a person within an hour (since 1970). 0 when none did. */
int people_joins_get(struct people_txn *txn, uint32_t hour, uint64_t person, uint64_t *out, struct err *err) must_check;
/* Forgets those of hours long before. */
int people_joins_put(struct people_txn *txn, uint32_t hour, uint64_t person, uint64_t joins, struct err *err) must_check;

/* Says which distinct ids are asked for next, at most PEOPLE_EXPECT_MAX, so that the memory they need is on its way when
 * they are. persons_out: for each the person that it probably leads to, or 0. Changes nothing. */
enum { PEOPLE_EXPECT_MAX = 64 };
struct people_expected { uint32_t project; struct span distinct_id; bool merges; /* its person may be merged into that of the one before it */ };
void people_expect(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out);
/* Whether it pays to say all of a batch's distinct ids at its beginning; and saying them, any number. What was not said is
 * fetched when it is asked for. */
bool people_expects_batch(const struct people_txn *txn);
int  people_expect_batch(struct people_txn *txn, const struct people_expected *ids, size_t count, struct err *err) must_check;

/* --- groups ------------------------------------------------------------------------------------ */

/* Index 0..4 of a group type, given on first use when `create`. 1 found, 0 no (or no place left), -1 error. */
int people_group_type(struct people_txn *txn, uint32_t project, struct span type, bool create, int *index_out,
                      struct err *err) must_check;

struct group {
    uint32_t    project;
    int         index;
    struct span key; /* text */
    int64_t     created_us;
    uint64_t    version;
    struct span properties; /* packed */
};
int people_group_get(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out,
                     struct err *err) must_check;
int people_group_put(struct people_txn *txn, const struct group *group, struct err *err) must_check;

/* --- event ids already seen -------------------------------------------------------------------- */

struct people_seen {
    uint32_t    project;
    struct uuid uuid;
    uint64_t    place;    /* in: where the event's record stands in the log; kept with the id */
    bool        repeated; /* out: was seen before, in an earlier batch or earlier in this array */
};
/* Notes each and says which were there already: first wins. day: of now, since 1970; ids are forgotten
 * after PEOPLE_SEEN_DAYS. */
enum { PEOPLE_SEEN_DAYS = 28 };
int people_seen_add(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err) must_check;
/* An event whose id was noted, and which was set aside after that: when it comes again, it is no repeat. day: as above. */
int people_unseen_put(struct people_txn *txn, uint32_t project, const struct uuid *uuid, int32_t day, struct err *err) must_check;
/* 1: the id that was called a repeat is none, this once; 0; -1. */
int people_unseen_take(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct err *err) must_check;
/* The place that was noted with an id when it came first; of any transaction. 1 found, 0 not seen or forgotten, -1.
 * An id that is past its days may still be found, until it is swept away. */
#define PEOPLE_SEEN_PLACE_UNKNOWN UINT64_MAX /* noted by a Penstock that did not keep places */
int people_seen_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err)
    must_check;

/* Reads what the first people_seen_add would have to read: a second for a million recent ids and 10^8 older ones. For a
 * writer at its start, where nobody takes the wait for an event's doing. */
int people_seen_load(struct people *people, struct err *err) must_check;

struct people_seen_stats {
    uint64_t recent;             /* ids in memory */
    uint64_t runs, run_ids, run_bytes; /* files, and what is in them */
    uint64_t flushes, merges;    /* since opening */
    uint64_t lost;               /* reads of damaged or missing files since opening: repeats may have come through */
};
/* Of the writer; zeros before its first people_seen_add. */
void people_seen_stats(const struct people *people, struct people_seen_stats *out);

/* --- ingest's place ---------------------------------------------------------------------------- */

/* All of it in one value, so that it is read and written whole. */
struct people_place {
    uint64_t input_next[PEOPLE_INPUTS_MAX]; /* by enum input (event/record.h): offset of the first record not yet processed */
    uint64_t output_end[PEOPLE_OUTPUTS_MAX]; /* by ingest's own numbering of its output topics */
    uint64_t counters[PEOPLE_COUNTERS_MAX];  /* by ingest's own numbering: fates since the beginning */
};
int people_place_get(struct people_txn *txn, struct people_place *out, struct err *err) must_check; /* zeros at first */
int people_place_put(struct people_txn *txn, const struct people_place *place, struct err *err) must_check;
/* The places of the other units that share these persons, as they were committed last. False: a store has no others. */
typedef int people_other_seen(void *ctx, uint32_t unit, const struct people_place *place, struct err *err);
bool people_has_others(const struct people_txn *txn);
int  people_others_each(struct people_txn *txn, people_other_seen *seen, void *ctx, struct err *err) must_check;

/* --- what became of events, by hour and project ------------------------------------------------ */

/* Counts by ingest's own numbering, of the events accepted in one hour of one project. Hour 0: of all hours
 * that are older than PEOPLE_FATES_DAYS. Project 0: not known. */
enum { PEOPLE_FATES_DAYS = 90 };
#define PEOPLE_FATES_BEFORE UINT32_MAX /* the project of what was counted before there were counts by hour */

struct people_fates {
    uint32_t hour;    /* since 1970 */
    uint32_t project;
    uint64_t counts[PEOPLE_COUNTERS_MAX];
};
/* Adds to what is there. */
int people_fates_add(struct people_txn *txn, const struct people_fates *rows, size_t count, struct err *err) must_check;
/* Once in a store's life: counts is everything up to now, and goes to PEOPLE_FATES_BEFORE. Later calls do nothing. */
int people_fates_begin(struct people_txn *txn, const uint64_t counts[PEOPLE_COUNTERS_MAX], struct err *err) must_check;
/* Adds some of the rows before this hour to hour 0, the oldest first. Call with each batch. */
int people_fates_forget(struct people_txn *txn, uint32_t hour, struct err *err) must_check;
/* In order of hour and project. -1 stops. The callback may not write. */
typedef int people_fates_seen(void *ctx, const struct people_fates *row, struct err *err);
int people_fates_each(struct people_txn *txn, people_fates_seen *seen, void *ctx, struct err *err) must_check;

/* Events that were accepted and left neither row nor dead letter: the last PEOPLE_ENDED_MAX of all projects. */
enum { PEOPLE_ENDED_MAX = 1000000 };
struct people_ended {
    struct uuid uuid;
    uint64_t    place; /* of its record, as event/record.h has it */
    int64_t     at_us; /* when it was decided */
    uint32_t    project;
    uint8_t     fate;  /* ingest's numbering */
};
int people_ended_add(struct people_txn *txn, const struct people_ended *ended, size_t count, struct err *err) must_check;
/* Calls back for each of this id, oldest first. Reads all of them. -1 stops. */
typedef int people_ended_seen(void *ctx, const struct people_ended *ended, struct err *err);
int people_ended_find(struct people_txn *txn, const struct uuid *uuid, people_ended_seen *seen, void *ctx, struct err *err)
    must_check;

/* --- hot keys that ingest moved aside ---------------------------------------------------------- */

/* A key (a hash, of ingest's choice) of which records wait in raw_overflow, the last of them at offset `last`. */
enum { PEOPLE_FLAGS_MAX = 1024 };
struct people_flag {
    uint64_t key;
    uint64_t last;
};
/* out has room for PEOPLE_FLAGS_MAX. */
int people_flags_get(struct people_txn *txn, struct people_flag *out, size_t *count_out, struct err *err) must_check;
int people_flags_put(struct people_txn *txn, const struct people_flag *flags, size_t count, struct err *err) must_check;

#endif
