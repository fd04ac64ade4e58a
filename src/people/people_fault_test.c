/* people/people_fault_test.c - the store of people over full maps, full disks, damage, crashes and other processes. */
#include "people/people_test_kit.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char large[100000];

/* Writes persons until the store says no; gives how many it took. */
static int fill(struct people *people, struct err *err)
{
    struct people_txn *txn = must_begin(people, true);
    struct person person = { .project = 7, .properties = span_of(large, sizeof large) };
    int count = 0;

    for (;; count++) {
        person.id = 0;
        person.uuid = uuid_of((unsigned)count);
        if (people_person_put(txn, &person, err) < 0)
            break;
        assert_true(count < 1000);
    }
    people_abort(txn);
    return count;
}

static void full_map_is_an_answer(void **state)
{
    struct place *place = *state;
    struct people *people;
    struct people_txn *txn;
    struct person person = { .project = 7, .uuid = uuid_of(1), .properties = SPAN("{}") };
    struct err err = { 0 };
    int first;

    memset(large, ' ', sizeof large);
    place->options.map_bytes_max = 4 << 20;
    people = must_open(place);
    txn = must_begin(people, true);
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    first = fill(people, &err);
    assert_true(first > 20 && first < 42);
    assert_int_equal(err.kind, ERR_FULL);
    for (int i = 0; i < 5; i++) /* nothing of it remains: as many fit again, for ever */
        assert_int_equal(fill(people, &err), first);
    txn = must_begin(people, true);
    assert_int_equal(people_person_get(txn, 1, &person, &err), 1);
    assert_int_equal(people_person_get(txn, 2, &person, &err), 0);
    person = (struct person){ .project = 7, .uuid = uuid_of(2), .properties = SPAN("{}") };
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    people_close(people);

    place->options.map_bytes_max = 16 << 20; /* given more, it takes more */
    people = must_open(place);
    assert_true(fill(people, &err) > 2 * first);
    people_close(people);
}

/* The file may not grow, as on a full disk: the commit fails, nothing of it remains, and with room it goes on. */
static void full_disk_is_an_answer(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct person person = { .project = 7, .uuid = uuid_of(1), .properties = SPAN("{}") };
    struct rlimit was, small = { 1 << 18, RLIM_INFINITY };
    struct err err = { 0 };

    memset(large, ' ', sizeof large);
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    small.rlim_max = was.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    txn = must_begin(people, true);
    for (int i = 0; i < 10; i++) {
        person = (struct person){ .project = 7, .uuid = uuid_of(2), .properties = span_of(large, sizeof large) };
        MUST(people_person_put(txn, &person, &err));
    }
    assert_int_equal(people_commit(txn, &err), -1);
    assert_true(err.kind == ERR_FULL || err.kind == ERR_STOP); /* LMDB calls a write that was cut short EIO */
    txn = must_begin(people, false);
    assert_int_equal(people_person_get(txn, 1, &person, &err), 1);
    assert_int_equal(people_person_get(txn, 2, &person, &err), 0);
    people_abort(txn);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    txn = must_begin(people, true);
    person = (struct person){ .project = 7, .uuid = uuid_of(2), .properties = span_of(large, sizeof large) };
    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    people_close(people);
}

/* A bit that fell over in a value is told, never believed. */
static void damage_is_told(void **state)
{
    static const char mark[] = "{\"find\":\"this mark\"}";
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct person person = { .project = 7, .uuid = uuid_of(1), .properties = span_text(mark) };
    struct err err = { 0 };
    char path[96], *bytes;
    long size;
    FILE *file;
    unsigned hits = 0;

    MUST(people_person_put(txn, &person, &err));
    MUST(people_commit(txn, &err));
    people_close(people);
    (void)snprintf(path, sizeof path, "%s/data.mdb", place->folder);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    bytes = malloc((size_t)size);
    rewind(file);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), mark, sizeof mark - 1)) != NULL;
         at++, hits++) {
        assert_int_equal(fseek(file, at - bytes + 3, SEEK_SET), 0);
        assert_int_equal(fputc(at[3] ^ 4, file), at[3] ^ 4);
    }
    assert_int_equal(hits, 1);
    (void)fclose(file);
    free(bytes);
    people = must_open(place);
    txn = must_begin(people, false);
    assert_int_equal(people_person_get(txn, 1, &person, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    people_abort(txn);
    people_close(people);
}

enum { SLOTS = 50, SLOTS_A_BATCH = 20 };

/* Batch `n` of the crash test: rewrites some persons, moves a link, notes an id, and its place, all at once. */
static void crash_batch(struct people *people, uint64_t n)
{
    struct people_txn *txn = must_begin(people, true);
    struct people_place at;
    struct people_seen seen = { .project = 7, .uuid = uuid_of((unsigned)n) };
    struct person person;
    struct err err = { 0 };
    char text[3000], id[20];

    MUST(people_place_get(txn, &at, &err));
    assert_int_equal(at.input_next[0], n);
    for (unsigned i = 0; i < SLOTS_A_BATCH; i++) {
        unsigned slot = (unsigned)(n * 7 + i) % SLOTS;
        int bytes = snprintf(text, sizeof text, "{\"n\":%llu,\"pad\":\"%*s\"}", (unsigned long long)n,
                             (int)(n * 37 % 2500), "");

        person = (struct person){ .id = slot + 1,
                                  .project = 7,
                                  .uuid = uuid_of(slot),
                                  .version = n,
                                  .properties = span_of(text, (size_t)bytes) };
        MUST(people_person_put(txn, &person, &err));
    }
    MUST(people_link_put(txn, 7, span_of(id, (size_t)snprintf(id, sizeof id, "id%llu", (unsigned long long)n % 10)),
                         &(struct person_link){ n * 7 % SLOTS + 1, n }, &err));
    MUST(people_seen_add(txn, &seen, 1, 20000, &err));
    assert_false(seen.repeated);
    at.input_next[0] = n + 1;
    MUST(people_place_put(txn, &at, &err));
    MUST(people_commit(txn, &err));
}

/* The state must be that of exactly the batches before `place`. */
static uint64_t crash_check(struct people *people)
{
    struct people_txn *txn = must_begin(people, true);
    struct people_place at;
    struct person person;
    struct person_link link;
    struct err err = { 0 };
    uint64_t last[SLOTS] = { 0 }, last_link[10] = { 0 };
    bool touched[SLOTS] = { false }, linked[10] = { false };
    char id[20];

    MUST(people_place_get(txn, &at, &err));
    for (uint64_t n = 0; n < at.input_next[0]; n++) {
        for (unsigned i = 0; i < SLOTS_A_BATCH; i++) {
            last[(n * 7 + i) % SLOTS] = n;
            touched[(n * 7 + i) % SLOTS] = true;
        }
        last_link[n % 10] = n;
        linked[n % 10] = true;
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        assert_int_equal(people_person_get(txn, slot + 1, &person, &err), touched[slot]);
        assert_true(!touched[slot] || person.version == last[slot]);
    }
    for (unsigned i = 0; i < 10; i++) {
        struct span text = span_of(id, (size_t)snprintf(id, sizeof id, "id%u", i));

        assert_int_equal(people_link_get(txn, 7, text, &link, &err), linked[i]);
        assert_true(!linked[i] || (link.version == last_link[i] && link.person == last_link[i] * 7 % SLOTS + 1));
    }
    for (uint64_t n = at.input_next[0] > 30 ? at.input_next[0] - 30 : 0; n < at.input_next[0] + 3; n++) {
        struct people_seen seen = { .project = 7, .uuid = uuid_of((unsigned)n) };

        MUST(people_seen_add(txn, &seen, 1, 20000, &err));
        assert_int_equal(seen.repeated, n < at.input_next[0]);
    }
    people_abort(txn);
    return at.input_next[0];
}

static bool answered(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    char byte;

    return poll(&wait, 1, 60000) == 1 && read(fd, &byte, 1) == 1;
}

static void killed_at_any_moment(void **state)
{
    enum { KILLS = 100 };
    struct place *place = *state;
    struct people *people;
    uint64_t before = 0, after = 0;
    unsigned random = 12345;
    int status, moved = 0, told[2];

    for (int i = 0; i < KILLS; i++) {
        pid_t child;

        assert_int_equal(pipe(told), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            people = must_open(place);
            for (uint64_t n = before;; n++) {
                crash_batch(people, n);
                if (n == before && write(told[1], "c", 1) != 1)
                    _exit(1);
            }
        }
        (void)close(told[1]);
        if (i % 2 == 0) /* while it opens, or at its first commits, as this machine is; else behind the first */
            assert_true(answered(told[0]));
        random = random * 1103515245 + 12345;
        (void)usleep(3000 + (random >> 16) % 30000);
        (void)close(told[0]);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        people = must_open(place);
        after = crash_check(people);
        people_close(people);
        assert_true(after >= before);
        moved += after > before;
        before = after;
    }
    assert_true(moved >= KILLS / 2);
}

/* Another process opens and reads while the writer is in the middle of its transaction. */
static void readers_do_not_wait(void **state)
{
    struct place *place = *state;
    struct people *people = must_open(place);
    struct people_txn *txn = must_begin(people, true);
    struct people_place at = { .input_next = { 1 } };
    struct err err = { 0 };
    int down[2], up[2], status;
    char byte;
    pid_t child;

    MUST(people_place_put(txn, &at, &err));
    MUST(people_commit(txn, &err));
    people_close(people); /* no open store goes over a fork */
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint64_t want = 1;

        (void)close(up[0]);
        (void)close(down[1]);
        while (read(down[0], &byte, 1) == 1 && byte != 'q') {
            struct people *mine = must_open(place);
            struct people_txn *view = must_begin(mine, false);

            if (people_place_get(view, &at, &err) < 0 || at.input_next[0] != want || write(up[1], "k", 1) != 1)
                _exit(1);
            /* The view stands still while the writer commits. */
            if (read(down[0], &byte, 1) != 1 || people_place_get(view, &at, &err) < 0 || at.input_next[0] != want)
                _exit(2);
            people_abort(view);
            people_close(mine);
            want++;
            if (write(up[1], "k", 1) != 1)
                _exit(3);
        }
        _exit(0);
    }
    people = must_open(place);
    for (at.input_next[0] = 2; at.input_next[0] < 6; at.input_next[0]++) {
        txn = must_begin(people, true);
        MUST(people_place_put(txn, &at, &err));
        assert_int_equal(write(down[1], "r", 1), 1);
        assert_true(answered(up[0])); /* a reader that waits for us would never answer */
        MUST(people_commit(txn, &err));
        assert_int_equal(write(down[1], "r", 1), 1);
        assert_true(answered(up[0]));
    }
    assert_int_equal(write(down[1], "q", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    people_close(people);
    for (int i = 0; i < 2; i++) {
        (void)close(down[i]);
        (void)close(up[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(full_map_is_an_answer),
        PLACED(full_disk_is_an_answer),
        PLACED(damage_is_told),
        PLACED(killed_at_any_moment),
        PLACED(readers_do_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
