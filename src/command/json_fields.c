/* command/json_fields.c - see json_fields.h. */
#include "command/json_fields.h"

#include "base/clock.h"
#include "wire/time.h"

struct span field_text(const struct json_members *row, const char *name, struct arena *arena)
{
    const struct json_member *member = json_members_find(row, span_text(name));
    struct span               text = { 0 };

    if (member != NULL && member->value.kind == JSON_STRING)
        text = json_text(&member->value, arena);
    return text.at != NULL ? text : SPAN("");
}

int64_t field_number(const struct json_members *row, const char *name, int64_t none)
{
    const struct json_member *member = json_members_find(row, span_text(name));
    int64_t                   value;

    return member != NULL && json_int64(&member->value, &value) ? value : none;
}

void field_write_text(struct buf *out, const char *name, struct span text)
{
    buf_add_format(out, ",\"%s\":", name);
    if (text.bytes > 0)
        json_write_string(out, text);
    else
        buf_add_text(out, "null");
}

void field_write_time(struct buf *out, const char *name, int64_t us)
{
    buf_add_format(out, ",\"%s\":", name);
    if (us == CLOCK_NONE) {
        buf_add_text(out, "null");
        return;
    }
    buf_add_byte(out, '"');
    time_write_rfc3339(out, us);
    buf_add_byte(out, '"');
}
