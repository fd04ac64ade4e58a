/* capture/intake_parts.h - what the kinds of intake (intake.h, v1_intake.h, segment_intake.h, replay_intake.h) have in common: the
 * memory and the numbers of a thread, and where the records of one request go.
 *
 * A request's records go into the batch of its lane. Where capture.historical_after is set, those of its events that are old
 * go into the batch of imports instead, each by itself: one request may then wait for two commits.
 *  I1  a request that is refused leaves both batches as they were
 * @thread the loop that owns the intake */
#ifndef PENSTOCK_CAPTURE_INTAKE_PARTS_H
#define PENSTOCK_CAPTURE_INTAKE_PARTS_H

#include "base/arena.h"
#include "capture/intake.h"
#include "capture/uuid_derive.h"

struct intake_parts {
    const struct capture_settings *settings;
    struct arena                  *arena; /* of the request in work */
    struct uuid_source            *uuids;
    uint64_t                       requests; /* the next request's number, begun at random */
};

/* settings are borrowed for its life. -1: no memory. It is ended by intake_parts_fini in either case, also when it was only zeros. */
int  intake_parts_init(struct intake_parts *parts, const struct capture_settings *settings, size_t arena_chunk_bytes) must_check;
void intake_parts_fini(struct intake_parts *parts);

/* The batches of one request. Borrowed: they are the loop's. */
struct intake_sink {
    struct log_batch     *batches[INTAKE_INPUTS];
    struct log_batch_mark marks[INTAKE_INPUTS]; /* where they stood before this request */
    bool                  import;               /* all of it is one: bad events and kinds of their own, too */
};

/* historical NULL: its records go where all others do. */
void intake_sink_begin(struct intake_sink *sink, struct log_batch *live, struct log_batch *historical);
/* I1: what was put is taken out again, and result, whose request is refused, says so. */
void intake_sink_rewind(struct intake_sink *sink, struct intake_result *result);

/* The event, whose time is known, is an import when it is old enough, and is marked so. Before rules_mark_id: an import never
 * goes to the overflow lane. */
static inline void intake_mark_old(const struct capture_settings *settings, struct record *record, struct intake_result *result)
{
    if (settings->historical_after_us == 0 || (record->flags & RECORD_HISTORICAL) != 0 ||
        !pipeline_is_historical(record->pipeline, false, record->timestamp_us <= record->received_us - settings->historical_after_us))
        return;
    record->flags |= RECORD_HISTORICAL;
    result->old++;
}

/* The record into its batch, and counted in result->written. -1: *refusal; too_large is what a client is told whose request no
 * commit can hold. Here, because each event passes it. */
static inline must_check int intake_sink_put(struct intake_sink *sink, const struct record *record, const char *too_large,
                                             struct intake_result *result, struct refusal *refusal)
{
    bool              import = sink->import || (record->flags & RECORD_HISTORICAL) != 0;
    enum input        input = import && sink->batches[INPUT_HISTORICAL] != NULL ? INPUT_HISTORICAL : INPUT_RAW;
    struct log_batch *batch = sink->batches[input];
    size_t            bytes = record_bytes(record);
    uint8_t          *to = bytes > LOG_RECORD_BYTES_MAX ? NULL : log_batch_begin(batch, bytes);

    if (to == NULL && sink->marks[input].count == 0 && log_batch_bytes(batch) + bytes > LOG_BATCH_BYTES_MAX)
        return refusal_set(refusal, 413, REFUSAL_OVERSIZE, "%s", too_large);
    if (to == NULL)
        return refusal_set(refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: more events than one commit holds, send again");
    record_write(record, to);
    log_batch_end(batch, bytes);
    result->written[input]++;
    return 0;
}

#endif
