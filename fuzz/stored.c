/* fuzz/stored.c - any bytes as a stored record, request or row: no crash, and what is read is written the same. */
#include <stdlib.h>

#include "event/control.h"
#include "event/record.h"
#include "event/row.h"
#include "fuzz.h"

static void check(bool fine)
{
    if (!fine)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    struct record record;
    struct record_moved moved;
    struct control control;
    struct row    row;
    struct err    err;
    uint8_t      *again;

    if (record_read(span_of(at, bytes), &record, &err) == 0) {
        check(record_bytes(&record) == bytes);
        again = malloc(bytes);
        record_write(&record, again);
        check(memcmp(again, at, bytes) == 0);
        free(again);
    }
    if (record_moved_read(span_of(at, bytes), &moved, &err) == 0)
        check(moved.body.bytes + RECORD_MOVED_HEAD_BYTES == bytes);
    if (control_read(span_of(at, bytes), &control, &err) == 0) {
        struct span *ids = calloc((size_t)control.id_count + 1, sizeof *ids);
        size_t       id_at = 0, id_count = 0;

        while (control_id(&control, &id_at, &ids[id_count]))
            id_count++;
        check(id_count == control.id_count && control_bytes(&control, ids) == bytes);
        again = malloc(bytes);
        control_write(&control, ids, again);
        check(memcmp(again, at, bytes) == 0);
        free(again);
        free(ids);
    }
    if (row_read(span_of(at, bytes), &row, &err) == 0) {
        struct row back;
        size_t     size = row_bytes(&row);

        check(size <= bytes + sizeof row);
        again = malloc(size);
        row_write(&row, again);
        check(row_read(span_of(again, size), &back, &err) == 0);
        check(row_bytes(&back) == size);
        free(again);
        struct arena *arena = arena_new(1 << 16, 256 << 20);
        struct buf    json;

        buf_init(&json, 256 << 20);
        row_write_json(&row, &json);
        (void)!row_unpack(&row, arena, &err); /* any answer, no crash */
        buf_fini(&json);
        arena_free(arena);
    }
    return 0;
}
