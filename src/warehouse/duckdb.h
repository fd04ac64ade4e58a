/* warehouse/duckdb.h - DuckDB's C API, as much of it as Penstock uses, found at run time.
 *
 * Why not linked: the library is 70 MB, no distribution packages it, and every role but `load` and every
 * command but `sql` does without it. dlopen also lets a wrong version be told in words instead of in the
 * words of the dynamic linker.
 *
 * The declarations are written from the API's public documentation (duckdb.org/docs/stable/clients/c).
 * DuckDB keeps these stable within a major version; duckdb_load refuses libraries older than
 * DUCKDB_VERSION_MIN. Life: duckdb_load once a process, never unloaded (C++ libraries with threads and
 * thread-local state do not survive it).
 * @thread any, after duckdb_load */
#ifndef PENSTOCK_WAREHOUSE_DUCKDB_H
#define PENSTOCK_WAREHOUSE_DUCKDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { DUCKDB_VERSION_MAJOR_MIN = 1, DUCKDB_VERSION_MINOR_MIN = 5 };

typedef uint64_t idx_t;

/* Objects of the engine: pointers to structs that only it looks into. */
#define DUCKDB_OBJECT(name) typedef struct duckdb_##name##_object *duckdb_##name
DUCKDB_OBJECT(database);
DUCKDB_OBJECT(connection);
DUCKDB_OBJECT(config);
DUCKDB_OBJECT(extracted_statements);
DUCKDB_OBJECT(prepared_statement);
DUCKDB_OBJECT(pending_result);
DUCKDB_OBJECT(data_chunk);
DUCKDB_OBJECT(vector);
DUCKDB_OBJECT(logical_type);
DUCKDB_OBJECT(client_context);
DUCKDB_OBJECT(table_function);
/* What a table function's callbacks are given. */
DUCKDB_OBJECT(bind_info);
DUCKDB_OBJECT(init_info);
DUCKDB_OBJECT(function_info);
typedef void *duckdb_task_state; /* threads of ours that work for the engine */
typedef void duckdb_delete_callback(void *);
typedef void duckdb_table_function_bind(duckdb_bind_info);
typedef void duckdb_table_function_init(duckdb_init_info);
typedef void duckdb_table_function_run(duckdb_function_info, duckdb_data_chunk);

typedef enum { DUCKDB_SUCCESS = 0, DUCKDB_ERROR = 1 } duckdb_state;

typedef enum {
    DUCKDB_PENDING_RESULT_READY = 0,
    DUCKDB_PENDING_RESULT_NOT_READY = 1,
    DUCKDB_PENDING_ERROR = 2,
    DUCKDB_PENDING_NO_TASKS_AVAILABLE = 3
} duckdb_pending_state;

typedef enum {
    DUCKDB_TYPE_BOOLEAN = 1,
    DUCKDB_TYPE_TINYINT = 2,
    DUCKDB_TYPE_BIGINT = 5,
    DUCKDB_TYPE_UBIGINT = 9,
    DUCKDB_TYPE_FLOAT = 10,
    DUCKDB_TYPE_DOUBLE = 11,
    DUCKDB_TYPE_TIMESTAMP = 12,
    DUCKDB_TYPE_HUGEINT = 16,
    DUCKDB_TYPE_VARCHAR = 17,
    DUCKDB_TYPE_DECIMAL = 19,
    DUCKDB_TYPE_UUID = 27,
    DUCKDB_TYPE_UHUGEINT = 32
} duckdb_type;

typedef enum {
    DUCKDB_STATEMENT_TYPE_INVALID = 0,
    DUCKDB_STATEMENT_TYPE_SELECT = 1,
    DUCKDB_STATEMENT_TYPE_EXPLAIN = 4
} duckdb_statement_type;

typedef enum {
    DUCKDB_ERROR_OUT_OF_RANGE = 1,
    DUCKDB_ERROR_CONVERSION = 2,
    DUCKDB_ERROR_IO = 28,
    DUCKDB_ERROR_INTERRUPT = 29,
    DUCKDB_ERROR_FATAL = 30,
    DUCKDB_ERROR_INTERNAL = 31,
    DUCKDB_ERROR_OUT_OF_MEMORY = 33
} duckdb_error_type;

/* Filled and read by the library alone; the first five fields are kept for old callers. */
typedef struct {
    idx_t deprecated_counts[3];
    void *deprecated_columns;
    char *deprecated_error;
    void *internal;
} duckdb_result;

/* A VARCHAR in a vector: up to 12 bytes in place, else their first 4 and a pointer. */
typedef union {
    struct { uint32_t length; char prefix[4]; const char *ptr; } pointer;
    struct { uint32_t length; char bytes[12]; } inlined;
} duckdb_string_t;
enum { DUCKDB_STRING_INLINED_MAX = 12 };

/* A UUID in a vector is such a number: the sixteen bytes read as one big-endian integer, its highest bit
 * flipped so that signed order is byte order. */
typedef struct { uint64_t lower; int64_t upper; } duckdb_hugeint;

/* X(result, name without "duckdb_", (arguments)) */
#define DUCKDB_FUNCTIONS(X)                                                                                     \
    X(const char *, library_version, (void))                                                                    \
    X(void, free, (void *))                                                                                     \
    X(duckdb_state, create_config, (duckdb_config *))                                                           \
    X(duckdb_state, set_config, (duckdb_config, const char *, const char *))                                    \
    X(void, destroy_config, (duckdb_config *))                                                                  \
    X(duckdb_state, open_ext, (const char *, duckdb_database *, duckdb_config, char **))                        \
    X(void, close, (duckdb_database *))                                                                         \
    X(duckdb_state, connect, (duckdb_database, duckdb_connection *))                                            \
    X(void, disconnect, (duckdb_connection *))                                                                  \
    X(void, interrupt, (duckdb_connection))                                                                     \
    X(duckdb_state, query, (duckdb_connection, const char *, duckdb_result *))                                  \
    X(void, destroy_result, (duckdb_result *))                                                                  \
    X(const char *, result_error, (duckdb_result *))                                                            \
    X(duckdb_error_type, result_error_type, (duckdb_result *))                                                  \
    X(idx_t, column_count, (duckdb_result *))                                                                   \
    X(const char *, column_name, (duckdb_result *, idx_t))                                                      \
    X(duckdb_data_chunk, fetch_chunk, (duckdb_result))                                                          \
    X(idx_t, extract_statements, (duckdb_connection, const char *, duckdb_extracted_statements *))              \
    X(const char *, extract_statements_error, (duckdb_extracted_statements))                                    \
    X(duckdb_state, prepare_extracted_statement,                                                                \
      (duckdb_connection, duckdb_extracted_statements, idx_t, duckdb_prepared_statement *))                     \
    X(void, destroy_extracted, (duckdb_extracted_statements *))                                                 \
    X(const char *, prepare_error, (duckdb_prepared_statement))                                                 \
    X(duckdb_statement_type, prepared_statement_type, (duckdb_prepared_statement))                              \
    X(idx_t, nparams, (duckdb_prepared_statement))                                                              \
    X(idx_t, prepared_statement_column_count, (duckdb_prepared_statement))                                      \
    X(const char *, prepared_statement_column_name, (duckdb_prepared_statement, idx_t))                         \
    X(duckdb_type, prepared_statement_column_type, (duckdb_prepared_statement, idx_t))                          \
    X(void, destroy_prepare, (duckdb_prepared_statement *))                                                     \
    X(duckdb_state, pending_prepared_streaming, (duckdb_prepared_statement, duckdb_pending_result *))           \
    X(duckdb_pending_state, pending_execute_task, (duckdb_pending_result))                                      \
    X(const char *, pending_error, (duckdb_pending_result))                                                     \
    X(duckdb_state, execute_pending, (duckdb_pending_result, duckdb_result *))                                  \
    X(void, destroy_pending, (duckdb_pending_result *))                                                         \
    X(duckdb_state, prepare, (duckdb_connection, const char *, duckdb_prepared_statement *))                    \
    X(duckdb_state, execute_prepared, (duckdb_prepared_statement, duckdb_result *))                             \
    X(void, connection_get_client_context, (duckdb_connection, duckdb_client_context *))                        \
    X(void, table_function_get_client_context, (duckdb_bind_info, duckdb_client_context *))                     \
    X(idx_t, client_context_get_connection_id, (duckdb_client_context))                                         \
    X(void, destroy_client_context, (duckdb_client_context *))                                                  \
    X(duckdb_table_function, create_table_function, (void))                                                     \
    X(void, destroy_table_function, (duckdb_table_function *))                                                  \
    X(void, table_function_set_name, (duckdb_table_function, const char *))                                     \
    X(void, table_function_set_extra_info, (duckdb_table_function, void *, duckdb_delete_callback *))           \
    X(void, table_function_set_bind, (duckdb_table_function, duckdb_table_function_bind *))                     \
    X(void, table_function_set_init, (duckdb_table_function, duckdb_table_function_init *))                     \
    X(void, table_function_set_function, (duckdb_table_function, duckdb_table_function_run *))                  \
    X(duckdb_state, register_table_function, (duckdb_connection, duckdb_table_function))                        \
    X(void, table_function_set_local_init, (duckdb_table_function, duckdb_table_function_init *))               \
    X(duckdb_task_state, create_task_state, (duckdb_database))                                                  \
    X(void, execute_tasks_state, (duckdb_task_state))                                                           \
    X(void, finish_execution, (duckdb_task_state))                                                              \
    X(void, destroy_task_state, (duckdb_task_state))                                                            \
    X(void *, bind_get_extra_info, (duckdb_bind_info))                                                          \
    X(void, bind_add_result_column, (duckdb_bind_info, const char *, duckdb_logical_type))                      \
    X(void, bind_set_error, (duckdb_bind_info, const char *))                                                   \
    X(void, init_set_max_threads, (duckdb_init_info, idx_t))                                                    \
    X(void *, init_get_extra_info, (duckdb_init_info))                                                          \
    X(void, init_set_init_data, (duckdb_init_info, void *, duckdb_delete_callback *))                           \
    X(void, init_set_error, (duckdb_init_info, const char *))                                                   \
    X(void *, function_get_local_init_data, (duckdb_function_info))                                             \
    X(void *, function_get_extra_info, (duckdb_function_info))                                                  \
    X(void, vector_reference_vector, (duckdb_vector, duckdb_vector))                                            \
    X(duckdb_logical_type, create_logical_type, (duckdb_type))                                                  \
    X(void, destroy_logical_type, (duckdb_logical_type *))                                                      \
    X(duckdb_data_chunk, create_data_chunk, (duckdb_logical_type *, idx_t))                                     \
    X(void, destroy_data_chunk, (duckdb_data_chunk *))                                                          \
    X(void, data_chunk_reset, (duckdb_data_chunk))                                                              \
    X(idx_t, data_chunk_get_size, (duckdb_data_chunk))                                                          \
    X(void, data_chunk_set_size, (duckdb_data_chunk, idx_t))                                                    \
    X(duckdb_vector, data_chunk_get_vector, (duckdb_data_chunk, idx_t))                                         \
    X(idx_t, vector_size, (void))                                                                               \
    X(void *, vector_get_data, (duckdb_vector))                                                                 \
    X(uint64_t *, vector_get_validity, (duckdb_vector))                                                         \
    X(void, vector_ensure_validity_writable, (duckdb_vector))

#define DUCKDB_MEMBER(result, name, arguments) result (*name) arguments;
struct duckdb {
    DUCKDB_FUNCTIONS(DUCKDB_MEMBER)
    char path[512]; /* where the library was found, for people */
};

/* Finds and loads the library: `library` when given; else libduckdb.so beside the running binary, in
 * ../lib/penstock and ../deps/duckdb from there, then wherever the dynamic linker looks. ERR_INPUT: there
 * is none, or it is too old; the text says which was tried and how to get one. */
int duckdb_load(const char *library, struct duckdb *out, struct err *err) must_check;

#endif
