/* people/warm.h - a file read into the page cache from end to end, by a thread of its own.
 *
 * After a start each page of the store that is met for the first time is one read of 4 KB, which a batch waits for: some 0.2 ms, and
 * thousands of them a batch. Read in order, a gigabyte takes a second or two. It changes nothing but the page cache, and
 * what fails is only slower.
 * @thread the owner's */
#ifndef PENSTOCK_PEOPLE_WARM_H
#define PENSTOCK_PEOPLE_WARM_H

#include <stdbool.h>
#include <stdint.h>

struct warm;

/* Of fd, which is borrowed until warm_stop, at most the first so many bytes. NULL: nothing is read (none wanted, no thread). */
struct warm *warm_start(int fd, uint64_t bytes_max);
/* Whether it has come to its end. */
bool warm_done(const struct warm *warm);
/* Ends it wherever it stands. */
void warm_stop(struct warm *warm);

#endif
