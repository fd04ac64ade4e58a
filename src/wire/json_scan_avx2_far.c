/* wire/json_scan_avx2_far.c - the walk over whole containers, and over members of no interest, with two 32-byte compares at a
 * time and a window that is kept (json_scan_window.h); only called where the CPU has them.
 *
 * Measured on events of 1 KB (2026-11-22, AMD EPYC without AVX-512): an event in one go 0.346 us, without a window 0.477. From member to
 * member, with its calls between, a window of two compares costs more than it gives (0.71 us beside 0.66): json_scan_avx2.c. */
#if defined(__x86_64__)
#include "wire/json_scan.h"
#include "wire/json_scan_avx2.h"
#include "wire/utf8.h"

#define SCAN(name)  name##_avx2_far
#define SCAN_TARGET JSON_AVX2
#define SCAN_NEAR   0
#define SCAN_FAR    1

/* The end of the text: its last 64 bytes without those before `at`, as nothing may be read behind it (J4). */
SCAN_TARGET static uint64_t stops_at_end(const uint8_t *start, const uint8_t *at, const uint8_t *end)
{
    size_t  left = (size_t)(end - at);
    uint8_t copy[64] = { 0 };

    if (left == 0)
        return ~UINT64_C(0);
    if (end - start >= 64)
        return json_stops_in_64(end - 64) >> (64 - left) | ~UINT64_C(0) << left;
    memcpy(copy, at, left);
    return json_stops_in_64(copy);
}

SCAN_TARGET static inline uint64_t stops_avx2_far(const uint8_t *start, const uint8_t *at, const uint8_t *end)
{
    return end - at >= 64 ? json_stops_in_64(at) : stops_at_end(start, at, end);
}

#include "wire/json_scan_window.h"
#include "wire/json_scan_body.h"
#else
typedef int json_scan_avx2_far_is_for_x86_64_only;
#endif
