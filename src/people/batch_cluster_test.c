/* parts: postgres
 * people/batch_cluster_test.c - batch_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/batch_test.c"
