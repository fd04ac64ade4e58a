/* people/pg_conn.h - a connection to PostgreSQL: statements with parameters, several in one round trip.
 *
 * Nothing here knows of persons. Statements are prepared when they are first used on a connection; parameters and results are
 * binary. Calls that are run together are sent before the first answer is read (libpq's pipeline mode), so that a batch's
 * writes cost one round trip; the first that fails stops those behind it.
 * What may pass by itself is ERR_RETRY: a lost or refused connection, a server that starts, stops or only reads, deadlocks,
 * conflicts, timeouts, a full disk. A statement that the server does not understand is ERR_STOP.
 *  C1  no call waits for ever: a server that does not answer for PG_ANSWER_US has lost its connection
 * @thread one */
#ifndef PENSTOCK_PEOPLE_PG_CONN_H
#define PENSTOCK_PEOPLE_PG_CONN_H

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "base/stores.h"
#include "people/pg_sql.h"
#include "wire/uuid.h"

#define PG_ANSWER_US ((int64_t)90 * 1000000) /* above the server's own limit for a statement (pg_conn.c) */

struct pg_conn {
    const struct people_settings *settings; /* borrowed */
    char    name[40]; /* by which the server's administrators know us */
    PGconn *pq;       /* NULL: there is none */
    bool    prepared[PG_SQL_COUNT];
    bool    open_transaction; /* BEGIN was sent, and its end has not been seen */
    bool    read_only;        /* it may not write */
    bool    conflict;         /* what failed last failed because of what others do, and may go well at once */
    bool    in_turn, alone;   /* the session has a turn (pg.h G5); with nobody beside it */
};

/* Connects, if it has no connection. ERR_INPUT: the URL; else ERR_RETRY. */
int  pg_connect(struct pg_conn *conn, struct err *err) must_check;
void pg_disconnect(struct pg_conn *conn);

enum { PG_PARAMS_MAX = 16 };

/* One statement and its answer. */
struct pg_call {
    enum pg_sql sql;
    const char *values[PG_PARAMS_MAX]; /* binary; NULL: null */
    int         bytes[PG_PARAMS_MAX];
    int         count;
    PGresult   *result; /* of pg_run, until pg_calls_end */
};

/* Runs them in their order. -1: one failed, and what was in a transaction is undone, but for PG_LOST: *lost says that the
 * connection went, so that nobody knows. Results are the caller's to end either way. */
int  pg_run(struct pg_conn *conn, struct pg_call *calls, size_t count, bool *lost, struct err *err) must_check;
void pg_calls_end(struct pg_call *calls, size_t count);
/* Texts without parameters, one after the other, for migrations. first_out, may be NULL: the number that the last one answers. */
int  pg_script(struct pg_conn *conn, const char *text, int64_t *first_out, struct err *err) must_check;

/* --- parameters -------------------------------------------------------------------------------- */

/* Each adds a parameter; its bytes are in the arena, and a failure there fails pg_run. */
void pg_add_i32(struct pg_call *call, struct arena *arena, int32_t value);
void pg_add_i64(struct pg_call *call, struct arena *arena, int64_t value);
void pg_add_bytes(struct pg_call *call, struct arena *arena, struct span value); /* text, bytea; at NULL: null */

/* An array of one dimension, built in the arena. */
enum pg_type { PG_BOOL = 16, PG_BYTEA = 17, PG_INT8 = 20, PG_INT4 = 23, PG_TEXT = 25, PG_TIME = 1184, PG_UUID = 2950 };
struct pg_array {
    struct arena *arena;
    uint8_t      *at;
    size_t        bytes, room;
    uint32_t      count;
    bool          failed;
};
void pg_array_init(struct pg_array *array, struct arena *arena, enum pg_type type);
void pg_array_bytes(struct pg_array *array, struct span value); /* at NULL: null */
void pg_array_null(struct pg_array *array);
void pg_array_bool(struct pg_array *array, bool value);
void pg_array_i32(struct pg_array *array, int32_t value);
void pg_array_i64(struct pg_array *array, int64_t value);
void pg_array_time(struct pg_array *array, int64_t us); /* since 1970 */
void pg_array_uuid(struct pg_array *array, const struct uuid *value);
void pg_add_array(struct pg_call *call, struct pg_array *array);

/* --- answers ----------------------------------------------------------------------------------- */

/* Of a row's column, which is not null; *err is written by pg_row_bad alone. Spans live as long as the result. */
static inline bool pg_is_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) != 0;
}
struct span pg_bytes(const PGresult *result, int row, int column);
int64_t     pg_i64(const PGresult *result, int row, int column); /* of int4 and int8 */
bool        pg_bool(const PGresult *result, int row, int column);
int64_t     pg_time(const PGresult *result, int row, int column); /* us since 1970 */
struct uuid pg_uuid(const PGresult *result, int row, int column);

#endif
