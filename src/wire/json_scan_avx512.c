/* wire/json_scan_avx512.c - the walk with 64-byte compares; only called where the CPU has them. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "wire/json_scan.h"
#include "wire/utf8.h"

#define SCAN(name)  name##_avx512
#define SCAN_TARGET __attribute__((target("avx512f,avx512bw,bmi,bmi2")))
#define SCAN_NEAR   1
#define SCAN_FAR    1

SCAN_TARGET static inline uint64_t stops_avx512(const uint8_t *start, const uint8_t *at, const uint8_t *end)
{
    size_t   left = (size_t)(end - at);
    uint64_t there = left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
    __m512i  bytes = _mm512_maskz_loadu_epi8(there, at); /* one signed compare finds both what is below 0x20 and what is above 0x7f */

    (void)start;
    return _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(0x20)) | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
           _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\\'));
}

#include "wire/json_scan_window.h"
#include "wire/json_scan_body.h"
#else
typedef int json_scan_avx512_is_for_x86_64_only;
#endif
