/* base/users.h - the system's list of users, as /etc/nsswitch.conf says where it is.
 * @thread any */
#ifndef PENSTOCK_BASE_USERS_H
#define PENSTOCK_BASE_USERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct user { uid_t uid; gid_t gid; };

/* Reads /etc/nsswitch.conf, once for this process and all that it forks. glibc 2.36 ends a process by a signal that has no
 * memory for this (nss/nss_database.c: an assert on getline, and a pointer that is not looked at); so the one who forks does
 * it, at its start, and the others only ask whether the file has changed. Names of machines are looked for by the same file. */
void users_load(void);

/* *there_out false: it is known that there is no such user. -1: not known, for want of memory or open files, or for an error of
 * the disk (the errors of getpwnam_r(3)). */
int users_find(const char *name, struct user *out, bool *there_out, struct err *err) must_check;

#endif
