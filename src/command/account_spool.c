/* command/account_spool.c - see account_spool.h. From the files and not from capture's metrics: they are there also when capture is
 * not, and are a second old. */
#include "command/account_spool.h"

#include <sys/stat.h>

#include "command/command.h"
#include "command/config_stores.h"
#include "log/log_access.h"
#include "log/log_spool.h"

static const enum input spooled[] = { INPUT_RAW, INPUT_HISTORICAL };
enum { SPOOLED = sizeof spooled / sizeof *spooled };

/* Where the brokers are with a topic, and where it ends. */
static int topic_look(struct log *log, const char *topic, uint64_t *next, uint64_t *end, struct err *err)
{
    struct log_reader *reader;
    int                found = log_cursor_load(log, topic, 0, LOG_SPOOL_CURSOR, next, err), rc;

    if (found < 0 || log_reader_open(log, topic, 0, 0, &reader, err) < 0)
        return -1;
    rc = log_reader_end(reader, end, err);
    if (found == 0)
        *next = log_reader_start(reader);
    if (*next > *end)
        *next = *end;
    log_reader_close(reader);
    return rc;
}

int account_spool_open(const char *data, struct account_spool *out, struct err *err)
{
    struct log_access    access;
    struct log_options   options = { .folder = access.spool_folder };
    const struct stores *stores;
    struct stat          found;

    *out = (struct account_spool){ .log = NULL };
    if (command_stores(data, &stores, err) < 0 || log_access_init(&access, data, &stores->log, NULL, true, err) < 0)
        return -1;
    if (access.options.kafka == NULL || stat(access.spool_folder, &found) < 0)
        return 0;
    if (log_open(&options, &out->log, err) < 0)
        return err_wrap(err, "spool");
    for (size_t i = 0; i < SPOOLED; i++)
        if (topic_look(out->log, input_topic(spooled[i]), &out->next[spooled[i]], &out->end[spooled[i]], err) < 0)
            return err_wrap(err, "spool");
    return 0;
}

void account_spool_close(struct account_spool *spool)
{
    if (spool->log != NULL)
        log_close(spool->log);
    spool->log = NULL;
}

uint64_t account_spool_waiting(const struct account_spool *spool)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < SPOOLED; i++)
        sum += spool->end[spooled[i]] - spool->next[spooled[i]];
    return sum;
}

int account_spool_moved(const struct account_spool *spool, struct err *err)
{
    for (size_t i = 0; spool->log != NULL && i < SPOOLED; i++) {
        uint64_t next, end;

        if (topic_look(spool->log, input_topic(spooled[i]), &next, &end, err) < 0)
            return err_wrap(err, "spool");
        if (next != spool->next[spooled[i]])
            return 1;
    }
    return 0;
}
