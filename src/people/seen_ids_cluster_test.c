/* parts: postgres
 * people/seen_ids_cluster_test.c - seen_ids_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/seen_ids_test.c"
