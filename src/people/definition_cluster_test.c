/* parts: postgres
 * people/definition_cluster_test.c - definition_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/definition_test.c"
