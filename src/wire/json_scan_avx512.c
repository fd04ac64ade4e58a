/* wire/json_scan_avx512.c - the walk with 64-byte compares; only called where the CPU has them.
 *
 * The other paths look for each string's end from its begin on: from load to known position that is some 15 cycles, for each
 * of 70 strings of an event, one behind the other. Here 64 bytes are compared once, whatever strings are in them, and
 * remembered as bits; a string's end is then a shift and a count away. The next 64 bytes are behind the last, so that the CPU can
 * load and compare them while it is still at the strings before. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "wire/json_scan.h"
#include "wire/utf8.h"

#define SCAN(name)  name##_avx512
#define SCAN_TARGET __attribute__((target("avx512f,avx512bw,bmi,bmi2")))

/* Bits of 64 bytes, of which only those of `there` are looked at; what is not there ends every run. */
SCAN_TARGET static inline uint64_t stops_in_64(const uint8_t *at, uint64_t there)
{
    __m512i bytes = _mm512_maskz_loadu_epi8(there, at);

    return _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(0x20)) | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
           _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\\'));
}

SCAN_TARGET static inline uint64_t stops_at(const uint8_t *at, const uint8_t *end)
{
    size_t left = (size_t)(end - at);

    return stops_in_64(at, left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1);
}

/* Moves the window on to where a run ends. */
SCAN_TARGET static inline const uint8_t *plain_end_further(const uint8_t *at, const uint8_t *end, struct json_window *window)
{
    const uint8_t *base = (uintptr_t)at - window->base < 128 ? at - ((uintptr_t)at - window->base) + 64 : at;

    for (;; base += 64) {
        uint64_t found;

        window->base = (uintptr_t)base;
        window->stops = stops_at(base, end);
        found = base < at ? window->stops >> (at - base) : window->stops;
        if (found != 0)
            return (base < at ? at : base) + __builtin_ctzll(found);
    }
}

SCAN_TARGET static inline const uint8_t *plain_end_avx512(const uint8_t *start, const uint8_t *at, const uint8_t *end, struct json_window *window)
{
    uint64_t into = (uintptr_t)at - window->base;

    (void)start;
    if (into < 64 && window->stops >> into != 0)
        return at + __builtin_ctzll(window->stops >> into);
    return plain_end_further(at, end, window);
}

#include "wire/json_scan_body.h"
#else
typedef int json_scan_avx512_is_for_x86_64_only;
#endif
