/* command/as_owner.h - what root's commands make in another user's data folder belongs to that user. A server that runs as him, as under
 * systemd, could not read it otherwise, and what was asked for would never be done. @thread the only one */
#ifndef PENSTOCK_COMMAND_AS_OWNER_H
#define PENSTOCK_COMMAND_AS_OWNER_H

#include <stdbool.h>
#include <sys/types.h>

struct as_owner { bool changed; gid_t gid; };

/* Until as_owner_end(), files are made as the owner of this folder would make them. Changes nothing for who is not root, for root's own
 * folders, and where the owner could not write. */
struct as_owner as_owner_begin(const char *folder);
void as_owner_end(const struct as_owner *before);

#endif
