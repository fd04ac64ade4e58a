/* catalog/catalog_link.c - see catalog_link.h. Why libpq's asynchronous half: its other half waits for as long as TCP does,
 * which for a machine that lost its power is a quarter of an hour, and roles look at the catalog between two batches. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/stores.h"
#include "catalog/catalog_link.h"

/* What was confirmed stays, whatever a server, a database or a role says of commits: a token that was made is in people's apps soon. */
#define LINK_SETUP                                                                                                  \
    "DO $$ BEGIN IF current_setting('synchronous_commit') IN ('off', 'local') THEN SET synchronous_commit TO on; END IF; END $$; " \
    "SET search_path TO penstock_catalog; SET lock_timeout = 5000; SET statement_timeout = 10000;"                  \
    " SET idle_in_transaction_session_timeout = 30000; SET client_min_messages TO warning"
#define LINK_VERSION "SELECT version FROM penstock_catalog.changes WHERE one = 1"

int link_init(struct link *link, const char *url, const char *password, struct err *err)
{
    *link = (struct link){ .url = strdup(url), .password = strdup(password) };
    return link->url != NULL && link->password != NULL ? 0 : err_set(err, ERR_FULL, "catalog: no memory");
}

static void link_drop(struct link *link)
{
    if (link->conn != NULL)
        PQfinish(link->conn);
    link->conn = NULL;
    link->state = LINK_DOWN;
    link->prepared = false;
    link->look_us = clock_mono_us() + LINK_LOOK_US;
}

void link_fini(struct link *link)
{
    link_drop(link);
    free(link->url);
    if (link->password != NULL)
        explicit_bzero(link->password, strlen(link->password));
    free(link->password);
}

/* --- errors ------------------------------------------------------------------------------------ */

/* By SQLSTATE; the first two characters are its class. */
static enum err_kind kind_of(const char *state)
{
    static const struct { const char *state; enum err_kind kind; } rows[] = {
        { "08", ERR_RETRY }, { "40", ERR_RETRY }, { "55P03", ERR_RETRY }, { "57", ERR_RETRY }, { "53100", ERR_FULL },
        { "53200", ERR_FULL }, { "53", ERR_RETRY }, { "25006", ERR_RETRY }, { "22", ERR_INPUT }, { "23", ERR_INPUT },
        { "28", ERR_INPUT }, { "3D", ERR_INPUT }, { "42501", ERR_INPUT },
    };

    if (state == NULL || state[0] == '\0')
        return ERR_RETRY; /* not from the server: the connection */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strncmp(state, rows[i].state, strlen(rows[i].state)) == 0)
            return rows[i].kind;
    return ERR_STOP;
}

static int link_fail(const struct link *link, const PGresult *result, const char *what, struct err *err)
{
    const char *said = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char        shown[URL_SHOWN_BYTES];

    url_shown(link->url, shown);
    if (said == NULL)
        said = link->conn != NULL && PQerrorMessage(link->conn)[0] != '\0' ? PQerrorMessage(link->conn) : "the connection is gone";
    (void)err_set(err, kind_of(state), "catalog: %.100s: %.60s: %.*s", shown, what, (int)strcspn(said, "\n"), said);
    return -1;
}

/* --- waiting, with a bound --------------------------------------------------------------------- */

/* False: nothing came until then. */
static bool socket_wait(const struct link *link, short events, int64_t until_us)
{
    int64_t       left_us = until_us - clock_mono_us();
    struct pollfd one = { .fd = PQsocket(link->conn), .events = events };

    return left_us > 0 && poll(&one, 1, (int)(left_us / 1000) + 1) > 0;
}

static int link_late(struct link *link, const char *what, struct err *err)
{
    char shown[URL_SHOWN_BYTES];

    url_shown(link->url, shown);
    link_drop(link);
    return err_set(err, ERR_RETRY, "catalog: %.100s: %.60s: no answer within %d s", shown, what, (int)(LINK_WAIT_US / 1000000));
}

/* The last of the results that come, or the first that is an error. A connection that says nothing is given up. */
static int results_take(struct link *link, const char *what, PGresult **out, struct err *err)
{
    int64_t   until_us = clock_mono_us() + LINK_WAIT_US;
    PGresult *last = NULL, *next;

    for (;;) {
        int sent = PQflush(link->conn);

        if (PQisBusy(link->conn) != 0 || sent > 0) {
            if (!socket_wait(link, (short)(POLLIN | (sent > 0 ? POLLOUT : 0)), until_us)) {
                PQclear(last);
                return link_late(link, what, err);
            }
            if (PQconsumeInput(link->conn) == 0)
                break;
            continue;
        }
        next = PQgetResult(link->conn);
        if (next == NULL)
            break;
        if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR)
            PQclear(next);
        else {
            PQclear(last);
            last = next;
        }
    }
    if (last == NULL || (PQresultStatus(last) != PGRES_TUPLES_OK && PQresultStatus(last) != PGRES_COMMAND_OK)) {
        (void)link_fail(link, last, what, err);
        PQclear(last);
        if (PQstatus(link->conn) == CONNECTION_BAD)
            link_drop(link);
        return -1;
    }
    *out = last;
    return 0;
}

/* --- connecting -------------------------------------------------------------------------------- */

static int connect_begin(struct link *link, struct err *err)
{
    const char *names[] = { "dbname", "application_name", "client_encoding", link->password[0] != '\0' ? "password" : NULL, NULL };
    const char *values[] = { link->url, "penstock catalog", "UTF8", link->password, NULL };

    link->conn = PQconnectStartParams(names, values, 1);
    link->since_us = clock_mono_us();
    if (link->conn != NULL && PQstatus(link->conn) != CONNECTION_BAD) {
        (void)PQsetnonblocking(link->conn, 1);
        link->state = LINK_CONNECTING;
        link->events = POLLOUT;
        return 0;
    }
    (void)link_fail(link, NULL, "connect", err);
    link_drop(link);
    return -1;
}

/* What the server says while it refuses stands in a text without a state. */
static int connect_fail(struct link *link, struct err *err)
{
    const char *said = PQerrorMessage(link->conn);
    bool        refused = strstr(said, "authentication") != NULL || strstr(said, "does not exist") != NULL || strstr(said, "no password") != NULL;

    (void)link_fail(link, NULL, "connect", err);
    if (refused)
        err->kind = ERR_INPUT;
    link_drop(link);
    return -1;
}

/* Only when the socket is ready. 1: connected; 0: not yet. */
static int connect_step(struct link *link, struct err *err)
{
    switch (PQconnectPoll(link->conn)) {
    case PGRES_POLLING_OK: link->state = LINK_IDLE; return 1;
    case PGRES_POLLING_READING: link->events = POLLIN; return 0;
    case PGRES_POLLING_WRITING: link->events = POLLOUT; return 0;
    default: return connect_fail(link, err);
    }
}

static int connect_whole(struct link *link, struct err *err)
{
    int64_t until_us;
    int     rc = 0;

    if (link->state == LINK_DOWN && connect_begin(link, err) < 0)
        return -1;
    until_us = clock_mono_us() + LINK_WAIT_US;
    while (rc == 0) {
        if (!socket_wait(link, link->events, until_us))
            return link_late(link, "connect", err);
        rc = connect_step(link, err);
    }
    return rc < 0 ? -1 : 0;
}

static void version_take(struct link *link, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
        link->version = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
}

int link_ready(struct link *link, struct err *err)
{
    PGresult *result;

    if (link->conn != NULL && link->state != LINK_CONNECTING && PQstatus(link->conn) == CONNECTION_BAD)
        link_drop(link);
    if (link->state == LINK_ASKING) {
        if (results_take(link, "version", &result, err) < 0)
            return -1;
        version_take(link, result);
        PQclear(result);
        link->state = LINK_IDLE;
    }
    if (link->state != LINK_IDLE) {
        if (link->in_transaction)
            return err_set(err, ERR_RETRY, "catalog: the connection was lost in the middle of a change: nothing was changed");
        if (connect_whole(link, err) < 0)
            return -1;
    }
    if (link->prepared)
        return 0;
    if (PQsendQuery(link->conn, LINK_SETUP) == 0)
        return link_fail(link, NULL, "setup", err);
    if (results_take(link, "setup", &result, err) < 0)
        return -1;
    PQclear(result);
    link->prepared = true;
    return 0;
}

int link_run(struct link *link, const char *sql, int count, const char *const *values, const int *lengths, const int *formats,
             PGresult **out, struct err *err)
{
    PGresult *result = NULL;
    int       sent;

    if (link_ready(link, err) < 0)
        return -1;
    sent = count < 0 ? PQsendQuery(link->conn, sql) : PQsendQueryParams(link->conn, sql, count, NULL, values, lengths, formats, 0);
    if (sent == 0)
        return link_fail(link, NULL, sql, err);
    if (results_take(link, sql, &result, err) < 0)
        return -1;
    if (out != NULL)
        *out = result;
    else
        PQclear(result);
    return 0;
}

/* --- looking, without waiting ------------------------------------------------------------------ */

static int answer_look(struct link *link, int64_t now_us, struct err *err)
{
    PGresult *result;

    if (PQflush(link->conn) < 0 || PQconsumeInput(link->conn) == 0) {
        (void)link_fail(link, NULL, "version", err);
        link_drop(link);
        return -1;
    }
    if (PQisBusy(link->conn) != 0)
        return now_us - link->since_us > LINK_WAIT_US ? link_late(link, "version", err) : 0;
    if (results_take(link, "version", &result, err) < 0) { /* they are there, but for a server that stops in the middle */
        if (link->conn != NULL)
            link_drop(link);
        return -1;
    }
    version_take(link, result);
    PQclear(result);
    link->state = LINK_IDLE;
    link->prepared = true;
    link->look_us = now_us + LINK_LOOK_US;
    return 0;
}

int link_look(struct link *link, struct err *err)
{
    int64_t now_us = clock_mono_us();
    int     rc = 0;

    if (link->state == LINK_ASKING)
        return answer_look(link, now_us, err);
    if (link->state == LINK_CONNECTING) {
        if (poll(&(struct pollfd){ .fd = PQsocket(link->conn), .events = link->events }, 1, 0) > 0)
            rc = connect_step(link, err);
        if (rc == 0 && now_us - link->since_us > LINK_WAIT_US)
            return link_late(link, "connect", err);
        return rc < 0 ? -1 : 0;
    }
    if (link->state == LINK_DOWN)
        return now_us < link->look_us ? 0 : connect_begin(link, err);
    if (link->prepared && now_us < link->look_us)
        return 0;
    if (PQsendQuery(link->conn, link->prepared ? LINK_VERSION : LINK_SETUP "; " LINK_VERSION) == 0) {
        (void)link_fail(link, NULL, "version", err);
        link_drop(link);
        return -1;
    }
    link->state = LINK_ASKING;
    link->since_us = now_us;
    while (link->state == LINK_ASKING && rc == 0 && clock_mono_us() - now_us < LINK_PATIENCE_US) {
        rc = answer_look(link, clock_mono_us(), err);
        if (rc == 0 && link->state == LINK_ASKING && !socket_wait(link, POLLIN, now_us + LINK_PATIENCE_US))
            break;
    }
    return rc;
}
