/* ingest/member_list.h - an object's members while rules change them.
 *
 * Starts as the client's members in the client's order; a rule replaces a value in place, takes a member
 * out, or adds one at the end. What no rule touches keeps its bytes. Members that a rule knows are found
 * by number (property_key.h) without a search.
 *  M1  every key stands once
 *  M2  values are valid JSON without duplicate keys at any depth
 * Memory: the arena. A failed allocation is remembered (`full`) and told by member_list_close, so that a
 * rule need not ask. */
#ifndef PENSTOCK_INGEST_MEMBER_LIST_H
#define PENSTOCK_INGEST_MEMBER_LIST_H

#include "base/arena.h"
#include "base/err.h"
#include "ingest/property_key.h"
#include "wire/json.h"

struct member_list {
    const struct property_key_table *keys;
    struct arena                    *arena;
    struct json_member              *at;
    size_t                           count, room;
    bool                             changed; /* since it was read */
    bool                             full;
    bool                             gaps;    /* removed members wait for member_list_close */
    uint32_t                         slot[PROPERTY_KEY_COUNT]; /* index + 1 in `at`; 0: not there */
};

void member_list_init(struct member_list *list, const struct property_key_table *keys, struct arena *arena);
/* Adds the members of an object to an empty list. ERR_INPUT: not a valid object; ERR_FULL: arena. */
int member_list_read(struct member_list *list, struct span object, struct err *err) must_check;
/* The same with the object that comes next in a reader, which is in error after ERR_INPUT. */
int member_list_take(struct member_list *list, struct json_reader *reader, struct err *err) must_check;
/* Each member of `over` into the list: its value wins where the key is there already. */
int member_list_overlay(struct member_list *list, const struct member_list *over, struct err *err) must_check;

/* NULL: not there. */
static inline const struct json_value *member_list_get(const struct member_list *list, enum property_key key)
{
    return list->slot[key] == 0 ? NULL : &list->at[list->slot[key] - 1].value;
}
/* value: valid JSON, living as long as the arena. */
void member_list_put(struct member_list *list, enum property_key key, struct span value);
void member_list_put_value(struct member_list *list, enum property_key key, const struct json_value *value);
/* Names the value of a key, if it is there: as that of the property `of`, from which it was copied or which it is itself. So render.c
 * knows in which place it stands already. */
static inline void member_list_tag(struct member_list *list, enum property_key key, enum property_key of)
{
    if (list->slot[key] != 0)
        list->at[list->slot[key] - 1].value.tag = (uint8_t)(of + 1);
}
void member_list_remove(struct member_list *list, enum property_key key);
/* The member at this index of `at`, which is still there. */
void member_list_remove_at(struct member_list *list, size_t index);

/* Takes the removed members out for good. ERR_FULL: a put found no room. After it only render. */
int member_list_close(struct member_list *list, struct err *err) must_check;
/* The object as JSON text in the arena; at is NULL when there is no room. */
struct span member_list_render(const struct member_list *list);

/* --- values ------------------------------------------------------------------------------------ */

/* A JSON text that is known to be valid, as a value. */
struct json_value value_of(struct span raw);
/* As JavaScript sees it: null, false, 0 and "" are false, everything else is true. NULL is false. */
bool value_truthy(const struct json_value *value);
/* A string's text, a number's or boolean's characters; false (out untouched) for everything else, or
 * when the arena is full. */
bool value_as_text(const struct json_value *value, struct arena *arena, struct span *out);
/* "null", "boolean", "number", "string", "array", "object": for people. */
const char *value_kind_name(const struct json_value *value);
/* The text as a JSON string in the arena; at is NULL when there is no room. */
struct span value_quote(struct span text, struct arena *arena);

#endif
