/* catalog/catalog_db.h - what the files of the catalog share: the connection, its statements, and the seam between them and the
 * two databases that can be behind it (catalog_sqlite.c, catalog_postgres.c).
 *
 * The statements are the same for both: `?1` is the first bound value of either. What SQLite and PostgreSQL say differently is
 * in their own files: migrations, transactions, how a change is noticed.
 *
 * Not for others: they include catalog/catalog.h. */
#ifndef PENSTOCK_CATALOG_CATALOG_DB_H
#define PENSTOCK_CATALOG_CATALOG_DB_H

#include <sqlite3.h>

#include "base/arena.h"
#include "catalog/catalog.h"

/* X(enum suffix, SQL): reset after each use. */
#define CATALOG_STATEMENTS(X)                                                                                   \
    X(VERSION, "SELECT version FROM changes WHERE one = 1")                                                     \
    X(PROJECT_COUNT, "SELECT count(*) FROM projects")                                                           \
    X(PROJECTS, "SELECT id, name, anonymize_ips, person_processing_off, geoip_off, drop_older_than_s,"          \
                " cookieless, time_zone, person_last_seen, retention_days, heatmaps_off"                        \
                " FROM projects ORDER BY id")                                                                   \
    X(PROJECT_CREATE, "INSERT INTO projects (name, created_us, cookieless) VALUES (?1, ?2, 'stateful') RETURNING id") \
    X(PROJECT_UPDATE, "UPDATE projects SET name = ?2, anonymize_ips = ?3, person_processing_off = ?4,"          \
                      " geoip_off = ?5, drop_older_than_s = ?6, cookieless = ?7, time_zone = ?8,"               \
                      " person_last_seen = ?9, retention_days = ?10, heatmaps_off = ?11 WHERE id = ?1")         \
    X(PROJECT_EXISTS, "SELECT 1 FROM projects WHERE id = ?1")                                                   \
    X(TOKEN_COUNT, "SELECT count(*) FROM tokens WHERE revoked_us IS NULL")                                      \
    X(TOKENS, "SELECT token, project, created_us, secret FROM tokens WHERE revoked_us IS NULL"                          \
              " ORDER BY project, created_us, token")                                                           \
    X(TOKEN_FIND, "SELECT project, revoked_us IS NOT NULL FROM tokens WHERE token = ?1")                        \
    X(TOKEN_CREATE, "INSERT INTO tokens (token, project, created_us, secret) VALUES (?1, ?2, ?3, ?4)"           \
                    " ON CONFLICT (token) DO UPDATE SET revoked_us = NULL, secret = ?4")                        \
    X(TOKEN_OLDEST, "SELECT token FROM tokens WHERE revoked_us IS NULL AND secret = 0 ORDER BY created_us, project, token"  \
                    " LIMIT 1")                                                                                 \
    X(PROJECT_OLDEST, "SELECT id FROM projects ORDER BY id LIMIT 1")                                            \
    X(TOKEN_REVOKE, "UPDATE tokens SET revoked_us = ?2 WHERE token = ?1 AND revoked_us IS NULL")                \
    X(RESTRICTION_COUNT, "SELECT count(*) FROM restrictions")                                                   \
    X(RESTRICTIONS, "SELECT id, project, action, token, distinct_id, event, uuid, property, value, created_us"  \
                    " FROM restrictions ORDER BY project, id")                                                  \
    X(RESTRICTION_ADD, "INSERT INTO restrictions (project, action, token, distinct_id, event, uuid, property,"  \
                       " value, created_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id")          \
    X(RESTRICTION_REMOVE, "DELETE FROM restrictions WHERE id = ?1")                                             \
    X(RESTRICTIONS_OF, "SELECT count(*) FROM restrictions WHERE project = ?1")                                  \
    X(QUOTA_COUNT, "SELECT count(*) FROM quotas")                                                               \
    X(QUOTAS, "SELECT project, token, resource, until_us, created_us FROM quotas ORDER BY project, token, resource") \
    X(QUOTA_SET, "INSERT INTO quotas (project, token, resource, until_us, created_us) VALUES (?1, ?2, ?3, ?4, ?5)" \
                 " ON CONFLICT (project, token, resource) DO UPDATE SET until_us = ?4, created_us = ?5")        \
    X(QUOTA_REMOVE, "DELETE FROM quotas WHERE project = ?1 AND token = ?2 AND resource = ?3")                   \
    X(LIMIT_COUNT, "SELECT count(*) FROM limits")                                                               \
    X(LIMITS, "SELECT id, project, token, kind, events, burst, created_us FROM limits ORDER BY id")             \
    X(LIMIT_SET, "INSERT INTO limits (project, token, kind, events, burst, created_us)"                         \
                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"                                                             \
                 " ON CONFLICT (project, token, kind) DO UPDATE SET events = ?4, burst = ?5, created_us = ?6")  \
    X(LIMIT_REMOVE, "DELETE FROM limits WHERE project = ?1 AND token = ?2 AND kind = ?3")                       \
    X(LETTER_FIND, "SELECT replay_uuid, coalesce(replayed_us, 0), replays, coalesce(discarded_us, 0),"          \
                   " coalesce(repaired_us, 0), repaired FROM dead_letters WHERE letter = ?1")                   \
    X(LETTER_REPAIR, "INSERT INTO dead_letters (letter, repaired, repaired_us) VALUES (?1, ?2, ?3)"             \
                     " ON CONFLICT (letter) DO UPDATE SET repaired = ?2, repaired_us = ?3")                     \
    X(LETTER_REPLAY, "INSERT INTO dead_letters (letter, replay_uuid, replayed_us, replays) VALUES"            \
                       " (?1, ?2, ?3, 1) ON CONFLICT (letter) DO UPDATE SET replay_uuid = ?2, replayed_us = ?3,"\
                       " replays = dead_letters.replays + 1, discarded_us = NULL")                              \
    X(LETTER_DISCARD, "INSERT INTO dead_letters (letter, discarded_us) VALUES (?1, ?2)"                       \
                        " ON CONFLICT (letter) DO UPDATE SET discarded_us = ?2 WHERE dead_letters.replayed_us"  \
                        " IS NULL AND dead_letters.discarded_us IS NULL")                                       \
    X(LETTER_EARLIER, "SELECT letter FROM dead_letters WHERE replay_uuid = ?1 AND letter <> ?2 AND"             \
                      " replayed_us <= ?3 ORDER BY replayed_us DESC LIMIT 1")                                   \
    X(LETTERS_DECIDED, "SELECT letter, CASE WHEN replayed_us IS NULL THEN 0 ELSE 1 END FROM dead_letters WHERE replayed_us"\
                       " IS NOT NULL OR discarded_us IS NOT NULL")                                              \
    X(LETTER_COUNTS, "SELECT count(replayed_us), count(discarded_us) FROM dead_letters")
#define CATALOG_STATEMENT_ENUM(name, sql) CATALOG_##name,
enum catalog_statement { CATALOG_STATEMENTS(CATALOG_STATEMENT_ENUM) CATALOG_STATEMENT_COUNT };

/* A database. Every text and every span is borrowed: what is bound until the reset, what is read until the next row. */
struct catalog_backend {
    void (*close)(struct catalog *catalog);
    /* BEGIN_WRITE waits for other writers, at most 5 s (ERR_RETRY). */
    int  (*begin)(struct catalog *catalog, bool write, struct err *err);
    int  (*end)(struct catalog *catalog, bool commit, struct err *err);
    void (*bind_int)(struct catalog *catalog, enum catalog_statement which, int at, int64_t value);
    void (*bind_text)(struct catalog *catalog, enum catalog_statement which, int at, struct span text, bool bytes);
    int  (*row)(struct catalog *catalog, enum catalog_statement which, struct err *err);
    void (*reset)(struct catalog *catalog, enum catalog_statement which);
    int64_t     (*read_int)(struct catalog *catalog, enum catalog_statement which, int column);
    struct span (*read_text)(struct catalog *catalog, enum catalog_statement which, int column, bool bytes);
    int64_t     (*rows_changed)(struct catalog *catalog); /* by the statement that ran last */
    /* Whether there is another version than this one: 1, 0, -1. Waits half a second at most. */
    int  (*changed)(struct catalog *catalog, uint64_t version, struct err *err);
    /* What snapshots are made of, into an empty SQLite database. */
    int  (*copy)(struct catalog *catalog, sqlite3 *to, struct err *err);
};

struct postgres;

struct catalog {
    const struct catalog_backend *backend;
    char                    *where;        /* owned: the path, or the URL */
    uint64_t                 version;      /* of the catalog (C2), as last seen */
    /* SQLite */
    sqlite3                 *db;
    sqlite3_stmt            *statements[CATALOG_STATEMENT_COUNT], *begin_read, *begin_write, *commit, *rollback, *data;
    int64_t                  data_version; /* SQLite's, when `version` was read; -1: read it again */
    struct postgres         *postgres;
};

int catalog_sqlite_open(const char *path, struct catalog **out, struct err *err) must_check;
/* The same from an image (catalog_image.c), which is copied; read-only, without any file. ERR_INPUT: of another version. */
int catalog_open_image(struct span image, struct catalog **out, struct err *err) must_check;
/* An empty database gets the tables of this version, as SQLite has them; 0: of the newest. ERR_INPUT: of a later Penstock. */
int catalog_sqlite_tables(sqlite3 *db, int version, struct err *err) must_check;
int catalog_postgres_open(const char *url, const char *password, struct catalog **out, struct err *err) must_check;

extern const char *const catalog_statement_texts[CATALOG_STATEMENT_COUNT];
extern const char *const catalog_statement_names[CATALOG_STATEMENT_COUNT];

void catalog_db_bind_int(struct catalog *catalog, enum catalog_statement which, int at, int64_t value);
void catalog_db_bind_text(struct catalog *catalog, enum catalog_statement which, int at, struct span text);
/* Any bytes, whatever a text may hold. */
void catalog_db_bind_bytes(struct catalog *catalog, enum catalog_statement which, int at, struct span bytes);
/* Of the row that the statement stands on. Truth is 1 or 0. A text has a NUL behind it; SQL's NULL is "". */
int64_t     catalog_db_int(struct catalog *catalog, enum catalog_statement which, int column);
struct span catalog_db_text(struct catalog *catalog, enum catalog_statement which, int column);
struct span catalog_db_bytes(struct catalog *catalog, enum catalog_statement which, int column);
/* Runs a statement without rows and resets it. */
int catalog_db_run(struct catalog *catalog, enum catalog_statement which, struct err *err) must_check;
/* 1: the statement stands on a row (the caller resets it with catalog_db_reset), 0: no (more) rows. */
int  catalog_db_row(struct catalog *catalog, enum catalog_statement which, struct err *err) must_check;
void catalog_db_reset(struct catalog *catalog, enum catalog_statement which);
/* One number. -1 also when there is no row: this is no catalog then. */
int catalog_db_number(struct catalog *catalog, enum catalog_statement which, int64_t *out, struct err *err) must_check;
/* How many rows the last catalog_db_run changed. */
int64_t catalog_db_changed(struct catalog *catalog);

/* Around what changes rows. */
int catalog_write_begin(struct catalog *catalog, struct err *err) must_check;
/* Commits when rc is 0, else rolls back; gives -1 unless all of it worked. */
int catalog_write_end(struct catalog *catalog, int rc, struct err *err) must_check;

/* The row that CATALOG_PROJECTS stands on. */
void catalog_project_read(struct catalog *catalog, struct catalog_project *out);
/* The row that CATALOG_RESTRICTIONS stands on, its texts into the arena. 1; 0: nothing that this program would have
 * written, leave it out; -1: no room in the arena. */
int catalog_restriction_read(struct catalog *catalog, struct arena *arena, struct catalog_restriction *out) must_check;
/* The same for CATALOG_QUOTAS and CATALOG_LIMITS. */
int catalog_quota_read(struct catalog *catalog, struct arena *arena, struct catalog_quota *out) must_check;
int catalog_limit_read(struct catalog *catalog, struct arena *arena, struct catalog_limit *out) must_check;
/* A text of the row, in the arena; bytes 0 for NULL; at NULL: no room. */
struct span catalog_column_copy(struct catalog *catalog, enum catalog_statement which, int column, struct arena *arena);

#endif
