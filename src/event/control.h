/* event/control.h - what an operator asks ingest to do about a person: a record of the topic `control`.
 *
 * Written by `penstock person ...`, applied by ingest in its own transaction, in the order in which it stands there.
 * The request's number is the record's offset. Stored form, little-endian (the log has its own checksum):
 *    at  bytes  field
 *     0      1  version (1)
 *     1      1  kind (enum control_kind)
 *     2      1  flags (enum control_flag)
 *     3      1  zero
 *     4      4  project
 *     8      8  asked_us
 *    16      8  request: the number that CONTROL_UNDELETE takes back; with CONTROL_ERASED how many ids went; else zero
 *    24     16  person: whom the command saw; a zero one for CONTROL_UNDELETE
 *    40      2  bytes of by
 *    42      2  distinct ids
 *    44      *  by; then each id: u16 bytes, text */
#ifndef PENSTOCK_EVENT_CONTROL_H
#define PENSTOCK_EVENT_CONTROL_H

#include "base/err.h"
#include "base/span.h"
#include "wire/uuid.h"

/* The numbers are stored. X(number, suffix, name) */
#define CONTROL_KINDS(X)                                                                                        \
    X(1, DELETE, "delete")     /* the person that the first id leads to */                                      \
    X(2, UNDELETE, "undelete") /* takes a deletion back that is not due yet */                                  \
    X(3, SPLIT, "split")       /* each further id leaves the person that the first one leads to */
#define CONTROL_KIND_ENUM(number, suffix, name) CONTROL_##suffix = number,
enum control_kind { CONTROL_KINDS(CONTROL_KIND_ENUM) };

enum control_flag {
    CONTROL_WITH_EVENTS = 1, /* of DELETE: its events too, wherever they are kept */
    CONTROL_NOW = 2,         /* of DELETE: without waiting for somebody to think better of it */
    CONTROL_ERASED = 4       /* of DELETE, in the store alone: the person is gone, the order to the warehouse is still to be written */
};

enum { CONTROL_HEAD_BYTES = 44, CONTROL_IDS_MAX = 1000, CONTROL_ID_BYTES_MAX = 2000, CONTROL_BY_BYTES_MAX = 256 };

struct control {
    enum control_kind kind;
    unsigned          flags;
    uint32_t          project;
    int64_t           asked_us;
    uint64_t          request;
    struct uuid       person;
    struct span       by; /* who asked; UTF-8 */
    uint16_t          id_count;
    struct span       ids; /* as stored: for control_id */
};

/* Bytes that control_write will write; ids as given there. 0: too many or too long. */
size_t control_bytes(const struct control *control, const struct span *ids);
/* control->ids is not looked at. to has control_bytes() of room. */
void control_write(const struct control *control, const struct span *ids, uint8_t *to);
/* Spans point into body. ERR_CORRUPT: not one (or of a later version: says so). */
int control_read(struct span body, struct control *out, struct err *err) must_check;
/* Each id in order: *at starts at 0. False at the end. */
bool control_id(const struct control *control, size_t *at, struct span *out);

/* "delete", ...; NULL for no kind. */
const char *control_kind_name(int kind);

#endif
