/* base/thread.c - see thread.h. */
#include "base/thread.h"

#include <signal.h>

int thread_start(pthread_t *out, void *(*thread_main)(void *), void *ctx)
{
    sigset_t all, before;
    int      rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    rc = pthread_create(out, NULL, thread_main, ctx);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
