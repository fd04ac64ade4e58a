/* ingest/ingest_options.c - the role's settings, each once: name, default, bounds, what it is for. */
#include "ingest/ingest.h"

#include <stddef.h>

#define OPTION_AT(field) offsetof(struct ingest_options, field)

const struct option ingest_option_table[] = {
    { "batch_records", OPTION_COUNT, "20000", 1, 1000000, "events in one transaction, at most", OPTION_AT(batch_records) },
    { "batch_bytes", OPTION_BYTES, "32MiB", 1 << 16, 1 << 30, "bytes of events in one transaction, at most",
      OPTION_AT(batch_bytes) },
    { "threads", OPTION_COUNT, "0", 0, 16, "threads that process events; 0: half as many as there are cores, at most 4",
      OPTION_AT(threads) },
    { "people_memory", OPTION_BYTES, "0", 0, (int64_t)1 << 40,
      "memory for persons and distinct ids that were used lately, as it is needed; 0: a thirty-second of the machine's, 256 MiB at least and 2 GiB at "
      "most (with the log on Kafka 256 MiB for each unit); below 64 KiB: none, each is read from the store", OPTION_AT(people_memory) },
    { "output_retention", OPTION_DURATION, "72h", 0, INT64_MAX,
      "how long finished rows stay in the log after they were loaded; 0: for ever", OPTION_AT(output_retention_us) },
    { "geoip_folder", OPTION_TEXT, "", 0, 0,
      "folder with *.mmdb databases of cities; empty: beside the program; \"off\": no look-ups", OPTION_AT(geoip_folder) },
    { "merge_ids_max", OPTION_COUNT, "0", 0, 1000000000,
      "distinct ids of a person that may be merged into another; more: the event becomes a dead letter; 0: any number",
      OPTION_AT(merge_ids_max) },
    { "joins_per_hour_max", OPTION_COUNT, "10000", 0, 1000000000,
      "distinct ids and persons that may join one person in an hour; more: the merge is refused, with a warning; 0: any "
      "number", OPTION_AT(joins_per_hour_max) },
    { "undo_window", OPTION_DURATION, "24h", 0, INT64_MAX,
      "how long a deletion of a person waits, and can be taken back (penstock person delete)", OPTION_AT(undo_window_us) },
    { "overflow_burst", OPTION_COUNT, "1000", 0, 1000000000,
      "events that one distinct id may send at once while live traffic is behind; who sends more is moved aside until it is "
      "done; 0: nobody is", OPTION_AT(overflow_burst) },
    { "overflow_per_second", OPTION_COUNT, "10", 0, 1000000000, "and how many a second after that",
      OPTION_AT(overflow_per_second) },
    { .name = NULL },
};
