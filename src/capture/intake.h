/* capture/intake.h - a whole request of the event endpoints: bytes in, records in a log batch out.
 *
 * Knows no socket and no clock. Either all that the request brings is in the batch (good events as
 * RECORD_EVENT, bad ones among good as RECORD_REJECTED), or nothing is and there is a refusal. */
#ifndef PENSTOCK_CAPTURE_INTAKE_H
#define PENSTOCK_CAPTURE_INTAKE_H

#include "base/between.h"
#include "capture/payload.h"
#include "capture/rules.h"
#include "capture/settings.h"
#include "event/record.h"
#include "log/log.h"

struct intake_request {
    struct payload_request payload;
    bool                   engage; /* a nameless object is a person update */
    bool                   llm_only; /* events of language models, which may be larger; any other refuses the whole request */
    struct span            ip;     /* of the client, as text */
    int64_t                now_us;
    struct rules_request   rules;
    struct log_batch      *historical; /* takes imports: of a request that says historical_migration, and events that are old
                                        * enough; NULL: the batch of all others does */
    struct between         between;
};

enum { INTAKE_INPUTS = INPUT_HISTORICAL + 1 }; /* those that capture writes */

struct intake_result {
    bool     beacon;   /* answer 204 */
    uint32_t written[INTAKE_INPUTS]; /* records, in the batch of each */
    uint32_t events;   /* found in the request */
    uint32_t accepted; /* RECORD_EVENTs in the batch; 0 is a success too when all were filtered */
    uint32_t old;      /* of the accepted ones, that capture.historical_after made imports of */
    uint32_t rejected; /* RECORD_REJECTEDs in the batch */
    uint32_t filtered;
    uint32_t over_quota; /* kept out by a quota, all; those by resource: */
    uint32_t by_quota[CATALOG_RESOURCE_COUNT];
    uint32_t restricted; /* dropped by a restriction */
    uint32_t ids_limited; /* accepted, above the limit of their distinct id */
    uint32_t overflowing; /* of these, marked for the overflow lane */
    uint32_t by_time[RECORD_TIME_OFFSET + 1];
    uint32_t by_rejection[RECORD_REJECTION_COUNT];
    uint32_t blank_ids;  /* accepted, whose distinct id begins or ends with white space */
    bool     recording;  /* of /s */
    bool     gzipped, lz64; /* as it came */
    size_t   text_bytes; /* of the JSON */
    bool     skew_known;
    double   skew_s;
};

struct intake; /* one a thread */

/* settings are borrowed for its life. NULL: no memory. */
struct intake *intake_new(const struct capture_settings *settings);
void           intake_free(struct intake *intake);

/* 0: *result is filled and the batches hold accepted + rejected more records. -1: *refusal is, and both batches
 * are as they were; result->events says how many events are lost with it. */
int intake_run(struct intake *intake, const struct intake_request *request, struct log_batch *batch,
               struct intake_result *result, struct refusal *refusal) must_check;

/* Memory held between requests. */
size_t intake_bytes(const struct intake *intake);
/* A random version 7 uuid, for answers that need one. */
struct uuid intake_uuid(struct intake *intake, int64_t now_us);

#endif
