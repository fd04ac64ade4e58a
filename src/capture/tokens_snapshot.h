/* capture/tokens_snapshot.h - which project a token belongs to, without asking a database.
 *
 * The catalog comes as an image in DIR/run, left there by a process of its own (catalog/catalog_image.h): capture opens
 * no database. A helper thread looks whether there is a newer one and swaps in its snapshot (within 200 ms of a change).
 * A reader pins the current one for one turn of its loop; the helper frees an old one when nobody pins
 * it. If no image can be read, the last snapshot stays in force. The gauge capture_catalog_version
 * says which one that is: `penstock token create` returns when its token is in force. */
#ifndef PENSTOCK_CAPTURE_TOKENS_SNAPSHOT_H
#define PENSTOCK_CAPTURE_TOKENS_SNAPSHOT_H

#include "base/err.h"
#include "capture/capture_metrics.h"
#include "catalog/catalog.h"

struct tokens;

/* Loads the first snapshot, for which it waits a few seconds if it must. No thread yet. run_fd: the folder, borrowed for
 * its life. readers: how many loops will pin. */
int  tokens_open(int run_fd, size_t readers, struct tokens **out, struct err *err) must_check;
/* Starts the helper. */
int  tokens_start(struct tokens *tokens, struct capture_metrics *metrics, struct err *err) must_check;
void tokens_close(struct tokens *tokens); /* after every reader has unpinned for good */

/* @thread the loop with this reader number. Valid until tokens_unpin. Not nested. */
const struct catalog_snapshot *tokens_pin(struct tokens *tokens, size_t reader);
void tokens_unpin(struct tokens *tokens, size_t reader);

#endif
