/* catalog/catalog.c - opening the catalog, tokens, and what goes around every change.
 *
 * Why triggers count the changes and not our functions: a row changed in the database's own shell, or by a
 * later Penstock, must reach the running roles too.
 * Revoked tokens stay as rows, so that a token never wanders to another project: events of an old SDK
 * would silently become somebody else's. */
#include "catalog/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "catalog/catalog_db.h"

/* --- opening ----------------------------------------------------------------------------------- */

static bool where_is_url(const char *where)
{
    return strncmp(where, "postgresql://", 13) == 0 || strncmp(where, "postgres://", 11) == 0;
}

int catalog_open(const char *where, struct catalog **out, struct err *err)
{
    return where_is_url(where) ? catalog_postgres_open(where, "", out, err) : catalog_sqlite_open(where, out, err);
}

int catalog_open_at(const char *data_folder, const struct catalog_settings *settings, struct catalog **out, struct err *err)
{
    char path[4096], password[SECRET_BYTES_MAX + 1];
    int  rc;

    if (catalog_on_postgres(settings)) {
        if (secret_read(settings->password_file, "CATALOG_PASSWORD", password, err) < 0)
            return err_wrap(err, "catalog.password_file");
        rc = catalog_postgres_open(settings->url, password, out, err);
        explicit_bzero(password, sizeof password);
        return rc;
    }
    if (snprintf(path, sizeof path, "%s/catalog.db", data_folder) >= (int)sizeof path)
        return err_set(err, ERR_INPUT, "the path of the data folder is too long: %.100s...", data_folder);
    if (catalog_sqlite_open(path, out, err) == 0)
        return 0;
    if (err->kind == ERR_CORRUPT) { /* a server that is about to start is spared this (catalog_restore.h) */
        struct err told = *err;

        return err_set(err, ERR_CORRUPT, "%.140s (in %.60s): start the server again, which makes it anew from what it left in run/", told.text, path);
    }
    return -1;
}

void catalog_close(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    catalog->backend->close(catalog);
    free(catalog->where);
    free(catalog);
}

/* --- changes ----------------------------------------------------------------------------------- */

int catalog_write_begin(struct catalog *catalog, struct err *err)
{
    return catalog->backend->begin(catalog, true, err);
}

int catalog_write_end(struct catalog *catalog, int rc, struct err *err)
{
    struct err ignored;

    if (rc == 0 && catalog->backend->end(catalog, true, err) == 0)
        return 0;
    (void)catalog->backend->end(catalog, false, &ignored);
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
    int got, rc = 0;

    catalog_db_bind_int(catalog, CATALOG_PROJECT_EXISTS, 1, project);
    got = catalog_db_row(catalog, CATALOG_PROJECT_EXISTS, err);
    catalog_db_reset(catalog, CATALOG_PROJECT_EXISTS);
    if (got <= 0)
        return got < 0 ? -1 : err_set(err, ERR_INPUT, "there is no project %u", project);

    catalog_db_bind_text(catalog, CATALOG_TOKEN_FIND, 1, span_text(token));
    got = catalog_db_row(catalog, CATALOG_TOKEN_FIND, err);
    if (got < 0)
        rc = -1;
    else if (got == 1 && catalog_db_int(catalog, CATALOG_TOKEN_FIND, 0) != project)
        rc = err_set(err, ERR_INPUT, "token %s belongs to another project; a token stays with its project", token);
    else if (got == 1 && catalog_db_int(catalog, CATALOG_TOKEN_FIND, 1) == 0)
        rc = err_set(err, ERR_INPUT, "project %u has the token %s already", project, token);
    catalog_db_reset(catalog, CATALOG_TOKEN_FIND);
    return rc;
}

int catalog_token_create(struct catalog *catalog, uint32_t project, const char *token, bool secret,
                         char token_out[CATALOG_TOKEN_BYTES_MAX + 1], struct err *err)
{
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
        catalog_db_bind_text(catalog, CATALOG_TOKEN_CREATE, 1, span_text(made));
        catalog_db_bind_int(catalog, CATALOG_TOKEN_CREATE, 2, project);
        catalog_db_bind_int(catalog, CATALOG_TOKEN_CREATE, 3, clock_wall_us());
        catalog_db_bind_int(catalog, CATALOG_TOKEN_CREATE, 4, secret);
        rc = catalog_db_run(catalog, CATALOG_TOKEN_CREATE, err);
    }
    if (catalog_write_end(catalog, rc, err) < 0)
        return -1;
    memcpy(token_out, made, sizeof made);
    return 0;
}

static int token_first(struct catalog *catalog, char token_out[CATALOG_TOKEN_BYTES_MAX + 1], struct err *err)
{
    int got = catalog_db_row(catalog, CATALOG_TOKEN_OLDEST, err);

    if (got == 1)
        (void)snprintf(token_out, CATALOG_TOKEN_BYTES_MAX + 1, "%s", (const char *)catalog_db_text(catalog, CATALOG_TOKEN_OLDEST, 0).at);
    catalog_db_reset(catalog, CATALOG_TOKEN_OLDEST);
    return got;
}

static int token_make_first(struct catalog *catalog, const char *token, struct err *err)
{
    int64_t project = 0;
    int     got = catalog_db_row(catalog, CATALOG_PROJECT_OLDEST, err);

    if (got == 1)
        project = catalog_db_int(catalog, CATALOG_PROJECT_OLDEST, 0);
    catalog_db_reset(catalog, CATALOG_PROJECT_OLDEST);
    if (got < 0)
        return -1;
    if (got == 0) {
        catalog_db_bind_text(catalog, CATALOG_PROJECT_CREATE, 1, SPAN("default"));
        catalog_db_bind_int(catalog, CATALOG_PROJECT_CREATE, 2, clock_wall_us());
        if (catalog_db_number(catalog, CATALOG_PROJECT_CREATE, &project, err) < 0)
            return -1;
    }
    catalog_db_bind_text(catalog, CATALOG_TOKEN_CREATE, 1, span_text(token));
    catalog_db_bind_int(catalog, CATALOG_TOKEN_CREATE, 2, project);
    catalog_db_bind_int(catalog, CATALOG_TOKEN_CREATE, 3, clock_wall_us());
    catalog_db_bind_int(catalog, CATALOG_TOKEN_CREATE, 4, 0);
    return catalog_db_run(catalog, CATALOG_TOKEN_CREATE, err);
}

int catalog_token_ensure(struct catalog *catalog, char token_out[CATALOG_TOKEN_BYTES_MAX + 1], bool *made_out, struct err *err)
{
    char made[CATALOG_TOKEN_BYTES_MAX + 1], found[CATALOG_TOKEN_BYTES_MAX + 1];
    int  rc = token_first(catalog, found, err); /* without a lock: mostly there is one */

    if (rc == 0) {
        if (catalog_token_random(false, made, err) < 0 || catalog_write_begin(catalog, err) < 0)
            return -1;
        rc = token_first(catalog, found, err);
        *made_out = rc == 0;
        if (rc == 0)
            rc = token_make_first(catalog, made, err);
        if (catalog_write_end(catalog, rc < 0 ? -1 : 0, err) < 0)
            return -1;
        (void)snprintf(token_out, CATALOG_TOKEN_BYTES_MAX + 1, "%s", *made_out ? made : found);
        return 0;
    }
    if (rc < 0)
        return -1;
    *made_out = false;
    (void)snprintf(token_out, CATALOG_TOKEN_BYTES_MAX + 1, "%s", found);
    return 0;
}

int catalog_token_revoke(struct catalog *catalog, const char *token, struct err *err)
{
    int rc;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_text(catalog, CATALOG_TOKEN_REVOKE, 1, span_text(token));
    catalog_db_bind_int(catalog, CATALOG_TOKEN_REVOKE, 2, clock_wall_us());
    rc = catalog_db_run(catalog, CATALOG_TOKEN_REVOKE, err);
    if (rc == 0 && catalog_db_changed(catalog) == 0)
        rc = err_set(err, ERR_INPUT, "there is no token %.70s", token);
    return catalog_write_end(catalog, rc, err);
}
