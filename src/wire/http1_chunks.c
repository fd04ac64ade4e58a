/* wire/http1_chunks.c - chunked bodies (RFC 9112 §7.1); see http1.h.
 *
 * One byte at a time through the states below, but for chunk data, which moves in one piece: answers
 * cannot depend on how the bytes were cut, because nothing looks further than the byte in hand.
 *
 *   SIZE -+-------------------+- CR -> SIZE_LF -+- size > 0 -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *         +- `;` -> EXTENSION -+                 +- size 0  -> TRAILER
 *   EXTENSION: EXT_NAME [ `=` EXT_VALUE ( token | EXT_QUOTED [ EXT_ESCAPE ].. EXT_END ) ], any number of them
 *   TRAILER -+- token -> NAME - `:` -> VALUE - CR -> VALUE_LF -> TRAILER
 *            +- CR -> END_LF -> DONE
 *
 * Trailers are checked as headers are, and dropped: merging them would let the end of a body change
 * what was decided at its head. A sender who wraps single bytes makes us work per byte as much as
 * others do per kilobyte; the bound on the overhead ends that early. */
#include "wire/http1.h"

#include <stdio.h>

enum {
    SIZE_DIGITS_MAX = 15, /* 2^60 - 1; the sum of all chunks cannot overflow 64 bits in our lifetime */
    EXTENSION_BYTES_MAX = 4096,
    OVERHEAD_BYTES_FREE = 65536
};

enum state {
    SIZE, EXT_NAME, EXT_VALUE, EXT_QUOTED, EXT_ESCAPE, EXT_END, SIZE_LF, DATA, DATA_CR, DATA_LF,
    TRAILER, NAME, VALUE, VALUE_LF, END_LF, DONE
};

void http1_chunks_init(struct http1_chunks *chunks)
{
    *chunks = (struct http1_chunks){ .state = SIZE };
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_control(uint8_t c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* RFC 9110 §5.6.2 */
static bool is_token(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool refuse(struct http_problem *problem_out, int status, const char *code, const char *detail)
{
    problem_out->status = status;
    problem_out->code = code;
    (void)snprintf(problem_out->detail, sizeof problem_out->detail, "chunked body: %s", detail);
    return false;
}

static bool bad_line_end(struct http_problem *problem_out)
{
    return refuse(problem_out, 400, "bad_line_ending", "CR or LF alone");
}

/* The size line: hex digits at once, no sign, no blank; line_bytes counts them, then the extensions. */
static bool step_size(struct http1_chunks *chunks, uint8_t c, struct http_problem *problem_out)
{
    int value = hex_value(c);

    if (value >= 0) {
        if (chunks->line_bytes++ == SIZE_DIGITS_MAX)
            return refuse(problem_out, 400, "bad_chunk", "a size of more than 15 digits");
        chunks->chunk_left = chunks->chunk_left << 4 | (unsigned)value;
        return true;
    }
    if (c == '\n')
        return bad_line_end(problem_out);
    if (chunks->line_bytes == 0 || (c != '\r' && c != ';'))
        return refuse(problem_out, 400, "bad_chunk", "a size that is not a hexadecimal number");
    chunks->state = c == ';' ? EXT_NAME : SIZE_LF;
    chunks->line_bytes = 0;
    chunks->word_bytes = 0;
    return true;
}

/* RFC 9112 §7.1.1, without the white space that it only puts up with. Extensions mean nothing here; their
 * form is held to because a line end inside quotes has been read both ways. */
static bool step_extension(struct http1_chunks *chunks, uint8_t c, struct http_problem *problem_out)
{
    if (c == '\n')
        return bad_line_end(problem_out);
    if (chunks->line_bytes++ == EXTENSION_BYTES_MAX && c != '\r')
        return refuse(problem_out, 400, "chunk_overhead", "extensions of more than 4096 bytes");
    if (is_control(c) && c != '\r')
        return refuse(problem_out, 400, "bad_chunk", "a control byte in an extension");
    switch (chunks->state) {
    case EXT_QUOTED:
        if (c == '\r')
            break;
        chunks->state = c == '"' ? EXT_END : c == '\\' ? EXT_ESCAPE : EXT_QUOTED;
        return true;
    case EXT_ESCAPE:
        if (c == '\r')
            break;
        chunks->state = EXT_QUOTED;
        return true;
    case EXT_VALUE:
        if (c == '"' && chunks->word_bytes == 0) {
            chunks->state = EXT_QUOTED;
            return true;
        }
        /* fall through */
    default:
        if (is_token(c) && chunks->state != EXT_END) {
            chunks->word_bytes++;
            return true;
        }
        if (chunks->word_bytes == 0 && chunks->state != EXT_END)
            break;
        if (c != '\r' && c != ';' && (c != '=' || chunks->state != EXT_NAME))
            break;
        chunks->state = c == '\r' ? SIZE_LF : c == ';' ? EXT_NAME : EXT_VALUE;
        chunks->word_bytes = 0;
        return true;
    }
    return refuse(problem_out, 400, "bad_chunk", "an extension that is not `name`, `name=token` or `name=\"text\"`");
}

/* line_bytes counts all trailers together. */
static bool step_trailer(struct http1_chunks *chunks, uint8_t c, struct http_problem *problem_out)
{
    if (chunks->line_bytes++ == HTTP1_HEAD_BYTES_MAX)
        return refuse(problem_out, 431, "head_too_large", "more than 32768 bytes of trailers");
    if (c == '\n')
        return bad_line_end(problem_out);
    if (c == '\r' && chunks->state != NAME) {
        chunks->state = chunks->state == TRAILER ? END_LF : VALUE_LF;
        return true;
    }
    if (chunks->state == VALUE) {
        if (is_control(c))
            return refuse(problem_out, 400, "bad_header", "a control byte in a trailer");
        return true;
    }
    if (c == ':' && chunks->state == NAME)
        chunks->state = VALUE;
    else if (is_token(c))
        chunks->state = NAME;
    else
        return refuse(problem_out, 400, "bad_header", "a trailer without a proper name");
    return true;
}

static bool step_line_feed(struct http1_chunks *chunks, uint8_t c, struct http_problem *problem_out)
{
    if (c != '\n')
        return bad_line_end(problem_out);
    switch (chunks->state) {
    case SIZE_LF:
        chunks->state = chunks->chunk_left > 0 ? DATA : TRAILER;
        chunks->line_bytes = 0;
        break;
    case DATA_LF: chunks->state = SIZE; break;
    case VALUE_LF: chunks->state = TRAILER; break;
    default: chunks->state = DONE; break;
    }
    return true;
}

static bool step(struct http1_chunks *chunks, uint8_t c, struct http_problem *problem_out)
{
    if (++chunks->overhead_bytes > chunks->body_bytes + OVERHEAD_BYTES_FREE)
        return refuse(problem_out, 400, "chunk_overhead", "more wrapping than body");
    switch (chunks->state) {
    case SIZE: return step_size(chunks, c, problem_out);
    case EXT_NAME: case EXT_VALUE: case EXT_QUOTED: case EXT_ESCAPE: case EXT_END:
        return step_extension(chunks, c, problem_out);
    case DATA_CR:
        if (c == '\n')
            return bad_line_end(problem_out);
        if (c != '\r')
            return refuse(problem_out, 400, "bad_chunk", "more data than the chunk's size");
        chunks->state = DATA_LF;
        return true;
    case TRAILER: case NAME: case VALUE: return step_trailer(chunks, c, problem_out);
    default: return step_line_feed(chunks, c, problem_out);
    }
}

enum http1_answer http1_chunks_feed(struct http1_chunks *chunks, uint8_t *at, size_t *bytes_in, size_t *body_bytes,
                                    struct http_problem *problem_out)
{
    size_t from = 0, to = 0, bytes = *bytes_in;
    bool   right = true;

    while (right && from < bytes && chunks->state != DONE) {
        size_t piece = bytes - from;

        if (chunks->state != DATA) {
            right = step(chunks, at[from++], problem_out);
            continue;
        }
        if (piece > chunks->chunk_left)
            piece = (size_t)chunks->chunk_left;
        memmove(at + to, at + from, piece);
        from += piece;
        to += piece;
        chunks->body_bytes += piece;
        chunks->chunk_left -= piece;
        if (chunks->chunk_left == 0)
            chunks->state = DATA_CR;
    }
    *bytes_in = from;
    *body_bytes = to;
    if (!right)
        return HTTP1_WRONG;
    return chunks->state == DONE ? HTTP1_DONE : HTTP1_MORE;
}
