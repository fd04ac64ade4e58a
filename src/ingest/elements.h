/* ingest/elements.h - `$elements`, the clicked element and its parents, as one line of text.
 *
 * Elements are joined by `;`. Each is its tag, `.class` for each class, `:`, then `key="value"` for each
 * attribute with nothing between them. Classes are sorted, attributes stand in the order of the root
 * collation, so equal elements always give equal text and can be searched as such. */
#ifndef PENSTOCK_INGEST_ELEMENTS_H
#define PENSTOCK_INGEST_ELEMENTS_H

#include "base/arena.h"
#include "base/err.h"
#include "wire/json.h"

/* The chain of a JSON array of elements, in the arena. Empty when it is no array, or an empty one; what is
 * no object in it is passed over. ERR_FULL: arena. */
int elements_chain(const struct json_value *elements, struct arena *arena, struct span *out, struct err *err) must_check;

/* Root collation, as far as attribute names need it: punctuation before digits before letters, letters
 * without regard to case, lower case first among equals; what is not ASCII comes after it, by code point. */
int elements_compare_keys(struct span a, struct span b);

#endif
