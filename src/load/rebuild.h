/* load/rebuild.h - the warehouse is to be built anew from the log, because somebody asked for it.
 *
 * The request is a file, DIR/warehouse.rebuild, that holds what the old warehouse will be called: so it can be asked for
 * while the loader runs and while it does not, and a loader that is killed half-way goes on where it was:
 *   1  the write-ahead log gets its new name, then the database (a database alone is whole, a log alone is nothing)
 *   2  the request goes, and only then the new warehouse is begun, whose place is zero
 *  N1  nothing is deleted: what was is beside it, under the name in the request, which no other warehouse had when it was asked for
 *  N2  killed or cut off at any instant, the next loader has either the old warehouse and the request, or an empty one
 *  N3  half-way the old warehouse is without its write-ahead log: whoever opens it then would begin another. So a loader does what is
 *      asked before it lets anybody ask the warehouse, and one that fails half-way gives the log its name back */
#ifndef PENSTOCK_LOAD_REBUILD_H
#define PENSTOCK_LOAD_REBUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/put_aside.h"

enum { REBUILD_MARK_BYTES = PUT_ASIDE_MARK_BYTES };

/* Asks; durable on 0. mark_out: what is put behind the old warehouse's name. Asked for already: that one's. */
int rebuild_ask(const char *data_folder, int64_t now_us, char mark_out[REBUILD_MARK_BYTES], struct err *err) must_check;
/* 1: somebody asked, 0, -1. What is no request any more (it was damaged) is said and goes. */
int rebuild_asked(const char *data_folder, char mark_out[REBUILD_MARK_BYTES], struct err *err) must_check;
/* Does it; the warehouse must be closed, and nobody may open it meanwhile. 1: the old one has the name with this mark; 0: there was none
 * (asked for again before the new one was begun, or deleted by hand); -1. */
int rebuild_do(const char *data_folder, const char *mark, struct err *err) must_check;

#endif
