/* command/account_spool.h - what waits in this machine's spool: accepted, and at no broker yet (log/spool.h).
 *
 * An event goes from the spool to the brokers, so whoever counts both reads the spool first: then none is missed. One that goes over in
 * between is counted twice, which a second look tells: the spool has moved. */
#ifndef PENSTOCK_COMMAND_ACCOUNT_SPOOL_H
#define PENSTOCK_COMMAND_ACCOUNT_SPOOL_H

#include "event/record.h"
#include "log/log.h"

struct account_spool {
    struct log *log; /* an embedded one; NULL: there is no spool here */
    uint64_t    next[INPUT_COUNT], end[INPUT_COUNT]; /* what waits, of inputs that capture writes */
};

/* Zeros when there is none. To be closed, also after a failure. */
int      account_spool_open(const char *data, struct account_spool *out, struct err *err) must_check;
void     account_spool_close(struct account_spool *spool);
uint64_t account_spool_waiting(const struct account_spool *spool);
/* Looks again: 1: something was sent since it was opened; 0: nothing. */
int account_spool_moved(const struct account_spool *spool, struct err *err) must_check;

#endif
