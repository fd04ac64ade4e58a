/* ingest/project_rules.c - what a project's people decided about their events: restrictions, age, filters.
 *
 * Restrictions are asked before an event's JSON is read: they are the way out when just reading it does harm.
 * Filters come after the checks of the event itself, so that a faulty event is told as faulty. */
#include "ingest/normalize_work.h"

#include "wire/time.h"

void project_restrict(struct work *work)
{
    struct item         *item = work->item;
    const struct record *record = &item->record;

    if (item->project->restriction_count == 0)
        return;
    work->restrictions =
        catalog_restrictions_ask(item->project, record->token, record->distinct_id, record->event, &record->uuid);
    if ((work->restrictions & 1u << CATALOG_DROP) != 0)
        item_decide(item, FATE_BLOCKED_TOKEN);
    else if ((work->restrictions & 1u << CATALOG_DEAD_LETTER) != 0)
        item_bury(item, "restrictions", "restricted_to_dlq", SPAN("a restriction of the project: penstock restrict list"),
                  work->env->arena);
}

/* --- age --------------------------------------------------------------------------------------- */

static void drop_old(struct work *work)
{
    enum { TIME_BYTES_MAX = 64 };
    struct item    *item = work->item;
    int64_t         limit_s = item->project->drop_older_than_s, age_us;
    struct warning *warning;
    uint8_t        *text;
    struct buf      time;

    if (limit_s <= 0 || limit_s > INT64_MAX / TIME_US_S ||
        __builtin_sub_overflow(item->record.received_us, item->record.timestamp_us, &age_us) ||
        age_us <= limit_s * TIME_US_S)
        return;
    item_decide(item, FATE_EVENT_TOO_OLD);
    warning = warning_add(&item->warnings, WARNING_TOO_OLD);
    warning_text(warning, "event", item->name);
    text = arena_alloc(work->env->arena, TIME_BYTES_MAX);
    if (text == NULL)
        return;
    buf_init_over(&time, text, TIME_BYTES_MAX);
    time_write_rfc3339(&time, item->record.timestamp_us);
    warning_text(warning, "eventTimestamp", buf_span(&time));
    warning_number(&item->warnings, warning, "ageInSeconds", age_us / TIME_US_S);
    warning_number(&item->warnings, warning, "dropThresholdSeconds", limit_s);
}

/* --- filters ----------------------------------------------------------------------------------- */

/* A text is compared as text, everything else as the JSON that was sent. 1, 0, -1: ERR_FULL. */
static int filter_fits(const struct work *work, const struct catalog_restriction *filter, struct err *err)
{
    for (size_t i = 0; i < work->properties.count; i++) {
        const struct json_member *member = &work->properties.at[i];
        struct span               text = member->value.raw;

        if (!span_equal(member->key, filter->property))
            continue;
        if (member->value.kind == JSON_STRING)
            text = json_text(&member->value, work->env->arena);
        if (text.at == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for a property");
        return span_equal(text, filter->value) ? 1 : 0;
    }
    return 0;
}

static int drop_filtered(struct work *work, struct err *err)
{
    struct item         *item = work->item;
    const struct record *record = &item->record;
    int                  fits = (work->restrictions & 1u << CATALOG_FILTER) != 0;

    for (size_t i = 0; i < item->project->restriction_count && fits == 0; i++) {
        const struct catalog_restriction *filter = &item->project->restrictions[i];

        if (filter->property.bytes > 0 &&
            catalog_restriction_holds(filter, record->token, record->distinct_id, record->event, &record->uuid))
            fits = filter_fits(work, filter, err);
    }
    if (fits > 0)
        item_decide(item, FATE_EVENT_FILTERED);
    return fits < 0 ? -1 : 0;
}

int project_drop(struct work *work, struct err *err)
{
    drop_old(work);
    return item_pending(work->item) && work->item->project->restriction_count > 0 ? drop_filtered(work, err) : 0;
}
