/* fuzz/http1.c - a request head in any pieces. The first byte chooses the pieces; the rest is what came.
 * However it is cut, with and without the memory of what was seen: the same answer for the same reason;
 * a head that is done is done at its last byte and not before; no span leaves the input. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/http1.h"

/* Unlike assert, stays in every build. */
static void must_be_inside(struct span part, struct span whole)
{
    MUST(part.at == NULL || (part.at >= whole.at && part.at + part.bytes <= whole.at + whole.bytes));
}

static void must_make_sense(const struct http_request *request, struct span input)
{
    MUST(request->head_bytes <= input.bytes && request->head_bytes <= HTTP1_HEAD_BYTES_MAX);
    MUST(request->head_bytes >= 4 && memcmp(input.at + request->head_bytes - 4, "\r\n\r\n", 4) == 0);
    MUST(request->method != HTTP_OTHER && request->target.bytes > 0);
    MUST(request->target.bytes <= HTTP1_REQUEST_LINE_BYTES_MAX && request->header_count <= HTTP1_HEADERS_MAX);
    must_be_inside(request->method_text, input);
    must_be_inside(request->target, input);
    if (!span_is(request->path, "/"))
        must_be_inside(request->path, request->target);
    must_be_inside(request->query, request->target);
    MUST(!(request->chunked && request->has_length));
    MUST(request->has_length || request->content_length == 0);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];

        must_be_inside(header->name, input);
        must_be_inside(header->value, input);
        MUST(header->name.bytes > 0);
        for (size_t c = 0; c < header->value.bytes; c++)
            MUST(header->value.at[c] == '\t' || (header->value.at[c] >= 0x20 && header->value.at[c] != 0x7f));
    }
    for (size_t i = 0; i < HTTP_HEADER_COUNT; i++)
        must_be_inside(request->known[i], input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct http_request request, again;
    struct http_problem        problem = { 0 };
    enum http1_answer          answer;
    struct span                input;
    size_t                     seen = 0;
    unsigned                   pieces;

    if (bytes == 0)
        return 0;
    pieces = data[0];
    input = span_of(data + 1, bytes - 1);
    answer = http1_parse(input, 0, &request, &problem);
    if (answer == HTTP1_DONE) {
        must_make_sense(&request, input);
        MUST(http1_parse(span_of(input.at, request.head_bytes), 0, &again, &problem) == HTTP1_DONE);
        MUST(http1_parse(span_of(input.at, request.head_bytes - 1), 0, &again, &problem) == HTTP1_MORE);
    } else if (answer == HTTP1_WRONG)
        MUST(problem.status >= 400 && problem.status <= 505 && problem.code != NULL && problem.detail[0] != '\0');
    else
        MUST(input.bytes < HTTP1_HEAD_BYTES_MAX);

    for (size_t step = 0; seen < input.bytes; step++) {
        size_t              more = 1 + (pieces * (step + 1) * 2654435761u >> 7) % (pieces % 61 + 1);
        size_t              now = input.bytes - seen < more ? input.bytes : seen + more;
        uint8_t            *piece = malloc(now); /* of its own, so that the sanitizer sees its end */
        struct http_problem other = { 0 };
        enum http1_answer   piece_answer;

        memcpy(piece, input.at, now);
        piece_answer = http1_parse(span_of(piece, now), pieces & 0x80 ? seen : 0, &again, &other);
        if (piece_answer == HTTP1_DONE) {
            MUST(answer == HTTP1_DONE && again.head_bytes == request.head_bytes);
            MUST(again.content_length == request.content_length && again.chunked == request.chunked);
            MUST(again.keep_alive == request.keep_alive && again.header_count == request.header_count);
            MUST(span_equal(again.path, request.path) && span_equal(again.known[HTTP_HOST], request.known[HTTP_HOST]));
        } else if (piece_answer == HTTP1_WRONG)
            MUST(answer == HTTP1_WRONG && other.status == problem.status && other.code == problem.code);
        free(piece);
        if (piece_answer != HTTP1_MORE)
            return 0;
        seen = now;
    }
    MUST(answer == HTTP1_MORE);
    return 0;
}
