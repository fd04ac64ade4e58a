/* event/pipeline.h - what kind of event it is, by its name alone: which of them must not wait for which.
 *
 * Upstream has a topic, and services, for each. Here they share topics (docs/decisions/capture-topics.md); the kind stands
 * in the record, so that nobody compares names again. Stored by number. */
#ifndef PENSTOCK_EVENT_PIPELINE_H
#define PENSTOCK_EVENT_PIPELINE_H

#include "base/span.h"

enum pipeline {
    PIPELINE_UNKNOWN,    /* of a record that was written before there were kinds */
    PIPELINE_ANALYTICS,
    PIPELINE_EXCEPTIONS, /* $exception */
    PIPELINE_HEATMAPS,   /* $$heatmap */
    PIPELINE_WARNINGS,   /* $$client_ingestion_warning */
    PIPELINE_LLM,        /* $ai_... */
    PIPELINE_COUNT
};

static inline enum pipeline pipeline_of(struct span event)
{
    if (event.bytes < 4 || event.at[0] != '$')
        return PIPELINE_ANALYTICS;
    if (event.at[1] == 'e' && span_is(event, "$exception"))
        return PIPELINE_EXCEPTIONS;
    if (event.at[1] == 'a' && span_starts(event, SPAN("$ai_")))
        return PIPELINE_LLM;
    if (event.at[1] == '$' && span_is(event, "$$heatmap"))
        return PIPELINE_HEATMAPS;
    return event.at[1] == '$' && span_is(event, "$$client_ingestion_warning") ? PIPELINE_WARNINGS : PIPELINE_ANALYTICS;
}

/* Kinds that change no person: they may wait aside without their id's other events waiting for them. */
static inline bool pipeline_stands_alone(enum pipeline pipeline)
{
    return pipeline == PIPELINE_EXCEPTIONS || pipeline == PIPELINE_HEATMAPS || pipeline == PIPELINE_WARNINGS;
}

/* Kinds that can be imports: the others go their own way, whatever the request says. */
static inline bool pipeline_is_historical(enum pipeline pipeline, bool said, bool old)
{
    return pipeline == PIPELINE_ANALYTICS && (said || old);
}

#endif
