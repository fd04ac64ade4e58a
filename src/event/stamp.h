/* event/stamp.h - when an event happened, from what its client said and from our clock. Pure. */
#ifndef PENSTOCK_EVENT_STAMP_H
#define PENSTOCK_EVENT_STAMP_H

#include "event/record.h"

struct stamp_input {
    int64_t now_us;       /* our clock, one reading a request */
    int64_t sent_at_us;   /* CLOCK_NONE: not known */
    int64_t client_us;    /* the event's `timestamp`; CLOCK_NONE: absent, or not a time */
    bool    has_offset;
    int64_t offset_ms;    /* between capturing and sending, by the client */
    bool    ignore_sent_at;
};

struct stamp {
    int64_t                      us;
    enum record_timestamp_source source;
};

struct stamp stamp_compute(const struct stamp_input *input);

#endif
