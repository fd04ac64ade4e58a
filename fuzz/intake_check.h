/* fuzz/intake_check.h - what holds of every text and object that intake lets through, for the targets of its ways in. */
#ifndef PENSTOCK_FUZZ_INTAKE_CHECK_H
#define PENSTOCK_FUZZ_INTAKE_CHECK_H

#include <string.h>

#include "fuzz.h"
#include "wire/json.h"
#include "wire/utf8.h"

static inline void fuzz_check_text(struct span text)
{
    MUST(utf8_valid(text));
    MUST(text.bytes == 0 || memchr(text.at, 0, text.bytes) == NULL);
}

static inline void fuzz_check_object(struct span text)
{
    struct json_reader reader;
    struct json_value  value;

    json_reader_init(&reader, text, 0); /* without repair: what is stored needs none */
    MUST(json_skip(&reader, &value) == 0 && json_finish(&reader) == 0);
    MUST(value.raw.bytes == text.bytes && value.kind == JSON_OBJECT);
}

#endif
