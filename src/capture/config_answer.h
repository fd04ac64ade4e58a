/* capture/config_answer.h - the small true answers that SDKs ask for beside sending events: there are no
 * feature flags, session recording is off, autocapture is on, bodies may be gzip. */
#ifndef PENSTOCK_CAPTURE_CONFIG_ANSWER_H
#define PENSTOCK_CAPTURE_CONFIG_ANSWER_H

#include "base/buf.h"
#include "capture/endpoint.h"
#include "wire/uuid.h"

struct config_question {
    enum endpoint_kind kind;
    struct span        token;      /* CONFIG, CONFIG_JS: plain, see endpoint.h */
    struct span        query;
    struct uuid        request_id; /* FLAGS */
    int64_t            now_us;
};

/* Fills body with the answer, gives its status and content type. */
int config_answer_write(const struct config_question *question, struct buf *body, const char **type_out);

#endif
