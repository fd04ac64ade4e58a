/* command/compare_join.c - see compare_join.h. Files hold: u8 side, u32 bytes of name, u32 bytes of value, u64 version, u32 bytes of what
 * stood beside the value, name, value, that. */
#include "command/compare_join.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "wire/json.h"

enum { ENTRY_HEAD_BYTES = 21, ARENA_CHUNK_BYTES = 64 << 10, ARENA_BYTES_MAX = 256 << 20, NAME_BYTES_MAX = 4096 };

struct join {
    char          folder[400];
    size_t        memory_max;
    FILE         *files[JOIN_PARTS];
    struct arena *arena;
    struct buf    name, beside;
    uint64_t      messages[2], unreadable[2];
};

/* --- taking messages in ------------------------------------------------------------------------ */

int join_open(const char *folder, size_t memory_max, struct join **out, struct err *err)
{
    struct join *join = calloc(1, sizeof *join);

    if (join == NULL)
        return err_set(err, ERR_FULL, "no memory");
    join->memory_max = memory_max;
    join->arena = arena_new(ARENA_CHUNK_BYTES, ARENA_BYTES_MAX);
    buf_init(&join->name, ARENA_BYTES_MAX);
    buf_init(&join->beside, ARENA_BYTES_MAX);
    if (join->arena == NULL || snprintf(join->folder, sizeof join->folder, "%s/penstock-compare.XXXXXX", folder) >= (int)sizeof join->folder) {
        join->folder[0] = '\0';
        join_close(join);
        return err_set(err, ERR_INPUT, "the folder's path is too long, or there is no memory");
    }
    if (mkdtemp(join->folder) == NULL) {
        int error = errno;

        (void)err_errno(err, error, "%s", join->folder);
        join->folder[0] = '\0';
        join_close(join);
        return -1;
    }
    *out = join;
    return 0;
}

static void part_path(const struct join *join, unsigned part, char to[440])
{
    (void)snprintf(to, 440, "%s/%03u", join->folder, part);
}

void join_close(struct join *join)
{
    char path[440];

    if (join == NULL)
        return;
    for (unsigned i = 0; i < JOIN_PARTS; i++)
        if (join->files[i] != NULL) {
            (void)fclose(join->files[i]);
            part_path(join, i, path);
            (void)unlink(path);
        }
    if (join->folder[0] != '\0')
        (void)rmdir(join->folder);
    if (join->arena != NULL)
        arena_free(join->arena);
    buf_fini(&join->name);
    buf_fini(&join->beside);
    free(join);
}

static struct span member_text(const struct json_members *members, const char *name, struct arena *arena)
{
    const struct json_member *member = json_members_find(members, span_text(name));

    if (member == NULL || member->value.kind == JSON_NULL)
        return SPAN("");
    return member->value.kind == JSON_STRING ? json_text(&member->value, arena) : member->value.raw;
}

/* Which members name the record: the first line of which all are there. */
static const char *const names[][3] = {
    { "token", "uuid", NULL }, { "team_id", "uuid", NULL },          { "uuid", NULL, NULL },
    { "team_id", "id", NULL }, { "team_id", "group_type_index", "group_key" }, { "team_id", "distinct_id", "person_id" },
};
enum { NAME_KINDS = sizeof names / sizeof *names, NAME_OF_ID = 5 };

/* Blanks between its parts, so that people can read it. */
static bool name_make(struct join *join, const struct json_members *members)
{
    for (size_t kind = 0; kind < NAME_KINDS; kind++) {
        bool all = true;

        buf_reset(&join->name);
        for (size_t i = 0; i < 3 && names[kind][i] != NULL && all; i++) {
            struct span text = member_text(members, names[kind][i], join->arena);

            all = text.at != NULL && text.bytes > 0 && text.bytes <= NAME_BYTES_MAX;
            if (kind == NAME_OF_ID && i == 2)
                continue; /* whose it is may be what differs */
            if (i > 0)
                buf_add_byte(&join->name, ' ');
            buf_add(&join->name, text);
        }
        if (all)
            return true;
    }
    buf_reset(&join->name);
    return false;
}

static int entry_write(struct join *join, enum join_side side, uint64_t version, struct span value, struct err *err)
{
    struct span name = buf_span(&join->name), beside = buf_span(&join->beside);
    uint64_t    hash = name.bytes > 0 ? XXH3_64bits(name.at, name.bytes) : XXH3_64bits(value.at, value.bytes);
    unsigned    part = (unsigned)(hash % JOIN_PARTS);
    uint8_t     head[ENTRY_HEAD_BYTES];
    char        path[440];
    FILE       *file = join->files[part];

    part_path(join, part, path);
    if (file == NULL) {
        file = fopen(path, "w+b");
        if (file == NULL)
            return err_errno(err, errno, "%s", path);
        join->files[part] = file;
    }
    head[0] = (uint8_t)side;
    bytes_put_u32(head + 1, (uint32_t)name.bytes);
    bytes_put_u32(head + 5, (uint32_t)value.bytes);
    bytes_put_u64(head + 9, version);
    bytes_put_u32(head + 17, (uint32_t)beside.bytes);
    if (fwrite(head, 1, sizeof head, file) != sizeof head || fwrite(name.at, 1, name.bytes, file) != name.bytes ||
        fwrite(value.at, 1, value.bytes, file) != value.bytes || fwrite(beside.at, 1, beside.bytes, file) != beside.bytes)
        return err_errno(err, errno, "%s", path);
    return 0;
}

static void quoted(struct buf *to, struct span text)
{
    buf_add_byte(to, '"');
    json_write_escaped_lossy(to, text);
    buf_add_byte(to, '"');
}

/* {"kafka":{"key":"..."|null,"headers":{"name":"...",...}}}: compared as values are. Of headers of one name the last counts; one without a
 * value is none. */
static void beside_make(struct buf *to, const struct upstream_message *message)
{
    bool first = true;

    buf_add_text(to, "{\"kafka\":{\"key\":");
    if (message->has_key)
        quoted(to, message->key);
    else
        buf_add_text(to, "null");
    buf_add_text(to, ",\"headers\":{");
    for (size_t i = 0; i < message->header_count; i++) {
        bool last = !message->headers[i].null;

        for (size_t k = i + 1; k < message->header_count; k++)
            last = last && !span_equal(message->headers[i].name, message->headers[k].name);
        if (!last)
            continue;
        if (!first)
            buf_add_byte(to, ',');
        first = false;
        quoted(to, message->headers[i].name);
        buf_add_byte(to, ':');
        quoted(to, message->headers[i].value);
    }
    buf_add_text(to, "}}}");
}

int join_add(struct join *join, enum join_side side, const struct upstream_message *message, bool whole, struct err *err)
{
    struct json_members members;
    struct err          why = { 0 };
    int64_t             version = -1;

    join->messages[side]++;
    arena_reset(join->arena);
    if (json_members_read(message->value, join->arena, &members, &why) < 0) {
        if (why.kind == ERR_FULL) {
            *err = why;
            return -1;
        }
        join->unreadable[side]++;
        return 0;
    }
    if (name_make(join, &members) && json_members_find(&members, SPAN("uuid")) == NULL) {
        const struct json_member *member = json_members_find(&members, SPAN("version"));

        if (member != NULL && !json_int64(&member->value, &version))
            version = -1;
    }
    buf_reset(&join->beside);
    if (whole)
        beside_make(&join->beside, message);
    if (join->beside.failed)
        return err_set(err, ERR_FULL, "no memory for the key and headers of a message");
    return entry_write(join, side, (uint64_t)(version + 1), message->value, err);
}

/* --- joining ----------------------------------------------------------------------------------- */

struct entry {
    uint8_t     side;
    uint64_t    version; /* of the message, one more; 0: it has none */
    struct span name, value, beside; /* beside: nothing when only values are known */
    uint64_t    hash;
};

struct joining {
    struct join                *join;
    const struct compare_rules *rules;
    struct join_result         *result;
    const struct entry         *now; /* whose differences are told */
};

/* The end of a text that is too long shows that. */
static void cut(char *to, size_t room, struct span text)
{
    if (text.at == NULL)
        (void)snprintf(to, room, "(not there)");
    else
        (void)snprintf(to, room, "%.*s%s", (int)(text.bytes < room - 4 ? text.bytes : room - 4), (const char *)text.at,
                       text.bytes < room - 4 ? "" : "...");
}

static void differs(void *ctx, const char *path, struct span left, struct span right)
{
    struct joining     *joining = ctx;
    struct join_result *result = joining->result;
    struct join_field  *field = NULL;

    for (size_t i = 0; i < result->field_count && field == NULL; i++)
        if (strcmp(result->fields[i].path, path) == 0)
            field = &result->fields[i];
    if (field == NULL && result->field_count == JOIN_FIELDS_MAX) {
        result->fields_more++;
        return;
    }
    if (field == NULL) {
        field = &result->fields[result->field_count++];
        *field = (struct join_field){ .records = 0 };
        (void)snprintf(field->path, sizeof field->path, "%s", path);
        cut(field->name, sizeof field->name, joining->now->name);
        cut(field->left, sizeof field->left, left);
        cut(field->right, sizeof field->right, right);
    }
    field->records++;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int                 order = left->hash < right->hash ? -1 : left->hash > right->hash;

    if (order == 0)
        order = span_compare(left->name, right->name);
    if (order == 0)
        order = left->name.bytes == 0 ? span_compare(left->value, right->value) : 0;
    if (order == 0)
        order = (int)left->side - (int)right->side;
    if (order == 0)
        order = left->version > right->version ? -1 : left->version < right->version;
    return order != 0 ? order : left->value.at < right->value.at ? -1 : left->value.at > right->value.at;
}

static bool same_record(const struct entry *a, const struct entry *b)
{
    return a->hash == b->hash && span_equal(a->name, b->name) && (a->name.bytes > 0 || span_equal(a->value, b->value));
}

static void one_side(struct joining *joining, const struct entry *entry, enum join_side side, uint64_t times)
{
    struct join_result *result = joining->result;

    result->only[side] += times;
    if (result->example_count[side] < 10)
        cut(result->examples[side][result->example_count[side]++], sizeof result->examples[side][0],
            entry->name.bytes > 0 ? entry->name : entry->value);
}

/* All entries of one record: left ones first, the highest version of each side in front. */
static int record_join(struct joining *joining, const struct entry *entries, size_t count, struct err *err)
{
    struct join_result *result = joining->result;
    size_t              of[2] = { 0, 0 };
    bool                same = false, same_beside = true, named = entries[0].name.bytes > 0;

    for (size_t i = 0; i < count; i++)
        of[entries[i].side]++;
    for (int side = 0; side < 2 && named; side++)
        if (of[side] > 1)
            *(entries[0].version > 0 ? &result->older[side] : &result->twice[side]) += of[side] - 1;
    if (!named) { /* as often on each side */
        uint64_t both = of[0] < of[1] ? of[0] : of[1];

        result->same += both;
        for (int side = 0; side < 2; side++)
            if (of[side] > both)
                one_side(joining, &entries[0], (enum join_side)side, of[side] - both);
        return 0;
    }
    if (of[0] == 0 || of[1] == 0) {
        one_side(joining, &entries[0], of[0] == 0 ? JOIN_RIGHT : JOIN_LEFT, 1);
        return 0;
    }
    joining->now = &entries[0];
    arena_reset(joining->join->arena);
    if (compare_values(joining->rules, entries[0].value, entries[of[0]].value, joining->join->arena, differs, joining, &same, err) < 0)
        return -1;
    if (entries[0].beside.bytes > 0 && entries[of[0]].beside.bytes > 0 &&
        compare_values(joining->rules, entries[0].beside, entries[of[0]].beside, joining->join->arena, differs, joining, &same_beside, err) < 0)
        return -1;
    same = same && same_beside;
    result->same += same;
    result->differing += !same;
    return 0;
}

static int part_join(struct joining *joining, uint8_t *at, size_t bytes, struct entry *entries, struct err *err)
{
    size_t count = 0;
    int    rc = 0;

    for (size_t done = 0; done < bytes;) {
        struct entry *entry = &entries[count++];
        size_t        name_bytes = bytes_get_u32(at + done + 1), value_bytes = bytes_get_u32(at + done + 5), beside_bytes = bytes_get_u32(at + done + 17);

        entry->side = at[done];
        entry->version = bytes_get_u64(at + done + 9);
        entry->name = span_of(at + done + ENTRY_HEAD_BYTES, name_bytes);
        entry->value = span_of(at + done + ENTRY_HEAD_BYTES + name_bytes, value_bytes);
        entry->beside = span_of(at + done + ENTRY_HEAD_BYTES + name_bytes + value_bytes, beside_bytes);
        entry->hash = name_bytes > 0 ? XXH3_64bits(entry->name.at, name_bytes) : XXH3_64bits(entry->value.at, value_bytes);
        done += ENTRY_HEAD_BYTES + name_bytes + value_bytes + beside_bytes;
    }
    qsort(entries, count, sizeof *entries, by_name);
    for (size_t i = 0, end; i < count && rc == 0; i = end) {
        for (end = i + 1; end < count && same_record(&entries[i], &entries[end]); end++)
            ;
        rc = record_join(joining, &entries[i], end - i, err);
    }
    return rc;
}

/* Reads one file whole and joins what is in it. */
static int file_join(struct joining *joining, FILE *file, struct err *err)
{
    long          bytes = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    struct entry *entries = NULL;
    uint8_t      *at = NULL;
    size_t        room;
    int           rc;

    if (bytes < 0 || fseek(file, 0, SEEK_SET) != 0)
        return err_errno(err, errno, "a temporary file");
    room = (size_t)bytes + ((size_t)bytes / ENTRY_HEAD_BYTES + 1) * sizeof *entries / 8; /* a message has 100 bytes and more */
    if (room > joining->join->memory_max)
        return err_set(err, ERR_FULL, "a %dth of the messages is %ld bytes: more than --memory allows; compare less of them with --since",
                       JOIN_PARTS, bytes);
    at = malloc((size_t)bytes + 1);
    entries = at == NULL ? NULL : malloc(((size_t)bytes / ENTRY_HEAD_BYTES + 1) * sizeof *entries);
    if (entries == NULL)
        rc = err_set(err, ERR_FULL, "no memory for %ld bytes of messages", bytes);
    else if (fread(at, 1, (size_t)bytes, file) != (size_t)bytes)
        rc = err_errno(err, errno, "a temporary file");
    else
        rc = part_join(joining, at, (size_t)bytes, entries, err);
    free(entries);
    free(at);
    return rc;
}

static int by_records(const void *a, const void *b)
{
    const struct join_field *left = a, *right = b;

    return left->records > right->records ? -1 : left->records < right->records ? 1 : strcmp(left->path, right->path);
}

int join_run(struct join *join, const struct compare_rules *rules, struct join_result *out, struct err *err)
{
    struct joining joining = { .join = join, .rules = rules, .result = out };

    *out = (struct join_result){ .same = 0 };
    memcpy(out->messages, join->messages, sizeof out->messages);
    memcpy(out->unreadable, join->unreadable, sizeof out->unreadable);
    for (size_t i = 0; i < JOIN_PARTS; i++)
        if (join->files[i] != NULL && file_join(&joining, join->files[i], err) < 0)
            return -1;
    qsort(out->fields, out->field_count, sizeof *out->fields, by_records);
    return 0;
}

bool join_is_same(const struct join_result *result)
{
    return result->differing == 0 && result->only[0] == 0 && result->only[1] == 0 && result->twice[0] == 0 && result->twice[1] == 0 &&
           result->unreadable[0] == 0 && result->unreadable[1] == 0;
}
