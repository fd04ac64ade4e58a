/* command/account.h - what became of every accepted event, from the stores themselves.
 *
 *     accepted = stored + dropped + deduplicated + dead_lettered + pending          (exact, always)
 *
 * Three places tell it, each in one transaction: how many rows the warehouse loaded, what ingest recorded
 * with its places, where the topics end that capture writes. Read in this order, the later one never knows less than the
 * earlier one, so what is on its way between them is pending, and the sum is exact while all roles run. */
#ifndef PENSTOCK_COMMAND_ACCOUNT_H
#define PENSTOCK_COMMAND_ACCOUNT_H

#include "command/retention_command.h"
#include "event/record.h"
#include "ingest/outputs.h"
#include "log/log.h"
#include "people/people.h"

struct account {
    uint64_t            accepted; /* on Kafka the sum of what follows: brokers do not count what was given to them */
    uint64_t            stored;
    uint64_t            deduplicated, dead_lettered, dropped;
    /* Of letters that there are: not of those that went, with a person, or by a rebuild. Those that wait for the warehouse are open. */
    uint64_t            letters_open, letters_replayed, letters_discarded, letters_waiting;
    uint64_t            pending;
    uint64_t            spooled;    /* of them, in this machine's spool: at no broker yet. Other machines' are not known here */
    uint64_t            ingest_lag; /* accepted records that ingest has not processed: the lanes together */
    uint64_t            lane_lag[INPUT_COUNT]; /* by input; of INPUT_CONTROL it is no events */
    uint64_t            load_lag;   /* rows of every table that ingest finished and the warehouse has not taken */
    struct retention_held held;     /* what the log keeps because the clock jumped; known also where the account cannot be read */
    struct people_place place;      /* the counters by fate (ingest/fate.h) and the ends of outputs, summed over all units */
};

int account_read(const char *data, struct account *out, struct err *err) must_check;
/* Ingest's place alone, of one unit (0 without Kafka); zeros when ingest never ran. */
int account_place(const char *data, uint32_t unit, struct people_place *out, struct err *err) must_check;

/* What the warehouse has taken of a unit, in one look: rows that its table events ever got, and where it stands in
 * each of ingest's output topics (its numbering is ingest's). */
enum { TAKEN_TOPICS = OUTPUT_COUNT };
struct taken {
    uint64_t events;
    uint64_t next[TAKEN_TOPICS];
};
/* Of each unit; zeros when there is no warehouse yet. */
int account_taken(const char *data, struct taken *taken, uint32_t units, struct err *err) must_check;
/* As log_reader_next from `from` on, but it waits for what is known to be there: what the log counts, and everything below `known` (0:
 * nothing), which a place says was committed. */
int account_reader_next(struct log_reader *reader, uint64_t from, uint64_t known, struct log_chunk *out, struct err *err) must_check;
/* DIR/log, which must be there. */
int account_log_open(const char *data, struct log **out, struct err *err) must_check;

#endif
