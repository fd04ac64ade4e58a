/* warehouse/row_check.h - which rows no backend takes.
 *
 * An engine trusts its strings: one that is not UTF-8 could be stored, and would then fail every query
 * that touches it. Times have no such check in vectors either; DuckDB's two largest numbers mean infinity. @thread any */
#ifndef PENSTOCK_WAREHOUSE_ROW_CHECK_H
#define PENSTOCK_WAREHOUSE_ROW_CHECK_H

#include "event/packed.h"
#include "event/row.h"

static inline bool row_cell_packed(const struct row *row, size_t column)
{
    return row_tables[row->table].columns[column].type == ROW_JSON && !row->cells[column].null &&
           packed_is(row->cells[column].text);
}

/* ERR_INPUT: a text is not UTF-8, or a time no instant. Packed properties are not looked into. */
int row_check(const struct row *row, struct err *err) must_check;
/* -1, ERR_INPUT: this text of the column is not. */
int row_not_utf8(const struct row_table_info *info, size_t column, struct span text, struct err *err);

#endif
