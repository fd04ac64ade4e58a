/* catalog/catalog.c - opening, migrating and changing the catalog.
 *
 * Why SQLite: it is asked a few times a minute and changed by hand; what counts is that a change is
 * durable, that seven processes may look at it at once, and that a person can open it with a tool they know.
 * Why triggers count the changes and not our functions: a row changed in the sqlite3 shell, or by a
 * later Penstock, must reach the running roles too.
 * Revoked tokens stay as rows, so that a token never wanders to another project: events of an old SDK
 * would silently become somebody else's. */
#include "catalog/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/catalog_db.h"

enum { LOCK_WAIT_MS = 5000, LOCK_TRY_MS = 20 };

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

static const char *const statement_texts[CATALOG_STATEMENT_COUNT] = {
#define CATALOG_STATEMENT_TEXT(name, sql) sql,
    CATALOG_STATEMENTS(CATALOG_STATEMENT_TEXT)
};

/* --- opening ----------------------------------------------------------------------------------- */

static int catalog_exec(struct catalog *catalog, const char *sql, const char *what, struct err *err)
{
    int rc = sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : catalog_db_fail(catalog, rc, what, err);
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
    return catalog_db_fail(catalog, rc, "journal_mode", err);
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
    return rc == SQLITE_ROW ? 0 : catalog_db_fail(catalog, rc, "migrations", err);
}

static int catalog_migrate_in_transaction(struct catalog *catalog, const char *path, struct err *err)
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
    for (int i = done; i < MIGRATION_COUNT; i++) {
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
    if (catalog_migrate_in_transaction(catalog, path, err) == 0 && catalog_exec(catalog, "COMMIT", "commit", err) == 0)
        return 0;
    (void)sqlite3_exec(catalog->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one to tell */
    return -1;
}

static int catalog_prepare(struct catalog *catalog, struct err *err)
{
    for (int i = 0; i < CATALOG_STATEMENT_COUNT; i++) {
        int rc = sqlite3_prepare_v3(catalog->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &catalog->statements[i], NULL);
        if (rc != SQLITE_OK)
            return catalog_db_fail(catalog, rc, statement_texts[i], err);
    }
    return 0;
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
        return catalog_db_fail(catalog, rc, path, err);
    (void)sqlite3_extended_result_codes(catalog->db, 1);
    (void)sqlite3_busy_timeout(catalog->db, LOCK_WAIT_MS);
    if (catalog_set_wal(catalog, err) < 0 ||
        /* FULL: what a person was told is done is on disk. */
        catalog_exec(catalog, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF",
                     "pragma", err) < 0)
        return -1;
    return catalog_migrate(catalog, path, err) < 0 || catalog_prepare(catalog, err) < 0 ? -1 : 0;
}

int catalog_open(const char *path, struct catalog **out, struct err *err)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);

    if (catalog == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory");
    catalog->data_version = -1;
    if (catalog_create_file(path, err) < 0 || catalog_start(catalog, path, err) < 0) {
        catalog_close(catalog);
        return -1;
    }
    *out = catalog;
    return 0;
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
        return catalog_db_fail(catalog, rc, "image", err);
    if (catalog_migrated(catalog, &version, err) < 0)
        return -1;
    if (version != MIGRATION_COUNT)
        return err_set(err, ERR_INPUT, "catalog: an image of version %d; this Penstock reads %d", version, (int)MIGRATION_COUNT);
    return catalog_prepare(catalog, err);
}

int catalog_open_image(struct span image, struct catalog **out, struct err *err)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);

    if (catalog == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory");
    catalog->data_version = -1;
    if (catalog_start_image(catalog, image, err) < 0) {
        catalog_close(catalog);
        return -1;
    }
    *out = catalog;
    return 0;
}

void catalog_close(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (int i = 0; i < CATALOG_STATEMENT_COUNT; i++)
        (void)sqlite3_finalize(catalog->statements[i]);
    (void)sqlite3_close(catalog->db);
    free(catalog);
}

/* --- changes ----------------------------------------------------------------------------------- */

int catalog_write_begin(struct catalog *catalog, struct err *err)
{
    catalog->data_version = -1; /* our own commits do not move SQLite's data_version */
    return catalog_db_run(catalog, CATALOG_BEGIN_WRITE, err);
}

int catalog_write_end(struct catalog *catalog, int rc, struct err *err)
{
    struct err ignored;

    if (rc == 0 && catalog_db_run(catalog, CATALOG_COMMIT, err) == 0)
        return 0;
    (void)!catalog_db_run(catalog, CATALOG_ROLLBACK, &ignored);
    return -1;
}

/* --- tokens ------------------------------------------------------------------------------------ */

int catalog_token_check(struct span token, struct err *err)
{
    if (token.bytes == 0)
        return err_set(err, ERR_INPUT, "empty");
    if (token.bytes > CATALOG_TOKEN_BYTES_MAX)
        return err_set(err, ERR_INPUT, "too_long");
    for (size_t i = 0; i < token.bytes; i++)
        if (token.at[i] >= 0x80)
            return err_set(err, ERR_INPUT, "not_ascii");
    if (span_starts(token, SPAN("phx_")))
        return err_set(err, ERR_INPUT, "personal_api_key");
    if (memchr(token.at, 0, token.bytes) != NULL)
        return err_set(err, ERR_INPUT, "null_byte");
    return 0;
}

/* 62 letters do not divide 256: bytes from 248 on are thrown away, or some letters would come more often. */
static int catalog_token_random(bool secret, char out[CATALOG_TOKEN_BYTES_MAX + 1], struct err *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    enum { RANDOM_LETTERS = 43, PREFIX = 4 };
    uint8_t bytes[64];
    size_t made = 0;

    memcpy(out, secret ? "phs_" : "phc_", PREFIX);
    while (made < RANDOM_LETTERS) {
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            return err_errno(err, errno, "catalog: random bytes");
        for (size_t i = 0; i < sizeof bytes && made < RANDOM_LETTERS; i++)
            if (bytes[i] < 248)
                out[PREFIX + made++] = letters[bytes[i] % 62];
    }
    out[PREFIX + RANDOM_LETTERS] = '\0';
    return 0;
}

/* Whether project may have this token: nobody has it, or it was this project's and is revoked. */
static int catalog_token_free(struct catalog *catalog, uint32_t project, const char *token, struct err *err)
{
    sqlite3_stmt *exists = catalog->statements[CATALOG_PROJECT_EXISTS];
    sqlite3_stmt *find = catalog->statements[CATALOG_TOKEN_FIND];
    int got, rc = 0;

    (void)sqlite3_bind_int64(exists, 1, project);
    got = catalog_db_row(catalog, CATALOG_PROJECT_EXISTS, err);
    catalog_db_reset(catalog, CATALOG_PROJECT_EXISTS);
    if (got <= 0)
        return got < 0 ? -1 : err_set(err, ERR_INPUT, "there is no project %u", project);

    (void)sqlite3_bind_text(find, 1, token, -1, SQLITE_STATIC);
    got = catalog_db_row(catalog, CATALOG_TOKEN_FIND, err);
    if (got < 0)
        rc = -1;
    else if (got == 1 && sqlite3_column_int64(find, 0) != project)
        rc = err_set(err, ERR_INPUT, "token %s belongs to another project; a token stays with its project", token);
    else if (got == 1 && sqlite3_column_int(find, 1) == 0)
        rc = err_set(err, ERR_INPUT, "project %u has the token %s already", project, token);
    catalog_db_reset(catalog, CATALOG_TOKEN_FIND);
    return rc;
}

int catalog_token_create(struct catalog *catalog, uint32_t project, const char *token, bool secret,
                         char token_out[CATALOG_TOKEN_BYTES_MAX + 1], struct err *err)
{
    sqlite3_stmt *create = catalog->statements[CATALOG_TOKEN_CREATE];
    char made[CATALOG_TOKEN_BYTES_MAX + 1];
    int rc;

    if (token != NULL) {
        if (catalog_token_check(span_text(token), err) < 0)
            return -1;
        (void)snprintf(made, sizeof made, "%s", token);
    } else if (catalog_token_random(secret, made, err) < 0) {
        return -1;
    }
    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    rc = catalog_token_free(catalog, project, made, err);
    if (rc == 0) {
        (void)sqlite3_bind_text(create, 1, made, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(create, 2, project);
        (void)sqlite3_bind_int64(create, 3, clock_wall_us());
        (void)sqlite3_bind_int(create, 4, secret);
        rc = catalog_db_run(catalog, CATALOG_TOKEN_CREATE, err);
    }
    if (catalog_write_end(catalog, rc, err) < 0)
        return -1;
    memcpy(token_out, made, sizeof made);
    return 0;
}

int catalog_token_revoke(struct catalog *catalog, const char *token, struct err *err)
{
    sqlite3_stmt *revoke = catalog->statements[CATALOG_TOKEN_REVOKE];
    int rc;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    (void)sqlite3_bind_text(revoke, 1, token, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(revoke, 2, clock_wall_us());
    rc = catalog_db_run(catalog, CATALOG_TOKEN_REVOKE, err);
    if (rc == 0 && sqlite3_changes(catalog->db) == 0)
        rc = err_set(err, ERR_INPUT, "there is no token %.70s", token);
    return catalog_write_end(catalog, rc, err);
}
