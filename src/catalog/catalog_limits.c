/* catalog/catalog_limits.c - quotas and limits: how much of a project's, or of one token's, is taken.
 *
 * Why a quota is a time and not a number: who counts what a project may send is somebody else (a bill, a person), and
 * what capture has to know is until when it must not take more. The time passes by itself: a quota that nobody
 * takes away ends. */
#include "catalog/catalog_db.h"

#include "base/clock.h"

#define RESOURCE_NAME(suffix, name, tag, help) name,
#define RESOURCE_TAG(suffix, name, tag, help) tag,
#define LIMIT_NAME(suffix, name, help) name,
static const char *const resource_names[] = { CATALOG_RESOURCES(RESOURCE_NAME) };
static const char *const resource_tags[] = { CATALOG_RESOURCES(RESOURCE_TAG) };
static const char *const limit_names[] = { CATALOG_LIMITS(LIMIT_NAME) };

const char *catalog_resource_name(enum catalog_resource resource)
{
    return resource_names[resource];
}

const char *catalog_resource_tag(enum catalog_resource resource)
{
    return resource_tags[resource];
}

bool catalog_resource_find(const char *name, enum catalog_resource *out)
{
    for (size_t i = 0; i < CATALOG_RESOURCE_COUNT; i++)
        if (strcmp(name, resource_names[i]) == 0) {
            *out = (enum catalog_resource)i;
            return true;
        }
    return false;
}

enum catalog_resource catalog_resource_of(struct span event, bool product_tour)
{
    if (span_starts(event, SPAN("$ai_")))
        return CATALOG_LLM_EVENTS;
    if (span_is(event, "$exception"))
        return CATALOG_EXCEPTIONS;
    if (!product_tour &&
        (span_is(event, "survey sent") || span_is(event, "survey shown") || span_is(event, "survey dismissed")))
        return CATALOG_SURVEYS;
    return CATALOG_EVENTS;
}

const char *catalog_limit_name(enum catalog_limit_kind kind)
{
    return limit_names[kind];
}

bool catalog_limit_find(const char *name, enum catalog_limit_kind *out)
{
    for (size_t i = 0; i < CATALOG_LIMIT_KIND_COUNT; i++)
        if (strcmp(name, limit_names[i]) == 0) {
            *out = (enum catalog_limit_kind)i;
            return true;
        }
    return false;
}

/* --- changes ----------------------------------------------------------------------------------- */

/* Whether there is such a project, with such a token. */
static int owner_check(struct catalog *catalog, uint32_t project, struct span token, struct err *err)
{
    bool its = false;
    int got;

    catalog_db_bind_int(catalog, CATALOG_PROJECT_EXISTS, 1, project);
    got = catalog_db_row(catalog, CATALOG_PROJECT_EXISTS, err);
    catalog_db_reset(catalog, CATALOG_PROJECT_EXISTS);
    if (got <= 0)
        return got < 0 ? -1 : err_set(err, ERR_INPUT, "there is no project %u", project);
    if (token.bytes == 0)
        return 0;
    if (token.bytes <= CATALOG_TOKEN_BYTES_MAX) {
        catalog_db_bind_text(catalog, CATALOG_TOKEN_FIND, 1, token);
        got = catalog_db_row(catalog, CATALOG_TOKEN_FIND, err);
        its = got == 1 && catalog_db_int(catalog, CATALOG_TOKEN_FIND, 0) == project && catalog_db_int(catalog, CATALOG_TOKEN_FIND, 1) == 0;
        catalog_db_reset(catalog, CATALOG_TOKEN_FIND);
        if (got < 0)
            return -1;
    }
    return its ? 0 : err_set(err, ERR_INPUT, "project %u has no token %.*s; penstock token list shows them", project,
                             (int)(token.bytes < 80 ? token.bytes : 80), (const char *)token.at);
}

int catalog_quota_set(struct catalog *catalog, const struct catalog_quota *quota, struct err *err)
{
    int rc;

    if (quota->until_us <= 0)
        return err_set(err, ERR_INPUT, "a quota ends at a time after 1970; to end one now: penstock quota remove");
    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    rc = owner_check(catalog, quota->project, quota->token, err);
    if (rc == 0) {
        catalog_db_bind_int(catalog, CATALOG_QUOTA_SET, 1, quota->project);
        catalog_db_bind_text(catalog, CATALOG_QUOTA_SET, 2, quota->token);
        catalog_db_bind_text(catalog, CATALOG_QUOTA_SET, 3, span_text(catalog_resource_name(quota->resource)));
        catalog_db_bind_int(catalog, CATALOG_QUOTA_SET, 4, quota->until_us);
        catalog_db_bind_int(catalog, CATALOG_QUOTA_SET, 5, clock_wall_us());
        rc = catalog_db_run(catalog, CATALOG_QUOTA_SET, err);
    }
    return catalog_write_end(catalog, rc, err);
}

int catalog_quota_remove(struct catalog *catalog, const struct catalog_quota *quota, struct err *err)
{
    int rc;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_int(catalog, CATALOG_QUOTA_REMOVE, 1, quota->project);
    catalog_db_bind_text(catalog, CATALOG_QUOTA_REMOVE, 2, quota->token);
    catalog_db_bind_text(catalog, CATALOG_QUOTA_REMOVE, 3, span_text(catalog_resource_name(quota->resource)));
    rc = catalog_db_run(catalog, CATALOG_QUOTA_REMOVE, err);
    if (rc == 0 && catalog_db_changed(catalog) == 0)
        rc = err_set(err, ERR_INPUT, "project %u has no such quota of %s; penstock quota list shows them", quota->project,
                     catalog_resource_name(quota->resource));
    return catalog_write_end(catalog, rc, err);
}

int catalog_limit_set(struct catalog *catalog, const struct catalog_limit *limit, struct err *err)
{
    int rc;

    if (limit->events < 1 || limit->events > CATALOG_LIMIT_MAX)
        return err_set(err, ERR_INPUT, "a limit is 1 to %d events; to take none at all: penstock quota set", CATALOG_LIMIT_MAX);
    if (limit->kind == CATALOG_LIMIT_TOKEN && (limit->burst < 1 || limit->burst > CATALOG_LIMIT_MAX))
        return err_set(err, ERR_INPUT, "a burst is 1 to %d events", CATALOG_LIMIT_MAX);
    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    rc = owner_check(catalog, limit->project, limit->token, err);
    if (rc == 0) {
        catalog_db_bind_int(catalog, CATALOG_LIMIT_SET, 1, limit->project);
        catalog_db_bind_text(catalog, CATALOG_LIMIT_SET, 2, limit->token);
        catalog_db_bind_text(catalog, CATALOG_LIMIT_SET, 3, span_text(catalog_limit_name(limit->kind)));
        catalog_db_bind_int(catalog, CATALOG_LIMIT_SET, 4, limit->events);
        catalog_db_bind_int(catalog, CATALOG_LIMIT_SET, 5, limit->kind == CATALOG_LIMIT_TOKEN ? limit->burst : limit->events);
        catalog_db_bind_int(catalog, CATALOG_LIMIT_SET, 6, clock_wall_us());
        rc = catalog_db_run(catalog, CATALOG_LIMIT_SET, err);
    }
    return catalog_write_end(catalog, rc, err);
}

int catalog_limit_remove(struct catalog *catalog, const struct catalog_limit *limit, struct err *err)
{
    int rc;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_int(catalog, CATALOG_LIMIT_REMOVE, 1, limit->project);
    catalog_db_bind_text(catalog, CATALOG_LIMIT_REMOVE, 2, limit->token);
    catalog_db_bind_text(catalog, CATALOG_LIMIT_REMOVE, 3, span_text(catalog_limit_name(limit->kind)));
    rc = catalog_db_run(catalog, CATALOG_LIMIT_REMOVE, err);
    if (rc == 0 && catalog_db_changed(catalog) == 0)
        rc = err_set(err, ERR_INPUT, "project %u has no such limit of %s; penstock limit list shows them", limit->project,
                     catalog_limit_name(limit->kind));
    return catalog_write_end(catalog, rc, err);
}

/* --- of a snapshot ----------------------------------------------------------------------------- */

int catalog_quota_read(struct catalog *catalog, struct arena *arena, struct catalog_quota *out)
{
    *out = (struct catalog_quota){ .project = (uint32_t)catalog_db_int(catalog, CATALOG_QUOTAS, 0),
                                   .token = catalog_column_copy(catalog, CATALOG_QUOTAS, 1, arena),
                                   .until_us = catalog_db_int(catalog, CATALOG_QUOTAS, 3),
                                   .created_us = catalog_db_int(catalog, CATALOG_QUOTAS, 4) };
    if (out->token.at == NULL)
        return -1;
    return out->until_us > 0 &&
           catalog_resource_find((const char *)catalog_db_text(catalog, CATALOG_QUOTAS, 2).at, &out->resource);
}

int catalog_limit_read(struct catalog *catalog, struct arena *arena, struct catalog_limit *out)
{
    int64_t events = catalog_db_int(catalog, CATALOG_LIMITS, 4), burst = catalog_db_int(catalog, CATALOG_LIMITS, 5);

    *out = (struct catalog_limit){ .id = (uint32_t)catalog_db_int(catalog, CATALOG_LIMITS, 0),
                                   .project = (uint32_t)catalog_db_int(catalog, CATALOG_LIMITS, 1),
                                   .token = catalog_column_copy(catalog, CATALOG_LIMITS, 2, arena),
                                   .events = (uint32_t)events,
                                   .burst = (uint32_t)burst,
                                   .created_us = catalog_db_int(catalog, CATALOG_LIMITS, 6) };
    if (out->token.at == NULL)
        return -1;
    return events >= 1 && events <= CATALOG_LIMIT_MAX && burst >= 1 && burst <= CATALOG_LIMIT_MAX &&
           catalog_limit_find((const char *)catalog_db_text(catalog, CATALOG_LIMITS, 3).at, &out->kind);
}
