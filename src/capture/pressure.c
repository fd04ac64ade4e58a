/* capture/pressure.c - the queue is judged by how long its oldest request waited, not by how many wait: a request may
 * take 10 us or 100 ms. That is CoDel's measure (RFC 8289), and so is its patience with bursts. Refusing by a rate that
 * somebody configured was not taken: the machine's own speed is what counts, and it changes.
 *
 * Who is largest is counted in one place a project, halved once a second: with more projects than places two may share
 * one, and are then sent away for each other while there is overload, which is a price; exact books for every
 * project would need memory that grows. */
#include "capture/pressure.h"

enum { PRESSURE_TURNS = 16 }; /* so many of them make the mean */

void pressure_init(struct pressure *pressure, int64_t wait_us_max)
{
    *pressure = (struct pressure){ .wait_us_max = wait_us_max };
}

static enum pressure_level level_of(int64_t wait_us, int64_t max)
{
    if (wait_us >= max)
        return PRESSURE_ALL;
    if (wait_us >= max / 2)
        return PRESSURE_LARGEST;
    if (wait_us >= max / 8 * 3)
        return PRESSURE_NEWCOMERS;
    return wait_us >= max / 4 ? PRESSURE_REPLAY : PRESSURE_NONE;
}

enum pressure_level pressure_by_wait(struct pressure *pressure, size_t waiting, int64_t oldest_us, int64_t now_us)
{
    int64_t max = pressure->wait_us_max;

    if (max == 0)
        return PRESSURE_NONE;
    if (waiting < PRESSURE_WAITING_MIN || oldest_us < max / 4) {
        pressure->standing_since_us = 0;
        return PRESSURE_NONE;
    }
    if (pressure->standing_since_us == 0)
        pressure->standing_since_us = now_us;
    if (now_us - pressure->standing_since_us < PRESSURE_STANDING_US && now_us >= pressure->watchful_until_us)
        return PRESSURE_NONE;
    pressure->watchful_until_us = now_us + PRESSURE_CALM_US;
    return level_of(oldest_us, max);
}

void pressure_served(struct pressure *pressure, int64_t took_us)
{
    pressure->turn_ns += (took_us * 1000 - pressure->turn_ns) / PRESSURE_TURNS;
}

enum pressure_level pressure_by_room(struct pressure *pressure, size_t waiting, int64_t now_us)
{
    enum pressure_level level;

    if (pressure->wait_us_max == 0 || !pressure_is_watchful(pressure, waiting, now_us))
        return PRESSURE_NONE;
    level = level_of((int64_t)waiting * pressure->turn_ns / 1000, pressure->wait_us_max);
    if (level != PRESSURE_NONE) /* the queue itself stays short now, and would tell of nothing */
        pressure->watchful_until_us = now_us + PRESSURE_CALM_US;
    return level;
}

bool pressure_is_late(const struct pressure *pressure, size_t waiting, int64_t waited_us, bool judged, int64_t now_us)
{
    int64_t max = pressure->wait_us_max * (judged ? PRESSURE_JUDGED_TIMES : 1);

    return max != 0 && waiting > PRESSURE_WAITING_MIN && waited_us >= max && now_us < pressure->watchful_until_us;
}

enum pressure_level pressure_by_memory(size_t used, size_t max)
{
    if (used >= max)
        return PRESSURE_ALL;
    if (used >= max / 10 * 9)
        return PRESSURE_LARGEST;
    if (used >= max / 10 * 8)
        return PRESSURE_NEWCOMERS;
    return used >= max / 10 * 7 ? PRESSURE_REPLAY : PRESSURE_NONE;
}

static void pressure_halve(struct pressure *pressure, int64_t now_us)
{
    int64_t  times = (now_us - pressure->halved_us) / PRESSURE_SHARE_US;
    unsigned by = times > 63 ? 63 : (unsigned)times;

    pressure->halved_us = now_us;
    pressure->work_all = 0;
    pressure->active = 0;
    for (int i = 0; i < PRESSURE_PROJECTS; i++) {
        pressure->work[i] >>= by;
        pressure->work_all += pressure->work[i];
        pressure->active += pressure->work[i] > 0;
    }
}

void pressure_done(struct pressure *pressure, uint32_t project, uint64_t work, int64_t now_us)
{
    uint64_t *place = &pressure->work[project % PRESSURE_PROJECTS];

    if (now_us - pressure->halved_us >= PRESSURE_SHARE_US)
        pressure_halve(pressure, now_us);
    pressure->active += *place == 0;
    *place += work;
    pressure->work_all += work;
}

bool pressure_is_large(const struct pressure *pressure, uint32_t project)
{
    uint64_t own = pressure->work[project % PRESSURE_PROJECTS];

    return project != 0 && own > 0 && own >= pressure->work_all / pressure->active;
}
