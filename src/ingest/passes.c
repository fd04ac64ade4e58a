/* ingest/passes.c - see passes.h. Pass by pass and not event by event: each pass keeps its code and tables at
 * hand. Slice by slice and not over the whole batch: an event needs some 10 KB between its bytes and its row,
 * and what a batch of thousands leaves behind is out of the CPU's cache when the next pass comes for it
 * (docs/performance.md). A slice's memory stays in the cache, since the next slice gets it again. */
#include "ingest/passes.h"

#include <assert.h>
#include <stdlib.h>

#include "wire/time.h"

/* Measured: docs/performance.md. Bytes too, so that large events do not outgrow the cache either. */
enum { SLICE_RECORDS = 32, SLICE_BYTES = 64 << 10 };
_Static_assert((int)SLICE_RECORDS <= (int)PEOPLE_EXPECT_MAX, "a slice's persons are expected at once");

/* --- counting ---------------------------------------------------------------------------------- */

/* As read: by what the record says, before any rule. */
static int count_read(struct passes *passes, struct item *item, struct err *err)
{
    const struct record *record = &item->record;
    uint32_t             project = item->readable ? tally_project(record, passes->catalog) : 0;

    if (tally_find(&passes->tally, project, item->readable ? record->received_us : passes->now_us, &item->tally, err) < 0)
        return -1;
    tally_count(&passes->tally, item->tally, TALLY_READ, 1);
    return 0;
}

static int count_fate(struct passes *passes, const struct item *item, struct err *err)
{
    enum fate_class class = fate_info(item->fate)->class;

    passes->fates[item->fate]++;
    tally_count(&passes->tally, item->tally, item->fate, 1);
    if (class == FATE_CLASS_STORED || class == FATE_CLASS_DEAD_LETTERED)
        return 0;
    return tally_end(&passes->tally, &(struct people_ended){
        .uuid = item->record.uuid, .place = item->raw_offset, .at_us = passes->now_us,
        .project = passes->tally.rows[item->tally].project, .fate = (uint8_t)item->fate
    }, err);
}

static int count_gap(struct passes *passes, const struct gap *gap, struct err *err)
{
    int    fate = gap->expired ? FATE_LOG_EXPIRED : FATE_LOG_DAMAGED;
    size_t row;

    if (tally_find(&passes->tally, 0, passes->now_us, &row, err) < 0)
        return -1;
    passes->fates[fate] += gap->count;
    tally_count(&passes->tally, row, TALLY_READ, gap->count);
    tally_count(&passes->tally, row, fate, gap->count);
    return 0;
}

/* --- normalise --------------------------------------------------------------------------------- */

/* What must not be touched, or could not be held: set aside with its bytes. */
static bool set_aside(struct passes *passes, struct item *item)
{
    bool       crashed = passes->attempt != NULL &&
                   attempt_crashes(passes->attempt, item->mark) >= ATTEMPT_CRASHES_MAX;
    struct err why;

    if (!crashed && item->mark != passes->too_large)
        return false;
    item->fate = FATE_PENDING;
    item->readable = record_read(item->body, &item->record, &why) == 0;
    item->warnings.arena = passes->slice;
    if (crashed)
        item_bury(item, "ingest", "crashed", SPAN("ingest ended three times while it worked on this event alone"),
                  passes->slice);
    else {
        item_bury(item, "ingest", "too_large", SPAN("the event, or its row, does not fit into the memory of a batch"),
                  passes->slice);
        if (item->readable)
            item->project = catalog_snapshot_project(passes->catalog, tally_project(&item->record, passes->catalog));
        if (item->project != NULL)
            warning_text(warning_add(&item->warnings, WARNING_MESSAGE_SIZE), "step", SPAN("ingest"));
    }
    return true;
}

static int normalize_all(struct passes *passes, struct item *items, size_t count, struct err *err)
{
    const struct normalize_env env = {
        .arena = passes->slice, .keys = passes->keys, .catalog = passes->catalog, .geoip = passes->geoip,
        .zones = passes->zones, .now_us = passes->now_us
    };

    for (size_t i = 0; i < count; i++) {
        struct item *item = &items[i];

        if (set_aside(passes, item)) {
            if (count_read(passes, item, err) < 0)
                return -1;
            continue;
        }
        attempt_mark(passes->attempt, item->mark);
        if (normalize_item(&env, item, err) < 0 || count_read(passes, item, err) < 0)
            return -1;
        if (passes->crash_on.bytes > 0 && item->readable && span_equal(item->record.event, passes->crash_on))
            abort();
    }
    return 0;
}

/* --- seen -------------------------------------------------------------------------------------- */

static int drop_repeated(struct passes *passes, struct people_txn *txn, struct item *items, size_t count, struct err *err)
{
    struct people_seen *ids = arena_alloc_array(passes->slice, count, sizeof *ids);
    size_t              asked = 0;

    if (ids == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for event ids");
    for (size_t i = 0; i < count; i++)
        if (item_pending(&items[i]))
            ids[asked++] = (struct people_seen){
                .project = items[i].project->id, .uuid = items[i].record.uuid, .place = items[i].raw_offset
            };
    if (asked > 0 && people_seen_add(txn, ids, asked, (int32_t)(passes->now_us / TIME_US_DAY), err) < 0)
        return -1;
    asked = 0;
    for (size_t i = 0; i < count; i++) {
        int unseen = 0;

        if (!item_pending(&items[i]) || !ids[asked++].repeated)
            continue;
        unseen = people_unseen_take(txn, items[i].project->id, &items[i].record.uuid, err);
        if (unseen < 0)
            return -1;
        if (unseen == 1)
            continue; /* set aside when it came before, and sent again by somebody who can do better now */
        item_decide(&items[i], FATE_DEDUPLICATED);
        items[i].warnings.first = NULL; /* told when it came first */
    }
    return 0;
}

/* --- visitors ---------------------------------------------------------------------------------- */

static int tell_visitors(struct passes *passes, struct people_txn *txn, struct item *items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].visitor == NULL || !item_pending(&items[i]))
            continue;
        attempt_mark(passes->attempt, items[i].mark);
        if (cookieless_item(passes->cookieless, txn, &items[i], passes->slice, err) < 0)
            return -1;
    }
    return 0;
}

/* --- people ------------------------------------------------------------------------------------ */

static void add_people_warning(struct item *item, const struct people_warning *from)
{
    struct warning_list *list = &item->warnings;
    struct warning      *warning;

    switch (from->kind) {
    case PEOPLE_WARN_NONE:
        return;
    case PEOPLE_WARN_ALREADY_IDENTIFIED:
        warning = warning_add(list, WARNING_ALREADY_IDENTIFIED);
        warning_text(warning, "sourcePersonDistinctId", from->source_id);
        warning_text(warning, "targetPersonDistinctId", from->target_id);
        warning_uuid(list, warning, "personId", &from->person);
        warning_uuid(list, warning, "otherPersonId", &from->other_person);
        return;
    case PEOPLE_WARN_ILLEGAL_ID: {
        bool source_illegal = people_id_is_illegal(from->source_id) && !people_id_is_illegal(from->target_id);

        warning = warning_add(list, WARNING_ILLEGAL_ID);
        warning_text(warning, "illegalDistinctId", source_illegal ? from->source_id : from->target_id);
        warning_text(warning, "otherDistinctId", source_illegal ? from->target_id : from->source_id);
        return;
    }
    case PEOPLE_WARN_TOO_MANY_JOINS:
        warning = warning_add(list, WARNING_TOO_MANY_JOINS);
        warning_text(warning, "sourcePersonDistinctId", from->source_id);
        warning_text(warning, "targetPersonDistinctId", from->target_id);
        warning_uuid(list, warning, "personId", &from->person);
        warning_text(warning, "message",
                     SPAN("more ids joined this person within an hour than ingest.joins_per_hour_max: not merged"));
        return;
    case PEOPLE_WARN_PROPERTIES_SIZE:
        warning = warning_add(list, WARNING_PERSON_SIZE);
        warning_uuid(list, warning, "personId", &from->person);
        warning_number(list, warning, "teamId", item->project->id);
        if (from->trimmed > 0)
            warning_number(list, warning, "propertiesRemoved", (int64_t)from->trimmed);
        warning_number(list, warning, "maxBytes", PEOPLE_PERSON_PROPERTIES_BYTES_MAX);
        warning_text(warning, "message",
                     from->trimmed > 0
                         ? SPAN("the person was larger than a person may be: properties were removed from it")
                         : SPAN("the person would be larger than a person may be: properties of this event are not on it"));
        return;
    }
}

static void warn_group_size(struct item *item)
{
    const struct item_group *group = &item->group_own;
    struct warning          *warning;

    if (!group->found.refused && group->found.trimmed == 0)
        return;
    warning = warning_add(&item->warnings, WARNING_GROUP_SIZE);
    warning_number(&item->warnings, warning, "groupTypeIndex", group->found.index);
    warning_text(warning, "groupKey", group->key);
    if (group->found.trimmed > 0)
        warning_number(&item->warnings, warning, "propertiesRemoved", (int64_t)group->found.trimmed);
    warning_number(&item->warnings, warning, "maxBytes", PEOPLE_PERSON_PROPERTIES_BYTES_MAX);
    warning_text(warning, "message",
                 group->found.refused
                     ? SPAN("the group would be larger than a group may be: properties of this event are not on it")
                     : SPAN("the group was larger than a group may be: properties were removed from it"));
}

static int look_up_groups(struct passes *passes, struct people_batch *people, struct item *item, struct err *err)
{
    uint32_t            project = item->project->id;
    struct people_group ignored;

    /* Types get their index in the order of `$groups`, and only then the one that is identified. */
    for (size_t i = 0; i < item->group_count && (item->group_identify || item->group_register); i++)
        if (people_batch_group(people, project, item->groups[i].type, item->groups[i].key, &ignored, err) < 0)
            return -1;
    if (item->group_identify &&
        people_batch_group_set(people, project, item->group_own.type, item->group_own.key, &item->group_set,
                               item->record.timestamp_us, passes->now_us, &item->group_own.found, err) < 0)
        return -1;
    if (item->group_identify)
        warn_group_size(item);
    if (item->group_register && people_batch_group(people, project, item->group_own.type, SPAN(""), &ignored, err) < 0)
        return -1;
    for (size_t i = 0; i < item->group_count; i++) {
        struct item_group *group = &item->groups[i];

        if (people_batch_group(people, project, group->type, group->key, &group->found, err) < 0)
            return -1;
        if (!group->found.found) {
            struct warning *warning = warning_add(&item->warnings, WARNING_GROUP_TYPES);

            if (warning != NULL)
                warning->key = group->type;
            warning_text(warning, "groupType", group->type);
            warning_number(&item->warnings, warning, "limit", PEOPLE_GROUP_TYPES_MAX);
        }
    }
    return 0;
}

/* The memory of the slice's persons is asked for all at once: one miss after the other was most of this pass. */
static void expect_people(struct people_batch *people, const struct item *items, size_t count)
{
    struct people_expected ids[SLICE_RECORDS];
    size_t                 expected = 0;

    for (size_t i = 0; i < count; i++)
        if (item_pending(&items[i]) && !items[i].who.forced_off)
            ids[expected++] = (struct people_expected){ items[i].who.project, items[i].who.distinct_id };
    people_batch_expect(people, ids, expected);
}

static int ask_people(struct passes *passes, struct people_txn *txn, struct people_batch *people, struct item *items,
                      size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct item *item = &items[i];

        if (!item_pending(item))
            continue;
        if (item->kind == EVENT_HEATMAP) {
            item_decide(item, FATE_HEATMAP);
            continue;
        }
        attempt_mark(passes->attempt, item->mark);
        if (people_batch_apply(people, &item->who, &item->result, err) < 0)
            return -1;
        if (item->who.if_known)
            flag_event_settle(item, passes->keys);
        if (item->result.merge_too_large) {
            item_bury(item, "people", "Merge limit exceeded",
                      SPAN("the person that would be merged has more distinct ids than ingest.merge_ids_max"), passes->slice);
            if (people_unseen_put(txn, item->project->id, &item->record.uuid, (int32_t)(passes->now_us / TIME_US_DAY), err) < 0)
                return -1;
            continue;
        }
        for (size_t j = 0; j < item->result.warning_count; j++)
            add_people_warning(item, &item->result.warnings[j]);
        if (look_up_groups(passes, people, item, err) < 0)
            return -1;
        item_decide(item, FATE_STORED);
    }
    return 0;
}

/* --- define ------------------------------------------------------------------------------------ */

static int define_all(struct passes *passes, struct people_txn *txn, struct item *items, size_t count, struct err *err)
{
    const struct definer_env env = { .txn = txn, .arena = passes->slice, .now_us = passes->now_us, .sink = passes->sink,
                                     .sink_ctx = passes->sink_ctx };

    for (size_t i = 0; passes->definer != NULL && i < count; i++) {
        if (items[i].fate != FATE_STORED)
            continue;
        attempt_mark(passes->attempt, items[i].mark);
        if (definer_item(passes->definer, &env, &items[i], err) < 0)
            return -1;
    }
    return 0;
}

/* --- render ------------------------------------------------------------------------------------ */

static struct render_env render_env(const struct passes *passes)
{
    return (struct render_env){
        .buf = passes->buf, .gate = passes->gate, .now_us = passes->now_us, .sink = passes->sink,
        .sink_ctx = passes->sink_ctx
    };
}

static int render_gaps(struct passes *passes, const struct gap *gaps, size_t gap_count, struct err *err)
{
    struct render_env env = render_env(passes);

    for (size_t i = 0; i < gap_count; i++) {
        if (render_gap(&env, gaps[i].mark, gaps[i].count, gaps[i].expired ? "expired" : "damaged", err) < 0)
            return -1;
        if (place_input(gaps[i].mark) != INPUT_CONTROL && count_gap(passes, &gaps[i], err) < 0) /* it has no events */
            return -1;
    }
    passes->warnings += env.warnings;
    return 0;
}

static int render_all(struct passes *passes, struct item *items, size_t count, struct err *err)
{
    struct render_env env = render_env(passes);

    for (size_t i = 0; i < count; i++) {
        struct item *item = &items[i];

        assert(!item_pending(item)); /* S1 */
        attempt_mark(passes->attempt, item->mark);
        if (item->fate == FATE_STORED && render_event(&env, item, err) < 0) {
            if (env.row_too_large)
                passes->crowded = item->mark;
            return -1;
        }
        if (item->heatmap != NULL && fate_info(item->fate)->class == FATE_CLASS_STORED && render_heatmap(&env, item, err) < 0)
            return -1;
        if (item->fate == FATE_DEAD_LETTERED && render_dead_letter(&env, item, err) < 0)
            return -1;
        if (item->warnings.first != NULL && render_warnings(&env, item, err) < 0)
            return -1;
        if (count_fate(passes, item, err) < 0)
            return -1;
    }
    passes->warnings += env.warnings;
    return 0;
}

/* --- all --------------------------------------------------------------------------------------- */

static void note_time(struct passes *passes, size_t pass, int64_t *from_us)
{
    int64_t now_us = clock_thread_us();

    passes->spent_us[pass] += now_us - *from_us;
    *from_us = now_us;
}

/* How many of the records make the next slice; at least one. */
static size_t slice_records(const struct raw_record *records, size_t count)
{
    size_t bytes = 0, taken = 0;

    while (taken < count && taken < SLICE_RECORDS && (taken == 0 || bytes + records[taken].body.bytes <= SLICE_BYTES))
        bytes += records[taken++].body.bytes;
    return taken;
}

static int slice_run(struct passes *passes, struct people_txn *txn, struct people_batch *people,
                     const struct raw_record *records, size_t count, int64_t *from_us, struct err *err)
{
    struct item *items;

    arena_reset(passes->slice);
    items = arena_alloc_zero(passes->slice, count * sizeof *items);
    if (items == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for %zu events", count);
    for (size_t i = 0; i < count; i++) {
        items[i].mark = records[i].mark;
        items[i].raw_offset = records[i].place;
        items[i].body = records[i].body;
    }
    if (normalize_all(passes, items, count, err) < 0)
        return -1;
    note_time(passes, 0, from_us);
    attempt_unmark(passes->attempt);
    if (drop_repeated(passes, txn, items, count, err) < 0)
        return -1;
    note_time(passes, 1, from_us);
    if (tell_visitors(passes, txn, items, count, err) < 0)
        return -1;
    expect_people(people, items, count);
    if (ask_people(passes, txn, people, items, count, err) < 0)
        return -1;
    note_time(passes, 2, from_us);
    if (define_all(passes, txn, items, count, err) < 0)
        return -1;
    note_time(passes, 4, from_us);
    if (render_all(passes, items, count, err) < 0 || people_batch_events_done(people, err) < 0)
        return -1;
    note_time(passes, 3, from_us);
    attempt_unmark(passes->attempt);
    return 0;
}

int passes_run(struct passes *passes, struct people_txn *txn, const struct raw_record *records, size_t count,
               const struct gap *gaps, size_t gap_count, struct err *err)
{
    struct people_batch *people;
    int64_t              from_us = clock_thread_us();

    tally_init(&passes->tally, passes->arena);
    if (people_batch_begin(txn, passes->arena, &people, err) < 0 || render_gaps(passes, gaps, gap_count, err) < 0)
        return -1;
    if (passes->cookieless != NULL && cookieless_begin(passes->cookieless, txn, passes->now_us, err) < 0)
        return -1;
    people_batch_event_arena(people, passes->slice);
    people_batch_limit(people, &passes->limits);
    for (size_t from = 0, taken; from < count; from += taken) {
        taken = slice_records(records + from, count - from);
        if (slice_run(passes, txn, people, records + from, taken, &from_us, err) < 0)
            return -1;
    }
    arena_reset(passes->slice);
    if (people_batch_finish(people, passes->sink, passes->sink_ctx, err) < 0)
        return -1;
    note_time(passes, 4, &from_us);
    return 0;
}
