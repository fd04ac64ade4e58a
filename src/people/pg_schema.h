/* people/pg_schema.h - the tables in PostgreSQL (pg_schema.c). Outside of transactions; a connection that is there. */
#ifndef PENSTOCK_PEOPLE_PG_SCHEMA_H
#define PENSTOCK_PEOPLE_PG_SCHEMA_H

#include "people/pg_conn.h"

/* Makes what is missing. ERR_INPUT: a later Penstock made them. */
int pg_schema_make(struct pg_conn *conn, struct err *err) must_check;
/* The partition of `seen` of a day, made when it is missing; and dropped. */
int pg_schema_seen_day(struct pg_conn *conn, int32_t day, struct err *err) must_check;
int pg_schema_seen_drop(struct pg_conn *conn, int32_t day, struct err *err) must_check;

#endif
