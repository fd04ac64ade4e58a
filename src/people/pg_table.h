/* people/pg_table.h - the small tables (table.h) in PostgreSQL: all of them are one there, penstock.state, by table, unit and key.
 *
 * What a transaction writes is kept in order in memory, over what the server has; it goes there with the commit. As only the
 * unit's owner writes its entries, those that were read or written are known for good, and so are the first and the last entry
 * of each table, which are what is asked for again and again. Notes of merges are of all units: they are read whole, once a
 * transaction, and each unit writes its own. Numbers as keys stand big-endian there, so that they sort. */
#ifndef PENSTOCK_PEOPLE_PG_TABLE_H
#define PENSTOCK_PEOPLE_PG_TABLE_H

#include "people/pg_conn.h"
#include "people/table.h"

enum { PG_LEVELS = 12 };

/* An entry of the transaction, in a list with shortcuts (a skip list). */
struct pg_cell {
    struct span     key, value;
    int32_t         unit;
    bool            deleted; /* it is not there, or no more */
    bool            dirty;
    struct pg_cell *next[PG_LEVELS];
};

/* Some entries in a row, as the server has them. */
struct pg_page {
    bool                 read;
    bool                 to_end; /* there is nothing behind */
    struct span          from;
    struct people_entry *entries;
    size_t               count;
};

struct pg_one_table {
    struct pg_cell head; /* its next[] alone count */
    bool           used, whole; /* whole: all of the server's entries are cells */
    struct pg_page page;
    struct span    position; /* the key of the entry that was given last; at NULL: none */
};

struct pg_tables {
    struct pg_one_table at[TABLE_COUNT];
    uint32_t            random;
    size_t              dirty;
};

/* The server's first entry at or behind `from`, or its last one; kept between transactions. */
struct pg_edge {
    bool    valid, found;
    uint8_t from[PEOPLE_KEY_BYTES_MAX + 1], key[PEOPLE_KEY_BYTES_MAX + 1];
    size_t  from_bytes, key_bytes;
    uint8_t *value;
    size_t  value_bytes, value_room;
};

int pg_table_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err) must_check;
uint8_t *pg_table_reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, bool append, struct err *err);
int pg_table_delete(struct people_txn *txn, enum people_table table, struct span key, struct err *err) must_check;
int pg_table_seek(struct people_txn *txn, enum people_table table, struct span from, struct people_entry *out, struct err *err) must_check;
int pg_table_next(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err) must_check;
int pg_table_last(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err) must_check;
int pg_table_drop(struct people_txn *txn, enum people_table table, struct err *err) must_check;
int pg_holder_ours(struct people_txn *txn, uint64_t holder, struct err *err) must_check;

/* The call that reads the notes of merges, to go with another round trip; and taking its answer. */
void pg_moves_call(struct people_txn *txn, struct pg_call *call);
int  pg_moves_take(struct people_txn *txn, const PGresult *result, struct err *err) must_check;
bool pg_moves_read(const struct people_txn *txn);

/* Adds the calls that write what changed. */
int  pg_table_calls(struct people_txn *txn, struct pg_call *calls, size_t *count, struct err *err) must_check;
/* After the commit. */
void pg_table_keep(struct people_txn *txn);

#endif
