/* wire/json_scan_plain.c - the walk in plain C, eight bytes at a time, for CPUs without AVX2. */
#include "wire/json_scan.h"
#include "wire/utf8.h"

#define SCAN(name) name##_plain
#define SCAN_TARGET
#define SCAN_NEAR 1
#define SCAN_FAR 1

static inline const uint8_t *plain_end_plain(const uint8_t *start, const uint8_t *at, const uint8_t *end, struct json_window *window)
{
    (void)start;
    (void)window;
    for (; end - at >= 8; at += 8) {
        uint64_t found = json_stops_in_8(at);

        if (found != 0)
            return at + (__builtin_ctzll(found) >> 3);
    }
    return json_plain_end_slow(at, end);
}

#include "wire/json_scan_body.h"
