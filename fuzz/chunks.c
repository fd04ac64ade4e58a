/* fuzz/chunks.c - a chunked body in any pieces. The first byte chooses the pieces. The body, the answer and
 * where the body ends must not depend on them; overhead has its bound. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/http1.h"

struct fed {
    enum http1_answer   answer;
    struct http_problem problem;
    size_t              used, body_bytes;
    uint8_t            *body;
};

static struct fed feed(struct span text, unsigned pieces)
{
    struct http1_chunks chunks;
    struct fed          fed = { .answer = HTTP1_MORE, .body = malloc(text.bytes + 1) };

    http1_chunks_init(&chunks);
    for (size_t step = 0; fed.answer == HTTP1_MORE && fed.used < text.bytes; step++) {
        size_t   now = pieces == 0 ? text.bytes : 1 + (pieces * (step + 1) * 2654435761u >> 7) % (pieces % 61 + 1);
        size_t   body;
        uint8_t *piece;

        if (now > text.bytes - fed.used)
            now = text.bytes - fed.used;
        piece = malloc(now);
        memcpy(piece, text.at + fed.used, now);
        size_t used = now;
        fed.answer = http1_chunks_feed(&chunks, piece, &used, &body, &fed.problem);
        MUST(used <= now && body <= used && (fed.answer != HTTP1_MORE || used == now));
        memcpy(fed.body + fed.body_bytes, piece, body);
        fed.body_bytes += body;
        fed.used += used;
        free(piece);
    }
    MUST(chunks.body_bytes == fed.body_bytes && chunks.overhead_bytes + chunks.body_bytes == fed.used);
    MUST(chunks.overhead_bytes <= chunks.body_bytes + 65536 + 1);
    return fed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fed whole, cut;

    if (bytes == 0)
        return 0;
    whole = feed(span_of(data + 1, bytes - 1), 0);
    cut = feed(span_of(data + 1, bytes - 1), data[0] | 1u);
    MUST(whole.answer == cut.answer && whole.used == cut.used);
    MUST(whole.answer != HTTP1_WRONG || whole.problem.code == cut.problem.code);
    MUST(span_equal(span_of(whole.body, whole.body_bytes), span_of(cut.body, cut.body_bytes)));
    free(whole.body);
    free(cut.body);
    return 0;
}
