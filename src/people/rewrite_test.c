/* people/rewrite_test.c - the store written anew: the same entries, no byte of who went, over kills and beside readers. */
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "people/lmdb.h"
#include "people/operate.h"
#include "people/rewrite.h"

enum { PERSONS = 3000, ERASED_EVERY = 7 };

#define MUST(call)                            \
    do {                                      \
        if ((call) < 0)                       \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static char                  folder[64];
static struct people_options options;
static struct err            err;

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

static int folder_make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/penstock_rewrite_XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    options = (struct people_options){ .folder = folder, .map_bytes_max = (uint64_t)1 << 30 };
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int folder_drop(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct span id_of(char to[64], int n)
{
    return span_of(to, (size_t)snprintf(to, 64, "%s-%05d@example.com", n % ERASED_EVERY == 0 ? "canary" : "keeper", n));
}

static int row_ignore(void *ctx, const struct row *row, struct err *why)
{
    (void)ctx, (void)row, (void)why;
    return 0;
}

/* Persons whose ids and properties tell who is to be erased, in batches, so that pages are split and freed; then they go. */
static void fill(void)
{
    struct people         *people;
    struct people_txn     *txn;
    struct people_operated operated;
    char                   id[64], text[400];

    MUST(people_open(&options, &people, &err));
    for (int n = 0; n < PERSONS;) {
        MUST(people_begin(people, true, &txn, &err));
        for (int i = 0; i < 100; i++, n++) {
            struct person      person = { .project = 1, .created_us = n, .version = 1 };
            struct person_link link = { .version = 1 };
            struct people_seen seen = { .project = 1, .uuid = { .bytes = { 1, (uint8_t)n, (uint8_t)(n >> 8) } } };

            person.uuid.bytes[0] = (uint8_t)n;
            person.uuid.bytes[1] = (uint8_t)(n >> 8);
            person.properties = span_of(text, (size_t)snprintf(text, sizeof text, "{\"name\":\"%.*s\",\"more\":\"%0*d\"}",
                                                               SPAN_ARG(id_of(id, n)), n % 300 + 1, n));
            MUST(people_person_put(txn, &person, &err));
            link.person = person.id;
            MUST(people_link_put(txn, 1, id_of(id, n), &link, &err));
            MUST(people_seen_add(txn, &seen, 1, 20000, &err));
        }
        MUST(people_commit(txn, &err));
    }
    for (int n = 0; n < PERSONS; n += ERASED_EVERY) {
        MUST(people_begin(people, true, &txn, &err));
        assert_int_equal(people_delete(txn, 1, id_of(id, n), (uint64_t)n + 1, row_ignore, NULL, &operated, &err), 1);
        MUST(people_commit(txn, &err));
    }
    MUST(people_begin(people, true, &txn, &err));
    MUST(people_erasing_end(txn, PERSONS + 1, &err));
    MUST(people_place_put(txn, &(struct people_place){ .input_next = { 4711 } }, &err));
    MUST(people_commit(txn, &err));
    people_close(people);
}

/* A sum over every entry of every table, but for the note that it is to be written anew. */
static uint64_t sum_of(struct people *people)
{
    struct people_txn *txn;
    uint64_t           sum = 14695981039346656037u;

    MUST(people_begin(people, false, &txn, &err));
    for (int i = 0; i < TABLE_COUNT; i++) {
        MDB_cursor *cursor = people_cursor(txn, (enum people_table)i, &err);
        MDB_val     part[2];

        while (mdb_cursor_get(cursor, &part[0], &part[1], MDB_NEXT) == 0) {
            if (i == TABLE_META && part[0].mv_size == 7 && memcmp(part[0].mv_data, "rewrite", 7) == 0)
                continue;
            for (int k = 0; k < 2; k++)
                for (size_t at = 0; at < part[k].mv_size; at++)
                    sum = (sum ^ ((const uint8_t *)part[k].mv_data)[at] ^ (uint64_t)(i + k * 64) << 8) * 1099511628211u;
        }
    }
    people_abort(txn);
    return sum;
}

static uint64_t stored_sum(bool *wanted_out)
{
    struct people *people;
    uint64_t       sum;

    MUST(people_open(&options, &people, &err));
    sum = sum_of(people);
    MUST(people_rewrite_wanted(people, wanted_out, &err));
    people_close(people);
    return sum;
}

static size_t found, files;
static const char *wanted_text;

static int look_into(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    FILE  *file = kind == FTW_F ? fopen(path, "r") : NULL;
    char  *bytes;
    size_t length = strlen(wanted_text);

    (void)at;
    if (file == NULL)
        return 0;
    bytes = malloc((size_t)stat->st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)stat->st_size, file), stat->st_size);
    (void)fclose(file);
    for (char *next = bytes; (next = memmem(next, (size_t)(bytes + stat->st_size - next), wanted_text, length)) != NULL; next++)
        found++;
    free(bytes);
    files++;
    return 0;
}

static size_t count_text(const char *text)
{
    found = files = 0;
    wanted_text = text;
    assert_int_equal(nftw(folder, look_into, 8, FTW_PHYS), 0);
    return found;
}

static void nothing_is_left(void **state)
{
    uint64_t before;
    bool     wanted;

    (void)state;
    fill();
    before = stored_sum(&wanted);
    assert_true(wanted);
    assert_true(count_text("canary") > 100); /* they can be found */
    for (int i = 0; i < 2; i++) {
        MUST(people_rewrite(&options, &err));
        assert_int_equal(stored_sum(&wanted), before);
        assert_false(wanted);
        assert_int_equal(count_text("canary"), 0);
        assert_true(count_text("keeper") >= 2 * (PERSONS - PERSONS / ERASED_EVERY - 1));
        assert_int_equal(files, 2); /* the store and its lock: no leftovers */
    }
}

/* Who began to read before reads to the end; who comes after that gets the new file. */
static void readers_beside(void **state)
{
    struct people     *people;
    struct people_txn *txn;
    struct person_link link;
    uint64_t           before;
    char               id[64];
    int                status;

    (void)state;
    fill();
    MUST(people_open(&options, &people, &err));
    before = sum_of(people);
    MUST(people_begin(people, false, &txn, &err));
    if (fork() == 0) /* another process: an environment is opened once in each */
        _exit(people_rewrite(&options, &err) < 0);
    assert_true(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(people_link_get(txn, 1, id_of(id, 1), &link, &err), 1);
    people_abort(txn);
    assert_int_equal(sum_of(people), before);
    people_close(people);
    assert_int_equal(stored_sum(&(bool){ false }), before);
    assert_int_equal(count_text("canary"), 0);
}

static int left;

static int nth_is_last(void *ctx, struct io_call *call)
{
    (void)ctx, (void)call;
    if (--left == 0)
        (void)raise(SIGKILL);
    return 0;
}

/* Killed anywhere in the copy, and before each call that gives names. */
static void killed_at_any_moment(void **state)
{
    enum { KILLS = 60 };
    uint64_t before, random = 88172645463325252u;
    bool     wanted;
    int      done = 0, status;

    (void)state;
    fill();
    before = stored_sum(&wanted);
    for (int i = 0; i < KILLS; i++) {
        pid_t child = fork();

        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        if (child == 0) {
            const struct io_hook hook = { .before = nth_is_last };

            left = i % 2 == 0 ? i / 2 % 8 + 1 : 0;
            io_hook_set(&hook);
            _exit(people_rewrite(&options, &err) < 0);
        }
        if (i % 2 != 0) {
            (void)usleep((useconds_t)(random % 20000));
            (void)kill(child, SIGKILL);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        MUST(people_rewrite_clean(folder, &err));
        assert_int_equal(stored_sum(&wanted), before);
        assert_true(wanted || count_text("canary") == 0);
        if (!wanted) { /* begin again with somebody to erase, in a store that was written anew before */
            done++;
            (void)folder_drop(NULL);
            (void)mkdir(folder, 0700);
            fill();
            before = stored_sum(&wanted);
        }
    }
    assert_true(done > KILLS / 10 && done < KILLS);
}

/* Event ids in the table and in files beside the store: both are found, and taken for repeats, by those who open the new file. */
static void event_ids_are_known_after(void **state)
{
    struct people           *people;
    struct people_txn       *txn;
    struct people_seen_stats stats;
    uint64_t                 place;

    (void)state;
    options.seen_recent_max = PERSONS / 10;
    fill();
    for (int i = 0; i < 2; i++) {
        MUST(people_rewrite(&options, &err));
        MUST(people_open(&options, &people, &err));
        MUST(people_seen_load(people, &err));
        people_seen_stats(people, &stats);
        assert_true(stats.runs > 0 && stats.run_ids > 0 && stats.recent > 0 && stats.lost == 0);
        MUST(people_begin(people, true, &txn, &err));
        for (int n = 0; n < PERSONS; n++) {
            struct people_seen seen = { .project = 1, .uuid = { .bytes = { 1, (uint8_t)n, (uint8_t)(n >> 8) } } };

            assert_int_equal(people_seen_find(txn, 1, &seen.uuid, &place, &err), 1);
            MUST(people_seen_add(txn, &seen, 1, 20000, &err));
            assert_true(seen.repeated);
        }
        MUST(people_commit(txn, &err));
        people_close(people);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_left, folder_make, folder_drop),
        cmocka_unit_test_setup_teardown(readers_beside, folder_make, folder_drop),
        cmocka_unit_test_setup_teardown(killed_at_any_moment, folder_make, folder_drop),
        cmocka_unit_test_setup_teardown(event_ids_are_known_after, folder_make, folder_drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
