/* capture/intake_parts.c - see intake_parts.h. */
#include "capture/intake_parts.h"

#include <string.h>

int intake_parts_init(struct intake_parts *parts, const struct capture_settings *settings, size_t arena_chunk_bytes)
{
    struct uuid seed;

    *parts = (struct intake_parts){ .settings = settings,
                                    .arena = arena_new(arena_chunk_bytes, (size_t)settings->request_memory_max),
                                    .uuids = uuid_source_new() };
    if (parts->arena == NULL || parts->uuids == NULL)
        return -1;
    seed = uuid_make(parts->uuids, 0);
    memcpy(&parts->requests, seed.bytes + 8, sizeof parts->requests);
    return 0;
}

void intake_parts_fini(struct intake_parts *parts)
{
    arena_free(parts->arena);
    uuid_source_free(parts->uuids);
    *parts = (struct intake_parts){ 0 };
}

void intake_sink_begin(struct intake_sink *sink, struct log_batch *live, struct log_batch *historical)
{
    sink->batches[INPUT_RAW] = live;
    sink->batches[INPUT_HISTORICAL] = historical;
    sink->marks[INPUT_RAW] = log_batch_mark(live);
    if (historical != NULL)
        sink->marks[INPUT_HISTORICAL] = log_batch_mark(historical);
    sink->import = false;
}

void intake_sink_rewind(struct intake_sink *sink, struct intake_result *result)
{
    result->accepted = result->rejected = result->ids_limited = result->overflowing = result->old = 0;
    memset(result->written, 0, sizeof result->written);
    for (int i = 0; i < INTAKE_INPUTS; i++)
        if (sink->batches[i] != NULL)
            log_batch_rewind(sink->batches[i], sink->marks[i]);
}
