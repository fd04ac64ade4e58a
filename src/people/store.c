/* people/store.c - persons, distinct ids and groups in LMDB's tables.
 *
 * Every value ends in what a checksum covers together with its key, so that a damaged page, or a value under
 * a wrong key, is ERR_CORRUPT and not somebody else's name. LMDB itself has no checksums.
 *
 * person, under its internal id (native u64: ids are given in rising order, so new ones fill pages in order)
 *    at  bytes  field
 *     0      1  version (2; 1: the properties are JSON text, and never packed)
 *     1      1  bit 0: identified
 *     2      2  zero
 *     4      4  crc32c of the id and of all that follows
 *     8      8  created_us
 *    16      8  last_seen_us
 *    24      8  version of the person
 *    32     16  uuid
 *    48      4  project
 *    52      *  properties, packed (event/packed.h)
 * link, under project and distinct id:  0 1 version (1) · 1 3 zero · 4 4 crc32c of the key's text and of what
 *     follows · 8 8 person · 16 8 version of the link · 24 * the whole distinct id, when its key is hashed
 * way back, under person and distinct id: the whole distinct id, when its key is hashed, else nothing
 * grave, under project and uuid: 0 8 version of the row that said it was deleted; also, for a distinct id that was
 *     erased, the version of its last row, under the uuid that is made of it (the id itself is kept nowhere)
 * group type, under project and type: 0 1 index · 1 * the whole type, when its key is hashed
 * group, under project, index and key:  0 1 version (2; 1: as with persons) · 1 3 zero · 4 4 crc32c of the key's text and of what
 *     follows · 8 8 created_us · 16 8 version of the group · 24 4 bytes of key that follow (0: not hashed) ·
 *     28 * key, properties, packed */
#include <assert.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/batch.h"
#include "people/lmdb.h"

enum {
    LINK_VERSION = 1,
    PACKED_VERSION = 2, /* of persons and groups; PLAIN_VERSION is read, and becomes this when it is written */
    PLAIN_VERSION = 1,
    PERSON_HEAD = 52,
    LINK_HEAD = 24,
    GROUP_HEAD = 28,
    CRC_FROM = 8, /* in all three */
    LINK_AHEAD_BYTES = 96, /* of an entry in memory: head, link and an id of usual length */
    PERSON_AHEAD_BYTES = 512 /* what follows comes by itself when it is read in order */
};

static struct span id_span(const uint64_t *id)
{
    return span_of(id, sizeof *id);
}

static uint32_t value_crc(struct span key_text, struct span value)
{
    return crc32c(crc32c(0, key_text), span_from(value, CRC_FROM));
}

/* Version (the newest that is known), size and checksum of a stored person, link or group. */
static int value_check(const char *what, struct span key_text, struct span value, size_t head, unsigned version, struct err *err)
{
    if (value.bytes < head)
        return err_set(err, ERR_CORRUPT, "people: a %s of %zu bytes is shorter than its head of %zu", what, value.bytes,
                       head);
    if (value.at[0] < PLAIN_VERSION || value.at[0] > version)
        return err_set(err, ERR_CORRUPT, "people: a %s of form %u; this Penstock reads form %u", what, value.at[0], version);
    if (value_crc(key_text, value) != bytes_get_u32(value.at + 4))
        return err_set(err, ERR_CORRUPT, "people: a %s is damaged (its checksum is wrong)", what);
    return 0;
}

static void value_seal(struct span key_text, uint8_t *at, size_t bytes, uint8_t version, uint8_t flags)
{
    at[0] = version;
    at[1] = flags;
    bytes_put_u16(at + 2, 0);
    bytes_put_u32(at + 4, value_crc(key_text, span_of(at, bytes)));
}

static void put_bytes(uint8_t *to, struct span from)
{
    if (from.bytes > 0)
        memcpy(to, from.at, from.bytes);
}

/* --- distinct ids ------------------------------------------------------------------------------ */

static int link_read(struct people_txn *txn, const struct people_key *key, struct span distinct_id,
                     struct person_link *out, struct err *err)
{
    struct span where = span_of(key->bytes, key->count), value;
    enum hot_answer hot = people_hot_get(txn, TABLE_LINKS, where, &value);

    if (hot == HOT_ABSENT)
        return 0;
    if (hot == HOT_UNKNOWN) {
        int got = lmdb_get(txn, TABLE_LINKS, where, &value, err);

        if (got == 0)
            people_hot_keep_absent(txn, TABLE_LINKS, where);
        if (got <= 0)
            return got;
        if (value_check("distinct id", distinct_id, value, LINK_HEAD, LINK_VERSION, err) < 0)
            return -1;
        (void)people_hot_keep(txn, TABLE_LINKS, where, value);
    }
    if (key->hashed && !span_equal(span_from(value, LINK_HEAD), distinct_id))
        return err_set(err, ERR_CORRUPT, "people: two long distinct ids have one key");
    *out = (struct person_link){ bytes_get_u64(value.at + 8), bytes_get_u64(value.at + 16) };
    return 1;
}

static int link_key(struct people_key *key, uint32_t project, struct span distinct_id, struct err *err)
{
    people_key_init(key, project, 4);
    return people_key_add_text(key, distinct_id, err);
}

int lmdb_link_get(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out, struct err *err)
{
    struct people_key key;

    return link_key(&key, project, distinct_id, err) < 0 ? -1 : link_read(txn, &key, distinct_id, out, err);
}

static struct span grave_key(uint8_t to[20], uint32_t project, const struct uuid *uuid)
{
    uint32_t big = __builtin_bswap32(project);

    memcpy(to, &big, 4);
    memcpy(to + 4, uuid->bytes, sizeof uuid->bytes);
    return span_of(to, 20);
}

/* Enters (or, for put false, removes) the way back from a person to its distinct id. */
static int way_back_set(struct people_txn *txn, uint64_t person, struct span distinct_id, bool put, struct err *err)
{
    struct people_key key;

    people_key_init(&key, person, 8);
    if (people_key_add_text(&key, distinct_id, err) < 0)
        return -1;
    if (put)
        return lmdb_put(txn, TABLE_PERSON_LINKS, span_of(key.bytes, key.count),
                                key.hashed ? distinct_id : SPAN(""), err);
    switch (lmdb_delete(txn, TABLE_PERSON_LINKS, span_of(key.bytes, key.count), err)) {
    case 1: return 0;
    case 0: return err_set(err, ERR_CORRUPT, "people: a person does not know one of its distinct ids");
    default: return -1;
    }
}

int lmdb_link_put(struct people_txn *txn, uint32_t project, struct span distinct_id, const struct person_link *link,
                    struct err *err)
{
    struct people_key key;
    struct person_link old = { 0 };
    size_t bytes;
    uint8_t *at;

    if (link_key(&key, project, distinct_id, err) < 0 || link_read(txn, &key, distinct_id, &old, err) < 0)
        return -1;
    assert(link->version >= old.version);
    if (old.person != link->person) {
        if (old.person != 0 && way_back_set(txn, old.person, distinct_id, false, err) < 0)
            return -1;
        if (link->person != 0 && way_back_set(txn, link->person, distinct_id, true, err) < 0)
            return -1;
    }
    bytes = LINK_HEAD + (key.hashed ? distinct_id.bytes : 0);
    at = lmdb_reserve_hot(txn, TABLE_LINKS, span_of(key.bytes, key.count), bytes, err);
    if (at == NULL)
        return -1;
    bytes_put_u64(at + 8, link->person);
    bytes_put_u64(at + 16, link->version);
    if (key.hashed)
        put_bytes(at + LINK_HEAD, distinct_id);
    value_seal(distinct_id, at, bytes, LINK_VERSION, 0);
    people_hot_replace(txn, TABLE_LINKS, span_of(key.bytes, key.count), span_of(at, bytes));
    return 0;
}

int lmdb_link_erase(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err)
{
    struct uuid uuid = people_person_uuid(project, distinct_id);
    struct people_key key;
    struct person_link link;
    uint8_t grave[20], version[8];
    uint64_t above;
    int got;

    if (link_key(&key, project, distinct_id, err) < 0)
        return -1;
    got = link_read(txn, &key, distinct_id, &link, err);
    if (got <= 0)
        return got;
    assert(link.person == 0);
    if (lmdb_delete(txn, TABLE_LINKS, span_of(key.bytes, key.count), err) < 0 ||
        lmdb_person_version(txn, project, &uuid, &above, err) < 0)
        return -1;
    if (above > link.version)
        return 0;
    bytes_put_u64(version, link.version);
    return lmdb_put(txn, TABLE_GRAVES, grave_key(grave, project, &uuid), span_of(version, sizeof version), err);
}

/* 1: *out is the distinct id of an entry of PERSON_LINKS that stands under holder; 0: it stands under another one. */
static int under(const struct people_entry *entry, const struct people_key *holder, struct span *out)
{
    const uint8_t *at = entry->key.at;

    if (entry->key.bytes < 9 || memcmp(at, holder->bytes, 8) != 0)
        return 0;
    *out = at[8] != 0 ? entry->value : span_of(at + 9, entry->key.bytes - 9);
    return 1;
}

int lmdb_links_under(struct people_txn *txn, uint64_t holder, uint64_t owner, uint32_t project, people_link_seen *seen, void *ctx,
                     struct err *err)
{
    struct people_entry entry;
    struct people_key head;
    struct person_link link;
    struct span distinct_id;
    int got;

    people_key_init(&head, holder, 8);
    for (got = lmdb_seek(txn, TABLE_PERSON_LINKS, span_of(head.bytes, head.count), &entry, err); got == 1;
         got = lmdb_next(txn, TABLE_PERSON_LINKS, &entry, err)) {
        int answer;

        if (under(&entry, &head, &distinct_id) == 0)
            return 0;
        got = people_link_get(txn, project, distinct_id, &link, err);
        if (got < 0)
            return -1;
        if (got == 0 || link.person != owner)
            return err_set(err, ERR_CORRUPT, "people: distinct id and person do not agree on who belongs to whom");
        answer = seen(ctx, distinct_id, &link, err);
        if (answer < 0)
            return answer;
    }
    return got;
}

int lmdb_first_under(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err)
{
    struct people_entry entry;
    struct people_key head;
    int got;

    people_key_init(&head, holder, 8);
    got = lmdb_seek(txn, TABLE_PERSON_LINKS, span_of(head.bytes, head.count), &entry, err);
    return got == 1 ? under(&entry, &head, out) : got;
}

/* --- persons ----------------------------------------------------------------------------------- */

int lmdb_person_get(struct people_txn *txn, uint64_t id, struct person *out, struct err *err)
{
    struct span value, kept = { NULL, 0 };

    if (people_hot_get(txn, TABLE_PERSONS, id_span(&id), &value) == HOT_THERE) {
        kept = value;
    } else {
        int got = lmdb_get(txn, TABLE_PERSONS, id_span(&id), &value, err);

        if (got <= 0)
            return got;
        if (value_check("person", id_span(&id), value, PERSON_HEAD, PACKED_VERSION, err) < 0)
            return -1;
        kept = people_hot_keep(txn, TABLE_PERSONS, id_span(&id), value);
    }
    if (kept.at != NULL)
        value = kept;
    *out = (struct person){
        .id = id,
        .lasting = kept.at != NULL,
        .project = bytes_get_u32(value.at + 48),
        .created_us = (int64_t)bytes_get_u64(value.at + 8),
        .last_seen_us = (int64_t)bytes_get_u64(value.at + 16),
        .identified = value.at[1] & 1,
        .version = bytes_get_u64(value.at + 24),
        .properties = span_from(value, PERSON_HEAD),
    };
    memcpy(out->uuid.bytes, value.at + 32, sizeof out->uuid.bytes);
    return 1;
}

int lmdb_person_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct person *out,
                       struct err *err)
{
    struct people_entry entry;
    uint64_t id;
    int got;

    for (got = lmdb_seek(txn, TABLE_PERSONS, SPAN(""), &entry, err); got == 1; got = lmdb_next(txn, TABLE_PERSONS, &entry, err)) {
        const uint8_t *at = entry.value.at;

        if (entry.value.bytes < PERSON_HEAD || entry.key.bytes != sizeof id || bytes_get_u32(at + 48) != project ||
            memcmp(at + 32, uuid->bytes, sizeof uuid->bytes) != 0)
            continue;
        memcpy(&id, entry.key.at, sizeof id);
        return lmdb_person_get(txn, id, out, err);
    }
    return got;
}

int lmdb_person_id_new(struct people_txn *base, uint64_t *out, struct err *err)
{
    struct lmdb_txn *txn = lmdb_txn_of(base);
    struct span value;
    int got;

    if (txn->person_next == 0) {
        got = lmdb_get(base, TABLE_META, SPAN("person_next"), &value, err);
        if (got < 0)
            return -1;
        if (got == 1 && value.bytes != 8)
            return err_set(err, ERR_CORRUPT, "people: the next person's id has %zu bytes", value.bytes);
        txn->person_next = got == 1 ? bytes_get_u64(value.at) : 1;
    }
    *out = txn->person_next++;
    return 0;
}

int lmdb_person_put(struct people_txn *txn, struct person *person, struct err *err)
{
    size_t bytes = PERSON_HEAD + person->properties.bytes;
    uint64_t id = person->id;
    uint8_t *at;

    if (id == 0 && lmdb_person_id_new(txn, &id, err) < 0)
        return -1;
    at = lmdb_reserve_hot(txn, TABLE_PERSONS, id_span(&id), bytes, err);
    if (at == NULL)
        return -1;
    bytes_put_u64(at + 8, (uint64_t)person->created_us);
    bytes_put_u64(at + 16, (uint64_t)person->last_seen_us);
    bytes_put_u64(at + 24, person->version);
    memcpy(at + 32, person->uuid.bytes, sizeof person->uuid.bytes);
    bytes_put_u32(at + 48, person->project);
    put_bytes(at + PERSON_HEAD, person->properties);
    value_seal(id_span(&id), at, bytes, PACKED_VERSION, person->identified);
    lmdb_txn_of(txn)->packed = true;
    people_hot_replace(txn, TABLE_PERSONS, id_span(&id), span_of(at, bytes));
    person->id = id;
    return 0;
}

/* In stages, each over all ids: a look-up that needs a line of memory is made when the line has come. A long id is
 * not expected: its key costs a SHA-256. */
void lmdb_expect(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out)
{
    const struct hot *hot = lmdb_of(txn->people)->hot;
    uint64_t hashes[PEOPLE_EXPECT_MAX];
    struct people_key key;
    struct span value;
    struct err ignored;

    assert(count <= PEOPLE_EXPECT_MAX);
    memset(persons_out, 0, count * sizeof *persons_out);
    if (hot == NULL || !txn->write)
        return;
    for (size_t i = 0; i < count; i++) {
        hashes[i] = 0;
        if (ids[i].distinct_id.bytes > PEOPLE_KEY_TEXT_MAX || link_key(&key, ids[i].project, ids[i].distinct_id, &ignored) < 0)
            continue;
        hashes[i] = hot_hash(TABLE_LINKS, span_of(key.bytes, key.count));
        hot_expect(hot, hashes[i]);
    }
    for (size_t i = 0; i < count; i++)
        (void)hot_near(hot, hashes[i], LINK_AHEAD_BYTES, NULL);
    for (size_t i = 0; i < count; i++)
        if (hot_near(hot, hashes[i], 0, &value) && value.bytes >= LINK_HEAD) {
            persons_out[i] = bytes_get_u64(value.at + 8);
            hashes[i] = hot_hash(TABLE_PERSONS, id_span(&persons_out[i]));
            hot_expect(hot, hashes[i]);
        }
    for (size_t i = 0; i < count; i++)
        if (persons_out[i] != 0)
            (void)hot_near(hot, hashes[i], PERSON_AHEAD_BYTES, NULL);
}

int lmdb_person_delete(struct people_txn *txn, const struct person *person, uint64_t into, struct err *err)
{
    uint8_t key[20], version[8];
    uint64_t above, last = person->version + PEOPLE_DELETED_VERSIONS;

    (void)into;
    if (lmdb_delete(txn, TABLE_PERSONS, id_span(&person->id), err) < 0 ||
        lmdb_person_version(txn, person->project, &person->uuid, &above, err) < 0)
        return -1;
    if (above > last) /* one of its ids had a higher one: people_link_erase */
        return 0;
    bytes_put_u64(version, last);
    return lmdb_put(txn, TABLE_GRAVES, grave_key(key, person->project, &person->uuid),
                            span_of(version, sizeof version), err);
}

int lmdb_person_version(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out,
                          struct err *err)
{
    struct span value;
    uint8_t key[20];
    int got = lmdb_get(txn, TABLE_GRAVES, grave_key(key, project, uuid), &value, err);

    if (got < 0)
        return -1;
    if (got == 1 && value.bytes != 8)
        return err_set(err, ERR_CORRUPT, "people: a tombstone has %zu bytes", value.bytes);
    *out = got == 1 ? bytes_get_u64(value.at) + 1 : 0;
    return 0;
}

/* --- groups ------------------------------------------------------------------------------------ */

/* The lowest index that no type of the project has; PEOPLE_GROUP_TYPES_MAX when all are given. */
static int group_type_free(struct people_txn *txn, uint32_t project, int *out, struct err *err)
{
    struct people_entry entry;
    struct people_key head;
    unsigned taken = 0;
    int got;

    people_key_init(&head, project, 4);
    for (got = lmdb_seek(txn, TABLE_GROUP_TYPES, span_of(head.bytes, head.count), &entry, err); got == 1;
         got = lmdb_next(txn, TABLE_GROUP_TYPES, &entry, err)) {
        if (entry.key.bytes < 4 || memcmp(entry.key.at, head.bytes, 4) != 0)
            break;
        if (entry.value.bytes < 1 || entry.value.at[0] >= PEOPLE_GROUP_TYPES_MAX)
            return err_set(err, ERR_CORRUPT, "people: a group type has no index");
        taken |= 1u << entry.value.at[0];
    }
    if (got < 0)
        return -1;
    for (*out = 0; *out < PEOPLE_GROUP_TYPES_MAX && (taken >> *out & 1) != 0; ++*out)
        ;
    return 0;
}

int lmdb_group_type(struct people_txn *txn, uint32_t project, struct span type, bool create, int *index_out,
                      struct err *err)
{
    struct people_key key;
    struct span value;
    uint8_t *at;
    int got, index = PEOPLE_GROUP_TYPES_MAX;

    people_key_init(&key, project, 4);
    if (people_key_add_text(&key, type, err) < 0)
        return -1;
    got = lmdb_get(txn, TABLE_GROUP_TYPES, span_of(key.bytes, key.count), &value, err);
    if (got < 0)
        return -1;
    if (got == 1) {
        if (value.bytes < 1 || value.at[0] >= PEOPLE_GROUP_TYPES_MAX ||
            (key.hashed && !span_equal(span_from(value, 1), type)))
            return err_set(err, ERR_CORRUPT, "people: a group type is damaged");
        *index_out = value.at[0];
        return 1;
    }
    if (!create)
        return 0;
    if (group_type_free(txn, project, &index, err) < 0)
        return -1;
    if (index == PEOPLE_GROUP_TYPES_MAX)
        return 0;
    at = lmdb_reserve(txn, TABLE_GROUP_TYPES, span_of(key.bytes, key.count), 1 + (key.hashed ? type.bytes : 0),
                              err);
    if (at == NULL)
        return -1;
    at[0] = (uint8_t)index;
    if (key.hashed)
        put_bytes(at + 1, type);
    *index_out = index;
    return 1;
}

static int group_key(struct people_key *out, uint32_t project, int index, struct span key, struct err *err)
{
    assert(index >= 0 && index < PEOPLE_GROUP_TYPES_MAX);
    people_key_init(out, (uint64_t)project << 8 | (unsigned)index, 5);
    return people_key_add_text(out, key, err);
}

int lmdb_group_get(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out,
                     struct err *err)
{
    struct people_key stored;
    struct span value;
    size_t key_bytes;
    int got;

    if (group_key(&stored, project, index, key, err) < 0)
        return -1;
    got = lmdb_get(txn, TABLE_GROUPS, span_of(stored.bytes, stored.count), &value, err);
    if (got <= 0)
        return got;
    if (value_check("group", key, value, GROUP_HEAD, PACKED_VERSION, err) < 0)
        return -1;
    key_bytes = bytes_get_u32(value.at + 24);
    if (key_bytes > value.bytes - GROUP_HEAD ||
        (stored.hashed && !span_equal(span_of(value.at + GROUP_HEAD, key_bytes), key)))
        return err_set(err, ERR_CORRUPT, "people: two long group keys have one place");
    *out = (struct group){
        .project = project,
        .index = index,
        .key = key,
        .created_us = (int64_t)bytes_get_u64(value.at + 8),
        .version = bytes_get_u64(value.at + 16),
        .properties = span_from(value, GROUP_HEAD + key_bytes),
    };
    return 1;
}

int lmdb_group_put(struct people_txn *txn, const struct group *group, struct err *err)
{
    struct people_key key;
    size_t key_bytes, bytes;
    uint8_t *at;

    if (group_key(&key, group->project, group->index, group->key, err) < 0)
        return -1;
    key_bytes = key.hashed ? group->key.bytes : 0;
    bytes = GROUP_HEAD + key_bytes + group->properties.bytes;
    at = lmdb_reserve(txn, TABLE_GROUPS, span_of(key.bytes, key.count), bytes, err);
    if (at == NULL)
        return -1;
    bytes_put_u64(at + 8, (uint64_t)group->created_us);
    bytes_put_u64(at + 16, group->version);
    bytes_put_u32(at + 24, (uint32_t)key_bytes);
    if (key.hashed)
        put_bytes(at + GROUP_HEAD, group->key);
    put_bytes(at + GROUP_HEAD + key_bytes, group->properties);
    value_seal(group->key, at, bytes, PACKED_VERSION, 0);
    lmdb_txn_of(txn)->packed = true;
    return 0;
}
