/* catalog/catalog_restrictions.c - what is done with some of a project's events.
 *
 * Why a list and no index: a project has none or a handful, made by hand in a bad hour. A list that is held
 * against each event costs some nanoseconds an entry, and its bound (CATALOG_RESTRICTIONS_MAX) keeps that small. */
#include "catalog/catalog_db.h"

#include "base/clock.h"
#include "wire/utf8.h"

#define ACTION_NAME(suffix, name, help) name,
#define ACTION_HELP(suffix, name, help) help,
static const char *const action_names[] = { CATALOG_ACTIONS(ACTION_NAME) };
static const char *const action_helps[] = { CATALOG_ACTIONS(ACTION_HELP) };

const char *catalog_action_name(enum catalog_action action)
{
    return action_names[action];
}

const char *catalog_action_help(enum catalog_action action)
{
    return action_helps[action];
}

bool catalog_action_find(const char *name, enum catalog_action *out)
{
    for (size_t i = 0; i < CATALOG_ACTION_COUNT; i++)
        if (strcmp(name, action_names[i]) == 0) {
            *out = (enum catalog_action)i;
            return true;
        }
    return false;
}

/* --- changes ----------------------------------------------------------------------------------- */

static int condition_check(const char *what, struct span text, struct err *err)
{
    if (text.bytes > CATALOG_RESTRICTION_BYTES_MAX)
        return err_set(err, ERR_INPUT, "%s has %zu bytes; a condition has at most %d", what, text.bytes,
                       CATALOG_RESTRICTION_BYTES_MAX);
    if (text.bytes > 0 && (!utf8_valid(text) || memchr(text.at, 0, text.bytes) != NULL))
        return err_set(err, ERR_INPUT, "%s is not UTF-8 text", what);
    return 0;
}

static int restriction_check(const struct catalog_restriction *restriction, struct err *err)
{
    if (condition_check("the token", restriction->token, err) < 0 ||
        condition_check("the distinct id", restriction->distinct_id, err) < 0 ||
        condition_check("the event's name", restriction->event, err) < 0 ||
        condition_check("the property's name", restriction->property, err) < 0 ||
        condition_check("the property's value", restriction->value, err) < 0)
        return -1;
    if (restriction->property.bytes > 0 && restriction->action != CATALOG_FILTER)
        return err_set(err, ERR_INPUT, "a property is a condition of the action filter only");
    if (restriction->action == CATALOG_FILTER && restriction->property.bytes == 0 && restriction->event.bytes == 0)
        return err_set(err, ERR_INPUT, "a filter names an event, a property, or both");
    return 0;
}

static int restriction_room(struct catalog *catalog, uint32_t project, struct err *err)
{
    int64_t found = 0, count = 0;
    int got;

    catalog_db_bind_int(catalog, CATALOG_PROJECT_EXISTS, 1, project);
    got = catalog_db_row(catalog, CATALOG_PROJECT_EXISTS, err);
    found = got == 1;
    catalog_db_reset(catalog, CATALOG_PROJECT_EXISTS);
    if (got < 0)
        return -1;
    if (!found)
        return err_set(err, ERR_INPUT, "there is no project %u", project);
    catalog_db_bind_int(catalog, CATALOG_RESTRICTIONS_OF, 1, project);
    if (catalog_db_number(catalog, CATALOG_RESTRICTIONS_OF, &count, err) < 0)
        return -1;
    if (count >= CATALOG_RESTRICTIONS_MAX)
        return err_set(err, ERR_INPUT, "project %u has %d restrictions, which is the limit; remove some", project,
                       CATALOG_RESTRICTIONS_MAX);
    return 0;
}

int catalog_restriction_add(struct catalog *catalog, const struct catalog_restriction *restriction, uint32_t *id_out,
                            struct err *err)
{
    char          uuid[UUID_TEXT_BYTES];
    int64_t       id = 0;
    int rc;

    if (restriction_check(restriction, err) < 0 || catalog_write_begin(catalog, err) < 0)
        return -1;
    rc = restriction_room(catalog, restriction->project, err);
    if (rc == 0) {
        if (restriction->has_uuid)
            uuid_format(&restriction->uuid, uuid);
        catalog_db_bind_int(catalog, CATALOG_RESTRICTION_ADD, 1, restriction->project);
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 2, span_text(catalog_action_name(restriction->action)));
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 3, restriction->token);
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 4, restriction->distinct_id);
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 5, restriction->event);
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 6, span_of(uuid, restriction->has_uuid ? sizeof uuid : 0));
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 7, restriction->property);
        catalog_db_bind_text(catalog, CATALOG_RESTRICTION_ADD, 8, restriction->value);
        catalog_db_bind_int(catalog, CATALOG_RESTRICTION_ADD, 9, clock_wall_us());
        rc = catalog_db_number(catalog, CATALOG_RESTRICTION_ADD, &id, err);
    }
    if (catalog_write_end(catalog, rc, err) < 0)
        return -1;
    *id_out = (uint32_t)id;
    return 0;
}

int catalog_restriction_remove(struct catalog *catalog, uint32_t id, struct err *err)
{
    int rc;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_int(catalog, CATALOG_RESTRICTION_REMOVE, 1, id);
    rc = catalog_db_run(catalog, CATALOG_RESTRICTION_REMOVE, err);
    if (rc == 0 && catalog_db_changed(catalog) == 0)
        rc = err_set(err, ERR_INPUT, "there is no restriction %u; penstock restrict list shows them", id);
    return catalog_write_end(catalog, rc, err);
}

/* --- of a snapshot ----------------------------------------------------------------------------- */

struct span catalog_column_copy(struct catalog *catalog, enum catalog_statement which, int column, struct arena *arena)
{
    struct span text = catalog_db_text(catalog, which, column);

    return text.bytes == 0 ? SPAN("") : arena_copy(arena, text);
}

int catalog_restriction_read(struct catalog *catalog, struct arena *arena, struct catalog_restriction *out)
{
    enum catalog_statement which = CATALOG_RESTRICTIONS;
    struct span            uuid;

    *out = (struct catalog_restriction){
        .id = (uint32_t)catalog_db_int(catalog, which, 0),
        .project = (uint32_t)catalog_db_int(catalog, which, 1),
        .token = catalog_column_copy(catalog, which, 3, arena),
        .distinct_id = catalog_column_copy(catalog, which, 4, arena),
        .event = catalog_column_copy(catalog, which, 5, arena),
        .property = catalog_column_copy(catalog, which, 7, arena),
        .value = catalog_column_copy(catalog, which, 8, arena),
        .created_us = catalog_db_int(catalog, which, 9),
    };
    uuid = catalog_column_copy(catalog, which, 6, arena);
    if (out->token.at == NULL || out->distinct_id.at == NULL || out->event.at == NULL || out->property.at == NULL ||
        out->value.at == NULL || uuid.at == NULL)
        return -1;
    out->has_uuid = uuid.bytes > 0;
    return catalog_action_find((const char *)catalog_db_text(catalog, which, 2).at, &out->action) && (uuid.bytes == 0 || uuid_parse(uuid, &out->uuid));
}

static inline bool condition_holds(struct span wanted, struct span is)
{
    return wanted.bytes == 0 || span_equal(wanted, is);
}

bool catalog_restriction_holds(const struct catalog_restriction *restriction, struct span token, struct span distinct_id,
                               struct span event, const struct uuid *uuid)
{
    return condition_holds(restriction->event, event) && condition_holds(restriction->distinct_id, distinct_id) &&
           condition_holds(restriction->token, token) && (!restriction->has_uuid || uuid_equal(&restriction->uuid, uuid));
}

unsigned catalog_restrictions_ask(const struct catalog_project *project, struct span token, struct span distinct_id,
                                  struct span event, const struct uuid *uuid)
{
    unsigned asked = 0;

    for (size_t i = 0; i < project->restriction_count; i++)
        if (project->restrictions[i].property.bytes == 0 &&
            catalog_restriction_holds(&project->restrictions[i], token, distinct_id, event, uuid))
            asked |= 1u << project->restrictions[i].action;
    return asked;
}
