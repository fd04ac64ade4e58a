/* capture/rates.h - how fast events come, where a limit of the catalog asks for it. One for all loops.
 *
 * A limit of `token` is a bucket that runs full with so many events a second, up to its burst. A request is taken when
 * there is room for one event, whatever it holds, and those that follow wait for all of it: a request larger than the
 * burst comes through too, and on the average no more than the limit does.
 * A limit of `distinct_id` is a window of 60 s that slides, for each id: the whole minute before counts for the part of
 * it that the window still covers.
 * What is counted is forgotten with the process. When there is no place to count (more ids at one time than
 * RATES_IDS_MAX, more limits than RATES_LIMITS_MAX), events are taken: a limit that cannot be kept harms nobody. */
#ifndef PENSTOCK_CAPTURE_RATES_H
#define PENSTOCK_CAPTURE_RATES_H

#include "catalog/catalog.h"

enum { RATES_LIMITS_MAX = 1 << 16, RATES_IDS_MAX = 1 << 19, RATES_ID_CHARS_MAX = 128 };

struct rates;

struct rates *rates_new(void); /* NULL: no memory */
void          rates_free(struct rates *rates);

/* 0: the events may come, and are counted. Otherwise they may not: after how many microseconds the next one may.
 * limit is of LIMIT_TOKEN. @thread any */
int64_t rates_take(struct rates *rates, const struct catalog_limit *limit, uint64_t events, int64_t mono_us);
/* Counts one event of the id; true: it is above the limit, which is of LIMIT_DISTINCT_ID. @thread any */
bool rates_id_over(struct rates *rates, const struct catalog_limit *limit, struct span distinct_id, int64_t mono_us);

#endif
