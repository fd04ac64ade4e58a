/* base/put_aside.c - see put_aside.h. */
#include "base/put_aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum { PATH_BYTES = 4400 };

static int path_make(const char *name, const char *mark, const char *end, char to[PATH_BYTES])
{
    if (snprintf(to, PATH_BYTES, "%s%s%s", name, mark, end) < PATH_BYTES)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

/* 1, 0, -1 */
static int is_free(int dir_fd, const char *name, const char *const *ends, const char *mark)
{
    char        path[PATH_BYTES];
    struct stat stat;

    for (; *ends != NULL; ends++) {
        if (path_make(name, mark, *ends, path) < 0)
            return -1;
        if (fstatat(dir_fd, path, &stat, AT_SYMLINK_NOFOLLOW) == 0)
            return 0;
        if (errno != ENOENT)
            return -1;
    }
    return 1;
}

int put_aside_mark(int dir_fd, const char *name, const char *const *ends, const char *kind, int64_t now_us,
                   char out[PUT_ASIDE_MARK_BYTES])
{
    time_t    now = (time_t)(now_us / 1000000);
    struct tm utc;
    char      when[20] = "", number[8] = "";

    if (gmtime_r(&now, &utc) == NULL || strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc) == 0) {
        errno = EOVERFLOW;
        return -1;
    }
    for (int n = 2; n <= PUT_ASIDE_NAMES_MAX; n++) {
        int rc;

        (void)snprintf(out, PUT_ASIDE_MARK_BYTES, ".%.16s-%s%s", kind, when, number);
        rc = is_free(dir_fd, name, ends, out);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        (void)snprintf(number, sizeof number, "-%d", n);
    }
    errno = EEXIST;
    return -1;
}

int put_aside_end(int dir_fd, const char *name, const char *mark, const char *end)
{
    char from[PATH_BYTES], to[PATH_BYTES];

    if (path_make(name, "", end, from) < 0 || path_make(name, mark, end, to) < 0)
        return -1;
    return io_rename_new(dir_fd, from, to) == 0 ? 1 : errno == ENOENT ? 0 : -1;
}

int put_aside(int dir_fd, const char *from, const char *name, char *kept, size_t bytes)
{
    int rc;

    (void)snprintf(kept, bytes, "%s", name);
    for (int n = 2; (rc = io_rename_new(dir_fd, from, kept)) < 0 && errno == EEXIST && n < PUT_ASIDE_NAMES_MAX; n++)
        (void)snprintf(kept, bytes, "%s-%d", name, n);
    return rc;
}
