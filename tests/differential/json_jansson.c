/* tests/differential/json_jansson.c - jansson's reading of a text. */
#include <jansson.h>
#include <stdlib.h>

#include "base/buf.h"
#include "json_other.h"

static void meaning_of(json_t *value, struct buf *out)
{
    const char *key;
    size_t      index;
    json_t     *child;

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        buf_add_byte(out, '{');
        json_object_foreach(value, key, child)
        {
            buf_add_format(out, "s%zu:%s", strlen(key), key);
            meaning_of(child, out);
        }
        buf_add_byte(out, '}');
        break;
    case JSON_ARRAY:
        buf_add_byte(out, '[');
        json_array_foreach(value, index, child)
            meaning_of(child, out);
        buf_add_byte(out, ']');
        break;
    case JSON_STRING:
        buf_add_format(out, "s%zu:", json_string_length(value));
        buf_add(out, span_of(json_string_value(value), json_string_length(value)));
        break;
    case JSON_INTEGER: buf_add_format(out, "i%" JSON_INTEGER_FORMAT ";", json_integer_value(value)); break;
    case JSON_REAL: buf_add_format(out, "d%.17g;", json_real_value(value)); break;
    case JSON_TRUE: buf_add_byte(out, 't'); break;
    case JSON_FALSE: buf_add_byte(out, 'f'); break;
    default: buf_add_byte(out, 'n'); break;
    }
}

char *json_jansson_meaning(const char *text, size_t bytes, size_t *bytes_out)
{
    json_t    *value = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    struct buf out;

    if (value == NULL)
        return NULL;
    buf_init(&out, 1 << 24);
    meaning_of(value, &out);
    json_decref(value);
    if (out.failed)
        abort();
    *bytes_out = out.bytes;
    return (char *)out.at; /* the buffer is malloc'd: the caller frees */
}
