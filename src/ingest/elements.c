/* ingest/elements.c - see elements.h.
 *
 * Browsers of today send the finished chain (`$elements_chain`); this is for older ones and for mobile.
 * Why not ICU for the order: 30 MB of tables for a sort of attribute names, which are ASCII. */
#include "ingest/elements.h"

#include <stdlib.h>

#include "ingest/member_list.h"
#include "wire/utf8.h"

enum {
    ELEMENTS_TEXT_UNITS_MAX = 400,
    ELEMENTS_HREF_UNITS_MAX = 2048,
    ELEMENTS_CHAIN_BYTES_MAX = 64 << 20 /* never reached: a record is smaller; escaping doubles it at most */
};

/* --- order ------------------------------------------------------------------------------------- */

/* Rank of an ASCII character in the root collation; 0: it does not count (control characters). */
static unsigned ascii_rank(uint8_t c)
{
    static const char order[] = "\t\n\v\f\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";
    const char       *found;

    if (c >= 'a' && c <= 'z')
        return (unsigned)sizeof order + c - 'a';
    if (c >= 'A' && c <= 'Z')
        return (unsigned)sizeof order + c - 'A';
    found = c == 0 ? NULL : strchr(order, c);
    return found == NULL ? 0 : (unsigned)(found - order) + 1;
}

/* The next rank of a text, past what does not count; 0 at its end. */
static unsigned rank_next(struct span *text, uint8_t *character_out)
{
    while (text->bytes > 0) {
        uint8_t  c = text->at[0];
        unsigned rank = c < 0x80 ? ascii_rank(c) : 256u + c; /* UTF-8's bytes are in the order of code points */

        *text = span_from(*text, 1);
        *character_out = c;
        if (rank != 0)
            return rank;
    }
    *character_out = 0;
    return 0;
}

int elements_compare_keys(struct span a, struct span b)
{
    int case_order = 0;

    for (;;) {
        uint8_t  ca, cb;
        unsigned ra = rank_next(&a, &ca), rb = rank_next(&b, &cb);

        if (ra != rb)
            return ra < rb ? -1 : 1;
        if (ra == 0)
            return case_order;
        if (case_order == 0 && ca != cb)
            case_order = ca > cb ? -1 : 1; /* lower case has the larger code and comes first */
    }
}

/* --- one element ------------------------------------------------------------------------------- */

struct attribute { struct span key, value; size_t place; };

static int attribute_order(const void *a, const void *b)
{
    const struct attribute *left = a, *right = b;
    int                     order = elements_compare_keys(left->key, right->key);

    return order != 0 ? order : (left->place > right->place) - (left->place < right->place);
}

static int class_order(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static void add_escaped(struct buf *out, struct span text)
{
    size_t from = 0;

    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] == '"') {
            buf_add(out, span_of(text.at + from, i - from));
            buf_add_byte(out, '\\');
            from = i;
        }
    buf_add(out, span_from(text, from));
}

static void add_class(struct buf *out, struct span class)
{
    buf_add_byte(out, '.');
    for (size_t i = 0; i < class.bytes; i++)
        if (class.at[i] != '"')
            buf_add_byte(out, class.at[i]);
}

struct classes { struct span *at; size_t count, room; };

static int class_push(struct classes *classes, struct arena *arena, struct span class)
{
    if (classes->count == classes->room) {
        size_t       room = classes->room == 0 ? 8 : classes->room * 2;
        struct span *more = arena_grow(arena, classes->at, classes->room * sizeof *more, room * sizeof *more);

        if (more == NULL)
            return -1;
        classes->at = more;
        classes->room = room;
    }
    classes->at[classes->count++] = class;
    return 0;
}

/* A list, or a text split at each single space; nothing when it is false or something else. -1: arena. */
static int classes_read(const struct json_value *value, struct arena *arena, struct classes *out)
{
    struct json_reader reader;
    struct json_value  item;
    struct span        text;

    if (!value_truthy(value))
        return 0;
    if (value->kind == JSON_ARRAY) {
        json_reader_init(&reader, value->raw, 0);
        if (json_array_enter(&reader) < 0)
            return 0;
        while (json_array_next(&reader) > 0 && json_skip(&reader, &item) == 0)
            if (value_as_text(&item, arena, &text) && class_push(out, arena, text) < 0)
                return -1;
    } else if (value->kind == JSON_STRING && value_as_text(value, arena, &text)) {
        for (size_t from = 0, i = 0; i <= text.bytes; i++)
            if (i == text.bytes || text.at[i] == ' ') {
                if (class_push(out, arena, span_of(text.at + from, i - from)) < 0)
                    return -1;
                from = i + 1;
            }
    }
    if (out->count > 1)
        qsort(out->at, out->count, sizeof *out->at, class_order);
    return 0;
}

static const struct json_value *member(const struct json_members *members, const char *key)
{
    const struct json_member *found = json_members_find(members, span_text(key));

    return found == NULL || found->value.kind == JSON_NULL ? NULL : &found->value;
}

/* The value's text, objects and lists as their JSON; empty when it is not there. */
static struct span text_of(const struct json_value *value, struct arena *arena)
{
    struct span text = SPAN("");

    if (value != NULL && !value_as_text(value, arena, &text))
        text = value->raw;
    return text;
}

/* Adds, or replaces: an element's own attributes win over the fixed ones. */
static void attribute_set(struct attribute *attributes, size_t *count, struct span key, struct span value)
{
    for (size_t i = 0; i < *count && i < 5; i++) /* only the five fixed names can meet: the element's own differ */
        if (span_equal(attributes[i].key, key)) {
            attributes[i].value = value;
            return;
        }
    attributes[*count] = (struct attribute){ key, value, *count };
    (*count)++;
}

static int element_write(const struct json_members *element, struct arena *arena, struct buf *out)
{
    struct attribute        *attributes = arena_alloc_array(arena, element->count + 5, sizeof *attributes);
    const struct json_value *text = member(element, "$el_text"), *href = member(element, "attr__href");
    const struct json_value *id = member(element, "attr__id"), *child = member(element, "nth_child");
    const struct json_value *of_type = member(element, "nth_of_type");
    struct classes           classes = { 0 };
    size_t                   count = 0;

    if (attributes == NULL || classes_read(member(element, "attr__class"), arena, &classes) < 0)
        return -1;
    if (value_truthy(text))
        attribute_set(attributes, &count, SPAN("text"), utf8_cut_utf16(text_of(text, arena), ELEMENTS_TEXT_UNITS_MAX));
    attribute_set(attributes, &count, SPAN("nth-child"), child == NULL ? SPAN("0") : text_of(child, arena));
    attribute_set(attributes, &count, SPAN("nth-of-type"), of_type == NULL ? SPAN("0") : text_of(of_type, arena));
    if (value_truthy(href))
        attribute_set(attributes, &count, SPAN("href"), utf8_cut_utf16(text_of(href, arena), ELEMENTS_HREF_UNITS_MAX));
    if (value_truthy(id))
        attribute_set(attributes, &count, SPAN("attr_id"), text_of(id, arena));
    for (size_t i = 0; i < element->count; i++)
        if (span_starts(element->at[i].key, SPAN("attr__")) && element->at[i].value.kind != JSON_NULL)
            attribute_set(attributes, &count, element->at[i].key, text_of(&element->at[i].value, arena));
    qsort(attributes, count, sizeof *attributes, attribute_order);

    buf_add(out, text_of(member(element, "tag_name"), arena));
    for (size_t i = 0; i < classes.count; i++)
        add_class(out, classes.at[i]);
    buf_add_byte(out, ':');
    for (size_t i = 0; i < count; i++) {
        add_escaped(out, attributes[i].key);
        buf_add_text(out, "=\"");
        add_escaped(out, attributes[i].value);
        buf_add_byte(out, '"');
    }
    return 0;
}

int elements_chain(const struct json_value *elements, struct arena *arena, struct span *out, struct err *err)
{
    struct json_reader  reader;
    struct json_value   element;
    struct json_members members;
    struct buf          buf;
    struct span         chain = SPAN("");
    int                 rc = -1;

    if (elements == NULL || elements->kind != JSON_ARRAY) {
        *out = chain;
        return 0;
    }
    buf_init(&buf, ELEMENTS_CHAIN_BYTES_MAX);
    json_reader_init(&reader, elements->raw, 0);
    if (json_array_enter(&reader) < 0) {
        json_explain(&reader, err);
        goto done;
    }
    while (json_array_next(&reader) > 0 && json_skip(&reader, &element) == 0) {
        if (element.kind != JSON_OBJECT)
            continue;
        if (json_members_read(element.raw, arena, &members, err) < 0)
            goto done;
        if (buf.bytes > 0)
            buf_add_byte(&buf, ';');
        if (element_write(&members, arena, &buf) < 0)
            buf.failed = true;
    }
    if (!buf.failed && buf.bytes > 0)
        chain = arena_copy(arena, buf_span(&buf));
    if (buf.failed || chain.at == NULL) {
        (void)err_set(err, ERR_FULL, "no room in the arena for an elements chain");
        goto done;
    }
    *out = chain;
    rc = 0;
done:
    buf_fini(&buf);
    return rc;
}
