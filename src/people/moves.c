/* people/moves.c - distinct ids that still stand under a person which was merged away.
 *
 * A merge moves every id of one person to another, and a person may have a million of them: more than a batch's
 * memory holds, and seconds of work for a single event. So the many are not moved by the merge. It leaves a note,
 * "what stands under this person belongs to that one", in the transaction that merges; every look-up follows the
 * notes, so that from then on nobody sees a difference. The ids themselves are moved afterwards, some with each
 * batch, each with its row, in that batch's transaction: a crash loses no move and makes none twice.
 *
 * note, under the internal id of the person that is no more (native u64)
 *    at  bytes  field
 *     0      1  version (1)
 *     1      3  zero
 *     4      4  crc32c of the id and of all that follows
 *     8      8  the person to whom its ids belong
 *    16      8  steps: by so much the version of each id rises
 *    24      4  project
 * Notes may lead to persons that have one themselves: a person merged again before its ids had come. When the last
 * id has gone, those that led there are made to lead on, and the note is deleted. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/people_backend.h"

#include <assert.h>

enum { NOTE_VERSION = 1, NOTE_BYTES = 28, NOTE_CRC_FROM = 8 };

struct note {
    uint64_t from, to, steps;
    uint32_t project;
};

static uint32_t note_crc(const uint64_t *from, const uint8_t *value)
{
    return crc32c(crc32c(0, people_number_span(from)), span_of(value + NOTE_CRC_FROM, NOTE_BYTES - NOTE_CRC_FROM));
}

static int note_read(uint64_t from, struct span value, struct note *out, struct err *err)
{
    if (value.bytes != NOTE_BYTES || value.at[0] != NOTE_VERSION)
        return err_set(err, ERR_CORRUPT, "people: the note of a merge is of no known form");
    if (note_crc(&from, value.at) != bytes_get_u32(value.at + 4))
        return err_set(err, ERR_CORRUPT, "people: the note of a merge is damaged (its checksum is wrong)");
    *out = (struct note){ from, bytes_get_u64(value.at + 8), bytes_get_u64(value.at + 16),
                          bytes_get_u32(value.at + 24) };
    return 0;
}

static int note_put(struct people_txn *txn, const struct note *note, struct err *err)
{
    uint8_t value[NOTE_BYTES] = { NOTE_VERSION };

    bytes_put_u64(value + 8, note->to);
    bytes_put_u64(value + 16, note->steps);
    bytes_put_u32(value + 24, note->project);
    bytes_put_u32(value + 4, note_crc(&note->from, value));
    return people_table_put(txn, TABLE_MOVES, people_number_span(&note->from), span_of(value, sizeof value), err);
}

/* The first note of a person with an internal id of `from` or more. 1, 0, -1. */
static int note_at_or_after(struct people_txn *txn, uint64_t from, struct note *out, struct err *err)
{
    struct people_entry entry;
    uint64_t found;
    int got = people_table_seek(txn, TABLE_MOVES, people_number_span(&from), &entry, err);

    if (got != 1)
        return got;
    return people_entry_number(&entry, &found, err) < 0 || note_read(found, entry.value, out, err) < 0 ? -1 : 1;
}

int people_moves_pending(struct people_txn *txn, struct err *err)
{
    struct note note;

    if (txn->moves == MOVES_UNKNOWN) {
        int got = note_at_or_after(txn, 0, &note, err);

        if (got < 0)
            return -1;
        txn->moves = got == 1 ? MOVES_SOME : MOVES_NONE;
    }
    return txn->moves == MOVES_SOME;
}

int people_moves_follow(struct people_txn *txn, struct person_link *link, struct err *err)
{
    struct note note;
    struct span value;
    int got = people_moves_pending(txn, err);

    while (got == 1) {
        got = people_table_get(txn, TABLE_MOVES, people_number_span(&link->person), &value, err);
        if (got == 1 && note_read(link->person, value, &note, err) < 0)
            return -1;
        if (got == 1) {
            link->person = note.to;
            link->version += note.steps;
        }
    }
    return got;
}

int people_moves_holder(struct people_txn *txn, uint64_t owner, uint64_t *after, uint64_t *holder_out, struct err *err)
{
    struct note note;
    int got = people_moves_pending(txn, err);

    while (got == 1) {
        struct person_link end;

        got = note_at_or_after(txn, *after + 1, &note, err);
        if (got != 1)
            return got;
        *after = note.from;
        end = (struct person_link){ note.from, 0 };
        if (people_moves_follow(txn, &end, err) < 0)
            return -1;
        if (end.person == owner) {
            *holder_out = note.from;
            return 1;
        }
    }
    return got;
}

int people_move_later(struct people_txn *txn, uint32_t project, uint64_t from, uint64_t to, uint64_t steps,
                      struct err *err)
{
    assert(from != 0 && to != 0 && from != to && steps > 0);
    txn->moves = MOVES_SOME;
    return note_put(txn, &(struct note){ from, to, steps, project }, err);
}

/* --- moving them ------------------------------------------------------------------------------- */

/* Nothing stands under it any more. */
static int note_end(struct people_txn *txn, const struct note *note, struct err *err)
{
    struct note other;
    uint64_t after = 0;
    int got;

    while ((got = note_at_or_after(txn, after + 1, &other, err)) == 1) {
        after = other.from;
        if (other.to != note->from)
            continue;
        other.to = note->to;
        other.steps += note->steps;
        if (note_put(txn, &other, err) < 0)
            return -1;
    }
    if (got < 0 || people_table_delete(txn, TABLE_MOVES, people_number_span(&note->from), err) < 0 ||
        txn->people->ops->holder_end(txn, note->from, err) < 0)
        return -1;
    txn->moves = MOVES_UNKNOWN;
    return 0;
}

static int id_move(struct people_txn *txn, const struct note *note, struct span distinct_id, people_id_moved *moved,
                   void *ctx, struct err *err)
{
    struct person_link link;
    struct person person;
    int got = people_link_get(txn, note->project, distinct_id, &link, err);

    if (got == 1)
        got = people_person_get(txn, link.person, &person, err);
    if (got == 0)
        return err_set(err, ERR_CORRUPT, "people: an id of a merged person leads to nobody");
    if (got < 0 || people_link_put(txn, note->project, distinct_id, &link, err) < 0)
        return -1;
    return moved(ctx, note->project, distinct_id, &person.uuid, link.version, err);
}

/* The first note whose ids are ours to move. 1, 0, -1. */
static int note_ours(struct people_txn *txn, struct note *out, struct err *err)
{
    int got, ours = 0;

    for (uint64_t from = 0; (got = note_at_or_after(txn, from, out, err)) == 1; from = out->from + 1) {
        ours = txn->people->ops->holder_ours(txn, out->from, err);
        if (ours != 0)
            return ours;
    }
    return got;
}

int people_moves_work(struct people_txn *txn, size_t ids_max, people_id_moved *moved, void *ctx, struct err *err)
{
    struct note note;
    struct span distinct_id;
    int got;

    for (size_t ids = 0; ids < ids_max;) {
        got = people_moves_pending(txn, err);
        if (got == 1)
            got = note_ours(txn, &note, err);
        if (got != 1)
            return got;
        while (ids < ids_max && (got = people_first_id(txn, note.from, &distinct_id, err)) == 1) {
            if (id_move(txn, &note, distinct_id, moved, ctx, err) < 0)
                return -1;
            ids++;
        }
        if (got < 0 || (got == 0 && note_end(txn, &note, err) < 0))
            return -1;
    }
    return 0;
}
