/* ingest/property_type.h - of which type a property seems to be, by its name and one value.
 *
 * A guess for people who make filters and charts; it changes no event. Some names have a type of their own,
 * because their first value often misleads: `utm_source: 2024` is a text. */
#ifndef PENSTOCK_INGEST_PROPERTY_TYPE_H
#define PENSTOCK_INGEST_PROPERTY_TYPE_H

#include "people/definition.h"
#include "wire/json.h"

/* Whether property_type_detect would give a type at all: not for null, lists and objects of most names. */
bool property_type_told(struct span name, const struct json_value *value);
/* now_us: a number that is an instant of the last half year or later counts as a time, when its name says so. */
enum definition_type property_type_detect(struct span name, const struct json_value *value, int64_t now_us,
                                          struct arena *arena);
/* The name of a type in rows; bytes 0: none. */
struct span property_type_name(enum definition_type type);

#endif
