/* warehouse/clickhouse_schema.h - the tables at ClickHouse, in three forms, and how they come to be.
 *
 *   single        one server: MergeTree tables, to which the loader adds rows
 *   cluster       Replicated tables on each shard, and Distributed ones of the plain names over them
 *   kafka-engine  as single, and in front of each table a Kafka table and a view that moves its rows: for those who let
 *                 ClickHouse itself read the topics. The loader is not needed then, and its promise of each row once
 *                 is not kept: the engine repeats rows when it is stopped in the middle
 *
 * Tables that PostHog has bear its names and columns, so that its queries work, and columns of ours beside. Tables that
 * are there already stay what they are, and get the columns that they have not. Queries of people see views in a
 * database of their own, DATABASE_sql, with the names and columns of docs/sql.md.
 * @thread any */
#ifndef PENSTOCK_WAREHOUSE_CLICKHOUSE_SCHEMA_H
#define PENSTOCK_WAREHOUSE_CLICKHOUSE_SCHEMA_H

#include "base/buf.h"
#include "base/err.h"

enum clickhouse_form { CLICKHOUSE_SINGLE, CLICKHOUSE_CLUSTER, CLICKHOUSE_KAFKA };
enum { CLICKHOUSE_SCHEMA = 3 }; /* version: what this Penstock makes and needs */

struct clickhouse_schema {
    enum clickhouse_form form;
    const char *database;               /* and DATABASE_sql for views */
    const char *cluster;                /* CLICKHOUSE_CLUSTER */
    const char *brokers, *topic_prefix; /* CLICKHOUSE_KAFKA: host:port[,host:port] */
};

/* Each statement in its order; each of them may be run again. What `each` fails with ends it. */
typedef int clickhouse_statement(void *ctx, const char *sql, struct err *err);
int clickhouse_schema(const struct clickhouse_schema *schema, clickhouse_statement *each, void *ctx, struct err *err) must_check;

#endif
