/* capture/loop_flights.c - who waits for which commit. A request waits in one list at a time: one whose events went to two
 * topics waits for the live commit first, which is the sooner one, and then for that of the imports, if it has not landed
 * meanwhile. So a connection needs one pair of links, and nothing is looked for when a commit lands. */
#include <assert.h>

#include "base/clock.h"
#include "capture/loop.h"

struct flight *loop_filling(struct loop *loop, int lane)
{
    return &loop->lanes[lane].flights[loop->lanes[lane].filling];
}

void flight_add(struct flight *flight, struct conn *conn)
{
    assert(conn->flight == NULL);
    conn->flight = flight;
    conn->wait_next = NULL;
    conn->wait_prev = flight->last;
    if (flight->last != NULL)
        flight->last->wait_next = conn;
    else
        flight->first = conn;
    flight->last = conn;
    flight->waiting++;
}

void flight_remove(struct conn *conn)
{
    struct flight *flight = conn->flight;

    if (flight == NULL)
        return;
    if (conn->wait_prev != NULL)
        conn->wait_prev->wait_next = conn->wait_next;
    else
        flight->first = conn->wait_next;
    if (conn->wait_next != NULL)
        conn->wait_next->wait_prev = conn->wait_prev;
    else
        flight->last = conn->wait_prev;
    flight->waiting--;
    conn->flight = NULL;
}

void loop_add(struct loop *loop, int lane, struct conn *conn, int64_t from_us)
{
    struct flight *flight = loop_filling(loop, lane);

    if (flight->since_us == 0)
        flight->since_us = loop->mono_us;
    conn->imports = lane != LANE_LIVE;
    if (lane == LANE_IMPORTS)
        pace_import(&loop->pace, loop->mono_us, clock_mono_us() - from_us);
    else if (lane == LANE_LIVE)
        pace_live(&loop->pace, loop->mono_us);
    conn_set_state(conn, CONN_WAIT);
    flight_add(flight, conn);
}

/* Which commit of the lane takes what is written into its batch now. They land in their order. */
static uint64_t lane_number_filling(const struct lane *lane)
{
    return lane->landed + 1 + lane->flights[lane->filling ^ 1].busy;
}

void loop_add_also(struct loop *loop, struct conn *conn)
{
    struct lane   *lane = &loop->lanes[LANE_IMPORTS];
    struct flight *flight = &lane->flights[lane->filling];

    if (flight->since_us == 0)
        flight->since_us = loop->mono_us;
    pace_import(&loop->pace, loop->mono_us, 0);
    conn->also = lane_number_filling(lane);
}

bool flight_wait_also(struct loop *loop, struct conn *conn)
{
    struct lane *lane = &loop->lanes[LANE_IMPORTS];
    uint64_t     number = conn->also;

    if (number <= lane->landed)
        return false;
    flight_add(&lane->flights[number == lane_number_filling(lane) ? lane->filling : lane->filling ^ 1], conn);
    return true;
}
