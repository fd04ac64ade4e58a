/* catalog/catalog_sqlite.c - the catalog in a file of SQLite, and as an image of one in memory.
 *
 * Why SQLite: it is asked a few times a minute and changed by hand; what counts is that a change is
 * durable, that seven processes may look at it at once, and that a person can open it with a tool they know.
 * Result codes become error kinds in one place: a caller has to know whether to wait (somebody else
 * writes), to make room, or to stop, and SQLite's texts alone do not tell. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/catalog_db.h"

enum { LOCK_WAIT_MS = 5000, LOCK_TRY_MS = 20, SCHEMA_BYTES_MAX = 1 << 20 };

/* Each is run once, in order, in a transaction that also notes it in `migrations`. Only ever append. */
static const char *const migrations[] = {
    "CREATE TABLE projects ("
    "    id INTEGER PRIMARY KEY AUTOINCREMENT," /* an id is never given twice: rows carry it for ever */
    "    name TEXT NOT NULL,"
    "    created_us INTEGER NOT NULL,"
    "    anonymize_ips INTEGER NOT NULL DEFAULT 0,"
    "    person_processing_off INTEGER NOT NULL DEFAULT 0,"
    "    geoip_off INTEGER NOT NULL DEFAULT 0,"
    "    drop_older_than_s INTEGER NOT NULL DEFAULT 0 CHECK (drop_older_than_s >= 0));"
    "CREATE TABLE tokens ("
    "    token TEXT PRIMARY KEY,"
    "    project INTEGER NOT NULL REFERENCES projects (id),"
    "    created_us INTEGER NOT NULL,"
    "    revoked_us INTEGER) WITHOUT ROWID;"
    "CREATE TABLE changes (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);"
    "INSERT INTO changes VALUES (1, 1);"
    "CREATE TRIGGER projects_inserted AFTER INSERT ON projects BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER projects_updated AFTER UPDATE ON projects BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER projects_deleted AFTER DELETE ON projects BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER tokens_inserted AFTER INSERT ON tokens BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER tokens_updated AFTER UPDATE ON tokens BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER tokens_deleted AFTER DELETE ON tokens BEGIN UPDATE changes SET version = version + 1; END;",
    /* No triggers: no snapshot holds it, so no role has to look again. */
    "CREATE TABLE dead_letters ("
    "    letter TEXT PRIMARY KEY,"
    "    replay_uuid TEXT,"
    "    replayed_us INTEGER,"
    "    replays INTEGER NOT NULL DEFAULT 0,"
    "    discarded_us INTEGER,"
    "    repaired TEXT,"
    "    repaired_us INTEGER,"
    "    CHECK (replayed_us IS NULL OR discarded_us IS NULL));"
    "CREATE INDEX dead_letters_replay_uuid ON dead_letters (replay_uuid);",
    "ALTER TABLE projects ADD COLUMN cookieless TEXT NOT NULL DEFAULT 'off'"
    "    CHECK (cookieless IN ('off', 'stateless', 'stateful'));"
    "ALTER TABLE projects ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';"
    "ALTER TABLE projects ADD COLUMN person_last_seen INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE projects ADD COLUMN retention_days INTEGER NOT NULL DEFAULT 0 CHECK (retention_days >= 0);"
    "ALTER TABLE projects ADD COLUMN heatmaps_off INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tokens ADD COLUMN secret INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE restrictions ("
    "    id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "    project INTEGER NOT NULL REFERENCES projects (id),"
    "    action TEXT NOT NULL,"
    "    token TEXT NOT NULL DEFAULT ''," /* here and below '': any */
    "    distinct_id TEXT NOT NULL DEFAULT '',"
    "    event TEXT NOT NULL DEFAULT '',"
    "    uuid TEXT NOT NULL DEFAULT '',"
    "    property TEXT NOT NULL DEFAULT '',"
    "    value TEXT NOT NULL DEFAULT '',"
    "    created_us INTEGER NOT NULL);"
    "CREATE TRIGGER restrictions_inserted AFTER INSERT ON restrictions"
    " BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER restrictions_updated AFTER UPDATE ON restrictions"
    " BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER restrictions_deleted AFTER DELETE ON restrictions"
    " BEGIN UPDATE changes SET version = version + 1; END;",
    /* Until now the setting changed nothing and events in cookieless mode were stored. Off would drop them. */
    "UPDATE projects SET cookieless = 'stateful';",
    "CREATE TABLE quotas ("
    "    project INTEGER NOT NULL REFERENCES projects (id),"
    "    token TEXT NOT NULL DEFAULT ''," /* '': each of the project's */
    "    resource TEXT NOT NULL,"
    "    until_us INTEGER NOT NULL,"
    "    created_us INTEGER NOT NULL,"
    "    PRIMARY KEY (project, token, resource)) WITHOUT ROWID;"
    "CREATE TABLE limits ("
    "    id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "    project INTEGER NOT NULL REFERENCES projects (id),"
    "    token TEXT NOT NULL DEFAULT '',"
    "    kind TEXT NOT NULL,"
    "    events INTEGER NOT NULL,"
    "    burst INTEGER NOT NULL,"
    "    created_us INTEGER NOT NULL,"
    "    UNIQUE (project, token, kind));"
    "CREATE TRIGGER quotas_inserted AFTER INSERT ON quotas BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER quotas_updated AFTER UPDATE ON quotas BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER quotas_deleted AFTER DELETE ON quotas BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER limits_inserted AFTER INSERT ON limits BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER limits_updated AFTER UPDATE ON limits BEGIN UPDATE changes SET version = version + 1; END;"
    "CREATE TRIGGER limits_deleted AFTER DELETE ON limits BEGIN UPDATE changes SET version = version + 1; END;",
};
enum { MIGRATION_COUNT = sizeof migrations / sizeof *migrations };

/* --- errors ------------------------------------------------------------------------------------ */

static enum err_kind kind_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return ERR_RETRY;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG: return ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return ERR_CORRUPT;
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CONSTRAINT: return ERR_INPUT;
    default: return ERR_STOP;
    }
}

static int sqlite_fail(sqlite3 *db, int rc, const char *what, struct err *err)
{
    const char *why = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

    return err_set(err, kind_of(rc), "catalog: %s: %s", what, why);
}

/* --- statements -------------------------------------------------------------------------------- */

static void sqlite_reset_one(sqlite3_stmt *statement)
{
    /* Its result repeats the error of the last step, which was told already. */
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
}

static void sqlite_reset(struct catalog *catalog, enum catalog_statement which)
{
    sqlite_reset_one(catalog->statements[which]);
}

static void sqlite_bind_int(struct catalog *catalog, enum catalog_statement which, int at, int64_t value)
{
    (void)sqlite3_bind_int64(catalog->statements[which], at, value);
}

static void sqlite_bind_text(struct catalog *catalog, enum catalog_statement which, int at, struct span text, bool bytes)
{
    (void)bytes; /* a text may hold any */
    (void)sqlite3_bind_text(catalog->statements[which], at, text.bytes > 0 ? (const char *)text.at : "", (int)text.bytes,
                            SQLITE_STATIC);
}

static int sqlite_row(struct catalog *catalog, enum catalog_statement which, struct err *err)
{
    int rc = sqlite3_step(catalog->statements[which]);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    return sqlite_fail(catalog->db, rc, catalog_statement_names[which], err);
}

static int64_t sqlite_read_int(struct catalog *catalog, enum catalog_statement which, int column)
{
    return sqlite3_column_int64(catalog->statements[which], column);
}

static struct span sqlite_read_text(struct catalog *catalog, enum catalog_statement which, int column, bool bytes)
{
    const void *text = bytes ? sqlite3_column_blob(catalog->statements[which], column)
                             : sqlite3_column_text(catalog->statements[which], column);

    return span_of(text, (size_t)sqlite3_column_bytes(catalog->statements[which], column));
}

static int64_t sqlite_rows_changed(struct catalog *catalog)
{
    return sqlite3_changes(catalog->db);
}

static int sqlite_do(struct catalog *catalog, sqlite3_stmt *statement, const char *what, struct err *err)
{
    int rc = sqlite3_step(statement);

    if (rc != SQLITE_DONE)
        (void)sqlite_fail(catalog->db, rc, what, err);
    sqlite_reset_one(statement);
    return rc == SQLITE_DONE ? 0 : -1;
}

static int sqlite_begin(struct catalog *catalog, bool write, struct err *err)
{
    if (!write)
        return sqlite_do(catalog, catalog->begin_read, "begin", err);
    catalog->data_version = -1; /* our own commits do not move SQLite's data_version */
    return sqlite_do(catalog, catalog->begin_write, "begin", err);
}

static int sqlite_end(struct catalog *catalog, bool commit, struct err *err)
{
    return commit ? sqlite_do(catalog, catalog->commit, "commit", err) : sqlite_do(catalog, catalog->rollback, "rollback", err);
}

/* data_version is read before the version: a change that comes in between is seen by the next call. */
static int sqlite_changed(struct catalog *catalog, uint64_t version, struct err *err)
{
    int64_t data_version, now;
    int     rc = sqlite3_step(catalog->data);

    data_version = rc == SQLITE_ROW ? sqlite3_column_int64(catalog->data, 0) : 0;
    if (rc != SQLITE_ROW)
        (void)sqlite_fail(catalog->db, rc, "data_version", err);
    sqlite_reset_one(catalog->data);
    if (rc != SQLITE_ROW)
        return -1;
    if (data_version != catalog->data_version) {
        if (catalog_db_number(catalog, CATALOG_VERSION, &now, err) < 0)
            return -1;
        catalog->version = (uint64_t)now;
        catalog->data_version = data_version;
    }
    return catalog->version != version;
}

/* --- opening ----------------------------------------------------------------------------------- */

static int catalog_exec(struct catalog *catalog, const char *sql, const char *what, struct err *err)
{
    int rc = sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : sqlite_fail(catalog->db, rc, what, err);
}

/* Turning WAL on does not go through SQLite's busy handler, and several roles may open a new catalog in
 * the same moment, so it is tried again here. */
static int catalog_set_wal(struct catalog *catalog, struct err *err)
{
    static const struct timespec wait = { .tv_nsec = LOCK_TRY_MS * 1000000L };
    int rc = SQLITE_BUSY;

    for (int waited_ms = 0; waited_ms < LOCK_WAIT_MS; waited_ms += LOCK_TRY_MS) {
        rc = sqlite3_exec(catalog->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            return 0;
        if ((rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
            break;
        (void)nanosleep(&wait, NULL);
    }
    return sqlite_fail(catalog->db, rc, "journal_mode", err);
}

/* The highest migration that the file has seen. */
static int catalog_migrated(struct catalog *catalog, int *out, struct err *err)
{
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(catalog->db, "SELECT coalesce(max(version), 0) FROM migrations", -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? 0 : sqlite_fail(catalog->db, rc, "migrations", err);
}

/* Up to this version. */
static int catalog_migrate_in_transaction(struct catalog *catalog, const char *path, int version, struct err *err)
{
    char note[120];
    int done = 0;

    if (catalog_exec(catalog,
                     "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied_us INTEGER NOT NULL)",
                     "migrations", err) < 0 ||
        catalog_migrated(catalog, &done, err) < 0)
        return -1;
    if (done > MIGRATION_COUNT)
        return err_set(err, ERR_INPUT,
                       "catalog %s has version %d, made by a later Penstock; this Penstock knows up to version %d",
                       path, done, (int)MIGRATION_COUNT);
    for (int i = done; i < version; i++) {
        (void)snprintf(note, sizeof note, "INSERT INTO migrations VALUES (%d, %lld)", i + 1,
                       (long long)clock_wall_us());
        if (catalog_exec(catalog, migrations[i], "migration", err) < 0 ||
            catalog_exec(catalog, note, "migration", err) < 0)
            return -1;
    }
    return 0;
}

static int catalog_migrate(struct catalog *catalog, const char *path, struct err *err)
{
    if (catalog_exec(catalog, "BEGIN IMMEDIATE", "begin", err) < 0)
        return -1;
    if (catalog_migrate_in_transaction(catalog, path, MIGRATION_COUNT, err) == 0 && catalog_exec(catalog, "COMMIT", "commit", err) == 0)
        return 0;
    (void)sqlite3_exec(catalog->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one to tell */
    return -1;
}

static int prepare_one(struct catalog *catalog, const char *text, sqlite3_stmt **out, struct err *err)
{
    int rc = sqlite3_prepare_v3(catalog->db, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);

    return rc == SQLITE_OK ? 0 : sqlite_fail(catalog->db, rc, text, err);
}

static int catalog_prepare(struct catalog *catalog, struct err *err)
{
    for (int i = 0; i < CATALOG_STATEMENT_COUNT; i++)
        if (prepare_one(catalog, catalog_statement_texts[i], &catalog->statements[i], err) < 0)
            return -1;
    return prepare_one(catalog, "BEGIN", &catalog->begin_read, err) < 0 ||
                   prepare_one(catalog, "BEGIN IMMEDIATE", &catalog->begin_write, err) < 0 ||
                   prepare_one(catalog, "COMMIT", &catalog->commit, err) < 0 ||
                   prepare_one(catalog, "ROLLBACK", &catalog->rollback, err) < 0 ||
                   prepare_one(catalog, "PRAGMA data_version", &catalog->data, err) < 0 ? -1 : 0;
}

/* Secrets of destinations will live here, so the file is for its owner alone from its first byte on.
 * SQLite gives its side files the same mode. */
static int catalog_create_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set(err, errno == ENOSPC ? ERR_FULL : ERR_INPUT, "catalog %s cannot be opened: %m", path);
    (void)close(fd);
    return 0;
}

static int catalog_start(struct catalog *catalog, const char *path, struct err *err)
{
    int rc = sqlite3_open_v2(path, &catalog->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL);

    if (rc != SQLITE_OK)
        return sqlite_fail(catalog->db, rc, path, err);
    (void)sqlite3_extended_result_codes(catalog->db, 1);
    (void)sqlite3_busy_timeout(catalog->db, LOCK_WAIT_MS);
    if (catalog_set_wal(catalog, err) < 0 ||
        /* FULL: what a person was told is done is on disk. */
        catalog_exec(catalog, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF",
                     "pragma", err) < 0)
        return -1;
    return catalog_migrate(catalog, path, err) < 0 || catalog_prepare(catalog, err) < 0 ? -1 : 0;
}

static void sqlite_close(struct catalog *catalog)
{
    sqlite3_stmt *more[] = { catalog->begin_read, catalog->begin_write, catalog->commit, catalog->rollback, catalog->data };

    for (int i = 0; i < CATALOG_STATEMENT_COUNT; i++)
        (void)sqlite3_finalize(catalog->statements[i]);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        (void)sqlite3_finalize(more[i]);
    (void)sqlite3_close(catalog->db);
}

static int copy_exec(sqlite3 *db, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : sqlite_fail(db, rc, sql, err);
}

/* One statement of SQL a line ended by a NUL: the tables, each followed by what fills it. */
static int schema_read(sqlite3 *db, struct buf *out, struct err *err)
{
    sqlite3_stmt *rows;
    int           rc = sqlite3_prepare_v2(db, "SELECT name, type, sql FROM source.sqlite_schema WHERE sql IS NOT NULL AND"
                                              " type IN ('table', 'index') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                                              " ORDER BY type DESC", -1, &rows, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(rows, 0), *type = (const char *)sqlite3_column_text(rows, 1);
        const char *sql = (const char *)sqlite3_column_text(rows, 2);

        rc = SQLITE_OK;
        if (name == NULL || type == NULL || sql == NULL)
            continue;
        buf_add(out, span_of(sql, strlen(sql) + 1));
        if (strcmp(type, "table") != 0 || strcmp(name, "dead_letters") == 0)
            continue;
        buf_add_format(out, "INSERT INTO main.\"%s\" SELECT * FROM source.\"%s\"", name, name);
        buf_add_byte(out, 0);
    }
    (void)sqlite3_finalize(rows);
    if (rc != SQLITE_DONE)
        return sqlite_fail(db, rc, "tables", err);
    return out->failed ? err_set(err, ERR_FULL, "catalog: its tables are described by more than %d bytes", SCHEMA_BYTES_MAX) : 0;
}

static int source_attach(sqlite3 *db, const char *path, struct err *err)
{
    sqlite3_stmt *attach;
    int           rc = sqlite3_prepare_v2(db, "ATTACH ?1 AS source", -1, &attach, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(attach, 1, path, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(attach);
    (void)sqlite3_finalize(attach);
    return rc == SQLITE_DONE ? 0 : sqlite_fail(db, rc, "open", err);
}

/* Table by table and not sqlite3_serialize of the file: dead letters can be millions, and nobody who reads snapshots
 * needs one. */
static int sqlite_copy(struct catalog *catalog, sqlite3 *to, struct err *err)
{
    struct buf schema;
    int        rc = -1;

    buf_init(&schema, SCHEMA_BYTES_MAX);
    (void)sqlite3_busy_timeout(to, LOCK_WAIT_MS);
    if (source_attach(to, catalog->where, err) < 0 || copy_exec(to, "BEGIN", err) < 0 || schema_read(to, &schema, err) < 0)
        goto done;
    for (size_t at = 0; at < schema.bytes; at += strlen((const char *)schema.at + at) + 1)
        if (copy_exec(to, (const char *)schema.at + at, err) < 0)
            goto done;
    rc = copy_exec(to, "COMMIT", err);
done:
    buf_fini(&schema);
    return rc;
}

static const struct catalog_backend catalog_sqlite = {
    .close = sqlite_close, .begin = sqlite_begin, .end = sqlite_end, .bind_int = sqlite_bind_int, .bind_text = sqlite_bind_text,
    .row = sqlite_row, .reset = sqlite_reset, .read_int = sqlite_read_int, .read_text = sqlite_read_text,
    .rows_changed = sqlite_rows_changed, .changed = sqlite_changed, .copy = sqlite_copy,
};

static struct catalog *sqlite_new(const char *where)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);

    if (catalog == NULL)
        return NULL;
    catalog->backend = &catalog_sqlite;
    catalog->data_version = -1;
    catalog->where = strdup(where);
    if (catalog->where != NULL)
        return catalog;
    free(catalog);
    return NULL;
}

int catalog_sqlite_open(const char *path, struct catalog **out, struct err *err)
{
    struct catalog *catalog = sqlite_new(path);

    if (catalog == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory");
    if (catalog_create_file(path, err) < 0 || catalog_start(catalog, path, err) < 0) {
        catalog_close(catalog);
        return -1;
    }
    *out = catalog;
    return 0;
}

int catalog_sqlite_tables(sqlite3 *db, int version, struct err *err)
{
    struct catalog bare = { .db = db };

    if (version > MIGRATION_COUNT)
        return err_set(err, ERR_INPUT, "catalog: an image of version %d, made by a later Penstock; this one knows up to version %d", version,
                       (int)MIGRATION_COUNT);
    return catalog_migrate_in_transaction(&bare, "in memory", version > 0 ? version : MIGRATION_COUNT, err);
}

static int catalog_start_image(struct catalog *catalog, struct span image, struct err *err)
{
    unsigned char *copy = sqlite3_malloc64(image.bytes + 1);
    int            rc = sqlite3_open_v2(":memory:", &catalog->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL);
    int            version = 0;

    if (rc != SQLITE_OK || copy == NULL) {
        sqlite3_free(copy);
        return err_set(err, ERR_FULL, "catalog: no memory for its image");
    }
    memcpy(copy, image.at, image.bytes);
    rc = sqlite3_deserialize(catalog->db, "main", copy, (sqlite3_int64)image.bytes, (sqlite3_int64)image.bytes,
                             SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY); /* copy is its own now */
    if (rc != SQLITE_OK)
        return sqlite_fail(catalog->db, rc, "image", err);
    if (catalog_migrated(catalog, &version, err) < 0)
        return -1;
    if (version != MIGRATION_COUNT)
        return err_set(err, ERR_INPUT, "catalog: an image of version %d; this Penstock reads %d", version, (int)MIGRATION_COUNT);
    return catalog_prepare(catalog, err);
}

int catalog_open_image(struct span image, struct catalog **out, struct err *err)
{
    struct catalog *catalog = sqlite_new("an image");

    if (catalog == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory");
    if (catalog_start_image(catalog, image, err) < 0) {
        catalog_close(catalog);
        return -1;
    }
    *out = catalog;
    return 0;
}
