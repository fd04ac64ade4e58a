/* ingest/slice.c - see slice.h. Pass by pass and not event by event: each pass keeps its code and tables at hand.
 * Slice by slice and not over the whole batch: an event needs some 10 KB between its bytes and its row, and what a batch of
 * thousands leaves behind is out of the CPU's cache when the next pass comes for it (docs/performance.md). A slice's
 * memory stays in the cache, since a later slice gets it again. */
#include "ingest/slice.h"

#include <assert.h>
#include <stdlib.h>

#include "ingest/passes.h"

size_t slice_records(const struct raw_record *records, size_t count)
{
    size_t bytes = 0, taken = 0;

    while (taken < count && taken < SLICE_RECORDS && (taken == 0 || bytes + records[taken].body.bytes <= SLICE_BYTES))
        bytes += records[taken++].body.bytes;
    return taken;
}

void slice_begin(struct slice *slice, const struct raw_record *records, size_t count)
{
    slice->records = records;
    slice->items = NULL;
    slice->count = count;
    slice->ahead = 0;
    slice->crowded = ATTEMPT_NONE;
    buf_reset(&slice->rows); /* of a batch that was given up */
}

/* --- records to items -------------------------------------------------------------------------- */

/* What must not be touched, or could not be held: set aside with its bytes. */
static bool set_aside(const struct passes *passes, struct slice *slice, struct item *item)
{
    bool       crashed = passes->attempt != NULL &&
                   attempt_crashes(passes->attempt, item->mark) >= ATTEMPT_CRASHES_MAX;
    struct err why;

    if (!crashed && item->mark != passes->too_large)
        return false;
    item->fate = FATE_PENDING;
    item->readable = record_read(item->body, &item->record, &why) == 0;
    item->warnings.arena = slice->arena;
    if (crashed)
        item_bury(item, "ingest", "crashed", SPAN("ingest ended three times while it worked on this event alone"),
                  slice->arena);
    else {
        item_bury(item, "ingest", "too_large", SPAN("the event, or its row, does not fit into the memory of a batch"),
                  slice->arena);
        if (item->readable)
            item->project = catalog_snapshot_project(passes->catalog, tally_project(&item->record, passes->catalog));
        if (item->project != NULL)
            warning_text(warning_add(&item->warnings, WARNING_MESSAGE_SIZE), "step", SPAN("ingest"));
    }
    return true;
}

static int items_normalize(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err)
{
    const struct normalize_env env = {
        .arena = slice->arena, .keys = passes->keys, .catalog = passes->catalog, .geoip = hand->geoip,
        .zones = hand->zones, .now_us = passes->now_us
    };

    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];

        if (set_aside(passes, slice, item))
            continue;
        attempt_mark(passes->attempt, hand->number, item->mark);
        if (normalize_item(&env, item, err) < 0)
            return -1;
        if (passes->crash_on.bytes > 0 && item->readable && span_equal(item->record.event, passes->crash_on))
            abort();
    }
    return 0;
}

int slice_parse(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err)
{
    int64_t from_us = clock_mono_us();
    int     rc;

    arena_reset(slice->arena);
    slice->items = arena_alloc_zero(slice->arena, slice->count * sizeof *slice->items);
    if (slice->items == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for %zu events", slice->count);
    for (size_t i = 0; i < slice->count; i++) {
        slice->items[i].mark = slice->records[i].mark;
        slice->items[i].raw_offset = slice->records[i].place;
        slice->items[i].body = slice->records[i].body;
    }
    rc = items_normalize(passes, slice, hand, err);
    attempt_unmark(passes->attempt, hand->number);
    slice->parse_us += clock_mono_us() - from_us;
    return rc;
}

/* --- items to rows ----------------------------------------------------------------------------- */

static int item_render(struct slice *slice, struct render_env *env, struct item *item, struct err *err)
{
    assert(!item_pending(item)); /* S1 of passes.h */
    if (item->fate == FATE_STORED && render_event(env, item, err) < 0) {
        if (env->row_too_large)
            slice->crowded = item->mark;
        return -1;
    }
    if (item->heatmap != NULL && fate_info(item->fate)->class == FATE_CLASS_STORED && render_heatmap(env, item, err) < 0)
        return -1;
    if (item->fate == FATE_DEAD_LETTERED && render_dead_letter(env, item, err) < 0)
        return -1;
    return item->warnings.first == NULL ? 0 : render_warnings(env, item, err);
}

/* The one failure of a row on its way into the slice: there is no room. */
static int row_keep(void *ctx, const struct row *row, struct err *err)
{
    struct slice *slice = ctx;
    size_t        bytes = row_bytes(row);
    uint8_t      *to = buf_reserve(&slice->rows, sizeof bytes + bytes);

    if (to == NULL)
        return err_set(err, ERR_FULL, "no room for a row of %zu bytes", bytes);
    memcpy(to, &bytes, sizeof bytes);
    row_write(row, to + sizeof bytes);
    slice->rows.bytes += sizeof bytes + bytes;
    return 0;
}

static struct render_env render_env(const struct passes *passes, struct slice *slice, const struct hand *hand, bool keep)
{
    return (struct render_env){ .buf = hand->buf, .keys = passes->keys, .now_us = passes->now_us,
                                .message_bytes_max = passes->message_bytes_max, .sink = keep ? row_keep : passes->sink,
                                .sink_ctx = keep ? slice : passes->sink_ctx };
}

static int ahead(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err)
{
    struct render_env env = render_env(passes, slice, hand, true);

    while (slice->ahead < slice->count) {
        struct item *item = &slice->items[slice->ahead];
        size_t       bytes = slice->rows.bytes;
        uint64_t     warnings = env.warnings;

        attempt_mark(passes->attempt, hand->number, item->mark);
        if (item_render(slice, &env, item, err) < 0) {
            if (!slice->rows.failed)
                return -1;
            slice->rows.bytes = bytes; /* an event has all of its rows here, or none */
            slice->rows.failed = false;
            env.warnings = warnings;
            break;
        }
        slice->ahead++;
    }
    attempt_unmark(passes->attempt, hand->number);
    slice->warnings += env.warnings;
    return 0;
}

int slice_ahead(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err)
{
    int64_t from_us = clock_mono_us();
    int     rc = ahead(passes, slice, hand, err);

    slice->render_us += clock_mono_us() - from_us;
    return rc;
}

static int rows_put(const struct passes *passes, struct slice *slice, struct err *err)
{
    struct span rest = buf_span(&slice->rows);
    size_t      bytes;

    while (rest.bytes > 0) {
        memcpy(&bytes, rest.at, sizeof bytes);
        if (passes->put(passes->sink_ctx, span_of(rest.at + sizeof bytes, bytes), err) < 0)
            return -1;
        rest = span_from(rest, sizeof bytes + bytes);
    }
    buf_reset(&slice->rows);
    return 0;
}

static int rest_put(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err)
{
    struct render_env env = render_env(passes, slice, hand, false);

    for (size_t i = slice->ahead; i < slice->count; i++) {
        attempt_mark(passes->attempt, hand->number, slice->items[i].mark);
        if (item_render(slice, &env, &slice->items[i], err) < 0)
            return -1;
    }
    attempt_unmark(passes->attempt, hand->number);
    slice->warnings += env.warnings;
    return 0;
}

int slice_put(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err)
{
    int64_t from_us = clock_mono_us();
    int     rc = 0;

    if (slice->rows.bytes > 0)
        rc = rows_put(passes, slice, err);
    if (rc == 0)
        rc = rest_put(passes, slice, hand, err);
    slice->render_us += clock_mono_us() - from_us;
    return rc;
}
