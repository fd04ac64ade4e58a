/* wire/white_space.c - see white_space.h. */
#include "wire/white_space.h"

size_t white_space_bytes(enum white_space kind, struct span text)
{
    static const struct span both[] = { SPAN("\xc2\xa0"),     SPAN("\xe1\x9a\x80"), SPAN("\xe2\x80\xa8"), SPAN("\xe2\x80\xa9"),
                                        SPAN("\xe2\x80\xaf"), SPAN("\xe2\x81\x9f"), SPAN("\xe3\x80\x80") };
    static const struct span own[] = { [WHITE_UNICODE] = SPAN("\xc2\x85"), [WHITE_ECMASCRIPT] = SPAN("\xef\xbb\xbf") };

    if (text.bytes == 0)
        return 0;
    if ((text.at[0] >= '\t' && text.at[0] <= '\r') || text.at[0] == ' ')
        return 1;
    if (text.bytes >= 3 && span_starts(text, SPAN("\xe2\x80")) && text.at[2] >= 0x80 && text.at[2] <= 0x8a)
        return 3; /* U+2000 to U+200A */
    for (size_t i = 0; i < sizeof both / sizeof *both; i++)
        if (span_starts(text, both[i]))
            return both[i].bytes;
    return span_starts(text, own[kind]) ? own[kind].bytes : 0;
}
