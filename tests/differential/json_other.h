/* tests/differential/json_other.h - what other libraries make of a JSON text, in the form that
 * json_differential.c writes. A file for each, because their names meet ours (JSON_OBJECT). */
#ifndef PENSTOCK_TESTS_JSON_OTHER_H
#define PENSTOCK_TESTS_JSON_OTHER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The meaning of the text in a malloc'd string; NULL when the library refuses it. A key that stands
 * twice is given twice by simdjson, once by jansson. */
char *json_simdjson_meaning(const char *text, size_t bytes, size_t *bytes_out);
char *json_jansson_meaning(const char *text, size_t bytes, size_t *bytes_out);
/* Visits every value with simdjson's quickest way to do so; 0: refused. room: bytes that may be read
 * from text on. For bench/json_bench.c. */
int json_simdjson_walk(const char *text, size_t bytes, size_t room);

#ifdef __cplusplus
}
#endif

#endif
