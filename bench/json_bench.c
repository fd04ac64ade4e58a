/* bench/json_bench.c - how long JSON takes, per event and per byte.
 *
 * usage: json_bench [FILE.ndjson]   one event a line; without a file, events are made like those of a
 * web SDK (about 1 KB, 30 properties). All events lie in one buffer, as in a batch, and every one
 * differs, so that the branch predictor cannot learn them by heart. Best of several rounds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "wire/json.h"
#include "wire/utf8.h"
#ifdef JSON_BENCH_SIMDJSON
#include "../tests/differential/json_other.h"
#endif

enum { EVENTS = 2000, ROUNDS = 60, MEMBERS_ROUNDS = 20 };

static struct span   events[100000];
static size_t        events_count;
static size_t        bytes_all;
static struct arena *arena;

static void made_event(struct buf *buf, unsigned i)
{
    static const char *const words[] = { "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel" };
    unsigned                 r = i * 2654435761u;
    const char              *word = words[r >> 29], *other = words[r >> 26 & 7];

    buf_add_format(buf,
                   "{\"uuid\":\"%08x-612e-7696-a6ce-cc1b78%06x\",\"event\":\"$pageview\",\"distinct_id\":\"%08x-user-%u\","
                   "\"timestamp\":\"2026-03-09T03:31:48.%03uZ\",\"properties\":{\"$os\":\"Mac OS X\",\"$os_version\":"
                   "\"10.15.7\",\"$browser\":\"Safari\",\"$browser_version\":17,\"$device_type\":\"Desktop\","
                   "\"$current_url\":\"https://shop.example.com/%s/%s/%u?ref=%s\",\"$host\":\"shop.example.com\","
                   "\"$pathname\":\"/%s/%s/%u\",\"$screen_height\":1080,\"$screen_width\":1920,",
                   r, r & 0xffffff, r, i % 5000, i % 1000, word, other, i % 10000, word, word, other, i % 10000);
    buf_add_format(buf,
                   "\"$viewport_height\":%u,\"$viewport_width\":%u,\"$lib\":\"web\",\"$lib_version\":\"1.136.0\","
                   "\"$insert_id\":\"%08x2221a58\",\"$time\":%u.%03u,\"$device_id\":\"%08x-9755-74c1-aa90-2931cd447e35\","
                   "\"$session_id\":\"%08x-5143-7193-a6c3-f3391a2b8f1f\",\"$window_id\":\"%08x-648a-77dd-a683-9eb905b6e6e3\","
                   "\"$referrer\":\"$direct\",\"$referring_domain\":\"$direct\",\"title\":\"Caf\xc3\xa9 \xe2\x80\x93 %s\","
                   "\"plan\":\"scale\",\"price\":%u.%u,\"quantity\":%u,\"beta\":%s,\"coupon\":null,\"tags\":[\"%s\",\"delta\"],"
                   "\"$active_feature_flags\":[\"new-nav\",\"fast-%s\"]}}",
                   500 + r % 600, 900 + r % 1000, r, 1770000000 + i, r % 1000, r, r + 1, r + 2, word, r % 1000, r % 100,
                   r % 9 + 1, r & 1024 ? "true" : "false", word, other);
}

static void load(const char *path)
{
    static struct buf buf;
    FILE             *file = path == NULL ? NULL : fopen(path, "rb");
    uint8_t          *room;

    buf_init(&buf, 1u << 30);
    if (path != NULL && file == NULL) {
        perror(path);
        exit(1);
    }
    for (unsigned i = 0; file == NULL && i < EVENTS; i++) {
        made_event(&buf, i);
        buf_add_byte(&buf, '\n');
    }
    for (size_t got = 1; file != NULL && got > 0;) {
        room = buf_reserve(&buf, 1 << 20);
        got = room == NULL ? 0 : fread(room, 1, 1 << 20, file);
        buf.bytes += got;
    }
    if (buf_reserve(&buf, 64) != NULL)
        memset(buf.at + buf.bytes, 0, 64);
    for (struct span rest = buf_span(&buf); rest.bytes > 0 && events_count < sizeof events / sizeof events[0];) {
        const uint8_t *newline = memchr(rest.at, '\n', rest.bytes);
        struct span    line = newline == NULL ? rest : span_of(rest.at, (size_t)(newline - rest.at));

        if (line.bytes > 0)
            events[events_count++] = line;
        bytes_all += line.bytes;
        rest = span_from(rest, line.bytes + 1);
    }
}

static void stop(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "an event is not valid JSON\n");
        exit(1);
    }
}

/* --- what is measured; each passes one event ---------------------------------------------------- */

static void skip_with(struct span event, unsigned flags)
{
    struct json_reader reader;
    struct json_value  value;

    json_reader_init(&reader, event, flags);
    stop(json_skip(&reader, &value));
    stop(json_finish(&reader));
}

static void skip(struct span event) { skip_with(event, 0); }
static void skip_portable(struct span event) { skip_with(event, JSON_PORTABLE); }

static void walk(struct span event)
{
    struct json_reader reader;
    struct json_value  key, value;
    int                more;

    json_reader_init(&reader, event, 0);
    stop(json_object_enter(&reader));
    while ((more = json_object_next(&reader, &key)) > 0) {
        if (!json_text_is(&key, "properties")) {
            stop(json_skip(&reader, &value));
            continue;
        }
        stop(json_object_enter(&reader));
        while ((more = json_object_next(&reader, &key)) > 0)
            stop(json_skip(&reader, &value));
        stop(more);
    }
    stop(more);
}

static void members(struct span event)
{
    struct json_members read;
    struct json_member *properties;
    struct err          err;

    stop(json_members_read(event, arena, &read, &err));
    properties = json_members_find(&read, SPAN("properties"));
    if (properties != NULL)
        stop(json_members_read(properties->value.raw, arena, &read, &err));
    arena_reset(arena);
}

static void dedupe(struct span event)
{
    struct span out;
    struct err  err;

    stop(json_dedupe(event, arena, &out, &err));
    arena_reset(arena);
}

static void compact(struct span event)
{
    static struct buf buf;

    if (buf.bytes_max == 0)
        buf_init(&buf, 1u << 30);
    buf_reset(&buf);
    json_write_compact(&buf, event);
}

static void utf8(struct span event)
{
    stop(utf8_valid(event) ? 0 : -1);
}

#ifdef JSON_BENCH_SIMDJSON
static const uint8_t *events_end; /* past it lie 64 readable bytes, which simdjson wants */

static void simdjson(struct span event)
{
    stop(json_simdjson_walk((const char *)event.at, event.bytes, (size_t)(events_end + 64 - event.at)) ? 0 : -1);
}
#endif

static void measure(const char *name, void (*pass)(struct span event), int rounds)
{
    int64_t best = INT64_MAX;

    for (int round = 0; round < rounds; round++) {
        int64_t start = clock_mono_us(), took;

        for (size_t i = 0; i < events_count; i++)
            pass(events[i]);
        took = clock_mono_us() - start;
        best = took < best ? took : best;
    }
    best = best == 0 ? 1 : best;
    printf("%-24s %7.3f us/event  %7.3f us/KB  %6.2f GB/s\n", name, (double)best / (double)events_count,
           (double)best * 1000 / (double)bytes_all, (double)bytes_all / (double)best / 1000);
}

int main(int argc, char **argv)
{
    load(argc > 1 ? argv[1] : NULL);
    arena = arena_new(1 << 20, 1u << 30);
    if (events_count == 0 || arena == NULL)
        return 1;
    printf("%zu events, mean %zu bytes\n", events_count, bytes_all / events_count);
    measure("skip", skip, ROUNDS);
    measure("skip, portable", skip_portable, ROUNDS);
    measure("walk both levels", walk, ROUNDS);
    measure("members, both levels", members, MEMBERS_ROUNDS);
    measure("dedupe (none found)", dedupe, MEMBERS_ROUNDS);
    measure("compact (already is)", compact, MEMBERS_ROUNDS);
    measure("utf8_valid", utf8, MEMBERS_ROUNDS);
#ifdef JSON_BENCH_SIMDJSON
    events_end = events[events_count - 1].at + events[events_count - 1].bytes;
    measure("simdjson ondemand walk", simdjson, ROUNDS);
#endif
    arena_free(arena);
    return 0;
}
