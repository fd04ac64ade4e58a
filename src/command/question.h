/* command/question.h - asks the warehouse from any process: through the loader while it runs, else from
 * the file.
 *
 * One process opens the warehouse's file. While role load runs, that is the loader, and questions go
 * through its socket DIR/run/load.sock; otherwise the file is opened here, read-only. Between the two (the
 * loader is being started again) a question waits up to two seconds. */
#ifndef PENSTOCK_COMMAND_QUESTION_H
#define PENSTOCK_COMMAND_QUESTION_H

#include "base/buf.h"
#include "warehouse/warehouse.h"

/* The result in pieces to write. ERR_INPUT: the engine refused the statement. ERR_RETRY: nobody answers. */
int question_ask(const char *data, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
                 struct err *err) must_check;
/* The whole result as JSON or CSV text in out (up to its ceiling: ERR_FULL). Asked again when it was cut off. */
int question_json(const char *data, const char *sql, struct buf *out, struct err *err) must_check;
int question_csv(const char *data, const char *sql, struct buf *out, struct err *err) must_check;
/* The warehouse is ClickHouse: names are the same there, and epoch_us() and make_timestamp() are made with its tables, but some
 * words of its SQL are others. */
bool question_to_clickhouse(const char *data);
/* True when there is a warehouse to ask (a row was loaded once, or load was started). */
bool question_possible(const char *data);

#endif
