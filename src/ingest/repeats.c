/* ingest/repeats.c - see repeats.h. A cryptographic hash: most of a record's bytes are a stranger's, who must not be able to make
 * two letters meet. Only letters pay for it. */
#include "ingest/repeats.h"

#include <openssl/evp.h>
#include <string.h>

#include "wire/time.h"

enum { LETTERS_PROJECT = 0 };

static int32_t day_of(int64_t steady_us)
{
    return (int32_t)(steady_us / TIME_US_DAY);
}

static int letter_id(const struct item *item, struct people_seen *out, struct err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (EVP_Digest(item->body.at, item->body.bytes, digest, NULL, EVP_sha256(), NULL) != 1)
        return err_set(err, ERR_FULL, "no memory for a letter's id");
    *out = (struct people_seen){ .project = LETTERS_PROJECT, .place = item->raw_offset };
    memcpy(out->uuid.bytes, digest, sizeof out->uuid.bytes);
    return 0;
}

/* The event's uuid is noted. 1: it is a repeat nonetheless; 0: it was set aside when it came before, and is sent again by
 * somebody who can do better now; -1. */
static int is_repeat(struct people_txn *txn, const struct item *item, int64_t steady_us, struct err *err)
{
    struct people_seen letter;
    uint64_t           place;
    int                got = people_unseen_take(txn, item->project->id, &item->record.uuid, err);

    if (got <= 0)
        return got < 0 ? -1 : 1;
    if (letter_id(item, &letter, err) < 0)
        return -1;
    got = people_seen_find(txn, letter.project, &letter.uuid, &place, err);
    if (got > 0 && people_unseen_put(txn, item->project->id, &item->record.uuid, day_of(steady_us), err) < 0)
        return -1;
    return got;
}

int repeats_drop(struct people_txn *txn, const struct slice *slice, int64_t steady_us, struct err *err)
{
    struct item        *items = slice->items;
    size_t              count = slice->count, asked = 0;
    struct people_seen *ids = arena_alloc_array(slice->arena, count, sizeof *ids);

    if (ids == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for event ids");
    for (size_t i = 0; i < count; i++) {
        if (item_pending(&items[i]))
            ids[asked++] = (struct people_seen){
                .project = items[i].project->id, .uuid = items[i].record.uuid, .place = items[i].raw_offset
            };
        else if (items[i].fate == FATE_DEAD_LETTERED && letter_id(&items[i], &ids[asked++], err) < 0)
            return -1;
    }
    if (asked > 0 && people_seen_add(txn, ids, asked, day_of(steady_us), err) < 0)
        return -1;
    asked = 0;
    for (size_t i = 0; i < count; i++) {
        bool pending = item_pending(&items[i]);
        int  repeat;

        if ((!pending && items[i].fate != FATE_DEAD_LETTERED) || !ids[asked++].repeated)
            continue;
        repeat = pending ? is_repeat(txn, &items[i], steady_us, err) : 1;
        if (repeat < 0)
            return -1;
        if (repeat == 1)
            item_drop_repeat(&items[i]);
    }
    return 0;
}

int repeats_letter(struct people_txn *txn, struct item *item, int64_t steady_us, struct err *err)
{
    struct people_seen letter;

    if (letter_id(item, &letter, err) < 0 || people_seen_add(txn, &letter, 1, day_of(steady_us), err) < 0)
        return -1;
    if (letter.repeated) /* it was one for another reason */
        item_drop_repeat(item);
    return people_unseen_put(txn, item->project->id, &item->record.uuid, day_of(steady_us), err);
}
