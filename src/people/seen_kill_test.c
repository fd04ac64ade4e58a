/* people/seen_kill_test.c - SIGKILL of the writer while ids are added, files made, merged and deleted.
 *
 * A child adds batches, the n-th batch holding ids that follow from n, and keeps n with ingest's place in the same
 * transaction; it dies at a random moment, or exactly before or after its n-th file call that changes something. Then
 * every id of a committed batch is found, with its place, and none of the next batch is.
 * usage: seen_kill_test [KILLS [SEED]] */
#include "people/seen_test_kit.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/say.h"

enum { BATCH = 30, DAY = 20000, BATCHES_A_DAY = 400, LOOKED_BACK = 300 };

static unsigned long kills = 60, seed_base = 1;

struct fuse {
    long left; /* calls until the end; negative: never */
    bool after;
};

static bool burnt(struct fuse *fuse, const struct io_call *call)
{
    return call->op != IO_PREAD && call->op != IO_MMAP && call->op != IO_SPACE &&
           __atomic_sub_fetch(&fuse->left, 1, __ATOMIC_RELAXED) == 0;
}

static int fuse_before(void *ctx, struct io_call *call)
{
    struct fuse *fuse = ctx;

    if (!fuse->after && burnt(fuse, call))
        (void)kill(getpid(), SIGKILL);
    return 0;
}

static void fuse_after(void *ctx, const struct io_call *call, int64_t result)
{
    struct fuse *fuse = ctx;

    (void)result;
    if (fuse->after && burnt(fuse, call))
        (void)kill(getpid(), SIGKILL);
}

static int day_of(uint64_t batch)
{
    return DAY + (int)(batch / BATCHES_A_DAY);
}

/* Whether the answer was what it must be: all of them are new. */
static bool add_batch(struct people *people, uint64_t n)
{
    struct people_txn  *txn;
    struct people_place at;
    struct people_seen  ids[BATCH];
    struct err          err;

    if (people_begin(people, true, &txn, &err) < 0 || people_place_get(txn, &at, &err) < 0)
        return false;
    for (uint64_t i = 0; i < BATCH; i++)
        ids[i] = kit_id(n * BATCH + i);
    if (people_seen_add(txn, ids, BATCH, day_of(n), &err) < 0)
        return false;
    for (size_t i = 0; i < BATCH; i++)
        if (ids[i].repeated)
            return false;
    at.counters[0] = n + 1;
    return people_place_put(txn, &at, &err) == 0 && people_commit(txn, &err) == 0;
}

static uint64_t batches_of(struct kit *kit)
{
    struct people_txn  *txn = kit_begin(kit, false);
    struct people_place at;
    struct err          err = { 0 };

    MUST(people_place_get(txn, &at, &err));
    people_abort(txn);
    return at.counters[0];
}

static void child(struct kit *kit, uint64_t random)
{
    struct fuse    fuse = { .left = -1, .after = random % 2 == 0 };
    struct io_hook hook = { fuse_before, fuse_after, &fuse };
    uint64_t       n;

    if (random % 3 != 0)
        fuse.left = (long)(random / 8 % 400) + 1;
    io_hook_set(&hook);
    kit_open(kit);
    for (n = batches_of(kit);; n++) {
        if (!add_batch(kit->people, n))
            _exit(1);
        if (kit_random(&random) % 4 == 0)
            seen_settle(kit->people);
    }
}

static void check(struct kit *kit, uint64_t batches)
{
    uint64_t from = batches > LOOKED_BACK ? batches - LOOKED_BACK : 0;
    uint64_t count = (batches - from) * BATCH;

    assert_int_equal(kit_add(kit, from * BATCH, count, day_of(batches), false), count);
    assert_int_equal(kit_add(kit, batches * BATCH, 3 * BATCH, day_of(batches), false), 0);
    for (uint64_t n = from * BATCH; n < batches * BATCH; n += 997)
        assert_int_equal(kit_find(kit, n, n % 2 == 0), n * 3 + 1);
}

static void committed_ids_are_found(void **state)
{
    struct kit   *kit = *state;
    uint64_t      before = 0, random = seed_base;
    unsigned long moved = 0;

    kit->recent_max = 150;
    kit_close(kit);
    for (unsigned long i = 0; i < kills; i++) {
        uint64_t own = kit_random(&random);
        uint64_t batches;
        int      status;
        pid_t    pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
            child(kit, own);
        if (own % 3 == 0) {
            (void)usleep((useconds_t)(2000 + own / 8 % 40000));
            assert_int_equal(kill(pid, SIGKILL), 0);
        }
        for (int waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited++) {
            (void)usleep(500);
            if (waited == 120000)
                (void)kill(pid, SIGKILL); /* the fuse was longer than the day */
        }
        if (!WIFSIGNALED(status))
            fail_msg("kill %lu: the child said that an answer was wrong", i);
        kit_open(kit);
        batches = batches_of(kit);
        assert_true(batches >= before);
        check(kit, batches);
        moved += batches > before;
        before = batches;
        kit_close(kit);
    }
    kit_open(kit);
    assert_true(moved > kills / 4);
    printf("result: %lu kills, %llu batches of %d ids\n", kills, (unsigned long long)before, BATCH);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(committed_ids_are_found, kit_make, kit_drop) };

    say_init("seen_kill_test", SAY_ERROR);
    kills = argc > 1 ? strtoul(argv[1], NULL, 10) : kills;
    seed_base = argc > 2 ? strtoul(argv[2], NULL, 10) : seed_base;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
