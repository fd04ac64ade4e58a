/* event/control.c - see control.h. */
#include "event/control.h"

#include <string.h>

#include "base/bytes.h"
#include "wire/utf8.h"

enum { CONTROL_VERSION = 1 };

size_t control_bytes(const struct control *control, const struct span *ids)
{
    size_t bytes = CONTROL_HEAD_BYTES + control->by.bytes;

    if (control->by.bytes > CONTROL_BY_BYTES_MAX || control->id_count > CONTROL_IDS_MAX)
        return 0;
    for (size_t i = 0; i < control->id_count; i++) {
        if (ids[i].bytes > CONTROL_ID_BYTES_MAX)
            return 0;
        bytes += 2 + ids[i].bytes;
    }
    return bytes;
}

static uint8_t *put_text(uint8_t *to, struct span text)
{
    if (text.bytes > 0)
        memcpy(to, text.at, text.bytes);
    return to + text.bytes;
}

void control_write(const struct control *control, const struct span *ids, uint8_t *to)
{
    to[0] = CONTROL_VERSION;
    to[1] = (uint8_t)control->kind;
    to[2] = (uint8_t)control->flags;
    to[3] = 0;
    bytes_put_u32(to + 4, control->project);
    bytes_put_u64(to + 8, (uint64_t)control->asked_us);
    bytes_put_u64(to + 16, control->request);
    memcpy(to + 24, control->person.bytes, sizeof control->person.bytes);
    bytes_put_u16(to + 40, (uint16_t)control->by.bytes);
    bytes_put_u16(to + 42, control->id_count);
    to = put_text(to + CONTROL_HEAD_BYTES, control->by);
    for (size_t i = 0; i < control->id_count; i++) {
        bytes_put_u16(to, (uint16_t)ids[i].bytes);
        to = put_text(to + 2, ids[i]);
    }
}

bool control_id(const struct control *control, size_t *at, struct span *out)
{
    size_t bytes;

    if (*at + 2 > control->ids.bytes)
        return false;
    bytes = bytes_get_u16(control->ids.at + *at);
    if (bytes > control->ids.bytes - *at - 2)
        return false;
    *out = span_of(control->ids.at + *at + 2, bytes);
    *at += 2 + bytes;
    return true;
}

/* Whether the ids are as many as told, fill their room and are text. */
static bool ids_whole(const struct control *control)
{
    size_t      at = 0, count = 0;
    struct span id;

    while (control_id(control, &at, &id)) {
        if (id.bytes > CONTROL_ID_BYTES_MAX || !utf8_valid(id))
            return false;
        count++;
    }
    return at == control->ids.bytes && count == control->id_count && count <= CONTROL_IDS_MAX;
}

int control_read(struct span body, struct control *out, struct err *err)
{
    struct control control;
    size_t         by_bytes;

    if (body.bytes < CONTROL_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "control: %zu bytes are no request", body.bytes);
    if (body.at[0] != CONTROL_VERSION)
        return err_set(err, ERR_CORRUPT, "control: a request of form %u; this Penstock reads form %d", body.at[0],
                       CONTROL_VERSION);
    if (control_kind_name(body.at[1]) == NULL || body.at[2] > (CONTROL_WITH_EVENTS | CONTROL_NOW | CONTROL_ERASED) || body.at[3] != 0 ||
        ((body.at[2] & CONTROL_ERASED) != 0 && body.at[1] != CONTROL_DELETE))
        return err_set(err, ERR_CORRUPT, "control: a request of an unknown kind");
    by_bytes = bytes_get_u16(body.at + 40);
    if (by_bytes > CONTROL_BY_BYTES_MAX || by_bytes > body.bytes - CONTROL_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "control: a request is shorter than it says");
    control = (struct control){
        .kind = (enum control_kind)body.at[1],
        .flags = body.at[2],
        .project = bytes_get_u32(body.at + 4),
        .asked_us = (int64_t)bytes_get_u64(body.at + 8),
        .request = bytes_get_u64(body.at + 16),
        .by = span_of(body.at + CONTROL_HEAD_BYTES, by_bytes),
        .id_count = bytes_get_u16(body.at + 42),
        .ids = span_from(body, CONTROL_HEAD_BYTES + by_bytes),
    };
    memcpy(control.person.bytes, body.at + 24, sizeof control.person.bytes);
    if (!utf8_valid(control.by) || !ids_whole(&control))
        return err_set(err, ERR_CORRUPT, "control: the ids of a request are damaged");
    *out = control;
    return 0;
}

const char *control_kind_name(int kind)
{
#define CONTROL_KIND_NAME(number, suffix, name) \
    case number:                                \
        return name;
    switch (kind) {
        CONTROL_KINDS(CONTROL_KIND_NAME)
    default:
        return NULL;
    }
}
