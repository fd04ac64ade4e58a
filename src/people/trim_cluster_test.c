/* parts: postgres
 * people/trim_cluster_test.c - trim_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/trim_test.c"
