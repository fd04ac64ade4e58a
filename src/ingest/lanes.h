/* ingest/lanes.h - how many records of which lane the next batch takes.
 *
 * Live traffic (and what operators ask for) always may fill a batch. The low lanes, imports and what was moved
 * aside, get what is left of three things, and never nothing:
 *
 *   the batch's time   what they add to a batch is bounded by what its records cost: 10 ms while there is live traffic,
 *                      which waits for them, 100 ms while there is none
 *   ingest's own lag   while the oldest live record waited long, or a batch took long, their rate is halved every
 *                      100 ms; otherwise it grows by a step. (Additive increase, multiplicative decrease: two who
 *                      share something and know nothing of each other come to fair shares that way.)
 *   load's lag         the same, every second, when the rows that load has not taken are older than half as long again as
 *                      they are without low records, or it needs longer for them (0.7 to 2 s; 4 s without live traffic):
 *                      imported rows stand in one line with live ones there
 *
 * Without live traffic for a second they run at full speed, as long as load keeps up: when it did not, they keep to
 * the rate for half a minute.
 *  K1  a low lane that waits gets records: 100 a second at least, and 1/32 of what live traffic gets
 *  K2  two low lanes that wait share evenly; what one does not need, the other one gets
 * Knows no log and no clock: all it sees is told. @thread one */
#ifndef PENSTOCK_INGEST_LANES_H
#define PENSTOCK_INGEST_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/record.h"

enum { LANES_SAMPLES = 64 };

/* What there is before a batch. */
struct lanes_view {
    int64_t  now_us;           /* clock_mono_us */
    uint64_t lag[INPUT_COUNT]; /* records that wait */
    int64_t  live_age_us;      /* since the first of them in raw was accepted */
};

/* What a batch did. */
struct lanes_batch {
    int64_t  now_us;             /* at its end */
    uint64_t taken[INPUT_COUNT];
    uint64_t moved;              /* of them, only moved aside */
    int64_t  took_us;            /* by the clock */
    int64_t  cpu_us;             /* of its records, without syncs */
    uint64_t events_end;         /* rows of events that are finished since the beginning */
};

struct lanes {
    double   rate;       /* low records a second */
    double   tokens;     /* low records that may be taken now */
    double   cost_us;    /* of a record, smoothed */
    int64_t  filled_us;  /* tokens are as of then */
    int64_t  stepped_us; /* the rate was last looked at */
    int64_t  live_us;    /* a live record was last seen */
    int64_t  low_us;     /* low records were last taken */
    uint64_t drained;    /* low records since stepped_us */
    bool     congested;  /* since stepped_us: live records waited too long */
    bool     exhausted;  /* the rate was what limited, since stepped_us */
    unsigned turn;       /* who of two low lanes gets the odd record */
    /* when how many events were finished: how old is what load has not taken */
    struct { int64_t at_us; uint64_t end; } samples[LANES_SAMPLES];
    unsigned sample_count, sample_next;
    uint64_t events_end;         /* finished by now */
    uint64_t loaded;             /* what load had taken at loaded_us */
    int64_t  loaded_us;
    double   load_speed;         /* events a second, smoothed */
    int64_t  load_lag_us;        /* age of what it has not taken, or the time to take it: the longer one */
    double   load_alone_us;      /* the same, smoothed, of when only live rows came; 0: not known */
    int64_t  load_late_us;       /* when that was last too long */
    int64_t  cut_us;             /* when the rate was last halved */
};

void lanes_init(struct lanes *lanes, int64_t now_us, uint64_t events_end);
/* What load has taken of the events; every 100 ms or so. Never called: load is not there, and limits nothing. */
void lanes_load_at(struct lanes *lanes, uint64_t events_taken, int64_t now_us);
/* limit: records of the batch. Sum of quota <= limit (control apart); all zero: nothing may be taken yet. */
void lanes_plan(struct lanes *lanes, const struct lanes_view *view, size_t limit, size_t quota[INPUT_COUNT]);
void lanes_done(struct lanes *lanes, const struct lanes_batch *batch);
/* How long to wait for live events until a low lane may have its turn. */
int64_t lanes_wait_us(const struct lanes *lanes, const struct lanes_view *view, int64_t most_us);

#endif
