/* catalog/catalog.h - what people decide: projects, their tokens and settings.
 *
 * Small, changed by hand, read by every role as an immutable snapshot: the way of an event never asks a
 * database. Backends: SQLite (WAL), file DIR/catalog.db; PostgreSQL, schema penstock_catalog, for several machines. One
 * connection a process. What is in force when the database goes away stays in force (catalog_changed says -1, and goes on
 * trying); who wants to change something is told.
 *  C1  a snapshot never changes; a newer one is loaded beside it and swapped in by its owner
 *  C2  `version` rises with every change to what a snapshot holds */
#ifndef PENSTOCK_CATALOG_CATALOG_H
#define PENSTOCK_CATALOG_CATALOG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "base/stores.h"
#include "wire/uuid.h"

enum {
    CATALOG_TOKEN_BYTES_MAX = 64,
    CATALOG_NAME_BYTES_MAX = 200,
    CATALOG_TIME_ZONE_BYTES_MAX = 63,
    CATALOG_RETENTION_DAYS_MAX = 36500,
    CATALOG_RESTRICTIONS_MAX = 1000, /* of one project: each of its events is held against all of them */
    CATALOG_RESTRICTION_BYTES_MAX = 1600, /* of one condition: 400 characters of four bytes */
    CATALOG_LIMIT_MAX = 1000000000        /* events of a limit: its arithmetic is exact up to here */
};

struct catalog;

/* Opens, creates when missing, migrates when older. where: a path, or postgresql://... ERR_INPUT: made by a later Penstock
 * (names both versions). ERR_RETRY: locked for longer than 5 s, or nobody answers. */
int  catalog_open(const char *where, struct catalog **out, struct err *err) must_check;
/* The one of this data folder, by its settings (NULL: SQLite). */
int  catalog_open_at(const char *data_folder, const struct catalog_settings *settings, struct catalog **out, struct err *err) must_check;
void catalog_close(struct catalog *catalog);

enum catalog_cookieless { CATALOG_COOKIELESS_OFF, CATALOG_COOKIELESS_STATELESS, CATALOG_COOKIELESS_STATEFUL };

const char *catalog_cookieless_name(enum catalog_cookieless mode);
/* False: no such mode. */
bool catalog_cookieless_find(const char *name, enum catalog_cookieless *out);

struct catalog_restriction;
struct catalog_limit;

/* What of a project's events is counted apart when they are to be limited: X(enum suffix, name, tag of what is not
 * taken, what it is). Stored by name. */
#define CATALOG_RESOURCES(X)                                                                                    \
    X(EXCEPTIONS, "exceptions", "exceptions_over_quota", "events named $exception")                             \
    X(SURVEYS, "surveys", "surveys_over_quota",                                                                 \
      "survey sent, survey shown and survey dismissed without $product_tour_id")                                \
    X(LLM_EVENTS, "llm_events", "llm_events_over_quota", "events whose name begins with $ai_")                  \
    X(EVENTS, "events", "events_over_quota", "all other events")                                                \
    X(RECORDINGS, "recordings", "recordings_over_quota", "what comes to /s")
#define CATALOG_RESOURCE_ENUM(suffix, name, tag, help) CATALOG_##suffix,
enum catalog_resource { CATALOG_RESOURCES(CATALOG_RESOURCE_ENUM) CATALOG_RESOURCE_COUNT };

/* What can be limited by rate: X(enum suffix, name, what it is). Stored by name. */
#define CATALOG_LIMITS(X)                                                                                       \
    X(LIMIT_TOKEN, "token", "events a second; a request above it is answered that it comes too soon")           \
    X(LIMIT_DISTINCT_ID, "distinct_id",                                                                         \
      "events a minute of one distinct id; those above it are kept without a person, in the overflow lane")
#define CATALOG_LIMIT_ENUM(suffix, name, help) CATALOG_##suffix,
enum catalog_limit_kind { CATALOG_LIMITS(CATALOG_LIMIT_ENUM) CATALOG_LIMIT_KIND_COUNT };

/* A project's settings that the roles follow. */
struct catalog_project {
    uint32_t id; /* team_id and project_id of its rows */
    char     name[CATALOG_NAME_BYTES_MAX + 1];
    bool     anonymize_ips;           /* $ip leaves the event row */
    bool     person_processing_off;   /* the whole project is personless */
    bool     geoip_off;
    bool     heatmaps_off;            /* no heatmap rows */
    bool     person_last_seen;        /* persons carry when they were last seen */
    int64_t  drop_older_than_s;       /* 0: never */
    uint32_t retention_days;          /* rows older than this may go; 0: kept for ever */
    enum catalog_cookieless cookieless;
    char     time_zone[CATALOG_TIME_ZONE_BYTES_MAX + 1]; /* an IANA name; "" counts as UTC */
    /* Of a snapshot, borrowed from it; catalog_project_update does not look at them. */
    const struct catalog_restriction *restrictions;
    size_t                            restriction_count;
    size_t                            secret_count; /* of its tokens: who has none need not look */
    int64_t                           quota_until_us[CATALOG_RESOURCE_COUNT]; /* of the project alone */
    const struct catalog_limit       *limits[CATALOG_LIMIT_KIND_COUNT];       /* the same; NULL: none */
};

/* Creates a project; *id_out is its id (1, 2, ...). */
int catalog_project_create(struct catalog *catalog, const char *name, uint32_t *id_out, struct err *err) must_check;
/* Replaces the settings of project->id. ERR_INPUT: no such project, or a setting that cannot be. */
int catalog_project_update(struct catalog *catalog, const struct catalog_project *project, struct err *err) must_check;

/* Gives project a token. token NULL: a random one ("phc_", or "phs_" for a secret one, and 43 of [A-Za-z0-9])
 * is made; otherwise it must pass catalog_token_check and be new (ERR_INPUT). The token given is copied to
 * token_out. Events that came with a secret token carry `$verified: true`: it never leaves the servers. */
int catalog_token_create(struct catalog *catalog, uint32_t project, const char *token, bool secret,
                         char token_out[CATALOG_TOKEN_BYTES_MAX + 1], struct err *err) must_check;
/* The oldest token that is not secret. When there is none, the project "default" (or the oldest one) gets one: once, however many
 * machines ask for it together. */
int catalog_token_ensure(struct catalog *catalog, char token_out[CATALOG_TOKEN_BYTES_MAX + 1], bool *made_out, struct err *err)
    must_check;
/* From the next snapshot on it is unknown. ERR_INPUT: no such token. */
int catalog_token_revoke(struct catalog *catalog, const char *token, struct err *err) must_check;

/* 0, or -1 and the reason tag of the capture contract in err->text: "empty", "too_long", "not_ascii",
 * "personal_api_key", "null_byte". Does not trim. */
int catalog_token_check(struct span token, struct err *err) must_check;

/* --- restrictions --------------------------------------------------------------------------------
 *
 * What is done with some of a project's events, whatever they say themselves. Each condition that is given
 * must hold; a restriction without any holds for the whole project. */

/* X(enum suffix, name, what it does). Stored by name. */
#define CATALOG_ACTIONS(X)                                                                                      \
    X(DROP, "drop", "the event is not taken; what was accepted before: dropped, blocked_token")                            \
    X(DEAD_LETTER, "dead_letter", "the event becomes a dead letter, restricted_to_dlq")                         \
    X(OVERFLOW, "overflow", "the event goes the overflow lane from the start")                                  \
    X(SKIP_PERSONS, "skip_persons", "no person is looked up, created or changed")                               \
    X(FILTER, "filter", "the event is dropped as unwanted: counted as dropped, event_filtered")
#define CATALOG_ACTION_ENUM(suffix, name, help) CATALOG_##suffix,
enum catalog_action { CATALOG_ACTIONS(CATALOG_ACTION_ENUM) CATALOG_ACTION_COUNT };

struct catalog_restriction {
    uint32_t            id, project;
    enum catalog_action action;
    bool                has_uuid;
    struct uuid         uuid;
    struct span         token, distinct_id, event; /* bytes 0: any */
    struct span         property, value;           /* FILTER: this property of the event is this text, or this JSON */
    int64_t             created_us;
};

const char *catalog_action_name(enum catalog_action action);
const char *catalog_action_help(enum catalog_action action);
/* False: no such action. */
bool catalog_action_find(const char *name, enum catalog_action *out);

/* id and created_us of `restriction` are not looked at. ERR_INPUT: no such project, a condition that is too
 * long, a property without FILTER, a FILTER without event or property, too many. */
int catalog_restriction_add(struct catalog *catalog, const struct catalog_restriction *restriction, uint32_t *id_out,
                            struct err *err) must_check;
/* ERR_INPUT: no such restriction. */
int catalog_restriction_remove(struct catalog *catalog, uint32_t id, struct err *err) must_check;

/* Whether its conditions hold, but for property and value, which are the caller's. @thread any */
bool catalog_restriction_holds(const struct catalog_restriction *restriction, struct span token, struct span distinct_id,
                               struct span event, const struct uuid *uuid);
/* A bit (1 << action) for each action that a restriction without a property asks for. `project` is of a snapshot.
 * Costs nothing for a project without restrictions. @thread any */
unsigned catalog_restrictions_ask(const struct catalog_project *project, struct span token, struct span distinct_id,
                                  struct span event, const struct uuid *uuid);

/* --- quotas and limits ---------------------------------------------------------------------------
 *
 * A quota that is used up: until a time, events of one resource are not taken. A limit: so many in a time. Both are a
 * project's, or one token's, whose quota counts beside its project's and whose limit counts instead of it. */

const char *catalog_resource_name(enum catalog_resource resource);
const char *catalog_resource_tag(enum catalog_resource resource);
/* False: no such resource. */
bool catalog_resource_find(const char *name, enum catalog_resource *out);
/* Which one an event of this name belongs to. */
enum catalog_resource catalog_resource_of(struct span event, bool product_tour);

struct catalog_quota {
    uint32_t              project;
    struct span           token; /* bytes 0: each of the project's */
    enum catalog_resource resource;
    int64_t               until_us;
    int64_t               created_us;
};

/* Instead of an earlier one of the same project, token and resource. created_us is not looked at. ERR_INPUT: no such
 * project, or no such token of it. */
int catalog_quota_set(struct catalog *catalog, const struct catalog_quota *quota, struct err *err) must_check;
/* ERR_INPUT: there is none. */
int catalog_quota_remove(struct catalog *catalog, const struct catalog_quota *quota, struct err *err) must_check;

const char *catalog_limit_name(enum catalog_limit_kind kind);
bool catalog_limit_find(const char *name, enum catalog_limit_kind *out);

struct catalog_limit {
    uint32_t                id, project; /* the id stays when the numbers change */
    struct span             token;       /* bytes 0: the project's tokens share it */
    enum catalog_limit_kind kind;
    uint32_t                events; /* a second (LIMIT_TOKEN), a minute (LIMIT_DISTINCT_ID); 1 to CATALOG_LIMIT_MAX */
    uint32_t                burst;  /* LIMIT_TOKEN: so many at once; as above */
    int64_t                 created_us;
    size_t                  index;  /* in catalog_snapshot_limits */
};

/* Instead of an earlier one of the same project, token and kind. id, created_us and index are not looked at. ERR_INPUT:
 * no such project, no such token of it, or a number that cannot be. */
int catalog_limit_set(struct catalog *catalog, const struct catalog_limit *limit, struct err *err) must_check;
/* ERR_INPUT: there is none. */
int catalog_limit_remove(struct catalog *catalog, const struct catalog_limit *limit, struct err *err) must_check;

/* --- snapshots --------------------------------------------------------------------------------- */

struct catalog_snapshot;

struct catalog_token {
    char     token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t project;
    bool     secret;
    int64_t  created_us;
    /* Of a snapshot, borrowed from it. */
    const struct catalog_project *owner;
    unsigned                      rules; /* enum catalog_rule: what there is to ask before its events are taken; mostly 0 */
    int64_t                       quota_until_us[CATALOG_RESOURCE_COUNT]; /* its own or its project's; 0: none */
    const struct catalog_limit   *limits[CATALOG_LIMIT_KIND_COUNT];       /* the same; NULL: none */
};

enum catalog_rule { CATALOG_RULE_QUOTA = 1, CATALOG_RULE_LIMIT = 2, CATALOG_RULE_DROP = 4 /* a restriction of that action */ };

/* Everything, at one version. */
int  catalog_snapshot_load(struct catalog *catalog, struct catalog_snapshot **out, struct err *err) must_check;
void catalog_snapshot_free(struct catalog_snapshot *snapshot);
uint64_t catalog_snapshot_version(const struct catalog_snapshot *snapshot);
/* Cheap (no file is read when nothing changed, a network is waited for half a second at most): 1 when another version than this one is there, 0, -1.
 * PostgreSQL is asked once a second: what is known is at most a second old while it answers. */
int catalog_changed(struct catalog *catalog, const struct catalog_snapshot *snapshot, struct err *err) must_check;

/* The project of a token, NULL when nobody has it. Constant time for unknown tokens; @thread any. */
const struct catalog_project *catalog_snapshot_find(const struct catalog_snapshot *snapshot, struct span token);
/* The same for the token itself: its project is there, too. */
const struct catalog_token *catalog_snapshot_find_token(const struct catalog_snapshot *snapshot, struct span token);
const struct catalog_project *catalog_snapshot_project(const struct catalog_snapshot *snapshot, uint32_t id);
size_t catalog_snapshot_tokens(const struct catalog_snapshot *snapshot, const struct catalog_token **out);
size_t catalog_snapshot_projects(const struct catalog_snapshot *snapshot, const struct catalog_project **out);
/* All projects', by project and id. */
size_t catalog_snapshot_restrictions(const struct catalog_snapshot *snapshot, const struct catalog_restriction **out);
/* All projects', by project, token and resource. */
size_t catalog_snapshot_quotas(const struct catalog_snapshot *snapshot, const struct catalog_quota **out);
/* All projects', by id. */
size_t catalog_snapshot_limits(const struct catalog_snapshot *snapshot, const struct catalog_limit **out);

/* --- what people did with dead letters ----------------------------------------------------------
 *
 * The letters themselves are rows of the warehouse and never change; here stands, by a letter's identity
 * (command/letter.h), what was decided about it. A letter without an entry is open.
 *  C3  a letter is open, replayed or discarded: never both of the latter */

enum catalog_letter_state { CATALOG_LETTER_OPEN, CATALOG_LETTER_REPLAYED, CATALOG_LETTER_DISCARDED };

struct catalog_letter {
    enum catalog_letter_state state;
    int64_t                   replayed_us, discarded_us, repaired_us; /* 0: not */
    uint32_t                  replays;
    char                      replay_uuid[37]; /* of the event that the last replay sent; "" */
};

/* Zeros when nothing is known. repaired (may be NULL) gets the repaired text, if there is one, appended. */
int catalog_letter_find(struct catalog *catalog, const char *letter, struct catalog_letter *out, struct buf *repaired,
                        struct err *err) must_check;
/* Keeps a text beside the letter, instead of an earlier one; the state stays. */
int catalog_letter_repair(struct catalog *catalog, const char *letter, struct span text, int64_t now_us,
                          struct err *err) must_check;
/* Open or discarded becomes replayed; again and again is counted. */
int catalog_letter_replayed(struct catalog *catalog, const char *letter, const char *uuid, int64_t now_us,
                            struct err *err) must_check;
/* 1: open became discarded; 0: it was discarded before, or replayed (nothing changed); -1. */
int catalog_letter_discard(struct catalog *catalog, const char *letter, int64_t now_us, struct err *err) must_check;
/* The letter other than this one whose last replay sent the event `uuid`, not after until_us; "" when none did. */
int catalog_letter_earlier(struct catalog *catalog, const char *letter, const char *uuid, int64_t until_us, char *to,
                           size_t room, struct err *err) must_check;
/* Each that is replayed or discarded; the text is borrowed. 0: go on; -1. The catalog is not used meanwhile. */
typedef int catalog_letter_visit(void *ctx, struct span letter, bool replayed, struct err *err);
int catalog_letters_decided(struct catalog *catalog, catalog_letter_visit *visit, void *ctx, struct err *err) must_check;
int catalog_letter_counts(struct catalog *catalog, uint64_t *replayed_out, uint64_t *discarded_out,
                          struct err *err) must_check;

#endif
