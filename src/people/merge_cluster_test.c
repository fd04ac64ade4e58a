/* parts: postgres
 * people/merge_cluster_test.c - merge_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/merge_test.c"
