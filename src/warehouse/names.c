/* warehouse/names.c - the names of the engine's files are durable too.
 *
 * The engine syncs its file and its write-ahead log, not the folder that says that they are there. Most file systems
 * keep the name of a new file that was synced; POSIX does not ask it of them. The log's retention goes by what the
 * warehouse holds, so a commit whose write-ahead log vanishes with the power would be rows lost. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "warehouse/engine.h"

static int folder_sync(const char *path, struct err *err)
{
    char  folder[ENGINE_PATH_BYTES];
    char *slash;
    int   fd, rc;

    (void)snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (slash == NULL)
        (void)snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -1 : fsync(fd);
    if (rc < 0)
        (void)err_errno(err, errno, "sync of the folder %s", folder);
    if (fd >= 0)
        close(fd);
    return rc;
}

int engine_names_sync(struct warehouse *warehouse, struct err *err)
{
    char        wal[ENGINE_PATH_BYTES + 8];
    struct stat now;

    (void)snprintf(wal, sizeof wal, "%s.wal", warehouse->path);
    if (stat(wal, &now) < 0)
        now.st_ino = 0; /* all of it stands in the file */
    if (warehouse->names_synced && now.st_ino == warehouse->wal_inode)
        return 0;
    if (folder_sync(warehouse->path, err) < 0)
        return -1;
    warehouse->names_synced = true;
    warehouse->wal_inode = now.st_ino;
    return 0;
}
