/* people/pg_open.c - the store in PostgreSQL: opening, owning a unit, transactions. See pg.h.
 *
 * Why nothing is open at the server while a batch is worked on: a transaction that waits for its client holds back what the
 * server may clean up, and locks that are held over a client's work are held over its death too. The price is that a conflict is
 * found at the end, and the batch begun anew; units that met take turns (G5), and shorter batches
 * (ingest/ingest.c).
 * Trying again is the caller's: ingest begins the batch anew after each ERR_RETRY (ingest/ingest.c), from the place that it
 * reads here. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <stdio.h>

#include "base/clock.h"
#include "people/pg.h"
#include "people/pg_schema.h"

enum { CLOCK_AHEAD_US = 60000000, CLOCK_ASK_US = 60000000 };
enum { ARENA_CHUNK_BYTES = 1 << 20, HOT_BYTES_DEFAULT = 64 << 20, RESOLVE_TRIES = 5, TURNS_MIN = 8, TURNS_MAX = 128,
       BESIDE_FOR_LONG = 64 };
#define ARENA_BYTES_MAX ((size_t)2 << 30)
#define RESOLVE_WAIT_US 200000
#define CONFLICT_WAIT_US_MAX 250000
#define TURN_PAUSE_US 10000000
#define TURN_WAIT_MS 3000

int pg_full(struct err *err)
{
    return err_set(err, ERR_FULL, "people: what the batch reads and changes does not fit into memory");
}

/* --- whose unit it is --------------------------------------------------------------------------- */

static void forget(struct pg *pg)
{
    if (pg->hot != NULL)
        hot_clear(pg->hot);
    for (int t = 0; t < TABLE_COUNT; t++)
        pg->edges[t][0].valid = pg->edges[t][1].valid = false;
    pg_joins_forget(pg);
    pg_seen_doubt(pg);
}

static int went_back(struct pg *pg, struct err *err)
{
    pg->people.went_back = true;
    return err_set(err, ERR_RETRY, "people: PostgreSQL has lost commits of unit %u that it had confirmed (a standby without them took over, or "
                   "an older copy); it is opened anew, from where the server stands", pg->unit);
}

/* The unit is not ours any more at the server: another process's, or the server lost our taking it (G7). */
static int not_ours(struct pg *pg, struct arena *arena, struct err *err)
{
    struct pg_call call = { .sql = PG_EPOCH_SQL };
    bool           lost, lower;
    int            rc;

    pg_add_i32(&call, arena, (int32_t)pg->unit);
    rc = pg_run(&pg->conn, &call, 1, &lost, err);
    lower = rc == 0 && (uint64_t)pg_i64(call.result, 0, 0) < pg->epoch;
    pg_calls_end(&call, 1);
    if (rc < 0 || lower)
        return rc < 0 ? -1 : went_back(pg, err);
    pg->fenced = true;
    return err_set(err, ERR_STOP, "people: another process has taken unit %u over", pg->unit);
}

static void clock_note(struct pg *pg, int64_t server_us)
{
    pg->server_us = server_us;
    pg->server_boot_us = clock_boot_us();
}

static int take(struct pg *pg, struct err *err)
{
    struct arena  *arena = arena_new(4096, 1 << 20);
    struct pg_call call = { .sql = pg->owner ? PG_TAKE_AGAIN_SQL : PG_TAKE_SQL };
    bool           lost;
    int            rc;

    if (arena == NULL)
        return pg_full(err);
    pg_add_i32(&call, arena, (int32_t)pg->unit);
    pg_add_bytes(&call, arena, span_of(pg->self.bytes, sizeof pg->self.bytes));
    if (pg->owner) {
        pg_add_i64(&call, arena, (int64_t)pg->epoch);
        pg_add_i64(&call, arena, (int64_t)++pg->asked); /* G4 */
        pg->taken_again = true;
    }
    rc = pg_run(&pg->conn, &call, 1, &lost, err);
    if (rc == 0 && PQntuples(call.result) == 0)
        rc = not_ours(pg, arena, err);
    if (rc == 0) {
        uint64_t commits = (uint64_t)pg_i64(call.result, 0, 1);

        pg->epoch = pg->asked = (uint64_t)pg_i64(call.result, 0, 0);
        if (pg->commits != commits || !pg->owner)
            forget(pg);
        if (pg->owner && commits < pg->confirmed)
            rc = went_back(pg, err);
        pg->commits = pg->confirmed = commits;
        clock_note(pg, pg_i64(call.result, 0, 2));
        pg->owner = true;
        pg->in_doubt = false;
    }
    pg_calls_end(&call, 1);
    arena_free(arena);
    return rc;
}

int pg_own(struct pg *pg, struct err *err)
{
    if (pg->people.went_back)
        return went_back(pg, err);
    if (pg->fenced)
        return err_set(err, ERR_STOP, "people: another process has taken unit %u over", pg->unit);
    if (pg->owner && pg->conn.pq != NULL && !pg->in_doubt)
        return 0;
    if (pg_connect(&pg->conn, err) < 0)
        return -1;
    return take(pg, err);
}

static int64_t server_now_us(const struct pg *pg)
{
    return pg->server_us + clock_boot_us() - pg->server_boot_us;
}

/* A clock of this machine that is ahead is not believed before the server was asked again: that one may have been put right meanwhile. */
int64_t pg_clock(struct people *people, int64_t now_us)
{
    struct pg     *pg = pg_of(people);
    struct pg_call call = { .sql = PG_CLOCK_SQL };
    struct err     ignored;
    bool           lost;

    if (pg->server_us == 0 || now_us - server_now_us(pg) < CLOCK_AHEAD_US)
        return now_us;
    if (clock_boot_us() - pg->server_boot_us >= CLOCK_ASK_US && pg->txn == NULL && pg->owner && pg->conn.pq != NULL && !pg->in_doubt &&
        pg_run(&pg->conn, &call, 1, &lost, &ignored) == 0)
        clock_note(pg, pg_i64(call.result, 0, 0));
    pg_calls_end(&call, 1);
    return now_us - server_now_us(pg) < CLOCK_AHEAD_US ? now_us : server_now_us(pg);
}

/* Between transactions: what is at hand of a connection that is no more. Numbers for persons, too, of which a server that lost
 * something may give the same to others. */
static void forget_taken(struct pg *pg)
{
    if (!pg->taken_again)
        return;
    forget(pg);
    pg_types_free(pg->types);
    pg->types = NULL;
    pg->id_at = pg->id_count = 0;
    pg->followed_count = 0;
    pg->taken_again = false;
}

int pg_read(struct people_txn *base, struct pg_call *calls, size_t count, struct err *err)
{
    struct pg     *pg = pg_of(base->people);
    struct pg_txn *txn = pg_txn_of(base);
    bool           lost;

    if (!base->write && !txn->snapshot) {
        struct pg_call begin = { .sql = PG_BEGIN_READ_SQL };
        int            rc = -1;

        for (int tries = 0; tries < 2 && rc < 0; tries++) { /* a connection may have died since it was used last */
            lost = false;
            rc = pg->owner || pg->fenced ? pg_own(pg, err) : pg_connect(&pg->conn, err);
            if (rc < 0)
                return -1;
            rc = pg_run(&pg->conn, &begin, 1, &lost, err);
            pg_calls_end(&begin, 1);
            if (rc < 0 && !lost)
                return -1;
        }
        if (rc < 0)
            return -1;
        txn->snapshot = true;
    }
    if (base->write && pg_own(pg, err) < 0)
        return -1;
    if (pg_run(&pg->conn, calls, count, &lost, err) == 0)
        return 0;
    if (!lost || !base->write || !txn->begins)
        return -1; /* what was read before came from another connection, and perhaps another server: the batch begins anew */
    pg_calls_end(calls, count);
    if (pg_own(pg, err) < 0)
        return -1;
    forget_taken(pg);
    return pg_run(&pg->conn, calls, count, &lost, err) < 0 ? -1 : 0;
}

/* --- opening ----------------------------------------------------------------------------------- */

static void pg_close(struct people *people)
{
    struct pg *pg = pg_of(people);

    pg_disconnect(&pg->conn);
    pg_seen_free(pg->seen);
    pg_types_free(pg->types);
    hot_free(pg->hot);
    arena_free(pg->arena);
    for (int t = 0; t < TABLE_COUNT; t++) {
        free(pg->edges[t][0].value);
        free(pg->edges[t][1].value);
    }
    free(pg->followed);
    free(pg->joins);
    free(pg->url);
    free(pg->password_file);
    free(pg);
}

static const struct people_ops people_pg_ops;

int people_pg_open(const struct people_options *options, struct people **out, struct err *err)
{
    const struct people_settings *settings = options->settings;
    size_t     memory = options->memory_bytes == 0 ? (size_t)HOT_BYTES_DEFAULT : options->memory_bytes;
    struct pg *pg = calloc(1, sizeof *pg);

    if (pg == NULL)
        return err_set(err, ERR_FULL, "people: no memory");
    pg->people.ops = &people_pg_ops;
    pg->unit = options->unit;
    pg->turn_wait_ms = TURN_WAIT_MS;
    pg->url = strdup(settings->url);
    pg->password_file = strdup(settings->password_file == NULL ? "" : settings->password_file);
    pg->settings = (struct people_settings){ .backend = settings->backend, .url = pg->url, .password_file = pg->password_file };
    pg->conn.settings = &pg->settings;
    if (getrandom(pg->self.bytes, sizeof pg->self.bytes, 0) != sizeof pg->self.bytes) {
        people_close(&pg->people);
        return err_set(err, ERR_RETRY, "people: no random numbers: %s", strerror(errno));
    }
    (void)snprintf(pg->conn.name, sizeof pg->conn.name, "penstock unit %u", pg->unit);
    pg->arena = arena_new(ARENA_CHUNK_BYTES, ARENA_BYTES_MAX);
    if (memory >= HOT_BYTES_MIN)
        pg->hot = hot_new(memory);
    if (pg->url == NULL || pg->password_file == NULL || pg->arena == NULL || (memory >= HOT_BYTES_MIN && pg->hot == NULL)) {
        people_close(&pg->people);
        return err_set(err, ERR_FULL, "people: no memory");
    }
    if (pg_seen_new(pg, options->folder, options->seen_recent_max, err) < 0 || pg_connect(&pg->conn, err) < 0 ||
        pg_schema_make(&pg->conn, err) < 0 || (options->owner && pg_own(pg, err) < 0)) {
        people_close(&pg->people);
        return -1;
    }
    *out = &pg->people;
    return 0;
}

static int pg_epoch(struct people *people, uint64_t *out, struct err *err)
{
    struct pg *pg = pg_of(people);

    if (pg_own(pg, err) < 0)
        return -1;
    *out = pg->epoch;
    return 0;
}

/* --- turns (G5) --------------------------------------------------------------------------------- */

/* Not had in time: somebody stands still with it. Then it is done without, for a while: each wait holds up those behind it. */
static void turn_take(struct pg *pg)
{
    struct pg_call calls[] = { { .sql = PG_TURN_WAIT_SQL }, { .sql = pg->turns > 0 ? PG_TURN_ALONE_SQL : PG_TURN_BESIDE_SQL } };
    struct err     ignored;
    bool           lost;

    if (pg->conn.in_turn || clock_mono_us() < pg->turn_pause_us)
        return;
    pg_add_i32(&calls[0], pg->arena, pg->turn_wait_ms);
    if (pg_run(&pg->conn, calls, 2, &lost, &ignored) == 0) {
        pg->conn.in_turn = true;
        pg->conn.alone = pg->turns > 0;
    } else {
        pg->turns = 0;
        pg->turn_pause_us = clock_mono_us() + TURN_PAUSE_US;
    }
    pg_calls_end(calls, 2);
}

static void turn_give(struct pg *pg)
{
    struct pg_call call = { .sql = pg->conn.alone ? PG_TURN_GIVE_SQL : PG_TURN_GIVE_BESIDE_SQL };
    struct err     ignored;
    bool           lost;

    if (!pg->conn.in_turn)
        return;
    pg->conn.in_turn = pg->conn.alone = false;
    if (pg_run(&pg->conn, &call, 1, &lost, &ignored) < 0)
        pg_disconnect(&pg->conn); /* which gives it */
    pg_calls_end(&call, 1);
}

/* Where units meet again as soon as they are beside one another again, each conflict brings more turns. */
static void turns_bring(struct pg *pg)
{
    if (pg->turns_next < TURNS_MIN || pg->beside >= BESIDE_FOR_LONG)
        pg->turns_next = TURNS_MIN;
    pg->turns = pg->turns_next;
    pg->turns_next = pg->turns_next < TURNS_MAX / 2 ? pg->turns_next * 2 : TURNS_MAX;
    pg->beside = 0;
}

/* --- transactions ------------------------------------------------------------------------------ */

static int pg_begin(struct people *people, bool write, struct people_txn **out, struct err *err)
{
    struct pg     *pg = pg_of(people);
    struct pg_txn *txn;

    assert(pg->txn == NULL);
    arena_reset(pg->arena);
    pg->people.conflict = false;
    if (write && pg_own(pg, err) < 0)
        return -1;
    if (write)
        turn_take(pg);
    if (write && pg_own(pg, err) < 0) /* that may have lost the connection */
        return -1;
    forget_taken(pg);
    txn = arena_alloc_zero(pg->arena, sizeof *txn);
    if (txn == NULL) {
        turn_give(pg);
        return pg_full(err);
    }
    txn->txn.people = people;
    txn->txn.write = write;
    txn->tables.random = (uint32_t)clock_mono_us();
    if (write && pg->hot != NULL)
        hot_begin(pg->hot);
    pg->txn = txn;
    txn->begins = true;
    if (write && pg_follow(&txn->txn, err) < 0) {
        pg->txn = NULL;
        turn_give(pg);
        return -1;
    }
    txn->begins = false;
    *out = &txn->txn;
    return 0;
}

static void end(struct pg_txn *txn, bool committed)
{
    struct pg *pg = pg_of(txn->txn.people);

    if (txn->snapshot && pg->conn.open_transaction) {
        struct pg_call call = { .sql = PG_ROLLBACK_SQL };
        struct err     ignored;
        bool           lost;

        if (pg_run(&pg->conn, &call, 1, &lost, &ignored) < 0)
            pg_disconnect(&pg->conn);
        pg_calls_end(&call, 1);
    }
    if (txn->txn.write)
        pg_seen_end(&txn->txn, committed);
    turn_give(pg);
    pg->txn = NULL;
}

static void pg_abort(struct people_txn *txn_take)
{
    end(pg_txn_of(txn_take), false);
}

static void wait_us(int64_t us)
{
    (void)nanosleep(&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 }, NULL);
}

/* Those who met at a row must not meet again at once. */
static void conflict_wait(struct pg *pg)
{
    uint32_t random = 0;
    int64_t  most = (int64_t)2000 << (pg->conflicts < 7 ? pg->conflicts : 7);

    pg->conflicts++;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint32_t)clock_mono_us();
    wait_us((int64_t)(random % (uint32_t)(most < CONFLICT_WAIT_US_MAX ? most : CONFLICT_WAIT_US_MAX)));
}

/* G3. 1: it happened, 0: it did not and never will, -1: not known yet. */
static int resolve(struct pg *pg, uint64_t before, struct err *err)
{
    pg->in_doubt = true;
    for (int i = 0; i < RESOLVE_TRIES; i++) {
        struct err why = { .kind = ERR_NONE };

        pg->commits = before + 1; /* what was at hand is forgotten when it is not so */
        if (pg_own(pg, &why) == 0)
            return pg->commits == before + 1;
        if (pg->fenced || pg->people.went_back) {
            *err = why;
            return -1;
        }
        wait_us(RESOLVE_WAIT_US);
    }
    forget(pg);
    return -1;
}

static int pg_commit(struct people_txn *base, struct err *err)
{
    struct pg_txn *txn = pg_txn_of(base);
    struct pg     *pg = pg_of(base->people);
    uint64_t       before = pg->commits;
    bool           lost = false;
    int            rc = 0;

    if (!base->write || !txn->changed) {
        end(txn, base->write);
        return 0;
    }
    rc = pg_own(pg, err);
    if (rc == 0)
        rc = pg_write(base, &lost, err);
    if (rc == 0)
        pg->confirmed = ++pg->commits;
    else if (lost) {
        struct err why = *err;

        rc = resolve(pg, before, &why) == 1 ? 0 : -1;
        if (rc < 0)
            *err = why;
    } else if (err->kind == ERR_RETRY) {
        if (pg->hot != NULL && pg->failed++ > 0)
            hot_clear(pg->hot); /* it was not a unit that said so (pg_follow.c): the second time it is asked about everything */
        pg->people.conflict = pg->conn.conflict;
        if (!pg->conn.conflict || pg->conn.alone || !pg->conn.in_turn) /* the queue is not enough: others do not stand in it */
            conflict_wait(pg);
        if (pg->conn.conflict)
            turns_bring(pg);
    } else if (err->kind == ERR_STOP && strstr(err->text, "PS001") != NULL) {
        pg->fenced = true;
    }
    if (rc == 0) {
        pg->conflicts = pg->failed = 0;
        pg->beside += pg->turns == 0 && pg->beside < BESIDE_FOR_LONG;
        pg->turns -= pg->turns > 0;
        pg_keep(base);
        pg_table_keep(base);
        pg_types_keep(base);
    }
    end(txn, rc == 0);
    return rc;
}

static const struct people_ops people_pg_ops = {
    .rewritable = false, .close = pg_close, .begin = pg_begin, .commit = pg_commit, .abort = pg_abort, .clock = pg_clock, .epoch = pg_epoch,
    .link_get = pg_link_get, .link_put = pg_link_put, .link_erase = pg_link_erase, .links_under = pg_links_under,
    .first_under = pg_first_under, .holder_end = pg_holder_end, .holder_ours = pg_holder_ours,
    .person_get = pg_person_get, .person_heir = pg_person_heir, .person_find = pg_person_find_uuid, .person_put = pg_person_put,
    .person_id_new = pg_person_id_new, .person_delete = pg_person_delete, .person_version = pg_person_version,
    .expect = pg_expect, .expect_batch = pg_expect_batch, .group_type = pg_group_type, .group_get = pg_group_get,
    .group_put = pg_group_put, .seen_add = pg_seen_add, .seen_find = pg_seen_find, .seen_load = pg_seen_load,
    .seen_stats = pg_seen_stats, .table_get = pg_table_get, .table_reserve = pg_table_reserve, .table_delete = pg_table_delete,
    .table_seek = pg_table_seek, .table_next = pg_table_next, .table_last = pg_table_last, .table_drop = pg_table_drop,
    .erase = pg_erase, .others_each = pg_others_each
};
