/* people/pg_table.c - see pg_table.h. */
#include <assert.h>
#include <stdlib.h>

#include "people/pg.h"

enum { PAGE_ENTRIES = 64, HOT_TABLE = 64 /* apart from persons and links */ };

static const bool is_number[TABLE_COUNT] = {
#define PEOPLE_TABLE_NUMBER(suffix, name, numbers) (numbers) != 0,
    PEOPLE_TABLES(PEOPLE_TABLE_NUMBER)
};

/* --- keys -------------------------------------------------------------------------------------- */

/* As it stands at the server. */
static struct span stored_key(enum people_table table, struct span key, uint64_t *room)
{
    if (!is_number[table] || key.bytes != sizeof *room)
        return key;
    memcpy(room, key.at, sizeof *room);
    *room = __builtin_bswap64(*room);
    return span_of(room, sizeof *room);
}

static int compare(struct span a, struct span b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int    order = bytes == 0 ? 0 : memcmp(a.at, b.at, bytes);

    return order != 0 ? order : a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/* The first key behind this one: itself and a zero. */
static struct span key_behind(struct arena *arena, struct span key)
{
    uint8_t *at = arena_alloc_zero(arena, key.bytes + 1);

    if (at == NULL)
        return span_of(NULL, 0);
    if (key.bytes > 0)
        memcpy(at, key.at, key.bytes);
    return span_of(at, key.bytes + 1);
}

/* --- what the transaction has ------------------------------------------------------------------ */

/* The last cell before `key` on each level. */
static struct pg_cell *cells_before(struct pg_one_table *table, struct span key, struct pg_cell *path[PG_LEVELS])
{
    struct pg_cell *cell = &table->head;

    for (int level = PG_LEVELS - 1; level >= 0; level--) {
        while (cell->next[level] != NULL && compare(cell->next[level]->key, key) < 0)
            cell = cell->next[level];
        path[level] = cell;
    }
    return cell;
}

static struct pg_cell *cell_at_or_behind(struct pg_one_table *table, struct span key)
{
    struct pg_cell *path[PG_LEVELS];

    return cells_before(table, key, path)->next[0];
}

static struct pg_cell *cell_find(struct pg_one_table *table, struct span key)
{
    struct pg_cell *cell = cell_at_or_behind(table, key);

    return cell != NULL && compare(cell->key, key) == 0 ? cell : NULL;
}

static struct pg_cell *cell_last(struct pg_one_table *table)
{
    struct pg_cell *cell = &table->head, *there = NULL;

    for (int level = PG_LEVELS - 1; level >= 0; level--)
        while (cell->next[level] != NULL)
            cell = cell->next[level];
    if (cell != &table->head && !cell->deleted)
        return cell;
    for (cell = table->head.next[0]; cell != NULL; cell = cell->next[0])
        there = cell->deleted ? there : cell;
    return there;
}

static struct pg_cell *cell_make(struct people_txn *base, enum people_table number, struct span key, int32_t unit, struct err *err)
{
    struct pg_txn       *txn = pg_txn_of(base);
    struct pg_one_table *table = &txn->tables.at[number];
    struct pg_cell      *path[PG_LEVELS], *cell, *before = cells_before(table, key, path);
    int                  levels = 1;

    if (before->next[0] != NULL && compare(before->next[0]->key, key) == 0)
        return before->next[0];
    cell = arena_alloc_zero(pg_of(base->people)->arena, sizeof *cell);
    if (cell == NULL || (cell->key = arena_copy(pg_of(base->people)->arena, key)).at == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    txn->tables.random = txn->tables.random * 1664525 + 1013904223;
    while (levels < PG_LEVELS && (txn->tables.random >> (8 + 2 * levels) & 3) == 0)
        levels++;
    for (int level = 0; level < levels; level++) {
        cell->next[level] = path[level]->next[level];
        path[level]->next[level] = cell;
    }
    cell->unit = unit;
    table->used = true;
    return cell;
}

static void cell_dirty(struct pg_txn *txn, struct pg_cell *cell)
{
    txn->changed = true;
    txn->tables.dirty += !cell->dirty;
    cell->dirty = true;
}

/* --- notes of merges --------------------------------------------------------------------------- */

bool pg_moves_read(const struct people_txn *txn)
{
    return pg_txn_of(txn)->tables.at[TABLE_MOVES].whole;
}

void pg_moves_call(struct people_txn *txn, struct pg_call *call)
{
    *call = (struct pg_call){ .sql = PG_STATE_ALL_SQL };
    pg_add_i32(call, pg_of(txn->people)->arena, TABLE_MOVES);
}

int pg_moves_take(struct people_txn *txn, const PGresult *result, struct err *err)
{
    struct pg_one_table *table = &pg_txn_of(txn)->tables.at[TABLE_MOVES];

    for (int row = 0; row < PQntuples(result); row++) {
        struct pg_cell *cell = cell_make(txn, TABLE_MOVES, pg_bytes(result, row, 1), (int32_t)pg_i64(result, row, 0), err);

        if (cell == NULL)
            return -1;
        if (!cell->dirty && (cell->value = arena_copy(pg_of(txn->people)->arena, pg_bytes(result, row, 2))).at == NULL)
            return pg_full(err);
    }
    table->whole = true;
    return 0;
}

static int whole_read(struct people_txn *txn, enum people_table table, struct err *err)
{
    struct pg_call call;
    int            rc;

    if (table != TABLE_MOVES || pg_moves_read(txn))
        return 0;
    pg_moves_call(txn, &call);
    rc = pg_read(txn, &call, 1, err);
    if (rc == 0)
        rc = pg_moves_take(txn, call.result, err);
    pg_calls_end(&call, 1);
    return rc;
}

int pg_holder_ours(struct people_txn *txn, uint64_t holder, struct err *err)
{
    uint64_t              room;
    const struct pg_cell *cell;

    if (whole_read(txn, TABLE_MOVES, err) < 0)
        return -1;
    cell = cell_find(&pg_txn_of(txn)->tables.at[TABLE_MOVES], stored_key(TABLE_MOVES, people_number_span(&holder), &room));
    return cell != NULL && cell->unit == (int32_t)pg_of(txn->people)->unit;
}

/* --- what the server has ----------------------------------------------------------------------- */

/* Only the owner's own entries stay as they are between transactions. */
static bool is_kept(const struct people_txn *txn, enum people_table table)
{
    return txn->write && table != TABLE_MOVES;
}

static bool edge_known(const struct pg_edge *edge, struct span from)
{
    return edge->valid && compare(span_of(edge->from, edge->from_bytes), from) <= 0 &&
           (!edge->found || compare(from, span_of(edge->key, edge->key_bytes)) <= 0);
}

static void edge_set(struct pg_edge *edge, struct span from, const struct people_entry *entry)
{
    size_t needed = entry == NULL ? 0 : entry->value.bytes;

    edge->valid = false;
    if (from.bytes > sizeof edge->from || (entry != NULL && entry->key.bytes > sizeof edge->key))
        return;
    if (needed > edge->value_room) {
        uint8_t *more = realloc(edge->value, needed);

        if (more == NULL)
            return;
        edge->value = more;
        edge->value_room = needed;
    }
    if (from.bytes > 0)
        memcpy(edge->from, from.at, from.bytes);
    edge->from_bytes = from.bytes;
    edge->found = entry != NULL;
    if (entry != NULL) {
        memcpy(edge->key, entry->key.at, entry->key.bytes);
        if (needed > 0)
            memcpy(edge->value, entry->value.at, needed);
        edge->key_bytes = entry->key.bytes;
        edge->value_bytes = needed;
    }
    edge->valid = true;
}

static struct people_entry edge_entry(const struct pg_edge *edge)
{
    return (struct people_entry){ span_of(edge->key, edge->key_bytes), span_of(edge->value, edge->value_bytes) };
}

static int page_read(struct people_txn *txn, enum people_table number, struct span from, struct err *err)
{
    struct arena   *arena = pg_of(txn->people)->arena;
    struct pg_page *page = &pg_txn_of(txn)->tables.at[number].page;
    struct pg_call  call = { .sql = PG_STATE_SEEK_SQL };
    int             rc;

    *page = (struct pg_page){ .from = arena_copy(arena, from) };
    pg_add_i32(&call, arena, (int32_t)number);
    pg_add_i32(&call, arena, (int32_t)pg_of(txn->people)->unit);
    pg_add_bytes(&call, arena, from);
    pg_add_i32(&call, arena, PAGE_ENTRIES);
    rc = pg_read(txn, &call, 1, err);
    if (rc == 0) {
        page->count = (size_t)PQntuples(call.result);
        page->entries = arena_alloc_array(arena, page->count + 1, sizeof *page->entries);
        page->to_end = page->count < PAGE_ENTRIES;
        if (page->entries == NULL || page->from.at == NULL)
            rc = pg_full(err);
    }
    for (size_t i = 0; rc == 0 && i < page->count; i++) {
        page->entries[i].key = arena_copy(arena, pg_bytes(call.result, (int)i, 0));
        page->entries[i].value = arena_copy(arena, pg_bytes(call.result, (int)i, 1));
        if (page->entries[i].key.at == NULL || page->entries[i].value.at == NULL)
            rc = pg_full(err);
    }
    pg_calls_end(&call, 1);
    page->read = rc == 0;
    if (rc == 0 && is_kept(txn, number))
        edge_set(&pg_of(txn->people)->edges[number][0], from, page->count == 0 ? NULL : &page->entries[0]);
    return rc;
}

/* The server's first entry at or behind `from`. 1, 0, -1. */
static int server_seek(struct people_txn *txn, enum people_table number, struct span from, struct people_entry *out, struct err *err)
{
    struct pg_page       *page = &pg_txn_of(txn)->tables.at[number].page;
    const struct pg_edge *edge = &pg_of(txn->people)->edges[number][0];

    if (pg_txn_of(txn)->tables.at[number].whole)
        return 0;
    if (is_kept(txn, number) && edge_known(edge, from)) {
        if (edge->found)
            *out = edge_entry(edge);
        return edge->found;
    }
    for (int tries = 0; tries < 2; tries++) {
        if (page->read && compare(page->from, from) <= 0) {
            for (size_t i = 0; i < page->count; i++)
                if (compare(page->entries[i].key, from) >= 0) {
                    *out = page->entries[i];
                    return 1;
                }
            if (page->to_end)
                return 0;
        }
        if (page_read(txn, number, from, err) < 0)
            return -1;
    }
    return 0;
}

/* The server's last entry, of those before `before` (at NULL: of all). 1, 0, -1. */
static int server_last(struct people_txn *txn, enum people_table number, struct span before, struct people_entry *out, struct err *err)
{
    struct arena   *arena = pg_of(txn->people)->arena;
    struct pg_edge *edge = &pg_of(txn->people)->edges[number][1];
    struct pg_call  call = { .sql = PG_STATE_LAST_SQL };
    int             rc;

    if (pg_txn_of(txn)->tables.at[number].whole)
        return 0;
    if (before.at == NULL && is_kept(txn, number) && edge->valid) {
        if (edge->found)
            *out = edge_entry(edge);
        return edge->found;
    }
    pg_add_i32(&call, arena, (int32_t)number);
    pg_add_i32(&call, arena, (int32_t)pg_of(txn->people)->unit);
    pg_add_bytes(&call, arena, before);
    rc = pg_read(txn, &call, 1, err);
    if (rc == 0 && PQntuples(call.result) > 0) {
        out->key = arena_copy(arena, pg_bytes(call.result, 0, 0));
        out->value = arena_copy(arena, pg_bytes(call.result, 0, 1));
        rc = out->key.at == NULL || out->value.at == NULL ? pg_full(err) : 1;
    }
    pg_calls_end(&call, 1);
    if (rc >= 0 && before.at == NULL && is_kept(txn, number))
        edge_set(edge, SPAN(""), rc == 1 ? out : NULL);
    return rc;
}

/* --- both together ----------------------------------------------------------------------------- */

int pg_table_get(struct people_txn *txn, enum people_table number, struct span key, struct span *value_out, struct err *err)
{
    struct pg            *pg = pg_of(txn->people);
    uint64_t              room;
    struct span           stored = stored_key(number, key, &room);
    const struct pg_cell *cell = cell_find(&pg_txn_of(txn)->tables.at[number], stored);
    struct pg_call        call = { .sql = PG_STATE_GET_SQL };
    bool                  hot = is_kept(txn, number) && pg->hot != NULL && stored.bytes <= HOT_KEY_BYTES_MAX;
    int                   rc = 0;

    if (cell != NULL) {
        *value_out = cell->value;
        return !cell->deleted;
    }
    if (whole_read(txn, number, err) < 0)
        return -1;
    if (pg_txn_of(txn)->tables.at[number].whole) {
        cell = cell_find(&pg_txn_of(txn)->tables.at[number], stored);
        if (cell != NULL)
            *value_out = cell->value;
        return cell != NULL && !cell->deleted;
    }
    switch (hot ? hot_get(pg->hot, HOT_TABLE + number, stored, value_out) : HOT_UNKNOWN) {
    case HOT_THERE: return 1;
    case HOT_ABSENT: return 0;
    case HOT_UNKNOWN: break;
    }
    if (number == TABLE_JOINS && pg_joins_absent(txn, stored, &rc, err))
        return 0;
    if (number == TABLE_JOINS && rc < 0)
        return -1;
    pg_add_i32(&call, pg->arena, (int32_t)number);
    pg_add_i32(&call, pg->arena, (int32_t)pg->unit);
    pg_add_bytes(&call, pg->arena, stored);
    rc = pg_read(txn, &call, 1, err);
    if (rc == 0 && PQntuples(call.result) > 0) {
        *value_out = arena_copy(pg->arena, pg_bytes(call.result, 0, 0));
        rc = value_out->at == NULL ? pg_full(err) : 1;
    }
    pg_calls_end(&call, 1);
    if (rc == 1 && hot)
        (void)hot_put(pg->hot, HOT_TABLE + number, stored, *value_out);
    else if (rc == 0 && hot)
        hot_put_absent(pg->hot, HOT_TABLE + number, stored);
    return rc;
}

uint8_t *pg_table_reserve(struct people_txn *txn, enum people_table number, struct span key, size_t bytes, bool append, struct err *err)
{
    uint64_t        room;
    struct pg_cell *cell = cell_make(txn, number, stored_key(number, key, &room), (int32_t)pg_of(txn->people)->unit, err);
    uint8_t        *at = arena_alloc(pg_of(txn->people)->arena, bytes + 1);

    (void)append;
    assert(txn->write);
    if (cell == NULL)
        return NULL;
    if (at == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    if (number == TABLE_JOINS)
        pg_joins_note(pg_of(txn->people), cell->key); /* also when nothing comes of it: then the server is asked, no more */
    cell->value = span_of(at, bytes);
    cell->deleted = false;
    cell_dirty(pg_txn_of(txn), cell);
    return at;
}

int pg_table_delete(struct people_txn *txn, enum people_table number, struct span key, struct err *err)
{
    uint64_t        room;
    struct span     ignored;
    struct pg_cell *cell;
    int             got = pg_table_get(txn, number, key, &ignored, err);

    assert(txn->write);
    if (got <= 0)
        return got;
    cell = cell_make(txn, number, stored_key(number, key, &room), (int32_t)pg_of(txn->people)->unit, err);
    if (cell == NULL)
        return -1;
    cell->deleted = true;
    cell_dirty(pg_txn_of(txn), cell);
    return 1;
}

/* An entry as the caller sees it, and the table's position. */
static int give(struct people_txn *txn, enum people_table number, struct span key, struct span value, struct people_entry *out,
                struct err *err)
{
    struct arena        *arena = pg_of(txn->people)->arena;
    struct pg_one_table *table = &pg_txn_of(txn)->tables.at[number];
    uint64_t             room;

    table->position = arena_copy(arena, key);
    *out = (struct people_entry){ is_number[number] ? arena_copy(arena, stored_key(number, key, &room)) : table->position, value };
    return table->position.at == NULL || out->key.at == NULL ? pg_full(err) : 1;
}

static int seek(struct people_txn *txn, enum people_table number, struct span from, struct people_entry *out, struct err *err)
{
    struct pg_one_table *table = &pg_txn_of(txn)->tables.at[number];

    if (whole_read(txn, number, err) < 0)
        return -1;
    for (;;) {
        struct pg_cell     *cell = cell_at_or_behind(table, from);
        struct people_entry entry;
        int                 got = server_seek(txn, number, from, &entry, err);

        if (got < 0)
            return -1;
        if (got == 1 && (cell == NULL || compare(entry.key, cell->key) < 0))
            return give(txn, number, entry.key, entry.value, out, err);
        if (cell == NULL) {
            table->position = span_of(NULL, 0);
            return 0;
        }
        if (!cell->deleted)
            return give(txn, number, cell->key, cell->value, out, err);
        from = key_behind(pg_of(txn->people)->arena, cell->key);
        if (from.at == NULL)
            return pg_full(err);
    }
}

int pg_table_seek(struct people_txn *txn, enum people_table number, struct span from, struct people_entry *out, struct err *err)
{
    uint64_t room;

    return seek(txn, number, stored_key(number, from, &room), out, err);
}

int pg_table_next(struct people_txn *txn, enum people_table number, struct people_entry *out, struct err *err)
{
    struct pg_one_table *table = &pg_txn_of(txn)->tables.at[number];
    struct span          from = table->position;

    if (from.at == NULL)
        return 0;
    from = key_behind(pg_of(txn->people)->arena, from);
    return from.at == NULL ? pg_full(err) : seek(txn, number, from, out, err);
}

int pg_table_last(struct people_txn *txn, enum people_table number, struct people_entry *out, struct err *err)
{
    struct pg_one_table  *table = &pg_txn_of(txn)->tables.at[number];
    struct people_entry   entry;
    const struct pg_cell *last, *same;
    int                   got = whole_read(txn, number, err) < 0 ? -1 : server_last(txn, number, span_of(NULL, 0), &entry, err);

    while (got == 1 && (same = cell_find(table, entry.key)) != NULL && same->deleted)
        got = server_last(txn, number, same->key, &entry, err);
    if (got < 0)
        return -1;
    last = cell_last(table);
    if (last != NULL && (got == 0 || compare(last->key, entry.key) >= 0))
        return give(txn, number, last->key, last->value, out, err);
    if (got == 1)
        return give(txn, number, entry.key, entry.value, out, err);
    table->position = span_of(NULL, 0);
    return 0;
}

int pg_table_drop(struct people_txn *txn, enum people_table number, struct err *err)
{
    struct pg_one_table *table = &pg_txn_of(txn)->tables.at[number];
    struct pg_cell      *cell;

    assert(txn->write && table->position.at != NULL);
    cell = cell_make(txn, number, table->position, (int32_t)pg_of(txn->people)->unit, err);
    if (cell == NULL)
        return -1;
    cell->deleted = true;
    cell_dirty(pg_txn_of(txn), cell);
    return 0;
}

/* --- to the server ----------------------------------------------------------------------------- */

int pg_table_calls(struct people_txn *base, struct pg_call *calls, size_t *count, struct err *err)
{
    struct pg_txn  *txn = pg_txn_of(base);
    struct arena   *arena = pg_of(base->people)->arena;
    struct pg_array tabs[2], units[2], keys[2], values;
    bool            any[2] = { false, false };

    (void)err;
    if (txn->tables.dirty == 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        pg_array_init(&tabs[i], arena, PG_INT4);
        pg_array_init(&units[i], arena, PG_INT4);
        pg_array_init(&keys[i], arena, PG_BYTEA);
    }
    pg_array_init(&values, arena, PG_BYTEA);
    for (int t = 0; t < TABLE_COUNT; t++)
        for (const struct pg_cell *cell = txn->tables.at[t].head.next[0]; cell != NULL; cell = cell->next[0]) {
            int which = cell->deleted;

            if (!cell->dirty)
                continue;
            any[which] = true;
            pg_array_i32(&tabs[which], t);
            pg_array_i32(&units[which], cell->unit);
            pg_array_bytes(&keys[which], cell->key);
            if (which == 0)
                pg_array_bytes(&values, cell->value);
        }
    for (int i = 0; i < 2; i++) {
        struct pg_call *call = &calls[*count];

        if (!any[i])
            continue;
        *call = (struct pg_call){ .sql = i == 0 ? PG_STATE_PUT_SQL : PG_STATE_DELETE_SQL };
        pg_add_array(call, &tabs[i]);
        pg_add_array(call, &units[i]);
        pg_add_array(call, &keys[i]);
        if (i == 0)
            pg_add_array(call, &values);
        ++*count;
    }
    return 0;
}

/* What a written cell makes of what is known of its table's edges. */
static void edges_follow(struct pg_edge edges[2], const struct pg_cell *cell)
{
    struct pg_edge     *first = &edges[0], *last = &edges[1];
    struct people_entry entry = { cell->key, cell->value };
    int                 order;

    if (first->valid && compare(cell->key, span_of(first->from, first->from_bytes)) >= 0) {
        struct span from = span_of(first->from, first->from_bytes);

        order = first->found ? compare(cell->key, span_of(first->key, first->key_bytes)) : -1;
        if (cell->deleted && order == 0)
            first->valid = false;
        else if (!cell->deleted && order <= 0)
            edge_set(first, from, &entry);
    }
    if (last->valid) {
        order = last->found ? compare(cell->key, span_of(last->key, last->key_bytes)) : 1;
        if (cell->deleted && order == 0)
            last->valid = false;
        else if (!cell->deleted && order >= 0)
            edge_set(last, SPAN(""), &entry);
    }
}

void pg_table_keep(struct people_txn *base)
{
    struct pg *pg = pg_of(base->people);

    for (int t = 0; t < TABLE_COUNT; t++) {
        if (!is_kept(base, (enum people_table)t))
            continue;
        for (const struct pg_cell *cell = pg_txn_of(base)->tables.at[t].head.next[0]; cell != NULL; cell = cell->next[0]) {
            if (!cell->dirty)
                continue;
            edges_follow(pg->edges[t], cell);
            if (pg->hot == NULL || cell->key.bytes > HOT_KEY_BYTES_MAX)
                continue;
            hot_forget(pg->hot, HOT_TABLE + (unsigned)t, cell->key);
            if (!cell->deleted)
                (void)hot_put(pg->hot, HOT_TABLE + (unsigned)t, cell->key, cell->value);
            else
                hot_put_absent(pg->hot, HOT_TABLE + (unsigned)t, cell->key);
        }
    }
}
