/* ingest/shown.h - rows that readers were shown, and of which the store of persons does not know: it has lost the commits that they
 * belong to (docs/decisions/people-went-back.md). Kafka alone; elsewhere a writer cuts what was not recorded.
 *
 *   store   commits up to here |                 its inputs are processed again
 *   topic   rows .............. | rows shown      | rows from now on
 *                               end recorded      end of the newest mark
 *
 *  S1  what was shown stays: nobody can take it back. The topic goes on behind it, and what was shown is kept in mind (a table of
 *      what names each row), so that its input, which comes again, makes no second one: an event's row, by project and uuid; a dead
 *      letter, by its record's place; points of pages, by all that they say; a warning about an event, by all but its time
 *  S2  persons, ids and groups that were shown are given out once more as the store has them, with higher versions (people/again.h)
 *  S3  both are one commit, with the new ends: until then nothing has happened, and it is begun anew. The range of rows, and how far
 *      the inputs went at that moment, stand in the place (PLACE_SHOWN_...) from then on, until all inputs have passed that; so
 *      whoever opens the unit meanwhile knows what was shown
 *  S4  events stored = rows of the topic - PLACE_SHOWN_AHEAD: rows whose events were not counted yet
 * @thread the unit's */
#ifndef PENSTOCK_INGEST_SHOWN_H
#define PENSTOCK_INGEST_SHOWN_H

#include "ingest/inputs.h"
#include "ingest/outputs.h"
#include "people/people.h"

struct shown;

enum { SHOWN_ROWS_MAX = 4 << 20 }; /* kept in mind, in 192 MiB at most; a unit that lacks more does not open: docs/limits.md */

/* Whether the topics go farther than the place says. 1: *ahead_out is the place as it has to be: ends, and the highest epoch that anybody
 * had; 0; -1: ERR_RETRY. After outputs_open with this place, whose marks have arrived. */
int shown_look(struct log *log, uint32_t unit, const struct people_place *place, struct people_place *ahead_out, struct err *err) must_check;

/* Does S2 and S3. ahead: as shown_look gave it; *outputs is open at it. *ahead becomes the place that was committed. */
int shown_mend(struct log *log, uint32_t unit, struct people *people, struct outputs *outputs, const struct people_place *place,
               struct people_place *ahead, int64_t now_us, struct err *err) must_check;

/* What a place says was shown. *out NULL: nothing. ERR_FULL: more than SHOWN_ROWS_MAX rows. */
int  shown_open(struct log *log, uint32_t unit, const struct people_place *place, struct shown **out, struct err *err) must_check;
void shown_free(struct shown *shown);
/* True: the row is there, and is not written. */
bool shown_has(struct shown *shown, const struct row *row);
/* A batch begins; and before its place is committed: counts what it did not write, and when the inputs have passed, forgets the range. True:
 * so it is, and behind the commit nothing need be kept in mind any more. */
void shown_begin(struct shown *shown);
bool shown_settle(const struct shown *shown, const struct inputs *inputs, struct people_place *place);

#endif
