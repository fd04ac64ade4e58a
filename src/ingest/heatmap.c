/* ingest/heatmap.c - see heatmap.h. Most events have none of it and pay for two look-ups.
 *
 * How far somebody scrolled is told by the page after: `$prev_pageview_pathname` and `$prev_pageview_max_scroll`
 * stand on the next page's events, and become one more point, on the address of that page with the other path. */
#include "ingest/heatmap.h"

#include <math.h>

#include "ingest/normalize_work.h"
#include "people/batch.h"
#include "wire/utf8.h"

#define SCALED_MAX 1e9 /* nothing on a screen is that far away */

/* --- values ------------------------------------------------------------------------------------ */

/* Half goes up, as browsers round. */
static bool scaled_of(const struct json_value *value, int64_t *out)
{
    double number;

    if (value == NULL || value->kind != JSON_NUMBER)
        return false;
    number = floor(json_double(value) / HEATMAP_SCALE + 0.5);
    if (!(number >= -SCALED_MAX && number <= SCALED_MAX))
        return false;
    *out = (int64_t)number;
    return true;
}

static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] > ' ')
            return false;
    return true;
}

static struct span session_text(const struct work *work)
{
    const struct json_value *session = member_list_get(&work->properties, KEY_SESSION_ID);

    if (session == NULL || session->kind == JSON_NULL)
        return SPAN("undefined");
    return session->kind == JSON_STRING ? json_text(session, work->env->arena) : session->raw;
}

static void warn_rejected(struct work *work, enum warning_type type, struct span url)
{
    struct warning          *warning = warning_add(&work->item->warnings, type);
    const struct json_value *session = member_list_get(&work->properties, KEY_SESSION_ID);

    warning_text(warning, "heatmapUrl", utf8_cut_utf16(url, 200));
    if (session != NULL)
        warning_raw(warning, "session_id", session->raw);
    if (session != NULL && warning != NULL)
        warning->key = session->raw;
}

/* --- points ------------------------------------------------------------------------------------ */

static int point_push(struct work *work, struct heatmap *heatmap, const struct heatmap_point *point, struct err *err)
{
    struct heatmap_point *more = heatmap->points;

    if (heatmap->count == heatmap->room) {
        size_t room = heatmap->room == 0 ? 16 : heatmap->room * 2;

        more = arena_grow(work->env->arena, more, heatmap->room * sizeof *more, room * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for heatmap points");
        heatmap->points = more;
        heatmap->room = room;
    }
    heatmap->points[heatmap->count++] = *point;
    return 0;
}

/* One element of a page's list; what is no point is passed over. */
static int point_take(struct work *work, struct json_reader *reader, struct heatmap *heatmap, struct span url, struct err *err)
{
    struct heatmap_point point = { .url = url };
    struct json_value    key, value, type = { .kind = JSON_NULL };
    bool                 has_x = false, has_y = false;
    int                  more;

    if (json_peek(reader) != JSON_OBJECT)
        return json_skip(reader, &value);
    if (json_object_enter(reader) < 0)
        return -1;
    while ((more = json_object_next(reader, &key)) > 0) {
        if (json_skip(reader, &value) < 0)
            return -1;
        if (json_text_is(&key, "x"))
            has_x = scaled_of(&value, &point.x);
        else if (json_text_is(&key, "y"))
            has_y = scaled_of(&value, &point.y);
        else if (json_text_is(&key, "target_fixed"))
            point.fixed = value.kind == JSON_TRUE;
        else if (json_text_is(&key, "type"))
            type = value;
    }
    if (more < 0 || !has_x || !has_y || type.kind != JSON_STRING)
        return more;
    point.type = json_text(&type, work->env->arena);
    if (point.type.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a heatmap point");
    return point_push(work, heatmap, &point, err);
}

/* The object of url and list of points; the reader stands before it. */
static int pages_take(struct work *work, struct json_reader *reader, struct heatmap *heatmap, struct err *err)
{
    struct json_value key, value;
    int               more;

    if (json_object_enter(reader) < 0)
        return -1;
    while ((more = json_object_next(reader, &key)) > 0) {
        struct span url = json_text(&key, work->env->arena);

        if (url.at == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for a heatmap's url");
        if (is_blank(url) || json_peek(reader) != JSON_ARRAY) {
            warn_rejected(work, is_blank(url) ? WARNING_HEATMAP_URL : WARNING_HEATMAP_ITEMS, url);
            if (json_skip(reader, &value) < 0)
                return -1;
            continue;
        }
        if (json_array_enter(reader) < 0)
            return -1;
        while ((more = json_array_next(reader)) > 0)
            if (point_take(work, reader, heatmap, url, err) < 0)
                return -1;
        if (more < 0)
            return -1;
    }
    return more;
}

/* --- how far the page before was scrolled ------------------------------------------------------ */

/* The address with another path, as a browser's URL would have it; at is NULL when it is no address, or when
 * there is no room. */
static struct span url_with_path(struct span url, struct span path, struct arena *arena)
{
    static const char hex[] = "0123456789ABCDEF";
    const uint8_t    *colon = memchr(url.at, ':', url.bytes);
    size_t            head, tail, used;
    uint8_t          *to;

    if (colon == NULL || colon == url.at || url.bytes - (size_t)(colon - url.at) < 4 || memcmp(colon, "://", 3) != 0)
        return span_of(NULL, 0);
    for (head = (size_t)(colon - url.at) + 3; head < url.bytes && strchr("/?#", url.at[head]) == NULL;)
        head++;
    for (tail = head; tail < url.bytes && url.at[tail] != '?' && url.at[tail] != '#';)
        tail++;
    to = arena_alloc(arena, head + 1 + 3 * path.bytes + url.bytes - tail);
    if (to == NULL)
        return span_of(NULL, 0);
    memcpy(to, url.at, used = head);
    if (path.bytes == 0 || path.at[0] != '/')
        to[used++] = '/';
    for (size_t i = 0; i < path.bytes; i++) {
        uint8_t byte = path.at[i];

        if (byte > ' ' && byte < 0x7f && strchr("\"#<>?^`{}", byte) == NULL) {
            to[used++] = byte;
            continue;
        }
        to[used++] = '%';
        to[used++] = (uint8_t)hex[byte >> 4];
        to[used++] = (uint8_t)hex[byte & 15];
    }
    memcpy(to + used, url.at + tail, url.bytes - tail);
    return span_of(to, used + url.bytes - tail);
}

static int scroll_take(struct work *work, struct heatmap *heatmap, struct err *err)
{
    const struct json_value *path = member_list_get(&work->properties, KEY_PREV_PATHNAME);
    const struct json_value *url = member_list_get(&work->properties, KEY_CURRENT_URL);
    const struct json_value *scroll = member_list_get(&work->properties, KEY_PREV_MAX_SCROLL);
    struct heatmap_point     point = { .type = SPAN("scrolldepth") };

    if (path->kind == JSON_STRING && url->kind == JSON_STRING)
        point.url = url_with_path(json_text(url, work->env->arena), json_text(path, work->env->arena), work->env->arena);
    if (point.url.bytes == 0) {
        (void)warning_add(&work->item->warnings, WARNING_HEATMAP);
        return 0;
    }
    return scaled_of(scroll, &point.y) ? point_push(work, heatmap, &point, err) : 0;
}

/* --- all of it --------------------------------------------------------------------------------- */

/* An event of its own is dropped for it. Any other only loses its points: where capture parts the two (event/upstream_record.h),
 * nothing else happens to it either. */
static void refuse(struct work *work, enum fate fate, const char *reason)
{
    if (work->item->kind == EVENT_HEATMAP)
        item_decide(work->item, fate);
    else
        warning_text(warning_add(&work->item->warnings, WARNING_HEATMAP), "reason", span_text(reason));
}

/* The guards: an id that everybody uses tells nothing, and a point without the size of the screen neither. */
static bool usable(struct work *work, struct heatmap *heatmap)
{
    if (people_id_is_illegal(work->item->record.distinct_id)) {
        refuse(work, FATE_HEATMAP_ID, "the distinct id is one that many clients share");
        return false;
    }
    if (!scaled_of(member_list_get(&work->properties, KEY_VIEWPORT_HEIGHT), &heatmap->viewport_height) ||
        !scaled_of(member_list_get(&work->properties, KEY_VIEWPORT_WIDTH), &heatmap->viewport_width)) {
        refuse(work, FATE_HEATMAP_VIEWPORT, "$viewport_height and $viewport_width are not both numbers");
        return false;
    }
    return true;
}

static int read_points(struct work *work, const struct json_value *data, bool scrolled, struct err *err)
{
    struct heatmap    *heatmap = arena_alloc_zero(work->env->arena, sizeof *heatmap);
    struct json_reader reader;

    if (heatmap == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a heatmap");
    if (!usable(work, heatmap))
        return 0;
    if (data != NULL) {
        json_reader_init(&reader, data->raw, 0);
        if (pages_take(work, &reader, heatmap, err) < 0)
            return -1;
    }
    if (scrolled && scroll_take(work, heatmap, err) < 0)
        return -1;
    heatmap->session_id = session_text(work);
    if (heatmap->session_id.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a session id");
    if (heatmap->count > 0)
        work->item->heatmap = heatmap;
    return 0;
}

int heatmap_take(struct work *work, struct err *err)
{
    struct item             *item = work->item;
    const struct json_value *data = member_list_get(&work->properties, KEY_HEATMAP_DATA);
    bool                     scrolled = value_truthy(member_list_get(&work->properties, KEY_PREV_PATHNAME)) &&
                    value_truthy(member_list_get(&work->properties, KEY_CURRENT_URL));
    bool                     skipped = item->project->heatmaps_off || (item->record.flags & RECORD_HEATMAP_SKIP) != 0;

    if (data != NULL && !skipped && data->kind != JSON_OBJECT && value_truthy(data))
        (void)warning_add(&item->warnings, WARNING_HEATMAP);
    if (data != NULL && (data->kind != JSON_OBJECT || data->raw.bytes <= 2))
        data = NULL;
    if (!skipped && (data != NULL || scrolled) && read_points(work, data, scrolled, err) < 0)
        return -1;
    member_list_remove(&work->properties, KEY_HEATMAP_DATA);
    if (item_pending(item) && item->kind == EVENT_HEATMAP && item->heatmap == NULL)
        item_decide(item, item->project->heatmaps_off ? FATE_HEATMAPS_OFF : FATE_HEATMAP_EMPTY);
    return 0;
}
