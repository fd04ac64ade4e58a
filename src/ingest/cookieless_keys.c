/* ingest/cookieless_keys.c - what an event in cookieless mode says of its visitor: read once, then taken out. */
#include "ingest/normalize_work.h"

#include "ingest/cookieless.h"
#include "ingest/root_domain.h"
#include "wire/time.h"
#include "wire/utf8.h"

#define DAYS_AROUND_US (10 * TIME_US_DAY) /* farther from now no zone makes a day valid */

/* What is missing, as its warning and fate say it. */
static void drop_without(struct work *work, enum fate fate, enum warning_type type, const char *property)
{
    struct warning *warning = warning_add(&work->item->warnings, type);

    item_decide(work->item, fate);
    warning_text(warning, "event", work->item->name);
    if (property != NULL)
        warning_text(warning, "missingProperty", span_text(property));
}

/* bytes 0: nothing that could be used. */
static struct span text_of(struct work *work, enum property_key key)
{
    const struct json_value *value = member_list_get(&work->properties, key);
    struct span              text;

    return value_truthy(value) && value_as_text(value, work->env->arena, &text) ? text : SPAN("");
}

static bool read_visitor(struct work *work, struct visitor *visitor)
{
    struct span host = text_of(work, KEY_HOST);

    visitor->agent = text_of(work, KEY_RAW_USER_AGENT);
    visitor->ip = text_of(work, KEY_IP);
    if (!value_truthy(member_list_get(&work->properties, KEY_IP)))
        visitor->ip = work->item->record.ip;
    if (visitor->agent.bytes == 0)
        drop_without(work, FATE_COOKIELESS_NO_AGENT, WARNING_COOKIELESS_NO_AGENT, "$raw_user_agent");
    else if (visitor->ip.bytes == 0)
        drop_without(work, FATE_COOKIELESS_NO_IP, WARNING_COOKIELESS_NO_IP, "$ip");
    else if (host.bytes == 0)
        drop_without(work, FATE_COOKIELESS_NO_HOST, WARNING_COOKIELESS_NO_HOST, "$host");
    if (!item_pending(work->item))
        return false;
    visitor->domain = root_domain(host, work->env->arena);
    visitor->extra = utf8_cut_utf16(text_of(work, KEY_COOKIELESS_EXTRA), COOKIELESS_EXTRA_UNITS_MAX);
    visitor->stateful = work->item->project->cookieless == CATALOG_COOKIELESS_STATEFUL;
    return true;
}

/* The event's own zone, else the project's, else UTC. */
static void find_zone(struct work *work, struct zone *out)
{
    const struct zone *zone = NULL;

    if (work->env->zones != NULL) {
        zone = zones_find(work->env->zones, text_of(work, KEY_TIMEZONE));
        if (zone == NULL)
            zone = zones_find(work->env->zones, span_text(work->item->project->time_zone));
    }
    if (zone == NULL)
        zone_init_utc(out);
    else
        *out = *zone;
}

static void find_day(struct work *work, struct visitor *visitor)
{
    int64_t     at_us = work->item->record.timestamp_us, now_us = work->env->now_us, ago_us, day;
    struct zone zone;

    if (__builtin_sub_overflow(now_us, at_us, &ago_us) || ago_us > DAYS_AROUND_US || ago_us < -DAYS_AROUND_US || at_us < 0) {
        drop_without(work, FATE_COOKIELESS_RANGE, WARNING_COOKIELESS_RANGE, NULL);
        return;
    }
    find_zone(work, &zone);
    day = zone_day(&zone, at_us / TIME_US_S);
    if (day < 0 || !cookieless_day_valid(day, now_us)) {
        drop_without(work, FATE_COOKIELESS_RANGE, WARNING_COOKIELESS_RANGE, NULL);
        return;
    }
    visitor->day = (uint32_t)day;
    visitor->day_start_ms = zone_day_start(&zone, day) * 1000;
}

/* Places for the ids that come later: null until then. */
static void leave_room(struct work *work, bool stateful)
{
    struct member_list *properties = &work->properties;

    member_list_remove(properties, KEY_IP);
    member_list_remove(properties, KEY_RAW_USER_AGENT);
    member_list_remove(properties, KEY_COOKIELESS_EXTRA);
    if (stateful)
        member_list_remove(properties, KEY_DISTINCT_ID);
    else
        member_list_put(properties, KEY_DISTINCT_ID, SPAN("null"));
    member_list_put(properties, KEY_DEVICE_ID, SPAN("null"));
    member_list_put(properties, KEY_SESSION_ID, SPAN("null"));
    if (work->item->kind == EVENT_IDENTIFY)
        member_list_put(properties, KEY_ANON_DISTINCT_ID, SPAN("null"));
}

int cookieless_keys_take(struct work *work, struct err *err)
{
    struct item            *item = work->item;
    enum catalog_cookieless mode = item->project->cookieless;
    struct visitor         *visitor;

    if (!value_truthy(member_list_get(&work->properties, KEY_COOKIELESS_MODE)))
        return 0;
    work->cookieless = true;
    if (item->kind == EVENT_ALIAS || item->kind == EVENT_MERGE)
        item_decide(item, FATE_COOKIELESS_UNSUPPORTED);
    else if (item->kind == EVENT_IDENTIFY && mode == CATALOG_COOKIELESS_STATELESS)
        item_decide(item, FATE_COOKIELESS_NO_IDENTIFY);
    else if (mode == CATALOG_COOKIELESS_OFF)
        item_decide(item, FATE_COOKIELESS_OFF);
    if (!item_pending(item))
        return 0;
    visitor = arena_alloc_zero(work->env->arena, sizeof *visitor);
    if (visitor == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a visitor");
    if (!read_visitor(work, visitor))
        return 0;
    find_day(work, visitor);
    if (!item_pending(item))
        return 0;
    if (visitor->domain.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a visitor's domain");
    leave_room(work, visitor->stateful);
    item->visitor = visitor;
    return 0;
}

void cookieless_keys_strip(struct work *work)
{
    static const enum property_key keys[] = { KEY_IP, KEY_RAW_USER_AGENT, KEY_COOKIELESS_EXTRA };

    if (!work->cookieless)
        return;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        member_list_remove(&work->set, keys[i]);
        member_list_remove(&work->set_once, keys[i]);
    }
    member_list_remove(&work->set_once, KEY_INITIAL_RAW_USER_AGENT);
}
