/* event/unit_ends.h - where the rows of units ended: in the order to erase a person, what must be loaded before.
 *
 * A text in the order's `detail`: for each unit "UNIT:END,END,...", by ingest's numbering of its outputs, between two of them ";". */
#ifndef PENSTOCK_EVENT_UNIT_ENDS_H
#define PENSTOCK_EVENT_UNIT_ENDS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum { UNIT_ENDS_MAX = 16 };

struct unit_ends {
    uint32_t unit;
    uint64_t end[UNIT_ENDS_MAX]; /* zero: nothing */
};

/* One more; count: how many of the ends are written. */
void unit_ends_add(struct buf *text, const struct unit_ends *ends, size_t count);
/* The next one of what is left of the text, which begins behind it then. 1; 0: no more; -1: that is no such text. */
int unit_ends_next(struct span *text, struct unit_ends *out, struct err *err) must_check;

#endif
