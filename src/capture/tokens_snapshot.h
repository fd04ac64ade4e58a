/* capture/tokens_snapshot.h - which project a token belongs to, without asking a database.
 *
 * A helper thread polls the catalog and swaps in a new snapshot when something changed (within 200 ms).
 * A reader pins the current one for one turn of its loop; the helper frees an old one when nobody pins
 * it. If the catalog cannot be read, the last snapshot stays in force. The gauge capture_catalog_version
 * says which one that is: `penstock token create` returns when its token is in force. */
#ifndef PENSTOCK_CAPTURE_TOKENS_SNAPSHOT_H
#define PENSTOCK_CAPTURE_TOKENS_SNAPSHOT_H

#include "base/err.h"
#include "capture/capture_metrics.h"
#include "catalog/catalog.h"

struct tokens;

/* Loads the first snapshot and starts the thread. readers: how many loops will pin. */
int  tokens_open(const char *catalog_path, size_t readers, struct capture_metrics *metrics, struct tokens **out,
                 struct err *err) must_check;
void tokens_close(struct tokens *tokens); /* after every reader has unpinned for good */

/* @thread the loop with this reader number. Valid until tokens_unpin. Not nested. */
const struct catalog_snapshot *tokens_pin(struct tokens *tokens, size_t reader);
void tokens_unpin(struct tokens *tokens, size_t reader);

#endif
