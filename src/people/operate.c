/* people/operate.c - see operate.h. */
#include "people/operate.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "people/people_backend.h"
#include "people/table.h"
#include "people/tell.h"

/* --- delete ------------------------------------------------------------------------------------ */

struct deletion {
    struct people_txn *txn;
    struct person person; /* its properties are not used */
    uint64_t erase;
    people_row_seen *seen;
    void *ctx;
    struct people_operated *out;
};

/* --- what the log still holds
 * under number (big-endian) alone: 4 project · 8 version · 16 uuid of the person
 * under number and distinct id:    4 project · 8 version · * the whole distinct id, when its key is hashed */

enum { ERASING_HEAD = 12, ERASING_PERSON_BYTES = ERASING_HEAD + 16 };

static int erasing_add_person(const struct deletion *deletion, struct err *err)
{
    uint8_t value[ERASING_PERSON_BYTES];
    struct people_key key;

    people_key_init(&key, deletion->erase, 8);
    bytes_put_u32(value, deletion->person.project);
    bytes_put_u64(value + 4, deletion->person.version + PEOPLE_DELETED_VERSIONS);
    memcpy(value + ERASING_HEAD, deletion->person.uuid.bytes, 16);
    return people_table_put(deletion->txn, TABLE_ERASING, span_of(key.bytes, key.count), span_of(value, sizeof value), err);
}

static int erasing_add_id(const struct deletion *deletion, struct span distinct_id, uint64_t version, struct err *err)
{
    struct people_key key;
    uint8_t *at;

    people_key_init(&key, deletion->erase, 8);
    if (people_key_add_text(&key, distinct_id, err) < 0)
        return -1;
    at = people_table_reserve(deletion->txn, TABLE_ERASING, span_of(key.bytes, key.count),
                              ERASING_HEAD + (key.hashed ? distinct_id.bytes : 0), err);
    if (at == NULL)
        return -1;
    bytes_put_u32(at, deletion->person.project);
    bytes_put_u64(at + 4, version);
    if (key.hashed)
        memcpy(at + ERASING_HEAD, distinct_id.at, distinct_id.bytes);
    return 0;
}

static int id_delete(const struct deletion *deletion, struct span distinct_id, struct err *err)
{
    uint32_t project = deletion->person.project;
    struct person_link link;
    int got = people_link_get(deletion->txn, project, distinct_id, &link, err);

    if (got < 0)
        return -1;
    if (got == 0 || link.person != deletion->person.id)
        return err_set(err, ERR_CORRUPT, "people: distinct id and person do not agree on who belongs to whom");
    link = (struct person_link){ 0, link.version + PEOPLE_DELETED_VERSIONS };
    if (people_link_put(deletion->txn, project, distinct_id, &link, err) < 0 ||
        people_tell_link(project, distinct_id, &deletion->person.uuid, link.version, true, deletion->seen, deletion->ctx,
                         err) < 0)
        return -1;
    deletion->out->distinct_ids++;
    if (deletion->erase == PEOPLE_REQUEST_NONE)
        return 0;
    return people_link_erase(deletion->txn, project, distinct_id, err) < 0 ||
                   erasing_add_id(deletion, distinct_id, link.version, err) < 0
               ? -1
               : 0;
}

/* Every id that stands under holder. */
static int ids_delete(const struct deletion *deletion, uint64_t holder, struct err *err)
{
    struct span distinct_id;
    int got;

    while ((got = people_first_id(deletion->txn, holder, &distinct_id, err)) == 1)
        if (id_delete(deletion, distinct_id, err) < 0)
            return -1;
    return got;
}

int people_delete(struct people_txn *txn, uint32_t project, struct span distinct_id, uint64_t erase, people_row_seen *seen,
                  void *ctx, struct people_operated *out, struct err *err)
{
    struct people_operated operated = { 0 };
    struct deletion deletion = { .txn = txn, .erase = erase, .seen = seen, .ctx = ctx, .out = &operated };
    struct person_link link;
    uint64_t after = 0, holder;
    int got = people_link_get(txn, project, distinct_id, &link, err);

    if (got <= 0 || link.person == 0)
        return got < 0 ? -1 : 0;
    got = people_person_get(txn, link.person, &deletion.person, err);
    if (got <= 0)
        return got < 0 ? -1 : err_set(err, ERR_CORRUPT, "people: an id leads to a person that is missing");
    operated.person = deletion.person.uuid;
    operated.persons = 1;
    if (people_tell_person(&deletion.person, true, seen, ctx, err) < 0 ||
        ids_delete(&deletion, deletion.person.id, err) < 0)
        return -1;
    while ((got = people_moves_holder(txn, deletion.person.id, &after, &holder, err)) == 1)
        if (ids_delete(&deletion, holder, err) < 0)
            return -1;
    if (got < 0 || people_person_delete(txn, &deletion.person, 0, err) < 0 ||
        (erase != PEOPLE_REQUEST_NONE && erasing_add_person(&deletion, err) < 0))
        return -1;
    if (erase != PEOPLE_REQUEST_NONE && txn->people->ops->erase != NULL)
        txn->people->ops->erase(txn);
    *out = operated;
    return 1;
}

/* --- split ------------------------------------------------------------------------------------- */

enum { SPLIT_VERSIONS = PEOPLE_DELETED_VERSIONS + 1 };

/* 1: it has a person of its own now; 0: it stays where it is. */
static int id_split(struct people_txn *txn, const struct person *from, struct span distinct_id, people_row_seen *seen,
                    void *ctx, struct err *err)
{
    struct person person = { .project = from->project,
                             .uuid = people_person_uuid(from->project, distinct_id),
                             .created_us = from->created_us,
                             .last_seen_us = CLOCK_NONE,
                             .properties = SPAN("{}") };
    struct person_link link;
    int got = people_link_get(txn, from->project, distinct_id, &link, err);

    if (got < 0 || people_person_version(txn, from->project, &person.uuid, &person.version, err) < 0)
        return -1;
    if (got == 0 || link.person != from->id || uuid_equal(&person.uuid, &from->uuid))
        return 0;
    if (person.version < from->version + SPLIT_VERSIONS)
        person.version = from->version + SPLIT_VERSIONS;
    if (people_person_put(txn, &person, err) < 0)
        return -1;
    link = (struct person_link){ person.id, link.version + SPLIT_VERSIONS };
    if (people_link_put(txn, from->project, distinct_id, &link, err) < 0 ||
        people_tell_person(&person, false, seen, ctx, err) < 0 ||
        people_tell_link(from->project, distinct_id, &person.uuid, link.version, false, seen, ctx, err) < 0)
        return -1;
    return 1;
}

int people_split(struct people_txn *txn, const struct control *control, people_row_seen *seen, void *ctx,
                 struct people_operated *out, struct err *err)
{
    struct people_operated operated = { 0 };
    struct person_link link;
    struct person from;
    struct span kept, distinct_id;
    size_t at = 0;
    int got;

    if (!control_id(control, &at, &kept))
        return 0;
    got = people_link_get(txn, control->project, kept, &link, err);
    if (got <= 0 || link.person == 0)
        return got < 0 ? -1 : 0;
    got = people_person_get(txn, link.person, &from, err);
    if (got <= 0)
        return got < 0 ? -1 : err_set(err, ERR_CORRUPT, "people: an id leads to a person that is missing");
    operated.person = from.uuid;
    while (control_id(control, &at, &distinct_id)) {
        if (span_equal(distinct_id, kept))
            continue;
        got = id_split(txn, &from, distinct_id, seen, ctx, err);
        if (got < 0)
            return -1;
        operated.persons += (uint64_t)got;
        operated.distinct_ids += (uint64_t)got;
    }
    *out = operated;
    return 1;
}

/* --- requests ----------------------------------------------------------------------------------
 * under the request's number (native u64)
 *    at  bytes  field
 *     0      1  version (1)
 *     1      3  zero
 *     4      4  crc32c of the number and of all that follows
 *     8      8  due_us
 *    16      *  the request, as it stands in the topic `control` */

enum { REQUEST_VERSION = 1, REQUEST_HEAD = 16, REQUEST_CRC_FROM = 8 };

static uint32_t request_crc(uint64_t number, struct span value)
{
    return crc32c(crc32c(0, span_of(&number, sizeof number)), span_from(value, REQUEST_CRC_FROM));
}

int people_request_put(struct people_txn *txn, uint64_t number, int64_t due_us, struct span body, struct err *err)
{
    size_t bytes = REQUEST_HEAD + body.bytes;
    uint8_t *at = people_table_reserve(txn, TABLE_REQUESTS, span_of(&number, sizeof number), bytes, err);

    if (at == NULL)
        return -1;
    memset(at, 0, REQUEST_HEAD);
    at[0] = REQUEST_VERSION;
    bytes_put_u64(at + 8, (uint64_t)due_us);
    if (body.bytes > 0)
        memcpy(at + REQUEST_HEAD, body.at, body.bytes);
    bytes_put_u32(at + 4, request_crc(number, span_of(at, bytes)));
    return 0;
}

int people_request_next(struct people_txn *txn, uint64_t after, struct people_request *out, struct err *err)
{
    struct people_entry entry;
    uint64_t from = after + 1; /* 0 behind PEOPLE_REQUEST_NONE */
    struct span stored;
    int got = people_table_seek(txn, TABLE_REQUESTS, people_number_span(&from), &entry, err);

    if (got <= 0 || people_entry_number(&entry, &out->number, err) < 0)
        return got == 0 ? 0 : -1;
    stored = entry.value;
    if (stored.bytes < REQUEST_HEAD || stored.at[0] != REQUEST_VERSION ||
        request_crc(out->number, stored) != bytes_get_u32(stored.at + 4))
        return err_set(err, ERR_CORRUPT, "people: a request that waits is damaged");
    out->due_us = (int64_t)bytes_get_u64(stored.at + 8);
    return control_read(span_from(stored, REQUEST_HEAD), &out->control, err) < 0 ? -1 : 1;
}

int people_request_delete(struct people_txn *txn, uint64_t number, struct err *err)
{
    return people_table_delete(txn, TABLE_REQUESTS, span_of(&number, sizeof number), err);
}

int people_expired_day_get(struct people_txn *txn, int64_t *out, struct err *err)
{
    struct span value;
    int got = people_table_get(txn, TABLE_META, SPAN("expired_day"), &value, err);

    if (got < 0)
        return -1;
    if (got == 1 && value.bytes != 8)
        return err_set(err, ERR_CORRUPT, "people: the day of the last expiry has %zu bytes", value.bytes);
    *out = got == 1 ? (int64_t)bytes_get_u64(value.at) : 0;
    return 0;
}

int people_expired_day_put(struct people_txn *txn, int64_t day, struct err *err)
{
    uint8_t value[8];

    bytes_put_u64(value, (uint64_t)day);
    return people_table_put(txn, TABLE_META, SPAN("expired_day"), span_of(value, sizeof value), err);
}

static int erasing_read(const struct people_entry *entry, struct people_erasing *out, struct err *err)
{
    struct span key = entry->key, value = entry->value;

    *out = (struct people_erasing){ .is_person = key.bytes == 8 };
    if (key.bytes < 8 || value.bytes < ERASING_HEAD || (out->is_person && value.bytes != ERASING_PERSON_BYTES))
        return err_set(err, ERR_CORRUPT, "people: what is being erased is damaged");
    for (int i = 0; i < 8; i++)
        out->number = out->number << 8 | key.at[i];
    out->project = bytes_get_u32(value.at);
    out->version = bytes_get_u64(value.at + 4);
    if (out->is_person)
        memcpy(out->uuid.bytes, value.at + ERASING_HEAD, 16);
    else
        out->distinct_id = key.at[8] != 0 ? span_from(value, ERASING_HEAD) : span_from(key, 9);
    return 0;
}

int people_erasing_each(struct people_txn *txn, people_erasing_seen *seen, void *ctx, struct err *err)
{
    struct people_entry entry;
    struct people_erasing erasing;
    int got;

    for (got = people_table_seek(txn, TABLE_ERASING, SPAN(""), &entry, err); got == 1;
         got = people_table_next(txn, TABLE_ERASING, &entry, err))
        if (erasing_read(&entry, &erasing, err) < 0 || seen(ctx, &erasing, err) < 0)
            return -1;
    return got;
}

int people_erasing_end(struct people_txn *txn, uint64_t below, struct err *err)
{
    struct people_entry entry;
    struct people_erasing erasing;
    bool any = false;
    int got;

    while ((got = people_table_seek(txn, TABLE_ERASING, SPAN(""), &entry, err)) == 1) {
        if (erasing_read(&entry, &erasing, err) < 0)
            return -1;
        if (erasing.number >= below)
            break;
        if (people_table_drop(txn, TABLE_ERASING, err) < 0)
            return -1;
        any = true;
    }
    return got < 0 ? -1 : any ? people_rewrite_want(txn, err) : 0;
}
