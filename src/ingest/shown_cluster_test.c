/* parts: kafka
 *
 * ingest/shown_cluster_test.c - a store of persons that goes back to an older commit, with its topics at a real broker: the folder of the
 * embedded store is put back as it was some batches ago, which is what a standby without the last commits is to PostgreSQL.
 *
 * Beside it the same records are processed without any loss. At the end there is a row for the same events, each once, the same
 * letters and points of pages, the same fates; and what readers make of the rows of persons, ids and groups, by the highest version
 * of each, is the same but for those versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/shown.h"
#include "ingest/testing_kafka.h"

enum { SEEDS = 4, TURNS = 14, ROWS_MAX = 20000 };

static void folder_copy(const struct site *site, const char *from, const char *to)
{
    char command[300];

    (void)snprintf(command, sizeof command, "rm -rf %s/%s && cp -a %s/%s %s/%s", site->folder, to, site->folder, from, site->folder, to);
    assert_int_equal(system(command), 0);
}

/* So many batches, in an ingest of its own. */
static void run(struct site *site, unsigned batches)
{
    struct ingest *ingest;
    struct err     err = { 0 };
    int            rc = 1;

    fixture_must(ingest_open(&site->env, &ingest, &err), &err);
    for (unsigned i = 0; i < batches && rc > 0; i++)
        rc = ingest_step(ingest, &err);
    fixture_must(rc, &err);
    ingest_close(ingest);
}

/* --- what readers make of it --------------------------------------------------------------------- */

struct thing { char name[200]; uint64_t version, rows; struct buf says; };
struct view { struct thing at[ROWS_MAX]; size_t count; };

static struct thing *thing_of(struct view *view, const char *name)
{
    for (size_t i = 0; i < view->count; i++)
        if (strcmp(view->at[i].name, name) == 0)
            return &view->at[i];
    assert_true(view->count < ROWS_MAX);
    (void)snprintf(view->at[view->count].name, sizeof view->at->name, "%s", name);
    buf_init(&view->at[view->count].says, 1 << 24);
    return &view->at[view->count++];
}

static void uuid_text(const struct uuid *uuid, char to[40])
{
    for (int i = 0; i < 16; i++)
        (void)snprintf(to + 2 * i, 3, "%02x", uuid->bytes[i]);
}

static void name_of(const struct row *row, char to[200], uint64_t *version_out)
{
    const struct row_cell *cells = row->cells;
    char                   uuid[40];

    *version_out = 0;
    switch (row->table) {
    case ROW_EVENT:
        uuid_text(&cells[ROW_EVENT_UUID].uuid, uuid);
        (void)snprintf(to, 200, "event %d %s", (int)cells[ROW_EVENT_TEAM_ID].i64, uuid);
        break;
    case ROW_DEAD_LETTER:
        (void)snprintf(to, 200, "letter %lld", (long long)cells[ROW_DEAD_LETTER_RAW_OFFSET].i64);
        break;
    case ROW_HEATMAP:
        (void)snprintf(to, 200, "point %.*s %d %d", (int)cells[ROW_HEATMAP_DISTINCT_ID].text.bytes, (const char *)cells[ROW_HEATMAP_DISTINCT_ID].text.at,
                       (int)cells[ROW_HEATMAP_AT_X].i64, (int)cells[ROW_HEATMAP_AT_Y].i64);
        break;
    case ROW_PERSON:
        uuid_text(&cells[ROW_PERSON_ID].uuid, uuid);
        (void)snprintf(to, 200, "person %d %s", (int)cells[ROW_PERSON_TEAM_ID].i64, uuid);
        *version_out = (uint64_t)cells[ROW_PERSON_VERSION].i64;
        break;
    case ROW_DISTINCT:
        (void)snprintf(to, 200, "id %d %.*s", (int)cells[ROW_DISTINCT_TEAM_ID].i64, (int)cells[ROW_DISTINCT_DISTINCT_ID].text.bytes,
                       (const char *)cells[ROW_DISTINCT_DISTINCT_ID].text.at);
        *version_out = (uint64_t)cells[ROW_DISTINCT_VERSION].i64;
        break;
    default:
        assert_int_equal(row->table, ROW_GROUP);
        (void)snprintf(to, 200, "group %d %d %.*s", (int)cells[ROW_GROUP_TEAM_ID].i64, (int)cells[ROW_GROUP_TYPE_INDEX].i64,
                       (int)cells[ROW_GROUP_KEY].text.bytes, (const char *)cells[ROW_GROUP_KEY].text.at);
        *version_out = (uint64_t)cells[ROW_GROUP_VERSION].i64;
    }
}

/* Without its version, and properties in an order of their own: a person who is made of the same events in other batches has the same. */
static void says(struct row *row, struct buf *to)
{
    buf_reset(to);
    row->cells[row->table == ROW_PERSON ? (int)ROW_PERSON_VERSION : row->table == ROW_DISTINCT ? (int)ROW_DISTINCT_VERSION : (int)ROW_GROUP_VERSION].i64 = 0;
    row_write_json(row, to);
}

static void view_of(struct site *site, const char *topic, struct view *out)
{
    struct buf  bytes = topic_bytes(site, topic);
    struct span rest = buf_span(&bytes);
    struct row  row;
    char        name[200];
    uint64_t    version;

    while (row_next(&rest, &row)) {
        struct thing *thing;

        name_of(&row, name, &version);
        thing = thing_of(out, name);
        thing->rows++;
        if (strcmp(topic, "people") != 0 || (thing->rows > 1 && version <= thing->version))
            continue;
        thing->version = version;
        if (row.table == ROW_PERSON && row.cells[ROW_PERSON_IS_DELETED].i64 != 0) { /* it says nothing but that */
            buf_reset(&thing->says);
            buf_add(&thing->says, SPAN("deleted"));
        } else {
            says(&row, &thing->says);
        }
    }
    buf_fini(&bytes);
}

static void assert_same_view(struct site *quiet, struct site *lossy, const char *topic)
{
    struct view *left = calloc(1, sizeof *left), *right = calloc(1, sizeof *right);
    bool         people = strcmp(topic, "people") == 0;

    assert_true(left != NULL && right != NULL);
    view_of(quiet, topic, left);
    view_of(lossy, topic, right);
    for (size_t i = 0; i < left->count; i++) {
        const struct thing *one = &left->at[i], *other = thing_of(right, one->name);

        if (!people && one->rows != other->rows)
            fail_msg("%s: %d rows, and %d where commits were lost", one->name, (int)one->rows, (int)other->rows);
        if (people && !span_equal(buf_span(&one->says), buf_span(&other->says)))
            fail_msg("%s: readers see\n%.*s\nand where commits were lost\n%.*s", one->name, (int)one->says.bytes, (const char *)one->says.at,
                     (int)other->says.bytes, (const char *)other->says.at);
    }
    if (left->count != right->count)
        fail_msg("%s: %zu things, and %zu where commits were lost", topic, left->count, right->count);
    assert_true(left->count > 0);
    for (size_t i = 0; i < left->count; i++)
        buf_fini(&left->at[i].says);
    for (size_t i = 0; i < right->count; i++)
        buf_fini(&right->at[i].says);
    free(left);
    free(right);
}

/* --- losses -------------------------------------------------------------------------------------- */

static void feed_both(struct site *quiet, struct site *lossy, size_t count)
{
    site_feed(quiet, count);
    site_feed(lossy, count);
}

static void one_seed(uint64_t dice)
{
    static struct kafka_site quiet, lossy;
    struct people_place      quiet_place, place;
    unsigned                 losses = 0;

    kafka_site_init(&quiet, 200);
    kafka_site_init(&lossy, 50);
    quiet.site.options.overflow_burst = lossy.site.options.overflow_burst = 0;
    quiet.site.random = lossy.site.random = dice;
    quiet.site.step_us = lossy.site.step_us = 1000; /* no two events leave the same points */
    feed_both(&quiet.site, &lossy.site, 60);
    run(&lossy.site, 1 + (unsigned)(random_next(&dice) % 2));
    folder_copy(&lossy.site, "people", "people.kept");
    for (int turn = 0; turn < TURNS; turn++) {
        unsigned what = (unsigned)(random_next(&dice) % 4);

        lossy.site.options.batch_records = 1 + (int64_t)(random_next(&dice) % 90);
        if (what == 0) {
            folder_copy(&lossy.site, "people", "people.kept");
        } else if (what == 1) {
            folder_copy(&lossy.site, "people.kept", "people");
            losses++;
        } else {
            feed_both(&quiet.site, &lossy.site, random_next(&dice) % 150);
            run(&lossy.site, (unsigned)(random_next(&dice) % 6));
        }
    }
    /* Many versions of a person that are lost, and all that they told and more in one: readers must not stay with what was lost. */
    site_finish(&lossy.site, &place);
    folder_copy(&lossy.site, "people", "people.kept");
    lossy.site.options.batch_records = 3;
    feed_both(&quiet.site, &lossy.site, 60);
    run(&lossy.site, 100);
    folder_copy(&lossy.site, "people.kept", "people");
    losses++;
    lossy.site.options.batch_records = 1000;
    feed_both(&quiet.site, &lossy.site, 40);
    site_finish(&quiet.site, &quiet_place);
    site_finish(&lossy.site, &place);
    feed_both(&quiet.site, &lossy.site, 5); /* behind all that was lost */
    site_finish(&quiet.site, &quiet_place);
    site_finish(&lossy.site, &place);
    print_message("    %u losses, %llu events\n", losses, (unsigned long long)fates_sum(&place));
    for (int i = 0; i < FATE_COUNT; i++)
        if (quiet_place.counters[i] != place.counters[i])
            fail_msg("%s: %llu, and %llu where commits were lost", fate_info(i)->name, (unsigned long long)quiet_place.counters[i],
                     (unsigned long long)place.counters[i]);
    assert_int_equal(fate_consumed(&place), fates_sum(&place));
    assert_int_equal(place.counters[PLACE_SHOWN_AHEAD], 0);
    assert_int_equal(place.counters[PLACE_SHOWN_UNTIL + OUTPUT_EVENTS], 0); /* forgotten when the inputs had passed */
    assert_int_equal(place.output_end[OUTPUT_EVENTS], place.counters[FATE_STORED]);
    assert_same_view(&quiet.site, &lossy.site, "events");
    assert_same_view(&quiet.site, &lossy.site, "dead_letters");
    assert_same_view(&quiet.site, &lossy.site, "heatmaps");
    assert_same_view(&quiet.site, &lossy.site, "people");
    site_fini(&quiet.site);
    site_fini(&lossy.site);
}

static void store_goes_back(void **state)
{
    const char *seeds = getenv("PENSTOCK_SHOWN_SEEDS");
    int         count = seeds != NULL ? atoi(seeds) : SEEDS;

    (void)state;
    for (int i = 0; i < count; i++)
        one_seed(UINT64_C(88172645463325252) + (uint64_t)i * 7919);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_goes_back),
    };

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
