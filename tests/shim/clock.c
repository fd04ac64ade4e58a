/* tests/shim/clock.c - a wall clock that a test sets forward while servers run. Clocks that count from the start of the machine stay.
 *
 * Loaded with LD_PRELOAD; steered through a small shared file named by CLOCK_CONTROL (tests/soak/days.py writes it): its first eight
 * bytes are microseconds that pass as if the machine had been suspended, so CLOCK_BOOTTIME counts them too; the next eight are added to
 * CLOCK_REALTIME alone: somebody sets the clock. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const _Atomic int64_t *added_us; /* two */
static int (*really)(clockid_t, struct timespec *);

__attribute__((constructor)) static void control_map(void)
{
    const char *path = getenv("CLOCK_CONTROL");
    int         fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void       *at = fd < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof *added_us, PROT_READ, MAP_SHARED, fd, 0);

    really = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (at != MAP_FAILED)
        added_us = at;
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    bool wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    int  rc;

    if (really == NULL) /* somebody's constructor ran before ours */
        really = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    rc = really(id, out);
    if (rc == 0 && added_us != NULL && (wall || id == CLOCK_BOOTTIME)) {
        int64_t us = atomic_load(added_us) + (wall ? atomic_load(added_us + 1) : 0), ns = out->tv_nsec + us % 1000000 * 1000;

        out->tv_sec += us / 1000000 + ns / 1000000000;
        out->tv_nsec = ns % 1000000000;
    }
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0)
        return -1;
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
