/* capture/heir_take.h - the message TAKE, by which one capture asks another for its place (heir.h).
 *
 *   at  bytes  field
 *    0      4  "TAKE"
 *    4     65 each  up to 16 names of topics, each ended by a zero; "": no more
 *
 * Beside it come descriptors: first a socket for what is said from here on, so that each attempt has a line of its own that
 * breaks with it, then one for each name. Both sides may be of different versions of Penstock: topics go by name, so that a
 * version may have more or fewer of them. What came is believed only as far as it can be looked at: it may be short, long,
 * without descriptors or with too many. */
#ifndef PENSTOCK_CAPTURE_HEIR_TAKE_H
#define PENSTOCK_CAPTURE_HEIR_TAKE_H

#include <stdbool.h>

#include "log/log.h"

enum {
    TAKE_WORD_BYTES = 4,
    TAKE_NAME_BYTES = LOG_TOPIC_NAME_BYTES_MAX + 1,
    TAKE_TOPICS_MAX = 16,
    TAKE_FDS_MAX = TAKE_TOPICS_MAX + 1
};

struct take {
    char word[TAKE_WORD_BYTES];
    char names[TAKE_TOPICS_MAX][TAKE_NAME_BYTES];
};

/* fds: count of them, which stay the caller's. -1: nobody is there. */
int take_send(int fd, const struct take *take, const int *fds, size_t count) must_check;
/* The number of descriptors that came, which are the caller's; -1: the line is closed. Each name is ended. */
int take_receive(int fd, struct take *take, int fds[TAKE_FDS_MAX]) must_check;
/* Whether it is a TAKE on which something can be said. */
bool take_is_whole(const struct take *take, int count);
/* Which of the descriptors is this topic's; -1: none. */
int take_find(const struct take *take, const int *fds, int count, const char *topic);

#endif
