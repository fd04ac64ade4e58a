/* catalog/catalog_restore.h - a catalog whose file is gone, empty or spoilt, made anew from the image that the server before left.
 *
 * SDKs take 401 as final and throw their events away: a server that does not know its tokens any more is worse than one that is not
 * there. The image (catalog_image.h) has everything but what people did with dead letters.
 *
 * Only for SQLite, and for who holds the locks of a server that is about to start: nobody else may write the catalog meanwhile. */
#ifndef PENSTOCK_CATALOG_CATALOG_RESTORE_H
#define PENSTOCK_CATALOG_CATALOG_RESTORE_H

#include <stddef.h>

#include "base/err.h"

enum { CATALOG_RESTORE_TOLD_BYTES = 1000 };

/* A file that can be read is left alone, and so is one that is not there when no image is (the first start). What cannot be read is kept as
 * catalog.db.damaged-TIME, with its write-ahead log. told: what was done, for a person; "" when nothing was. ERR_CORRUPT: spoilt, and there is
 * no image that would do; says what to do then. Killed half-way it begins anew with the next call. */
int catalog_restore(const char *data_folder, const char *run_folder, char told[CATALOG_RESTORE_TOLD_BYTES], struct err *err) must_check;

#endif
