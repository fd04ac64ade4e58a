/* ingest/log_eraser.h - what the log still holds of persons that were erased.
 *
 * The log keeps accepted records for days and finished rows for days, and so the bytes of whoever was erased. The eraser
 * goes through every topic, a segment at a time between batches, and empties the records that are about one of the
 * erased ids (log.h, log_erase). The ids are in the store until that is done (people/operate.h), so a crash only
 * begins the walk anew, and what was emptied already is passed quickly.
 * A topic is gone through when its consumer has passed all that was there when the walk began, and when the segment that
 * was being written then has ended: the writers are asked to.
 * @thread ingest */
#ifndef PENSTOCK_INGEST_LOG_ERASER_H
#define PENSTOCK_INGEST_LOG_ERASER_H

#include "catalog/catalog.h"
#include "log/log.h"
#include "people/operate.h"

struct log_eraser;

int  log_eraser_new(struct log *log, struct log_eraser **out, struct err *err) must_check; /* log: borrowed */
void log_eraser_free(struct log_eraser *eraser);

/* One step, of about the time that it takes to read and write a segment. 1: a walk came to its end: everything under a
 * number below *below_out is in the log no more, *records_out records were emptied; 0: nothing to do, or more to come
 * later; -1. Begins a walk when the store has ids. */
int log_eraser_step(struct log_eraser *eraser, struct people *people, const struct catalog_snapshot *catalog,
                    uint64_t *below_out, uint64_t *records_out, struct err *err) must_check;
/* The same, where trouble is said and tried again. *below_out, *records_out are left alone unless a walk came to its end. */
void log_eraser_chore(struct log_eraser *eraser, struct people *people, const struct catalog_snapshot *catalog,
                      uint64_t *below_out, uint64_t *records_out);

#endif
