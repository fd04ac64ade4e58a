/* catalog/catalog_restore_test.c - whatever became of the file, who was known is known again; what can be read is left alone; without an image
 * nothing is guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "catalog/catalog_db.h"
#include "catalog/catalog_image.h"
#include "catalog/catalog_restore.h"

static char  folder[64], path[100], wal[110];
static ino_t image_synced; /* the file that was synced last under the name that a new image has first */

/* Instead of the C library's. */
int fsync(int fd)
{
    struct stat named, file;
    char        fresh[120];

    (void)snprintf(fresh, sizeof fresh, "%s/" CATALOG_IMAGE_FILE ".new", folder);
    if (stat(fresh, &named) == 0 && fstat(fd, &file) == 0 && named.st_ino == file.st_ino && file.st_size > 0)
        image_synced = file.st_ino;
    return (int)syscall(SYS_fsync, fd);
}

static void must_sql(const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void image_leave(const char *as, const char *before_it)
{
    struct catalog *catalog;
    struct err      err = { 0 };
    char            from[120], to[120];

    assert_int_equal(catalog_open(path, &catalog, &err), 0);
    if (before_it != NULL)
        must_sql(before_it);
    assert_int_equal(catalog_image_write(catalog, folder, &err), 0);
    catalog_close(catalog);
    (void)snprintf(from, sizeof from, "%s/" CATALOG_IMAGE_FILE, folder);
    (void)snprintf(to, sizeof to, "%s/%s", folder, as);
    assert_int_equal(rename(from, to), 0);
}

static int setup(void **state)
{
    struct catalog            *catalog;
    struct catalog_restriction drop = { .project = 2, .action = CATALOG_DROP, .distinct_id = SPAN("it's \"me\"") };
    struct catalog_quota       quota = { .project = 2, .token = SPAN("phs_b"), .resource = CATALOG_EVENTS, .until_us = 7 };
    struct catalog_limit       limit = { .project = 1, .kind = CATALOG_LIMIT_TOKEN, .events = 5, .burst = 50 };
    char                       token[CATALOG_TOKEN_BYTES_MAX + 1];
    struct err                 err = { 0 };
    uint32_t                   id;

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-restore-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/catalog.db", folder);
    (void)snprintf(wal, sizeof wal, "%s-wal", path);
    if (catalog_open(path, &catalog, &err) < 0 || catalog_project_create(catalog, "one", &id, &err) < 0 ||
        catalog_project_create(catalog, "two's", &id, &err) < 0 || catalog_token_create(catalog, 1, "phc_a", false, token, &err) < 0 ||
        catalog_token_create(catalog, 2, "phs_b", true, token, &err) < 0 || catalog_token_create(catalog, 2, "phc_gone", false, token, &err) < 0 ||
        catalog_token_revoke(catalog, "phc_gone", &err) < 0 || catalog_restriction_add(catalog, &drop, &id, &err) < 0 ||
        catalog_quota_set(catalog, &quota, &err) < 0 || catalog_limit_set(catalog, &limit, &err) < 0)
        fail_msg("%s", err.text);
    catalog_close(catalog);
    return 0;
}

static int teardown(void **state)
{
    char command[100];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void file_put(const char *name, const void *bytes, size_t count, long at, const char *mode)
{
    FILE *file = fopen(name, mode);

    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* --- the ways in which it goes ------------------------------------------------------------------ */

static void is_gone(void) { assert_int_equal(unlink(path), 0); }
static void is_empty(void) { assert_int_equal(truncate(path, 0), 0); }
static void is_cut(void)
{
    struct stat file;

    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(truncate(path, file.st_size / 2), 0);
}
static void is_no_database(void) { file_put(path, "spoilt spoilt spoilt", 20, 0, "r+"); }
/* Whose name alone is left. */
static void has_no_tables(void)
{
    is_gone();
    must_sql("PRAGMA user_version = 1");
}
/* Everything behind the first page, which has the tables' names. */
static void has_bad_pages(void)
{
    struct stat file;
    char       *noise;

    assert_int_equal(stat(path, &file), 0);
    assert_non_null(noise = malloc((size_t)file.st_size - 4096));
    memset(noise, 0xa5, (size_t)file.st_size - 4096);
    file_put(path, noise, (size_t)file.st_size - 4096, 4096, "r+");
    free(noise);
}
/* A part of one page: the tables' names and most rows can be read. */
static void has_one_bad_page(void)
{
    char     noise[2000], sql[100];
    sqlite3 *db;
    sqlite3_stmt *root;
    int      page;

    (void)snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = 'restrictions'");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &root, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(root), SQLITE_ROW);
    page = sqlite3_column_int(root, 0);
    assert_int_equal(sqlite3_finalize(root), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    memset(noise, 0x5a, sizeof noise);
    file_put(path, noise, sizeof noise, (long)(page - 1) * 4096, "r+");
}

static const struct { const char *name; void (*happens)(void); bool spoilt; } accidents[] = {
    { "gone", is_gone, false }, { "empty", is_empty, false }, { "no tables", has_no_tables, false },
    { "cut", is_cut, true }, { "no database", is_no_database, true }, { "bad pages", has_bad_pages, true }, { "one bad page", has_one_bad_page, true },
};
enum { ACCIDENTS = sizeof accidents / sizeof *accidents };

static void must_know(uint64_t version_above, bool with_quotas)
{
    const struct catalog_restriction *restrictions;
    const struct catalog_quota       *quotas;
    const struct catalog_limit       *limits;
    const struct catalog_project     *projects;
    struct catalog_snapshot          *snapshot = NULL;
    struct catalog                   *catalog;
    struct err                        err = { 0 };
    char                              token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t                          id;

    if (catalog_open(path, &catalog, &err) < 0 || catalog_snapshot_load(catalog, &snapshot, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(catalog_snapshot_projects(snapshot, &projects), 2);
    assert_string_equal(projects[1].name, "two's");
    assert_int_equal(catalog_snapshot_find(snapshot, SPAN("phc_a"))->id, 1);
    assert_int_equal(catalog_snapshot_find(snapshot, SPAN("phs_b"))->id, 2);
    assert_true(catalog_snapshot_find_token(snapshot, SPAN("phs_b"))->secret);
    assert_null(catalog_snapshot_find(snapshot, SPAN("phc_gone")));
    assert_int_equal(catalog_snapshot_restrictions(snapshot, &restrictions), 1);
    assert_true(span_equal(restrictions[0].distinct_id, SPAN("it's \"me\"")));
    assert_int_equal(catalog_snapshot_quotas(snapshot, &quotas), with_quotas ? 1 : 0);
    assert_int_equal(catalog_snapshot_limits(snapshot, &limits), with_quotas ? 1 : 0);
    assert_true(catalog_snapshot_version(snapshot) > version_above);
    /* It is one like any other: changes are counted, ids go on, a revoked token is nobody else's. */
    assert_int_equal(catalog_token_create(catalog, 1, "phc_gone", false, token, &err), -1);
    assert_int_equal(catalog_project_create(catalog, "three", &id, &err), 0);
    assert_int_equal(id, 3);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1);
    assert_int_equal(catalog_letter_discard(catalog, "capture:1", 1, &err), 1);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static uint64_t version_now(void)
{
    struct catalog_snapshot *snapshot = NULL;
    struct catalog          *catalog;
    struct err               err = { 0 };
    uint64_t                 version;

    if (catalog_open(path, &catalog, &err) < 0 || catalog_snapshot_load(catalog, &snapshot, &err) < 0)
        fail_msg("%s", err.text);
    version = catalog_snapshot_version(snapshot);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    return version;
}

/* --- tests -------------------------------------------------------------------------------------- */

static void is_made_anew_from_the_image(void **state)
{
    for (size_t i = 0; i < ACCIDENTS; i++)
        for (int before = 0; before < 2; before++) {
            struct err err = { 0 };
            char       told[CATALOG_RESTORE_TOLD_BYTES], list[200];
            uint64_t   version;

            print_message("%s\n", accidents[i].name);
            assert_int_equal(setup(state), 0);
            version = version_now();
            image_leave(before ? CATALOG_IMAGE_BEFORE : CATALOG_IMAGE_FILE, NULL);
            accidents[i].happens();
            if (catalog_restore(folder, folder, told, &err) < 0)
                fail_msg("%s", err.text);
            assert_non_null(strstr(told, before ? "run/" CATALOG_IMAGE_BEFORE : "run/" CATALOG_IMAGE_FILE ","));
            (void)snprintf(list, sizeof list, "ls %s | grep -q '^catalog.db.damaged-[0-9TZ]*$'", folder);
            assert_int_equal(system(list) == 0, accidents[i].happens != is_gone);
            assert_int_equal(strstr(told, "catalog.db.damaged-") != NULL, accidents[i].happens != is_gone);
            must_know(version, true);
            assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
            assert_string_equal(told, "");
            assert_int_equal(teardown(state), 0);
        }
    assert_int_equal(setup(state), 0);
}

static void without_an_image_nothing_is_guessed(void **state)
{
    static const char half[] = "PNSTIMG1 and the rest of it never came to the disk";

    for (size_t i = 0; i < ACCIDENTS; i++)
        for (int torn = 0; torn < 2; torn++) {
            struct err err = { 0 };
            char       told[CATALOG_RESTORE_TOLD_BYTES], image[120];

            print_message("%s\n", accidents[i].name);
            assert_int_equal(setup(state), 0);
            (void)snprintf(image, sizeof image, "%s/" CATALOG_IMAGE_FILE, folder);
            if (torn)
                file_put(image, half, sizeof half, 0, "w");
            accidents[i].happens();
            assert_int_equal(catalog_restore(folder, folder, told, &err), accidents[i].spoilt ? -1 : 0);
            assert_string_equal(told, "");
            if (accidents[i].spoilt) {
                assert_int_equal(err.kind, ERR_CORRUPT);
                assert_non_null(strstr(err.text, "token create --token"));
            }
            assert_int_equal(teardown(state), 0);
        }
    assert_int_equal(setup(state), 0);
}

/* A torn image of the last moments, and a whole one of the run before. */
static void the_one_before_does_too(void **state)
{
    struct err err = { 0 };
    char       told[CATALOG_RESTORE_TOLD_BYTES], image[120];

    (void)state;
    image_leave(CATALOG_IMAGE_BEFORE, NULL);
    (void)snprintf(image, sizeof image, "%s/" CATALOG_IMAGE_FILE, folder);
    file_put(image, "PNSTIMG1", 8, 0, "w");
    is_no_database();
    assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
    must_know(0, true);
}

static void what_can_be_read_is_left_alone(void **state)
{
    struct err  err = { 0 };
    struct stat before, after;
    char        told[CATALOG_RESTORE_TOLD_BYTES];

    (void)state;
    image_leave(CATALOG_IMAGE_FILE, NULL);
    must_sql("UPDATE projects SET name = 'newer than the image' WHERE id = 1");
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
    assert_string_equal(told, "");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    /* One of a later Penstock is for catalog_open to refuse. */
    must_sql("INSERT INTO migrations VALUES (77, 0)");
    assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
    assert_string_equal(told, "");
}

/* What was half made when a power cut came, and a write-ahead log that is no longer anybody's. */
static void is_made_anew_twice(void **state)
{
    struct catalog *catalog;
    struct err      err = { 0 };
    char            told[CATALOG_RESTORE_TOLD_BYTES], fresh[120], command[300];

    (void)state;
    image_leave(CATALOG_IMAGE_FILE, NULL);
    assert_int_equal(catalog_open(path, &catalog, &err), 0); /* so that the log is not taken away with the last who has it open */
    must_sql("UPDATE projects SET name = 'of the old log'; DELETE FROM tokens");
    (void)snprintf(command, sizeof command, "cp %s %s.kept", wal, wal);
    assert_int_equal(system(command), 0);
    catalog_close(catalog);
    (void)snprintf(command, sizeof command, "mv %s.kept %s", wal, wal);
    assert_int_equal(system(command), 0);
    is_gone();
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    file_put(fresh, "half of a new one", 17, 0, "w");
    assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
    must_know(0, true);
    assert_int_equal(access(fresh, F_OK), -1);
}

/* The clock stands still: what was kept of the second before is not what is kept now. */
static void all_that_is_spoilt_is_kept(void **state)
{
    static const char *const ends[] = { "", "-2", "-3" };
    struct err               err = { 0 };
    char                     told[CATALOG_RESTORE_TOLD_BYTES], kept[160], text[20], got[20];

    (void)state;
    image_leave(CATALOG_IMAGE_FILE, NULL);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(text, sizeof text, "spoilt, time %d     ", i);
        file_put(path, text, 19, 0, "r+");
        assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
        (void)snprintf(kept, sizeof kept, "%s.damaged-20260101T000000Z%s", path, ends[i]);
        assert_non_null(strstr(told, kept));
        must_know(0, true);
    }
    for (int i = 0; i < 3; i++) {
        FILE *file;

        (void)snprintf(kept, sizeof kept, "%s.damaged-20260101T000000Z%s", path, ends[i]);
        (void)snprintf(text, sizeof text, "spoilt, time %d     ", i);
        file = fopen(kept, "r");
        assert_non_null(file);
        assert_int_equal(fread(got, 1, 19, file), 19);
        (void)fclose(file);
        assert_memory_equal(got, text, 19);
    }
}

static void an_image_is_on_the_disk_before_it_has_its_name(void **state)
{
    struct stat file;
    char        image[120];

    (void)state;
    (void)snprintf(image, sizeof image, "%s/" CATALOG_IMAGE_FILE, folder);
    image_synced = 0;
    image_leave(CATALOG_IMAGE_FILE, NULL);
    assert_int_equal(stat(image, &file), 0);
    assert_true(image_synced == file.st_ino);
}

static void an_image_of_an_older_penstock_will_do(void **state)
{
    struct err err = { 0 };
    char       told[CATALOG_RESTORE_TOLD_BYTES];

    (void)state;
    image_leave(CATALOG_IMAGE_FILE, "DROP TABLE quotas; DROP TABLE limits; DELETE FROM migrations WHERE version > 4");
    is_gone();
    assert_int_equal(catalog_restore(folder, folder, told, &err), 0);
    must_know(0, false);
}

static void one_of_a_later_penstock_is_refused(void **state)
{
    struct err err = { 0 };
    char       told[CATALOG_RESTORE_TOLD_BYTES];

    (void)state;
    image_leave(CATALOG_IMAGE_FILE, "INSERT INTO migrations VALUES (77, 0)");
    is_cut();
    assert_int_equal(catalog_restore(folder, folder, told, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "version 77"));
    assert_int_equal(access(path, F_OK), 0); /* where it was */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_made_anew_from_the_image, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_image_nothing_is_guessed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_one_before_does_too, setup, teardown),
        cmocka_unit_test_setup_teardown(what_can_be_read_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(is_made_anew_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(all_that_is_spoilt_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(an_image_is_on_the_disk_before_it_has_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(an_image_of_an_older_penstock_will_do, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_a_later_penstock_is_refused, setup, teardown),
    };

    (void)setenv("PENSTOCK_CLOCK_US", "1767225600000000", 1); /* 2026-01-01; only the names of what is kept go by it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
