/* capture/urgency.h - who answers clients runs as soon as it has something to do.
 *
 * Beside ingest and load, which compute for a quarter of a second without a pause, and other programs, the kernel lets a
 * thread that wakes up wait until their turn is over, some milliseconds. Linux since 6.12 takes a wish for shorter turns:
 * the thread then comes at once and, over time, has no more of the processor than the others. Anybody may have that, no
 * right is needed. (A better nice value would take from ingest what it needs to keep up.) */
#ifndef PENSTOCK_CAPTURE_URGENCY_H
#define PENSTOCK_CAPTURE_URGENCY_H

#include <stdint.h>

enum { URGENCY_TURN_NS = 100000 }; /* the shortest that the kernel takes */

/* Asks for this thread, and for those that it starts from now on. A kernel that knows no such wish ignores it. */
void urgency_ask(void);
/* The turn of this thread, as the kernel tells it; 0: it does not know. */
uint64_t urgency_turn_ns(void);

#endif
