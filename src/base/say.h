/* base/say.h - what a process tells people: one line a happening, on stderr.
 *
 * `time level role: text`. The level is set once at start. Nothing on the way of an event says anything:
 * per-request and per-event facts are metrics. Repeated trouble goes through say_seldom.
 * Nobody waits for who reads it: while a pipe or a terminal takes nothing, lines are left out, and the next one says how many. @thread any */
#ifndef PENSTOCK_BASE_SAY_H
#define PENSTOCK_BASE_SAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum say_level { SAY_ERROR, SAY_WARN, SAY_INFO, SAY_DEBUG };

/* Before other threads start, and before what a cage forbids. role is borrowed for ever. */
void say_init(const char *role, enum say_level level);
void say(enum say_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whether stderr takes a few lines now: no pipe or socket that is full because its reader rests, no terminal that was stopped. */
bool say_taken(void);

/* At most one line a second for each static struct; says how many were left out. */
struct say_gate { _Atomic int64_t next_us; _Atomic uint64_t left_out; };
void say_seldom(struct say_gate *gate, enum say_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
