/* people/trim.c - a person or group that is larger than it may be loses properties until it fits.
 *
 * No event can make one: what would grow past the limit is refused. But the limit may have been another when they
 * were stored, and refusing every change from then on would freeze the person for good. So with its next change it
 * is cut to size: first what is neither protected nor of this event, in the order of names (anything that is the
 * same on every machine would do), then, should that not suffice, what this event brought. Protected is what
 * people look persons up by, and what every event tells anew. */
#include <stdlib.h>

#include "people/batch_parts.h"

/* Sorted as strcmp sorts. `$initial_` of the campaign and referrer keys: see is_protected. */
static const char *const protected_keys[] = {
    "$anon_distinct_id",
    "$app_build",
    "$app_name",
    "$app_namespace",
    "$app_version",
    "$browser",
    "$browser_version",
    "$current_url",
    "$device_id",
    "$device_type",
    "$host",
    "$initial_referrer",
    "$initial_referring_domain",
    "$initial_utm_campaign",
    "$initial_utm_content",
    "$initial_utm_medium",
    "$initial_utm_source",
    "$initial_utm_term",
    "$os",
    "$os_name",
    "$os_version",
    "$pageview_id",
    "$pathname",
    "$raw_user_agent",
    "$referrer",
    "$referring_domain",
    "$screen_height",
    "$screen_width",
    "$session_id",
    "$user_id",
    "$viewport_height",
    "$viewport_width",
    "$window_id",
    "_kx",
    "dclid",
    "email",
    "epik",
    "fbclid",
    "gad_source",
    "gbraid",
    "gclid",
    "gclsrc",
    "igshid",
    "irclid",
    "li_fat_id",
    "mc_cid",
    "msclkid",
    "name",
    "qclid",
    "rdt_cid",
    "sccid",
    "ttclid",
    "twclid",
    "utm_campaign",
    "utm_content",
    "utm_medium",
    "utm_name",
    "utm_source",
    "utm_term",
    "wbraid",
};

static int protected_order(const void *key, const void *entry)
{
    return span_compare(*(const struct span *)key, span_text(*(const char *const *)entry));
}

static bool is_protected(struct span key)
{
    return bsearch(&key, protected_keys, sizeof protected_keys / sizeof *protected_keys, sizeof *protected_keys,
                   protected_order) != NULL;
}

struct candidate {
    struct property *property;
    bool             fresh; /* of this event */
};

static int candidate_order(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->fresh != y->fresh)
        return x->fresh ? 1 : -1;
    return span_compare(x->property->key, y->property->key);
}

static bool is_among(const struct json_members *members, struct span key)
{
    return members != NULL && json_members_find(members, key) != NULL;
}

int properties_trim(struct properties *properties, const struct json_members *set, const struct json_members *set_once,
                    bool group, struct arena *arena, size_t *trimmed_out, struct err *err)
{
    struct candidate *candidates = arena_alloc_array(arena, properties->count, sizeof *candidates);
    size_t count = 0, bytes = properties->bytes, gone = 0;

    if (candidates == NULL)
        return err_set(err, ERR_FULL, "people: %zu properties do not fit the batch's arena", properties->count);
    for (size_t i = 0; i < properties->count; i++) {
        struct property *property = &properties->at[i];

        if (group || !is_protected(property->key))
            candidates[count++] = (struct candidate){
                property, is_among(set, property->key) || is_among(set_once, property->key)
            };
    }
    qsort(candidates, count, sizeof *candidates, candidate_order);
    while (gone < count && bytes > PEOPLE_PERSON_PROPERTIES_BYTES_MAX) {
        struct property *property = candidates[gone++].property;

        property->gone = true;
        bytes -= properties_member_bytes(property->key_raw, property->value.raw);
    }
    properties_sweep(properties);
    *trimmed_out = gone;
    return 0;
}
