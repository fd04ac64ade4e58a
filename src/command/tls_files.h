/* command/tls_files.h - the supervisor's side of certificates: it opens their files and sends the descriptors to capture.
 *
 * Capture reads them (capture/tls.h): the supervisor holds no key, and the other roles, which are copies of it, hold none
 * either. Looking whether a pair is right, before anything is started, is done in a process of its own for the same
 * reason.
 *  X1  files that changed are sent when they have stayed the same for one look: a certificate and its key are seldom
 *      replaced in one instant
 *  X2  each capture that is started gets the files as they are then */
#ifndef PENSTOCK_COMMAND_TLS_FILES_H
#define PENSTOCK_COMMAND_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TLS_LOOK_US = 1000000 }; /* between two looks at the files */

struct tls_files;

/* From the settings tls.certificate and tls.key: as many of one as of the other. ERR_INPUT says what is missing. */
int  tls_files_new(const char *certificates, const char *keys, struct tls_files **out, struct err *err) must_check;
void tls_files_free(struct tls_files *files);

/* Whether capture would take them. ERR_INPUT: which file is wrong, and what to do. */
int tls_files_check(const struct tls_files *files, struct err *err) must_check;
/* The same in this process, for one that ends soon: *expires_us_out is the earliest end, names_out whose it is. */
int tls_files_read(const struct tls_files *files, int64_t *expires_us_out, char *names_out, size_t room, struct err *err)
    must_check;

/* A new channel with the files in it; the far end is capture's. -1: files that cannot be opened are told by say() and
 * are no error: capture waits for better ones. */
int  tls_files_connect(struct tls_files *files, int *far_fd_out, struct err *err) must_check;
/* In a child: this end is not its. */
void tls_files_disconnect(struct tls_files *files);
/* Looks at the files when it is time; sends them when they have changed (now: in any case). Gives when to look again. */
int64_t tls_files_look(struct tls_files *files, bool now);

/* The table of settings: whether the list can be read. */
int tls_files_list_check(const char *list, struct err *err) must_check;

#endif
