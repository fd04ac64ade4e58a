/* capture/replay_intake.h - a whole request of /s, the recordings of what visitors saw: bytes in, one record out.
 *
 * As intake.h: no socket, no clock. All snapshots of a request become one record of the topic `replay`, or none of them
 * does: they belong to one session, and half of a recording cannot be played. Its form is that of an event
 * (event/record.h) named $snapshot_items; the session's id, by which a reader would part the topic, stands in `detail`.
 * Nothing reads the topic yet; `penstock log dump replay` prints it. */
#ifndef PENSTOCK_CAPTURE_REPLAY_INTAKE_H
#define PENSTOCK_CAPTURE_REPLAY_INTAKE_H

#include "capture/intake.h"

enum { REPLAY_SESSION_ID_BYTES_MAX = 70 };

struct replay_request {
    struct payload_request payload;
    struct span            user_agent; /* bytes 0: none */
    struct span            ip;         /* of the client, as text */
    int64_t                now_us;
    struct rules_request   rules;
    struct between         between;
};

struct replay_intake; /* one a thread */

/* settings are borrowed for its life. NULL: no memory. */
struct replay_intake *replay_intake_new(const struct capture_settings *settings);
void                  replay_intake_free(struct replay_intake *intake);

/* 0: *result is filled and the batch holds result->accepted (0 or 1) more records; none when a quota
 * (result->over_quota) or a restriction (result->restricted) keeps it out. -1: *refusal is filled, and the batch is as it was.
 * result->events counts the snapshots' events. */
int replay_intake_run(struct replay_intake *intake, const struct replay_request *request, struct log_batch *batch,
                      struct intake_result *result, struct refusal *refusal) must_check;

/* Memory held between requests. */
size_t replay_intake_bytes(const struct replay_intake *intake);

#endif
