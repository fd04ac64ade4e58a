/* base/arena.c - chunks in a list; the newest is bumped, the first is kept over a reset. */
#include "base/arena.h"

#include <assert.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ONE_MALLOC_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define ARENA_ONE_MALLOC_EACH 1
#endif
#endif

struct chunk {
    struct chunk *older;
    size_t        size; /* of bytes */
    size_t        used;
    _Alignas(16) uint8_t bytes[];
};

struct arena {
    struct chunk *newest;
    size_t        chunk_bytes; /* fixed */
    size_t        bytes_max;   /* fixed */
    size_t        given;
    bool          denied;
};

struct arena *arena_new(size_t chunk_bytes, size_t bytes_max)
{
    struct arena *arena = calloc(1, sizeof *arena);

    if (arena == NULL)
        return NULL;
    arena->chunk_bytes = chunk_bytes < 256 ? 256 : chunk_bytes;
    arena->bytes_max = bytes_max;
    return arena;
}

static void chunks_free(struct chunk *chunk)
{
    while (chunk != NULL) {
        struct chunk *older = chunk->older;

        free(chunk);
        chunk = older;
    }
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    chunks_free(arena->newest);
    free(arena);
}

void arena_reset(struct arena *arena)
{
    struct chunk *keep = NULL;

    for (struct chunk *chunk = arena->newest, *older; chunk != NULL; chunk = older) {
        older = chunk->older;
        if (older == NULL && chunk->size == arena->chunk_bytes)
            keep = chunk;
        else
            free(chunk);
    }
    if (keep != NULL) {
        keep->older = NULL;
        keep->used = 0;
    }
    arena->newest = keep;
    arena->given = 0;
}

static struct chunk *chunk_new(struct arena *arena, size_t size)
{
    struct chunk *chunk = malloc(sizeof *chunk + size);

    if (chunk == NULL) {
        arena->denied = true;
        return NULL;
    }
    *chunk = (struct chunk){ .older = arena->newest, .size = size };
    arena->newest = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    size_t        room = bytes == 0 ? 16 : (bytes + 15) & ~(size_t)15;
    struct chunk *chunk = arena->newest;

    if (room < bytes || room > arena->bytes_max - arena->given)
        return NULL;
#ifdef ARENA_ONE_MALLOC_EACH
    chunk = chunk_new(arena, bytes);
#else
    if (chunk == NULL || room > chunk->size - chunk->used)
        chunk = chunk_new(arena, room > arena->chunk_bytes ? room : arena->chunk_bytes);
#endif
    if (chunk == NULL)
        return NULL;
    void *at = chunk->bytes + chunk->used;

    chunk->used += room < chunk->size - chunk->used ? room : chunk->size - chunk->used;
    arena->given += room;
    return at;
}

void *arena_alloc_zero(struct arena *arena, size_t bytes)
{
    void *at = arena_alloc(arena, bytes);

    if (at != NULL)
        memset(at, 0, bytes);
    return at;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t bytes_each)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, bytes_each, &bytes))
        return NULL;
    return arena_alloc(arena, bytes);
}

void *arena_grow(struct arena *arena, void *at, size_t bytes_old, size_t bytes_new)
{
    struct chunk *chunk = arena->newest;
    size_t        room_old = bytes_old == 0 ? 16 : (bytes_old + 15) & ~(size_t)15;
    size_t        room_new = (bytes_new + 15) & ~(size_t)15;

    if (at == NULL)
        return arena_alloc(arena, bytes_new);
    if (room_new <= room_old && room_new >= bytes_new)
        return at;
#ifndef ARENA_ONE_MALLOC_EACH
    if (room_new >= bytes_new && chunk != NULL && chunk->used >= room_old &&
        (uint8_t *)at == chunk->bytes + chunk->used - room_old && room_new - room_old <= chunk->size - chunk->used &&
        room_new - room_old <= arena->bytes_max - arena->given) {
        chunk->used += room_new - room_old;
        arena->given += room_new - room_old;
        return at;
    }
#else
    (void)chunk;
#endif
    void *moved = arena_alloc(arena, bytes_new);

    if (moved != NULL)
        memcpy(moved, at, bytes_old);
    return moved;
}

void arena_shrink(struct arena *arena, const void *at, size_t bytes_old, size_t bytes_new)
{
#ifndef ARENA_ONE_MALLOC_EACH
    struct chunk *chunk = arena->newest;
    size_t        room_old = bytes_old == 0 ? 16 : (bytes_old + 15) & ~(size_t)15;
    size_t        room_new = bytes_new == 0 ? 16 : (bytes_new + 15) & ~(size_t)15;

    assert(bytes_new <= bytes_old);
    if (chunk->used >= room_old && (const uint8_t *)at == chunk->bytes + chunk->used - room_old) {
        chunk->used -= room_old - room_new;
        arena->given -= room_old - room_new;
    }
#else
    (void)arena, (void)at, (void)bytes_old, (void)bytes_new;
#endif
}

struct span arena_copy(struct arena *arena, struct span from)
{
    void *at = arena_alloc(arena, from.bytes);

    if (at == NULL)
        return (struct span){ NULL, from.bytes };
    if (from.bytes > 0)
        memcpy(at, from.at, from.bytes);
    return span_of(at, from.bytes);
}

bool arena_take_denied(struct arena *arena)
{
    bool denied = arena->denied;

    arena->denied = false;
    return denied;
}

size_t arena_bytes(const struct arena *arena)
{
    return arena->given;
}
