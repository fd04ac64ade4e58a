/* capture/pressure.h - whether more comes than can be done, and who is sent away first.
 *
 * Two things run short: time and memory. Time: requests wait in a queue for their turn (loop.h). A queue that a burst
 * left is worked off; one that stays longer than PRESSURE_STANDING_US never will be, and each request in it makes all
 * later ones late. From then on, and until it was quiet for PRESSURE_CALM_US, the length of the queue is held by
 * sending requests away at their head, before their body is read or unpacked. Memory: what bodies and records
 * take, of what they may.
 *
 *   level      by wait         by memory   who is sent away (503 with Retry-After, each of them keeps its events and
 *                                          comes again), besides those above
 *   REPLAY     1/4 of the wait    70 %     session recordings; connections whose last request was an import's
 *   NEWCOMERS  3/8                80 %     by wait: few new connections are accepted, the others stay in the kernel's
 *                                          queue; by memory: who has not had a request taken on its connection
 *   LARGEST    1/2                90 %     who belongs to a project with more than its share of what was lately done
 *   ALL        1                 100 %     every request with events
 *
 * Who comes while that holds is judged by how long it would wait, too: by those in front of it, at the time that the last
 * ones took. Else all that come while the queue is short would be let in at once, and most be sent away at their turn, late.
 *
 *  P1  what was accepted goes on at every level, and so do requests without events: probes, metrics, configuration
 *  P2  fewer than PRESSURE_WAITING_MIN waiting are never sent away for their wait: a few large batches in turn are no
 *      overload
 * @thread the loop that owns it. Times are arguments. */
#ifndef PENSTOCK_CAPTURE_PRESSURE_H
#define PENSTOCK_CAPTURE_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pressure_level { PRESSURE_NONE, PRESSURE_REPLAY, PRESSURE_NEWCOMERS, PRESSURE_LARGEST, PRESSURE_ALL };

enum {
    PRESSURE_STANDING_US = 200000, /* shorter ones are bursts: a page of a large site, a server that starts again */
    PRESSURE_CALM_US = 5000000,
    PRESSURE_WAITING_MIN = 8,
    PRESSURE_JUDGED_TIMES = 4,     /* who was let in may wait for so many times the wait */
    PRESSURE_PROJECTS = 1024,      /* further ones share places */
    PRESSURE_SHARE_US = 1000000    /* what was done loses half of its weight in this time */
};

struct pressure {
    int64_t  wait_us_max; /* fixed after start; 0: no level by wait */
    int64_t  standing_since_us, watchful_until_us;
    int64_t  turn_ns;              /* what one of those who waited took, lately */
    int64_t  halved_us;
    uint64_t work[PRESSURE_PROJECTS], work_all;
    uint32_t active; /* places with work, when it was halved last */
};

void pressure_init(struct pressure *pressure, int64_t wait_us_max);

/* The oldest of `waiting` requests waits for oldest_us. */
enum pressure_level pressure_by_wait(struct pressure *pressure, size_t waiting, int64_t oldest_us, int64_t now_us);
/* One that waited had its turn, and took so long. */
void pressure_served(struct pressure *pressure, int64_t took_us);
/* For one that comes now, behind `waiting`. NONE when there was no overload lately. */
enum pressure_level pressure_by_room(struct pressure *pressure, size_t waiting, int64_t now_us);
/* Whether that may be another than NONE. */
static inline bool pressure_is_watchful(const struct pressure *pressure, size_t waiting, int64_t now_us)
{
    return waiting >= PRESSURE_WAITING_MIN && now_us < pressure->watchful_until_us;
}
enum pressure_level pressure_by_memory(size_t used, size_t max);
/* Whether one that waited so long, the first of `waiting`, is to be sent away at its turn: the rest of a queue that stood
 * before the level rose. One of those that were judged when they came, and let in, is one of few, and served, be it a little
 * late: else the mistakes of the judgement would be those who are told no after all of their wait. */
bool pressure_is_late(const struct pressure *pressure, size_t waiting, int64_t waited_us, bool judged, int64_t now_us);

/* So much was done for this project. */
void pressure_done(struct pressure *pressure, uint32_t project, uint64_t work, int64_t now_us);
/* More than its share; 0, an unknown project, never is. */
bool pressure_is_large(const struct pressure *pressure, uint32_t project);

#endif
