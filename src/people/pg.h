/* people/pg.h - what the files of the PostgreSQL backend share: the store, and one transaction of it.
 *
 * Not for others: they include people/people.h.
 * A write transaction holds nothing open at the server. What it needs is read as it stands (pg_find.c), a whole batch in one
 * round trip; what it changes is kept here (pg_change.c) with what was believed of each row, and people_commit sends all of it
 * at once (pg_write.c), where the server checks each belief: rows that somebody else has changed since fail the commit with
 * ERR_RETRY, and the caller begins anew.
 *  G1  a unit has one owner. Its epoch, and how often it has committed, are checked by each commit; who was taken over
 *      cannot commit any more (ERR_STOP)
 *  G2  a person is changed, deleted, or given ids only by who has locked its row in that commit and found the version that it
 *      had read. Those that are changed are locked by their change, behind all others; both in the order of their ids. Who is changed
 *      by one unit and merged away by a second, while it is the other way round with another person, is a deadlock, which the server
 *      ends: a conflict like others, as it is one
 *  G3  whether a commit happened whose answer was lost is found out before anything else is done: by taking the unit over
 *      again, behind which the lost one can no longer come in, and then reading how often it has committed
 *  G4  taking over again may be repeated, and what was sent of it before may still arrive: each asks for a higher epoch than
 *      those before, and is done only while the place names this opening of the store (a random number) and its epoch is lower
 *  G5  a batch is worked on in a turn. Usually all units share one; who met another at a row has its next batches in turns of its
 *      own, beside nobody, also not beside who won. So of batches that all want the same persons none is done for nothing but the
 *      first, however many units there are. A turn is a lock of the session, asked for when nothing is held, and waited for at
 *      most 3 s: nothing depends on it but the time that is lost. Who did not get it asks for none during TURN_PAUSE_US
 *  G6  who met another keeps what is at hand: what the other changed is told (pg_follow.c). A second time in a row it is forgotten
 *  G7  a server that lacks commits which were confirmed to us (a standby that was promoted without them, an older copy) is found out
 *      when the unit is taken over again, which the first use of each new connection begins with: fewer commits than we know of, or a
 *      lower epoch. Then nothing more is done (people_went_back). Epochs are made of the clock, as the server may have lost some, too.
 *      With each new connection what is at hand is forgotten: other units' commits may be gone, and ours not
 * A reading transaction is one snapshot (REPEATABLE READ, READ ONLY). One transaction at a time. */
#ifndef PENSTOCK_PEOPLE_PG_H
#define PENSTOCK_PEOPLE_PG_H

#include "people/people_backend.h"
#include "people/batch_parts.h"
#include "people/hot.h"
#include "people/pg_conn.h"
#include "people/pg_table.h"

enum {
    PG_NAME_CHARS_MAX = 400, /* of a distinct id, a group's type and key: upstream's varchar(400) */
    PG_IDS_MAX = 8192        /* internal ids fetched ahead */
};

struct pg_types;
struct pg_seen;
struct pg_joins;
struct pg_followed {
    uint32_t unit;
    uint64_t commits; /* up to which its changes are known here */
};

struct pg {
    struct people people; /* first */
    /* fixed after opening */
    struct people_settings settings;
    char    *url, *password_file;
    uint32_t unit;
    struct pg_conn conn;
    /* the unit's owner */
    bool     owner, fenced; /* fenced: was, and somebody took it over */
    bool     in_doubt;      /* the answer to the last commit was lost */
    uint64_t epoch, commits;
    uint64_t confirmed; /* commits that the server has told us of */
    int64_t  server_us, server_boot_us; /* the server's clock, and when it was asked, of this machine's clock_boot_us; 0: not yet */
    bool     taken_again; /* since the last transaction began: what is at hand may be another server's */
    uint64_t asked; /* the highest epoch that was asked for */
    uint64_t erased; /* persons, by all units, when the transaction began */
    struct uuid self; /* random, of this opening */
    /* of use longer than a transaction: what only the owner writes; and what others would have told us of (pg_follow.c) */
    struct hot      *hot;    /* persons, links, entries of small tables */
    struct pg_edge   edges[TABLE_COUNT][2]; /* the first and the last entry of a small table */
    struct pg_followed *followed;
    size_t           followed_count;
    struct pg_joins *joins;
    struct pg_types *types;
    uint64_t         ids[PG_IDS_MAX];
    size_t           id_at, id_count;
    struct arena    *arena;  /* of the transaction */
    struct pg_txn   *txn;    /* the one there is */
    struct pg_seen  *seen;   /* NULL: nobody asked yet */
    unsigned         conflicts; /* in a row */
    unsigned         failed;    /* commits in a row that came to nothing */
    unsigned         turns;     /* G5: so many batches more beside nobody */
    unsigned         turns_next, beside; /* how many the next conflict brings; and commits beside others since the last one */
    int              turn_wait_ms;  /* for a turn, at most */
    int64_t          turn_pause_us; /* until then none is asked for */
};

enum pg_link_kind { PG_LINK_NONE, PG_LINK_ROW, PG_LINK_DELETED };

struct pg_link {
    uint32_t          project;
    struct span       distinct_id;
    enum pg_link_kind base, now; /* as read, and as it is to be */
    uint64_t          base_person, base_version, person, version;
    bool              dirty;
    struct pg_link   *next_dirty;
};

struct pg_person {
    struct person     person;
    uint64_t          base_version;
    bool              stored; /* there is a row */
    bool              gone;   /* deleted: by us, or merged and kept for its note */
    bool              asked;  /* has been at hand for long: the server is asked about it */
    bool              given;  /* somebody has read it */
    bool              listed; /* among the dirty */
    bool              dirty, held; /* to be written; to be locked */
    bool              deleted;    /* by us */
    bool              noted;      /* of deleted: its ids move later */
    bool              ended;      /* was merged before, and its ids have all moved now */
    uint64_t          into;       /* of deleted: 0, or whom it was merged into */
    struct pg_person *next_dirty;
};

struct pg_grave {
    uint32_t         project;
    struct uuid      uuid;
    uint64_t         version; /* of the row that said it was deleted */
    bool             there, dirty;
    struct pg_grave *next_dirty;
};

struct pg_group {
    struct group     group;
    uint64_t         base_version;
    bool             stored, there, dirty;
    struct pg_group *next_dirty;
};

struct pg_new_type {
    uint32_t        project;
    struct span     name;
    int             index;
    struct pg_new_type *next; /* made in this transaction */
};

/* All ids that the server has under a person. */
struct pg_ids {
    uint64_t         person;
    size_t           count;
    struct pg_link **links;
};

/* Ids under a person that was merged, read ahead. */
struct pg_under {
    uint64_t    holder; /* 0: none were */
    struct span ids[512];
    size_t      at, count;
    bool        more;
};

struct pg_txn {
    struct people_txn txn; /* first */
    bool              snapshot; /* of a reading one: it has begun at the server */
    bool              begins;   /* of a writing one: it has read nothing yet */
    struct batch_index links, persons, graves, groups, ids; /* ids: of persons that may be merged away */
    struct pg_link    *dirty_links;
    struct pg_person  *dirty_persons;
    struct pg_grave   *dirty_graves;
    struct pg_group   *dirty_groups;
    struct pg_new_type    *new_types;
    struct pg_tables   tables;
    struct pg_under    under;
    bool               changed, erases;
};

static inline struct pg *pg_of(const struct people *people) { return (struct pg *)(uintptr_t)people; }
static inline struct pg_txn *pg_txn_of(const struct people_txn *txn) { return (struct pg_txn *)(uintptr_t)txn; }

/* pg_open.c: a round trip of reading. A connection that turns out to be dead is made anew, where nothing is lost by that. */
int pg_read(struct people_txn *txn, struct pg_call *calls, size_t count, struct err *err) must_check;
int pg_full(struct err *err); /* the transaction does not fit into memory; -1 */
/* Connects, and takes the unit over, or again. */
int pg_own(struct pg *pg, struct err *err) must_check;
int64_t pg_clock(struct people *people, int64_t now_us); /* people_clock */

/* pg_hot.c */
bool pg_hot_link(struct pg *pg, struct pg_link *link); /* fills person and version */
void pg_hot_link_put(struct pg *pg, const struct pg_link *link);
/* trusted_out: what it holds was right lately, and who changed it since would have said so. */
bool pg_hot_person(struct pg *pg, uint64_t id, struct person *out, bool *trusted_out);
void pg_hot_person_put(struct pg *pg, const struct pg_person *kept);
bool pg_hot_group(struct pg *pg, struct group *group); /* by project, index and key; fills the rest */
void pg_hot_group_put(struct pg *pg, const struct group *group);
/* What was committed is at hand for the next transaction. */
void pg_keep(struct people_txn *txn);

/* pg_follow.c: forgets what other units changed since the last transaction; and the call that tells them what we do. */
int  pg_follow(struct people_txn *txn, struct err *err) must_check;
void pg_follow_calls(struct people_txn *txn, struct pg_call *calls, size_t *count);
int64_t pg_group_thing(uint32_t project, int index, struct span key);

/* pg_erase.c: an erasure, beside units that are in the middle of a batch; and where those stand. */
void pg_erased_call(struct pg_call *call);
void pg_erased_take(struct pg *pg, const PGresult *result);
void pg_erase_calls(struct people_txn *txn, struct pg_call *calls, size_t *count); /* of a commit, in front of what it changes */
void pg_erase(struct people_txn *txn);
int  pg_others_each(struct people_txn *txn, people_other_seen *seen, void *ctx, struct err *err) must_check;

/* pg_joins.c: whether the table of joins has nothing under this key, for certain. */
bool pg_joins_absent(struct people_txn *txn, struct span key, int *rc_out, struct err *err);
void pg_joins_note(struct pg *pg, struct span key); /* was written */
void pg_joins_forget(struct pg *pg);

/* pg_find.c */
struct pg_link   *pg_link_known(const struct people_txn *txn, uint32_t project, struct span distinct_id); /* NULL: not read yet */
struct pg_link   *pg_link_add(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err);
struct pg_link   *pg_link_find(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err);
struct pg_person *pg_person_known(const struct people_txn *txn, uint64_t id); /* NULL: not read yet */
struct pg_person *pg_person_find(struct people_txn *txn, uint64_t id, struct err *err); /* NULL on failure; gone or not stored: none */
struct pg_person *pg_person_add(struct people_txn *txn, uint64_t id, struct err *err);
int  pg_expect_batch(struct people_txn *txn, const struct people_expected *ids, size_t count, struct err *err) must_check;
void pg_expect(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out);
int  pg_link_get(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out, struct err *err) must_check;

/* pg_grave.c */
struct pg_grave *pg_grave_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct err *err);
struct pg_grave *pg_grave_add(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct err *err);
/* Those of these ids' persons, as far as they are at hand: count 0, there are none to ask for. */
int  pg_graves_call(struct people_txn *txn, struct pg_link *const *links, size_t count, struct pg_call *call, struct err *err) must_check;
int  pg_graves_take(struct people_txn *txn, struct pg_link *const *links, size_t count, const PGresult *result, struct err *err) must_check;

/* pg_under.c */
/* All ids of these ids' persons, who may be merged away, asked for at once. */
void pg_under_call(struct people_txn *txn, struct pg_link *const *links, size_t count, struct pg_call *call);
int  pg_under_take(struct people_txn *txn, struct pg_link *const *links, const PGresult *result, struct err *err) must_check;
int  pg_links_under(struct people_txn *txn, uint64_t holder, uint64_t owner, uint32_t project, people_link_seen *seen, void *ctx,
                    struct err *err) must_check;
int  pg_first_under(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err) must_check;
int  pg_person_get(struct people_txn *txn, uint64_t id, struct person *out, struct err *err) must_check;
int  pg_person_heir(struct people_txn *txn, uint64_t id, uint64_t *out, struct err *err) must_check;
int  pg_person_find_uuid(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct person *out, struct err *err)
    must_check;
int  pg_person_version(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out, struct err *err) must_check;
int  pg_person_id_new(struct people_txn *txn, uint64_t *out, struct err *err) must_check;

/* pg_change.c */
int pg_link_put(struct people_txn *txn, uint32_t project, struct span distinct_id, const struct person_link *link, struct err *err)
    must_check;
int pg_link_erase(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err) must_check;
int pg_person_put(struct people_txn *txn, struct person *person, struct err *err) must_check;
int pg_person_delete(struct people_txn *txn, const struct person *person, uint64_t into, struct err *err) must_check;
int pg_holder_end(struct people_txn *txn, uint64_t holder, struct err *err) must_check;

/* pg_group.c */
int  pg_group_type(struct people_txn *txn, uint32_t project, struct span type, bool create, int *index_out, struct err *err) must_check;
int  pg_group_get(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out, struct err *err) must_check;
int  pg_group_put(struct people_txn *txn, const struct group *group, struct err *err) must_check;
void pg_types_keep(struct people_txn *txn); /* committed */
void pg_types_free(struct pg_types *types);

/* pg_write.c: everything that the transaction changed. -1 and *lost_out: the answer was lost. */
int pg_write(struct people_txn *txn, bool *lost_out, struct err *err) must_check;

/* pg_json.c: properties (packed, or text) as a text that jsonb takes, and that is no larger there than upstream's limit. */
int pg_json(struct span properties, struct arena *arena, struct span *out, struct err *err) must_check;

/* pg_seen.c */
int  pg_seen_add(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err) must_check;
int  pg_seen_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err) must_check;
int  pg_seen_load(struct people *people, struct err *err) must_check;
void pg_seen_stats(const struct people *people, struct people_seen_stats *out);
/* The call that stores what was added; count 0: nothing was. */
int  pg_seen_calls(struct people_txn *txn, struct pg_call *calls, size_t *count, struct err *err) must_check;
/* A write transaction is over. */
void pg_seen_end(struct people_txn *txn, bool committed);
int  pg_seen_new(struct pg *pg, const char *folder, size_t recent_max, struct err *err) must_check;
void pg_seen_free(struct pg_seen *seen);
/* As seen_settle() of the copy: for tests. */
void pg_seen_settle(struct people *people);
/* The unit was taken over anew: others may have added. */
void pg_seen_doubt(struct pg *pg);

#endif
