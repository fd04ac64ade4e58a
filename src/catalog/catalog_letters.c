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
    int got, rc = 0;

    *out = (struct catalog_letter){ .state = CATALOG_LETTER_OPEN };
    catalog_db_bind_text(catalog, CATALOG_LETTER_FIND, 1, span_text(letter));
    got = catalog_db_row(catalog, CATALOG_LETTER_FIND, err);
    if (got == 1) {
        struct span uuid = catalog_db_text(catalog, CATALOG_LETTER_FIND, 0);

        (void)snprintf(out->replay_uuid, sizeof out->replay_uuid, "%.*s", (int)uuid.bytes, (const char *)uuid.at);
        out->replayed_us = catalog_db_int(catalog, CATALOG_LETTER_FIND, 1);
        out->replays = (uint32_t)catalog_db_int(catalog, CATALOG_LETTER_FIND, 2);
        out->discarded_us = catalog_db_int(catalog, CATALOG_LETTER_FIND, 3);
        out->repaired_us = catalog_db_int(catalog, CATALOG_LETTER_FIND, 4);
        out->state = out->replayed_us != 0 ? CATALOG_LETTER_REPLAYED
                     : out->discarded_us != 0 ? CATALOG_LETTER_DISCARDED : CATALOG_LETTER_OPEN;
        if (repaired != NULL && out->repaired_us != 0) {
            buf_add(repaired, catalog_db_bytes(catalog, CATALOG_LETTER_FIND, 5));
            if (repaired->failed)
                rc = err_set(err, ERR_FULL, "the repaired text is larger than %zu bytes", repaired->bytes_max);
        }
    }
    catalog_db_reset(catalog, CATALOG_LETTER_FIND);
    return got < 0 ? -1 : rc;
}

int catalog_letter_repair(struct catalog *catalog, const char *letter, struct span text, int64_t now_us, struct err *err)
{

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_text(catalog, CATALOG_LETTER_REPAIR, 1, span_text(letter));
    catalog_db_bind_bytes(catalog, CATALOG_LETTER_REPAIR, 2, text);
    catalog_db_bind_int(catalog, CATALOG_LETTER_REPAIR, 3, now_us);
    return catalog_write_end(catalog, catalog_db_run(catalog, CATALOG_LETTER_REPAIR, err), err);
}

int catalog_letter_replayed(struct catalog *catalog, const char *letter, const char *uuid, int64_t now_us,
                            struct err *err)
{

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_text(catalog, CATALOG_LETTER_REPLAY, 1, span_text(letter));
    catalog_db_bind_text(catalog, CATALOG_LETTER_REPLAY, 2, span_text(uuid));
    catalog_db_bind_int(catalog, CATALOG_LETTER_REPLAY, 3, now_us);
    return catalog_write_end(catalog, catalog_db_run(catalog, CATALOG_LETTER_REPLAY, err), err);
}

int catalog_letter_discard(struct catalog *catalog, const char *letter, int64_t now_us, struct err *err)
{
    int64_t changed;
    int rc;

    if (catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_text(catalog, CATALOG_LETTER_DISCARD, 1, span_text(letter));
    catalog_db_bind_int(catalog, CATALOG_LETTER_DISCARD, 2, now_us);
    rc = catalog_db_run(catalog, CATALOG_LETTER_DISCARD, err);
    changed = catalog_db_changed(catalog);
    return catalog_write_end(catalog, rc, err) < 0 ? -1 : changed > 0;
}

int catalog_letter_earlier(struct catalog *catalog, const char *letter, const char *uuid, int64_t until_us, char *to,
                           size_t room, struct err *err)
{
    int got;

    catalog_db_bind_text(catalog, CATALOG_LETTER_EARLIER, 1, span_text(uuid));
    catalog_db_bind_text(catalog, CATALOG_LETTER_EARLIER, 2, span_text(letter));
    catalog_db_bind_int(catalog, CATALOG_LETTER_EARLIER, 3, until_us);
    got = catalog_db_row(catalog, CATALOG_LETTER_EARLIER, err);
    if (got >= 0) {
        struct span found = got == 1 ? catalog_db_text(catalog, CATALOG_LETTER_EARLIER, 0) : SPAN("");

        (void)snprintf(to, room, "%.*s", (int)found.bytes, (const char *)found.at);
    }
    catalog_db_reset(catalog, CATALOG_LETTER_EARLIER);
    return got < 0 ? -1 : 0;
}

int catalog_letters_decided(struct catalog *catalog, catalog_letter_visit *visit, void *ctx, struct err *err)
{
    int got, rc = 0;

    while (rc == 0 && (got = catalog_db_row(catalog, CATALOG_LETTERS_DECIDED, err)) != 0)
        rc = got < 0 ? -1 : visit(ctx, catalog_db_text(catalog, CATALOG_LETTERS_DECIDED, 0), catalog_db_int(catalog, CATALOG_LETTERS_DECIDED, 1) != 0, err);
    catalog_db_reset(catalog, CATALOG_LETTERS_DECIDED);
    return rc;
}

int catalog_letter_counts(struct catalog *catalog, uint64_t *replayed_out, uint64_t *discarded_out, struct err *err)
{
    int           got = catalog_db_row(catalog, CATALOG_LETTER_COUNTS, err);

    if (got == 1) {
        *replayed_out = (uint64_t)catalog_db_int(catalog, CATALOG_LETTER_COUNTS, 0);
        *discarded_out = (uint64_t)catalog_db_int(catalog, CATALOG_LETTER_COUNTS, 1);
    }
    catalog_db_reset(catalog, CATALOG_LETTER_COUNTS);
    return got < 0 ? -1 : 0;
}
