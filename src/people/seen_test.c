/* people/seen_test.c - seen ids over batches, files, merges, restarts, days, damage; and an older store. */
#include "people/seen_test_kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "people/seen_writer.h"

enum { DAY = 20000 };

/* Adds `count` ids in transactions of 50, with whatever jobs come; settled at the end. */
static void add_many(struct kit *kit, uint64_t from, size_t count, int day)
{
    for (size_t i = 0; i < count; i += 50) {
        assert_int_equal(kit_add(kit, from + i, count - i < 50 ? count - i : 50, day, true), 0);
        seen_settle(kit->people); /* so that many small files come about */
    }
    kit_settle(kit, day);
}

static void assert_all_known(struct kit *kit, uint64_t from, size_t count, int day)
{
    assert_int_equal(kit_add(kit, from, count, day, false), count);
    for (uint64_t n = from; n < from + count; n += 1 + count / 50)
        for (int write = 0; write < 2; write++)
            assert_int_equal(kit_find(kit, n, write), n * 3 + 1);
}

static void repeated_across_files_and_restarts(void **state)
{
    struct kit *kit = *state;

    add_many(kit, 0, 3000, DAY);
    assert_true(kit_stats(kit).flushes >= 20);
    assert_true(kit_stats(kit).merges >= 5);
    assert_true(kit_stats(kit).runs >= 2 && kit_stats(kit).runs <= 9);
    assert_int_equal(kit_stats(kit).run_ids + kit_stats(kit).recent, 3000);
    assert_all_known(kit, 0, 3000, DAY);
    assert_int_equal(kit_add(kit, 3000, 500, DAY, false), 0);
    assert_int_equal(kit_find(kit, 3000, true), -1);
    assert_int_equal(kit_find(kit, 3000, false), -1);
    kit_again(kit);
    assert_int_equal(kit_find(kit, 17, false), 52); /* a reader of its own, before any writer */
    assert_all_known(kit, 0, 3000, DAY);
    assert_int_equal(kit_add(kit, 3000, 500, DAY, false), 0);
    assert_int_equal(kit_stats(kit).run_ids + kit_stats(kit).recent, 3000);
    assert_int_equal(kit_stats(kit).lost, 0);
}

/* The same id of another project is another id. */
static void projects_are_apart(void **state)
{
    struct kit         *kit = *state;
    struct people_txn  *txn;
    struct people_seen  id = kit_id(7);
    struct err          err = { 0 };

    add_many(kit, 0, 1000, DAY);
    id.project = 6;
    txn = kit_begin(kit, true);
    MUST(people_seen_add(txn, &id, 1, DAY, &err));
    assert_false(id.repeated);
    people_abort(txn);
}

/* In one array, in any part of it, and in a later call of the same transaction. */
static void first_wins_within_a_transaction(void **state)
{
    struct kit         *kit = *state;
    struct people_txn  *txn = kit_begin(kit, true);
    struct people_seen  ids[300];
    struct err          err = { 0 };
    struct uuid         five = kit_uuid(5);
    uint64_t            place;

    for (int i = 0; i < 300; i++) {
        ids[i] = kit_id((uint64_t)i % 100);
        ids[i].place = (uint64_t)i;
    }
    MUST(people_seen_add(txn, ids, 300, DAY, &err));
    for (int i = 0; i < 300; i++)
        assert_int_equal(ids[i].repeated, i >= 100);
    MUST(people_seen_add(txn, ids, 1, DAY, &err));
    assert_true(ids[0].repeated);
    MUST(people_seen_add(txn, ids, 0, DAY, &err));
    assert_int_equal(people_seen_find(txn, kit_project(5), &five, &place, &err), 1);
    assert_int_equal(place, 5);
    MUST(people_commit(txn, &err));
    assert_int_equal(kit_find(kit, 5, false), 5);
}

/* Known on the 28th day after, forgotten on the 29th, wherever the id stands. */
static void window(void **state)
{
    static const struct { int day; size_t repeated; } rows[] = { { DAY + 27, 1000 }, { DAY + 28, 1000 }, { DAY + 29, 0 } };
    struct kit *kit = *state;

    kit->recent_max = 5000;
    kit_again(kit);
    for (int stage = 0; stage < 3; stage++) {
        if (stage == 0)
            assert_int_equal(kit_add(kit, 0, 1000, DAY, true), 0);
        if (stage == 1) { /* by age */
            kit_settle(kit, DAY + 8);
            assert_int_equal(kit_stats(kit).runs, 1);
            assert_int_equal(kit_stats(kit).recent, 0);
        }
        if (stage == 2) {
            kit->recent_max = 100;
            kit_again(kit);
            add_many(kit, 10000, 900, DAY);
            assert_true(kit_stats(kit).merges > 0);
        }
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            assert_int_equal(kit_add(kit, 0, 1000, rows[i].day, false), rows[i].repeated);
    }
    /* Noted anew, it is known for another 28 days, by its new place. */
    assert_int_equal(kit_add(kit, 0, 10, DAY + 29, true), 0);
    assert_int_equal(kit_add(kit, 0, 10, DAY + 29 + 28, false), 10);
    kit_settle(kit, DAY + 40);
    assert_int_equal(kit_add(kit, 0, 10, DAY + 29 + 28, false), 10);
    assert_int_equal(kit_add(kit, 0, 10, DAY + 29 + 29, false), 0);
}

/* A year: never more on the disk than five weeks of ids, and the exact answer every day. */
static void forgetting(void **state)
{
    enum { EACH = 120, DAYS = 200 };
    struct kit *kit = *state;

    for (int day = 0; day < DAYS; day++) {
        uint64_t from = (uint64_t)day * EACH;

        assert_int_equal(kit_add(kit, from, EACH, DAY + day, true), 0);
        seen_settle(kit->people);
        if (day % 10 == 9) {
            kit_settle(kit, DAY + day);
            for (int back = 1; back < 45 && back <= day; back++)
                assert_int_equal(kit_add(kit, from - (uint64_t)back * EACH, EACH, DAY + day, false), back <= 28 ? EACH : 0);
            assert_true(kit_stats(kit).run_ids + kit_stats(kit).recent <= EACH * 42);
            assert_true(kit_stats(kit).runs <= 25);
        }
        if (day % 33 == 0)
            kit_again(kit);
    }
}

/* An aborted transaction never was, also when it listed a file, froze ids, or let old ones go. */
static void aborts(void **state)
{
    struct kit *kit = *state;

    for (uint64_t n = 0; n < 2000; n += 40) {
        assert_int_equal(kit_add(kit, n, 70, DAY, false), 0);
        seen_settle(kit->people);
        assert_int_equal(kit_add(kit, n, 70, DAY, false), 0);
        assert_int_equal(kit_add(kit, n, 40, DAY, true), 0);
    }
    assert_true(kit_stats(kit).flushes > 5);
    assert_all_known(kit, 0, 2000, DAY);
    assert_int_equal(kit_add(kit, 0, 2000, DAY + 60, false), 0); /* all of it is over, but not committed */
    assert_all_known(kit, 0, 2000, DAY);
    kit_again(kit);
    assert_all_known(kit, 0, 2000, DAY);
    assert_int_equal(kit_add(kit, 2000, 30, DAY, false), 0);
}

/* --- an older store ---------------------------------------------------------------------------- */

static void put_old(struct kit *kit, uint64_t n, uint16_t day, size_t bytes)
{
    struct people_txn *txn = kit_begin(kit, true);
    struct uuid        uuid = kit_uuid(n);
    uint32_t           project = __builtin_bswap32(kit_project(n));
    uint8_t            key[20], value[10];
    struct err         err = { 0 };

    memcpy(key, uuid.bytes, 16);
    memcpy(key + 16, &project, 4);
    bytes_put_u16(value, day);
    bytes_put_u64(value + 2, n * 3 + 1);
    MUST(people_table_put(txn, TABLE_SEEN, span_of(key, sizeof key), span_of(value, bytes), &err));
    MUST(people_commit(txn, &err));
}

static void older_store(void **state)
{
    struct kit        *kit = *state;
    struct people_txn *txn;

    for (uint64_t n = 0; n < 200; n++)
        put_old(kit, n, (uint16_t)(DAY + n % 20), n % 2 == 0 ? 10 : 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kit_add(kit, 0, 200, DAY + 20, i == 1), 200);
        assert_int_equal(kit_find(kit, 4, i == 1), 13);
        assert_true(kit_find(kit, 5, i == 1) == -1 || kit_find(kit, 5, i == 1) == (int64_t)PEOPLE_SEEN_PLACE_UNKNOWN);
        kit_again(kit);
    }
    assert_int_equal(kit_add(kit, 0, 200, DAY + 28 + 10, false), 100); /* of days 10 to 19 */
    assert_int_equal(kit_add(kit, 200, 50, DAY + 20, true), 0);
    for (int i = 0; i < 30; i++)
        (void)kit_add(kit, 1000 + (uint64_t)i, 1, DAY + 55, true);
    txn = kit_begin(kit, false);
    assert_false(seen_old_left(txn)); /* swept, and never asked again */
    people_abort(txn);
}

static void format_set(struct kit *kit, uint32_t format)
{
    struct people_txn *txn = kit_begin(kit, true);
    struct err         err = { 0 };

    MUST(people_table_put(txn, TABLE_META, SPAN("format"), span_of(&format, sizeof format), &err));
    MUST(people_commit(txn, &err));
}

static uint32_t format_of(struct kit *kit)
{
    struct people_txn *txn = kit_begin(kit, false);
    struct span        value = { 0 };
    struct err         err = { 0 };
    uint32_t           format;

    assert_int_equal(people_table_get(txn, TABLE_META, SPAN("format"), &value, &err), 1);
    format = bytes_get_u32(value.at);
    people_abort(txn);
    return format;
}

/* Who knows nothing of files of seen ids must not write to a store that may have some. */
static void format_is_raised(void **state)
{
    struct kit           *kit = *state;
    struct people_options options = { .folder = kit->folder, .map_bytes_max = (uint64_t)1 << 34 };
    struct err            err = { 0 };

    format_set(kit, 1);
    kit_again(kit);
    assert_int_equal(format_of(kit), 1);
    assert_int_equal(kit_add(kit, 0, 1, DAY, true), 0);
    assert_int_equal(format_of(kit), 3);
    format_set(kit, 4);
    kit_close(kit);
    assert_int_equal(people_open(&options, &kit->people, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    kit->people = NULL;
}

/* --- files: what stays, what is damaged --------------------------------------------------------- */

/* Names in seen/ that end so; the last one's path into `path`. */
static int files(struct kit *kit, const char *ending, char *path, size_t path_bytes)
{
    char           folder[100];
    DIR           *dir;
    struct dirent *file;
    int            count = 0;

    (void)snprintf(folder, sizeof folder, "%s/seen", kit->folder);
    dir = opendir(folder);
    while (dir != NULL && (file = readdir(dir)) != NULL) {
        const char *dot = strrchr(file->d_name, '.');

        if (dot == NULL || strcmp(dot + 1, ending) != 0)
            continue;
        if (path != NULL)
            (void)snprintf(path, path_bytes, "%s/%s", folder, file->d_name);
        count++;
    }
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

static void garbage_is_deleted(void **state)
{
    struct kit *kit = *state;
    char        path[400];

    add_many(kit, 0, 1000, DAY);
    assert_true(files(kit, "run", NULL, 0) > (int)kit_stats(kit).runs); /* merged away, kept for readers for a while */
    kit_close(kit);
    kit_open(kit);
    (void)kit_add(kit, 0, 0, DAY, true);
    assert_int_equal(files(kit, "run", NULL, 0), kit_stats(kit).runs);
    for (int i = 0; i < 3; i++) {
        int fd;

        (void)snprintf(path, sizeof path, "%s/seen/00000000000fffff.%s", kit->folder, i == 0 ? "run" : i == 1 ? "tmp" : "damaged");
        fd = open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        (void)close(fd);
    }
    kit_again(kit);
    assert_all_known(kit, 0, 1000, DAY);
    assert_int_equal(files(kit, "run", NULL, 0), kit_stats(kit).runs);
    assert_int_equal(files(kit, "tmp", NULL, 0), 0);
    assert_int_equal(files(kit, "damaged", NULL, 0), 1);
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    int     fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

enum { ONE_RUN = 5000 }; /* ids of the run that the rows below damage: 37 blocks */

/* One run of ONE_RUN ids and nothing else; its path. */
static void make_one_run(struct kit *kit, char *path, size_t path_bytes)
{
    kit->recent_max = ONE_RUN;
    kit_again(kit);
    assert_int_equal(kit_add(kit, 0, ONE_RUN, DAY, true), 0);
    kit_settle(kit, DAY);
    assert_int_equal(kit_stats(kit).runs, 1);
    assert_int_equal(files(kit, "run", path, path_bytes), 1);
    assert_int_equal(kit_stats(kit).recent, 0);
}

/* Lines of the filter, and fences, of a run of ONE_RUN ids. */
#define FILTER_AT (4096 + 8192)
#define FENCES_AT (FILTER_AT + 8192)
#define BLOCKS_AT (FENCES_AT + 4096)

/* Whatever falls over in a file: at most the ids of what was damaged are forgotten, the rest is known again after the
 * run was written anew, ingest goes on, and the damaged file is kept. */
static void damage_is_told_and_mended(void **state)
{
    static const struct { const char *name; off_t at; size_t forgotten; } rows[] = {
        { "magic", 3, 0 },
        { "its counts", 33, 0 },
        { "checksum of the head", 13, 0 },
        { "minutes", 4096 + 100, 0 },
        { "filter, first byte", FILTER_AT, 0 },
        { "filter, somewhere", FILTER_AT + 5000, 0 },
        { "fences", FENCES_AT + 9, 0 },
        { "first block: its checksum", BLOCKS_AT, 136 },
        { "first block: its count", BLOCKS_AT + 4, 136 },
        { "a block: an entry", BLOCKS_AT + 5 * 4096 + 300, 136 },
        { "last block", BLOCKS_AT + 36 * 4096 + 20, ONE_RUN - 36 * 136 },
        { "cut in the blocks", -(BLOCKS_AT + 30 * 4096 + 7), ONE_RUN - 30 * 136 },
        { "cut in the filter", -(FILTER_AT + 100), ONE_RUN },
        { "empty", -1, ONE_RUN },
    };
    char path[400], kept[420];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kit *kit;
        void       *own = NULL;
        struct stat file;
        int         fd;

        assert_int_equal(kit_make(&own), 0);
        kit = own;
        make_one_run(kit, path, sizeof path);
        kit_close(kit);
        (void)snprintf(kept, sizeof kept, "%.*s.damaged", (int)(strlen(path) - strlen(".run")), path); /* of an earlier store */
        fd = open(kept, O_CREAT | O_EXCL | O_WRONLY, 0600);
        assert_true(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
        if (rows[i].at >= 0)
            flip(path, rows[i].at);
        else
            assert_int_equal(truncate(path, -rows[i].at - 1), 0);
        kit_open(kit);
        (void)kit_add(kit, 0, ONE_RUN, DAY, false); /* comes across it */
        kit_settle(kit, DAY);
        if (kit_add(kit, 0, ONE_RUN, DAY, false) != ONE_RUN - rows[i].forgotten)
            fail_msg("%s: %zu known", rows[i].name, kit_add(kit, 0, ONE_RUN, DAY, false));
        assert_int_equal(files(kit, "damaged-2", NULL, 0), 1);
        assert_true(stat(kept, &file) == 0 && file.st_size == 1);
        assert_int_equal(kit_add(kit, ONE_RUN, 500, DAY, true), 0);
        assert_int_equal(kit_add(kit, 0, ONE_RUN, DAY, true), ONE_RUN - rows[i].forgotten);
        assert_int_equal(kit_add(kit, 0, ONE_RUN, DAY, true), ONE_RUN); /* the forgotten were noted anew */
        kit_again(kit);
        assert_int_equal(kit_add(kit, 0, ONE_RUN + 500, DAY, true), ONE_RUN + 500);
        (void)kit_drop(&own);
    }
    (void)state;
}

static void missing_file(void **state)
{
    struct kit        *kit = *state;
    struct people_txn *txn;
    struct err         err = { 0 };
    struct uuid        uuid = kit_uuid(3);
    uint64_t           place;
    char               path[400];

    make_one_run(kit, path, sizeof path);
    kit_close(kit);
    assert_int_equal(unlink(path), 0);
    kit_open(kit);
    txn = kit_begin(kit, false);
    assert_int_equal(people_seen_find(txn, kit_project(3), &uuid, &place, &err), -1); /* it may just have been merged */
    assert_int_equal(err.kind, ERR_RETRY);
    people_abort(txn);
    assert_int_equal(kit_add(kit, 0, 10, DAY, true), 0);
    assert_int_equal(kit_stats(kit).lost, 1);
    assert_int_equal(kit_stats(kit).runs, 0);
    assert_int_equal(kit_add(kit, 0, 10, DAY, true), 10);
    assert_int_equal(kit_find(kit, 3, false), 10);
}

/* --- order and failures of file calls ------------------------------------------------------------ */

struct watch {
    bool dirty, renamed_dirty, folder_dirty;
    long fail_at, calls; /* the n-th changing call fails; 0: none */
};

static int watch_before(void *ctx, struct io_call *call)
{
    struct watch *watch = ctx;

    if (call->op == IO_PREAD || call->op == IO_MMAP || call->op == IO_SPACE)
        return 0;
    return ++watch->calls == watch->fail_at ? ENOSPC : 0;
}

static void watch_after(void *ctx, const struct io_call *call, int64_t result)
{
    struct watch *watch = ctx;

    if (result < 0)
        return;
    if (call->op == IO_PWRITE)
        watch->dirty = true;
    if (call->op == IO_FDATASYNC)
        watch->dirty = false;
    if (call->op == IO_RENAME) {
        watch->renamed_dirty = watch->renamed_dirty || watch->dirty;
        watch->folder_dirty = true;
    }
    if (call->op == IO_FSYNC)
        watch->folder_dirty = false;
}

/* A file has its name only when it is synced, and is listed only when its name is (E2). */
static void synced_before_listed(void **state)
{
    struct kit    *kit = *state;
    struct watch   watch = { 0 };
    struct io_hook hook = { watch_before, watch_after, &watch };

    for (uint64_t n = 0; n < 1500; n += 50) {
        io_hook_set(&hook);
        (void)kit_add(kit, n, 50, DAY, true);
        seen_settle(kit->people);
        io_hook_set(NULL);
        assert_false(watch.renamed_dirty);
        assert_false(watch.folder_dirty);
    }
    assert_true(kit_stats(kit).merges > 2);
    assert_true(watch.calls > 100);
}

/* Whichever call fails, at worst it is tried again later: every id is known, then and after a restart. */
static void every_call_fails_once(void **state)
{
    long total = 1000;

    for (long n = 1; n < total; n += n < 40 ? 1 : 7) {
        struct watch   watch = { .fail_at = n };
        struct io_hook hook = { watch_before, watch_after, &watch };
        struct kit    *kit;
        void          *own = NULL;

        assert_int_equal(kit_make(&own), 0);
        kit = own;
        for (uint64_t i = 0; i < 700; i += 50) {
            struct people_txn *txn = kit_begin(kit, true);
            struct people_seen ids[50];
            struct err         err = { 0 };

            for (size_t k = 0; k < 50; k++)
                ids[k] = kit_id(i + k);
            io_hook_set(&hook);
            if (people_seen_add(txn, ids, 50, DAY, &err) < 0) { /* only when memory is full of ids that find no disk */
                people_abort(txn);
                i -= 50;
            } else {
                MUST(people_commit(txn, &err));
            }
            seen_settle(kit->people);
            io_hook_set(NULL);
            if (lmdb_of(kit->people)->seen != NULL)
                lmdb_of(kit->people)->seen->retry_us = 0; /* do not wait */
        }
        total = watch.calls + 2;
        assert_int_equal(kit_add(kit, 0, 700, DAY, false), 700);
        kit_again(kit);
        assert_int_equal(kit_add(kit, 0, 700, DAY, false), 700);
        assert_int_equal(kit_add(kit, 700, 50, DAY, false), 0);
        kit_settle(kit, DAY);
        assert_int_equal(kit_add(kit, 0, 700, DAY, false), 700);
        (void)kit_drop(&own);
    }
    (void)state;
}

/* Another process, and a reader with an older snapshot, find what is committed; not more. */
static void readers_have_their_snapshot(void **state)
{
    struct kit        *kit = *state, reader;
    struct people_txn *view;
    struct uuid        old = kit_uuid(10), new = kit_uuid(1010);
    struct err         err = { 0 };
    uint64_t           place;

    add_many(kit, 0, 1000, DAY);
    reader = *kit; /* as another process would: the same folder, opened for itself; LMDB allows one open a process */
    view = kit_begin(&reader, false);
    (void)kit_add(kit, 1000, 50, DAY, true);
    assert_int_equal(people_seen_find(view, kit_project(10), &old, &place, &err), 1);
    assert_int_equal(people_seen_find(view, kit_project(1010), &new, &place, &err), 0);
    add_many(kit, 2000, 1000, DAY); /* merges away what the view lists */
    assert_int_equal(people_seen_find(view, kit_project(10), &old, &place, &err), 1);
    assert_int_equal(people_seen_find(view, kit_project(1010), &new, &place, &err), 0);
    people_abort(view);
    assert_int_equal(kit_find(kit, 1010, false), 3031);
}

int main(void)
{
#define KIT(test) cmocka_unit_test_setup_teardown(test, kit_make, kit_drop)
    const struct CMUnitTest tests[] = {
        KIT(repeated_across_files_and_restarts),
        KIT(projects_are_apart),
        KIT(first_wins_within_a_transaction),
        KIT(window),
        KIT(forgetting),
        KIT(aborts),
        KIT(older_store),
        KIT(format_is_raised),
        KIT(garbage_is_deleted),
        cmocka_unit_test(damage_is_told_and_mended),
        KIT(missing_file),
        KIT(synced_before_listed),
        cmocka_unit_test(every_call_fails_once),
        KIT(readers_have_their_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
