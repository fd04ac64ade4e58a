/* event/upstream_record.h - accepted events as PostHog's capture puts them on Kafka, and back: one message an event.
 *
 * So that Penstock's capture can stand in front of PostHog's ingestion, and Penstock's ingest behind PostHog's capture
 * (docs/replace-posthog.md). docs/compat.md says field by field what a message holds.
 *
 * The value is one JSON object, always in this order:
 *   uuid, distinct_id, ip, data, now, sent_at (when known), token, event, timestamp,
 *   is_cookieless_mode and historical_migration (only when true)
 * `data` is a string with JSON in it: the client's event under its usual names, token and distinct_id only where the
 * client had them beside its properties, uuid (null when the client gave none), event, properties ({} when there are
 * none), timestamp, offset, $set, $set_once where given. Values are the client's bytes; other members are left out.
 *
 * What a record loses on its way through a message, because the form has no place for it:
 *  U1  members of the client's event that have no meaning there; the spelling of aliases ($token, api_key, $distinct_id);
 *      a $set or $set_once or timestamp that is null
 *  U2  project, request, index: the reader finds the project by the token
 *  U3  where the uuid and the time came from (RECORD_UUID_*, timestamp_source), RECORD_DISTINCT_CUT, RECORD_ENGAGE, RECORD_V1
 *  U4  RECORD_OVERFLOW, and the pipeline, which a reader takes from the event's name
 *  U5  sent_at below its microseconds and a time zone of a day or more
 *  U6  of a rejected record what exactly was wrong (detail), and bytes that are no UTF-8; it says why in the headers dlq_reason and
 *      dlq_step, and reads back as rejected where there are no lanes. With lanes nobody reads it back
 * Everything else comes back as it was (upstream_record_test.c proves it). */
#ifndef PENSTOCK_EVENT_UPSTREAM_RECORD_H
#define PENSTOCK_EVENT_UPSTREAM_RECORD_H

#include "base/arena.h"
#include "base/err.h"
#include "event/record.h"
#include "event/upstream_message.h"

/* --- record to message: what capture writes ---------------------------------------------------- */

struct upstream_form {
    bool lanes;          /* overflow, dead letters, exceptions, heatmaps, clients' warnings and LLM events have topics of their own, as
                            PostHog's ingestion has them. Penstock's ingest reads no such topics: for it, all is in one */
    bool heatmap_split;  /* heatmap data of an ordinary event becomes a message of its own behind it, with a uuid made of the
                            event's. Penstock's ingest does not need it: there, it would be one more event to account for */
    size_t bytes_max;    /* of a message's key and value: what the brokers take */
};

enum { UPSTREAM_MESSAGES_MAX = 2 }; /* of one record */

/* out has UPSTREAM_MESSAGES_MAX. What the messages point to is appended to room, which stays where it is until they are no
 * longer needed, and stands in the record. ERR_INPUT: larger than bytes_max, whatever is tried. ERR_FULL: no memory, or room's
 * ceiling; then room has rubbish at its end. */
int upstream_record_write(const struct upstream_form *form, const struct record *record, struct buf *room,
                          struct upstream_message *out, size_t *count_out, struct err *err) must_check;
/* The same for a record of the topic `replay`: one message, its key the session (record->detail). */
int upstream_replay_write(const struct upstream_form *form, const struct record *record, struct buf *room,
                          struct upstream_message *out, struct err *err) must_check;

/* The key of an event's messages, `token:distinct_id`, or `token:ip` of a cookieless one, appended to room. Messages of the
 * ordinary lane and of its overflow have none when the event may not touch a person. */
void upstream_record_key(const struct record *record, struct buf *room);
bool upstream_record_has_key(const struct upstream_form *form, const struct record *record);

/* --- message to record: what ingest reads ------------------------------------------------------ */

/* Where and when the message stood on its topic. */
struct upstream_origin {
    int64_t  appended_us; /* the broker's or the producer's time of it; counts when the message names no `now` */
    uint64_t place;       /* with it, a rejected message without a uuid gets the same one however often it is read */
    bool     historical;  /* the topic is that of imports */
};

/* Always gives a record, unless the arena is full (ERR_FULL): RECORD_EVENT, or, when the message is no event,
 * RECORD_REJECTED with the reason and the whole value as its data. Never a message without a record: a bad one becomes a
 * dead letter. Spans point into the message and the arena. project, request and index are 0.
 *
 *  token        header, else the value's; none: the record has none, and ingest drops it as `no_token`
 *  uuid, distinct_id, event, timestamp, now, sent_at, ip
 *               the value's, else the member of that name in `data`. For now and timestamp: else the header's. uuid must
 *               be 8-4-4-4-12; numbers and booleans count as their text where texts are needed
 *  timestamp    none: worked out of `data`'s timestamp and offset with now and sent_at, as capture does. Unreadable, or of
 *               no year from 0 to 9999: now
 *  flags        headers force_disable_person_processing and skip_heatmap_processing; is_cookieless_mode;
 *               historical_migration of either, or the topic
 * U+0000 and unpaired surrogates become U+FFFD; a token of more than 255 bytes, and an id of more than 65,535, is cut (no project
 * has such a token, and ingest refuses such an id); an ip of more than 45 bytes is none. */
int upstream_record_read(const struct upstream_message *message, const struct upstream_origin *origin, struct arena *arena,
                         struct record *out, struct err *err) must_check;

#endif
