/* catalog/catalog_image_test.c - a snapshot of an image is the snapshot of its catalog; dead letters stay at home; what is
 * not whole, or of another form, is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "catalog/catalog_db.h"
#include "catalog/catalog_image.h"

static char folder[64], path[100];

static int setup(void **state)
{
    struct catalog            *catalog;
    struct catalog_restriction drop = { .project = 2, .action = CATALOG_DROP, .distinct_id = SPAN("it's \"me\"") };
    char                       token[CATALOG_TOKEN_BYTES_MAX + 1];
    struct err                 err = { 0 };
    uint32_t                   id;

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-image-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/catalog.db", folder);
    if (catalog_open(path, &catalog, &err) < 0 || catalog_project_create(catalog, "one", &id, &err) < 0 ||
        catalog_project_create(catalog, "two's", &id, &err) < 0 || catalog_token_create(catalog, 1, "phc_a", false, token, &err) < 0 ||
        catalog_token_create(catalog, 2, "phs_b", true, token, &err) < 0 || catalog_token_create(catalog, 2, "phc_gone", false, token, &err) < 0 ||
        catalog_token_revoke(catalog, "phc_gone", &err) < 0 || catalog_restriction_add(catalog, &drop, &id, &err) < 0)
        fail_msg("%s", err.text);
    if (sqlite3_exec(catalog->db, "INSERT INTO dead_letters (letter) VALUES ('a-letter-that-nobody-else-reads')", NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(catalog->db));
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

static void made(struct buf *image)
{
    struct catalog *catalog = NULL;
    struct err      err = { 0 };

    buf_init(image, CATALOG_IMAGE_BYTES_MAX);
    if (catalog_open(path, &catalog, &err) < 0 || catalog_image_make(catalog, image, &err) < 0)
        fail_msg("%s", err.text);
    catalog_close(catalog);
}

static void a_snapshot_of_it_is_the_catalogs(void **state)
{
    struct catalog                   *catalog;
    struct catalog_snapshot          *theirs = NULL, *ours = NULL;
    const struct catalog_token       *tokens;
    const struct catalog_restriction *restrictions;
    struct err                        err = { 0 };
    struct buf                        image;

    (void)state;
    made(&image);
    if (catalog_open(path, &catalog, &err) < 0 || catalog_snapshot_load(catalog, &theirs, &err) < 0 ||
        catalog_image_snapshot(buf_span(&image), &ours, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(catalog_snapshot_version(ours), catalog_snapshot_version(theirs));
    assert_int_equal(catalog_changed(catalog, ours, &err), 0);
    assert_int_equal(catalog_snapshot_tokens(ours, &tokens), 2);
    assert_int_equal(catalog_snapshot_restrictions(ours, &restrictions), 1);
    assert_true(span_is(restrictions[0].distinct_id, "it's \"me\""));
    assert_int_equal(catalog_snapshot_find(ours, SPAN("phc_a"))->id, 1);
    assert_string_equal(catalog_snapshot_find(ours, SPAN("phs_b"))->name, "two's");
    assert_true(catalog_snapshot_find_token(ours, SPAN("phs_b"))->secret);
    assert_null(catalog_snapshot_find(ours, SPAN("phc_gone")));
    assert_null(memmem(image.at, image.bytes, "a-letter-that", 13));
    catalog_snapshot_free(theirs);
    catalog_snapshot_free(ours);
    catalog_close(catalog);
    buf_fini(&image);
}

static void what_is_not_whole_is_refused(void **state)
{
    struct catalog_snapshot *snapshot;
    struct err               err = { 0 };
    struct buf               image;

    (void)state;
    made(&image);
    for (size_t bytes = 0; bytes < image.bytes; bytes += bytes < 64 ? 1 : 997)
        assert_int_equal(catalog_image_snapshot(span_of(image.at, bytes), &snapshot, &err), -1);
    for (size_t at = 0; at < image.bytes; at += at < 64 ? 1 : 997) {
        if (at >= 20 && at < 24)
            continue; /* not said to mean anything */
        image.at[at] ^= 0x40;
        assert_int_equal(catalog_image_snapshot(buf_span(&image), &snapshot, &err), -1);
        image.at[at] ^= 0x40;
    }
    image.at[7] = '2';
    assert_int_equal(catalog_image_snapshot(buf_span(&image), &snapshot, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    buf_fini(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_of_it_is_the_catalogs),
        cmocka_unit_test(what_is_not_whole_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
