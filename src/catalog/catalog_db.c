/* catalog/catalog_db.c - sends each call to the database behind the catalog, and what is the same for both. */
#include "catalog/catalog_db.h"

#include <assert.h>

const char *const catalog_statement_texts[CATALOG_STATEMENT_COUNT] = {
#define CATALOG_STATEMENT_TEXT(name, sql) (sql),
    CATALOG_STATEMENTS(CATALOG_STATEMENT_TEXT)
};

const char *const catalog_statement_names[CATALOG_STATEMENT_COUNT] = {
#define CATALOG_STATEMENT_NAME(name, sql) #name,
    CATALOG_STATEMENTS(CATALOG_STATEMENT_NAME)
};

void catalog_db_bind_int(struct catalog *catalog, enum catalog_statement which, int at, int64_t value)
{
    catalog->backend->bind_int(catalog, which, at, value);
}

void catalog_db_bind_text(struct catalog *catalog, enum catalog_statement which, int at, struct span text)
{
    catalog->backend->bind_text(catalog, which, at, text, false);
}

void catalog_db_bind_bytes(struct catalog *catalog, enum catalog_statement which, int at, struct span bytes)
{
    catalog->backend->bind_text(catalog, which, at, bytes, true);
}

int64_t catalog_db_int(struct catalog *catalog, enum catalog_statement which, int column)
{
    return catalog->backend->read_int(catalog, which, column);
}

struct span catalog_db_text(struct catalog *catalog, enum catalog_statement which, int column)
{
    struct span text = catalog->backend->read_text(catalog, which, column, false);

    return text.at != NULL ? text : SPAN("");
}

struct span catalog_db_bytes(struct catalog *catalog, enum catalog_statement which, int column)
{
    struct span bytes = catalog->backend->read_text(catalog, which, column, true);

    return bytes.at != NULL ? bytes : SPAN("");
}

int catalog_db_row(struct catalog *catalog, enum catalog_statement which, struct err *err)
{
    return catalog->backend->row(catalog, which, err);
}

void catalog_db_reset(struct catalog *catalog, enum catalog_statement which)
{
    catalog->backend->reset(catalog, which);
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
        *out = catalog_db_int(catalog, which, 0);
    catalog_db_reset(catalog, which);
    if (got == 0)
        return err_set(err, ERR_CORRUPT, "catalog: %s: its row is missing", catalog_statement_names[which]);
    return got < 0 ? -1 : 0;
}

int64_t catalog_db_changed(struct catalog *catalog)
{
    return catalog->backend->rows_changed(catalog);
}
