/* wire/json_scan_avx2.c - the walk from member to member with 32-byte compares; only called where the CPU has them.
 *
 * Most strings of an event are short: for the first 40 bytes (a quoted UUID and a bit) words are
 * quicker than vectors, because from load to known position they take 6 cycles less, and every string
 * waits for the end of the one before. Measured on events of 1 KB: 64-byte vectors at once 1.8 GB/s,
 * 32-byte ones 2.1, words first 2.6. Long strings then go by 64. */
#if defined(__x86_64__)
#include "wire/json_scan.h"
#include "wire/json_scan_avx2.h"
#include "wire/utf8.h"

#define SCAN(name)  name##_avx2
#define SCAN_TARGET JSON_AVX2
#define SCAN_NEAR   1
#define SCAN_FAR    0

enum { WORDS_FIRST = 5 };

SCAN_TARGET static inline const uint8_t *plain_end_avx2(const uint8_t *start, const uint8_t *at, const uint8_t *end, struct json_window *window)
{
    (void)window;
    for (int i = 0; i < WORDS_FIRST && end - at >= 8; i++) {
        uint64_t found = json_stops_in_8(at);

        if (found != 0)
            return at + (__builtin_ctzll(found) >> 3);
        at += 8;
    }
    while (end - at >= 64) {
        uint64_t found = json_stops_in_64(at);

        if (found != 0)
            return at + __builtin_ctzll(found);
        at += 64;
    }
    if (at == end)
        return end;
    if (end - start >= 64) { /* the last 64 bytes of the text, without those before `at` (J4) */
        uint64_t found = json_stops_in_64(end - 64) >> (64 - (end - at));

        return found != 0 ? at + __builtin_ctzll(found) : end;
    }
    return json_plain_end_slow(at, end);
}

#include "wire/json_scan_body.h"
#else
typedef int json_scan_avx2_is_for_x86_64_only;
#endif
