/* base/bytes.h - numbers in stored and wire forms: little-endian, at any alignment. */
#ifndef PENSTOCK_BASE_BYTES_H
#define PENSTOCK_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored forms are little-endian; add swaps for this machine");

static inline uint16_t bytes_get_u16(const uint8_t *at) { uint16_t v; memcpy(&v, at, sizeof v); return v; }
static inline uint32_t bytes_get_u32(const uint8_t *at) { uint32_t v; memcpy(&v, at, sizeof v); return v; }
static inline uint64_t bytes_get_u64(const uint8_t *at) { uint64_t v; memcpy(&v, at, sizeof v); return v; }
static inline void bytes_put_u16(uint8_t *at, uint16_t v) { memcpy(at, &v, sizeof v); }
static inline void bytes_put_u32(uint8_t *at, uint32_t v) { memcpy(at, &v, sizeof v); }
static inline void bytes_put_u64(uint8_t *at, uint64_t v) { memcpy(at, &v, sizeof v); }

#endif
