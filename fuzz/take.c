/* fuzz/take.c - any bytes as the message TAKE, with so many descriptors as its first byte says: no more than there is room for are
 * kept, none stays open, each name is ended, and who finds a topic finds its descriptor. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/heir_take.h"
#include "capture/heir_test_kit.h"
#include "fuzz.h"

enum { FDS_MOST = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static int  ends[2] = { -1, -1 }, any;
    struct take take;
    int         fds[TAKE_FDS_MAX], count, lowest;
    size_t      sent;

    if (bytes < 2 || bytes > 8192)
        return 0;
    if (ends[0] < 0)
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0 && (any = open("/dev/null", O_RDWR)) >= 0);
    sent = data[0] % (FDS_MOST + 1);
    lowest = dup(any);
    MUST(lowest >= 0 && close(lowest) == 0);
    MUST(heir_kit_send(ends[0], any, data + 1, bytes - 1, sent) == (ssize_t)(bytes - 1));
    memset(&take, 0xa5, sizeof take);
    count = take_receive(ends[1], &take, fds);
    MUST(count == (int)(sent < TAKE_FDS_MAX ? sent : TAKE_FDS_MAX));
    MUST(take_is_whole(&take, count) == (count > 0 && bytes > 4 && memcmp(data + 1, "TAKE", 4) == 0));
    for (int i = 0; i < TAKE_TOPICS_MAX; i++) {
        int at;

        MUST(memchr(take.names[i], 0, TAKE_NAME_BYTES) != NULL);
        at = take_find(&take, fds, count, take.names[i]);
        MUST(i + 1 >= count ? at <= i : at >= 1 && at <= i + 1 && strcmp(take.names[at - 1], take.names[i]) == 0);
    }
    for (int i = 0; i < count; i++)
        MUST(fcntl(fds[i], F_GETFD) == FD_CLOEXEC && close(fds[i]) == 0);
    sent = (size_t)dup(any);
    MUST((int)sent == lowest && close((int)sent) == 0); /* none is left open */
    return 0;
}
