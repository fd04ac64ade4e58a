/* parts: postgres
 * people/fates_cluster_test.c - fates_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/fates_test.c"
