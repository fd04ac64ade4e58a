/* catalog/catalog_db.c - the few words of SQLite that the catalog speaks.
 *
 * Result codes become error kinds in one place: a caller has to know whether to wait (somebody else
 * writes), to make room, or to stop, and SQLite's texts alone do not tell. */
#include "catalog/catalog_db.h"

#include <assert.h>

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

int catalog_db_fail(const struct catalog *catalog, int rc, const char *what, struct err *err)
{
    const char *why = catalog->db != NULL ? sqlite3_errmsg(catalog->db) : sqlite3_errstr(rc);

    return err_set(err, kind_of(rc), "catalog: %s: %s", what, why);
}

static const char *const statement_names[CATALOG_STATEMENT_COUNT] = {
#define CATALOG_STATEMENT_NAME(name, sql) #name,
    CATALOG_STATEMENTS(CATALOG_STATEMENT_NAME)
};

void catalog_db_reset(struct catalog *catalog, enum catalog_statement which)
{
    /* Its result repeats the error of the last step, which was told already. */
    (void)sqlite3_reset(catalog->statements[which]);
    (void)sqlite3_clear_bindings(catalog->statements[which]);
}

int catalog_db_row(struct catalog *catalog, enum catalog_statement which, struct err *err)
{
    int rc = sqlite3_step(catalog->statements[which]);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    return catalog_db_fail(catalog, rc, statement_names[which], err);
}

int catalog_db_run(struct catalog *catalog, enum catalog_statement which, struct err *err)
{
    int got = catalog_db_row(catalog, which, err);

    assert(got != 1);
    catalog_db_reset(catalog, which);
    return got;
}

int catalog_db_number(struct catalog *catalog, enum catalog_statement which, int64_t *out, struct err *err)
{
    int got = catalog_db_row(catalog, which, err);

    if (got == 1)
        *out = sqlite3_column_int64(catalog->statements[which], 0);
    catalog_db_reset(catalog, which);
    if (got == 0)
        return err_set(err, ERR_CORRUPT, "catalog: %s: its row is missing", statement_names[which]);
    return got < 0 ? -1 : 0;
}
