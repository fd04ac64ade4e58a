/* warehouse/zstd_search.h - the search for repeats in what the engine's zstd compresses.
 *
 * zstd takes sequences (literals, then a match) from a function of the caller's instead of searching itself: its
 * "sequence producer". It is asked block by block, up to 128 KiB each, and writes the entropy-coded blocks as ever; whoever reads them
 * cannot tell. Why: zstd_search.c.
 *  Z1  a match's bytes are those it stands for: compared, in memory of this stream that has not changed since
 *  Z2  the sequences of a block stand for exactly its bytes
 * @thread any: a stream's blocks one after the other; what is remembered between them is the thread's own */
#ifndef PENSTOCK_WAREHOUSE_ZSTD_SEARCH_H
#define PENSTOCK_WAREHOUSE_ZSTD_SEARCH_H

#include <stddef.h>

/* ZSTD_Sequence of zstd.h. */
struct zstd_sequence { unsigned offset, literals, match, rep; };

/* ZSTD_SEQUENCE_PRODUCER_ERROR: zstd searches itself. */
#define ZSTD_SEARCH_FAILED ((size_t)-1)

/* What ZSTD_registerSequenceProducer takes. stream: a number that no other stream has, as a pointer. Gives how many
 * sequences there are; the last one has no match. */
size_t zstd_search(void *stream, struct zstd_sequence *out, size_t room, const void *block, size_t bytes, const void *dictionary,
                   size_t dictionary_bytes, int level, size_t window);

#endif
