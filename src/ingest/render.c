/* ingest/render.c - see render.h. */
#include "ingest/render.h"

#include <inttypes.h>
#include <stdio.h>

#include "event/echo.h"
#include "event/upstream_row.h"
#include "ingest/member_list.h"
#include "wire/base64.h"
#include "wire/json_join.h"
#include "wire/utf8.h"

/* --- the event row ----------------------------------------------------------------------------- */

/* A JSON value without the quotes around a text. */
static struct span unquoted(struct span raw)
{
    return raw.bytes >= 2 && raw.at[0] == '"' ? span_of(raw.at + 1, raw.bytes - 2) : raw;
}

/* The final `$group_N`: of `$groups`, else the client's own; bytes 0: none. */
static void groups_final(const struct item *item, struct span final[PEOPLE_GROUP_TYPES_MAX])
{
    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++)
        final[i] = item->own_group[i] == 0 ? SPAN("") : item->properties.at[item->own_group[i] - 1].value.raw;
    for (size_t i = 0; i < item->group_count; i++)
        if (item->groups[i].found.found)
            final[item->groups[i].found.index] = item->groups[i].raw_key;
}

/* The packed word of a member's key. What was copied has the tag of the property it was copied from. */
static uint8_t word_of(const struct property_key_table *keys, const struct json_member *member, bool once)
{
    unsigned key = member->value.tag - 1u;

    if (once)
        key += key < KEY_PERSON_COUNT ? KEY_INITIAL_FIRST : KEY_GEOIP_COUNT;
    return member->value.tag != 0 && member->key_raw.at == property_key_texts[key].raw.at ? keys->words[key + 1]
                                                                                          : packed_key_find(member->key_raw);
}

/* Behind the brace of what is left of the list there. */
static void list_write(const struct render_env *env, struct echo_writer *writer, const struct json_members *list, bool once)
{
    echo_list_begin(writer, writer->offsets[once ? KEY_SET_ONCE + 1 : KEY_SET + 1] + 1);
    for (size_t i = 0; i < list->count; i++)
        echo_member(writer, word_of(env->keys, &list->at[i], once), list->at[i].key_raw, list->at[i].value.tag, list->at[i].value.raw);
    echo_list_end(writer);
}

/* Gives where the text ends. writer: NULL, or gets the place of each value that has a tag. */
static inline uint8_t *members_write(const struct item *item, const struct span groups[PEOPLE_GROUP_TYPES_MAX], uint8_t *to,
                                     struct echo_writer *writer)
{
    struct json_join join;
    size_t           at = 1;

    json_join_begin(&join, to);
    for (size_t i = 0; i < item->properties.count; i++) {
        const struct json_member *member = &item->properties.at[i];

        json_join_member(&join, member->key_raw, member->value.raw);
        if (writer != NULL)
            echo_place(writer, member->value.tag, at + member->key_raw.bytes + 1, member->value.raw);
        at += member->key_raw.bytes + member->value.raw.bytes + 2;
    }
    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++)
        if (groups[i].bytes > 0 && item->own_group[i] == 0)
            json_join_member(&join, property_key_texts[KEY_GROUP_0 + i].raw, groups[i]);
    return json_join_end(&join);
}

static size_t list_bytes(const struct json_members *list)
{
    size_t bytes = 0;

    for (size_t i = 0; i < list->count; i++)
        bytes += list->at[i].key_raw.bytes + list->at[i].value.raw.bytes;
    return bytes;
}

/* Where ingest has put more into `$set` and `$set_once`, their members stand behind the text (event/echo.h). Gives how many bytes of text
 * that is. */
static size_t properties_write(const struct render_env *env, struct item *item, const struct span groups[PEOPLE_GROUP_TYPES_MAX],
                               struct buf *out)
{
    size_t             bytes = 2;
    bool               set = false, set_once = false, once_first;
    struct echo_writer writer;
    uint8_t           *to, *stem;

    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++) {
        if (item->own_group[i] != 0)
            item->properties.at[item->own_group[i] - 1].value.raw = groups[i];
        bytes += property_key_texts[KEY_GROUP_0 + i].raw.bytes + groups[i].bytes + 2;
    }
    for (size_t i = 0; i < item->properties.count; i++) {
        const struct json_member *member = &item->properties.at[i];

        bytes += member->key_raw.bytes + member->value.raw.bytes + 2;
        set |= member->value.tag == KEY_SET + 1;
        set_once |= member->value.tag == KEY_SET_ONCE + 1;
    }
    if (set || set_once)
        bytes = echo_room(bytes + list_bytes(&item->set) + list_bytes(&item->set_once), item->set.count + item->set_once.count);
    to = buf_reserve(out, bytes);
    if (to == NULL)
        return 0;
    if (!set && !set_once) {
        bytes = (size_t)(members_write(item, groups, to, NULL) - to);
        out->bytes += bytes;
        return bytes;
    }
    stem = echo_begin(&writer, to);
    echo_stem_end(&writer, (size_t)(members_write(item, groups, stem, &writer) - stem), env->keys->words);
    once_first = set && set_once && writer.offsets[KEY_SET_ONCE + 1] < writer.offsets[KEY_SET + 1];
    if (once_first)
        list_write(env, &writer, &item->set_once, true);
    if (set)
        list_write(env, &writer, &item->set, false);
    if (set_once && !once_first)
        list_write(env, &writer, &item->set_once, true);
    out->bytes += echo_end(&writer);
    return writer.text_bytes;
}

static const char *const mode_names[] = {
    [PEOPLE_FULL] = "full", [PEOPLE_PROPERTYLESS] = "propertyless", [PEOPLE_FORCE_UPGRADE] = "force_upgrade"
};

static void set_group_cells(const struct item *item, const struct span final[PEOPLE_GROUP_TYPES_MAX], struct row *row)
{
    for (size_t i = 0; i < item->group_count; i++) {
        const struct people_group *group = &item->groups[i].found;

        if (!group->found)
            continue;
        row_set_text(row, ROW_EVENT_GROUP0_PROPERTIES + group->index, group->properties);
        if (group->known)
            row_set_i64(row, ROW_EVENT_GROUP0_CREATED_AT + group->index, group->created_us);
    }
    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++)
        if (final[i].bytes > 0 && !span_is(final[i], "null"))
            row_set_text(row, ROW_EVENT_GROUP_0 + i, unquoted(final[i]));
}

/* What no message can hold of an event is left out (upstream_row_shorten), and a year that no column of those tables holds is moved. Nobody
 * stands behind the topic who could tell, as the loader does. */
static void warn_of_message(const struct render_env *env, struct item *item, const struct row *row, size_t text_bytes)
{
    enum { ESCAPED_MOST = 6, MEMBERS_BYTES = 4096 };
    static const struct upstream_source nowhere;
    struct upstream_message             message = { .value = SPAN("") };
    struct warning                     *warning;
    struct err                          ignored;
    struct buf                          room;

    if (env->message_bytes_max == 0 || item->message_told)
        return;
    item->message_told = true; /* a row may be made twice: slice.c */
    if (item->record.timestamp_us < ROW_TIME_US_MIN || item->record.timestamp_us > ROW_TIME_US_MAX) {
        warning = warning_add(&item->warnings, WARNING_TIMESTAMP);
        warning_text(warning, "field", SPAN("timestamp"));
        warning_number(&item->warnings, warning, "microseconds", item->record.timestamp_us);
        warning_text(warning, "reason", SPAN("outside of 1900 to 2299"));
    }
    if (ESCAPED_MOST * text_bytes + MEMBERS_BYTES <= env->message_bytes_max)
        return;
    buf_init(&room, ESCAPED_MOST * text_bytes + MEMBERS_BYTES);
    if (upstream_row_write(row, &nowhere, &room, &message, &ignored) == 1 && message.value.bytes > env->message_bytes_max) {
        warning = warning_add(&item->warnings, WARNING_MESSAGE_SIZE);
        warning_text(warning, "step", SPAN("emit"));
        warning_number(&item->warnings, warning, "bytes", (int64_t)message.value.bytes);
        warning_number(&item->warnings, warning, "maxBytes", (int64_t)env->message_bytes_max);
    }
    buf_fini(&room);
}

int render_event(struct render_env *env, struct item *item, struct err *err)
{
    const struct record *record = &item->record;
    struct span          final[PEOPLE_GROUP_TYPES_MAX];
    struct row           row;
    size_t               text_bytes;

    groups_final(item, final);
    buf_reset(env->buf);
    text_bytes = properties_write(env, item, final, env->buf);
    if (env->buf->failed)
        return err_set(err, ERR_FULL, "no memory for an event's properties");
    row_init(&row, ROW_EVENT);
    row_set_uuid(&row, ROW_EVENT_UUID, record->uuid);
    row_set_text(&row, ROW_EVENT_EVENT, item->name);
    row_set_text(&row, ROW_EVENT_PROPERTIES, buf_span(env->buf));
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, record->timestamp_us);
    row_set_i64(&row, ROW_EVENT_TEAM_ID, item->project->id);
    row_set_text(&row, ROW_EVENT_DISTINCT_ID, record->distinct_id);
    row_set_text(&row, ROW_EVENT_ELEMENTS_CHAIN, item->elements_chain);
    row_set_i64(&row, ROW_EVENT_CREATED_AT, env->now_us);
    row_set_uuid(&row, ROW_EVENT_PERSON_ID, item->result.person_id);
    row_set_i64(&row, ROW_EVENT_PERSON_CREATED_AT, item->result.person_created_us);
    row_set_text(&row, ROW_EVENT_PERSON_PROPERTIES, item->result.properties);
    row_set_text(&row, ROW_EVENT_PERSON_MODE, span_text(mode_names[item->result.mode]));
    set_group_cells(item, final, &row);
    if (item->window_id.bytes > 0)
        row_set_text(&row, ROW_EVENT_WINDOW_ID, unquoted(item->window_id));
    if (item->session_id.bytes > 0)
        row_set_text(&row, ROW_EVENT_SESSION_ID, unquoted(item->session_id));
    row_set_i64(&row, ROW_EVENT_CAPTURED_AT, record->received_us);
    row_set_i64(&row, ROW_EVENT_PROJECT_ID, item->project->id);
    row_set_i64(&row, ROW_EVENT_HISTORICAL_MIGRATION, (record->flags & RECORD_HISTORICAL) != 0);
    row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)item->raw_offset);
    text_bytes += row_bytes(&row) - buf_span(env->buf).bytes; /* what it is to become, not what it takes here */
    env->row_too_large = text_bytes > RENDER_ROW_BYTES_MAX;
    if (env->row_too_large)
        return err_set(err, ERR_FULL, "an event row of %zu bytes", text_bytes);
    warn_of_message(env, item, &row, text_bytes);
    return env->sink(env->sink_ctx, &row, err);
}

/* --- heatmaps ---------------------------------------------------------------------------------- */

int render_heatmap(struct render_env *env, const struct item *item, struct err *err)
{
    const struct heatmap *heatmap = item->heatmap;
    struct row            row;

    row_init(&row, ROW_HEATMAP);
    row_set_i64(&row, ROW_HEATMAP_VIEWPORT_HEIGHT, heatmap->viewport_height);
    row_set_i64(&row, ROW_HEATMAP_VIEWPORT_WIDTH, heatmap->viewport_width);
    row_set_text(&row, ROW_HEATMAP_SESSION_ID, heatmap->session_id);
    row_set_i64(&row, ROW_HEATMAP_SCALE_FACTOR, HEATMAP_SCALE);
    row_set_i64(&row, ROW_HEATMAP_TIMESTAMP, item->record.timestamp_us);
    row_set_i64(&row, ROW_HEATMAP_TEAM_ID, item->project->id);
    row_set_text(&row, ROW_HEATMAP_DISTINCT_ID, item->record.distinct_id);
    for (size_t i = 0; i < heatmap->count; i++) {
        const struct heatmap_point *point = &heatmap->points[i];

        row_set_text(&row, ROW_HEATMAP_TYPE, point->type);
        row_set_i64(&row, ROW_HEATMAP_AT_X, point->x);
        row_set_i64(&row, ROW_HEATMAP_AT_Y, point->y);
        row_set_i64(&row, ROW_HEATMAP_TARGET_FIXED, point->fixed);
        row_set_text(&row, ROW_HEATMAP_CURRENT_URL, point->url);
        if (item->fate == FATE_HEATMAP && i + 1 == heatmap->count) { /* so that its events can be counted and found */
            row_set_uuid(&row, ROW_HEATMAP_EVENT_UUID, item->record.uuid);
            row_set_i64(&row, ROW_HEATMAP_CAPTURED_AT, item->record.received_us);
        }
        if (env->sink(env->sink_ctx, &row, err) < 0)
            return -1;
    }
    return 0;
}

/* --- dead letters ------------------------------------------------------------------------------ */

static void set_if(struct row *row, int column, struct span text)
{
    if (text.bytes > 0)
        row_set_text(row, column, text);
}

int render_dead_letter(struct render_env *env, const struct item *item, struct err *err)
{
    const struct record *record = &item->record;
    struct span          data = item->readable ? record->data : item->body;
    struct span          detail = item->dead_detail;
    struct row           row;

    row_init(&row, ROW_DEAD_LETTER);
    buf_reset(env->buf);
    if (!utf8_valid(data)) { /* a text column cannot hold it as it is */
        base64_encode(data, env->buf);
        if (env->buf->failed)
            return err_set(err, ERR_FULL, "no memory for a dead letter");
        row_set_text(&row, ROW_DEAD_LETTER_DATA, buf_span(env->buf));
        row_set_text(&row, ROW_DEAD_LETTER_ENCODING, SPAN("base64"));
    } else {
        row_set_text(&row, ROW_DEAD_LETTER_DATA, data);
    }
    row_set_text(&row, ROW_DEAD_LETTER_REASON, span_text(item->dead_reason));
    row_set_i64(&row, ROW_DEAD_LETTER_FAILED_AT, env->now_us);
    row_set_text(&row, ROW_DEAD_LETTER_STEP, span_text(item->dead_step));
    set_if(&row, ROW_DEAD_LETTER_DETAIL, detail);
    row_set_i64(&row, ROW_DEAD_LETTER_RAW_OFFSET, (int64_t)item->raw_offset);
    if (item->readable) {
        row_set_uuid(&row, ROW_DEAD_LETTER_UUID, record->uuid);
        row_set_i64(&row, ROW_DEAD_LETTER_TEAM_ID, record->project);
        row_set_i64(&row, ROW_DEAD_LETTER_RECEIVED_AT, record->received_us);
        row_set_i64(&row, ROW_DEAD_LETTER_REQUEST, (int64_t)record->request);
        row_set_i64(&row, ROW_DEAD_LETTER_INDEX, record->index);
        set_if(&row, ROW_DEAD_LETTER_EVENT, record->event);
        set_if(&row, ROW_DEAD_LETTER_DISTINCT_ID, record->distinct_id);
        set_if(&row, ROW_DEAD_LETTER_IP, record->ip);
        set_if(&row, ROW_DEAD_LETTER_TOKEN, record->token);
    }
    return env->sink(env->sink_ctx, &row, err);
}

/* --- warnings ---------------------------------------------------------------------------------- */

static int warning_row(struct render_env *env, uint32_t project, const struct warning *warning, const struct uuid *event,
                       struct span distinct_id, struct err *err)
{
    const struct warning_info *info = &warning_infos[warning->type];
    struct row                 row;

    buf_reset(env->buf);
    warning_write(warning, event, distinct_id, env->buf);
    if (env->buf->failed)
        return err_set(err, ERR_FULL, "no memory for a warning");
    row_init(&row, ROW_WARNING);
    row_set_i64(&row, ROW_WARNING_TEAM_ID, project);
    row_set_text(&row, ROW_WARNING_SOURCE, warning->source.bytes > 0 ? warning->source : SPAN("ingest"));
    row_set_text(&row, ROW_WARNING_TYPE, span_text(info->type));
    row_set_text(&row, ROW_WARNING_DETAILS, buf_span(env->buf));
    row_set_i64(&row, ROW_WARNING_TIMESTAMP, env->now_us);
    row_set_text(&row, ROW_WARNING_CATEGORY, span_text(info->category));
    row_set_text(&row, ROW_WARNING_SEVERITY, span_text(info->severity));
    if (event != NULL)
        row_set_uuid(&row, ROW_WARNING_EVENT_UUID, *event);
    set_if(&row, ROW_WARNING_DISTINCT_ID, distinct_id);
    env->warnings++;
    return env->sink(env->sink_ctx, &row, err);
}

int render_warnings(struct render_env *env, const struct item *item, struct err *err)
{
    for (const struct warning *warning = item->warnings.first; warning != NULL; warning = warning->next)
        if (warning_row(env, item->project == NULL ? 0 : item->project->id, warning, &item->record.uuid,
                        warning->type == WARNING_DISTINCT_ID ? SPAN("") : item->record.distinct_id, err) < 0)
            return -1;
    return 0;
}

int render_gap(struct render_env *env, uint64_t mark, uint64_t count, const char *why, struct err *err)
{
    char           first[24], many[24];
    struct warning warning = { .type = WARNING_LOG_DAMAGED };

    warning_text(&warning, "topic", span_text(input_topic(place_input(mark))));
    warning_text(&warning, "why", span_text(why));
    warning_raw(&warning, "firstOffset", span_of(first, (size_t)snprintf(first, sizeof first, "%" PRIu64, place_offset(mark))));
    warning_raw(&warning, "events", span_of(many, (size_t)snprintf(many, sizeof many, "%" PRIu64, count)));
    return warning_row(env, 0, &warning, NULL, SPAN(""), err);
}
