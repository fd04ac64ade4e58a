/* parts: postgres
 * people/moves_cluster_test.c - moves_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/moves_test.c"
