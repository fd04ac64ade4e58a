/* people/seen_model_test.c - random histories of the seen ids against a plain array of days.
 *
 * Batches with repeats inside and across them, aborts, restarts, days that pass (and now and then go back by two),
 * file calls that fail, jobs that are waited for or not; tiny limits, so that files come and go all the while. Every
 * answer must be the array's. usage: seen_model_test [HISTORIES [SEED]] */
#include "people/seen_test_kit.h"

#include <errno.h>

#include "base/io.h"
#include "base/say.h"

enum { IDS = 4000, STEPS = 150, BATCH_MAX = 300, NEVER = -1000 };

static unsigned long histories = 40, seed_base = 1;

struct model {
    int      day[IDS]; /* of the first sight that counts; NEVER */
    uint64_t place[IDS];
};

struct chance {
    uint64_t random;
    unsigned failing; /* one call in so many; 0: none */
};

static int chance_before(void *ctx, struct io_call *call)
{
    struct chance *chance = ctx;
    uint64_t       random = __atomic_add_fetch(&chance->random, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);

    if (call->op == IO_PREAD) /* what cannot be read is forgotten, by intent (seen_test.c) */
        return 0;
    return chance->failing != 0 && kit_mix(random) % chance->failing == 0 ? EIO : 0;
}

static bool model_knows(const struct model *model, uint64_t n, int today)
{
    return model->day[n] + PEOPLE_SEEN_DAYS >= today;
}

/* One transaction of one to three calls; the model is changed when it was committed. */
static void step(struct kit *kit, struct model *model, int today, uint64_t *random, uint64_t *place)
{
    static struct model after;
    struct people_txn  *txn = kit_begin(kit, true);
    struct people_seen  ids[BATCH_MAX];
    struct err          err = { 0 };
    uint64_t            numbers[BATCH_MAX], near = kit_random(random) % IDS;

    after = *model;
    for (uint64_t calls = kit_random(random) % 3 + 1; calls > 0; calls--) {
        size_t count = kit_random(random) % 4 == 0 ? kit_random(random) % BATCH_MAX : kit_random(random) % 40;

        for (size_t i = 0; i < count; i++) {
            numbers[i] = kit_random(random) % 3 == 0 ? kit_random(random) % IDS : (near + i) % IDS;
            ids[i] = kit_id(numbers[i]);
            ids[i].place = ++*place;
        }
        if (people_seen_add(txn, ids, count, today, &err) < 0) {
            people_abort(txn);
            return;
        }
        for (size_t i = 0; i < count; i++) {
            bool known = model_knows(&after, numbers[i], today);

            if (known != ids[i].repeated)
                fail_msg("id %llu of day %d is %srepeated on day %d", (unsigned long long)numbers[i], after.day[numbers[i]],
                         known ? "not " : "", today);
            if (!known) {
                after.day[numbers[i]] = today;
                after.place[numbers[i]] = ids[i].place;
            }
        }
    }
    if (kit_random(random) % 6 == 0) {
        people_abort(txn);
        return;
    }
    MUST(people_commit(txn, &err));
    *model = after;
}

static void ask(struct kit *kit, const struct model *model, int today, uint64_t *random)
{
    for (int i = 0; i < 8; i++) {
        uint64_t n = kit_random(random) % IDS;
        int64_t  place = kit_find(kit, n, i % 2 == 0);

        if (model->day[n] == NEVER)
            assert_int_equal(place, -1);
        else if (model_knows(model, n, today) || place != -1)
            assert_int_equal(place, model->place[n]);
    }
}

static void history(uint64_t seed)
{
    static struct model model;
    struct chance       chance = { .random = seed };
    struct io_hook      hook = { chance_before, NULL, &chance };
    struct kit         *kit;
    void               *own = NULL;
    uint64_t            random = seed, place = 0;
    int                 latest = 20000;

    assert_int_equal(kit_make(&own), 0);
    kit = own;
    kit->recent_max = 20 + kit_random(&random) % 400;
    kit_again(kit);
    for (int i = 0; i < IDS; i++)
        model.day[i] = NEVER;
    for (int i = 0; i < STEPS; i++) {
        uint64_t dice = kit_random(&random) % 100;
        int      today;

        if (dice < 20)
            latest += (int)(dice % 4);
        if (dice == 99)
            latest += 25;
        today = kit_random(&random) % 8 == 0 ? latest - 2 : latest;
        chance.failing = kit_random(&random) % 10 == 0 ? 3 : 0;
        if (chance.failing > 0) {
            seen_settle(kit->people); /* nor when it comes */
            io_hook_set(&hook);
        }
        step(kit, &model, today, &random, &place);
        if (chance.failing > 0 || kit_random(&random) % 2 == 0)
            seen_settle(kit->people);
        if (chance.failing > 0) /* no thread is in the door when the hook goes */
            io_hook_set(NULL);
        if (lmdb_of(kit->people)->seen != NULL)
            lmdb_of(kit->people)->seen->retry_us = 0;
        if (kit_random(&random) % 12 == 0)
            kit_again(kit);
        if (kit_random(&random) % 5 == 0)
            ask(kit, &model, today, &random);
    }
    (void)kit_drop(&own);
}

static void histories_are_as_the_model(void **state)
{
    (void)state;
    for (unsigned long i = 0; i < histories; i++) {
        if (histories > 100 && i % 100 == 0)
            (void)fprintf(stderr, "history %lu\n", i);
        history(kit_mix(seed_base * 1000003 + i));
    }
    printf("result: %lu histories of %d transactions\n", histories, STEPS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(histories_are_as_the_model) };

    say_init("seen_model_test", SAY_ERROR); /* the failures are ours, and warned of */
    histories = argc > 1 ? strtoul(argv[1], NULL, 10) : histories;
    seed_base = argc > 2 ? strtoul(argv[2], NULL, 10) : seed_base;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
