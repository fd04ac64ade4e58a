/* command/trace_show.h - a trace as JSON, and for people; and what both work out of it.
 *
 * What was changed is found by comparing the record with the row, and what became of the person's properties by comparing
 * what was asked with the row's person: both are what was really stored. */
#ifndef PENSTOCK_COMMAND_TRACE_SHOW_H
#define PENSTOCK_COMMAND_TRACE_SHOW_H

#include "command/trace_find.h"
#include "wire/json.h"

enum { TRACE_SHOW_ARENA_BYTES_MAX = 1 << 30 };

void trace_write_json(const struct trace *trace, struct buf *out);
/* Texts of strangers stand there as JSON; command_write_text() keeps from a terminal what that lets pass. */
void trace_write_text(const struct trace *trace, struct buf *out);

/* --- for the two of them ------------------------------------------------------------------------ */

extern const char *const trace_source_names[]; /* by enum record_timestamp_source */

/* "stored", "dropped", ...; and a sentence about it, or "". */
const char *trace_fate_name(const struct trace *trace);
const char *trace_note(const struct trace *trace);

struct trace_step {
    const char *name;
    int64_t     at_us; /* CLOCK_NONE: not known */
};
enum { TRACE_STEP_ACCEPTED, TRACE_STEP_WRITTEN, TRACE_STEP_PROCESSED, TRACE_STEP_STORED, TRACE_STEP_COUNT };
void trace_steps(const struct trace *trace, struct trace_step steps[TRACE_STEP_COUNT]);

struct trace_members { struct json_members all; bool there; };
/* Of a JSON object; none when it is no object. */
struct trace_members trace_members(struct span object, struct arena *arena);
/* A member's value, as it is written; bytes 0: there is none. */
struct span trace_value(const struct trace_members *members, const char *name);

/* What ingest made of the client's properties. */
struct trace_changes {
    struct trace_members before, after; /* there: both are known */
};
enum trace_difference { TRACE_ADDED, TRACE_REMOVED, TRACE_CHANGED };
void trace_changes_find(const struct trace *trace, struct arena *arena, struct trace_changes *out);
/* Names as a JSON array. */
void trace_names_write(const struct trace_changes *changes, enum trace_difference what, struct buf *out);
/* The $geoip_ properties that were added, as an object. */
void trace_place_write(const struct trace_changes *changes, struct buf *out);
/* Of the keys that the event asked for, those that the person has afterwards with just that value, or the others. */
void trace_asked_write(const struct trace_members *asked, const struct trace_members *person, bool in_force, struct buf *out);
/* "true" or "false", by what the person says; "null": it does not say. */
const char *trace_made_person(const struct trace *trace, const struct trace_members *person);

#endif
