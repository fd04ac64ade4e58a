/* event/packed.c - see packed.h.
 *
 * An event's row shows its person, so a person is written as often as there are events; it is taken apart as often, and
 * read into text by load as often. So the form is made for little work at all three: no search, one byte for what is known
 * by name, and pieces that are copied as they stand. */
#include "event/packed.h"

#include <assert.h>

#include "base/bytes.h"
#include "event/echo.h"

_Static_assert((int)PACKED_KEYS <= (int)PACKED_KEY_OWN && PACKED_PAIRS <= 64, "keys are one byte, pairs one word of bits");
_Static_assert((int)PACKED_WORDS_OF_VALUES == (int)PACKED_VALUE_OWN, "values are one byte");

/* --- reading ----------------------------------------------------------------------------------- */

int packed_reader_init(struct packed_reader *reader, struct span packed, struct err *err)
{
    assert(packed_is(packed));
    if (packed.bytes < PACKED_HEAD_BYTES || packed.at[0] != PACKED_FORM)
        return packed_damaged(err);
    reader->at = packed.at + PACKED_HEAD_BYTES;
    reader->end = packed.at + packed.bytes;
    reader->pairs.known = 0;
    return 0;
}

int packed_next_slow(struct packed_reader *reader, struct packed_member *out, struct err *err)
{
    const uint8_t *start = reader->at;

    *out = (struct packed_member){ .word = 0 };
    if (*start == 0 || (*start > PACKED_KEYS && *start <= PACKED_KEY_OWN))
        return packed_damaged(err);
    if (*start <= PACKED_KEYS) {
        out->word = *reader->at++;
        out->key = span_of(packed_keys[out->word].text, packed_keys[out->word].bytes);
    } else if (!packed_own_read(&reader->at, reader->end, PACKED_KEY_OWN, &out->key) || out->key.bytes < 2) {
        return packed_damaged(err);
    }
    if (reader->at == reader->end)
        return packed_damaged(err);
    if (*reader->at > PACKED_VALUE_OWN) {
        if (!packed_own_read(&reader->at, reader->end, PACKED_VALUE_OWN, &out->value) || out->value.bytes == 0)
            return packed_damaged(err);
    } else if (*reader->at != 0) {
        out->value = span_of(packed_values[*reader->at].text, packed_values[*reader->at].bytes);
        reader->at++;
    } else {
        if (!packed_pair_known(&reader->pairs, out->word))
            return packed_damaged(err);
        out->value = reader->pairs.values[packed_pair(out->word)];
        out->paired = true;
        reader->at++;
    }
    out->coded = span_of(start, (size_t)(reader->at - start));
    packed_pair_note(&reader->pairs, out->word, out->value);
    return 1;
}

/* --- text -------------------------------------------------------------------------------------- */

int packed_text(struct span packed, uint8_t *to, struct err *err)
{
    struct packed_reader reader;
    struct packed_member member;
    uint8_t             *at = to + 1, *end;
    size_t               bytes;
    int                  rc;

    if (packed_text_bytes(packed, &bytes, err) < 0)
        return -1;
    if (!packed_is(packed)) {
        if (bytes > 0)
            memcpy(to, packed.at, bytes);
        return 0;
    }
    if (packed.at[0] == PACKED_ECHO)
        return echo_text(packed, to, err);
    if (bytes < 2 || packed_reader_init(&reader, packed, err) < 0)
        return packed_damaged(err);
    end = to + bytes;
    *to = '{';
    while ((rc = packed_next(&reader, &member, err)) > 0) {
        if (member.key.bytes + member.value.bytes + 2 > (size_t)(end - at))
            return packed_damaged(err);
        if (member.word != 0 && (size_t)(end - at) >= sizeof packed_keys[0].text)
            memcpy(at, packed_keys[member.word].text, sizeof packed_keys[0].text);
        else
            memcpy(at, member.key.at, member.key.bytes);
        at += member.key.bytes;
        *at++ = ':';
        packed_piece_put(at, end, member.value.at,
                         member.value.at >= packed.at && member.value.at < reader.end ? reader.end : member.value.at, member.value.bytes);
        at += member.value.bytes;
        *at++ = ',';
    }
    if (rc < 0)
        return -1;
    if (at != end || at == to + 1)
        return packed_damaged(err);
    at[-1] = '}';
    return 0;
}

int packed_text_in_arena(struct span packed, struct arena *arena, struct span *out, struct err *err)
{
    uint8_t *to;
    size_t   bytes;

    if (!packed_is(packed)) {
        *out = packed;
        return 0;
    }
    if (packed_text_bytes(packed, &bytes, err) < 0)
        return -1;
    to = arena_alloc(arena, bytes);
    if (to == NULL)
        return err_set(err, ERR_FULL, "%zu bytes of properties do not fit the arena", bytes);
    if (packed_text(packed, to, err) < 0)
        return -1;
    *out = span_of(to, bytes);
    return 0;
}

int packed_text_to_buf(struct span packed, struct buf *buf, struct err *err)
{
    uint8_t *to;
    size_t   bytes;

    if (packed_text_bytes(packed, &bytes, err) < 0)
        return -1;
    to = buf_reserve(buf, bytes);
    if (to == NULL)
        return 0;
    if (packed_text(packed, to, err) < 0)
        return -1;
    buf->bytes += bytes;
    return 0;
}

/* --- writing ----------------------------------------------------------------------------------- */

void packed_begin(struct packed_writer *writer, uint8_t *to)
{
    writer->start = to;
    writer->at = to + PACKED_HEAD_BYTES;
    writer->run = span_of(NULL, 0);
    writer->pairs.known = 0;
    writer->text_bytes = 1; /* two braces, and one comma less than there are members */
}

void packed_run_put(struct packed_writer *writer)
{
    if (writer->run.bytes > 0)
        memcpy(writer->at, writer->run.at, writer->run.bytes);
    writer->at += writer->run.bytes;
    writer->run = span_of(NULL, 0);
}

void packed_add(struct packed_writer *writer, uint8_t word, struct span key, struct span value)
{
    uint8_t known;

    assert(key.bytes >= 2 && value.bytes > 0);
    packed_run_put(writer);
    if (word != 0)
        *writer->at++ = word;
    else
        writer->at = packed_own_put(writer->at, PACKED_KEY_OWN, key);
    if (packed_pair_known(&writer->pairs, word) && span_equal(writer->pairs.values[packed_pair(word)], value))
        *writer->at++ = 0;
    else if ((known = packed_value_find(value)) != 0)
        *writer->at++ = known;
    else
        writer->at = packed_own_put(writer->at, PACKED_VALUE_OWN, value);
    writer->text_bytes += key.bytes + value.bytes + 2;
    packed_pair_note(&writer->pairs, word, value);
}

size_t packed_end(struct packed_writer *writer)
{
    packed_run_put(writer);
    if (writer->text_bytes == 1) {
        memcpy(writer->start, "{}", 2);
        return 2;
    }
    writer->start[0] = PACKED_FORM;
    bytes_put_u32(writer->start + 1, (uint32_t)writer->text_bytes);
    return (size_t)(writer->at - writer->start);
}
