/* capture/heir_take.c - see heir_take.h. Room for control messages is rounded up by the kernel's macros, and the kernel fills
 * all of it: one descriptor more may come than was asked for. So what came is counted, and what is too much closed. */
#include "capture/heir_take.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union take_control { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int) * TAKE_FDS_MAX)]; };

int take_send(int fd, const struct take *take, const int *fds, size_t count)
{
    union take_control control = { .room = { 0 } };
    struct iovec       iov = { (void *)(uintptr_t)take, sizeof *take };
    struct msghdr      message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                                   .msg_controllen = CMSG_SPACE(sizeof(int) * count) };
    struct cmsghdr    *head = CMSG_FIRSTHDR(&message);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *take ? 0 : -1;
}

/* The descriptors of one control message, behind those that are there. */
static size_t take_fds(const struct cmsghdr *head, int fds[TAKE_FDS_MAX], size_t count)
{
    size_t came = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < came; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
        if (count < TAKE_FDS_MAX)
            fds[count++] = fd;
        else
            (void)close(fd);
    }
    return count;
}

int take_receive(int fd, struct take *take, int fds[TAKE_FDS_MAX])
{
    union take_control control = { .room = { 0 } };
    struct iovec       iov = { take, sizeof *take };
    struct msghdr      message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t            got;
    size_t             count = 0;

    memset(take, 0, sizeof *take);
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head))
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
            count = take_fds(head, fds, count);
    if (got == 0 && count == 0)
        return -1;
    for (size_t i = 0; i < TAKE_TOPICS_MAX; i++)
        take->names[i][TAKE_NAME_BYTES - 1] = '\0';
    return (int)count;
}

bool take_is_whole(const struct take *take, int count)
{
    return memcmp(take->word, "TAKE", TAKE_WORD_BYTES) == 0 && count >= 1;
}

int take_find(const struct take *take, const int *fds, int count, const char *topic)
{
    for (int i = 1; i < count; i++)
        if (fds[i] >= 0 && strcmp(take->names[i - 1], topic) == 0)
            return i;
    return -1;
}
