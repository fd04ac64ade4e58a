/* parts: postgres
 * people/history_cluster_test.c - history_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/history_test.c"
