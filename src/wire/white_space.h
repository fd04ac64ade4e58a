/* wire/white_space.h - white space in UTF-8, as the two standards have it that our rules lean on. They differ in two characters. */
#ifndef PENSTOCK_WIRE_WHITE_SPACE_H
#define PENSTOCK_WIRE_WHITE_SPACE_H

#include "base/span.h"

enum white_space {
    WHITE_UNICODE,    /* the property White_Space: with U+0085, without U+FEFF */
    WHITE_ECMASCRIPT, /* WhiteSpace and LineTerminator (ECMA-262 12.2, 12.3): with U+FEFF, without U+0085 */
};

/* Bytes of the one character of white space that text begins with; 0: it begins with none. */
size_t white_space_bytes(enum white_space kind, struct span text);

#endif
