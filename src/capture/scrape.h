/* capture/scrape.h - /metrics is rendered beside the loops: it reads the pages of all roles and writes some 40 KB of
 * text, which takes milliseconds that every event would wait for.
 *
 * Each loop has a place, and there is one thread for all of them:
 *   IDLE --(loop: somebody asks)--> ASKED --(thread: rendered)--> DONE --(loop: answered)--> IDLE
 * Who asks while a text is rendered gets the next one: numbers are never older than the question. Rendering takes a
 * fifth of a core at most, answering a millisecond of a turn: who asks all the time waits longer, and events do not.
 *  K1  text and ok belong to the thread in ASKED and to the loop otherwise */
#ifndef PENSTOCK_CAPTURE_SCRAPE_H
#define PENSTOCK_CAPTURE_SCRAPE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"

struct capture_shared;
struct conn;
struct loop;
struct scrape;

enum scrape_state { SCRAPE_IDLE, SCRAPE_ASKED, SCRAPE_DONE };

/* One in each loop. */
struct scrape_place {
    _Atomic(int) state; /* enum scrape_state */
    struct buf   text;
    bool         ok;
};

/* shared->loops are there, and stay until scrape_stop. */
int  scrape_start(struct capture_shared *shared, struct scrape **out, struct err *err) must_check;
void scrape_stop(struct scrape *scrape);

/* A request for /metrics; it is answered in a later turn. @thread loop */
void scrape_ask(struct loop *loop, struct conn *conn);
/* A text is there: the loop need not wait before its next turn. */
bool scrape_rendered(const struct loop *loop);
/* Answers who waits, asks for who came meanwhile. @thread loop, once a turn */
void scrape_step(struct loop *loop);

#endif
