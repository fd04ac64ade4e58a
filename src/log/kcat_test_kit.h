/* log/kcat_test_kit.h - messages by a client that is not ours. Tests only. */
#ifndef PENSTOCK_LOG_KCAT_TEST_KIT_H
#define PENSTOCK_LOG_KCAT_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* values: a line each, or as flags say (kcat -P). */
static inline void kcat_write(const char *brokers, const char *prefix, const char *topic, const char *flags, const char *values)
{
    char  command[600];
    FILE *to;

    assert_true(snprintf(command, sizeof command, "kcat -P -b %s -t %s%s %s", brokers, prefix, topic, flags) < (int)sizeof command);
    to = popen(command, "w");
    assert_non_null(to);
    assert_int_equal(fwrite(values, 1, strlen(values), to), strlen(values));
    assert_int_equal(pclose(to), 0);
}

#endif
