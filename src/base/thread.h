/* base/thread.h - a thread that gets no signals: those are for the thread that knows them, the role's first. */
#ifndef PENSTOCK_BASE_THREAD_H
#define PENSTOCK_BASE_THREAD_H

#include <pthread.h>

#include "base/err.h"

/* As pthread_create(): 0, or an errno. */
int thread_start(pthread_t *out, void *(*thread_main)(void *), void *ctx) must_check;

#endif
