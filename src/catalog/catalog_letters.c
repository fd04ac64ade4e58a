/* catalog/catalog_letters.c - what people decided about dead letters.
 *
 * Why here and not in the warehouse: the warehouse's rows are only ever added, by one process, and may be
 * built anew from the log; a decision of a person is neither. Why a letter without an entry is open: letters
 * arrive by the thousand, and the catalog need not hear of them until somebody does something. */
#include <stdio.h>

#include "catalog/catalog_db.h"

int catalog_letter_find(struct catalog *catalog, const char *letter, struct catalog_letter *out, struct buf *repaired,
                        struct err *err)
{
    sqlite3_stmt *find = catalog->statements[CATALOG_LETTER_FIND];
    int           got, rc = 0;

    *out = (struct catalog_letter){ .state = CATALOG_LETTER_OPEN };
    (void)sqlite3_bind_text(find, 1, letter, -1, SQLITE_STATIC);
    got = catalog_db_row(catalog, CATALOG_LETTER_FIND, err);
    if (got == 1) {
        const unsigned char *uuid = sqlite3_column_text(find, 0);

        (void)snprintf(out->replay_uuid, sizeof out->replay_uuid, "%s", uuid != NULL ? (const char *)uuid : "");
        out->replayed_us = sqlite3_column_int64(find, 1);
        out->replays = (uint32_t)sqlite3_column_int64(find, 2);
        out->discarded_us = sqlite3_column_int64(find, 3);
        out->repaired_us = sqlite3_column_int64(find, 4);
        out->state = out->replayed_us != 0 ? CATALOG_LETTER_REPLAYED
                     : out->discarded_us != 0 ? CATALOG_LETTER_DISCARDED : CATALOG_LETTER_OPEN;
        if (repaired != NULL && out->repaired_us != 0) {
            const void *text = sqlite3_column_blob(find, 5);

            buf_add(repaired, span_of(text != NULL ? text : "", (size_t)sqlite3_column_bytes(find, 5)));
            if (repaired->failed)
                rc = err_set(err, ERR_FULL, "the repaired text is larger than %zu bytes", repaired->bytes_max);
        }
    }
    catalog_db_reset(catalog, CATALOG_LETTER_FIND);
    return got < 0 ? -1 : rc;
}

int catalog_letter_repair(struct catalog *catalog, const char *letter, struct span text, int64_t now_us, struct err *err)
{
    sqlite3_stmt *repair = catalog->statements[CATALOG_LETTER_REPAIR];

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    (void)sqlite3_bind_text(repair, 1, letter, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(repair, 2, (const char *)text.at, (int)text.bytes, SQLITE_STATIC);
    (void)sqlite3_bind_int64(repair, 3, now_us);
    return catalog_write_end(catalog, catalog_db_run(catalog, CATALOG_LETTER_REPAIR, err), err);
}

int catalog_letter_replayed(struct catalog *catalog, const char *letter, const char *uuid, int64_t now_us,
                            struct err *err)
{
    sqlite3_stmt *replayed = catalog->statements[CATALOG_LETTER_REPLAY];

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    (void)sqlite3_bind_text(replayed, 1, letter, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(replayed, 2, uuid, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(replayed, 3, now_us);
    return catalog_write_end(catalog, catalog_db_run(catalog, CATALOG_LETTER_REPLAY, err), err);
}

int catalog_letter_discard(struct catalog *catalog, const char *letter, int64_t now_us, struct err *err)
{
    sqlite3_stmt *discarded = catalog->statements[CATALOG_LETTER_DISCARD];
    int           rc, changed;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    (void)sqlite3_bind_text(discarded, 1, letter, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(discarded, 2, now_us);
    rc = catalog_db_run(catalog, CATALOG_LETTER_DISCARD, err);
    changed = sqlite3_changes(catalog->db);
    return catalog_write_end(catalog, rc, err) < 0 ? -1 : changed > 0;
}

int catalog_letter_earlier(struct catalog *catalog, const char *letter, const char *uuid, int64_t until_us, char *to,
                           size_t room, struct err *err)
{
    sqlite3_stmt *earlier = catalog->statements[CATALOG_LETTER_EARLIER];
    int           got;

    (void)sqlite3_bind_text(earlier, 1, uuid, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(earlier, 2, letter, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(earlier, 3, until_us);
    got = catalog_db_row(catalog, CATALOG_LETTER_EARLIER, err);
    if (got >= 0)
        (void)snprintf(to, room, "%s", got == 1 ? (const char *)sqlite3_column_text(earlier, 0) : "");
    catalog_db_reset(catalog, CATALOG_LETTER_EARLIER);
    return got < 0 ? -1 : 0;
}

int catalog_letter_counts(struct catalog *catalog, uint64_t *replayed_out, uint64_t *discarded_out, struct err *err)
{
    sqlite3_stmt *counts = catalog->statements[CATALOG_LETTER_COUNTS];
    int           got = catalog_db_row(catalog, CATALOG_LETTER_COUNTS, err);

    if (got == 1) {
        *replayed_out = (uint64_t)sqlite3_column_int64(counts, 0);
        *discarded_out = (uint64_t)sqlite3_column_int64(counts, 1);
    }
    catalog_db_reset(catalog, CATALOG_LETTER_COUNTS);
    return got < 0 ? -1 : 0;
}
