/* capture/uuid_derive.h - an id for an event whose client gave none (docs/uuid.md).
 *
 * With a time of the client's own, the id follows from the event's content, so that a request sent again
 * after a lost answer gives the same id and the second copy is dropped. Without one it is random. */
#ifndef PENSTOCK_CAPTURE_UUID_DERIVE_H
#define PENSTOCK_CAPTURE_UUID_DERIVE_H

#include "base/err.h"
#include "base/span.h"
#include "wire/uuid.h"

struct uuid_source; /* one a thread: hash context, and random bytes fetched in blocks */

struct uuid_source *uuid_source_new(void); /* NULL: no memory, or the library has no SHA-256 */
void uuid_source_free(struct uuid_source *source);

/* Version 7: client_us (not corrected) as its time, 74 bits of SHA-256 over the three parts, each behind
 * its length. without: bytes of object that do not count, because they are others when it is sent again; bytes 0: all count. */
struct uuid uuid_derive(struct uuid_source *source, struct span token, struct span distinct_id, struct span object,
                        struct span without, int64_t client_us);
/* Version 7 of this time, 74 random bits. */
struct uuid uuid_make(struct uuid_source *source, int64_t us);

#endif
