/* people/pg_conn.c - libpq in pipeline mode, with a limit for every wait.
 *
 * libpq's blocking calls wait for ever for a server that has stopped answering; so everything is sent and read without
 * blocking, and poll() waits with a limit. The server's own limits (statement_timeout, lock_timeout) come first, and say
 * more about what was waited for.
 * A commit that the server confirmed has to stay: rows are shown on its word (ingest/outputs.c), and a place that goes back would have others written
 * over them. So a session does not take part in a server's, a database's or a role's `synchronous_commit = off` (or `local`, which does
 * not wait for the standby that is waited for otherwise).
 * Plans are made once and for any number of rows (force_generic_plan): a table that was empty when the connection was made
 * must not be read from end to end when it has grown, so plans that do that are discouraged. */
#include "people/pg_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define EPOCH_2000_US ((int64_t)946684800 * 1000000)
/* PostgreSQL's times begin in 4713 BC; what is before is kept at the edge. They end behind ours. */
#define TIME_US_MIN ((int64_t)-210866803200 * 1000000)

static const struct {
    const char *name, *text;
} sqls[PG_SQL_COUNT] = {
#define PG_SQL_ROW(name, text) { #name, text },
    PG_SQLS(PG_SQL_ROW)
};

static const char settings_sql[] =
    "SELECT set_config('statement_timeout', '60000', false), set_config('lock_timeout', '15000', false), "
    "set_config('idle_in_transaction_session_timeout', '120000', false), set_config('client_min_messages', 'warning', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false), "
    "set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false), "
    "set_config('enable_seqscan', 'off', false), "
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' "
    "ELSE current_setting('synchronous_commit') END, false), "
    /* a role of the name of our own schema would have upstream's tables made there */
    "set_config('search_path', regexp_replace(current_setting('search_path'), '\"\\$user\", *', ''), false)";

/* --- errors ------------------------------------------------------------------------------------ */

/* libpq's texts end in a line's end, and may have several lines. */
static void first_line(const char *text, char to[200])
{
    size_t bytes = strcspn(text, "\n");

    (void)snprintf(to, 200, "%.*s", (int)(bytes < 199 ? bytes : 199), text);
}

static int lost(struct pg_conn *conn, struct err *err)
{
    char line[200];

    first_line(conn->pq == NULL ? "" : PQerrorMessage(conn->pq), line);
    pg_disconnect(conn);
    return err_set(err, ERR_RETRY, "people: the connection to PostgreSQL is lost: %s", line[0] != '\0' ? line : "it closed it");
}

/* By SQLSTATE: https://www.postgresql.org/docs/15/errcodes-appendix.html */
static enum err_kind kind_of(const char *state)
{
    static const char *const stop[] = { "22", "23514", "23502", "42", "0A", "28", "3D", "3F", "26", "P0001" };

    if (state == NULL)
        return ERR_RETRY;
    if (strcmp(state, "PS001") == 0) /* penstock.own: another process has taken the unit over */
        return ERR_STOP;
    if (strncmp(state, "XX00", 4) == 0 && (state[4] == '1' || state[4] == '2'))
        return ERR_CORRUPT;
    for (size_t i = 0; i < sizeof stop / sizeof *stop; i++)
        if (strncmp(state, stop[i], strlen(stop[i])) == 0)
            return ERR_STOP;
    return ERR_RETRY;
}

/* A row that somebody changed, a key that he wrote, a deadlock with him. */
static bool is_conflict(const char *state)
{
    static const char *const states[] = { "40001", "40P01", "23505", "23503" };

    for (size_t i = 0; state != NULL && i < sizeof states / sizeof *states; i++)
        if (strcmp(state, states[i]) == 0)
            return true;
    return false;
}

static int result_fail(const PGresult *result, const char *what, struct err *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE), *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char        line[200];

    first_line(text != NULL ? text : PQresultErrorMessage(result), line);
    return err_set(err, kind_of(state), "people: PostgreSQL: %s: %s (%s)", what, line, state != NULL ? state : "no SQLSTATE");
}

/* --- waiting ----------------------------------------------------------------------------------- */

/* Until there is something to read, or the rest could be sent. false: the connection is no more, or gave no answer. */
static bool wait_some(struct pg_conn *conn, int64_t until_us)
{
    for (;;) {
        int           unsent = PQflush(conn->pq);
        struct pollfd fd = { .fd = PQsocket(conn->pq), .events = (short)(unsent == 1 ? POLLIN | POLLOUT : POLLIN) };
        int64_t       left_us = until_us - clock_mono_us();
        int           got;

        if (unsent < 0 || fd.fd < 0 || left_us <= 0)
            return false;
        got = poll(&fd, 1, (int)(left_us / 1000 + 1));
        if (got < 0 && errno != EINTR)
            return false;
        if (got > 0 && (fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            return PQconsumeInput(conn->pq) == 1;
    }
}

/* The next result, NULL at the end of a statement's; false: the connection is lost. */
static bool next_result(struct pg_conn *conn, PGresult **out, int64_t until_us)
{
    while (PQisBusy(conn->pq))
        if (!wait_some(conn, until_us))
            return false;
    *out = PQgetResult(conn->pq);
    return true;
}

/* Runs texts outside of the pipeline. The last result, or the first that failed; NULL: the connection is lost. */
static PGresult *exec_text(struct pg_conn *conn, const char *text)
{
    int64_t   until_us = clock_mono_us() + PG_ANSWER_US;
    PGresult *kept = NULL, *result;

    if (PQsendQuery(conn->pq, text) != 1)
        return NULL;
    for (;;) {
        if (!next_result(conn, &result, until_us)) {
            PQclear(kept);
            return NULL;
        }
        if (result == NULL)
            return kept;
        if (kept != NULL && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
    }
}

/* --- connecting -------------------------------------------------------------------------------- */

void pg_disconnect(struct pg_conn *conn)
{
    if (conn->pq != NULL)
        PQfinish(conn->pq);
    conn->pq = NULL;
    conn->open_transaction = conn->read_only = conn->in_turn = conn->alone = false;
    memset(conn->prepared, 0, sizeof conn->prepared);
}

/* What fails is said where it is acted on; libpq would say the rest on stderr. */
static void be_quiet(void *ctx, const char *text)
{
    (void)ctx, (void)text;
}

static int prepare_session(struct pg_conn *conn, struct err *err)
{
    PGresult *result;
    int       rc;

    (void)PQsetNoticeProcessor(conn->pq, be_quiet, NULL);
    if (PQsetnonblocking(conn->pq, 1) != 0)
        return err_set(err, ERR_RETRY, "people: PostgreSQL: the socket cannot be made to not block");
    result = exec_text(conn, settings_sql);
    if (result == NULL)
        return lost(conn, err);
    rc = PQresultStatus(result) == PGRES_TUPLES_OK ? 0 : result_fail(result, "settings", err);
    PQclear(result);
    return rc;
}

int pg_connect(struct pg_conn *conn, struct err *err)
{
    char        password[SECRET_BYTES_MAX + 1], shown[URL_SHOWN_BYTES], line[200];
    const char *keys[10], *values[10];
    int         count = 0;

    if (conn->pq != NULL && PQstatus(conn->pq) == CONNECTION_OK)
        return 0;
    pg_disconnect(conn);
    if (secret_read(conn->settings->password_file == NULL ? "" : conn->settings->password_file, "PEOPLE_PASSWORD", password, err) < 0)
        return -1;
#define SET(key, value) (keys[count] = (key), values[count++] = (value))
    SET("connect_timeout", "5");
    SET("application_name", conn->name);
    SET("keepalives_idle", "10");
    SET("keepalives_interval", "5");
    SET("keepalives_count", "3");
    SET("tcp_user_timeout", "30000");
    if (password[0] != '\0')
        SET("password", password);
    SET("dbname", conn->settings->url);
    SET(NULL, NULL);
#undef SET
    conn->pq = PQconnectdbParams(keys, values, 1);
    if (conn->pq == NULL)
        return err_set(err, ERR_FULL, "people: no memory for a connection");
    if (PQstatus(conn->pq) != CONNECTION_OK) {
        url_shown(conn->settings->url, shown);
        first_line(PQerrorMessage(conn->pq), line);
        pg_disconnect(conn);
        return err_set(err, ERR_RETRY, "people: PostgreSQL at %.100s: %.150s", shown, line);
    }
    if (prepare_session(conn, err) < 0) {
        pg_disconnect(conn);
        return -1;
    }
    return 0;
}

int pg_script(struct pg_conn *conn, const char *text, int64_t *first_out, struct err *err)
{
    PGresult *result = conn->pq == NULL ? NULL : exec_text(conn, text);
    ExecStatusType status;
    int       rc;

    if (result == NULL)
        return lost(conn, err);
    status = PQresultStatus(result);
    rc = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : result_fail(result, "tables", err);
    if (rc == 0 && first_out != NULL)
        *first_out = PQntuples(result) > 0 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    return rc;
}

/* --- a round trip ------------------------------------------------------------------------------ */

static bool send_call(struct pg_conn *conn, struct pg_call *call)
{
    int formats[PG_PARAMS_MAX];

    for (int i = 0; i < call->count; i++) {
        if (call->bytes[i] < 0)
            return false;
        formats[i] = 1;
    }
    if (!conn->prepared[call->sql]) {
        if (PQsendPrepare(conn->pq, sqls[call->sql].name, sqls[call->sql].text, 0, NULL) != 1)
            return false;
        conn->prepared[call->sql] = true;
    }
    return PQsendQueryPrepared(conn->pq, sqls[call->sql].name, call->count, call->values, call->bytes, formats, 1) == 1;
}

/* Reads the answers up to the sync. Preparations answer too, without rows. */
static bool read_answers(struct pg_conn *conn, struct pg_call *calls, size_t count, const bool *prepares, int *rc, struct err *err)
{
    int64_t   until_us = clock_mono_us() + PG_ANSWER_US;
    size_t    at = 0;
    bool      preparing = count > 0 && prepares[0];
    PGresult *result;

    for (;;) {
        ExecStatusType status;

        if (!next_result(conn, &result, until_us))
            return false;
        if (result == NULL) { /* the end of one, and not yet of all */
            if (PQstatus(conn->pq) != CONNECTION_OK)
                return false;
            continue;
        }
        status = PQresultStatus(result);
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return true;
        }
        if (at >= count) {
            PQclear(result);
            return false;
        }
        if (status == PGRES_FATAL_ERROR && *rc == 0) {
            const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

            *rc = result_fail(result, sqls[calls[at].sql].name, err);
            conn->read_only = state != NULL && strcmp(state, "25006") == 0;
            conn->conflict = is_conflict(state);
        }
        if (preparing) {
            if (status != PGRES_COMMAND_OK)
                conn->prepared[calls[at].sql] = false;
            PQclear(result);
            preparing = false;
        } else {
            calls[at].result = result;
            at++;
            preparing = at < count && prepares[at];
        }
        if (PQstatus(conn->pq) != CONNECTION_OK)
            return false;
    }
}

static void note_transaction(struct pg_conn *conn)
{
    conn->open_transaction = conn->pq != NULL && PQtransactionStatus(conn->pq) != PQTRANS_IDLE;
}

static int run(struct pg_conn *conn, struct pg_call *calls, size_t count, bool *lost_out, struct err *err)
{
    bool prepares[64];
    int  rc = 0;

    *lost_out = false;
    if (conn->pq == NULL)
        return err_set(err, ERR_RETRY, "people: there is no connection to PostgreSQL");
    if (count > sizeof prepares / sizeof *prepares)
        return err_set(err, ERR_STOP, "people: %zu statements at once", count);
    if (PQenterPipelineMode(conn->pq) != 1)
        goto gone;
    for (size_t i = 0; i < count; i++) {
        calls[i].result = NULL;
        prepares[i] = !conn->prepared[calls[i].sql];
        if (!send_call(conn, &calls[i])) {
            if (PQstatus(conn->pq) != CONNECTION_OK)
                goto gone;
            pg_disconnect(conn); /* nothing was answered yet: nothing has happened */
            return err_set(err, ERR_FULL, "people: a statement's parameters do not fit into memory");
        }
    }
    if (PQpipelineSync(conn->pq) != 1 || !read_answers(conn, calls, count, prepares, &rc, err))
        goto gone;
    if (PQexitPipelineMode(conn->pq) != 1)
        goto gone;
    note_transaction(conn);
    return rc;
gone:
    *lost_out = true;
    return lost(conn, err);
}

int pg_run(struct pg_conn *conn, struct pg_call *calls, size_t count, bool *lost_out, struct err *err)
{
    int rc;

    conn->conflict = false;
    rc = run(conn, calls, count, lost_out, err);
    if (rc < 0 && !*lost_out && conn->read_only) {
        pg_disconnect(conn); /* a session stays what it was when it began; a new one may find a server that is written to */
        return -1;
    }
    if (rc < 0 && !*lost_out && conn->open_transaction) {
        struct pg_call end = { .sql = PG_ROLLBACK_SQL };
        struct err     ignored;
        bool           gone;

        if (run(conn, &end, 1, &gone, &ignored) < 0)
            pg_disconnect(conn);
        pg_calls_end(&end, 1);
    }
    return rc;
}

void pg_calls_end(struct pg_call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PQclear(calls[i].result);
        calls[i].result = NULL;
    }
}

/* --- parameters -------------------------------------------------------------------------------- */

static uint32_t big32(uint32_t value) { return htonl(value); }
static uint64_t big64(uint64_t value) { return __builtin_bswap64(value); }

static void add(struct pg_call *call, struct arena *arena, const void *at, size_t bytes)
{
    int      i = call->count++;
    uint8_t *copy = arena_alloc(arena, bytes + 1);

    if (copy == NULL || bytes > INT32_MAX) {
        call->bytes[i] = -1;
        return;
    }
    memcpy(copy, at, bytes);
    call->values[i] = (const char *)copy;
    call->bytes[i] = (int)bytes;
}

void pg_add_i32(struct pg_call *call, struct arena *arena, int32_t value)
{
    uint32_t big = big32((uint32_t)value);

    add(call, arena, &big, sizeof big);
}

void pg_add_i64(struct pg_call *call, struct arena *arena, int64_t value)
{
    uint64_t big = big64((uint64_t)value);

    add(call, arena, &big, sizeof big);
}

void pg_add_bytes(struct pg_call *call, struct arena *arena, struct span value)
{
    if (value.at == NULL) {
        call->values[call->count] = NULL;
        call->bytes[call->count++] = 0;
        return;
    }
    add(call, arena, value.at, value.bytes);
}

/* dimensions 4, has nulls 4, type 4, count 4, lower bound 4; then each: bytes 4, value */
enum { ARRAY_HEAD = 20, ARRAY_FIRST = 256 };

static void put32(uint8_t *to, uint32_t value)
{
    value = big32(value);
    memcpy(to, &value, 4);
}

void pg_array_init(struct pg_array *array, struct arena *arena, enum pg_type type)
{
    *array = (struct pg_array){ .arena = arena, .room = ARRAY_FIRST, .bytes = ARRAY_HEAD, .at = arena_alloc(arena, ARRAY_FIRST) };
    array->failed = array->at == NULL;
    if (array->failed)
        return;
    put32(array->at, 1);
    put32(array->at + 4, 1);
    put32(array->at + 8, type);
    put32(array->at + 16, 1);
}

static void array_add(struct pg_array *array, uint32_t said, const void *at, size_t bytes)
{
    size_t needed = array->bytes + 4 + bytes, room = array->room;

    if (array->failed)
        return;
    while (room < needed)
        room *= 2;
    if (room != array->room) {
        array->at = arena_grow(array->arena, array->at, array->room, room);
        array->failed = array->at == NULL;
        if (array->failed)
            return;
        array->room = room;
    }
    put32(array->at + array->bytes, said);
    if (bytes > 0)
        memcpy(array->at + array->bytes + 4, at, bytes);
    array->bytes = needed;
    array->count++;
}

void pg_array_bytes(struct pg_array *array, struct span value)
{
    if (value.at == NULL)
        array_add(array, UINT32_MAX, NULL, 0);
    else
        array_add(array, (uint32_t)value.bytes, value.at, value.bytes);
}

void pg_array_null(struct pg_array *array)
{
    array_add(array, UINT32_MAX, NULL, 0);
}

void pg_array_bool(struct pg_array *array, bool value)
{
    uint8_t byte = value;

    array_add(array, 1, &byte, 1);
}

void pg_array_i32(struct pg_array *array, int32_t value)
{
    uint32_t big = big32((uint32_t)value);

    array_add(array, 4, &big, 4);
}

void pg_array_i64(struct pg_array *array, int64_t value)
{
    uint64_t big = big64((uint64_t)value);

    array_add(array, 8, &big, 8);
}

void pg_array_time(struct pg_array *array, int64_t us)
{
    if (us != CLOCK_NONE)
        pg_array_i64(array, (us < TIME_US_MIN ? TIME_US_MIN : us) - EPOCH_2000_US);
    else
        pg_array_null(array);
}

void pg_array_uuid(struct pg_array *array, const struct uuid *value)
{
    array_add(array, 16, value->bytes, 16);
}

void pg_add_array(struct pg_call *call, struct pg_array *array)
{
    int i = call->count++;

    if (array->failed || array->bytes > INT32_MAX) {
        call->bytes[i] = -1;
        return;
    }
    put32(array->at + 12, array->count);
    if (array->count == 0) {
        put32(array->at, 0); /* an empty array has no dimension */
        array->bytes = 12;
    }
    call->values[i] = (const char *)array->at;
    call->bytes[i] = (int)array->bytes;
}

/* --- answers ----------------------------------------------------------------------------------- */

struct span pg_bytes(const PGresult *result, int row, int column)
{
    return span_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

int64_t pg_i64(const PGresult *result, int row, int column)
{
    const char *at = PQgetvalue(result, row, column);
    uint64_t    wide;
    uint32_t    narrow;

    if (PQgetlength(result, row, column) == 4) {
        memcpy(&narrow, at, 4);
        return (int32_t)big32(narrow);
    }
    if (PQgetlength(result, row, column) != 8)
        return 0;
    memcpy(&wide, at, 8);
    return (int64_t)big64(wide);
}

bool pg_bool(const PGresult *result, int row, int column)
{
    return PQgetlength(result, row, column) == 1 && *PQgetvalue(result, row, column) != 0;
}

int64_t pg_time(const PGresult *result, int row, int column)
{
    return pg_i64(result, row, column) + EPOCH_2000_US;
}

struct uuid pg_uuid(const PGresult *result, int row, int column)
{
    struct uuid uuid = { .bytes = { 0 } };

    if (PQgetlength(result, row, column) == 16)
        memcpy(uuid.bytes, PQgetvalue(result, row, column), 16);
    return uuid;
}
