/* capture/v1_intake.h - a whole v1 request: headers and body in, records in a log batch and verdicts out.
 *
 * As intake.h: no socket, no clock. Here a bad event is no dead letter, because its client is told. */
#ifndef PENSTOCK_CAPTURE_V1_INTAKE_H
#define PENSTOCK_CAPTURE_V1_INTAKE_H

#include "capture/intake.h"
#include "capture/v1_event.h"

struct v1_intake_request {
    const struct http_request *http;
    struct span                body;
    struct span                ip; /* of the client, as text */
    int64_t                    now_us;
    struct rules_request       rules;
    struct log_batch          *historical; /* as in intake.h */
    struct between             between;
};

struct v1_intake_result {
    struct intake_result common; /* accepted: 0 is a success too, when every event was dropped */
    uint32_t             by_verdict[V1_VERDICT_COUNT];
    struct span          answer; /* JSON for the client once the batch is on disk; valid until the next run */
};

struct v1_intake; /* one a thread */

/* settings are borrowed for its life. NULL: no memory. */
struct v1_intake *v1_intake_new(const struct capture_settings *settings);
void              v1_intake_free(struct v1_intake *intake);

/* 0: *result is filled and the batch holds common.accepted more records. -1: *refusal is, and both batches
 * are as they were; common.events says how many events were found before. */
int v1_intake_run(struct v1_intake *intake, const struct v1_intake_request *request, struct log_batch *batch,
                  struct v1_intake_result *result, struct refusal *refusal) must_check;

/* Memory held between requests. */
size_t v1_intake_bytes(const struct v1_intake *intake);

#endif
