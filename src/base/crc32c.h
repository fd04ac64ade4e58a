/* base/crc32c.h - CRC-32C (Castagnoli; RFC 3720 appendix B.4), the checksum of everything stored.
 *
 * Uses the CPU's crc32 instruction where there is one, a table where not; both give the same. */
#ifndef PENSTOCK_BASE_CRC32C_H
#define PENSTOCK_BASE_CRC32C_H

#include "base/span.h"

/* Continues from `crc` (0 to start): crc32c(crc32c(0, a), b) == crc32c(0, a then b). */
uint32_t crc32c(uint32_t crc, struct span bytes);

#endif
