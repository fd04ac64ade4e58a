/* load/query_socket.h - read-only SQL over DIR/run/load.sock, for `penstock sql`, `trace` and `status`.
 *
 * One connection, one query. Little-endian:
 *   request    u32 QUERY_MAGIC, u8 format (enum warehouse_format), u32 bytes of sql, sql
 *   answer     at once an empty piece, u8 'd', u32 0: the request was heard; any number of pieces: u8 'd', u32 bytes, bytes of output;
 *              at last 'z', u32 0 (all of it was sent) or 'e', u32 bytes, u8 enum err_kind, text
 * An answer without 'z' or 'e' at its end is cut off, and the asking side says so. The socket's mode lets
 * only the user that runs Penstock ask. A client that goes away cancels its query, and so does time.
 *
 * Serving: one thread accepts and watches, one thread answers each query. */
#ifndef PENSTOCK_LOAD_QUERY_SOCKET_H
#define PENSTOCK_LOAD_QUERY_SOCKET_H

#include "warehouse/warehouse.h"

#define QUERY_SOCKET_NAME "load.sock"
enum { QUERY_MAGIC = 0x31515350, QUERY_SQL_BYTES_MAX = 1 << 20, QUERIES_MAX = 64, QUERY_HEARD_MS = 10000 };

/* --- asking ------------------------------------------------------------------------------------ */

/* Asks the process that serves run_folder and writes the answer in pieces. Blocks until it is all there, but not for a process that stands
 * still: what is not heard within QUERY_HEARD_MS is given up.
 * ERR_RETRY: nobody serves (open the warehouse read-only instead), all places are taken, or the answer was
 * cut off; ERR_INPUT: what the engine said; else what write said. */
int query_ask(const char *run_folder, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
              struct err *err) must_check;
/* The same with another patience than QUERY_HEARD_MS. */
int query_ask_within(const char *run_folder, int heard_ms, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
                     struct err *err) must_check;
/* True when somebody listens there: false means that query_ask would answer "nobody serves". */
bool query_served(const char *run_folder);

/* --- serving ----------------------------------------------------------------------------------- */

struct query_socket;

/* Runs a query to its end, as warehouse_query. @thread one of the socket's */
typedef int query_runner(void *ctx, const char *sql, enum warehouse_format format, warehouse_write *write,
                         void *write_ctx, const atomic_bool *cancel, struct err *err);

struct query_socket_options {
    const char   *run_folder;
    query_runner *run;
    void         *ctx;
    unsigned      queries_max; /* at the same time; more are told to come again */
    int64_t       time_us_max; /* of one query, the sending of its answer included */
};

int  query_socket_open(const struct query_socket_options *options, struct query_socket **out, struct err *err) must_check;
/* Cancels what runs and waits for it. */
void query_socket_close(struct query_socket *server);
/* Queries answered, and those that failed, since the start. @thread any */
void query_socket_counts(struct query_socket *server, uint64_t *answered_out, uint64_t *failed_out);

#endif
