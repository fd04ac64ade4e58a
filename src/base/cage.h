/* base/cage.h - what a process can do no more: the last thing it does before it reads what strangers wrote.
 *
 * Three walls, each of its own strength: another user (cage_drop_user), Landlock (which files, no TCP connection outward)
 * and seccomp (which system calls). Whoever takes over the process has its open descriptors and nothing else.
 *
 *  K1  after cage_enter a system call that is not in the list ends the process (SIGSYS), and the log names the call
 *  K2  files: only what `paths` allow; a path that allows writing alone cannot be read. Open descriptors keep what they have
 *  K3  nothing is left out silently: what the kernel or the build cannot do stands in struct cage
 * Landlock holds for the calling thread and those that it starts later: enter before there are others. */
#ifndef PENSTOCK_BASE_CAGE_H
#define PENSTOCK_BASE_CAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum { CAGE_READ = 1, CAGE_LIST = 2, CAGE_WRITE = 4 }; /* WRITE: and make, rename, remove in this folder, and what is below */

struct cage_path {
    int      fd; /* of a folder or a file; stays the caller's */
    unsigned may;
};

struct cage {
    bool seccomp;
    int  landlock;  /* the version of its interface that is in force; 0: none */
    char why[160];  /* what is missing, and why; "" */
};

/* -1: a wall that could have been built was not; the process must not go on. */
int cage_enter(const struct cage_path *paths, size_t count, struct cage *out, struct err *err) must_check;
/* The same for a process that has to connect outward, as a client of Kafka's does, whose addresses the brokers tell: sockets of
 * IPv4 and IPv6, to anywhere, and what finding names needs; none that listens, and no unix socket. */
int cage_enter_connecting(const struct cage_path *paths, size_t count, struct cage *out, struct err *err) must_check;
/* The version of Landlock's interface on this machine; 0: none. */
int cage_landlock_version(void);
/* Whether this build can be caged at all; if not, why. */
bool cage_possible(const char **why_out);

/* From root to this user and its group alone. The parent-death signal, which the kernel forgets at that, is set again. */
int cage_drop_user(uid_t uid, gid_t gid, struct err *err) must_check;

#endif
