/* ingest/tally.c - see tally.h. Nearly every event has the key of the one before it, so that one is asked first. */
#include "ingest/tally.h"

#include <string.h>

#include "wire/time.h"

enum { ROWS_MIN = 16 };

void tally_init(struct tally *tally, struct arena *arena)
{
    *tally = (struct tally){ .arena = arena };
}

static size_t slot_of(const struct tally *tally, uint32_t project, uint32_t hour)
{
    uint64_t hash = ((uint64_t)project << 32 | hour) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(hash >> 32) & (tally->index_size - 1);
}

/* The slot that holds the key, or where it would go. */
static size_t slot_find(const struct tally *tally, uint32_t project, uint32_t hour)
{
    size_t slot = slot_of(tally, project, hour);

    while (tally->index[slot] != 0) {
        const struct people_fates *row = &tally->rows[tally->index[slot] - 1];

        if (row->project == project && row->hour == hour)
            break;
        slot = (slot + 1) & (tally->index_size - 1);
    }
    return slot;
}

/* Room for one more row, at most half of the index in use. */
static int make_room(struct tally *tally, struct err *err)
{
    size_t               room = tally->room == 0 ? ROWS_MIN : tally->room * 2;
    struct people_fates *rows;

    if (tally->count < tally->room)
        return 0;
    rows = arena_alloc_array(tally->arena, room, sizeof *rows);
    tally->index = arena_alloc_zero(tally->arena, room * 2 * sizeof *tally->index);
    if (rows == NULL || tally->index == NULL)
        return err_set(err, ERR_FULL, "no room in the arena to count %zu projects and hours", room);
    if (tally->count > 0)
        memcpy(rows, tally->rows, tally->count * sizeof *rows);
    tally->rows = rows;
    tally->room = room;
    tally->index_size = room * 2;
    for (size_t i = 0; i < tally->count; i++)
        tally->index[slot_find(tally, rows[i].project, rows[i].hour)] = (uint32_t)i + 1;
    return 0;
}

int tally_find_hour(struct tally *tally, uint32_t project, uint32_t hour, size_t *out, struct err *err)
{
    size_t slot;

    if (tally->count > 0 && tally->rows[tally->last].project == project && tally->rows[tally->last].hour == hour) {
        *out = tally->last;
        return 0;
    }
    if (make_room(tally, err) < 0)
        return -1;
    slot = slot_find(tally, project, hour);
    if (tally->index[slot] == 0) {
        tally->rows[tally->count] = (struct people_fates){ .project = project, .hour = hour };
        tally->index[slot] = (uint32_t)++tally->count;
    }
    *out = tally->last = tally->index[slot] - 1;
    return 0;
}

int tally_find(struct tally *tally, uint32_t project, int64_t received_us, size_t *out, struct err *err)
{
    /* Hour 0 means something else in the store, and no clock that is set stands there. */
    return tally_find_hour(tally, project, received_us < TIME_US_HOUR ? 1 : (uint32_t)(received_us / TIME_US_HOUR), out, err);
}

int tally_end(struct tally *tally, const struct people_ended *ended, struct err *err)
{
    if (tally->ended_count == tally->ended_room) {
        size_t               room = tally->ended_room == 0 ? 64 : tally->ended_room * 2;
        struct people_ended *more = arena_alloc_array(tally->arena, room, sizeof *more);

        if (more == NULL)
            return err_set(err, ERR_FULL, "no room in the arena to note %zu dropped events", room);
        if (tally->ended_count > 0)
            memcpy(more, tally->ended, tally->ended_count * sizeof *more);
        tally->ended = more;
        tally->ended_room = room;
    }
    tally->ended[tally->ended_count++] = *ended;
    return 0;
}

uint32_t tally_project(const struct record *record, const struct catalog_snapshot *catalog)
{
    const struct catalog_project *project;

    if (record->project != 0 || record->token.bytes == 0)
        return record->project;
    project = catalog_snapshot_find(catalog, record->token);
    return project == NULL ? 0 : project->id;
}
