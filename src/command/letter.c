/* command/letter.c - finds dead letters and joins what the warehouse and the catalog know of them.
 *
 * Letters are read in pages, because the data of one may be a megabyte and there may be very many. Their order is
 * that of failing, and only those that failed before the call are given: a replay that fails again makes a
 * letter, which must not be replayed by the same call, for ever. */
#include "command/letter.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "command/catalog_access.h"
#include "command/command.h"
#include "command/json_fields.h"
#include "command/question.h"
#include "wire/json.h"
#include "wire/time.h"
#include "wire/uuid.h"

enum { LETTER_PAGE = 64, LETTER_ANSWER_BYTES_MAX = 1 << 30 };

#define LETTER_KEY(md5)                                                                                         \
    "step || ':' || CASE WHEN raw_offset IS NOT NULL THEN raw_offset::VARCHAR ELSE " md5 " END"
/* Each partition has its own offsets. */
#define LETTER_KEY_OF_UNIT(md5) LETTER_KEY(md5) " || if(unit = 0, '', concat('/', toString(unit)))"

/* What differs by the warehouse's engine. */
struct dialect { const char *key, *table; };
static struct dialect dialect_of(const char *data)
{
    /* A file that was not opened for loading since the column `encoding` was added has none. */
    static const struct dialect duckdb = { LETTER_KEY("md5(concat_ws('|', epoch_us(failed_at), data))"),
                                           "(FROM dead_letters UNION ALL BY NAME SELECT NULL::VARCHAR AS encoding WHERE false)" };
    static const struct dialect clickhouse = {
        LETTER_KEY_OF_UNIT("lower(hex(MD5(concat(toString(epoch_us(failed_at)), '|', ifNull(data, '')))))"), "dead_letters" };

    return question_to_clickhouse(data) ? clickhouse : duckdb;
}

int letter_catalog_open(const char *data, struct catalog **out, struct err *err)
{
    return data_check(data, err) < 0 ? -1 : command_catalog_of(data, out, err);
}

const char *letter_state_name(const struct letter *letter)
{
    static const char *const names[] = { "open", "replayed", "discarded" };

    return names[letter->known.state];
}

uint32_t letter_unit(const struct letter *letter)
{
    const char *slash = strrchr(letter->key, '/');

    return slash == NULL ? 0 : (uint32_t)strtoul(slash + 1, NULL, 10);
}

/* --- filters ----------------------------------------------------------------------------------- */

/* A time, or "90m", "24h", "7d" ago. */
static bool since_read(const char *text, int64_t *us_out)
{
    char              *end;
    unsigned long long number = strtoull(text, &end, 10);
    int64_t            unit = *end == 's' ? TIME_US_S : *end == 'm' ? (int64_t)60 * TIME_US_S
                              : *end == 'h' ? TIME_US_HOUR : *end == 'd' ? TIME_US_DAY : 0;

    if (isdigit((unsigned char)text[0]) && unit != 0 && end[1] == '\0' && number <= 100000) {
        *us_out = clock_wall_us() - (int64_t)number * unit;
        return true;
    }
    return time_parse_lenient(span_text(text), us_out);
}

int letter_filter_read(const struct command_args *args, const char *state, struct letter_filter *out)
{
    const char *since = args_text(args, "--since");

    *out = (struct letter_filter){ .reason = args_text(args, "--reason"), .since_us = CLOCK_NONE, .state = state };
    if (since != NULL && !since_read(since, &out->since_us))
        return args_wrong(args, "--since takes a time (2026-02-03T04:05:06Z) or an age (90m, 24h, 7d), not \"%s\"", since), -1;
    if (args_text(args, "--state") != NULL)
        out->state = args_text(args, "--state");
    if (out->state != NULL && strcmp(out->state, "all") == 0)
        out->state = NULL;
    else if (out->state != NULL && strcmp(out->state, "open") != 0 && strcmp(out->state, "replayed") != 0 &&
             strcmp(out->state, "discarded") != 0)
        return args_wrong(args, "--state takes open, replayed, discarded or all, not \"%s\"", out->state), -1;
    return 0;
}

static void quote(struct buf *sql, const char *text)
{
    buf_add_byte(sql, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            buf_add_byte(sql, '\'');
        buf_add_byte(sql, (uint8_t)*text);
    }
    buf_add_byte(sql, '\'');
}

static void where_word(struct buf *sql, const struct dialect *dialect, const char *word)
{
    struct uuid uuid;
    char        text[UUID_TEXT_BYTES + 1] = "";

    if (word[0] != '\0' && strlen(word) < 19 && strspn(word, "0123456789") == strlen(word)) {
        buf_add_format(sql, " AND raw_offset = %s", word);
    } else if (uuid_parse(span_text(word), &uuid)) {
        uuid_format(&uuid, text);
        buf_add_format(sql, " AND uuid = '%s'", text);
    } else {
        buf_add_format(sql, " AND %s = ", dialect->key);
        quote(sql, word);
    }
}

static void select_write(struct buf *sql, const struct dialect *dialect, const struct letter_filter *filter, int64_t until_us,
                         uint64_t from)
{
    buf_reset(sql);
    buf_add_format(sql, "SELECT %s", dialect->key);
    buf_add_text(sql, " AS letter, uuid, team_id, event, distinct_id, epoch_us(received_at) AS "
                      "received_us, epoch_us(failed_at) AS failed_us, step, reason, detail, ip, token, raw_offset, request, "
                      "\"index\", data, encoding FROM ");
    buf_add_format(sql, "%s WHERE epoch_us(failed_at) <= %" PRId64, dialect->table, until_us);
    if (filter->since_us != CLOCK_NONE)
        buf_add_format(sql, " AND epoch_us(failed_at) >= %" PRId64, filter->since_us);
    if (filter->reason != NULL) {
        buf_add_text(sql, " AND reason = ");
        quote(sql, filter->reason);
    }
    if (filter->word != NULL) {
        where_word(sql, dialect, filter->word);
        buf_add_text(sql, " ORDER BY failed_at DESC, raw_offset DESC LIMIT 1");
    } else {
        buf_add_format(sql, " ORDER BY failed_at, raw_offset, letter LIMIT %d OFFSET %" PRIu64, (int)LETTER_PAGE, from);
    }
}

/* --- one letter -------------------------------------------------------------------------------- */

static bool ends_with(struct span text, struct span tail)
{
    return text.bytes >= tail.bytes && span_equal(span_from(text, text.bytes - tail.bytes), tail);
}

static int letter_read(const struct json_members *row, struct arena *arena, struct letter *out, struct err *err)
{
    struct span key = field_text(row, "letter", arena);
    struct span data = field_text(row, "data", arena);
    const struct json_member *member = json_members_find(row, SPAN("data"));

    if (member != NULL && member->value.raw.bytes > 2 && data.bytes == 0)
        return err_set(err, ERR_FULL, "no memory for a dead letter of %zu bytes", member->value.raw.bytes);
    *out = (struct letter){
        .raw_offset = field_number(row, "raw_offset", LETTER_NONE), .received_us = field_number(row, "received_us", CLOCK_NONE),
        .failed_us = field_number(row, "failed_us", CLOCK_NONE), .team_id = field_number(row, "team_id", 0),
        .request = (uint64_t)field_number(row, "request", 0), .index = field_number(row, "index", LETTER_NONE),
        .uuid = field_text(row, "uuid", arena), .event = field_text(row, "event", arena),
        .distinct_id = field_text(row, "distinct_id", arena), .step = field_text(row, "step", arena),
        .reason = field_text(row, "reason", arena), .detail = field_text(row, "detail", arena), .ip = field_text(row, "ip", arena),
        .token = field_text(row, "token", arena), .data = data,
    };
    (void)snprintf(out->key, sizeof out->key, "%.*s", SPAN_ARG(key));
    /* Letters without an encoding may be older than it: ingest told it by the reason, the loader's were all base64. */
    out->base64 = span_is(field_text(row, "encoding", arena), "base64") || ends_with(out->reason, SPAN("_base64")) ||
                  span_is(out->step, "load");
    out->is_event = !span_is(out->step, "read") && !span_is(out->step, "load");
    return 0;
}

static int letter_join(struct catalog *catalog, struct arena *arena, struct letter *letter, struct err *err)
{
    struct buf repaired;
    int        rc;

    buf_init(&repaired, LETTER_ANSWER_BYTES_MAX);
    rc = catalog_letter_find(catalog, letter->key, &letter->known, &repaired, err);
    if (rc == 0) {
        letter->repaired = arena_copy(arena, buf_span(&repaired));
        if (letter->repaired.at == NULL)
            rc = err_set(err, ERR_FULL, "no memory for a repaired text of %zu bytes", repaired.bytes);
    }
    buf_fini(&repaired);
    if (rc == 0 && letter->uuid.bytes == UUID_TEXT_BYTES) {
        char uuid[UUID_TEXT_BYTES + 1];

        (void)snprintf(uuid, sizeof uuid, "%.*s", SPAN_ARG(letter->uuid));
        rc = catalog_letter_earlier(catalog, letter->key, uuid, letter->failed_us, letter->earlier, sizeof letter->earlier,
                                    err);
    }
    return rc;
}

/* Gives the letters of one answer; *rows_out counts them. 1: the visitor has enough. */
static int page_visit(struct span answer, struct catalog *catalog, const struct letter_filter *filter, struct arena *arena,
                      letter_visit *visit, void *ctx, uint64_t *rows_out, struct err *err)
{
    struct json_reader reader;
    struct letter      letter;
    int                rc = 0, more;

    *rows_out = 0;
    json_reader_init(&reader, answer, 0);
    if (json_array_enter(&reader) < 0)
        return json_explain(&reader, err);
    while (rc == 0 && (more = json_array_next(&reader)) != 0) {
        struct json_members row;

        if (more < 0)
            return json_explain(&reader, err);
        if (json_members_take(&reader, arena, &row, err) < 0 || letter_read(&row, arena, &letter, err) < 0 ||
            letter_join(catalog, arena, &letter, err) < 0)
            return -1;
        ++*rows_out;
        if (filter->state == NULL || strcmp(filter->state, letter_state_name(&letter)) == 0)
            rc = visit(ctx, &letter, err);
    }
    return rc;
}

static int letter_visit_all(const char *data, struct catalog *catalog, const struct letter_filter *filter,
                            struct arena *arena, letter_visit *visit, void *ctx, struct err *err)
{
    int64_t    until_us = clock_wall_us();
    uint64_t   from = 0, rows = LETTER_PAGE;
    struct dialect dialect = dialect_of(data);
    struct buf sql, answer;
    struct span page = { 0 };
    int        rc = 0;

    if (!question_possible(data))
        return 0; /* nothing was loaded, so no letter either */
    buf_init(&sql, 1 << 16);
    buf_init(&answer, LETTER_ANSWER_BYTES_MAX);
    while (rc == 0 && rows == LETTER_PAGE) {
        select_write(&sql, &dialect, filter, until_us, from);
        buf_add_byte(&sql, '\0');
        buf_reset(&answer);
        rc = sql.failed ? err_set(err, ERR_INPUT, "the filter is too long")
                        : question_json(data, (const char *)sql.at, &answer, err);
        page = buf_span(&answer);
        if (rc == 0 && filter->word != NULL) { /* spans of the letter point into it, and it outlives this call */
            page = arena_copy(arena, page);
            if (page.at == NULL)
                rc = err_set(err, ERR_FULL, "no memory for a dead letter of %zu bytes", answer.bytes);
        }
        if (rc == 0)
            rc = page_visit(page, catalog, filter, arena, visit, ctx, &rows, err);
        from += rows;
        if (filter->word == NULL)
            arena_reset(arena);
    }
    buf_fini(&sql);
    buf_fini(&answer);
    return rc < 0 ? -1 : 0;
}

int letter_each(const char *data, struct catalog *catalog, const struct letter_filter *filter, letter_visit *visit,
                void *ctx, struct err *err)
{
    struct arena *arena = arena_new(1 << 20, LETTER_ANSWER_BYTES_MAX);
    int           rc;

    if (arena == NULL)
        return err_set(err, ERR_FULL, "no memory");
    rc = letter_visit_all(data, catalog, filter, arena, visit, ctx, err);
    arena_free(arena);
    return rc;
}

struct finding { struct letter *out; bool found; };

static int letter_keep(void *ctx, const struct letter *letter, struct err *err)
{
    struct finding *finding = ctx;

    (void)err;
    *finding->out = *letter;
    finding->found = true;
    return 1;
}

int letter_find(const char *data, struct catalog *catalog, const char *word, struct arena *arena, struct letter *out,
                struct err *err)
{
    struct letter_filter filter = { .word = word, .since_us = CLOCK_NONE };
    struct finding       finding = { .out = out };

    if (letter_visit_all(data, catalog, &filter, arena, letter_keep, &finding, err) < 0)
        return -1;
    return finding.found ? 0 : err_set(err, ERR_INPUT, "there is no dead letter %.100s; see: penstock dlq list --state all",
                                       word);
}

void letter_add_key(struct buf *keys, struct span key)
{
    buf_add_text(keys, keys->bytes > 0 ? ",'" : "'");
    for (size_t i = 0; i < key.bytes; i++) { /* identities have no quotes; what has one is none */
        if (key.at[i] == '\'' || key.at[i] == '\\')
            continue;
        buf_add_byte(keys, key.at[i]);
    }
    buf_add_byte(keys, '\'');
}

int letter_count_keys(const char *data, struct span keys, uint64_t *out, struct err *err)
{
    struct dialect dialect = dialect_of(data);
    struct buf     sql, answer;
    const char    *line;
    int            rc;

    buf_init(&sql, (1 << 16) + keys.bytes);
    buf_init(&answer, 1 << 16);
    buf_add_format(&sql, "SELECT count(*) AS n FROM %s WHERE %s IN (", dialect.table, dialect.key);
    buf_add(&sql, keys);
    buf_add(&sql, span_of(")", 2));
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory to count letters") : question_csv(data, (const char *)sql.at, &answer, err);
    buf_add_byte(&answer, '\0');
    line = rc == 0 && !answer.failed ? strchr((const char *)answer.at, '\n') : NULL;
    *out = line != NULL ? strtoull(line + 1, NULL, 10) : 0;
    buf_fini(&sql);
    buf_fini(&answer);
    return rc;
}

/* --- JSON -------------------------------------------------------------------------------------- */

/* 0: in the catalog, that it never was. */
static void member_time(struct buf *out, const char *name, int64_t us)
{
    field_write_time(out, name, us == 0 ? CLOCK_NONE : us);
}

static void member_number(struct buf *out, const char *name, int64_t value, int64_t none)
{
    if (value == none)
        buf_add_format(out, ",\"%s\":null", name);
    else
        buf_add_format(out, ",\"%s\":%" PRId64, name, value);
}

void letter_write_json(const struct letter *letter, bool with_data, struct buf *out)
{
    buf_add_text(out, "{\"letter\":");
    json_write_string(out, span_text(letter->key));
    member_number(out, "raw_offset", letter->raw_offset, LETTER_NONE);
    field_write_text(out, "uuid", letter->uuid);
    buf_add_format(out, ",\"state\":\"%s\"", letter_state_name(letter));
    field_write_text(out, "step", letter->step);
    field_write_text(out, "reason", letter->reason);
    field_write_text(out, "detail", letter->detail);
    member_time(out, "failed_at", letter->failed_us);
    member_time(out, "received_at", letter->received_us);
    if (letter->index == LETTER_NONE)
        buf_add_text(out, ",\"request\":null");
    else
        buf_add_format(out, ",\"request\":\"%016" PRIx64 "\"", letter->request);
    member_number(out, "index", letter->index, LETTER_NONE);
    member_number(out, "team_id", letter->team_id, 0);
    field_write_text(out, "token", letter->token);
    field_write_text(out, "event", letter->event);
    field_write_text(out, "distinct_id", letter->distinct_id);
    field_write_text(out, "ip", letter->ip);
    member_time(out, "replayed_at", letter->known.replayed_us);
    buf_add_format(out, ",\"replays\":%u", letter->known.replays);
    field_write_text(out, "replay_uuid", span_text(letter->known.replay_uuid));
    member_time(out, "discarded_at", letter->known.discarded_us);
    member_time(out, "repaired_at", letter->known.repaired_us);
    field_write_text(out, "replay_of", span_text(letter->earlier));
    if (with_data) {
        buf_add_format(out, ",\"encoding\":\"%s\",\"data\":", letter->base64 ? "base64" : "text");
        json_write_string(out, letter->data);
        field_write_text(out, "repaired", letter->repaired);
    }
    buf_add_byte(out, '}');
}
