/* load/keeper.h - keeps the warehouse open while somebody needs it, and sees that it can be opened.
 *
 *   SHUT --keeper_use--> OPEN --keeper_shut, or keeper_rest with no users--> SHUT
 *
 * Users are the loader and each query. A warehouse that turns out to be damaged is set aside as
 * PATH.damaged-<time> together with its write-ahead log, never over an earlier one
 * (base/put_aside.h), said once and loudly, and a new one is begun; the loader, whose place is then zero, fills it from the log.
 * @thread any, except where a line says otherwise */
#ifndef PENSTOCK_LOAD_KEEPER_H
#define PENSTOCK_LOAD_KEEPER_H

#include <stdatomic.h>

#include "warehouse/warehouse.h"

struct poison;

struct keeper;

/* options and its texts are borrowed for the keeper's life. NULL: no memory. */
struct keeper *keeper_new(const struct warehouse_options *options);
void keeper_free(struct keeper *keeper); /* after its users */

/* Opens when needed (may take seconds: a write-ahead log is replayed) and counts the caller as a user.
 * Errors as warehouse_open, but never ERR_CORRUPT. */
int  keeper_use(struct keeper *keeper, struct warehouse **out, struct err *err) must_check;
void keeper_done(struct keeper *keeper);

/* A query, for query_socket.h; keeper: a struct keeper. As keeper_use and warehouse_query. */
int keeper_query(void *keeper, const char *sql, enum warehouse_format format, warehouse_write *write, void *write_ctx,
                 const atomic_bool *cancel, struct err *err) must_check;

/* True once somebody waits for the warehouse to be shut: a running query should end. */
bool keeper_is_leaving(struct keeper *keeper);
/* Waits for the other users and closes. The caller must not be a user. damaged: sets the file aside, too. */
void keeper_shut(struct keeper *keeper, bool damaged);
/* Waits for the other users, closes, and has the file written anew (warehouse_rewrite); nobody opens it meanwhile. The
 * caller must not be a user. */
int keeper_rewrite(struct keeper *keeper, struct err *err) must_check;
/* The same with something else in the rewriting's place. */
typedef int keeper_work(void *ctx, struct err *err);
int keeper_alone(struct keeper *keeper, keeper_work *work, void *ctx, struct err *err) must_check;
/* Closes when there are no users and was none for idle_us. */
void keeper_rest(struct keeper *keeper, int64_t now_us, int64_t idle_us);
/* How often a damaged warehouse was set aside. */
unsigned keeper_rebuilds(struct keeper *keeper);

/* warehouse_in_doubt: the process ends as if it had been killed, which is no row's fault. The supervisor starts it again, and
 * the rows are counted. */
void keeper_abandon(struct poison *poison, const struct err *err) __attribute__((noreturn));

#endif
