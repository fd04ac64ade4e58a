/* ingest/overflow.c - see overflow.h. Flags are kept until a key's last record was processed, and not for a time: a
 * flag that ends earlier lets live records pass those that wait. The flag needs only the place of the last one,
 * because raw_overflow is processed in order. */
#include "ingest/overflow.h"

#include <stdlib.h>
#include <xxhash.h>

enum {
    BUCKET_WAYS = 4,
    BUCKET_SETS = 1 << 14, /* 65,536 keys, 1.5 MB, touched only while live traffic is behind */
    FLAG_SLOTS = 4 * PEOPLE_FLAGS_MAX
};

struct bucket {
    uint64_t key;
    int64_t  at_us; /* 0: free */
    double   tokens;
};

struct overflow {
    double             burst, per_us;
    struct bucket     *buckets;             /* BUCKET_SETS times BUCKET_WAYS */
    struct people_flag flags[PEOPLE_FLAGS_MAX];
    size_t             flag_count;
    uint16_t           slots[FLAG_SLOTS];   /* by key, open addressing: number in flags + 1 */
    bool               changed;             /* since the last store or load */
};

struct overflow *overflow_new(int64_t burst, int64_t per_second)
{
    struct overflow *overflow = calloc(1, sizeof *overflow);

    if (overflow == NULL)
        return NULL;
    overflow->burst = (double)burst;
    overflow->per_us = (double)per_second / 1e6;
    overflow->buckets = calloc((size_t)BUCKET_SETS * BUCKET_WAYS, sizeof *overflow->buckets);
    if (overflow->buckets == NULL) {
        free(overflow);
        return NULL;
    }
    return overflow;
}

void overflow_free(struct overflow *overflow)
{
    if (overflow == NULL)
        return;
    free(overflow->buckets);
    free(overflow);
}

size_t overflow_flagged(const struct overflow *overflow)
{
    return overflow->flag_count;
}

/* --- flags ------------------------------------------------------------------------------------- */

/* The slot of a key, or the free one where it would stand. */
static uint16_t *flag_slot(struct overflow *overflow, uint64_t key)
{
    size_t at = (size_t)(key % FLAG_SLOTS);

    while (overflow->slots[at] != 0 && overflow->flags[overflow->slots[at] - 1].key != key)
        at = (at + 1) % FLAG_SLOTS;
    return &overflow->slots[at];
}

static void flags_index(struct overflow *overflow)
{
    memset(overflow->slots, 0, sizeof overflow->slots);
    for (size_t i = 0; i < overflow->flag_count; i++)
        *flag_slot(overflow, overflow->flags[i].key) = (uint16_t)(i + 1);
}

static struct people_flag *flag_find(struct overflow *overflow, uint64_t key)
{
    uint16_t slot = overflow->flag_count == 0 ? 0 : *flag_slot(overflow, key);

    return slot == 0 ? NULL : &overflow->flags[slot - 1];
}

/* NULL: all are given. */
static struct people_flag *flag_add(struct overflow *overflow, uint64_t key)
{
    if (overflow->flag_count == PEOPLE_FLAGS_MAX)
        return NULL;
    *flag_slot(overflow, key) = (uint16_t)(overflow->flag_count + 1);
    overflow->flags[overflow->flag_count] = (struct people_flag){ .key = key };
    return &overflow->flags[overflow->flag_count++];
}

int overflow_load(struct overflow *overflow, struct people_txn *txn, struct err *err)
{
    overflow->flag_count = 0;
    overflow->changed = false;
    if (people_flags_get(txn, overflow->flags, &overflow->flag_count, err) < 0)
        return -1;
    flags_index(overflow);
    return 0;
}

int overflow_store(struct overflow *overflow, struct people_txn *txn, uint64_t next, struct err *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < overflow->flag_count; i++)
        if (overflow->flags[i].last >= next) /* V1 */
            overflow->flags[kept++] = overflow->flags[i];
    if (kept != overflow->flag_count) {
        overflow->flag_count = kept;
        overflow->changed = true;
        flags_index(overflow);
    }
    if (overflow->changed && people_flags_put(txn, overflow->flags, overflow->flag_count, err) < 0)
        return -1;
    overflow->changed = false;
    return 0;
}

/* --- keys and buckets -------------------------------------------------------------------------- */

/* false: it has none. */
static bool key_of(const struct record *record, uint64_t *out)
{
    bool        cookieless = (record->flags & RECORD_COOKIELESS) != 0;
    struct span id = cookieless ? record->ip : record->distinct_id;

    if (record->kind != RECORD_EVENT || id.bytes == 0)
        return false;
    *out = XXH3_64bits_withSeed(id.at, id.bytes, (uint64_t)record->project << 1 | cookieless);
    return true;
}

/* Takes one out of the key's bucket; false: it is empty. */
static bool bucket_take(struct overflow *overflow, uint64_t key, int64_t at_us)
{
    struct bucket *set = overflow->buckets + (size_t)(key % BUCKET_SETS) * BUCKET_WAYS, *bucket = set;

    for (size_t i = 0; i < BUCKET_WAYS; i++) {
        if (set[i].key == key && set[i].at_us != 0) {
            bucket = &set[i];
            break;
        }
        if (set[i].at_us < bucket->at_us)
            bucket = &set[i]; /* the one that was silent longest */
    }
    if (bucket->key != key || bucket->at_us == 0)
        *bucket = (struct bucket){ .key = key, .at_us = at_us, .tokens = overflow->burst };
    if (at_us > bucket->at_us) {
        bucket->tokens += (double)(at_us - bucket->at_us) * overflow->per_us;
        if (bucket->tokens > overflow->burst)
            bucket->tokens = overflow->burst;
        bucket->at_us = at_us;
    }
    if (bucket->tokens < 1)
        return false;
    bucket->tokens -= 1;
    return true;
}

/* Whether capture or a restriction asks for it. */
static bool asked_for(const struct overflow_view *view, const struct record *record)
{
    const struct catalog_project *project = catalog_snapshot_project(view->catalog, record->project);

    if ((record->flags & RECORD_OVERFLOW) != 0)
        return true;
    return project != NULL && project->restriction_count > 0 &&
           (catalog_restrictions_ask(project, record->token, record->distinct_id, record->event, &record->uuid) &
            1u << CATALOG_OVERFLOW) != 0;
}

/* A bucket for all events of a kind that a project sends. */
static uint64_t kind_key(const struct record *record)
{
    return XXH3_64bits_withSeed(&record->project, sizeof record->project, UINT64_C(0x6b696e64) << 8 | record_pipeline(record));
}

/* Whether the record is to be moved. *flag_out: its key's flag; NULL: it has none, and gets none (V4). */
static bool judge(struct overflow *overflow, const struct overflow_view *view, const struct raw_record *raw, struct people_flag **flag_out)
{
    bool          busy = view->behind && overflow->burst >= 1;
    struct record record;
    struct err    unreadable; /* it becomes a dead letter where it is */
    uint64_t      key;

    *flag_out = NULL;
    if (place_input(raw->mark) != INPUT_RAW || record_read(raw->body, &record, &unreadable) < 0 || !key_of(&record, &key))
        return false;
    *flag_out = flag_find(overflow, key);
    if (*flag_out != NULL)
        return true;
    if (busy && pipeline_stands_alone(record_pipeline(&record)))
        return !bucket_take(overflow, kind_key(&record), record.received_us);
    if ((busy && !bucket_take(overflow, key, record.received_us)) || asked_for(view, &record))
        *flag_out = flag_add(overflow, key);
    return *flag_out != NULL;
}

int overflow_sort(struct overflow *overflow, struct inputs *inputs, const struct overflow_view *view, struct outputs *outputs,
                  size_t *moved_out, struct err *err)
{
    const struct catalog_restriction *restrictions;
    const struct catalog_limit       *limits;
    struct gathered                  *batch = &inputs->batch;
    size_t                            kept = inputs->control_count;

    *moved_out = 0;
    if (overflow->flag_count == 0 && (!view->behind || overflow->burst < 1) &&
        catalog_snapshot_restrictions(view->catalog, &restrictions) + catalog_snapshot_limits(view->catalog, &limits) == 0)
        return 0;
    for (size_t i = inputs->control_count; i < batch->count; i++) {
        const struct raw_record *raw = &batch->records[i];
        struct people_flag      *flag;
        uint64_t                 offset;

        if (!judge(overflow, view, raw, &flag)) {
            batch->records[kept++] = *raw;
            continue;
        }
        if (outputs_add_moved(outputs, &(struct record_moved){ .place = raw->place, .body = raw->body }, inputs->now_us,
                              &offset, err) < 0)
            return -1;
        if (flag != NULL)
            flag->last = offset;
        overflow->changed |= flag != NULL;
        ++*moved_out;
    }
    batch->count = kept;
    return 0;
}
