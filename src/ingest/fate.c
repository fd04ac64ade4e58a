/* ingest/fate.c - the names of fate.h, and their sums. */
#include "ingest/fate.h"

#include "event/record.h"
#include "ingest/outputs.h"

#define FATE_INFO(number, suffix, name, klass, help) [number] = { name, FATE_CLASS_##klass, help },
static const struct fate_info fates[FATE_COUNT] = { FATES(FATE_INFO) };

const struct fate_info *fate_info(int fate)
{
    return fate >= 0 && fate < FATE_COUNT ? &fates[fate] : NULL;
}

uint64_t fate_consumed(const struct people_place *place)
{
    uint64_t first = place->counters[PLACE_SPARSE] > 0 ? place->counters[PLACE_SPARSE]
                                                       : place->input_next[INPUT_RAW] + place->input_next[INPUT_HISTORICAL];

    return first + place->input_next[INPUT_OVERFLOW] - place->output_end[OUTPUT_RAW_OVERFLOW];
}

uint64_t fate_sum(const struct people_place *place, enum fate_class class)
{
    uint64_t sum = 0;

    for (int i = 0; i < FATE_COUNT; i++)
        if (fates[i].class == class)
            sum += place->counters[i];
    return sum;
}
