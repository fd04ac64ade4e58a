/* capture/shape.h - finds the events in a request's JSON, reading it once.
 *
 * Four shapes: an array of events; a batch envelope (`token` or `api_key`, and an array `batch`); one
 * event; on /engage, an object without `event`. The text stays where it is; a draft of each event points
 * into it. Only what makes the whole request unreadable is refused here: a draft with a wrong field says
 * so and its neighbours are not touched (a bad event harms only itself). */
#ifndef PENSTOCK_CAPTURE_SHAPE_H
#define PENSTOCK_CAPTURE_SHAPE_H

#include "base/arena.h"
#include "base/between.h"
#include "capture/refusal.h"
#include "event/record.h"
#include "wire/json.h"

/* A fault of one field, told when somebody asks: "timestamp is a number, expected a string or null". */
struct draft_fault {
    enum record_rejection rejection; /* NONE: the fields have the right types */
    const char           *field;     /* static text; NULL: the event itself */
    enum json_kind        kind;      /* what was there */
    const char           *expected;  /* static text */
};

enum draft_cookieless { COOKIELESS_ABSENT, COOKIELESS_FALSE, COOKIELESS_TRUE, COOKIELESS_WRONG };

/* Absent values have raw.at NULL; a JSON null counts as absent. */
struct draft {
    struct span           object; /* the event as the client wrote it */
    struct json_value     event, token, distinct_id, uuid, timestamp, offset;
    struct json_value     prop_token, prop_distinct_id;
    struct uuid           uuid_value; /* of uuid, when event_check_types found it good */
    struct draft_fault    fault;
    enum draft_cookieless cookieless;
    bool                  ignore_sent_at;
    bool                  capture_internal;
    bool                  product_tour; /* has $product_tour_id */
    bool                  filtered;     /* written by intake: nobody wants it, and nothing of it counts */
    bool                  over_quota;   /* written by intake */
    bool                  repaired; /* surrogates or NULs in it were replaced */
    uint8_t               token_rank, distinct_id_rank; /* which alias was read: 1 is the best */
};

enum shape_kind { SHAPE_ARRAY, SHAPE_BATCH, SHAPE_SINGLE, SHAPE_ENGAGE };

struct shape {
    enum shape_kind   kind;
    size_t            count;
    struct draft     *drafts;     /* in the arena */
    struct json_value token;      /* SHAPE_BATCH: the envelope's */
    bool              historical; /* SHAPE_BATCH */
    struct json_value sent_at;    /* SHAPE_BATCH: its text, or absent */
};

struct shape_request {
    struct span text; /* written to where it needs repair (wire/json.h J5) */
    bool        engage;
    size_t      events_max;
    bool        gzipped; /* says which text to give for broken UTF-8 */
    struct between between;
};

int shape_read(struct arena *arena, const struct shape_request *request, struct shape *out,
               struct refusal *refusal) must_check;

/* --- for replay_shape.c, which reads other requests of the same kind ---------------------------- */

/* One member of an event, which is not `properties`. False: draft->fault says what is wrong with it. */
bool draft_take_member(struct draft *draft, const struct json_value *key, const struct json_value *value);
/* The text cannot be read; the reader knows why. -1. */
int shape_refuse_text(const struct json_reader *reader, const struct shape_request *request, struct refusal *refusal);
/* A surrogate written as three raw bytes (ED A0 80 to ED BF BF): posthog-js of 2023 does so with a cut emoji when it
 * packs base64 itself. It becomes U+FFFD, which is as long; true when nothing else is wrong with the text. */
bool shape_repair_surrogates(struct span text);

static inline bool draft_has(const struct json_value *value)
{
    return value->raw.at != NULL;
}

/* Writes the fault for a person. */
void draft_fault_format(const struct draft_fault *fault, char *out, size_t out_bytes);

#endif
