/* base/put_aside.h - what is damaged or replaced is kept under another name, and never over what was kept before.
 *
 * Such a name has the second in which it was given, for people to read. That is no number of its own: two in one second, or two of a
 * clock that was put back, are told apart by "-2", "-3" and so on behind it. Threads: any. */
#ifndef PENSTOCK_BASE_PUT_ASIDE_H
#define PENSTOCK_BASE_PUT_ASIDE_H

#include <stdint.h>

#include "base/io.h"

enum { PUT_ASIDE_NAMES_MAX = 1000, PUT_ASIDE_MARK_BYTES = 48 };

/* For files that belong together and keep the ends of their names (ends: up to a NULL; "" for the file itself): out is ".KIND-TIME" or
 * ".KIND-TIME-N", so that none of NAME+out+END is there. kind: up to 16 letters. -1 with errno; EEXIST: all are there. */
int put_aside_mark(int dir_fd, const char *name, const char *const *ends, const char *kind, int64_t now_us,
                   char out[PUT_ASIDE_MARK_BYTES]) must_check;
/* One of these files, whose name is NAME+end then NAME+mark+end. 1; 0: there is none; -1 with errno. */
int put_aside_end(int dir_fd, const char *name, const char *mark, const char *end) must_check;
/* For one file: it is called `name`, or NAME-2 and so on, which is in kept (bytes: five more than the name and its end take). -1 with
 * errno; EEXIST: all are there. */
int put_aside(int dir_fd, const char *from, const char *name, char *kept, size_t bytes) must_check;

#endif
