/* catalog/catalog_image.h - the catalog as one run of bytes, for a process that may open no database.
 *
 * What a snapshot is made of, in SQLite's own form, without what people did with dead letters. The process "catalog"
 * (catalog_reader) polls the catalog and leaves the newest image in DIR/run/catalog.image, replaced whole; whoever wants
 * snapshots reads that file. A lost or damaged one is made again within moments.
 *
 *   at  bytes  field
 *    0      8  magic "PNSTIMG1"
 *    8      8  bytes of the image
 *   16      4  crc32c of the image
 *   24      *  the image */
#ifndef PENSTOCK_CATALOG_CATALOG_IMAGE_H
#define PENSTOCK_CATALOG_CATALOG_IMAGE_H

#include "base/role.h"
#include "catalog/catalog.h"

#define CATALOG_IMAGE_FILE "catalog.image"
/* What a server that ended left, named so by the next: in force only where nobody can make a newer one, as on a full disk. */
#define CATALOG_IMAGE_BEFORE "catalog.image.before"
enum { CATALOG_IMAGE_BYTES_MAX = 1 << 30 };

/* Of the catalog, at one version, with its head. */
int catalog_image_make(struct catalog *catalog, struct buf *out, struct err *err) must_check;
/* The database in such bytes, borrowed from them. ERR_INPUT: of another Penstock's form; ERR_CORRUPT: not whole. */
int catalog_image_open(struct span bytes, struct span *out, struct err *err) must_check;
/* A snapshot of such bytes. ERR_INPUT: of another Penstock's form; ERR_CORRUPT: not whole. */
int catalog_image_snapshot(struct span bytes, struct catalog_snapshot **out, struct err *err) must_check;
/* Makes the image and puts it into run_folder. */
int catalog_image_write(struct catalog *catalog, const char *run_folder, struct err *err) must_check;

/* The process that does so whenever the catalog changes. Not one of the roles that people choose: it goes with capture. */
extern const struct role catalog_reader;

#endif
