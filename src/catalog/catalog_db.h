/* catalog/catalog_db.h - what the files of the catalog share: the connection and its statements.
 *
 * Not for others: they include catalog/catalog.h. */
#ifndef PENSTOCK_CATALOG_CATALOG_DB_H
#define PENSTOCK_CATALOG_CATALOG_DB_H

#include <sqlite3.h>

#include "base/arena.h"
#include "catalog/catalog.h"

/* X(enum suffix, SQL): prepared once at open, reset after each use. */
#define CATALOG_STATEMENTS(X)                                                                                   \
    X(BEGIN_READ, "BEGIN")                                                                                      \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                           \
    X(COMMIT, "COMMIT")                                                                                         \
    X(ROLLBACK, "ROLLBACK")                                                                                     \
    X(DATA_VERSION, "PRAGMA data_version")                                                                      \
    X(VERSION, "SELECT version FROM changes WHERE one = 1")                                                     \
    X(PROJECT_COUNT, "SELECT count(*) FROM projects")                                                           \
    X(PROJECTS, "SELECT id, name, anonymize_ips, person_processing_off, geoip_off, drop_older_than_s,"          \
                " cookieless, time_zone, person_last_seen, retention_days, heatmaps_off"                        \
                " FROM projects ORDER BY id")                                                                   \
    X(PROJECT_CREATE, "INSERT INTO projects (name, created_us, cookieless) VALUES (?1, ?2, 'stateful')")        \
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
    X(TOKEN_REVOKE, "UPDATE tokens SET revoked_us = ?2 WHERE token = ?1 AND revoked_us IS NULL")                \
    X(RESTRICTION_COUNT, "SELECT count(*) FROM restrictions")                                                   \
    X(RESTRICTIONS, "SELECT id, project, action, token, distinct_id, event, uuid, property, value, created_us"  \
                    " FROM restrictions ORDER BY project, id")                                                  \
    X(RESTRICTION_ADD, "INSERT INTO restrictions (project, action, token, distinct_id, event, uuid, property,"  \
                       " value, created_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                       \
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
                       " replays = replays + 1, discarded_us = NULL")                                           \
    X(LETTER_DISCARD, "INSERT INTO dead_letters (letter, discarded_us) VALUES (?1, ?2)"                       \
                        " ON CONFLICT (letter) DO UPDATE SET discarded_us = ?2 WHERE replayed_us IS NULL"       \
                        " AND discarded_us IS NULL")                                                            \
    X(LETTER_EARLIER, "SELECT letter FROM dead_letters WHERE replay_uuid = ?1 AND letter <> ?2 AND"             \
                      " replayed_us <= ?3 ORDER BY replayed_us DESC LIMIT 1")                                   \
    X(LETTER_COUNTS, "SELECT count(replayed_us), count(discarded_us) FROM dead_letters")
#define CATALOG_STATEMENT_ENUM(name, sql) CATALOG_##name,
enum catalog_statement { CATALOG_STATEMENTS(CATALOG_STATEMENT_ENUM) CATALOG_STATEMENT_COUNT };

struct catalog {
    sqlite3      *db;
    sqlite3_stmt *statements[CATALOG_STATEMENT_COUNT];
    int64_t       data_version;  /* SQLite's, when `version` was read; -1: read it again */
    uint64_t      version;       /* of the catalog (C2) */
};

/* The same from an image (catalog_image.c), which is copied; read-only, without any file. ERR_INPUT: of another version. */
int catalog_open_image(struct span image, struct catalog **out, struct err *err) must_check;

/* -1 and the kind that follows from an SQLite result code. */
int catalog_db_fail(const struct catalog *catalog, int rc, const char *what, struct err *err);
/* Runs a statement without rows and resets it. */
int catalog_db_run(struct catalog *catalog, enum catalog_statement which, struct err *err) must_check;
/* 1: the statement stands on a row (the caller resets it with catalog_db_reset), 0: no (more) rows. */
int  catalog_db_row(struct catalog *catalog, enum catalog_statement which, struct err *err) must_check;
void catalog_db_reset(struct catalog *catalog, enum catalog_statement which);
/* One number. -1 also when there is no row: the file is not a catalog then. */
int catalog_db_number(struct catalog *catalog, enum catalog_statement which, int64_t *out, struct err *err) must_check;

/* Around what changes rows. */
int catalog_write_begin(struct catalog *catalog, struct err *err) must_check;
/* Commits when rc is 0, else rolls back; gives -1 unless all of it worked. */
int catalog_write_end(struct catalog *catalog, int rc, struct err *err) must_check;

/* The row that CATALOG_PROJECTS stands on. */
void catalog_project_read(sqlite3_stmt *rows, struct catalog_project *out);
/* The row that CATALOG_RESTRICTIONS stands on, its texts into the arena. 1; 0: nothing that this program would have
 * written, leave it out; -1: no room in the arena. */
int catalog_restriction_read(sqlite3_stmt *rows, struct arena *arena, struct catalog_restriction *out) must_check;
/* The same for CATALOG_QUOTAS and CATALOG_LIMITS. */
int catalog_quota_read(sqlite3_stmt *rows, struct arena *arena, struct catalog_quota *out) must_check;
int catalog_limit_read(sqlite3_stmt *rows, struct arena *arena, struct catalog_limit *out) must_check;
/* A text of the row, in the arena; bytes 0 for NULL; at NULL: no room. */
struct span catalog_column_copy(sqlite3_stmt *rows, int column, struct arena *arena);

#endif
