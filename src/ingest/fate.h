/* ingest/fate.h - what became of an accepted event: exactly one of these, counted for ever.
 *
 * The counters live in people_place.counters at the fate's number, so they are committed together with
 * what they count and are exact over every crash:
 *     records consumed = the sum of all fates
 * Consumed: people_place.input_next of raw, raw_historical and raw_overflow, less what was moved to the last one
 * (people_place.output_end) to be consumed again. fate_consumed() adds it up.
 * The numbers are stored: never reorder, only add at the end. Reads: `penstock status`, ingest's metrics. */
#ifndef PENSTOCK_INGEST_FATE_H
#define PENSTOCK_INGEST_FATE_H

#include "people/people.h"

enum fate_class { FATE_CLASS_STORED, FATE_CLASS_DEDUPLICATED, FATE_CLASS_DEAD_LETTERED, FATE_CLASS_DROPPED };

/* X(number, enum suffix, name as people and metrics read it, class, what it means) */
#define FATES(X)                                                                                                \
    X(0, STORED, "stored", STORED, "an event row was written")                                                  \
    X(1, DEDUPLICATED, "deduplicated", DEDUPLICATED, "an event with this id was there already")                 \
    X(2, DEAD_LETTERED, "dead_lettered", DEAD_LETTERED, "kept with its bytes and the reason")                   \
    X(3, LOG_DAMAGED, "log_damaged", DROPPED, "the disk gave back something else than was written")             \
    X(4, LOG_EXPIRED, "log_expired", DROPPED, "deleted from the log before ingest read it")                     \
    X(5, NO_TOKEN, "no_token", DROPPED, "neither a project nor a token in the record")                          \
    X(6, INVALID_TOKEN, "invalid_token", DROPPED, "the project does not exist (any more)")                      \
    X(7, DISTINCT_ID_TOO_LONG, "distinct_id_too_long", DROPPED, "distinct id of more than 400 characters")      \
    X(8, GROUP_KEY_TOO_LONG, "group_key_too_long", DROPPED, "$groupidentify with a key of more than 400")       \
    X(9, INVALID_ANON_DISTINCT_ID, "invalid_anon_distinct_id", DROPPED, "$anon_distinct_id is not text")        \
    X(10, INVALID_ALIAS, "invalid_alias", DROPPED, "alias is not text")                                         \
    X(11, EVENT_TOO_OLD, "event_too_old", DROPPED, "older than the project takes")                              \
    X(12, INVALID_EVENT_FOR_FLAGS, "invalid_event_for_flags", DROPPED, "a merge that also asks for no person")  \
    X(13, CLIENT_WARNING, "client_warning", DROPPED, "became a warning: $$client_ingestion_warning")        \
    X(14, BLOCKED_TOKEN, "blocked_token", DROPPED, "a restriction of the project drops it")                     \
    X(15, EVENT_FILTERED, "event_filtered", DROPPED, "a filter of the project drops it")                        \
    X(16, HEATMAP, "heatmap", STORED, "a $$heatmap event became rows of heatmaps")                              \
    X(17, HEATMAP_ID, "heatmap_invalid_distinct_id", DROPPED, "heatmap data of an id that everybody uses")      \
    X(18, HEATMAP_VIEWPORT, "heatmap_invalid_viewport_dimensions", DROPPED, "heatmap data without a viewport")  \
    X(19, HEATMAP_EMPTY, "heatmap_empty", DROPPED, "a $$heatmap event without a single usable point")           \
    X(20, HEATMAPS_OFF, "heatmaps_off", DROPPED, "a $$heatmap event of a project that keeps none")              \
    X(21, COOKIELESS_UNSUPPORTED, "cookieless_unsupported_event", DROPPED, "a merge of ids in cookieless mode") \
    X(22, COOKIELESS_NO_IDENTIFY, "cookieless_stateless_no_identify", DROPPED, "$identify in cookieless mode, stateless") \
    X(23, COOKIELESS_OFF, "cookieless_team_disabled", DROPPED, "cookieless mode, which the project has off")    \
    X(24, COOKIELESS_NO_AGENT, "cookieless_missing_ua", DROPPED, "cookieless mode without $raw_user_agent")     \
    X(25, COOKIELESS_NO_IP, "cookieless_missing_ip", DROPPED, "cookieless mode without an address")             \
    X(26, COOKIELESS_NO_HOST, "cookieless_missing_host", DROPPED, "cookieless mode without $host")              \
    X(27, COOKIELESS_RANGE, "cookieless_timestamp_out_of_range", DROPPED, "cookieless mode, of a day without a salt")

#define FATE_ENUM(number, suffix, name, klass, help) FATE_##suffix = number,
enum fate { FATES(FATE_ENUM) FATE_COUNT, FATE_PENDING = -1 };

_Static_assert((int)FATE_COUNT <= (int)PEOPLE_COUNTERS_MAX, "fates must fit into people_place.counters");

struct fate_info {
    const char     *name;
    enum fate_class class;
    const char     *help;
};

/* NULL for a number that is no fate. */
const struct fate_info *fate_info(int fate);
/* Accepted records that are done with. */
uint64_t fate_consumed(const struct people_place *place);
/* Sums by class: stored + deduplicated + dead_lettered + dropped == fate_consumed(), always. */
uint64_t fate_sum(const struct people_place *place, enum fate_class class);

#endif
