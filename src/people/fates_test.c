/* people/fates_test.c - counts by hour and project: added, folded when they are old, never lost; the tape of ended events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/lmdb.h"

struct site { char folder[64]; struct people *people; };

static int site_make(void **state)
{
    struct site *site = calloc(1, sizeof *site);
    struct err   err = { 0 };

    (void)snprintf(site->folder, sizeof site->folder, "/tmp/penstock_fates_XXXXXX");
    if (mkdtemp(site->folder) == NULL ||
        people_open(&(struct people_options){ .folder = site->folder, .map_bytes_max = 1u << 30 }, &site->people, &err) < 0)
        return -1;
    *state = site;
    return 0;
}

static int site_drop(void **state)
{
    struct site *site = *state;
    char         command[100];

    people_close(site->people);
    (void)snprintf(command, sizeof command, "rm -rf %s", site->folder);
    free(site);
    return system(command) == 0 ? 0 : -1;
}

static void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

/* What a table should hold: rows as text, "hour/project: index=count ...". */
static int row_print(void *ctx, const struct people_fates *row, struct err *err)
{
    char *to = (char *)ctx + strlen(ctx);

    (void)err;
    to += sprintf(to, "%u/%u:", row->hour, row->project);
    for (int i = 0; i < PEOPLE_COUNTERS_MAX; i++)
        if (row->counts[i] > 0)
            to += sprintf(to, " %d=%llu", i, (unsigned long long)row->counts[i]);
    (void)sprintf(to, "\n");
    return 0;
}

static void assert_rows(struct site *site, const char *expected)
{
    struct people_txn *txn;
    struct err         err = { 0 };
    char               text[4096] = "";

    must(people_begin(site->people, false, &txn, &err), &err);
    must(people_fates_each(txn, row_print, text, &err), &err);
    people_abort(txn);
    assert_string_equal(text, expected);
}

static struct people_fates row_of(uint32_t hour, uint32_t project, int index, uint64_t count)
{
    struct people_fates row = { .hour = hour, .project = project };

    row.counts[index] = count;
    return row;
}

static void add(struct site *site, struct people_fates row, bool commit)
{
    struct people_txn *txn;
    struct err         err = { 0 };

    must(people_begin(site->people, true, &txn, &err), &err);
    must(people_fates_add(txn, &row, 1, &err), &err);
    if (commit)
        must(people_commit(txn, &err), &err);
    else
        people_abort(txn);
}

static void counts_add_up(void **state)
{
    struct site *site = *state;

    assert_rows(site, "");
    add(site, row_of(500000, 7, 0, 3), true);
    add(site, row_of(500000, 7, 63, UINT64_C(1) << 40), true);
    add(site, row_of(500000, 7, 0, 4), true);
    add(site, row_of(500000, 7, 0, 1000), false); /* a batch that did not happen */
    add(site, row_of(499999, 900, 2, 1), true);
    add(site, row_of(500000, 6, 2, 1), true);
    assert_rows(site, "499999/900: 2=1\n500000/6: 2=1\n500000/7: 0=7 63=1099511627776\n");
}

static void what_was_before_is_noted_once(void **state)
{
    struct site       *site = *state;
    struct people_txn *txn;
    struct err         err = { 0 };
    uint64_t           first[PEOPLE_COUNTERS_MAX] = { 5, 6 }, later[PEOPLE_COUNTERS_MAX] = { 50, 60 };

    must(people_begin(site->people, true, &txn, &err), &err);
    must(people_fates_begin(txn, first, &err), &err);
    must(people_fates_begin(txn, later, &err), &err);
    must(people_commit(txn, &err), &err);
    assert_rows(site, "0/4294967295: 0=5 1=6\n");
}

static void forget(struct site *site, uint32_t hour, int calls)
{
    struct people_txn *txn;
    struct err         err = { 0 };

    must(people_begin(site->people, true, &txn, &err), &err);
    for (int i = 0; i < calls; i++)
        must(people_fates_forget(txn, hour, &err), &err);
    must(people_commit(txn, &err), &err);
}

static void old_hours_keep_their_sums(void **state)
{
    struct site *site = *state;
    char         expected[64];

    add(site, row_of(100, 7, 0, 1), true);
    add(site, row_of(101, 7, 0, 2), true);
    add(site, row_of(101, 8, 1, 5), true);
    add(site, row_of(102, 7, 0, 4), true);
    forget(site, 102, 1);
    assert_rows(site, "0/7: 0=3\n0/8: 1=5\n102/7: 0=4\n");
    forget(site, 102, 1);
    assert_rows(site, "0/7: 0=3\n0/8: 1=5\n102/7: 0=4\n");
    for (uint32_t hour = 103; hour < 303; hour++) /* more than one call folds */
        add(site, row_of(hour, 7, 0, 1), true);
    forget(site, 303, 10);
    (void)snprintf(expected, sizeof expected, "0/7: 0=%d\n0/8: 1=5\n", 3 + 4 + 200);
    assert_rows(site, expected);
}

/* --- ended events ------------------------------------------------------------------------------- */

static int ended_print(void *ctx, const struct people_ended *ended, struct err *err)
{
    char *to = (char *)ctx + strlen(ctx);

    (void)err;
    (void)sprintf(to, "%u %d %llu %lld\n", ended->project, ended->fate, (unsigned long long)ended->place, (long long)ended->at_us);
    return 0;
}

static struct people_ended ended_of(uint64_t n, unsigned fate)
{
    struct people_ended ended = { .place = n, .at_us = (int64_t)n * 1000, .project = 7, .fate = (uint8_t)fate };

    memcpy(ended.uuid.bytes, &n, sizeof n);
    return ended;
}

static void assert_ended(struct site *site, uint64_t n, const char *expected)
{
    struct people_ended like = ended_of(n, 0);
    struct people_txn  *txn;
    struct err          err = { 0 };
    char                text[4096] = "";

    must(people_begin(site->people, false, &txn, &err), &err);
    must(people_ended_find(txn, &like.uuid, ended_print, text, &err), &err);
    people_abort(txn);
    assert_string_equal(text, expected);
}

static void end_range(struct site *site, uint64_t from, uint64_t end)
{
    struct people_ended *all = calloc(end - from, sizeof *all);
    struct people_txn   *txn;
    struct err           err = { 0 };

    for (uint64_t n = from; n < end; n++)
        all[n - from] = ended_of(n, 5);
    must(people_begin(site->people, true, &txn, &err), &err);
    must(people_ended_add(txn, all, end - from, &err), &err);
    must(people_commit(txn, &err), &err);
    free(all);
}

static void ended_events_are_found(void **state)
{
    struct site        *site = *state;
    struct people_ended again = ended_of(41, 1);
    struct people_txn  *txn;
    struct err          err = { 0 };

    assert_ended(site, 41, "");
    end_range(site, 0, 1);
    end_range(site, 1, 100);
    again.place = 1000;
    again.project = UINT32_MAX;
    again.at_us = -1;
    must(people_begin(site->people, true, &txn, &err), &err);
    must(people_ended_add(txn, &again, 1, &err), &err);
    must(people_commit(txn, &err), &err);
    assert_ended(site, 0, "7 5 0 0\n");
    assert_ended(site, 41, "7 5 41 41000\n4294967295 1 1000 -1\n");
    assert_ended(site, 99, "7 5 99 99000\n");
    assert_ended(site, 100, "");
}

static void the_tape_is_bounded(void **state)
{
    struct site *site = *state;

    for (uint64_t from = 0; from < PEOPLE_ENDED_MAX + 5000; from += 5000)
        end_range(site, from, from + 5000);
    assert_ended(site, 4000, "");
    assert_ended(site, 5041, "7 5 5041 5041000\n");
    assert_ended(site, PEOPLE_ENDED_MAX + 4999, "7 5 1004999 1004999000\n");
}

/* A value of a later Penstock, or a damaged one, is refused and not guessed at. */
static void strange_values_are_refused(void **state)
{
    static const struct { const char *name; size_t bytes; uint8_t value[16]; enum err_kind kind; } rows[] = {
        { "nothing", 0, { 0 }, ERR_CORRUPT },
        { "a later version", 2, { 2, 0 }, ERR_CORRUPT },
        { "cut off", 10, { 1, 1, 0 }, ERR_CORRUPT },
        { "an unknown counter", 11, { 1, 1, PEOPLE_COUNTERS_MAX, 1 }, ERR_INPUT },
    };
    struct site *site = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct people_txn *txn;
        struct err         err = { 0 };
        char               text[4096] = "";

        must(people_begin(site->people, true, &txn, &err), &err);
        must(people_table_put(txn, TABLE_FATES, SPAN("\0\0\0\1\0\0\0\7"), span_of(rows[i].value, rows[i].bytes), &err), &err);
        if (people_fates_each(txn, row_print, text, &err) != -1 || err.kind != rows[i].kind)
            fail_msg("%s: kind %d, not %d", rows[i].name, (int)err.kind, (int)rows[i].kind);
        people_abort(txn);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, site_make, site_drop)
    const struct CMUnitTest tests[] = {
        TEST(counts_add_up), TEST(what_was_before_is_noted_once), TEST(old_hours_keep_their_sums),
        TEST(ended_events_are_found), TEST(the_tape_is_bounded), TEST(strange_values_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
