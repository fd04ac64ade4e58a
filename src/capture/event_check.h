/* capture/event_check.h - what one draft says, worked out: names, ids, tokens. Pure. */
#ifndef PENSTOCK_CAPTURE_EVENT_CHECK_H
#define PENSTOCK_CAPTURE_EVENT_CHECK_H

#include "capture/shape.h"

enum { EVENT_DISTINCT_ID_CHARS_MAX = 200, EVENT_DETAIL_BYTES_MAX = 200 };

/* Faults of type that shape.c does not see: a uuid that is none. To be called once on each draft. */
void event_check_types(struct draft *draft, struct arena *arena);

/* The distinct id as text, cut to 200 characters. NULL at: there is none. Spans point into the text or the
 * arena. -1: the arena is full. */
int event_distinct_id(const struct draft *draft, struct arena *arena, struct span *out, bool *cut_out) must_check;

/* The same, where white space is an id too. */
int event_distinct_text(const struct draft *draft, struct arena *arena, struct span *out, bool *cut_out) must_check;

/* Whether the text is empty or nothing but white space (Unicode White_Space). text must be UTF-8. */
bool event_text_blank(struct span text);

/* Without white space at both ends. text must be UTF-8. */
struct span event_text_trim(struct span text);

/* The value of the object's own member `sent_at`, which no shape of a request reads; bytes 0: it has none. */
struct span event_sent_at(struct span object);

/* The token of the request: trimmed, checked, found. -1: *refusal. Drafts that are filtered or
 * have a fault do not count. */
int event_token(const struct shape *shape, struct arena *arena, struct span *out, struct refusal *refusal) must_check;

#endif
