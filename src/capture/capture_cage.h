/* capture/capture_cage.h - what capture, which reads what strangers send, can reach after its start.
 *
 *   its topics' folders     write, make, rename, remove; not read: what was accepted cannot be taken out again
 *   their cursors           read: retention asks how far consumers are, and so does the pace of imports
 *   DIR/log                 names of topics and segments
 *   DIR/run                 read: the catalog's image, the metrics of all roles
 *   listening sockets       accept; it cannot make a socket, so it cannot connect anywhere
 *   with the log on Kafka   DIR/spool instead of DIR/log, which is read as well; it connects by TCP, and reads /etc and the files
 *                           of log.tls_* (capture connects to whom the brokers name, so walls against that are the network's)
 *   nothing else            no other file, no program, no other process, no new code in memory
 * Started by root it becomes the user of `capture.user` first. */
#ifndef PENSTOCK_CAPTURE_CAPTURE_CAGE_H
#define PENSTOCK_CAPTURE_CAPTURE_CAGE_H

#include <sys/types.h>

#include "base/role.h"
#include "capture/capture_metrics.h"
#include "capture/settings.h"

struct capture_user {
    bool        other; /* than the one it is */
    uid_t       uid;
    gid_t       gid;
    const char *told;  /* for the one line that says what is in force; "": nothing to say */
};

/* Whom the settings name. Before anything is opened, and before another capture rests for this one: the system's
 * libraries of users may look through files and ask services, which takes as long as all the rest of taking over. */
int capture_cage_find_user(const struct capture_settings *settings, struct capture_user *out, struct err *err) must_check;
/* reading: the topics could not be opened yet (the disk is full), so they stay readable until the next start.
 * Before threads. metrics may be NULL. Says what is in force, and what is missing. */
int capture_cage_enter(const struct role_env *env, int run_fd, const struct capture_settings *settings, const struct capture_user *user,
                       bool reading, struct capture_metrics *metrics, struct err *err) must_check;

#endif
