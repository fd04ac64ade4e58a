/* fuzz/base64.c - what is strictly base64 is the one text of its bytes; lenient takes all that and gives the
 * same; any bytes come back. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span text = span_of(data, bytes);
    struct buf  strict, lenient, again;
    bool        is_strict, is_lenient;

    buf_init(&strict, bytes);
    buf_init(&lenient, bytes);
    buf_init(&again, 2 * bytes + 4);
    is_strict = base64_decode(text, BASE64_STRICT, &strict);
    is_lenient = base64_decode(text, BASE64_LENIENT, &lenient);
    MUST(is_strict || strict.bytes == 0);
    MUST(is_lenient || lenient.bytes == 0);
    if (is_strict) {
        MUST(is_lenient && span_equal(buf_span(&strict), buf_span(&lenient)));
        base64_encode(buf_span(&strict), &again);
        MUST(span_equal(buf_span(&again), text));
        MUST(bytes == 0 || (base64_looks_strict(text) && base64_looks_loose(text)));
    }
    MUST(!base64_looks_strict(text) || base64_looks_loose(text));
    if (is_lenient) { /* written properly, it is strict */
        buf_reset(&again);
        base64_encode(buf_span(&lenient), &again);
        buf_reset(&strict);
        MUST(base64_decode(buf_span(&again), BASE64_STRICT, &strict));
        MUST(span_equal(buf_span(&strict), buf_span(&lenient)));
    }
    buf_reset(&again);
    base64_encode(text, &again);
    buf_reset(&strict);
    MUST(base64_decode(buf_span(&again), BASE64_STRICT, &strict) && span_equal(buf_span(&strict), text));
    buf_fini(&strict);
    buf_fini(&lenient);
    buf_fini(&again);
    return 0;
}
