/* ingest/warning.c - the names of warnings and their rows' details. */
#include "ingest/warning.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/json.h"

#define WARNING_INFO(suffix, type, category, severity, how_often) { type, category, severity, WARNING_##how_often },
const struct warning_info warning_infos[WARNING_COUNT] = { WARNINGS(WARNING_INFO) };

enum warning_type warning_of_client(struct span type)
{
#define WARNING_CLAIMED(suffix, text, category, severity, how_often) \
    if (span_is(type, text))                                         \
        return WARNING_##suffix;
    WARNINGS_OF_CLIENTS(WARNING_CLAIMED)
    if (span_is(type, "distinct_id_too_large"))
        return WARNING_DISTINCT_ID_CUT;
    if (span_is(type, "event_name_too_long"))
        return WARNING_NAME_TOO_LONG;
    return WARNING_CLIENT;
}

struct warning *warning_add(struct warning_list *list, enum warning_type type)
{
    struct warning *warning = arena_alloc_zero(list->arena, sizeof *warning);

    if (warning == NULL)
        return NULL;
    warning->type = type;
    if (list->first == NULL)
        list->first = warning;
    else
        list->last->next = warning;
    list->last = warning;
    return warning;
}

static void detail_add(struct warning *warning, const char *name, bool is_text, struct span value)
{
    if (warning == NULL || warning->count == WARNING_DETAILS_MAX || value.at == NULL)
        return;
    warning->details[warning->count].name = name;
    warning->details[warning->count].is_text = is_text;
    warning->details[warning->count].value = value;
    warning->count++;
}

void warning_text(struct warning *warning, const char *name, struct span text)
{
    detail_add(warning, name, true, text);
}

void warning_raw(struct warning *warning, const char *name, struct span json)
{
    detail_add(warning, name, false, json);
}

void warning_number(struct warning_list *list, struct warning *warning, const char *name, int64_t number)
{
    char text[24];
    int  bytes = snprintf(text, sizeof text, "%" PRId64, number);

    detail_add(warning, name, false, arena_copy(list->arena, span_of(text, (size_t)bytes)));
}

void warning_uuid(struct warning_list *list, struct warning *warning, const char *name, const struct uuid *uuid)
{
    char text[UUID_TEXT_BYTES];

    uuid_format(uuid, text);
    detail_add(warning, name, true, arena_copy(list->arena, span_of(text, sizeof text)));
}

enum { CARRIES_EVENT, CARRIES_DISTINCT_ID };

/* What readers of details expect there: the event's id and its distinct id, but for a few types. */
static bool warning_carries(enum warning_type type, int what)
{
    switch (type) {
    case WARNING_DISTINCT_ID:
    case WARNING_HEATMAP_URL:
    case WARNING_HEATMAP_ITEMS:
        return false;
    case WARNING_TIMESTAMP:
    case WARNING_SESSION_ID:
    case WARNING_HEATMAP:
        return what == CARRIES_EVENT;
    default:
        return true;
    }
}

void warning_write(const struct warning *warning, const struct uuid *event, struct span distinct_id, struct buf *out)
{
    const struct warning_info *info = &warning_infos[warning->type];
    char                       uuid[UUID_TEXT_BYTES];

    buf_add_byte(out, '{');
    buf_add(out, warning->members);
    for (unsigned i = 0; i < warning->count; i++) {
        buf_add_format(out, "\"%s\":", warning->details[i].name);
        if (warning->details[i].is_text)
            json_write_string(out, warning->details[i].value);
        else
            buf_add(out, warning->details[i].value);
        buf_add_byte(out, ',');
    }
    if (event != NULL && !warning->has_event && warning_carries(warning->type, CARRIES_EVENT)) {
        uuid_format(event, uuid);
        buf_add_format(out, "\"eventUuid\":\"%.36s\",", uuid);
    }
    if (distinct_id.bytes > 0 && !warning->has_distinct_id && warning_carries(warning->type, CARRIES_DISTINCT_ID)) {
        buf_add_text(out, "\"distinctId\":");
        json_write_string(out, distinct_id);
        buf_add_byte(out, ',');
    }
    buf_add_format(out, "\"category\":\"%s\",\"severity\":\"%s\"}", info->category, info->severity);
}
