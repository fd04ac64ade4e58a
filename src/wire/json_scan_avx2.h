/* wire/json_scan_avx2.h - 32-byte compares, for the two walks that use AVX2. */
#ifndef PENSTOCK_WIRE_JSON_SCAN_AVX2_H
#define PENSTOCK_WIRE_JSON_SCAN_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define JSON_AVX2 __attribute__((target("avx2,bmi,bmi2")))

/* Bit n: byte n of the 32 ends a run of plain characters. One signed compare finds both what is below
 * 0x20 and what is above 0x7f. */
JSON_AVX2 static inline uint32_t json_stops_in_32(const uint8_t *at)
{
    __m256i bytes = _mm256_loadu_si256((const __m256i_u *)at);
    __m256i odd = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
    __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
    __m256i slash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));

    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(odd, _mm256_or_si256(quote, slash)));
}

JSON_AVX2 static inline uint64_t json_stops_in_64(const uint8_t *at)
{
    return json_stops_in_32(at) | (uint64_t)json_stops_in_32(at + 32) << 32;
}

#endif
