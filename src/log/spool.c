/* log/spool.c - see spool.h.
 *
 * Why the embedded log and not a file of its own: everything that is hard about it (torn tails, damage, failed syncs, a full
 * disk, the power) is proven there already. Small segments, because what was sent leaves a segment at a time. */
#include "log/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "log/embedded.h"
#include "log/log_batch.h"
#include "log/log_spool.h"
#include "log/log_writer.h"

enum { SPOOL_SEGMENT_BYTES = 16 << 20, SPOOL_CURSOR_EVERY_US = 200000, SPOOL_TIDY_EVERY_US = 2000000 };

struct spool {
    struct log        *log;
    struct log_writer *writer;
    struct log_reader *reader;
    char               topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    uint64_t           bytes_max, bytes;
    uint64_t           end;     /* of what is durable */
    uint64_t           given;   /* spool_next gives from here */
    uint64_t           taken;   /* by the brokers */
    uint64_t           stored;  /* the cursor as it is in its file */
    int64_t            stored_us, tidied_us;
    bool               resting;
};

static const char spool_cursor[] = LOG_SPOOL_CURSOR;
static const char *const spool_cursors[] = { spool_cursor, NULL };

static void bytes_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors, size_t cursor_count)
{
    struct spool *spool = ctx;

    (void)cursors;
    (void)cursor_count;
    if (strcmp(info->topic, spool->topic) == 0 && info->end > info->start && spool->end > spool->taken)
        spool->bytes = (uint64_t)((double)info->bytes * (double)(spool->end - spool->taken) / (double)(info->end - info->start));
}

/* Where it was left: the cursor, or its beginning. */
static int spool_resume(struct spool *spool, struct err *err)
{
    int found = embedded_cursor_load(spool->log, spool->topic, 0, spool_cursor, &spool->taken, err);

    if (found < 0) {
        say(SAY_WARN, "spool: %s: its cursor cannot be read (%s): everything is sent again", spool->topic, err->text);
        found = 0;
    }
    if (embedded_reader_open(spool->log, spool->topic, 0, found == 0 ? 0 : spool->taken, &spool->reader, err) < 0)
        return -1;
    if (found == 0)
        spool->taken = embedded_reader_start(spool->reader);
    if (spool->taken > spool->end) /* the log was made anew below its cursor */
        spool->taken = spool->end;
    spool->given = spool->taken;
    spool->stored = found == 0 ? UINT64_MAX : spool->taken;
    return spool->end == spool->taken ? 0 : embedded_info(spool->log, bytes_seen, spool, err);
}

int spool_open(const struct spool_options *options, struct spool **out, struct err *err)
{
    struct log_options       log = { .folder = options->folder };
    struct log_topic_options topic = { .segment_bytes = options->segment_bytes == 0 ? SPOOL_SEGMENT_BYTES : options->segment_bytes,
                                       .retention_us = 1,
                                       .disk_reserve_bytes = options->reserve_bytes,
                                       .cursors_needed = spool_cursors };
    struct spool            *spool = calloc(1, sizeof *spool);

    if (spool == NULL)
        return err_set(err, ERR_FULL, "no memory for a spool");
    (void)snprintf(spool->topic, sizeof spool->topic, "%s", options->topic);
    spool->bytes_max = options->bytes_max;
    if (embedded_open(&log, &spool->log, err) < 0 ||
        embedded_writer_open(spool->log, spool->topic, 0, &topic, &spool->writer, err) < 0) {
        spool_close(spool);
        return err_wrap(err, "spool");
    }
    spool->end = embedded_writer_end(spool->writer);
    embedded_writer_publish(spool->writer, spool->end); /* what recovery found whole was promised, or harms nobody */
    if (spool_resume(spool, err) < 0) {
        spool_close(spool);
        return err_wrap(err, "spool");
    }
    spool_tidy(spool, 0);
    *out = spool;
    return 0;
}

static void cursor_store(struct spool *spool)
{
    static struct say_gate gate;
    struct err             err = { 0 };

    if (spool->stored == spool->taken)
        return;
    if (embedded_cursor_store(spool->log, spool->topic, 0, spool_cursor, spool->taken, &err) < 0)
        say_seldom(&gate, SAY_WARN, "spool: %s: its cursor stays behind: %s", spool->topic, err.text);
    else
        spool->stored = spool->taken;
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->resting)
        spool->writer->stopped = true; /* closing adds nothing to what is another's now */
    else if (spool->writer != NULL && spool->reader != NULL)
        cursor_store(spool);
    if (spool->reader != NULL)
        embedded_reader_close(spool->reader);
    if (spool->writer != NULL)
        embedded_writer_close(spool->writer);
    if (spool->log != NULL)
        embedded_close(spool->log);
    free(spool);
}

void spool_rest(struct spool *spool)
{
    cursor_store(spool);
    log_writer_rest(spool->writer);
    spool->resting = true;
}

/* The other one may have sent what was in it. */
int spool_wake(struct spool *spool, struct err *err)
{
    if (log_writer_wake(spool->writer, err) < 0)
        return err_wrap(err, "spool");
    spool->resting = false;
    embedded_reader_close(spool->reader);
    spool->reader = NULL;
    return spool_resume(spool, err) < 0 ? err_wrap(err, "spool") : 0;
}

int spool_put(struct spool *spool, const struct log_batch *const *batches, size_t count, int64_t now_us, size_t *done_out, struct err *err)
{
    uint64_t bytes = 0;
    size_t   appended = 0;
    int      rc = 0;

    *done_out = 0;
    while (rc == 0 && appended < count) {
        uint64_t bases[WRITER_GROUP_MAX];
        size_t   group = 0, done = 0;

        while (appended + group < count && group < WRITER_GROUP_MAX) {
            uint64_t more = batches[appended + group]->bytes;

            if (spool->bytes_max > 0 && spool->bytes + bytes + more > spool->bytes_max) {
                rc = err_set(err, ERR_FULL, "the spool is full: %llu of %llu bytes wait for the brokers (log.spool_bytes_max)",
                             (unsigned long long)(spool->bytes + bytes), (unsigned long long)spool->bytes_max);
                break;
            }
            bytes += more;
            group++;
        }
        if (group > 0 && log_writer_append_group(spool->writer, batches + appended, group, now_us, bases, &done, err) < 0)
            rc = -1;
        appended += done;
        if (group == 0)
            break;
    }
    if (appended == 0)
        return rc < 0 ? err_wrap(err, "spool") : 0;
    {
        struct err failed = { 0 };

        if (embedded_writer_sync(spool->writer, &failed) < 0) {
            *err = failed;
            return err_wrap(err, "spool");
        }
    }
    spool->bytes = spool->bytes + bytes;
    spool->end = embedded_writer_end(spool->writer);
    embedded_writer_publish(spool->writer, spool->end);
    *done_out = appended;
    return rc < 0 ? err_wrap(err, "spool") : 0;
}

int spool_next(struct spool *spool, struct log_chunk *out, struct err *err)
{
    int rc;

    if (spool->given >= spool->end)
        return 0;
    rc = embedded_reader_next(spool->reader, out, err);
    if (rc == 1)
        spool->given = out->base + out->count;
    return rc < 0 ? err_wrap(err, "spool") : rc;
}

void spool_taken(struct spool *spool, uint64_t offset, uint64_t bytes, int64_t now_us)
{
    spool->taken = offset;
    spool->bytes = spool->taken == spool->end || bytes > spool->bytes ? 0 : spool->bytes - bytes;
    if (spool->taken == spool->end || now_us - spool->stored_us > SPOOL_CURSOR_EVERY_US) {
        cursor_store(spool);
        spool->stored_us = now_us;
    }
}

int spool_rewind(struct spool *spool, struct err *err)
{
    struct log_reader *reader = NULL;

    if (spool->given == spool->taken)
        return 0;
    if (embedded_reader_open(spool->log, spool->topic, 0, spool->taken, &reader, err) < 0)
        return err_wrap(err, "spool");
    embedded_reader_close(spool->reader);
    spool->reader = reader;
    spool->given = spool->taken;
    return 0;
}

void spool_tidy(struct spool *spool, int64_t now_us)
{
    static struct say_gate gate;
    struct err             err = { 0 };

    if (now_us - spool->tidied_us < SPOOL_TIDY_EVERY_US && now_us != 0)
        return;
    spool->tidied_us = now_us;
    cursor_store(spool);
    if (embedded_writer_retain(spool->writer, INT64_MAX / 2, &err) < 0)
        say_seldom(&gate, SAY_WARN, "spool: %s: old segments stay: %s", spool->topic, err.text);
}

uint64_t spool_waiting(const struct spool *spool)
{
    return spool->end - spool->taken;
}

uint64_t spool_unread(const struct spool *spool)
{
    return spool->end - spool->given;
}

uint64_t spool_bytes(const struct spool *spool)
{
    return spool->bytes;
}
