/* parts: postgres
 * people/again_cluster_test.c - again_test.c on PostgreSQL. */
#include "people/pg_test_kit.h"

#include "people/again_test.c"
