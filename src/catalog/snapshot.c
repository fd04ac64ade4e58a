/* catalog/snapshot.c - the catalog as a thing that never changes, for threads that may not wait.
 *
 * Tokens are found by XXH3 in a table at most half full. What a stranger can time must not tell how much
 * of a token was right: nothing is compared before the whole hash fits, and then all bytes are. */
#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "catalog/catalog_db.h"

enum { TEXTS_BYTES_MAX = 256 << 20 };

struct slot {
    uint64_t hash;
    uint32_t token;   /* index + 1 into tokens; 0: free */
    uint32_t project; /* index into projects */
};

struct padded {
    uint8_t bytes[CATALOG_TOKEN_BYTES_MAX];
    size_t count;
};

struct catalog_snapshot {
    uint64_t version;
    size_t project_count, token_count, restriction_count;
    struct catalog_project *projects; /* by id */
    struct catalog_token *tokens;
    struct padded *padded; /* of each token */
    struct slot *slots;
    size_t slot_mask;
    struct catalog_restriction *restrictions; /* by project and id */
    size_t quota_count, limit_count;
    struct catalog_quota *quotas; /* by project, token and resource */
    struct catalog_limit *limits; /* by id */
    struct arena *texts;          /* of restrictions, quotas and limits */
};

/* --- loading ----------------------------------------------------------------------------------- */

/* One transaction counted and read: an index and its table say different things. */
static int snapshot_more(struct err *err)
{
    return err_set(err, ERR_CORRUPT, "catalog: more rows than were counted");
}

static int snapshot_read_projects(struct catalog *catalog, struct catalog_snapshot *snapshot, struct err *err)
{
    size_t count = 0;
    int got;

    while ((got = catalog_db_row(catalog, CATALOG_PROJECTS, err)) == 1 && count < snapshot->project_count)
        catalog_project_read(catalog, &snapshot->projects[count++]);
    catalog_db_reset(catalog, CATALOG_PROJECTS);
    snapshot->project_count = count;
    return got == 1 ? snapshot_more(err) : got;
}

/* A token that this program would not have accepted (written by another hand) is left out: it could
 * never be found, because capture checks before it looks. */
static int snapshot_read_tokens(struct catalog *catalog, struct catalog_snapshot *snapshot, struct err *err)
{
    size_t count = 0;
    int got;

    while ((got = catalog_db_row(catalog, CATALOG_TOKENS, err)) == 1) {
        struct span text = catalog_db_text(catalog, CATALOG_TOKENS, 0);
        struct err ignored;

        if (catalog_token_check(text, &ignored) < 0)
            continue;
        if (count == snapshot->token_count) {
            got = snapshot_more(err);
            break;
        }
        memcpy(snapshot->tokens[count].token, text.at, text.bytes);
        snapshot->tokens[count].project = (uint32_t)catalog_db_int(catalog, CATALOG_TOKENS, 1);
        snapshot->tokens[count].created_us = catalog_db_int(catalog, CATALOG_TOKENS, 2);
        snapshot->tokens[count].secret = catalog_db_int(catalog, CATALOG_TOKENS, 3) != 0;
        memcpy(snapshot->padded[count].bytes, text.at, text.bytes);
        snapshot->padded[count++].count = text.bytes;
    }
    catalog_db_reset(catalog, CATALOG_TOKENS);
    snapshot->token_count = count;
    return got;
}

static int snapshot_read_restrictions(struct catalog *catalog, struct catalog_snapshot *snapshot, struct err *err)
{
    size_t count = 0;
    int got, read = 1;

    while ((got = catalog_db_row(catalog, CATALOG_RESTRICTIONS, err)) == 1) {
        if (count == snapshot->restriction_count) {
            got = snapshot_more(err);
            break;
        }
        read = catalog_restriction_read(catalog, snapshot->texts, &snapshot->restrictions[count]);
        if (read < 0)
            break;
        count += read > 0;
    }
    catalog_db_reset(catalog, CATALOG_RESTRICTIONS);
    snapshot->restriction_count = count;
    return read < 0 ? err_set(err, ERR_FULL, "catalog: no memory for %zu restrictions", count) : got;
}

static int snapshot_read_quotas(struct catalog *catalog, struct catalog_snapshot *snapshot, struct err *err)
{
    size_t count = 0;
    int got, read = 1;

    while ((got = catalog_db_row(catalog, CATALOG_QUOTAS, err)) == 1) {
        if (count == snapshot->quota_count) {
            got = snapshot_more(err);
            break;
        }
        read = catalog_quota_read(catalog, snapshot->texts, &snapshot->quotas[count]);
        if (read < 0)
            break;
        count += read > 0;
    }
    catalog_db_reset(catalog, CATALOG_QUOTAS);
    snapshot->quota_count = count;
    return read < 0 ? err_set(err, ERR_FULL, "catalog: no memory for %zu quotas", count) : got;
}

static int snapshot_read_limits(struct catalog *catalog, struct catalog_snapshot *snapshot, struct err *err)
{
    size_t count = 0;
    int got, read = 1;

    while ((got = catalog_db_row(catalog, CATALOG_LIMITS, err)) == 1) {
        if (count == snapshot->limit_count) {
            got = snapshot_more(err);
            break;
        }
        read = catalog_limit_read(catalog, snapshot->texts, &snapshot->limits[count]);
        if (read < 0)
            break;
        snapshot->limits[count].index = count;
        count += read > 0;
    }
    catalog_db_reset(catalog, CATALOG_LIMITS);
    snapshot->limit_count = count;
    return read < 0 ? err_set(err, ERR_FULL, "catalog: no memory for %zu limits", count) : got;
}

static int snapshot_allocate(struct catalog_snapshot *snapshot, struct err *err)
{
    size_t slots = 16;

    while (slots < 2 * snapshot->token_count)
        slots *= 2;
    snapshot->slot_mask = slots - 1;
    snapshot->projects = calloc(snapshot->project_count + 1, sizeof *snapshot->projects);
    snapshot->tokens = calloc(snapshot->token_count + 1, sizeof *snapshot->tokens);
    snapshot->padded = calloc(snapshot->token_count + 1, sizeof *snapshot->padded);
    snapshot->slots = calloc(slots, sizeof *snapshot->slots);
    snapshot->restrictions = calloc(snapshot->restriction_count + 1, sizeof *snapshot->restrictions);
    snapshot->quotas = calloc(snapshot->quota_count + 1, sizeof *snapshot->quotas);
    snapshot->limits = calloc(snapshot->limit_count + 1, sizeof *snapshot->limits);
    snapshot->texts = arena_new(4 << 10, TEXTS_BYTES_MAX);
    if (snapshot->quotas == NULL || snapshot->limits == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory for %zu quotas and limits",
                       snapshot->quota_count + snapshot->limit_count);
    if (snapshot->restrictions == NULL || snapshot->texts == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory for %zu restrictions", snapshot->restriction_count);
    if (snapshot->projects == NULL || snapshot->tokens == NULL || snapshot->padded == NULL || snapshot->slots == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory for %zu tokens", snapshot->token_count);
    return 0;
}

static int project_compare(const void *id, const void *project)
{
    uint32_t a = *(const uint32_t *)id, b = ((const struct catalog_project *)project)->id;

    return a < b ? -1 : a > b;
}

const struct catalog_project *catalog_snapshot_project(const struct catalog_snapshot *snapshot, uint32_t id)
{
    return bsearch(&id, snapshot->projects, snapshot->project_count, sizeof *snapshot->projects, project_compare);
}

static void snapshot_index(struct catalog_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->token_count; i++) {
        const struct catalog_project *project = catalog_snapshot_project(snapshot, snapshot->tokens[i].project);
        uint64_t hash = XXH3_64bits(snapshot->padded[i].bytes, snapshot->padded[i].count);
        size_t at = hash & snapshot->slot_mask;

        if (project == NULL) /* a foreign key that another hand broke */
            continue;
        snapshot->projects[project - snapshot->projects].secret_count += snapshot->tokens[i].secret;
        while (snapshot->slots[at].token != 0)
            at = (at + 1) & snapshot->slot_mask;
        snapshot->slots[at] = (struct slot){ hash, (uint32_t)i + 1, (uint32_t)(project - snapshot->projects) };
    }
}

/* Each project gets its part of the list. */
static void snapshot_hand_out_restrictions(struct catalog_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->project_count; i++) {
        struct catalog_project *project = &snapshot->projects[i];
        size_t from = i == 0 ? 0 : (size_t)(project[-1].restrictions - snapshot->restrictions) + project[-1].restriction_count;

        while (from < snapshot->restriction_count && snapshot->restrictions[from].project < project->id)
            from++; /* a foreign key that another hand broke */
        project->restrictions = snapshot->restrictions + from;
        while (from + project->restriction_count < snapshot->restriction_count &&
               project->restrictions[project->restriction_count].project == project->id)
            project->restriction_count++;
    }
}

/* Those of whole projects first, then their tokens', then those of a token alone. */
static void snapshot_hand_out_quotas(struct catalog_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->quota_count; i++) {
        const struct catalog_quota *quota = &snapshot->quotas[i];
        struct catalog_project     *project = (struct catalog_project *)(uintptr_t)catalog_snapshot_project(snapshot, quota->project);

        if (project != NULL && quota->token.bytes == 0)
            project->quota_until_us[quota->resource] = quota->until_us;
    }
    for (size_t i = 0; i < snapshot->limit_count; i++) {
        const struct catalog_limit *limit = &snapshot->limits[i];
        struct catalog_project     *project = (struct catalog_project *)(uintptr_t)catalog_snapshot_project(snapshot, limit->project);

        if (project != NULL && limit->token.bytes == 0)
            project->limits[limit->kind] = limit;
    }
    for (size_t i = 0; i < snapshot->token_count; i++) {
        struct catalog_token *token = &snapshot->tokens[i];

        token->owner = catalog_snapshot_project(snapshot, token->project);
        if (token->owner == NULL)
            continue;
        memcpy(token->quota_until_us, token->owner->quota_until_us, sizeof token->quota_until_us);
        memcpy(token->limits, token->owner->limits, sizeof token->limits);
    }
    for (size_t i = 0; i < snapshot->quota_count; i++) {
        const struct catalog_quota *quota = &snapshot->quotas[i];
        struct catalog_token       *token = (struct catalog_token *)(uintptr_t)catalog_snapshot_find_token(snapshot, quota->token);

        if (token != NULL && token->project == quota->project && token->quota_until_us[quota->resource] < quota->until_us)
            token->quota_until_us[quota->resource] = quota->until_us;
    }
    for (size_t i = 0; i < snapshot->limit_count; i++) {
        const struct catalog_limit *limit = &snapshot->limits[i];
        struct catalog_token       *token = (struct catalog_token *)(uintptr_t)catalog_snapshot_find_token(snapshot, limit->token);

        if (token != NULL && token->project == limit->project)
            token->limits[limit->kind] = limit;
    }
}

static unsigned token_rules(const struct catalog_token *token)
{
    unsigned rules = 0;

    if (token->owner == NULL)
        return 0;
    for (size_t i = 0; i < CATALOG_RESOURCE_COUNT; i++)
        rules |= token->quota_until_us[i] != 0 ? CATALOG_RULE_QUOTA : 0;
    for (size_t i = 0; i < CATALOG_LIMIT_KIND_COUNT; i++)
        rules |= token->limits[i] != NULL ? CATALOG_RULE_LIMIT : 0;
    for (size_t i = 0; i < token->owner->restriction_count; i++)
        rules |= token->owner->restrictions[i].action == CATALOG_DROP ? CATALOG_RULE_DROP : 0;
    return rules;
}

static int snapshot_read(struct catalog *catalog, struct catalog_snapshot *snapshot, struct err *err)
{
    int64_t version, projects, tokens, restrictions, quotas, limits;

    if (catalog_db_number(catalog, CATALOG_VERSION, &version, err) < 0 ||
        catalog_db_number(catalog, CATALOG_PROJECT_COUNT, &projects, err) < 0 ||
        catalog_db_number(catalog, CATALOG_TOKEN_COUNT, &tokens, err) < 0 ||
        catalog_db_number(catalog, CATALOG_RESTRICTION_COUNT, &restrictions, err) < 0 ||
        catalog_db_number(catalog, CATALOG_QUOTA_COUNT, &quotas, err) < 0 ||
        catalog_db_number(catalog, CATALOG_LIMIT_COUNT, &limits, err) < 0)
        return -1;
    snapshot->version = (uint64_t)version;
    snapshot->project_count = (size_t)projects;
    snapshot->token_count = (size_t)tokens;
    snapshot->restriction_count = (size_t)restrictions;
    snapshot->quota_count = (size_t)quotas;
    snapshot->limit_count = (size_t)limits;
    if (snapshot_allocate(snapshot, err) < 0 || snapshot_read_projects(catalog, snapshot, err) < 0 ||
        snapshot_read_tokens(catalog, snapshot, err) < 0 || snapshot_read_restrictions(catalog, snapshot, err) < 0 ||
        snapshot_read_quotas(catalog, snapshot, err) < 0 || snapshot_read_limits(catalog, snapshot, err) < 0)
        return -1;
    snapshot_index(snapshot);
    snapshot_hand_out_restrictions(snapshot);
    snapshot_hand_out_quotas(snapshot);
    for (size_t i = 0; i < snapshot->token_count; i++)
        snapshot->tokens[i].rules = token_rules(&snapshot->tokens[i]);
    return 0;
}

int catalog_snapshot_load(struct catalog *catalog, struct catalog_snapshot **out, struct err *err)
{
    struct catalog_snapshot *snapshot = calloc(1, sizeof *snapshot);
    struct err ignored;
    int rc;

    if (snapshot == NULL)
        return err_set(err, ERR_FULL, "catalog: no memory");
    rc = catalog->backend->begin(catalog, false, err);
    if (rc == 0) {
        rc = snapshot_read(catalog, snapshot, err);
        (void)catalog->backend->end(catalog, false, &ignored); /* nothing was written */
    }
    if (rc < 0) {
        catalog_snapshot_free(snapshot);
        return -1;
    }
    *out = snapshot;
    return 0;
}

void catalog_snapshot_free(struct catalog_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    arena_free(snapshot->texts);
    free(snapshot->quotas);
    free(snapshot->limits);
    free(snapshot->restrictions);
    free(snapshot->slots);
    free(snapshot->padded);
    free(snapshot->tokens);
    free(snapshot->projects);
    free(snapshot);
}

/* --- asking ------------------------------------------------------------------------------------ */

uint64_t catalog_snapshot_version(const struct catalog_snapshot *snapshot)
{
    return snapshot->version;
}

int catalog_changed(struct catalog *catalog, const struct catalog_snapshot *snapshot, struct err *err)
{
    return catalog->backend->changed(catalog, snapshot->version, err);
}

static bool padded_equal(const struct padded *a, const struct padded *b)
{
    unsigned differ = a->count != b->count;

    for (size_t i = 0; i < sizeof a->bytes; i++)
        differ |= (unsigned)(a->bytes[i] ^ b->bytes[i]);
    return differ == 0;
}

static const struct slot *snapshot_slot(const struct catalog_snapshot *snapshot, struct span token)
{
    struct padded asked = { .count = token.bytes };
    uint64_t hash;

    if (token.bytes == 0 || token.bytes > CATALOG_TOKEN_BYTES_MAX)
        return NULL;
    memcpy(asked.bytes, token.at, token.bytes);
    hash = XXH3_64bits(asked.bytes, asked.count);
    for (size_t at = hash & snapshot->slot_mask; snapshot->slots[at].token != 0; at = (at + 1) & snapshot->slot_mask)
        if (snapshot->slots[at].hash == hash && padded_equal(&snapshot->padded[snapshot->slots[at].token - 1], &asked))
            return &snapshot->slots[at];
    return NULL;
}

const struct catalog_project *catalog_snapshot_find(const struct catalog_snapshot *snapshot, struct span token)
{
    const struct slot *slot = snapshot_slot(snapshot, token);

    return slot != NULL ? &snapshot->projects[slot->project] : NULL;
}

const struct catalog_token *catalog_snapshot_find_token(const struct catalog_snapshot *snapshot, struct span token)
{
    const struct slot *slot = snapshot_slot(snapshot, token);

    return slot != NULL ? &snapshot->tokens[slot->token - 1] : NULL;
}

size_t catalog_snapshot_tokens(const struct catalog_snapshot *snapshot, const struct catalog_token **out)
{
    *out = snapshot->tokens;
    return snapshot->token_count;
}

size_t catalog_snapshot_projects(const struct catalog_snapshot *snapshot, const struct catalog_project **out)
{
    *out = snapshot->projects;
    return snapshot->project_count;
}

size_t catalog_snapshot_restrictions(const struct catalog_snapshot *snapshot, const struct catalog_restriction **out)
{
    *out = snapshot->restrictions;
    return snapshot->restriction_count;
}

size_t catalog_snapshot_quotas(const struct catalog_snapshot *snapshot, const struct catalog_quota **out)
{
    *out = snapshot->quotas;
    return snapshot->quota_count;
}

size_t catalog_snapshot_limits(const struct catalog_snapshot *snapshot, const struct catalog_limit **out)
{
    *out = snapshot->limits;
    return snapshot->limit_count;
}
