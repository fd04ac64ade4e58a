/* parts: postgres
 * people/operate_cluster_test.c - operate_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/operate_test.c"
