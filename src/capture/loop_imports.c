/* capture/loop_imports.c - what the loop does for those who send imports, so that nobody waits for them (pace.h). */
#include "capture/loop.h"

/* Trouble with a cursor is trouble with the pace alone. */
void loop_pace(struct loop *loop)
{
    struct log        *log = atomic_load_explicit(&loop->shared->log, memory_order_acquire);
    struct pace_ingest ingest = { .live_end = loop->ends[INPUT_RAW], .import_end = loop->ends[INPUT_HISTORICAL] };
    struct err         ignored = { 0 };

    if (log == NULL || !pace_step_due(&loop->pace, loop->mono_us))
        return;
    if (log_cursor_load(log, input_topic(INPUT_RAW), 0, "ingest", &ingest.live_taken, &ignored) < 1)
        ingest.live_taken = ingest.live_end;
    if (log_cursor_load(log, input_topic(INPUT_HISTORICAL), 0, "ingest", &ingest.import_taken, &ignored) < 0)
        ingest.import_taken = ingest.import_end;
    pace_step(&loop->pace, loop->mono_us, &ingest);
}
