/* parts: clickhouse
 * load/orders_cluster_test.c - which orders to erase are carried out together, with what stands between them, and again the same ones. */
#include <ftw.h>

#include "load/follow.h"
#include "warehouse/clickhouse_test_kit.h"

enum { NOW_US = 1700000000 };

static struct log        *the_log;
static struct log_writer *receipts;
static char               folder[64];

static int remove_one(const char *name, const struct stat *found, int type, struct FTW *walk)
{
    (void)found, (void)type, (void)walk;
    return remove(name);
}

static int log_make(void **state)
{
    struct log_topic_options topic = { .codec = LOG_CODEC_LZ4 };
    struct err               err = { .text = "" };

    (void)set_up(state);
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_orders_XXXXXX");
    if (mkdtemp(folder) == NULL || log_open(&(struct log_options){ .folder = folder }, &the_log, &err) < 0 ||
        log_writer_open(the_log, follow_topics[FOLLOW_RECEIPTS], 0, &topic, &receipts, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int log_drop(void **state)
{
    (void)state;
    log_writer_close(receipts);
    log_close(the_log);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A frame of its own, as each batch of ingest is one. */
static void publish(int64_t id, int64_t project, uint64_t person, const char *kind, const char *state)
{
    struct log_batch *batch = log_batch_new();
    struct err        err = { .text = "" };
    uint64_t          base;
    struct row        row;
    uint8_t          *to;

    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_ID, id);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, project);
    row_set_text(&row, ROW_RECEIPT_KIND, span_text(kind));
    row_set_text(&row, ROW_RECEIPT_STATE, span_text(state));
    row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, uuid_of(person));
    row_set_i64(&row, ROW_RECEIPT_DUE_AT, T_US - DAY_US);
    row_set_i64(&row, ROW_RECEIPT_VERSION, 2);
    to = log_batch_begin(batch, row_bytes(&row));
    assert_non_null(to);
    row_write(&row, to);
    log_batch_end(batch, row_bytes(&row));
    if (log_writer_append(receipts, batch, NOW_US, &base, &err) < 0 || log_writer_sync(receipts, &err) < 0)
        fail_msg("%s", err.text);
    log_writer_publish(receipts, log_writer_end(receipts));
    log_batch_free(batch);
}

static void order(int64_t id, int64_t project, uint64_t person)
{
    publish(id, project, person, "erase", "people done");
}

/* The next orders, carried out and committed; how many there were. */
static size_t carry_out(struct follow *follow, struct warehouse *warehouse, struct warehouse_place *place)
{
    struct err err = { .text = "" };
    size_t     count;

    if (follow_seek(follow, place, &err) < 0 || follow_fill(follow, FOLLOW_RECEIPTS, warehouse, SIZE_MAX, NOW_US, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(follow->eraser.waiting);
    count = follow->eraser.count;
    assert_int_equal(follow_erase_due(follow, warehouse, NOW_US, &err), 1);
    if (follow_erase(follow, warehouse, NOW_US, &err) < 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        place->next[i] = follow->topics[i].next;
    if (warehouse_commit(warehouse, place, &err) < 0)
        fail_msg("%s", err.text);
    return count;
}

static void orders_that_wait_go_together(void **state)
{
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);
    struct follow          follow;

    (void)state;
    order(0, 1, 10);
    publish(0, 1, 10, "erase_log", "left to retention");
    order(1, 1, 11);
    order(2, 1, 12);
    order(3, 1, 11); /* somebody of before, made again */
    order(4, 2, 13); /* another project's */
    publish(5, 2, 0, "expire", "asked");
    order(6, 2, 14);
    follow_init(&follow, the_log, 0);
    assert_int_equal(carry_out(&follow, warehouse, &place), 3);
    assert_int_equal(place.next[FOLLOW_RECEIPTS], 4);
    assert_int_equal(carry_out(&follow, warehouse, &place), 1);
    assert_int_equal(carry_out(&follow, warehouse, &place), 1);
    assert_int_equal(carry_out(&follow, warehouse, &place), 1);
    assert_int_equal(carry_out(&follow, warehouse, &place), 1);
    assert_int_equal(place.next[FOLLOW_RECEIPTS], 8);
    assert_string_equal(ask(warehouse, "SELECT id, kind, state FROM receipts ORDER BY id, kind"),
                        "id,kind,state\r\n0,erase,warehouse done\r\n0,erase_log,left to retention\r\n1,erase,warehouse done\r\n"
                        "2,erase,warehouse done\r\n3,erase,warehouse done\r\n4,erase,warehouse done\r\n5,expire,done\r\n6,erase,warehouse done\r\n");
    follow_fini(&follow);
    warehouse_close(warehouse);
}

/* What was fixed counts, although more have come; and so does where a batch ends that is made again. */
static void again_the_same_ones(void **state)
{
    struct warehouse      *warehouse = open_or_fail();
    struct warehouse_place place = place_of(warehouse);
    struct follow          follow;
    struct err             err = { .text = "" };
    uint64_t               until = 2;

    (void)state;
    for (unsigned i = 0; i < 6; i++)
        order(i, 1, 20 + i);
    assert_int_equal(warehouse_erase_fix(warehouse, 0, &until, &err), 0);
    follow_init(&follow, the_log, 0);
    assert_int_equal(carry_out(&follow, warehouse, &place), 2);
    assert_int_equal(place.next[FOLLOW_RECEIPTS], 2);

    fault(warehouse, "{\"kind\":\"error\",\"match\":\"`receipts`\",\"code\":252,\"times\":1}"); /* noted, but the receipts are not sent */
    if (follow_seek(&follow, &place, &err) < 0 || follow_fill(&follow, FOLLOW_RECEIPTS, warehouse, SIZE_MAX, NOW_US, &err) < 0 ||
        follow_erase(&follow, warehouse, NOW_US, &err) < 0)
        fail_msg("%s", err.text);
    place.next[FOLLOW_RECEIPTS] = follow.topics[FOLLOW_RECEIPTS].next;
    assert_int_equal(warehouse_commit(warehouse, &place, &err), -1);
    for (unsigned i = 6; i < 9; i++)
        order(i, 1, 20 + i);
    warehouse_close(warehouse);
    warehouse = open_or_fail();
    place = place_of(warehouse);
    assert_true(place.again);
    assert_int_equal(carry_out(&follow, warehouse, &place), 4);
    assert_int_equal(place.next[FOLLOW_RECEIPTS], 6);
    place = place_of(warehouse);
    assert_int_equal(carry_out(&follow, warehouse, &place), 3);
    assert_string_equal(ask(warehouse, "SELECT count() AS n, uniqExact(id) AS d FROM receipts WHERE state = 'warehouse done'"), "n,d\r\n9,9\r\n");
    follow_fini(&follow);
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(orders_that_wait_go_together, log_make, log_drop),
        cmocka_unit_test_setup_teardown(again_the_same_ones, log_make, log_drop),
    };

    return server_known() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
