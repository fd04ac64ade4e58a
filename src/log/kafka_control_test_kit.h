/* log/kafka_control_test_kit.h - a test's word to the brokers that run for it: "kill 1", "pause" (tests/parts/kafka.py lists them).
 * Returns when it is done; ends the program when it cannot be. Included by tests only. */
#ifndef PENSTOCK_LOG_KAFKA_CONTROL_TEST_KIT_H
#define PENSTOCK_LOG_KAFKA_CONTROL_TEST_KIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static inline void kafka_control(const char *line)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const char        *path = getenv("PENSTOCK_TEST_KAFKA_CONTROL");
    char               answer[500] = "";
    size_t             bytes = 0;
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t            got = 1;

    if (path != NULL)
        (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (path == NULL || fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0 || dprintf(fd, "%s\n", line) < 0)
        got = 0;
    while (got > 0 && bytes < sizeof answer - 1 && memchr(answer, '\n', bytes) == NULL) {
        got = read(fd, answer + bytes, sizeof answer - 1 - bytes);
        bytes += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        (void)close(fd);
    if (strcmp(answer, "ok\n") != 0) { /* perhaps on a thread that cmocka does not know */
        (void)fprintf(stderr, "the brokers of tests/parts were told \"%s\", and said \"%s\"\n", line, answer);
        abort();
    }
}

#endif
