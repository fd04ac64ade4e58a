/* event/record.h - an accepted event as capture writes it to the topic `raw`, and ingest reads it.
 *
 * What capture worked out (token, distinct id, name, uuid, times, address) stands in typed fields; what
 * the client sent stands behind them byte for byte (`data`: the event's own JSON object, repaired only
 * as wire/json.h J5 says). Two kinds:
 *   RECORD_EVENT     an event that passed capture's checks
 *   RECORD_REJECTED  an event of an otherwise good batch that did not: kept with the reason and where it
 *                    stood, to become a dead letter. A bad event harms only itself
 *
 * Stored form, little-endian, no padding (the log has its own length and checksum around it):
 *    at  bytes  field
 *     0      1  version (1)
 *     1      1  kind
 *     2      2  flags (bits 0..11), pipeline (bits 12..14; 0 in records from before there was one)
 *     4      4  project
 *     8     16  uuid
 *    24      8  received_us
 *    32      8  timestamp_us
 *    40      8  sent_at_us     CLOCK_NONE: not known
 *    48      2  sent_at_zone_min
 *    50      1  timestamp_source
 *    51      1  rejection
 *    52      8  request        the same for all events of one request
 *    60      4  index          of the event in its request
 *    64      1  token_bytes
 *    65      1  ip_bytes
 *    66      2  distinct_id_bytes
 *    68      4  event_bytes
 *    72      4  detail_bytes
 *    76      4  data_bytes
 *    80      *  token, ip, distinct_id, event, detail, data
 *  R1  distinct_id, event, token and ip are decoded text (valid UTF-8, no U+0000); data is valid JSON in a
 *      RECORD_EVENT
 *
 * The place of an accepted record is one number, in rows, letters and wherever else it is told: which topic
 * accepted it, and its offset there. It never changes, also when the record is moved to another topic:
 *    bits 60..61  input: INPUT_RAW or INPUT_HISTORICAL; so a place in `raw` is just the offset
 *    bits 0..59   offset */
#ifndef PENSTOCK_EVENT_RECORD_H
#define PENSTOCK_EVENT_RECORD_H

#include "base/clock.h"
#include "base/err.h"
#include "base/span.h"
#include "event/pipeline.h"
#include "wire/uuid.h"

enum record_kind { RECORD_EVENT = 1, RECORD_REJECTED = 2 };

enum record_flag {
    RECORD_COOKIELESS     = 1 << 0,
    RECORD_HISTORICAL     = 1 << 1, /* the batch said historical_migration */
    RECORD_ENGAGE         = 1 << 2, /* a nameless person update of /engage: event is $identify */
    RECORD_UUID_DERIVED   = 1 << 3, /* from the event's own content (docs/uuid.md) */
    RECORD_UUID_MADE      = 1 << 4, /* random: the client gave neither uuid nor time */
    RECORD_DISTINCT_CUT   = 1 << 5, /* the client's id was longer than 200 characters */
    RECORD_REPAIRED       = 1 << 6, /* unpaired surrogates or U+0000 were replaced */
    RECORD_PERSON_OFF     = 1 << 7, /* person processing is forced off (header force_disable_person_processing) */
    RECORD_HEATMAP_SKIP   = 1 << 8, /* its heatmap data went another way (header skip_heatmap_processing) */
    RECORD_OVERFLOW       = 1 << 9, /* its id sends more than its project allows: the overflow lane from the start */
    RECORD_V1             = 1 << 10 /* of the newer protocol */
};

enum record_timestamp_source { /* metric label ts_path */
    RECORD_TIME_NOW_FALLBACK, RECORD_TIME_RAW, RECORD_TIME_SENT_AT_SKEW, RECORD_TIME_OFFSET
};

/* Why capture refused one event of a batch: X(name, metric tag, what the client would have been told). The last ones are of
 * messages that somebody else's capture wrote (event/upstream_record.h). */
#define RECORD_REJECTIONS(X)                                                                                    \
    X(NONE, "", "")                                                                                             \
    X(NO_EVENT_NAME, "no_event_name", "event submitted with an empty event name")                               \
    X(MISSING_EVENT_NAME, "req_hydration",                                                                      \
      "failed to hydrate events from request: non-engage request missing event name attribute")                 \
    X(NO_DISTINCT_ID, "no_distinct_id", "event submitted without a distinct_id")                                \
    X(INVALID_COOKIELESS, "invalid_cookieless", "event submitted with invalid cookieless mode")                 \
    X(BAD_FIELD, "req_parsing", "failed to parse request: a field has a wrong type")                            \
    X(BAD_UUID, "req_parsing", "failed to parse request: uuid is not a UUID")                                   \
    X(TOO_LARGE, "oversize_event", "maximum event size exceeded")                                               \
    X(UNREADABLE, "failed_parse_message", "the message is no event in the form that was expected")              \
    X(EMPTY_UUID, "empty_uuid", "the message has no uuid")                                                      \
    X(INVALID_UUID, "invalid_uuid", "the message's uuid is none")
#define RECORD_REJECTION_ENUM(name, tag, text) RECORD_REJECTED_##name,
enum record_rejection { RECORD_REJECTIONS(RECORD_REJECTION_ENUM) RECORD_REJECTION_COUNT };
enum { RECORD_REJECTED_CAPTURE_COUNT = RECORD_REJECTED_UNREADABLE }; /* those before it are capture's own */

/* The topics that ingest reads, each at a place of its own. The numbers are stored. X(number, suffix, topic) */
#define INPUTS(X)                                                                                               \
    X(0, RAW, "raw")                       /* accepted, live */                                                 \
    X(1, HISTORICAL, "raw_historical")     /* accepted, of old: requests that say historical_migration */       \
    X(2, OVERFLOW, "raw_overflow")         /* accepted in one of these, moved aside by ingest (struct record_moved) */ \
    X(3, CONTROL, "control")               /* no events: what operators ask ingest to do */
#define INPUT_ENUM(number, suffix, topic) INPUT_##suffix = number,
enum input { INPUTS(INPUT_ENUM) INPUT_COUNT };

/* "raw", ... */
const char *input_topic(enum input input);

enum { PLACE_OFFSET_BITS = 60 };

static inline uint64_t place_make(enum input input, uint64_t offset)
{
    return (uint64_t)input << PLACE_OFFSET_BITS | offset;
}

static inline enum input place_input(uint64_t place)
{
    return (enum input)(place >> PLACE_OFFSET_BITS & 3);
}

static inline uint64_t place_offset(uint64_t place)
{
    return place & (((uint64_t)1 << PLACE_OFFSET_BITS) - 1);
}

struct record {
    enum record_kind             kind;
    unsigned                     flags; /* enum record_flag */
    enum pipeline                pipeline; /* as stored: ask record_pipeline() */
    uint32_t                     project;
    struct uuid                  uuid;
    int64_t                      received_us;  /* capture's clock, one reading a request: "now" */
    int64_t                      timestamp_us; /* the event's time, corrected */
    int64_t                      sent_at_us;   /* CLOCK_NONE: not known */
    int                          sent_at_zone_min;
    enum record_timestamp_source timestamp_source;
    enum record_rejection        rejection;
    uint64_t                     request;
    uint32_t                     index;
    struct span                  token, ip, distinct_id, event; /* token <= 64 bytes, ip <= 45, distinct_id <= 65535 */
    struct span                  detail; /* RECORD_REJECTED: what exactly, "timestamp is a number, ..." */
    struct span                  data;
};

enum { RECORD_HEAD_BYTES = 80 };

/* Bytes that record_write will write. */
size_t record_bytes(const struct record *record);
/* to has record_bytes() of room. */
void record_write(const struct record *record, uint8_t *to);
/* The same without data, whose place it gives: for who writes that by parts. */
uint8_t *record_write_head(const struct record *record, uint8_t *to);
/* Spans point into body. ERR_CORRUPT: not a record (or of a later version: says so). */
int record_read(struct span body, struct record *out, struct err *err) must_check;

/* A record in raw_overflow: its bytes as they were accepted, behind where that was.
 *    at  bytes  field
 *     0      1  version (1)
 *     1      7  zero
 *     8      8  place
 *    16      *  the record */
enum { RECORD_MOVED_HEAD_BYTES = 16 };
struct record_moved {
    uint64_t    place;
    struct span body;
};
/* to has RECORD_MOVED_HEAD_BYTES and the body's bytes of room. */
void record_moved_write(const struct record_moved *moved, uint8_t *to);
/* ERR_CORRUPT: not one. */
int record_moved_read(struct span bytes, struct record_moved *out, struct err *err) must_check;

static inline enum pipeline record_pipeline(const struct record *record)
{
    return record->pipeline != PIPELINE_UNKNOWN ? record->pipeline : pipeline_of(record->event);
}

const char *record_rejection_tag(enum record_rejection rejection);
/* Who found it: "capture", or "parse_message" for messages that somebody else's capture wrote. */
const char *record_rejection_step(enum record_rejection rejection);
const char *record_rejection_text(enum record_rejection rejection);

#endif
