/* command/letter_event.h - a dead letter as an event to send again. */
#ifndef PENSTOCK_COMMAND_LETTER_EVENT_H
#define PENSTOCK_COMMAND_LETTER_EVENT_H

#include "command/letter.h"
#include "wire/uuid.h"

/* Appends `{"api_key": token, "batch": [event]}` to out. The event is the repaired text, or else the original data,
 * with what the first request knew and a second one would not: the letter's uuid, the time of its arrival as
 * `timestamp`, the address as `$ip`, each only where the event has none. Other members stay as they were written.
 * uuid_out is the event's uuid. ERR_INPUT: there is no event to send; says what to do. */
int letter_event_write(const struct letter *letter, struct span token, struct buf *out,
                       char uuid_out[UUID_TEXT_BYTES + 1], struct err *err) must_check;

#endif
