/* load/load.h - the role that fills the warehouse.
 *
 * It follows the topics of finished rows (follow.h: events, people, warnings, dead_letters, heatmaps, definitions, receipts),
 * and appends their rows to the warehouse in batches; a batch and the places it ends at are one transaction, so each row is there once, whatever
 * is killed when. While it runs it also answers read-only queries of other processes
 * (load/query_socket.h), because one process alone can open the file.
 *  D1  a row is visible at most about four times batch_wait after it was published, as long as loading keeps
 *      up, and at most about once batch_wait where few rows come
 *  D2  nothing stops the stream but the warehouse itself being away: what is no row, or no row that the
 *      engine takes, becomes a dead letter with its bytes; a gap in the log becomes a warning
 *  D3  a warehouse that cannot be opened any more is set aside under another name and built anew from the
 *      log, as far back as the log goes
 *  D4  with nothing to do for a while the warehouse is closed, and opened by the next row or query */
#ifndef PENSTOCK_LOAD_LOAD_H
#define PENSTOCK_LOAD_LOAD_H

#include "base/role.h"

struct load_options {
    const char *library;
    int64_t     memory_bytes;
    int64_t     threads;
    int64_t     catch_up_threads;
    int64_t     catch_up_rows;
    int64_t     batch_rows;
    int64_t     batch_wait_us;
    int64_t     people_wait_us;
    int64_t     idle_us;
    int64_t     query_time_us;
    int64_t     queries;
};

extern const struct role load_role;
extern const struct option load_option_table[];

#endif
