/* capture/capture.h - the role that accepts events over HTTP and puts them on disk before it says so.
 *
 * capture/listener.c accepts, capture/conn.c reads, wire/http1.c parses, capture/payload.c unpacks,
 * capture/shape.c finds the events, capture/intake.c checks them and writes records, log/ syncs them, and
 * only then conn_reply_accepted sends the 200. */
#ifndef PENSTOCK_CAPTURE_CAPTURE_H
#define PENSTOCK_CAPTURE_CAPTURE_H

#include "base/role.h"

extern const struct role capture_role;

#endif
