/* capture/loop_imports.c - what the loop does for those who send imports, so that nobody waits for them (pace.h). */
#include "base/clock.h"
#include "capture/loop.h"

/* Trouble with a cursor is trouble with the pace alone. */
void loop_pace(struct loop *loop)
{
    struct log        *log = atomic_load_explicit(&loop->shared->log, memory_order_acquire);
    struct pace_ingest ingest = { .live_end = loop->ends[INPUT_RAW], .import_end = loop->ends[INPUT_HISTORICAL] };
    struct err         ignored = { 0 };

    if (log == NULL || !pace_step_due(&loop->pace, loop->mono_us))
        return;
    if (log_cursor_load(log, input_topic(INPUT_RAW), 0, "ingest", &ingest.live_taken, &ignored) < 1)
        ingest.live_taken = ingest.live_end;
    if (log_cursor_load(log, input_topic(INPUT_HISTORICAL), 0, "ingest", &ingest.import_taken, &ignored) < 0)
        ingest.import_taken = ingest.import_end;
    pace_step(&loop->pace, loop->mono_us, &ingest);
}

void loop_later_add(struct loop *loop, struct conn *conn, uint32_t events)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->later_events == 0) {
        conn->later_next = NULL;
        conn->later_prev = loop->later_last;
        if (loop->later_last != NULL)
            loop->later_last->later_next = conn;
        else
            loop->later_first = conn;
        loop->later_last = conn;
    }
    conn->later_events |= events;
}

void loop_later_remove(struct conn *conn)
{
    struct loop *loop = conn->loop;

    if (conn->later_events == 0)
        return;
    if (conn->later_prev != NULL)
        conn->later_prev->later_next = conn->later_next;
    else
        loop->later_first = conn->later_next;
    if (conn->later_next != NULL)
        conn->later_next->later_prev = conn->later_prev;
    else
        loop->later_last = conn->later_prev;
    conn->later_events = 0;
}

void loop_run_later(struct loop *loop)
{
    int64_t until_us = loop->later_first == NULL                       ? 0
                       : pace_beside_live(&loop->pace, loop->mono_us) ? clock_mono_us() + PACE_TURN_US
                                                                       : INT64_MAX;

    while (loop->later_first != NULL) {
        struct conn *conn = loop->later_first;
        uint32_t     events = conn->later_events;

        loop_later_remove(conn);
        conn_on_event(conn, events);
        if (clock_mono_us() >= until_us)
            return;
    }
}
