/* base/terminal.h - texts that strangers wrote, before a terminal sees them.
 *
 * JSON lets pass what terminals obey: DEL and C1, of which U+009B begins a sequence just as ESC [ does (ECMA-48, 5.3), and characters
 * that change the order in which what stands beside them is shown (UAX #9), so that a text reads as another one. */
#ifndef PENSTOCK_BASE_TERMINAL_H
#define PENSTOCK_BASE_TERMINAL_H

#include "base/buf.h"

/* Whether the text begins with one of those, or of C0: which character, and how many bytes it takes. */
bool terminal_obeys(struct span text, uint32_t *point_out, size_t *bytes_out);

/* JSON, or lines in which strangers' texts stand as JSON only: those of them that JSON lets pass are written as \u escapes, so its values
 * stay what they are. Line ends, and what else is of C0, cannot be part of such a text and stay. */
void terminal_write_json(struct buf *out, struct span text);

#endif
