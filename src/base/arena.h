/* base/arena.h - memory that is given back all at once.
 *
 * One arena a request (capture) and one a batch (ingest, load). It grows in chunks up to a ceiling;
 * reaching the ceiling is an answer (NULL), not a crash, because what fills it comes from strangers.
 * In sanitizer builds every allocation is a malloc of its own, or the sanitizer would see nothing.
 *  A1  memory is aligned to 16 bytes and not cleared
 *  A2  arena_reset keeps the first chunk, so a loop that resets does not call malloc again
 * One thread at a time. */
#ifndef PENSTOCK_BASE_ARENA_H
#define PENSTOCK_BASE_ARENA_H

#include "base/span.h"

struct arena;

/* NULL when the system gives no memory. chunk_bytes: size of the first chunk and of later ones. */
struct arena *arena_new(size_t chunk_bytes, size_t bytes_max);
void arena_free(struct arena *arena);
void arena_reset(struct arena *arena);

/* NULL at the ceiling or when the system gives no memory. bytes may be 0. */
void *arena_alloc(struct arena *arena, size_t bytes) __attribute__((malloc, alloc_size(2)));
void *arena_alloc_zero(struct arena *arena, size_t bytes);
/* NULL also when count * bytes_each overflows. */
void *arena_alloc_array(struct arena *arena, size_t count, size_t bytes_each);
/* Makes `at` (the last or an older allocation of bytes_old) into one of bytes_new; in place when it
 * was the last one. NULL at the ceiling; `at` is then untouched. */
void *arena_grow(struct arena *arena, void *at, size_t bytes_old, size_t bytes_new);
/* Gives back the end of `at`, when it was the last one: of bytes_old only bytes_new were needed. */
void arena_shrink(struct arena *arena, const void *at, size_t bytes_old, size_t bytes_new);
/* A copy in the arena; `at` is NULL when there is no room and bytes > 0. */
struct span arena_copy(struct arena *arena, struct span from);

/* Whether the system gave no memory since the last question: what was made meanwhile is perhaps not whole. The ceiling
 * does not count. */
bool arena_take_denied(struct arena *arena);
size_t arena_bytes(const struct arena *arena); /* given out since the last reset */

#endif
