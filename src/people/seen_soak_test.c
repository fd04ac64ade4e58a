/* people/seen_soak_test.c - many ids over many days, some of them sent again: none twice, none dropped for nothing.
 *
 * Ids come in batches through 45 faked days. One to ten in a hundred are repeats of an id of some seconds to 28 days
 * before; now and then the store is closed and opened, or a batch is aborted and comes again. The n-th id and its day
 * follow from n, so the check needs no memory of its own. A repeat of an id of more than 28 days ago is a new id again
 * and is asked for in transactions that are aborted. The last line has what it cost.
 * usage: seen_soak_test [IDS [SEED]] */
#include "people/seen_test_kit.h"

#include <dirent.h>
#include <time.h>

#include "base/clock.h"

enum { DAY = 20000, DAYS = 45, BATCH_MAX = 10000, SLICE = 32 };

static uint64_t ids_total = 200000, seed_base = 1;

struct tally {
    uint64_t batches, aborted, restarts, repeats, doubles, false_drops, expired_asked;
    double   memory_mb; /* the largest */
    uint64_t disk_bytes;
    int64_t  cpu_ns;
};

static int64_t process_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double anonymous_mb(void)
{
    char  line[200];
    long  kb = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtol(line + 8, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return (double)kb / 1024;
}

static uint64_t disk_bytes_found;

static int add_size(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)path, (void)at;
    disk_bytes_found += kind == FTW_F ? (uint64_t)stat->st_blocks * 512 : 0;
    return 0;
}

static uint64_t disk_bytes(const struct kit *kit)
{
    disk_bytes_found = 0;
    (void)nftw(kit->folder, add_size, 8, FTW_PHYS);
    return disk_bytes_found;
}

static int day_of(uint64_t n)
{
    return DAY + (int)(n * DAYS / ids_total);
}

/* The first id of a day. */
static uint64_t day_begins(int day)
{
    return day <= DAY ? 0 : ((uint64_t)(day - DAY) * ids_total + DAYS - 1) / DAYS;
}

/* The ids of a batch: new ones from `from` on, and repeats among them. How many new ones; what must be said of each. */
static size_t fill(struct people_seen *ids, bool *expected, size_t count, uint64_t from, unsigned share, uint64_t *random)
{
    size_t fresh = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t n = from + fresh, dice = kit_random(random);

        expected[i] = n > day_begins(day_of(from) - PEOPLE_SEEN_DAYS) && dice % 100 < share;
        if (!expected[i]) {
            fresh++;
        } else {
            uint64_t most = n - day_begins(day_of(from) - PEOPLE_SEEN_DAYS);

            n -= 1 + kit_random(random) % ((dice >> 8) % 2 == 0 ? most : most / 1000 + 1);
        }
        ids[i] = kit_id(n);
    }
    return fresh;
}

static void one_batch(struct kit *kit, uint64_t *done, uint64_t *random, struct tally *tally)
{
    static struct people_seen ids[BATCH_MAX];
    static bool               expected[BATCH_MAX];
    size_t                    count = kit_random(random) % 3 == 0 ? 1 + kit_random(random) % 200 : BATCH_MAX / 2 + kit_random(random) % (BATCH_MAX / 2);
    int                       today = day_of(*done);
    uint64_t                  left = day_begins(today + 1) - *done; /* a batch is of one day */
    size_t                    fresh;
    bool                      abort = kit_random(random) % 20 == 0;
    struct people_txn        *txn;
    struct err                err = { 0 };
    int64_t                   from_ns;

    count = count > left ? (size_t)left : count;
    fresh = fill(ids, expected, count, *done, (unsigned)(1 + kit_random(random) % 10), random);
    from_ns = process_ns();
    txn = kit_begin(kit, true);
    for (size_t i = 0; i < count; i += SLICE)
        MUST(people_seen_add(txn, ids + i, count - i < SLICE ? count - i : SLICE, today, &err));
    if (abort)
        people_abort(txn);
    else
        MUST(people_commit(txn, &err));
    tally->cpu_ns += process_ns() - from_ns;
    for (size_t i = 0; i < count; i++) {
        tally->repeats += expected[i];
        tally->doubles += expected[i] && !ids[i].repeated;
        tally->false_drops += !expected[i] && ids[i].repeated;
    }
    tally->batches++;
    tally->aborted += abort;
    if (!abort)
        *done += fresh;
}

/* What is over is new again: asked, not noted. */
static void ask_expired(struct kit *kit, uint64_t done, uint64_t *random, struct tally *tally)
{
    uint64_t           over = ids_total / DAYS * (PEOPLE_SEEN_DAYS + 3);
    struct people_txn *txn;
    struct people_seen ids[200];
    struct err         err = { 0 };

    if (done <= over)
        return;
    for (size_t i = 0; i < 200; i++)
        ids[i] = kit_id(kit_random(random) % (done - over));
    txn = kit_begin(kit, true);
    for (size_t i = 0; i < 200; i++) {
        MUST(people_seen_add(txn, &ids[i], 1, day_of(done), &err));
        for (size_t k = 0; k < i && ids[i].repeated; k++) /* twice the same at random */
            ids[i].repeated = !uuid_equal(&ids[k].uuid, &ids[i].uuid);
        tally->false_drops += ids[i].repeated;
    }
    people_abort(txn);
    tally->expired_asked += 200;
}

static void soak(void **state)
{
    struct kit  *kit = *state;
    struct tally tally = { 0 };
    uint64_t     random = seed_base, done = 0, restart_every = ids_total / 40 + 1, restart_at = restart_every;

    kit->recent_max = ids_total >= 5000000 ? 0 : 5000; /* the true one, when there is enough to fill it */
    kit_again(kit);
    while (done < ids_total) {
        one_batch(kit, &done, &random, &tally);
        if (done >= restart_at) {
            double   memory_mb = anonymous_mb();
            uint64_t bytes = disk_bytes(kit);

            ask_expired(kit, done, &random, &tally);
            tally.memory_mb = memory_mb > tally.memory_mb ? memory_mb : tally.memory_mb;
            tally.disk_bytes = bytes > tally.disk_bytes ? bytes : tally.disk_bytes;
            kit_again(kit);
            tally.restarts++;
            restart_at += restart_every / 2 + kit_random(&random) % restart_every;
        }
    }
    kit_settle(kit, day_of(done - 1));
    kit_again(kit);
    (void)kit_add(kit, 0, 0, day_of(done - 1), true);
    printf("%llu batches, %llu aborted, %llu forgotten ids asked for, largest folder %.0f MB\n", (unsigned long long)tally.batches,
           (unsigned long long)tally.aborted, (unsigned long long)tally.expired_asked, (double)tally.disk_bytes / 1e6);
    printf("result: %llu ids, %llu repeats, %llu restarts: %llu doubles, %llu false drops; %.0f MB anonymous, %.1f bytes of disk an id, "
           "%.2f us of CPU an id\n", (unsigned long long)done, (unsigned long long)tally.repeats, (unsigned long long)tally.restarts,
           (unsigned long long)tally.doubles, (unsigned long long)tally.false_drops, tally.memory_mb,
           (double)disk_bytes(kit) / (double)(kit_stats(kit).recent + kit_stats(kit).run_ids),
           (double)tally.cpu_ns / 1000 / (double)(done + tally.repeats));
    assert_int_equal(tally.doubles, 0);
    assert_int_equal(tally.false_drops, 0);
    assert_int_equal(kit_stats(kit).lost, 0);
    assert_true(tally.memory_mb < 256);
}

/* On the disk that builds are on, not in memory. */
static int make(void **state)
{
    struct kit *kit = calloc(1, sizeof *kit);

    (void)snprintf(kit->folder, sizeof kit->folder, "/tmp/penstock_seen_soak_XXXXXX");
    if (mkdtemp(kit->folder) == NULL)
        return -1;
    kit_open(kit);
    *state = kit;
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(soak, make, kit_drop) };

    ids_total = argc > 1 ? strtoull(argv[1], NULL, 10) : ids_total;
    ids_total = ids_total < 50000 ? 50000 : ids_total;
    seed_base = argc > 2 ? strtoull(argv[2], NULL, 10) : seed_base;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
