/* parts: postgres
 * people/people_cluster_test.c - people_test.c on PostgreSQL: the same facts, to the row. */
#include "people/pg_test_kit.h"

#include "people/people_test.c"
