/* base/role_unit.h - a role whose process works on several units (log/log_units.h): what each of them gets, and what they share. */
#ifndef PENSTOCK_BASE_ROLE_UNIT_H
#define PENSTOCK_BASE_ROLE_UNIT_H

#include <pthread.h>

#include "base/role.h"

enum { ROLE_UNIT_FOLDER_BYTES = 4096 };

/* out: the process's, but for the unit, its stop_fd and its run folder DIR/run/ROLE-N, which is made when missing; its path stands
 * in folder. ERR_*: as err_errno of mkdir. */
int role_unit_env(const struct role_env *process, const char *role, uint32_t unit, int stop_fd, char folder[ROLE_UNIT_FOLDER_BYTES],
                  struct role_env *out, struct err *err) must_check;

/* Units hold their turn shared while they work; one that must work alone takes it alone, and comes before those that ask for it
 * shared after it. Ended by pthread_rwlock_destroy. */
void role_unit_turn_init(pthread_rwlock_t *turn);

#endif
