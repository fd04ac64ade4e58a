/* load/follow_test.c - what stands in the log's topics goes into the open batch, or is told. Needs libduckdb.so, as warehouse_test_kit.h
 * says. */
#include <ftw.h>

#include "load/follow.h"
#include "warehouse/warehouse_test_kit.h"

enum { NOW_US = 1700000000 };

static struct log       *the_log;
static struct log_writer *receipts;

static int remove_one(const char *name, const struct stat *found, int type, struct FTW *walk)
{
    (void)found, (void)type, (void)walk;
    return remove(name);
}

static int log_make(void **state)
{
    struct log_topic_options topic = { .codec = LOG_CODEC_LZ4 };
    struct err               err = { .text = "" };
    char                     name[120];

    (void)set_up(state);
    (void)snprintf(name, sizeof name, "%s/log", folder);
    if (log_open(&(struct log_options){ .folder = name }, &the_log, &err) < 0 ||
        log_writer_open(the_log, follow_topics[FOLLOW_RECEIPTS], 0, &topic, &receipts, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int log_drop(void **state)
{
    char name[120];

    (void)state;
    log_writer_close(receipts);
    log_close(the_log);
    (void)snprintf(name, sizeof name, "%s/log", folder);
    return nftw(name, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void publish(const struct row *row)
{
    struct log_batch *batch = log_batch_new();
    struct err        err = { .text = "" };
    uint64_t          base;
    uint8_t          *to = log_batch_begin(batch, row_bytes(row));

    assert_non_null(to);
    row_write(row, to);
    log_batch_end(batch, row_bytes(row));
    if (log_writer_append(receipts, batch, NOW_US, &base, &err) < 0 || log_writer_sync(receipts, &err) < 0)
        fail_msg("%s", err.text);
    log_writer_publish(receipts, log_writer_end(receipts));
    log_batch_free(batch);
}

static void publish_order(void)
{
    struct row row;

    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, 1);
    row_set_text(&row, ROW_RECEIPT_KIND, SPAN("erase"));
    row_set_text(&row, ROW_RECEIPT_STATE, SPAN("people done"));
    row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, (struct uuid){ { 7 } });
    publish(&row);
}

/* It waits for memory, as all else does; it must not pass as a row like others, which nobody would carry out. */
static void an_order_without_memory_waits(void **state)
{
    struct warehouse      *warehouse = open_or_fail(false);
    struct warehouse_place place = { .next = { 0 } };
    struct follow          follow;
    struct err             err = { .text = "" };
    size_t                 room;

    (void)state;
    publish_order();
    follow_init(&follow, the_log, 0);
    assert_int_equal(follow_seek(&follow, &place, &err), 0);
    room = follow.eraser.rows.bytes_max;
    follow.eraser.rows.bytes_max = 1;
    assert_int_equal(follow_fill(&follow, FOLLOW_RECEIPTS, warehouse, SIZE_MAX, NOW_US, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_int_equal(warehouse_pending(warehouse), 0);
    assert_false(follow.eraser.waiting);

    follow.eraser.rows.bytes_max = room;
    assert_int_equal(follow_seek(&follow, &place, &err), 0); /* as the loader does after any trouble */
    assert_int_equal(follow_fill(&follow, FOLLOW_RECEIPTS, warehouse, SIZE_MAX, NOW_US, &err), 0);
    assert_true(follow.eraser.waiting);
    assert_int_equal(follow_erase_due(&follow, warehouse, NOW_US, &err), 1);
    assert_int_equal(follow_erase(&follow, warehouse, NOW_US, &err), 0);
    assert_int_equal(warehouse_pending(warehouse), 2); /* the order, and its receipt */
    assert_int_equal(follow.topics[FOLLOW_RECEIPTS].next, 1);
    follow_fini(&follow);
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_order_without_memory_waits, log_make, log_drop),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
