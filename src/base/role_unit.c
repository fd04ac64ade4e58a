/* base/role_unit.c - see role_unit.h. */
#include "base/role_unit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

int role_unit_env(const struct role_env *process, const char *role, uint32_t unit, int stop_fd, char folder[ROLE_UNIT_FOLDER_BYTES],
                  struct role_env *out, struct err *err)
{
    (void)snprintf(folder, ROLE_UNIT_FOLDER_BYTES, "%.4000s/%.40s-%u", process->run_folder, role, unit);
    if (mkdir(folder, 0750) < 0 && errno != EEXIST)
        return err_errno(err, errno, "make %.200s", folder);
    *out = *process;
    out->unit = unit;
    out->run_folder = folder;
    out->stop_fd = stop_fd;
    return 0;
}

void role_unit_turn_init(pthread_rwlock_t *turn)
{
    pthread_rwlockattr_t writers_first;

    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(turn, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
}
