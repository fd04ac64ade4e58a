/* ingest/foresee.c - see foresee.h. The heads of records say who sent them. Of the few that merge, the other id stands in the
 * event's JSON, and is looked for there as a text: a quoted key, a colon, a string without escapes. */
#include "ingest/foresee.h"

#include "ingest/tally.h"

/* The string under `key` (with its quotes), or a span at NULL. */
static struct span string_under(struct span json, struct span key)
{
    const uint8_t *at = memmem(json.at, json.bytes, key.at, key.bytes), *end = json.at + json.bytes, *from;

    if (at == NULL)
        return span_of(NULL, 0);
    for (at += key.bytes; at < end && (*at == ':' || *at == ' '); at++)
        ;
    if (at == end || *at != '"')
        return span_of(NULL, 0);
    from = ++at;
    while (at < end && *at != '"' && *at != '\\')
        at++;
    return at < end && *at == '"' ? span_of(from, (size_t)(at - from)) : span_of(NULL, 0);
}

static struct span merge_other(const struct record *record)
{
    if (span_is(record->event, "$identify"))
        return string_under(record->data, SPAN("\"$anon_distinct_id\""));
    if (span_is(record->event, "$create_alias") || span_is(record->event, "$merge_dangerously"))
        return string_under(record->data, SPAN("\"alias\""));
    return span_of(NULL, 0);
}

int foresee(struct people_txn *txn, const struct catalog_snapshot *catalog, const struct raw_record *records, size_t count,
            struct arena *arena, struct err *err)
{
    struct people_expected *ids;
    struct record           record;
    struct err              ignored;
    size_t                  asked = 0;

    if (!people_expects_batch(txn) || count == 0)
        return 0;
    ids = arena_alloc_array(arena, 2 * count, sizeof *ids);
    if (ids == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for the ids of %zu events", count);
    for (size_t i = 0; i < count; i++) {
        struct span other;
        uint32_t    project;

        if (record_read(records[i].body, &record, &ignored) < 0 || record.kind != RECORD_EVENT ||
            (record.flags & (RECORD_COOKIELESS | RECORD_PERSON_OFF)) != 0 || record.distinct_id.bytes == 0)
            continue;
        project = tally_project(&record, catalog);
        if (project == 0)
            continue;
        ids[asked++] = (struct people_expected){ project, record.distinct_id, false };
        other = merge_other(&record);
        if (other.at != NULL && other.bytes > 0)
            ids[asked++] = (struct people_expected){ project, other, true };
    }
    return people_expect_batch(txn, ids, asked, err);
}
