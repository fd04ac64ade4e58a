/* event/echo.c - see echo.h.
 *
 * Why places and not the numbers of members: whoever makes text of it would have to walk the stem to find them. Why the stem is text and not
 * packed: most of it is copied from the client's bytes in one piece, here and where it is read, and values are the larger part of it.
 * Why runs: what is copied to `$set` is copied to `$set_once` in the same order, so one list of places serves both, four bytes each, and
 * what is left of the two objects are some 110 bytes instead of 700, in which the log's compression does not even look for anything, since
 * there are no quotes (docs/performance.md). */
#include "event/echo.h"

#include <assert.h>

#include "base/bytes.h"

enum { PIECE_RUN = 0, RUN_BYTES = 4, PIECES_BYTES = 2 };

/* --- writing ----------------------------------------------------------------------------------- */

uint8_t *echo_begin(struct echo_writer *writer, uint8_t *to)
{
    writer->start = to;
    writer->list_at = 0;
    memset(writer->known, 0, sizeof writer->known);
    return to + ECHO_HEAD_BYTES;
}

void echo_stem_end(struct echo_writer *writer, size_t stem_bytes, const uint8_t words[ECHO_TAGS_MAX + 1])
{
    unsigned count = 0;
    uint8_t *count_at;

    bytes_put_u32(writer->start + 5, (uint32_t)stem_bytes);
    writer->text_bytes = stem_bytes;
    writer->at = writer->start + ECHO_HEAD_BYTES + stem_bytes;
    writer->words = words;
    writer->known[0] &= ~UINT64_C(1);
    count_at = writer->at++;
    for (unsigned i = 0; i < 4; i++)
        for (uint64_t left = writer->known[i]; left != 0; left &= left - 1) {
            unsigned tag = i * 64 + (unsigned)__builtin_ctzll(left);

            assert(writer->offsets[tag] + writer->values[tag].bytes <= stem_bytes);
            if (words[tag] == 0 || writer->values[tag].bytes > ECHO_VALUE_BYTES_MAX || writer->offsets[tag] > ECHO_OFFSET_MAX) {
                writer->known[i] &= ~(UINT64_C(1) << tag % 64);
                continue;
            }
            writer->numbers[tag] = (uint8_t)count++;
            writer->at[0] = words[tag];
            writer->at[1] = (uint8_t)writer->values[tag].bytes;
            bytes_put_u16(writer->at + 2, (uint16_t)writer->offsets[tag]);
            writer->at += ECHO_PLACE_BYTES;
        }
    *count_at = (uint8_t)count;
}

/* How many pieces it has is known at its end: two bytes are kept for that, and more are made room for when they do not do. */
void echo_list_begin(struct echo_writer *writer, size_t offset)
{
    assert(offset >= writer->list_at);
    writer->at = packed_length_put(writer->at, offset - writer->list_at);
    writer->list_at = offset;
    writer->pieces_at = writer->at;
    writer->at += PIECES_BYTES;
    writer->pieces = 0;
    writer->run_count = 0;
}

void echo_run_put(struct echo_writer *writer)
{
    if (writer->run_count == 0)
        return;
    *writer->at++ = PIECE_RUN;
    *writer->at++ = (uint8_t)writer->run_first;
    *writer->at++ = (uint8_t)writer->run_count;
    *writer->at++ = (uint8_t)writer->run_how;
    writer->run_count = 0;
    writer->pieces++;
}

void echo_member_put(struct echo_writer *writer, uint8_t word, struct span key, struct span value)
{
    uint8_t known = packed_value_find(value);

    echo_run_put(writer);
    assert(key.bytes >= 2 && value.bytes > 0);
    if (word != 0)
        *writer->at++ = word;
    else
        writer->at = packed_own_put(writer->at, PACKED_KEY_OWN, key);
    if (known != 0)
        *writer->at++ = known;
    else
        writer->at = packed_own_put(writer->at, PACKED_VALUE_OWN, value);
    writer->pieces++;
}

void echo_list_end(struct echo_writer *writer)
{
    uint8_t count[8], *end;

    echo_run_put(writer);
    writer->text_bytes -= writer->pieces > 0; /* one comma less than there are members */
    end = packed_length_put(count, writer->pieces);
    memmove(writer->pieces_at + (end - count), writer->pieces_at + PIECES_BYTES, (size_t)(writer->at - writer->pieces_at) - PIECES_BYTES);
    memcpy(writer->pieces_at, count, (size_t)(end - count));
    writer->at += end - count - PIECES_BYTES;
}

size_t echo_end(struct echo_writer *writer)
{
    writer->start[0] = PACKED_ECHO;
    bytes_put_u32(writer->start + 1, (uint32_t)writer->text_bytes);
    return (size_t)(writer->at - writer->start);
}

/* --- reading ----------------------------------------------------------------------------------- */

struct reading {
    const uint8_t *at, *end, *places;
    struct span    stem;   /* what is left of it */
    const uint8_t *stem_at;
    size_t         stem_bytes;
    uint8_t       *to, *to_end;
    unsigned       place_count;
};

static bool word_text(struct reading *reading, unsigned word)
{
    const struct packed_key *key = &packed_keys[word];
    size_t                   room = (size_t)(reading->to_end - reading->to);

    if (room >= sizeof key->text)
        memcpy(reading->to, key->text, sizeof key->text);
    else if (key->bytes + 1u <= room)
        memcpy(reading->to, key->text, key->bytes + 1u); /* with its colon */
    else
        return false;
    reading->to += key->bytes + 1;
    return true;
}

static bool text_put(struct reading *reading, struct span text, const uint8_t *text_end, uint8_t mark)
{
    if (text.bytes + 1 > (size_t)(reading->to_end - reading->to))
        return false;
    packed_piece_put(reading->to, reading->to_end, text.at, text_end, text.bytes);
    reading->to += text.bytes;
    *reading->to++ = mark;
    return true;
}

static bool run_text(struct reading *reading)
{
    unsigned first, count, how;

    if (reading->end - reading->at < RUN_BYTES)
        return false;
    first = reading->at[1];
    count = reading->at[2];
    how = reading->at[3];
    reading->at += RUN_BYTES;
    if (how > 1 || count == 0 || first + count > reading->place_count)
        return false;
    for (const uint8_t *place = reading->places + first * ECHO_PLACE_BYTES; count-- > 0; place += ECHO_PLACE_BYTES) {
        unsigned    word = place[0] + how;
        struct span value = span_of(reading->stem_at + bytes_get_u16(place + 2), place[1]);

        if (word - 1 >= PACKED_KEYS || (size_t)bytes_get_u16(place + 2) + place[1] > reading->stem_bytes)
            return false;
        if (!word_text(reading, word) || !text_put(reading, value, reading->end, ','))
            return false;
    }
    return true;
}

static bool member_text(struct reading *reading)
{
    const uint8_t *value_end = reading->end;
    unsigned       first = *reading->at;
    struct span    key, value;

    if (first <= PACKED_KEYS) {
        reading->at++;
        if (!word_text(reading, first))
            return false;
    } else if (first <= PACKED_KEY_OWN || !packed_own_read(&reading->at, reading->end, PACKED_KEY_OWN, &key) || key.bytes < 2 ||
               !text_put(reading, key, reading->end, ':')) {
        return false;
    }
    if (reading->at == reading->end || *reading->at == 0)
        return false;
    first = *reading->at;
    if (first <= PACKED_VALUE_OWN) {
        reading->at++;
        value = span_of(packed_values[first].text, packed_values[first].bytes);
        value_end = value.at + sizeof packed_values[0].text;
    } else if (!packed_own_read(&reading->at, reading->end, PACKED_VALUE_OWN, &value)) {
        return false;
    }
    return value.bytes > 0 && text_put(reading, value, value_end, ',');
}

static bool stem_put(struct reading *reading, size_t bytes)
{
    if (bytes > reading->stem.bytes || bytes > (size_t)(reading->to_end - reading->to))
        return false;
    memcpy(reading->to, reading->stem.at, bytes);
    reading->to += bytes;
    reading->stem = span_from(reading->stem, bytes);
    return true;
}

static bool list_text(struct reading *reading)
{
    size_t gap, pieces;

    if (!packed_length_read(&reading->at, reading->end, &gap) || !packed_length_read(&reading->at, reading->end, &pieces) ||
        !stem_put(reading, gap))
        return false;
    for (size_t i = 0; i < pieces; i++)
        if (reading->at == reading->end || !(*reading->at == PIECE_RUN ? run_text(reading) : member_text(reading)))
            return false;
    reading->to -= pieces > 0; /* the last comma */
    return true;
}

int echo_text(struct span echo, uint8_t *to, struct err *err)
{
    struct reading reading;
    size_t         bytes;

    if (packed_text_bytes(echo, &bytes, err) < 0)
        return -1;
    if (echo.bytes <= ECHO_HEAD_BYTES || bytes_get_u32(echo.at + 5) >= echo.bytes - ECHO_HEAD_BYTES)
        return packed_damaged(err);
    reading.stem_at = echo.at + ECHO_HEAD_BYTES;
    reading.stem_bytes = bytes_get_u32(echo.at + 5);
    reading.stem = span_of(reading.stem_at, reading.stem_bytes);
    reading.at = reading.stem_at + reading.stem_bytes;
    reading.end = echo.at + echo.bytes;
    reading.to = to;
    reading.to_end = to + bytes;
    reading.place_count = *reading.at++;
    reading.places = reading.at;
    if ((size_t)(reading.end - reading.at) < (size_t)reading.place_count * ECHO_PLACE_BYTES)
        return packed_damaged(err);
    reading.at += reading.place_count * ECHO_PLACE_BYTES;
    while (reading.at != reading.end)
        if (!list_text(&reading))
            return packed_damaged(err);
    if (!stem_put(&reading, reading.stem.bytes) || reading.to != reading.to_end)
        return packed_damaged(err);
    return 0;
}
