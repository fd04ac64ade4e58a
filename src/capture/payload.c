/* capture/payload.c - the order of the steps is the contract: a form is looked for after a first base64
 * layer and before decompression, and a second base64 layer is taken off last, on the old paths only.
 * Hints never refuse a body that can be read without them; a body that says by its first bytes that it is
 * gzip and then is not whole is refused, whatever the hint. Of hints the query's counts, then the form's, then the header's. */
#include "capture/payload.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "wire/base64.h"
#include "wire/form.h"
#include "wire/http1.h"
#include "wire/lzstring.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum {
    PAYLOAD_PARAMETERS_MAX = 500,       /* source: docs/limits.md */
    PAYLOAD_SCRATCH_KEEP_BYTES = 2 << 20 /* kept between requests: holds any ordinary batch */
};
#define PAYLOAD_SENT_AT_MS_MIN 1609459200000 /* 2021-01-01: numbers below it are seconds or nonsense */

enum payload_hint { HINT_NONE, HINT_GZIP, HINT_LZ64, HINT_BASE64 };

struct payload_query {
    enum payload_hint hint;
    bool              has_data;
    struct span       data_raw;
};

struct payload_state {
    struct payload_scratch *scratch;
    struct span             text; /* the current layer */
    int                     next; /* which scratch buffer the next layer goes to */
    enum payload_hint       hint;        /* of the query, of the form: the first that is known */
    enum payload_hint       header_hint; /* counts where neither says anything */
    bool                    form; /* the current layer came out of a form's `data` */
    bool                    gzipped, lz64;
    struct refusal         *refusal;
};

int payload_scratch_init(struct payload_scratch *scratch, size_t inflated_bytes_max)
{
    scratch->inflate = inflate_new();
    buf_init(&scratch->bufs[0], inflated_bytes_max);
    buf_init(&scratch->bufs[1], inflated_bytes_max);
    return scratch->inflate == NULL ? -1 : 0;
}

void payload_scratch_fini(struct payload_scratch *scratch)
{
    inflate_free(scratch->inflate);
    buf_fini(&scratch->bufs[0]);
    buf_fini(&scratch->bufs[1]);
}

bool payload_scratch_take_denied(struct payload_scratch *scratch)
{
    bool first = buf_take_denied(&scratch->bufs[0]), second = buf_take_denied(&scratch->bufs[1]);

    return first || second;
}

void payload_scratch_trim(struct payload_scratch *scratch)
{
    for (int i = 0; i < 2; i++)
        if (scratch->bufs[i].size > PAYLOAD_SCRATCH_KEEP_BYTES) {
            size_t bytes_max = scratch->bufs[i].bytes_max;

            buf_fini(&scratch->bufs[i]);
            buf_init(&scratch->bufs[i], bytes_max);
        }
}

size_t payload_scratch_bytes(const struct payload_scratch *scratch)
{
    return scratch->bufs[0].size + scratch->bufs[1].size;
}

/* Unknown names are no hint. fold: ASCII letters of either case. */
static enum payload_hint payload_hint_of(struct span name, bool fold)
{
    static const struct { const char *name; enum payload_hint hint; } hints[] = {
        { "gzip", HINT_GZIP },      { "gzip-js", HINT_GZIP },  { "lz64", HINT_LZ64 },
        { "lz-string", HINT_LZ64 }, { "base64", HINT_BASE64 }, { "b64", HINT_BASE64 },
    };

    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (fold ? http_token_equal(name, hints[i].name) : span_is(name, hints[i].name))
            return hints[i].hint;
    return HINT_NONE;
}

/* As it stands in a query or form. */
static enum payload_hint payload_hint_of_field(struct span raw)
{
    char       plain[16]; /* longer than any name */
    struct buf buf;

    buf_init_over(&buf, plain, sizeof plain);
    return form_decode(raw, &buf) ? payload_hint_of(buf_span(&buf), true) : HINT_NONE;
}

static bool payload_int64(struct span text, int64_t *out)
{
    int64_t value = 0;
    size_t  at = text.bytes > 0 && (text.at[0] == '-' || text.at[0] == '+') ? 1 : 0;

    if (at == text.bytes)
        return false;
    for (; at < text.bytes; at++)
        if (text.at[at] < '0' || text.at[at] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.at[at] - '0', &value))
            return false;
    *out = text.at[0] == '-' ? -value : value;
    return true;
}

/* The first of two parameters with one name counts; an unusable value counts as absent. */
static int payload_query_read(const struct payload_request *request, struct payload_query *query, struct payload *out,
                              struct refusal *refusal)
{
    struct span       rest = request->query;
    struct form_field field;
    bool              seen_hint = false;
    bool              seen_beacon = false;
    int64_t           ms;

    for (size_t count = 1; form_next(&rest, &field); count++) {
        if (count > PAYLOAD_PARAMETERS_MAX)
            return refusal_set(refusal, 400, REFUSAL_DECODING,
                               "failed to decode request: more than %d query parameters", PAYLOAD_PARAMETERS_MAX);
        if (form_text_is(field.name_raw, "data") && !query->has_data) {
            query->has_data = field.value_raw.bytes > 0;
            query->data_raw = field.value_raw;
        } else if (form_text_is(field.name_raw, "compression") && !seen_hint) {
            seen_hint = true;
            query->hint = payload_hint_of_field(field.value_raw);
        } else if (form_text_is(field.name_raw, "beacon") && !seen_beacon) {
            seen_beacon = true;
            out->beacon = form_text_is(field.value_raw, "1");
        } else if ((form_text_is(field.name_raw, "_") || form_text_is(field.name_raw, "sent_at")) &&
                   out->sent_at_us == CLOCK_NONE && payload_int64(field.value_raw, &ms) &&
                   ms >= PAYLOAD_SENT_AT_MS_MIN && ms <= INT64_MAX / TIME_US_MS) {
            out->sent_at_us = ms * TIME_US_MS;
        }
    }
    return 0;
}

static int payload_refuse_oversize(struct payload_state *state, enum refusal_size size)
{
    (void)refusal_set(state->refusal, 413, REFUSAL_OVERSIZE,
                      "maximum event size exceeded: the decompressed body is larger than %zu bytes",
                      state->scratch->bufs[0].bytes_max);
    state->refusal->size = size;
    return -1;
}

/* The buffer for the next layer, empty. */
static struct buf *payload_next(struct payload_state *state)
{
    struct buf *buf = &state->scratch->bufs[state->next];

    buf_reset(buf);
    return buf;
}

static void payload_advance(struct payload_state *state, const struct buf *made)
{
    assert(made == &state->scratch->bufs[state->next]);
    state->text = buf_span(made);
    state->next ^= 1;
}

/* Whether the beginning could be base64 in either alphabet, padded or not. */
static bool payload_looks_lenient(struct span text)
{
    size_t bytes = text.bytes < 128 ? text.bytes : 128;

    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = text.at[i];

        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '+' || byte == '/' || byte == '=' || byte == '-' || byte == '_'))
            return false;
    }
    return bytes > 0;
}

/* JSON of an object or array: these bytes begin no layer. */
static bool payload_looks_json(struct span text)
{
    return text.bytes > 0 && (text.at[0] == '{' || text.at[0] == '[');
}

/* Something that a client would have wrapped. */
static bool payload_plausible(struct span text)
{
    return inflate_looks_gzip(text) || payload_looks_json(text);
}

/* Takes one base64 layer off if there is one; never an error. */
static void payload_unwrap(struct payload_state *state, bool lenient, bool want_utf8)
{
    bool        strict = base64_looks_strict(state->text);
    struct buf *to;
    bool        fine;

    if (!strict && !(lenient && payload_looks_lenient(state->text)))
        return;
    to = payload_next(state);
    fine = strict && base64_decode(state->text, BASE64_STRICT, to);
    if (!fine && lenient) {
        buf_reset(to);
        fine = base64_decode(state->text, BASE64_LENIENT, to) && payload_plausible(buf_span(to));
    }
    /* What begins as JSON does is taken with its faults: shape.c can mend one and explains the others. */
    if (!fine || (want_utf8 && !payload_plausible(buf_span(to)) && !utf8_valid(buf_span(to))))
        return;
    payload_advance(state, to);
}

static int payload_read_form(struct payload_state *state)
{
    struct span       rest = state->text;
    struct span       data_raw = { 0 };
    struct form_field field;
    bool              found = false;
    enum payload_hint hint = HINT_NONE;
    struct buf       *to;

    if (!form_looks(state->text))
        return refusal_set(state->refusal, 400, REFUSAL_DECODING,
                           "failed to decode request: expected form data in POST request payload");
    while (form_next(&rest, &field)) {
        if (!found && form_text_is(field.name_raw, "data")) {
            found = true;
            data_raw = field.value_raw;
        } else if (hint == HINT_NONE && form_text_is(field.name_raw, "compression")) {
            hint = payload_hint_of_field(field.value_raw);
        }
    }
    if (state->hint == HINT_NONE)
        state->hint = hint;
    if (!found)
        return 0;
    to = payload_next(state);
    if (!form_decode(data_raw, to))
        return to->failed ? payload_refuse_oversize(state, REFUSAL_SIZE_PLAIN)
                          : refusal_set(state->refusal, 400, REFUSAL_DECODING,
                                        "failed to decode request: invalid urlencoded form data");
    payload_advance(state, to);
    state->form = true;
    if (base64_looks_loose(state->text)) {
        uint8_t *at = to->at;

        for (size_t i = 0; i < to->bytes; i++)
            if (at[i] == ' ')
                at[i] = '+';
    }
    return 0;
}

static int payload_inflate(struct payload_state *state)
{
    struct buf *to = payload_next(state);
    struct err  err = { 0 };

    if (inflate_gzip(state->scratch->inflate, state->text, to, &err) < 0)
        return err.kind == ERR_FULL ? payload_refuse_oversize(state, REFUSAL_SIZE_GZIP)
                                    : refusal_set(state->refusal, 400, REFUSAL_DECODING,
                                                  "failed to decode request: invalid GZIP data");
    payload_advance(state, to);
    state->gzipped = true;
    return 0;
}

static int payload_delz(struct payload_state *state)
{
    struct buf *to = payload_next(state);
    struct err  err = { 0 };

    if (lzstring_decode_base64(state->text, to, &err) < 0)
        return err.kind == ERR_FULL ? payload_refuse_oversize(state, REFUSAL_SIZE_LZ64)
                                    : refusal_set(state->refusal, 400, REFUSAL_DECODING,
                                                  "failed to decode request: decompress_lz64: %s", err.text);
    payload_advance(state, to);
    state->lz64 = true;
    return 0;
}

static bool payload_type_is_form(struct span type)
{
    const uint8_t *mark = type.bytes == 0 ? NULL : memchr(type.at, ';', type.bytes);

    if (mark != NULL)
        type.bytes = (size_t)(mark - type.at);
    while (type.bytes > 0 && (type.at[type.bytes - 1] == ' ' || type.at[type.bytes - 1] == '\t'))
        type.bytes--;
    return http_token_equal(type, "application/x-www-form-urlencoded");
}

/* Steps 3 to 7 of the contract, on state->text. */
static int payload_peel(struct payload_state *state, const struct payload_request *request)
{
    enum payload_hint raw_hint = state->hint == HINT_NONE ? state->header_hint : state->hint;

    if (payload_looks_json(state->text) && !payload_type_is_form(request->content_type))
        return 0; /* JSON as it is, the usual case */
    /* LZ-string's text would pass for base64. */
    if (raw_hint != HINT_LZ64 && !inflate_looks_gzip(state->text) && !form_looks(state->text))
        payload_unwrap(state, request->legacy, false);
    if (payload_type_is_form(request->content_type) && payload_read_form(state) < 0)
        return -1;
    if (state->hint == HINT_NONE)
        state->hint = state->header_hint;
    if (inflate_looks_gzip(state->text)) {
        if (payload_inflate(state) < 0)
            return -1;
    } else if (state->hint == HINT_LZ64 && !payload_looks_json(state->text)) {
        if (payload_delz(state) < 0)
            return -1;
    }
    /* Older browser SDKs put base64 into a form's data without saying so, on every path. */
    if (request->legacy || state->form || state->hint == HINT_BASE64 || (state->hint == HINT_GZIP && !state->gzipped)) {
        payload_unwrap(state, true, true);
        if (!state->gzipped && inflate_looks_gzip(state->text) && payload_inflate(state) < 0)
            return -1;
    }
    return 0;
}

int payload_decode(struct payload_scratch *scratch, const struct payload_request *request, struct payload *out,
                   struct refusal *refusal)
{
    struct payload_query query = { 0 };
    struct payload_state state = { .scratch = scratch, .refusal = refusal };
    struct payload       found = { .sent_at_us = CLOCK_NONE };

    if (request->query.bytes > 0 && payload_query_read(request, &query, &found, refusal) < 0)
        return -1;
    state.text = span_of(request->body, request->body_bytes);
    state.hint = query.hint;
    state.header_hint = payload_hint_of(request->content_encoding, false);
    if (query.has_data) {
        struct buf *to = payload_next(&state);

        if (!form_decode(query.data_raw, to))
            return refusal_set(refusal, 400, REFUSAL_DECODING,
                               "failed to decode request: invalid urlencoded form data");
        payload_advance(&state, to);
    }
    if (state.text.bytes > 0 && payload_peel(&state, request) < 0)
        return -1;
    if (state.text.bytes == 0)
        return refusal_set(refusal, 400, REFUSAL_EMPTY_PAYLOAD, "request missing data payload");
    found.text = state.text;
    found.gzipped = state.gzipped;
    found.lz64 = state.lz64;
    *out = found;
    return 0;
}
