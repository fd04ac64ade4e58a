/* base/note_test.c - what a process leaves for the next one, and whether the one above both of them has changed. */
#include "base/note_test_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/note.h"

struct word {
    struct note_starter starter;
    uint64_t            lives, outlived; /* how many roles there were, and before how many of them the server had lived on */
};

static char folder[64];

static int folder_make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-note-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int folder_drop(void **state)
{
    char path[96];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/note", folder);
    (void)unlink(path);
    return rmdir(folder);
}

static struct word *word_map(size_t bytes)
{
    struct err   err = { 0 };
    struct word *word = note_map(folder, "note", bytes, &err);

    if (word == NULL)
        fail_msg("%s", err.text);
    return word;
}

static void live(void *ctx)
{
    struct word *word = word_map(sizeof *word);

    (void)ctx;
    word->outlived += note_starter_outlived(&word->starter);
    word->lives++; /* and it ends without unmapping anything, as by a kill */
}

static void what_stands_in_it_stays(void **state)
{
    struct word *word;

    (void)state;
    kit_serve(3, live, NULL);
    word = word_map(sizeof *word);
    assert_int_equal(word->lives, 3);
    munmap(word, sizeof *word);
    word = word_map(sizeof *word + 4096); /* a later Penstock asks for more: zeros */
    assert_int_equal(word->lives, 3);
    assert_int_equal(((const uint8_t *)(word + 1))[4095], 0);
    munmap(word, sizeof *word + 4096);
}

static void a_server_outlives_its_roles_until_it_is_killed(void **state)
{
    static const struct { unsigned roles; uint64_t lives, outlived; } rows[] = {
        { 1, 1, 1 }, /* nobody was noted yet */
        { 1, 2, 1 }, /* another server: it was killed with its role */
        { 3, 5, 3 }, /* a third one, whose role then dies twice by itself */
        { 1, 6, 3 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct word *word;

        kit_serve(rows[i].roles, live, NULL);
        word = word_map(sizeof *word);
        if (word->lives != rows[i].lives || word->outlived != rows[i].outlived)
            fail_msg("row %zu: %d lives, %d outlived", i, (int)word->lives, (int)word->outlived);
        munmap(word, sizeof *word);
    }
}

/* In a container each server is process 1. */
static void a_pid_that_is_used_again_is_another_server(void **state)
{
    struct note_starter noted = { 0 }, unknown;

    (void)state;
    assert_true(note_starter_outlived(&noted));
    assert_true(noted.pid == (uint64_t)getppid() && noted.birth != 0);
    assert_true(note_starter_outlived(&noted));
    noted.birth += 2; /* a tick of the clock later */
    assert_false(note_starter_outlived(&noted));
    assert_true(note_starter_outlived(&noted)); /* and from then on it is this one */
    noted.pid++;
    assert_false(note_starter_outlived(&noted));
    unknown = (struct note_starter){ .pid = noted.pid }; /* as older files have it */
    assert_true(note_starter_outlived(&unknown));
    assert_true(unknown.birth == noted.birth);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_drop)
    const struct CMUnitTest tests[] = {
        TEST(what_stands_in_it_stays),
        TEST(a_server_outlives_its_roles_until_it_is_killed),
        TEST(a_pid_that_is_used_again_is_another_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
