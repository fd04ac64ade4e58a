/* people/pg_erase.c - an erasure, beside units that are in the middle of a batch.
 *
 * Who only reads a person locks nothing, and so a batch of another unit that found the person before it was erased could commit rows
 * of it afterwards, unnoticed. So a commit fails, as a conflict, when somebody was erased since the batch began, and an
 * erasure commits while nobody else does. What was committed before an erasure is then all that there is of the person, and where the
 * rows of each unit end, as read in a later transaction, is behind all of it: that is what the warehouse waits for before it
 * erases (ingest/requests.c).
 * Two statements, as the second is to see what was committed while the first one waited. */
#include "people/pg.h"

void pg_erased_call(struct pg_call *call)
{
    *call = (struct pg_call){ .sql = PG_ERASED_SQL };
}

void pg_erased_take(struct pg *pg, const PGresult *result)
{
    pg->erased = PQntuples(result) == 1 ? (uint64_t)pg_i64(result, 0, 0) : 0;
}

void pg_erase(struct people_txn *txn)
{
    pg_txn_of(txn)->erases = true;
}

void pg_erase_calls(struct people_txn *txn, struct pg_call *calls, size_t *count)
{
    const struct pg *pg = pg_of(txn->people);
    bool             erases = pg_txn_of(txn)->erases;

    calls[(*count)++] = (struct pg_call){ .sql = erases ? PG_COMMIT_ALONE_SQL : PG_COMMIT_BESIDE_SQL };
    calls[*count] = (struct pg_call){ .sql = PG_ERASED_SAME_SQL };
    pg_add_i64(&calls[(*count)++], pg->arena, (int64_t)pg->erased);
    if (!erases)
        return;
    calls[*count] = (struct pg_call){ .sql = PG_ERASED_MORE_SQL };
    pg_add_i32(&calls[(*count)++], pg->arena, (int32_t)pg->unit);
}

int pg_others_each(struct people_txn *txn, people_other_seen *seen, void *ctx, struct err *err)
{
    struct pg     *pg = pg_of(txn->people);
    struct pg_call call = { .sql = PG_OTHERS_SQL };
    int            rc;

    pg_add_i32(&call, pg->arena, TABLE_META);
    pg_add_bytes(&call, pg->arena, SPAN("place"));
    pg_add_i32(&call, pg->arena, (int32_t)pg->unit);
    rc = pg_read(txn, &call, 1, err);
    for (int row = 0; rc == 0 && row < PQntuples(call.result); row++) {
        struct people_place place;

        rc = people_place_read(pg_bytes(call.result, row, 1), &place, err);
        if (rc == 0)
            rc = seen(ctx, (uint32_t)pg_i64(call.result, row, 0), &place, err);
    }
    pg_calls_end(&call, 1);
    return rc;
}
