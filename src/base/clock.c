/* base/clock.c - see clock.h. */
#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static pthread_once_t clock_once = PTHREAD_ONCE_INIT;
static int64_t        clock_fixed_us = CLOCK_NONE; /* written once, under clock_once */
static uint64_t       clock_boot = UINT64_C(0xcbf29ce484222325); /* written once, by clock_boot_id */

static void clock_read_environment(void)
{
    const char *text = getenv("PENSTOCK_CLOCK_US");
    char       *end;
    long long   value;

    if (text == NULL)
        return;
    value = strtoll(text, &end, 10);
    if (end != text && *end == '\0')
        clock_fixed_us = value;
}

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    pthread_once(&clock_once, clock_read_environment);
    return clock_fixed_us != CLOCK_NONE ? clock_fixed_us : clock_us(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t clock_boot_us(void)
{
    pthread_once(&clock_once, clock_read_environment);
    return clock_fixed_us != CLOCK_NONE ? 0 : clock_us(CLOCK_BOOTTIME);
}

static void clock_read_boot_id(void)
{
    char    text[64] = "";
    FILE   *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (file != NULL) {
        (void)!fread(text, 1, sizeof text - 1, file);
        (void)fclose(file);
    }
    for (const char *at = text; *at != '\0'; at++) /* FNV-1a: it only tells starts apart */
        clock_boot = (clock_boot ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    clock_boot |= 1;
}

uint64_t clock_boot_id(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, clock_read_boot_id);
    return clock_boot;
}

int64_t clock_thread_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}
