/* command/trace_find.h - all that the stores know of one event id.
 *
 * Nothing is searched that can be looked up: the people store says at which place the id was accepted, the record
 * there says when, and place and time tell the warehouse which few row groups to read (its zone maps). Ids that left
 * no row are on the people store's tape. Only what none of these knows is looked for record by record, for
 * TRACE_SEARCH_US at most. What is reported was recorded by who did it; nothing is worked out anew, except where the
 * field says so. */
#ifndef PENSTOCK_COMMAND_TRACE_FIND_H
#define PENSTOCK_COMMAND_TRACE_FIND_H

#include "base/arena.h"
#include "command/letter.h"
#include "event/record.h"
#include "ingest/fate.h"

enum { TRACE_ENDED_MAX = 32, TRACE_ALSO_MAX = 8, TRACE_SEARCH_US = 2000000 };
#define TRACE_NONE UINT64_MAX

enum trace_fate {
    TRACE_UNKNOWN,
    TRACE_WAITS_INGEST, /* accepted */
    TRACE_WAITS_LOAD,   /* processed; the row or letter is in the log */
    TRACE_STORED,
    TRACE_HEATMAP,      /* stored, as rows of heatmaps alone */
    TRACE_ROW_GONE,     /* it was stored, and there is no row any more */
    TRACE_DEAD_LETTERED,
    TRACE_ENDED         /* dropped or deduplicated; `ended_fate` */
};

/* The record as it was accepted. */
enum trace_record_state {
    TRACE_RECORD_UNKNOWN, /* nobody knows where it stood */
    TRACE_RECORD_KEPT,
    TRACE_RECORD_EXPIRED, /* deleted by retention */
    TRACE_RECORD_DAMAGED,
    TRACE_RECORD_ERASED /* with its person: its place is there, empty */
};

/* The event's row, from the warehouse or from the topic that leads there. Bytes 0: null. */
struct trace_row {
    struct span event, distinct_id, properties, person_id, person_mode, person_properties, session_id, groups[5];
    struct span json;        /* the row for people, without its large columns */
    int64_t     team_id, timestamp_us, captured_us, created_us, person_created_us;
    int64_t     inserted_us; /* CLOCK_NONE: not in the warehouse yet */
    uint64_t    place;
};

struct trace {
    /* asked */
    const char   *data;
    struct uuid   uuid;
    char          text[UUID_TEXT_BYTES + 1];
    uint32_t      project_only; /* 0: whichever */
    struct arena *arena;        /* everything below lives there */
    uint32_t      units, unit;  /* how many there are; the one that is looked at, in the end the one that has it (0 without Kafka) */
    /* found */
    enum trace_fate         fate;
    int                     ended_fate;
    bool                    recomputed;  /* ended_fate is what today's rules say of the record */
    uint32_t                project;     /* 0: not known */
    uint32_t                also[TRACE_ALSO_MAX]; /* other projects that have this id */
    size_t                  also_count;
    uint64_t                place;       /* TRACE_NONE: not known */
    enum trace_record_state record_state;
    struct record           record;      /* TRACE_RECORD_KEPT */
    int64_t                 written_us;  /* when its frame was appended */
    bool                    has_people;  /* there is a store that remembers ids */
    bool                    has_row, has_letter, has_heatmap;
    struct span             heatmap;     /* a $$heatmap event has no row of its own: the last of its points, as JSON */
    struct trace_row        row;
    uint64_t                events_offset; /* of the row in the topic events; TRACE_NONE: not there any more */
    struct letter           letter;      /* the newest */
    struct people_ended     ended[TRACE_ENDED_MAX]; /* each time that it left no row, the latest TRACE_ENDED_MAX */
    size_t                  ended_count; /* of all */
    struct span             warnings;    /* JSON array of those raised for it */
    struct span             person_now;  /* uuid that the distinct id leads to today; bytes 0: none */
    char                    project_name[204];
};

int trace_find(struct trace *trace, struct err *err) must_check;

#endif
