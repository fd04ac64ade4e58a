/* warehouse/seam.c - each function of warehouse.h, to the backend that the options named. */
#include <string.h>

#include "warehouse/warehouse_backend.h"

/* Whatever else a backend's struct warehouse holds, it begins with this. */
static const struct warehouse_backend *backend_of(const struct warehouse *warehouse)
{
    return *(const struct warehouse_backend *const *)warehouse;
}

int warehouse_open(const struct warehouse_options *options, struct warehouse **out, struct err *err)
{
    return warehouse_on_clickhouse(options->settings) ? clickhouse_open(options, out, err) : engine_open(options, out, err);
}

void warehouse_close(struct warehouse *warehouse)
{
    if (warehouse != NULL)
        backend_of(warehouse)->close(warehouse);
}

int warehouse_place(struct warehouse *warehouse, struct warehouse_place *out, struct err *err)
{
    return backend_of(warehouse)->place(warehouse, out, err);
}

int warehouse_place_of(struct warehouse *warehouse, uint32_t unit, uint64_t next_out[WAREHOUSE_CURSORS_MAX], struct err *err)
{
    const struct warehouse_backend *backend = backend_of(warehouse);

    memset(next_out, 0, WAREHOUSE_CURSORS_MAX * sizeof *next_out);
    return backend->place_of == NULL ? 0 : backend->place_of(warehouse, unit, next_out, err);
}

void warehouse_hurry(struct warehouse *warehouse, bool on)
{
    const struct warehouse_backend *backend = backend_of(warehouse);

    if (backend->hurry != NULL)
        backend->hurry(warehouse, on);
}

int warehouse_add(struct warehouse *warehouse, const struct row *row, struct err *err)
{
    return backend_of(warehouse)->add(warehouse, row, err);
}

size_t warehouse_pending(const struct warehouse *warehouse)
{
    return backend_of(warehouse)->pending(warehouse);
}

size_t warehouse_pending_of(const struct warehouse *warehouse, enum row_table table)
{
    return backend_of(warehouse)->pending_of(warehouse, table);
}

bool warehouse_full(const struct warehouse *warehouse)
{
    return backend_of(warehouse)->full(warehouse);
}

int64_t warehouse_pace_us(const struct warehouse *warehouse)
{
    return backend_of(warehouse)->pace_us(warehouse);
}

int warehouse_commit(struct warehouse *warehouse, struct warehouse_place *place, struct err *err)
{
    return backend_of(warehouse)->commit(warehouse, place, err);
}

void warehouse_rollback(struct warehouse *warehouse)
{
    backend_of(warehouse)->rollback(warehouse);
}

bool warehouse_in_doubt(const struct warehouse *warehouse)
{
    const struct warehouse_backend *backend = backend_of(warehouse);

    return backend->in_doubt != NULL && backend->in_doubt(warehouse);
}

size_t warehouse_erase_max(const struct warehouse *warehouse)
{
    return backend_of(warehouse)->erase_fix == NULL ? 1 : WAREHOUSE_ERASE_MAX;
}

int warehouse_erase_fix(struct warehouse *warehouse, uint64_t first, uint64_t *until_in_out, struct err *err)
{
    const struct warehouse_backend *backend = backend_of(warehouse);

    return backend->erase_fix == NULL ? 0 : backend->erase_fix(warehouse, first, until_in_out, err);
}

int warehouse_erase(struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders, size_t count,
                    struct warehouse_erased *each_out, struct err *err)
{
    return backend_of(warehouse)->erase(warehouse, project, orders, count, each_out, err);
}

int warehouse_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                     struct err *err)
{
    return backend_of(warehouse)->expire(warehouse, project, before_us, out, err);
}

int warehouse_wants_rewrite(struct warehouse *warehouse, bool *out, struct err *err)
{
    return backend_of(warehouse)->wants_rewrite(warehouse, out, err);
}

int warehouse_rewrite(const struct warehouse_options *options, struct err *err)
{
    return warehouse_on_clickhouse(options->settings) ? 0 : engine_rewrite(options, err);
}

int warehouse_query(struct warehouse *warehouse, const char *sql, enum warehouse_format format, warehouse_write *write,
                    void *ctx, const atomic_bool *cancel, struct err *err)
{
    return backend_of(warehouse)->query(warehouse, sql, format, write, ctx, cancel, err);
}
