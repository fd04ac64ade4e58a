/* log/forward.h - batches on their way from a process that hands a partition over to the one that writes it now; for the
 * log's own files only (log.h has the functions). Both ends may be of different versions of Penstock.
 *
 *   a batch   at  bytes  field                 an answer   at  bytes  field
 *              0      4  magic "FWD1"                       0      4  magic "ACK1"
 *              4      4  records                            4      4  0: on disk; else the kind of the error
 *              8      4  their tag                          8      8  offset of its first record
 *             12      4  0                                 16    160  the error's text, zeros after it
 *             16      8  bytes of them
 *             24      *  records, as in a frame (frame.h)
 *
 * One batch at a time: the next one goes out after the answer. */
#ifndef PENSTOCK_LOG_FORWARD_H
#define PENSTOCK_LOG_FORWARD_H

#include "log/embedded.h"

/* @thread committer of the old process; blocks. Never fails: *out tells. */
void log_forward_send(int fd, const struct log_batch *batch, struct log_commit_result *out);

#endif
