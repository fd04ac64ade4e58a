/* command/json_fields.h - fields of JSON objects, as commands read them from the warehouse's answers and write them for
 * programs: what is not known is null, and null is not known. */
#ifndef PENSTOCK_COMMAND_JSON_FIELDS_H
#define PENSTOCK_COMMAND_JSON_FIELDS_H

#include "wire/json.h"

/* "": there is no such field, or it is no text. In the arena. */
struct span field_text(const struct json_members *row, const char *name, struct arena *arena);
/* none: there is no such field, or it is no whole number. */
int64_t field_number(const struct json_members *row, const char *name, int64_t none);

/* ,"name":"text"; null for an empty one. */
void field_write_text(struct buf *out, const char *name, struct span text);
/* ,"name":"2026-02-03T04:05:06Z"; null for CLOCK_NONE. */
void field_write_time(struct buf *out, const char *name, int64_t us);

#endif
