/* command/post.h - bodies to a running capture, through its front door like every SDK's. One connection is
 * kept for all bodies of a post. */
#ifndef PENSTOCK_COMMAND_POST_H
#define PENSTOCK_COMMAND_POST_H

#include "base/buf.h"
#include "base/err.h"

struct command_args;
struct post;

/* The address for bodies in any form: --url, or the server that runs on the data folder (ERR_RETRY: none).
 * Of a unix socket: "unix:/PATH http://localhost/batch/"; of this machine's server by TLS, whose
 * certificate is not for 127.0.0.1: "own:https://127.0.0.1:8443/batch/". */
int post_url(const struct command_args *args, char *to, size_t room, struct err *err) must_check;

int  post_open(const char *url, struct post **out, struct err *err) must_check;
void post_close(struct post *post);
/* 0: there was an answer, of any status, appended to answer. ERR_RETRY: nobody answered within a minute. */
int post_body(struct post *post, struct span body, struct buf *answer, long *status_out, struct err *err) must_check;

#endif
