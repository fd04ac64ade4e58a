/* capture/segment_message.h - one message of Segment's tracking API, read and judged, and the event that it becomes.
 *
 * The table of what becomes what is docs/segment.md. Values are copied as the client wrote them. A property that the
 * client gave itself is never replaced by one that is worked out here.
 *  M1  what is written is valid JSON with an event, a distinct_id and a uuid
 *  M2  nothing of a message is lost: what has no place of its own is a property `segment_...`
 * Pure; memory is the arena. */
#ifndef PENSTOCK_CAPTURE_SEGMENT_MESSAGE_H
#define PENSTOCK_CAPTURE_SEGMENT_MESSAGE_H

#include "base/arena.h"
#include "capture/event_check.h"
#include "capture/segment_context.h"

enum segment_type {
    SEGMENT_TRACK, SEGMENT_IDENTIFY, SEGMENT_PAGE, SEGMENT_SCREEN, SEGMENT_GROUP, SEGMENT_ALIAS,
    SEGMENT_BY_MESSAGE /* of a batch: each message says its own */
};

/* The group type of messages that name none; what others who map this API to groups use. */
#define SEGMENT_GROUP_TYPE "segment_group"

/* What a request says for all its messages. */
struct segment_envelope {
    struct json_members context; /* count 0: none */
    struct json_value   integrations; /* an object, or absent */
    size_t              inherited_bytes; /* of both */
    struct json_value   sent_at;
};

/* An id of a message: a string that is not blank, or a number. raw.at NULL: none. */
struct segment_id {
    struct json_value value;
    struct span       text;
};

struct segment_message {
    struct span                    object;
    enum segment_type              type;
    const struct segment_envelope *envelope;
    struct json_members            members;
    struct json_value              properties, traits; /* objects, or absent */
    struct json_members            own;                /* of properties */
    struct segment_context         context;
    struct segment_id              user, anonymous, previous, group;
    struct json_value              group_type; /* a string, or absent */
    struct json_value              timestamp;  /* the one that counts: a string, or absent */
    struct json_value              message_id; /* a string, a number, or absent */
    struct span                    event;      /* decoded: what record.event becomes */
    struct span                    distinct_id;
    bool                           distinct_cut, has_uuid, cookieless, ignore_sent_at;
    struct uuid                    uuid;      /* has_uuid: of messageId; else to be set before it is written */
    int64_t                        client_us; /* CLOCK_NONE: no time, or none that can be read */
    int64_t                        sent_at_us;
    int                            sent_at_zone_min;
};

struct segment_fault {
    enum record_rejection rejection; /* NONE: a good message */
    char                  detail[EVENT_DETAIL_BYTES_MAX];
};

/* type: of the path, or SEGMENT_BY_MESSAGE. bytes_max: of one message with what it inherits. -1: the arena is full.
 * With a fault, what its id follows from, out->event and out->distinct_id are what could be found. */
int segment_message_read(struct span object, enum segment_type type, const struct segment_envelope *envelope,
                         size_t bytes_max, struct arena *arena, struct segment_message *out,
                         struct segment_fault *fault) must_check;

/* Whether its sender is a server, whose address is nobody's home. */
bool segment_message_from_server(const struct segment_message *message);

/* The event as JSON; message->uuid is set. -1: the arena is full. out may have failed. */
int segment_message_write(const struct segment_message *message, struct arena *arena, struct buf *out) must_check;

/* The member of this name when it is there and not null. */
const struct json_value *segment_member(const struct json_members *members, const char *name);

#endif
