/* capture/v1_answer.h - what a v1 client is told: a verdict for each event, or why the whole request failed. */
#ifndef PENSTOCK_CAPTURE_V1_ANSWER_H
#define PENSTOCK_CAPTURE_V1_ANSWER_H

#include "capture/v1_batch.h"

/* {"results":{"UUID":{"result":"ok"},...}}, in the order of the request. */
void v1_answer_verdicts(struct buf *out, const struct v1_batch *batch);

/* {"error","error_description","error_uri"} */
void v1_answer_error(struct buf *out, const struct refusal *refusal);
/* Seconds for Retry-After; 0: none, the request is lost for good. */
int v1_answer_retry_s(const struct refusal *refusal);

#endif
