/* wire/json_scan_window.h - the ends of strings, 64 bytes at a time; included once per path that has such compares.
 *   SCAN(name), SCAN_TARGET   as in json_scan_body.h
 *   SCAN(stops)(start, at, end)   bit n: byte n from `at` on ends a run of plain characters, or is not there
 *
 * To look for each string's end from its begin on takes some 15 cycles from load to known position, for each
 * of 70 strings of an event, one behind the other. Here 64 bytes are compared once, whatever strings are in them, and
 * remembered as bits; a string's end is then a shift and a count away. The next 64 bytes are behind the last, so that the CPU can
 * load and compare them while it is still at the strings before. */

/* Moves the window on to where a run ends. */
SCAN_TARGET static inline const uint8_t *SCAN(plain_end_further)(const uint8_t *start, const uint8_t *at, const uint8_t *end,
                                                                 struct json_window *window)
{
    const uint8_t *base = (uintptr_t)at - window->base < 128 ? at - ((uintptr_t)at - window->base) + 64 : at;

    for (;; base += 64) {
        uint64_t found;

        window->base = (uintptr_t)base;
        window->stops = SCAN(stops)(start, base, end);
        found = base < at ? window->stops >> (at - base) : window->stops;
        if (found != 0)
            return (base < at ? at : base) + __builtin_ctzll(found);
    }
}

SCAN_TARGET static inline const uint8_t *SCAN(plain_end)(const uint8_t *start, const uint8_t *at, const uint8_t *end,
                                                         struct json_window *window)
{
    uint64_t into = (uintptr_t)at - window->base;

    if (into < 64 && window->stops >> into != 0)
        return at + __builtin_ctzll(window->stops >> into);
    return SCAN(plain_end_further)(start, at, end, window);
}
