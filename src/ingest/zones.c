/* ingest/zones.c - a table of names, emptied when it is full: there are some 600 zones, so that only happens to
 * somebody who makes names up, and costs the others one more reading. */
#include "ingest/zones.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/io.h"

enum { SLOTS = 2 * ZONES_MAX };

struct known {
    char        name[ZONES_NAME_BYTES_MAX + 1]; /* "": free */
    uint8_t    *file;                           /* NULL: there is no such zone */
    struct zone zone;
};

struct zones {
    char         folder[200];
    size_t       count;
    struct known slots[SLOTS];
};

struct zones *zones_new(const char *folder)
{
    struct zones *zones = calloc(1, sizeof *zones);

    if (zones != NULL)
        (void)snprintf(zones->folder, sizeof zones->folder, "%s", folder != NULL ? folder : "/usr/share/zoneinfo");
    return zones;
}

static void forget_all(struct zones *zones)
{
    for (size_t i = 0; i < SLOTS; i++)
        free(zones->slots[i].file);
    memset(zones->slots, 0, sizeof zones->slots);
    zones->count = 0;
}

void zones_free(struct zones *zones)
{
    if (zones == NULL)
        return;
    forget_all(zones);
    free(zones);
}

/* Letters, digits, _ + - and single slashes between them: no way out of the folder. */
static bool is_name(struct span name)
{
    if (name.bytes == 0 || name.bytes > ZONES_NAME_BYTES_MAX || name.at[0] == '/' || name.at[name.bytes - 1] == '/')
        return false;
    for (size_t i = 0; i < name.bytes; i++) {
        uint8_t c = name.at[i];

        if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '+' && c != '-' &&
            (c != '/' || name.at[i - 1] == '/'))
            return false;
    }
    return true;
}

static void read_zone(const char *folder, struct known *known)
{
    char    path[300];
    int     fd;
    ssize_t bytes, all = 0;

    (void)snprintf(path, sizeof path, "%s/%s", folder, known->name);
    known->file = malloc(ZONES_FILE_BYTES_MAX);
    fd = known->file == NULL ? -1 : io_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd >= 0) {
        while (all < ZONES_FILE_BYTES_MAX &&
               (bytes = io_pread(fd, known->file + all, ZONES_FILE_BYTES_MAX - (size_t)all, (uint64_t)all)) > 0)
            all += bytes;
        io_close(fd);
    }
    if (all > 0 && zone_read(span_of(known->file, (size_t)all), &known->zone)) {
        uint8_t *less = realloc(known->file, (size_t)all);

        if (less == NULL || (less != known->file && !zone_read(span_of(less, (size_t)all), &known->zone)))
            abort(); /* fewer bytes, or the same ones elsewhere */
        known->file = less;
        return;
    }
    free(known->file);
    known->file = NULL;
}

const struct zone *zones_find(struct zones *zones, struct span name)
{
    size_t slot;

    if (!is_name(name))
        return NULL;
    slot = XXH3_64bits(name.at, name.bytes) % SLOTS;
    for (; zones->slots[slot].name[0] != '\0'; slot = (slot + 1) % SLOTS)
        if (span_is(name, zones->slots[slot].name))
            return zones->slots[slot].file == NULL ? NULL : &zones->slots[slot].zone;
    if (zones->count == ZONES_MAX) {
        forget_all(zones);
        slot = XXH3_64bits(name.at, name.bytes) % SLOTS;
    }
    zones->count++;
    memcpy(zones->slots[slot].name, name.at, name.bytes);
    read_zone(zones->folder, &zones->slots[slot]);
    return zones->slots[slot].file == NULL ? NULL : &zones->slots[slot].zone;
}
