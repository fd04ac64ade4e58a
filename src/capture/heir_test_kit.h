/* capture/heir_test_kit.h - a message with descriptors, as nobody sane would send it; for the tests and the fuzz target of heir_take.h. */
#ifndef PENSTOCK_CAPTURE_HEIR_TEST_KIT_H
#define PENSTOCK_CAPTURE_HEIR_TEST_KIT_H

#include <string.h>
#include <sys/socket.h>

enum { HEIR_KIT_FDS_MOST = 60 };

/* Sends the bytes and `any` so many times. As sendmsg. */
static inline ssize_t heir_kit_send(int fd, int any, const void *bytes, size_t count_bytes, size_t count)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int) * HEIR_KIT_FDS_MOST)]; } control = { .room = { 0 } };
    struct iovec  iov = { (void *)(uintptr_t)bytes, count_bytes };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * count) };
        for (size_t i = 0; i < count; i++)
            memcpy(CMSG_DATA(&control.head) + i * sizeof any, &any, sizeof any);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

#endif
