/* warehouse/row_check.c - see row_check.h. */
#include "warehouse/row_check.h"

#include <inttypes.h>

#include "wire/utf8.h"

int row_not_utf8(const struct row_table_info *info, size_t column, struct span text, struct err *err)
{
    return err_set(err, ERR_INPUT, "%s.%s is not UTF-8 from byte %zu on", info->name, info->columns[column].name,
                   utf8_valid_until(text));
}

int row_check(const struct row *row, struct err *err)
{
    const struct row_table_info *info = &row_tables[row->table];

    for (size_t i = 0; i < info->column_count; i++) {
        const struct row_cell *cell = &row->cells[i];

        if (cell->null || row_cell_packed(row, i)) /* who unpacks them looks at those */
            continue;
        if ((info->columns[i].type == ROW_TEXT || info->columns[i].type == ROW_JSON) && !utf8_valid(cell->text))
            return row_not_utf8(info, i, cell->text, err);
        if (info->columns[i].type == ROW_TIME && (cell->i64 >= INT64_MAX || cell->i64 <= -INT64_MAX))
            return err_set(err, ERR_INPUT, "%s.%s is no instant: %" PRId64, info->name, info->columns[i].name,
                           cell->i64);
    }
    return 0;
}
