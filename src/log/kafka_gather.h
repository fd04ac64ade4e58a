/* log/kafka_gather.h - how long batches wait for others before they go to the brokers; for the log's own files only.
 *
 * A message costs the brokers the same whatever it holds, so batches wait for others, at most linger_us; but not for those that
 * cannot come. After a quiet time the first goes at once. When about as many have gathered as did lately they go: who submits has one
 * batch under way at a time (capture's loops, of clients that wait for it), and submits nothing more. So batches are counted, not
 * their records: the rest of a loop's clients come when this batch is answered, however few are in it. That there are more by now is
 * only learned by waiting, so that is done now and then.
 * Time is an argument. One thread. */
#ifndef PENSTOCK_LOG_KAFKA_GATHER_H
#define PENSTOCK_LOG_KAFKA_GATHER_H

#include <stdbool.h>
#include <stdint.h>

struct gather {
    int64_t  linger_us;
    int64_t  gone_us;  /* when the last went */
    uint64_t waiting;  /* batches */
    uint64_t expected; /* so many gather, as far as is known */
    uint32_t early;    /* times in a row that did not wait the whole linger */
};

/* Do those that wait go now? If so, they are counted as gone. */
bool gather_goes(struct gather *gather, int64_t now_us);
/* When they go at the latest; INT64_MAX: none wait. */
int64_t gather_due_us(const struct gather *gather);

#endif
