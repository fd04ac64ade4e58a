/* ingest/definer.c - shapes and names that are known already, and what to do about the others.
 *
 * Memory is a set-associative table of 64-bit hashes, shapes and names alike: no list to walk, nothing that
 * strangers can make grow. Two names with one hash would hide the second one's definition; the hash has a
 * secret of this process, so nobody can aim at that, and by chance it happens once in 10^13 new names.
 * Whether a value tells a type is part of a name's hash: so a property whose first values were null is asked
 * again when a value comes, and at no other time. */
#include "ingest/definer.h"

#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ingest/property_key.h"
#include "ingest/property_type.h"
#include "wire/time.h"

enum { WAYS = 8, SETS = 1 << 15 }; /* 262,144 hashes, 2 MiB */

/* Starts of hashes, so that equal texts of different kinds differ. */
enum { OF_EVENT = 1, OF_PAIR, OF_PROPERTY, OF_SHAPE = OF_PROPERTY + 8 };

struct definer {
    uint64_t seed;
    uint64_t known[SETS][WAYS]; /* 0: free; the latest stand first */
};

struct definer *definer_new(void)
{
    struct definer *definer = calloc(1, sizeof *definer);

    if (definer != NULL && getrandom(&definer->seed, sizeof definer->seed, 0) != sizeof definer->seed)
        definer->seed = (uint64_t)(uintptr_t)definer;
    return definer;
}

void definer_free(struct definer *definer)
{
    free(definer);
}

void definer_abort(struct definer *definer)
{
    memset(definer->known, 0, sizeof definer->known);
}

/* --- what is remembered ------------------------------------------------------------------------ */

static inline uint64_t hash_name(const struct definer *definer, struct span name)
{
    return XXH3_64bits_withSeed(name.at, name.bytes, definer->seed);
}

static inline uint64_t mix(uint64_t hash, uint64_t with)
{
    hash = (hash ^ with) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static inline uint64_t *set_of(struct definer *definer, uint64_t hash)
{
    return definer->known[hash >> 40 & (SETS - 1)];
}

static bool is_known(struct definer *definer, uint64_t hash)
{
    uint64_t *set = set_of(definer, hash);

    for (int i = 0; i < WAYS; i++)
        if (set[i] == (hash | 1))
            return true;
    return false;
}

static void learn(struct definer *definer, uint64_t hash)
{
    uint64_t *set = set_of(definer, hash);

    memmove(set + 1, set, (WAYS - 1) * sizeof *set);
    set[0] = hash | 1;
}

/* --- one name ---------------------------------------------------------------------------------- */

struct work {
    struct definer           *definer;
    const struct definer_env *env;
    struct item              *item;
    uint64_t                  event_hash; /* of project and name */
};

static bool name_fits(struct span name)
{
    return name.bytes > 0 && name.bytes <= DEFINITION_NAME_BYTES_MAX;
}

static void warn_full(struct work *work, const char *kind, int64_t limit)
{
    struct warning *warning = warning_add(&work->item->warnings, WARNING_DEFINITIONS);

    if (warning != NULL)
        warning->key = span_text(kind);
    warning_text(warning, "event", work->item->name);
    warning_text(warning, "kind", span_text(kind));
    warning_number(&work->item->warnings, warning, "limit", limit);
}

static int define_event(struct work *work, int64_t hour_us, struct err *err)
{
    const struct definer_env *env = work->env;
    uint32_t                  project = work->item->project->id;
    uint64_t                  hash = mix(work->event_hash, OF_EVENT + (uint64_t)hour_us);
    struct definition         definition;
    struct row                row;
    int                       answer;

    if (is_known(work->definer, hash))
        return 0;
    answer = people_define_event(env->txn, project, work->item->name, hour_us, env->now_us, &definition, err);
    if (answer < 0)
        return -1;
    learn(work->definer, hash);
    if (answer == DEFINITION_FULL)
        warn_full(work, "events", DEFINITION_EVENTS_MAX);
    if (answer != DEFINITION_CHANGED)
        return 0;
    row_init(&row, ROW_EVENT_DEFINITION);
    row_set_i64(&row, ROW_EVENT_DEFINITION_TEAM_ID, project);
    row_set_text(&row, ROW_EVENT_DEFINITION_NAME, work->item->name);
    row_set_i64(&row, ROW_EVENT_DEFINITION_CREATED_AT, definition.created_us);
    row_set_i64(&row, ROW_EVENT_DEFINITION_LAST_SEEN_AT, definition.last_seen_us);
    row_set_i64(&row, ROW_EVENT_DEFINITION_VERSION, (int64_t)definition.version);
    return env->sink(env->sink_ctx, &row, err);
}

static int define_pair(struct work *work, struct span name, uint64_t name_hash, struct err *err)
{
    const struct definer_env *env = work->env;
    uint32_t                  project = work->item->project->id;
    uint64_t                  hash = mix(mix(work->event_hash, OF_PAIR), name_hash);
    struct row                row;
    int                       answer;

    if (is_known(work->definer, hash))
        return 0;
    answer = people_define_pair(env->txn, project, work->item->name, name, err);
    if (answer < 0)
        return -1;
    learn(work->definer, hash);
    if (answer == DEFINITION_FULL)
        warn_full(work, "event_properties", DEFINITION_PAIRS_MAX);
    if (answer != DEFINITION_CHANGED)
        return 0;
    row_init(&row, ROW_EVENT_PROPERTY);
    row_set_i64(&row, ROW_EVENT_PROPERTY_TEAM_ID, project);
    row_set_text(&row, ROW_EVENT_PROPERTY_EVENT, work->item->name);
    row_set_text(&row, ROW_EVENT_PROPERTY_PROPERTY, name);
    row_set_i64(&row, ROW_EVENT_PROPERTY_CREATED_AT, env->now_us);
    return env->sink(env->sink_ctx, &row, err);
}

static int define_property(struct work *work, enum definition_parent parent, int group, const struct json_member *member,
                           uint64_t name_hash, struct err *err)
{
    const struct definer_env *env = work->env;
    uint32_t                  project = work->item->project->id;
    bool                      told = property_type_told(member->key, &member->value);
    uint64_t                  owner = OF_PROPERTY + (uint64_t)parent + (parent == DEFINITION_OF_GROUP ? (uint64_t)group : 0);
    uint64_t                  hash = mix(mix(name_hash, (uint64_t)project << 8 | owner), told);
    enum definition_type      type = DEFINITION_UNTYPED;
    struct definition         definition;
    struct row                row;
    int                       answer;

    if (is_known(work->definer, hash))
        return 0;
    if (told)
        type = property_type_detect(member->key, &member->value, env->now_us, env->arena);
    answer = people_define_property(env->txn, project, parent, group, member->key, type, env->now_us, &definition, err);
    if (answer < 0)
        return -1;
    learn(work->definer, hash);
    if (answer == DEFINITION_FULL)
        warn_full(work, "properties", DEFINITION_PROPERTIES_MAX);
    if (answer != DEFINITION_CHANGED)
        return 0;
    row_init(&row, ROW_PROPERTY_DEFINITION);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_TEAM_ID, project);
    row_set_text(&row, ROW_PROPERTY_DEFINITION_NAME, member->key);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_PARENT, parent);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_GROUP_TYPE_INDEX, group);
    if (definition.type != DEFINITION_UNTYPED)
        row_set_text(&row, ROW_PROPERTY_DEFINITION_TYPE, property_type_name(definition.type));
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_IS_NUMERICAL, definition.type == DEFINITION_NUMERIC);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_CREATED_AT, definition.created_us);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_VERSION, (int64_t)definition.version);
    return env->sink(env->sink_ctx, &row, err);
}

/* --- lists of names ---------------------------------------------------------------------------- */

/* What says something about person and groups is told there. */
static bool is_passed_over(struct span name)
{
    static const enum property_key keys[] = { KEY_SET,     KEY_SET_ONCE, KEY_UNSET,   KEY_GROUPS, KEY_GROUP_0,
                                              KEY_GROUP_1, KEY_GROUP_2,  KEY_GROUP_3, KEY_GROUP_4 };

    if (name.bytes < 4 || name.bytes > 9 || name.at[0] != '$')
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (span_equal(name, property_key_texts[keys[i]].name))
            return true;
    return false;
}

/* Flags stand on nearly every event: the pairs would say nothing. */
static bool has_no_pair(struct span name)
{
    return span_starts(name, SPAN("$feature/")) || span_starts(name, SPAN("$feature_enrollment/"));
}

static int define_of_event(struct work *work, struct err *err)
{
    const struct json_members *list = &work->item->properties;

    for (size_t i = 0; i < list->count; i++) {
        const struct json_member *member = &list->at[i];
        uint64_t                  hash;

        if (!name_fits(member->key) || is_passed_over(member->key))
            continue;
        hash = hash_name(work->definer, member->key);
        if (!has_no_pair(member->key) && define_pair(work, member->key, hash, err) < 0)
            return -1;
        if (define_property(work, DEFINITION_OF_EVENT, -1, member, hash, err) < 0)
            return -1;
    }
    return 0;
}

static int define_of(struct work *work, enum definition_parent parent, int group, const struct json_members *list,
                     struct err *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (name_fits(list->at[i].key) &&
            define_property(work, parent, group, &list->at[i], hash_name(work->definer, list->at[i].key), err) < 0)
            return -1;
    return 0;
}

/* --- one event --------------------------------------------------------------------------------- */

static bool is_group_identify(const struct item *item)
{
    return item->kind == EVENT_GROUP_IDENTIFY;
}

/* The group whose properties the event tells; -1: none. */
static int group_told(const struct item *item)
{
    return item->group_identify && item->group_own.found.found ? item->group_own.found.index : -1;
}

static uint64_t mix_list(const struct definer *definer, uint64_t hash, const struct json_members *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct json_member *member = &list->at[i];
        bool told = member->value.kind != JSON_NULL && member->value.kind != JSON_ARRAY && member->value.kind != JSON_OBJECT;

        /* a tag stands for its name (member_list.h), without a look at that */
        hash = mix(hash, (member->value.tag != 0 ? 2 * (uint64_t)member->value.tag : hash_name(definer, member->key)) + told);
    }
    return mix(hash, list->count);
}

/* Of all that the event tells. */
static uint64_t shape_of(const struct work *work, int64_t hour_us)
{
    const struct item *item = work->item;
    uint64_t           hash = mix(mix(work->event_hash, OF_SHAPE), (uint64_t)hour_us);

    if (is_group_identify(item))
        return mix_list(work->definer, mix(hash, (uint64_t)group_told(item) + 2), &item->group_set);
    hash = mix_list(work->definer, hash, &item->properties);
    hash = mix_list(work->definer, hash, &item->set);
    return mix_list(work->definer, hash, &item->set_once);
}

/* Exact only where it is near the limit. */
static size_t count_updates(const struct item *item)
{
    size_t count = 1;

    if (is_group_identify(item))
        return count + item->group_set.count;
    if (2 * item->properties.count + item->set.count + item->set_once.count < DEFINER_UPDATES_MAX)
        return count;
    for (size_t i = 0; i < item->properties.count; i++)
        if (name_fits(item->properties.at[i].key) && !is_passed_over(item->properties.at[i].key))
            count += has_no_pair(item->properties.at[i].key) ? 1 : 2;
    for (size_t i = 0; i < item->set.count; i++)
        count += name_fits(item->set.at[i].key);
    for (size_t i = 0; i < item->set_once.count; i++)
        count += name_fits(item->set_once.at[i].key);
    return count;
}

int64_t definer_hour(uint32_t project, struct span name, int64_t now_us)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: the same minute at every start */
    int64_t  offset_s, shifted_s;

    for (int i = 0; i < 4; i++)
        hash = (hash ^ (project >> 8 * i & 0xff)) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < name.bytes; i++)
        hash = (hash ^ name.at[i]) * UINT64_C(0x100000001b3);
    offset_s = (int64_t)(hash % 3600);
    shifted_s = now_us / TIME_US_S + offset_s;
    return (shifted_s - shifted_s % 3600 - offset_s) * TIME_US_S;
}

int definer_item(struct definer *definer, const struct definer_env *env, struct item *item, struct err *err)
{
    struct work work = { .definer = definer, .env = env, .item = item };
    uint64_t    shape;
    int64_t     hour_us;

    if (!name_fits(item->name) || span_is(item->name, "$$plugin_metrics") || count_updates(item) > DEFINER_UPDATES_MAX)
        return 0;
    hour_us = definer_hour(item->project->id, item->name, env->now_us);
    work.event_hash = mix(hash_name(definer, item->name), item->project->id);
    shape = shape_of(&work, hour_us);
    if (is_known(definer, shape))
        return 0;
    if (define_event(&work, hour_us, err) < 0)
        return -1;
    if (is_group_identify(item)) {
        if (group_told(item) >= 0 &&
            define_of(&work, DEFINITION_OF_GROUP, group_told(item), &item->group_set, err) < 0)
            return -1;
    } else if (define_of_event(&work, err) < 0 || define_of(&work, DEFINITION_OF_PERSON, -1, &item->set, err) < 0 ||
               define_of(&work, DEFINITION_OF_PERSON, -1, &item->set_once, err) < 0) {
        return -1;
    }
    learn(definer, shape);
    return 0;
}
