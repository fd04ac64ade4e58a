/* event/echo.h - properties of an event of which `$set` and `$set_once` say again what stands there anyway: form 2 of packed properties
 * (event/packed.h), in which it is said where.
 *
 * What every event tells of its person (browser, address of the page, campaign) is copied to both objects, so the text of an event holds
 * most values three times and some fifty names that ingest has put there. Here the text stands once, without the members of those
 * objects; behind it the places of those values in it, and which of them are members:
 *    at  bytes  field
 *     0      1  form (2)
 *     1      4  bytes of the text that comes out
 *     5      4  bytes of the stem
 *     9      *  the stem: that text, but lists of members are left out of it (`"$set":{},"$set_once":{}`)
 *     *      1  places
 *     *      4  each: the word of its key (1), bytes of the value (1), offset in the stem (2)
 *     *      *  then, until the end, lists: bytes of the stem since the list before, pieces; both as lengths of packed.h; then each piece:
 *                 0, first, count, how   members of places first, first + 1, ...: the key is the place's word + how, 0 or 1 (the second one
 *                                        of its pair), the value stands there
 *                 else                   a member: key and value as in form 1, but no value is that of a pair
 * The text: the stem, and at the place of each list its members, with commas between them.
 *  E1  what comes out is what was there, to the byte: a value is told by its place only when it is copied from there
 *  E2  nothing is read outside the span, and nothing is written outside the text's bytes, whatever the span holds */
#ifndef PENSTOCK_EVENT_ECHO_H
#define PENSTOCK_EVENT_ECHO_H

#include "event/packed_piece.h"
#include "event/packed_words.h"

enum {
    ECHO_HEAD_BYTES = 9,
    ECHO_TAGS_MAX = 255,
    ECHO_PLACE_BYTES = 4,
    ECHO_VALUE_BYTES_MAX = 255, ECHO_OFFSET_MAX = 65535, /* of a place; what does not fit is a member with its value */
    ECHO_MEMBER_BYTES = 16      /* more than a member needs beside its key and value */
};

/* Writes one. In this order: begin, the stem by the caller behind the head and a place for each value that may be said again, stem_end,
 * lists in the order of their places with their members, end. Spans live until the end. */
struct echo_writer {
    uint8_t    *start, *at;
    size_t      text_bytes;
    size_t      list_at;     /* of the list before */
    uint8_t    *pieces_at;   /* of the list: where their count stands */
    size_t      pieces;
    unsigned    run_first, run_count, run_how; /* a run of places that is not written yet */
    uint64_t    known[4];    /* tags that have a place */
    const uint8_t *words;
    uint8_t     numbers[ECHO_TAGS_MAX + 1];
    size_t      offsets[ECHO_TAGS_MAX + 1];
    struct span values[ECHO_TAGS_MAX + 1];
};

/* The room that is certainly enough, for stem, keys and values of so many bytes. */
static inline size_t echo_room(size_t bytes, size_t members)
{
    return ECHO_HEAD_BYTES + bytes + ECHO_MEMBER_BYTES * members + ECHO_PLACE_BYTES * ECHO_TAGS_MAX + 64;
}

/* Gives where the stem goes. */
uint8_t *echo_begin(struct echo_writer *writer, uint8_t *to);
/* A value stands here in the stem. tag: the caller's name for it, 1 to ECHO_TAGS_MAX, in the order of the members; 0: nobody asks for it.
 * Without a branch, since nobody could foretell it. */
static inline void echo_place(struct echo_writer *writer, uint8_t tag, size_t offset, struct span value)
{
    writer->known[tag / 64] |= UINT64_C(1) << tag % 64;
    writer->offsets[tag] = offset;
    writer->values[tag] = value;
}
/* words: of the keys of these values, by their tags; 0: it is none. */
void echo_stem_end(struct echo_writer *writer, size_t stem_bytes, const uint8_t words[ECHO_TAGS_MAX + 1]);
void echo_list_begin(struct echo_writer *writer, size_t offset);
/* word: of the key, 0: it is none. tag: of the place that the value was copied from, 0: none. */
static inline void echo_member(struct echo_writer *writer, uint8_t word, struct span key, uint8_t tag, struct span value);
void echo_list_end(struct echo_writer *writer);
/* Gives the bytes. Those of the text are in writer->text_bytes. */
size_t echo_end(struct echo_writer *writer);

/* The text, of packed_text_bytes. ERR_CORRUPT: not of this form. */
int echo_text(struct span echo, uint8_t *to, struct err *err) must_check;

/* --- inside ------------------------------------------------------------------------------------ */

void echo_run_put(struct echo_writer *writer);
void echo_member_put(struct echo_writer *writer, uint8_t word, struct span key, struct span value);

/* E1: it is the very value that stands there. */
static inline bool echo_is_place(const struct echo_writer *writer, uint8_t tag, struct span value)
{
    return (writer->known[tag / 64] >> tag % 64 & 1) != 0 && writer->values[tag].at == value.at &&
           writer->values[tag].bytes == value.bytes;
}

static inline void echo_member(struct echo_writer *writer, uint8_t word, struct span key, uint8_t tag, struct span value)
{
    unsigned how = 2;

    writer->text_bytes += key.bytes + value.bytes + 2;
    if (word != 0 && echo_is_place(writer, tag, value))
        how = word == writer->words[tag] ? 0 : word == writer->words[tag] + 1 && packed_pair(word) == packed_pair(writer->words[tag]) ? 1 : 2;
    if (how > 1) {
        echo_member_put(writer, word, key, value);
        return;
    }
    if (writer->run_count > 0 && writer->run_first + writer->run_count == writer->numbers[tag] && writer->run_how == how) {
        writer->run_count++;
        return;
    }
    echo_run_put(writer);
    writer->run_first = writer->numbers[tag];
    writer->run_count = 1;
    writer->run_how = how;
}

#endif
