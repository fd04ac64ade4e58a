/* tests/differential/http1_dump.c - what our parser makes of byte streams, for http1_node.mjs.
 *
 * Each stream arrives in pieces of chance (their sizes follow from its number, so every run is the same),
 * and is read as a server reads it: head, body, next head, until the end, an error or a request that
 * closes. Answer: {"requests":[{method,target,minor,keep,headers:[[name,value]..],body,done}..],"end":..}
 * with texts in hexadecimal; end is "", or the code word of what was wrong. */
#include "frames.h"
#include "wire/http1.h"

struct stream {
    uint8_t            *at; /* what came and is not used up */
    size_t              bytes, scanned;
    bool                in_body, first;
    struct http_request request; /* of the body that is being read */
    uint64_t            body_left;
    struct http1_chunks chunks;
};

static void print_head(struct stream *stream, const struct http_request *request)
{
    (void)printf("%s{\"method\":\"%.*s\",\"target\":\"", stream->first ? "" : ",", SPAN_ARG(request->method_text));
    print_hex(request->target);
    (void)printf("\",\"minor\":%d,\"keep\":%d,\"headers\":[", request->minor, request->keep_alive);
    for (size_t i = 0; i < request->header_count; i++) {
        (void)printf("%s[\"", i == 0 ? "" : ",");
        print_hex(request->headers[i].name);
        (void)printf("\",\"");
        print_hex(request->headers[i].value);
        (void)printf("\"]");
    }
    (void)printf("],\"body\":\"");
    stream->first = false;
}

static void use_up(struct stream *stream, size_t bytes)
{
    memmove(stream->at, stream->at + bytes, stream->bytes - bytes);
    stream->bytes -= bytes;
    stream->scanned = 0;
}

/* One step; WRONG ends the stream, MORE waits for bytes, DONE may go on. */
static enum http1_answer step(struct stream *stream, struct http_problem *problem, bool *closed)
{
    enum http1_answer answer;
    size_t            used = stream->bytes, body;

    if (!stream->in_body) {
        answer = http1_parse(span_of(stream->at, stream->bytes), stream->scanned, &stream->request, problem);
        stream->scanned = stream->bytes;
        if (answer != HTTP1_DONE)
            return answer;
        print_head(stream, &stream->request);
        use_up(stream, stream->request.head_bytes);
        stream->in_body = true;
        stream->body_left = stream->request.content_length;
        http1_chunks_init(&stream->chunks);
        return HTTP1_DONE;
    }
    if (stream->request.chunked)
        answer = http1_chunks_feed(&stream->chunks, stream->at, &used, &body, problem);
    else {
        used = body = stream->bytes < stream->body_left ? stream->bytes : (size_t)stream->body_left;
        stream->body_left -= body;
        answer = stream->body_left == 0 ? HTTP1_DONE : HTTP1_MORE;
    }
    print_hex(span_of(stream->at, body));
    use_up(stream, used);
    if (answer == HTTP1_DONE) {
        (void)printf("\",\"done\":true}");
        stream->in_body = false;
        *closed = !stream->request.keep_alive;
    }
    return answer;
}

static void stream_run(struct span all, uint64_t seed)
{
    struct stream       stream = { .at = malloc(all.bytes + 1), .first = true };
    struct http_problem problem = { .code = "" };
    enum http1_answer   answer = HTTP1_MORE;
    bool                closed = false;

    (void)printf("{\"requests\":[");
    for (size_t from = 0; answer != HTTP1_WRONG && !closed && from < all.bytes;) {
        size_t piece;

        seed = seed * 6364136223846793005 + 1442695040888963407;
        piece = seed >> 62 == 0 ? all.bytes : 1 + (seed >> 33) % 40;
        piece = piece < all.bytes - from ? piece : all.bytes - from;
        memcpy(stream.at + stream.bytes, all.at + from, piece);
        stream.bytes += piece;
        from += piece;
        do
            answer = step(&stream, &problem, &closed);
        while (answer == HTTP1_DONE && !closed);
    }
    if (stream.in_body)
        (void)printf("\",\"done\":false}");
    (void)printf("],\"end\":\"%s\"}\n", answer == HTTP1_WRONG ? problem.code : "");
    free(stream.at);
}

int main(void)
{
    struct span stream;

    for (uint64_t seed = 1; frame_next(&stream); seed++) {
        stream_run(stream, seed);
        frame_free(stream);
    }
    return 0;
}
