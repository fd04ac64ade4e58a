/* command/as_owner.c - see as_owner.h. */
#include "command/as_owner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct as_owner as_owner_begin(const char *folder)
{
    struct as_owner before = { .changed = false, .gid = getegid() };
    struct stat     found;

    if (geteuid() != 0 || stat(folder, &found) < 0 || found.st_uid == 0 || setegid(found.st_gid) < 0)
        return before;
    before.changed = true;
    if (seteuid(found.st_uid) < 0 || faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0) {
        as_owner_end(&before);
        before.changed = false;
    }
    return before;
}

void as_owner_end(const struct as_owner *before)
{
    if (!before->changed || (seteuid(0) == 0 && setegid(before->gid) == 0))
        return;
    (void)fputs("penstock: the user cannot be changed back\n", stderr); /* the kernel lets who was root */
    abort();
}
