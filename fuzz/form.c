/* fuzz/form.c - fields cover the text and nothing else; what is found is the first of its name; any bytes,
 * escaped, come back. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span       text = span_of(data, bytes), at = text, value, first = { 0 };
    struct form_field field;
    struct buf        out, escaped;
    bool              found = false;

    buf_init(&out, bytes);
    buf_init(&escaped, 3 * bytes + 1);
    while (form_next(&at, &field)) {
        MUST(field.name_raw.at >= data && field.value_raw.at + field.value_raw.bytes <= data + bytes);
        MUST(field.name_raw.bytes + field.value_raw.bytes > 0 || *field.name_raw.at == '=');
        MUST(memchr(field.name_raw.at, '&', field.name_raw.bytes) == NULL);
        MUST(field.value_raw.bytes == 0 || memchr(field.value_raw.at, '&', field.value_raw.bytes) == NULL);
        buf_reset(&out);
        if (form_decode(field.value_raw, &out))
            MUST(out.bytes <= field.value_raw.bytes);
        else
            MUST(out.bytes == 0 && memchr(field.value_raw.at, '%', field.value_raw.bytes) != NULL);
        buf_reset(&out);
        if (!found && form_decode(field.name_raw, &out) && span_is(buf_span(&out), "data")) {
            found = true;
            first = field.value_raw;
        }
    }
    MUST(at.bytes == 0 && form_find(text, "data", &value) == found);
    MUST(!found || (value.at == first.at && value.bytes == first.bytes));
    (void)form_looks(text);

    for (size_t i = 0; i < bytes; i++)
        if (data[i] == ' ')
            buf_add_byte(&escaped, '+');
        else if (data[i] >= 'A' && data[i] <= 'z' && data[i] % 2 == 0)
            buf_add_byte(&escaped, data[i]);
        else
            buf_add_format(&escaped, data[i] % 3 == 0 ? "%%%02x" : "%%%02X", data[i]);
    buf_reset(&out);
    MUST(form_decode(buf_span(&escaped), &out) && span_equal(buf_span(&out), text));
    buf_fini(&out);
    buf_fini(&escaped);
    return 0;
}
