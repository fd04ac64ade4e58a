/* base/users.c - getpwnam_r, and whether its "no such user" is one. */
#include "base/users.h"

#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { ENTRY_BYTES_MAX = 16384 }; /* a user's line: name, who it is, folder, shell */

void users_load(void)
{
    struct passwd  entry, *found;
    char           text[ENTRY_BYTES_MAX];

    (void)getpwnam_r("root", &entry, text, sizeof text, &found);
}

/* What getpwnam_r(3) lists as errors; the rest, it says there, stands for "not found" on one system or another. */
static bool not_known(int errno_value)
{
    return errno_value == ENOMEM || errno_value == EMFILE || errno_value == ENFILE || errno_value == EINTR || errno_value == EIO ||
           errno_value == ERANGE;
}

/* 0: *out is it, if any. Or why that is not known. */
static int find_in_file(const char *name, struct passwd *entry, char text[ENTRY_BYTES_MAX], struct passwd **out)
{
    FILE *file = fopen("/etc/passwd", "re");
    int   rc = file == NULL ? errno : 0;

    *out = NULL;
    while (file != NULL && rc == 0) {
        rc = fgetpwent_r(file, entry, text, ENTRY_BYTES_MAX, out);
        if (rc == 0 && strcmp(entry->pw_name, name) == 0)
            break;
        *out = NULL;
    }
    if (file != NULL)
        (void)fclose(file);
    return *out == NULL && not_known(rc) ? rc : 0;
}

int users_find(const char *name, struct user *out, bool *there_out, struct err *err)
{
    struct passwd  entry, *found = NULL;
    char           text[ENTRY_BYTES_MAX];
    int            rc = getpwnam_r(name, &entry, text, sizeof text, &found);

    *there_out = false;
    /* "Not found" is also what it says when the file could not be opened and a further source (systemd) knew nobody. */
    if (found == NULL && !not_known(rc))
        rc = find_in_file(name, &entry, text, &found);
    if (found == NULL && not_known(rc))
        return err_errno(err, rc, "cannot look for user %.60s", name);
    *there_out = found != NULL;
    if (found != NULL)
        *out = (struct user){ .uid = entry.pw_uid, .gid = entry.pw_gid };
    return 0;
}
