/* wire/form.h - application/x-www-form-urlencoded, for bodies and query strings (WHATWG URL §5). */
#ifndef PENSTOCK_WIRE_FORM_H
#define PENSTOCK_WIRE_FORM_H

#include "base/buf.h"
#include "base/span.h"

struct form_field {
    struct span name_raw, value_raw; /* still encoded */
};

/* Walks `a=1&b=2`: true and the next field, false at the end. *at starts as the whole text. */
bool form_next(struct span *at, struct form_field *out);
/* Whether the encoded text is this plain one. */
bool form_text_is(struct span raw, const char *text);
/* The first field of this (plain) name; false when there is none. */
bool form_find(struct span text, const char *name, struct span *value_raw_out);
/* Appends the decoded value: + becomes a space, %XX a byte. false: a broken escape (nothing appended)
 * or no room. */
bool form_decode(struct span raw, struct buf *out);
/* Whether a body looks like a form: `data=`, `_=`, `ip=` or `compression=` begins within its first 128
 * bytes, at the very start or right after `&`. */
bool form_looks(struct span body);

#endif
