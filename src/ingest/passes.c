/* ingest/passes.c - see passes.h. What has an order is here: who was seen, whose it is, what is new, what is told. What
 * an event needs by itself is in slice.c, and which thread does it when in crew.c. A slice that is alone, or holds a single
 * large event, is done here by the caller from end to end: others would only wait for it, and one large event at a time
 * bounds the memory. */
#include "ingest/passes.h"

#include <assert.h>
#include <string.h>

#include "ingest/foresee.h"
#include "ingest/repeats.h"

_Static_assert((int)SLICE_RECORDS <= (int)PEOPLE_EXPECT_MAX, "a slice's persons are expected at once");
_Static_assert((int)CREW_HANDS_MAX <= (int)ATTEMPT_HANDS_MAX, "each thread notes its event");

/* --- counting ---------------------------------------------------------------------------------- */

/* As read: by what the record says, whatever the rules made of it. */
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

/* --- visitors ---------------------------------------------------------------------------------- */

static int tell_visitors(struct passes *passes, struct people_txn *txn, const struct slice *slice, struct err *err)
{
    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];

        if (item->visitor == NULL || !item_pending(item))
            continue;
        attempt_mark(passes->attempt, 0, item->mark);
        if (cookieless_item(passes->cookieless, txn, item, slice->arena, err) < 0)
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

static int ask_people(struct passes *passes, struct people_txn *txn, struct people_batch *people, const struct slice *slice,
                      struct err *err)
{
    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];

        if (!item_pending(item))
            continue;
        if (item->kind == EVENT_HEATMAP) {
            item_decide(item, FATE_HEATMAP);
            continue;
        }
        attempt_mark(passes->attempt, 0, item->mark);
        if (people_batch_apply(people, &item->who, &item->result, err) < 0)
            return -1;
        if (item->who.if_known)
            flag_event_settle(item, passes->keys);
        if (item->result.merge_too_large) {
            item_bury(item, "people", "Merge limit exceeded",
                      SPAN("the person that would be merged has more distinct ids than ingest.merge_ids_max"), slice->arena);
            if (repeats_letter(txn, item, passes->steady_us, err) < 0)
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

static int define_all(struct passes *passes, struct people_txn *txn, const struct slice *slice, struct err *err)
{
    const struct definer_env env = { .txn = txn, .arena = slice->arena, .now_us = passes->now_us, .sink = passes->sink,
                                     .sink_ctx = passes->sink_ctx };

    for (size_t i = 0; passes->definer != NULL && i < slice->count; i++) {
        struct item *item = &slice->items[i];

        if (item->fate != FATE_STORED)
            continue;
        attempt_mark(passes->attempt, 0, item->mark);
        if (definer_item(passes->definer, &env, item, err) < 0)
            return -1;
    }
    return 0;
}

/* --- gaps -------------------------------------------------------------------------------------- */

static int render_gaps(struct passes *passes, const struct gap *gaps, size_t gap_count, struct err *err)
{
    struct render_env env = { .buf = passes->hands[0].buf, .keys = passes->keys, .now_us = passes->now_us, .sink = passes->sink,
                              .sink_ctx = passes->sink_ctx };

    for (size_t i = 0; i < gap_count; i++) {
        if (render_gap(&env, gaps[i].mark, gaps[i].count, gaps[i].expired ? "expired" : "damaged", err) < 0)
            return -1;
        if (place_input(gaps[i].mark) != INPUT_CONTROL && count_gap(passes, &gaps[i], err) < 0) /* it has no events */
            return -1;
    }
    passes->warnings += env.warnings;
    return 0;
}

/* --- all --------------------------------------------------------------------------------------- */

/* By the clock, 30 ns a reading, of which a slice takes eight: to ask for a thread's CPU is a system call, 0.4 to 0.9 us. */
static void note_time(struct passes *passes, size_t pass, int64_t *from_us)
{
    int64_t now_us = clock_mono_us();

    passes->spent_us[pass] += now_us - *from_us;
    *from_us = now_us;
}

/* Of all threads. */
static int64_t cpu_us(const struct passes *passes)
{
    return clock_thread_us() + (passes->crew == NULL ? 0 : crew_cpu_us(passes->crew));
}

/* S4 */
static void spent_as_cpu(struct passes *passes, int64_t used_us)
{
    enum { PARTS = sizeof passes->spent_us / sizeof *passes->spent_us };
    int64_t took_us = 0;

    for (size_t i = 0; i < PARTS; i++)
        took_us += passes->spent_us[i];
    for (size_t i = 0; i < PARTS && took_us > 0; i++)
        passes->spent_us[i] = (int64_t)((double)passes->spent_us[i] * (double)used_us / (double)took_us);
}

/* The batch on its way through: what the steps of crew.h share. */
struct belt {
    struct passes           *passes;
    struct people_txn       *txn;
    struct people_batch     *people;
    const struct raw_record *records; /* those that are not in a slice yet */
    size_t                   count;
};

/* Everything that has an order. */
static int slice_order(struct belt *belt, struct slice *slice, struct err *err)
{
    struct passes *passes = belt->passes;
    int64_t        from_us = clock_mono_us();

    for (size_t i = 0; i < slice->count; i++)
        if (count_read(passes, &slice->items[i], err) < 0)
            return -1;
    if (repeats_drop(belt->txn, slice, passes->steady_us, err) < 0)
        return -1;
    note_time(passes, 1, &from_us);
    people_batch_event_arena(belt->people, slice->arena);
    if (tell_visitors(passes, belt->txn, slice, err) < 0)
        return -1;
    expect_people(belt->people, slice->items, slice->count);
    if (ask_people(passes, belt->txn, belt->people, slice, err) < 0 || people_batch_events_done(belt->people, err) < 0)
        return -1;
    note_time(passes, 2, &from_us);
    if (define_all(passes, belt->txn, slice, err) < 0)
        return -1;
    for (size_t i = 0; i < slice->count; i++) {
        struct item *item = &slice->items[i];

        warning_gate_sift(passes->gate, item->project == NULL ? 0 : item->project->id, &item->warnings, passes->now_us);
        if (count_fate(passes, item, err) < 0)
            return -1;
    }
    attempt_unmark(passes->attempt, 0);
    note_time(passes, 4, &from_us);
    return 0;
}

/* --- alone ------------------------------------------------------------------------------------- */

static void slice_take(struct belt *belt, struct slice *slice, size_t count)
{
    slice_begin(slice, belt->records, count);
    belt->records += count;
    belt->count -= count;
}

static void slice_note(struct passes *passes, struct slice *slice)
{
    passes->spent_us[0] += slice->parse_us;
    passes->spent_us[3] += slice->render_us;
    passes->warnings += slice->warnings;
    if (slice->crowded < passes->crowded) /* ATTEMPT_NONE is above all */
        passes->crowded = slice->crowded;
    slice->parse_us = slice->render_us = 0;
    slice->warnings = 0;
    slice->crowded = ATTEMPT_NONE;
}

static int run_alone(struct belt *belt, size_t count, struct err *err)
{
    struct passes *passes = belt->passes;
    struct slice  *slice = passes->alone;
    int            rc;

    slice_take(belt, slice, count);
    rc = slice_parse(passes, slice, &passes->hands[0], err);
    if (rc == 0)
        rc = slice_order(belt, slice, err);
    if (rc == 0)
        rc = slice_put(passes, slice, &passes->hands[0], err);
    slice_note(passes, slice);
    return rc;
}

/* --- together ---------------------------------------------------------------------------------- */

/* More than a slice should hold. */
static bool is_large(const struct raw_record *record)
{
    return record->body.bytes > SLICE_BYTES;
}

static bool belt_cut(void *ctx, unsigned slot)
{
    struct belt *belt = ctx;

    if (belt->count == 0 || is_large(belt->records))
        return false;
    slice_take(belt, &belt->passes->slices[slot], slice_records(belt->records, belt->count));
    return true;
}

static int belt_parse(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct passes *passes = ((struct belt *)ctx)->passes;

    return slice_parse(passes, &passes->slices[slot], &passes->hands[hand], err);
}

static int belt_order(void *ctx, unsigned slot, struct err *err)
{
    struct belt *belt = ctx;

    return slice_order(belt, &belt->passes->slices[slot], err);
}

static int belt_ahead(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct passes *passes = ((struct belt *)ctx)->passes;

    return slice_ahead(passes, &passes->slices[slot], &passes->hands[hand], err);
}

static int belt_put(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct passes *passes = ((struct belt *)ctx)->passes;

    return slice_put(passes, &passes->slices[slot], &passes->hands[hand], err);
}

/* Up to the end, or to a large event. */
static int run_together(struct belt *belt, struct err *err)
{
    struct passes         *passes = belt->passes;
    const struct crew_work work = { .ctx = belt, .cut = belt_cut, .parse = belt_parse, .order = belt_order,
                                    .ahead = belt_ahead, .put = belt_put };
    int                    rc = crew_run(passes->crew, &work, err);

    for (unsigned i = 0; i < crew_slots(passes->crew); i++)
        slice_note(passes, &passes->slices[i]);
    return rc;
}

/* --- a batch ----------------------------------------------------------------------------------- */

int passes_run(struct passes *passes, struct people_txn *txn, const struct raw_record *records, size_t count,
               const struct gap *gaps, size_t gap_count, struct err *err)
{
    struct belt belt = { .passes = passes, .txn = txn, .records = records, .count = count };
    int64_t     began_us = cpu_us(passes), from_us = clock_mono_us();

    memset(passes->spent_us, 0, sizeof passes->spent_us);
    tally_init(&passes->tally, passes->arena);
    if (people_batch_begin(txn, passes->arena, &belt.people, err) < 0 || render_gaps(passes, gaps, gap_count, err) < 0)
        return -1;
    if (passes->cookieless != NULL && cookieless_begin(passes->cookieless, txn, passes->now_us, err) < 0)
        return -1;
    people_batch_limit(belt.people, &passes->limits);
    if (foresee(txn, passes->catalog, records, count, passes->arena, err) < 0)
        return -1;
    note_time(passes, 1, &from_us);
    while (belt.count > 0) {
        size_t taken = slice_records(belt.records, belt.count);
        bool   alone = passes->crew == NULL || taken == belt.count || is_large(belt.records);

        if ((alone ? run_alone(&belt, taken, err) : run_together(&belt, err)) < 0)
            return -1;
    }
    from_us = clock_mono_us();
    if (people_batch_finish(belt.people, passes->sink, passes->sink_ctx, err) < 0)
        return -1;
    note_time(passes, 4, &from_us);
    spent_as_cpu(passes, cpu_us(passes) - began_us);
    return 0;
}
