/* event/packed.h - the properties of a person or group, packed: a third to a fourth of their text's bytes.
 *
 * A span of packed properties is one of three, and its first byte says which:
 *   `{`  the object as JSON text: what nobody packed, and what an earlier Penstock stored
 *   1    members:  at  bytes  field
 *                   0      1  form (1)
 *                   1      4  bytes of the text
 *                   5      *  members, each a key and a value
 *     key     1..206    a word (event/packed_words.h)
 *             220..254  so many bytes less 219 follow: the key as written, with its quotes
 *             255       a length follows, then the key
 *     value   0         the value that the other word of this key's pair has; that one stood before
 *             1..63     a word
 *             64..254   so many bytes less 63 follow: the value as JSON text
 *             255       a length follows, then the value
 *     length  7 bits a byte, the lowest first; the highest bit says that more follows
 *   2    properties of an event that name places in themselves: event/echo.h. Only text is made of them here
 * Text that comes out is what went in, to the byte: members in their order, `{"key":value,...}` without any white space
 * between them. An object that is written otherwise stays text.
 * Why not a general compressor with a dictionary: members of this form are taken apart without being unpacked first, keys and
 * values are spans into it, and what did not change is copied as it is (docs/decisions/packed-persons.md).
 *  P1  nothing is read outside the span, and nothing is written outside the room, whatever the span holds
 *  P2  no more than PACKED_TEXT_BYTES_MAX of text comes out
 *  P3  the same members in the same order give the same bytes, whichever way they were changed into each other */
#ifndef PENSTOCK_EVENT_PACKED_H
#define PENSTOCK_EVENT_PACKED_H

#include "base/arena.h"
#include "base/buf.h"
#include "event/packed_piece.h"
#include "event/packed_words.h"

/* --- text -------------------------------------------------------------------------------------- */

/* The text; to has packed_text_bytes (packed_piece.h) of room. ERR_CORRUPT: not of this form. */
int packed_text(struct span packed, uint8_t *to, struct err *err) must_check;
/* The same into the arena; what is text already is given as it is. */
int packed_text_in_arena(struct span packed, struct arena *arena, struct span *out, struct err *err) must_check;
/* The same behind what is in buf, which fails when it has no room. ERR_CORRUPT: nothing was added. */
int packed_text_to_buf(struct span packed, struct buf *buf, struct err *err) must_check;

/* --- members ----------------------------------------------------------------------------------- */

/* key and value live as long as the packed properties. */
struct packed_member {
    struct span key;   /* as written, with quotes */
    struct span value; /* JSON text */
    struct span coded; /* both, as they stand there */
    uint8_t     word;  /* of the key; 0: it is none */
    bool        paired; /* the value stood as that of the other one of its pair */
};

struct packed_pairs {
    uint64_t    known;
    struct span values[PACKED_PAIRS + 1];
};

struct packed_reader {
    const uint8_t      *at, *end;
    struct packed_pairs pairs;
};

/* packed_is(packed). -1: ERR_CORRUPT; so is an event's form. */
int packed_reader_init(struct packed_reader *reader, struct span packed, struct err *err) must_check;
/* 1: *out is the next member; 0: there are no more; -1: ERR_CORRUPT. */
static inline int packed_next(struct packed_reader *reader, struct packed_member *out, struct err *err) must_check;

/* Members to packed properties. Spans given in live until packed_end. */
struct packed_writer {
    uint8_t            *start, *at;
    struct span         run; /* coded members that stand side by side, not copied yet */
    struct packed_pairs pairs;
    size_t              text_bytes;
};

/* The room that is certainly enough for so many bytes of text. */
static inline size_t packed_room(size_t text_bytes)
{
    return text_bytes + text_bytes / 4 + 32;
}

void packed_begin(struct packed_writer *writer, uint8_t *to);
/* word: of the key (packed_key_find); keys differ from each other. */
void packed_add(struct packed_writer *writer, uint8_t word, struct span key, struct span value);
/* A member as packed_next gave it, of any packed properties: copied where that is right. */
static inline void packed_add_coded(struct packed_writer *writer, const struct packed_member *member);
/* Gives the bytes; of no members: those of the text `{}`. */
size_t packed_end(struct packed_writer *writer);

/* --- inside ------------------------------------------------------------------------------------ */

int packed_next_slow(struct packed_reader *reader, struct packed_member *out, struct err *err) must_check;
void packed_run_put(struct packed_writer *writer);

static inline void packed_pair_note(struct packed_pairs *pairs, uint8_t word, struct span value)
{
    unsigned pair = packed_pair(word);

    if (pair == 0)
        return;
    pairs->known |= UINT64_C(1) << (pair - 1);
    pairs->values[pair] = value;
}

static inline bool packed_pair_known(const struct packed_pairs *pairs, uint8_t word)
{
    unsigned pair = packed_pair(word);

    return pair != 0 && (pairs->known >> (pair - 1) & 1) != 0;
}

/* Words and short lengths here, which nearly all are; the rest in packed_next_slow. */
static inline int packed_next(struct packed_reader *reader, struct packed_member *out, struct err *err)
{
    const uint8_t *at = reader->at;
    size_t         left = (size_t)(reader->end - at), value_bytes;
    uint8_t        word, value;

    if (left == 0)
        return 0;
    if (left < 2 || at[0] == 0 || at[0] > PACKED_KEYS || at[1] == PACKED_LONG) {
        struct packed_member slow; /* nobody else sees *out, which then need not be in memory at all */
        int                  rc = packed_next_slow(reader, &slow, err);

        *out = slow;
        return rc;
    }
    word = at[0];
    value = at[1];
    out->key = span_of(packed_keys[word].text, packed_keys[word].bytes);
    out->word = word;
    out->paired = false;
    if (value > PACKED_VALUE_OWN) {
        value_bytes = (size_t)value - PACKED_VALUE_OWN;
        if (value_bytes > left - 2) {
            (void)packed_damaged(err);
            return -1; /* as it does, but the compiler sees that nothing of *out is read */
        }
        out->value = span_of(at + 2, value_bytes);
        out->coded = span_of(at, 2 + value_bytes);
    } else if (value != 0) {
        out->value = span_of(packed_values[value].text, packed_values[value].bytes);
        out->coded = span_of(at, 2);
    } else {
        if (!packed_pair_known(&reader->pairs, word)) {
            (void)packed_damaged(err);
            return -1;
        }
        out->value = reader->pairs.values[packed_pair(word)];
        out->paired = true;
        out->coded = span_of(at, 2);
    }
    packed_pair_note(&reader->pairs, word, out->value);
    reader->at = at + out->coded.bytes;
    return 1;
}

/* Side by side they become one piece. What stood as its pair's value is written anew where that is another value here, and the
 * other way round (P3). */
static inline void packed_add_coded(struct packed_writer *writer, const struct packed_member *member)
{
    bool paired = packed_pair_known(&writer->pairs, member->word) &&
                  (writer->pairs.values[packed_pair(member->word)].at == member->value.at ||
                   span_equal(writer->pairs.values[packed_pair(member->word)], member->value));

    if (member->paired != paired) {
        packed_add(writer, member->word, member->key, member->value);
        return;
    }
    if (writer->run.bytes == 0 || writer->run.at + writer->run.bytes != member->coded.at) {
        packed_run_put(writer);
        writer->run = span_of(member->coded.at, 0);
    }
    writer->run.bytes += member->coded.bytes;
    writer->text_bytes += member->key.bytes + member->value.bytes + 2;
    packed_pair_note(&writer->pairs, member->word, member->value);
}

#endif
