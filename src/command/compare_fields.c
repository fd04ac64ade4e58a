/* command/compare_fields.c - see compare_fields.h. */
#include "command/compare_fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"
#include "wire/time.h"

enum { DEPTH_MAX = 8 }; /* deeper values are compared as a whole */

struct comparing {
    const struct compare_rules *rules;
    struct arena               *arena;
    compare_differs            *differs;
    void                       *ctx;
    bool                        same;
    char                        path[COMPARE_PATH_BYTES_MAX + 1];
    struct err                 *err;
};

static const char *const json_texts[] = { "data", "properties", "person_properties", "group_properties", "details", NULL };
static const char *const times[] = { "timestamp", "sent_at", "now", "created_at", "captured_at", "person_created_at", "last_seen_at",
                                    "kafka.headers.timestamp", "kafka.headers.now", "kafka.headers.dlq_timestamp", NULL };

static bool one_of(const char *path, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(path, *names) == 0)
            return true;
    return false;
}

bool compare_is_ignored(const struct compare_rules *rules, const char *path)
{
    for (const char *const *pattern = rules->ignored; *pattern != NULL; pattern++) {
        size_t bytes = strlen(*pattern);

        if (bytes > 0 && (*pattern)[bytes - 1] == '*' ? strncmp(path, *pattern, bytes - 1) == 0 : strcmp(path, *pattern) == 0)
            return true;
        if (strncmp(path, *pattern, bytes) == 0 && path[bytes] == '.') /* what is inside of it, too */
            return true;
    }
    return false;
}

static void tell(struct comparing *comparing, struct span left, struct span right)
{
    comparing->same = false;
    comparing->differs(comparing->ctx, comparing->path, left, right);
}

static int no_memory(struct comparing *comparing)
{
    return err_set(comparing->err, ERR_FULL, "no room to compare two messages");
}

static bool time_read(const struct json_value *value, struct arena *arena, int64_t *out)
{
    struct span text = value->kind == JSON_STRING ? json_text(value, arena) : span_of(NULL, 0);

    return text.at != NULL && text.bytes >= 10 && time_parse_lenient(text, out);
}

static bool near_in_time(const struct comparing *comparing, const struct json_value *left, const struct json_value *right)
{
    int64_t a, b, apart;

    if (!one_of(comparing->path, times) || !time_read(left, comparing->arena, &a) || !time_read(right, comparing->arena, &b))
        return false;
    apart = a > b ? a - b : b - a;
    return apart <= comparing->rules->time_tolerance_us;
}

static int compare_objects(struct comparing *comparing, struct span left, struct span right, int depth);

/* *both: they are strings with objects in them, which are compared. */
static int compare_json_texts(struct comparing *comparing, const struct json_value *left, const struct json_value *right, int depth, bool *both)
{
    struct span        texts[2];
    struct json_reader reader;
    struct json_value  value;

    *both = false;
    if (!one_of(comparing->path, json_texts) || left->kind != JSON_STRING || right->kind != JSON_STRING)
        return 0;
    texts[0] = json_text(left, comparing->arena);
    texts[1] = json_text(right, comparing->arena);
    for (int i = 0; i < 2; i++) {
        if (texts[i].at == NULL)
            return no_memory(comparing);
        json_reader_init(&reader, texts[i], 0);
        if (json_peek(&reader) != JSON_OBJECT || json_skip(&reader, &value) < 0 || json_finish(&reader) < 0)
            return 0; /* compared as texts */
    }
    *both = true;
    return compare_objects(comparing, texts[0], texts[1], depth + 1);
}

static int compare_lists(struct comparing *comparing, struct span left, struct span right, bool *same, int depth);

/* 15 digits and fewer are exact in a double; whole numbers of more are ids, and one that lost its last digits is another id. */
static bool long_integer(struct span raw)
{
    enum { EXACT_DIGITS = 15 };
    size_t digits = 0;

    for (size_t i = raw.bytes > 0 && raw.at[0] == '-' ? 1 : 0; i < raw.bytes; i++, digits++)
        if (raw.at[i] < '0' || raw.at[i] > '9')
            return false;
    return digits > EXACT_DIGITS;
}

/* Scalars and lists; objects inside lists too. */
static int value_equal(struct comparing *comparing, const struct json_value *left, const struct json_value *right, int depth, bool *same)
{
    *same = span_equal(left->raw, right->raw);
    if (*same || left->kind != right->kind)
        return 0;
    if (left->kind == JSON_STRING) {
        struct span a = json_text(left, comparing->arena), b = json_text(right, comparing->arena);

        if (a.at == NULL || b.at == NULL)
            return no_memory(comparing);
        *same = span_equal(a, b);
    } else if (left->kind == JSON_NUMBER) {
        *same = json_double(left) == json_double(right) && !(long_integer(left->raw) && long_integer(right->raw));
    } else if (left->kind == JSON_ARRAY) {
        return compare_lists(comparing, left->raw, right->raw, same, depth + 1);
    } else if (left->kind == JSON_OBJECT && depth < DEPTH_MAX) { /* in a list: told as the list */
        struct comparing inner = *comparing;

        inner.same = true;
        inner.differs = NULL;
        if (compare_objects(&inner, left->raw, right->raw, depth + 1) < 0)
            return -1;
        *same = inner.same;
    }
    return 0;
}

static int compare_lists(struct comparing *comparing, struct span left, struct span right, bool *same, int depth)
{
    struct json_reader a, b;
    struct json_value  from_a, from_b;
    int                more_a, more_b;

    *same = false;
    if (depth >= DEPTH_MAX)
        return 0;
    json_reader_init(&a, left, 0);
    json_reader_init(&b, right, 0);
    if (json_array_enter(&a) < 0 || json_array_enter(&b) < 0)
        return 0;
    for (;;) {
        more_a = json_array_next(&a);
        more_b = json_array_next(&b);
        if (more_a != 1 || more_b != 1) {
            *same = more_a == 0 && more_b == 0;
            return 0;
        }
        if (json_skip(&a, &from_a) < 0 || json_skip(&b, &from_b) < 0)
            return 0;
        if (value_equal(comparing, &from_a, &from_b, depth, same) < 0)
            return -1;
        if (!*same)
            return 0;
    }
}

/* The values of one member; comparing->path names it. NULL: not there. */
static int compare_member(struct comparing *comparing, const struct json_value *left, const struct json_value *right, int depth)
{
    static const struct span nothing = { NULL, 0 };
    bool                     same, both;

    if (left == NULL || right == NULL) {
        tell(comparing, left == NULL ? nothing : left->raw, right == NULL ? nothing : right->raw);
        return 0;
    }
    if (depth < DEPTH_MAX && left->kind == JSON_OBJECT && right->kind == JSON_OBJECT)
        return compare_objects(comparing, left->raw, right->raw, depth + 1);
    if (value_equal(comparing, left, right, depth, &same) < 0)
        return -1;
    if (same || near_in_time(comparing, left, right))
        return 0;
    if (compare_json_texts(comparing, left, right, depth, &both) < 0)
        return -1;
    if (!both)
        tell(comparing, left->raw, right->raw);
    return 0;
}

static void silent(void *ctx, const char *path, struct span left, struct span right)
{
    (void)ctx, (void)path, (void)left, (void)right;
}

static int compare_objects(struct comparing *comparing, struct span left, struct span right, int depth)
{
    struct json_members members[2];
    size_t              path_bytes = strlen(comparing->path);
    int                 rc = 0;

    if (comparing->differs == NULL)
        comparing->differs = silent;
    if (json_members_read(left, comparing->arena, &members[0], comparing->err) < 0 ||
        json_members_read(right, comparing->arena, &members[1], comparing->err) < 0)
        return -1;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; rc == 0 && i < members[side].count; i++) {
            const struct json_member *mine = &members[side].at[i], *other = json_members_find(&members[1 - side], mine->key);

            if (side == 1 && other != NULL)
                continue; /* was compared from the other side */
            (void)snprintf(comparing->path + path_bytes, sizeof comparing->path - path_bytes, "%s%.*s", path_bytes > 0 ? "." : "",
                           (int)(mine->key.bytes > COMPARE_PATH_BYTES_MAX ? COMPARE_PATH_BYTES_MAX : mine->key.bytes), (const char *)mine->key.at);
            if (!compare_is_ignored(comparing->rules, comparing->path))
                rc = side == 0 ? compare_member(comparing, &mine->value, other == NULL ? NULL : &other->value, depth)
                               : compare_member(comparing, NULL, &mine->value, depth);
            comparing->path[path_bytes] = '\0';
        }
    return rc;
}

int compare_values(const struct compare_rules *rules, struct span left, struct span right, struct arena *arena, compare_differs *differs,
                   void *ctx, bool *same_out, struct err *err)
{
    struct comparing comparing = { .rules = rules, .arena = arena, .differs = differs, .ctx = ctx, .same = true, .err = err };

    if (compare_objects(&comparing, left, right, 0) < 0)
        return -1;
    *same_out = comparing.same;
    return 0;
}
