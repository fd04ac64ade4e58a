/* capture/segment_context.c - one table for thirty places. Only simple values get a property of their own: what has
 * another form than the specification says stays whole in `segment_...`, where it can be read. */
#include "capture/segment_context.h"

#define PART_ROW(name, object, member, property) { object, member, property },
static const struct { const char *object, *member, *property; } parts[] = { SEGMENT_PARTS(PART_ROW) };

const char *segment_part_property(enum segment_part part)
{
    return parts[part].property;
}

static bool context_simple(const struct json_value *value)
{
    return value->kind == JSON_STRING || value->kind == JSON_NUMBER || value->kind == JSON_TRUE ||
           value->kind == JSON_FALSE;
}

const struct json_value *segment_context_find(const struct segment_context *context, struct span name)
{
    const struct json_member *member = json_members_find(&context->own, name);

    if (member == NULL)
        member = json_members_find(context->inherited, name);
    return member == NULL || member->value.kind == JSON_NULL ? NULL : &member->value;
}

const struct json_member *segment_context_next(const struct segment_context *context, size_t *at)
{
    while (*at < context->own.count + context->inherited->count) {
        size_t                    i = (*at)++;
        const struct json_member *member = i < context->own.count ? &context->own.at[i]
                                                                  : &context->inherited->at[i - context->own.count];

        if (i < context->own.count || json_members_find(&context->own, member->key) == NULL)
            return member;
    }
    return NULL;
}

/* The parts that lie in one object of the context, or in the context itself (""). */
static int context_take(struct segment_context *context, const char *object, struct arena *arena)
{
    const struct json_value *value = object[0] == 0 ? NULL : segment_context_find(context, span_text(object));
    struct json_members      members;
    size_t                   taken = 0;
    struct err               err;

    if (object[0] != 0 && (value == NULL || value->kind != JSON_OBJECT))
        return 0;
    if (value != NULL && json_members_read(value->raw, arena, &members, &err) < 0)
        return -1; /* it was read before: only the arena can fail */
    for (int i = 0; i < SEGMENT_PART_COUNT; i++) {
        const struct json_value  *found;
        const struct json_member *member;

        if (strcmp(parts[i].object, object) != 0)
            continue;
        if (value == NULL) {
            found = segment_context_find(context, span_text(parts[i].member));
        } else {
            member = json_members_find(&members, span_text(parts[i].member));
            found = member == NULL ? NULL : &member->value;
        }
        if (found != NULL && context_simple(found)) {
            context->parts[i] = *found;
            taken++;
        }
    }
    if (value != NULL && strcmp(object, "library") == 0)
        context->library_whole = taken == members.count;
    return 0;
}

int segment_context_read(const struct json_value *context, const struct json_members *inherited, struct arena *arena,
                         struct segment_context *out)
{
    static const char *const objects[] = { "", "page", "os", "screen", "device", "app", "library", "network" };
    struct err               err;

    *out = (struct segment_context){ .inherited = inherited };
    if (context->raw.at != NULL && json_members_read(context->raw, arena, &out->own, &err) < 0)
        return -1;
    if (out->own.count + inherited->count == 0)
        return 0;
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        if (context_take(out, objects[i], arena) < 0)
            return -1;
    return 0;
}

enum segment_part segment_context_part(const struct segment_context *context, struct span name)
{
    for (int i = 0; i < SEGMENT_PART_COUNT; i++)
        if (parts[i].object[0] == 0 && context->parts[i].raw.at != NULL && span_is(name, parts[i].member))
            return (enum segment_part)i;
    return SEGMENT_PART_COUNT;
}
