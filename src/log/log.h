/* log/log.h - the log: ordered, durable, replayable topics. Where the roles meet.
 *
 * A topic has one or more partitions; a partition is a sequence of records with offsets 0, 1, 2, ...
 * (a count of records, not of bytes) that are never used twice. A record is a key (which decides the
 * partition and nothing else), and a body that the log does not look into.
 * Two backends stand behind this header: folders of segment files on this machine (embedded), and (a setting
 * away) an Apache Kafka cluster. Offsets rise; they are dense in topics with one writer at a time, and in all topics of the
 * embedded log. In a topic with many writers on Kafka there are holes, and how many records wait is asked, not subtracted.
 *
 *  L1  a record that was acknowledged (its sync returned, its `done` said so) survives kill and power cut
 *  L2  a failed sync acknowledges nothing; the writer is then in ERR_STOP for good and is never synced
 *      again on the same file: close it, open a new one, which reads back what is really there
 *  L3  readers see records in offset order, only whole ones, only below the published end
 *  L4  published end <= durable end, always
 *  L5  one writer a partition: opening a second one is ERR_RETRY naming the owner (process id). Each
 *      opening raises the partition's epoch, which is in every frame
 *  L6  damage costs exactly the damaged records. A reader gets them as one LOG_GAP chunk that names
 *      the range; the range is also written to the topic's `quarantine` file and counted
 *  L7  nothing is deleted that a cursor still needs
 *
 * Memory: batches belong to the caller until submitted; chunks belong to the reader until its next
 * call. Threads: a writer, a reader and a batch belong to one thread at a time each; struct log and
 * struct log_commit may be used by all. */
#ifndef PENSTOCK_LOG_LOG_H
#define PENSTOCK_LOG_LOG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    LOG_RECORD_BYTES_MAX = 32 << 20, /* source: docs/limits.md: the largest body, inflated */
    LOG_BATCH_BYTES_MAX = 64 << 20,
    LOG_TOPIC_NAME_BYTES_MAX = 64, /* [a-z0-9_]+ */
    LOG_CURSOR_NAME_BYTES_MAX = 64
};

/* --- the log and its topics -------------------------------------------------------------------- */

struct log;
struct log_batch;

enum log_codec { LOG_CODEC_NONE = 0, LOG_CODEC_LZ4 = 1 };

struct log_topic_options {
    enum log_codec codec;
    uint64_t       segment_bytes;       /* rolled at about this size; 0: 64 MiB */
    uint64_t       retention_bytes;     /* 0: no limit by size. Whole segments go, oldest first (L7) */
    int64_t        retention_us;        /* 0: no limit by age (of a segment's last append) */
    uint64_t       disk_reserve_bytes;  /* an append that would leave less free space than this on the file
                                         * system is ERR_FULL: room for those who must go on (cursors) */
    const char *const *cursors_needed;  /* NULL-terminated names, borrowed for the writer's life: their
                                         * consumers' cursors hold retention back even before they exist */
    uint64_t       epoch;               /* Kafka, topics with one writer: of this opening. No other one ever had it, and it is
                                         * higher than all before; 0: made of the clock. Embedded: the folder's lock is enough */
    uint64_t       epoch_committed;     /* the same: of the writer whose end was recorded last; 0: none was */
    bool           clock_guard;         /* log_writer_retain is told the machine's clock, and jumps of it make nothing old (steady.h);
                                         * embedded: on Kafka brokers delete */
    bool           keeps_places;        /* offsets that a consumer has passed are never given again, also when the topic's files were lost or
                                         * an older copy of them was put back: what is between is a gap. Embedded */
    bool           for_commit;          /* Kafka: log_commit_start comes next. The opening starts no thread and asks no broker; a
                                         * spool, if there is one, is opened and locked */
};

/* How records stand on Kafka: many in one of its messages, or each as a message in another system's form. */
enum log_form { LOG_FORM_FRAMES, LOG_FORM_UPSTREAM };

/* Turns messages of the other form into records, and records into messages. It stands above the log, which knows no forms of
 * events; without one, only frames are read and written. All three @thread any, several at once. */
struct log_message {
    struct span key, value;
    struct { struct span name, value; } headers[64];
    size_t  header_count;
    int64_t timestamp_us;
    const char *topic; /* of a message to be written that belongs elsewhere (a dead letter): its name there; NULL: no */
    uint32_t    partition; /* of the record, told to `write` */
    unsigned    part;      /* told to `write`: which message of the record, 0, 1, ... */
    bool        more;      /* told by `write`: the record has another one */
};
struct log_form_hooks {
    /* The record of a message in `topic`, appended to batch: exactly one. ERR_INPUT: it is no such message; what then is
     * appended is the hook's affair too (a record that becomes a dead letter), or nothing: a damaged gap. */
    int (*read)(void *ctx, const char *topic, const struct log_message *message, struct log_batch *batch, struct err *err);
    /* The message of a record of `topic`. Its spans live in what the hook allocates with `room`, until the caller's next. */
    int (*write)(void *ctx, const char *topic, struct span body, struct buf *room, struct log_message *out, struct err *err);
    /* The key that decides about a record's partition. Empty: any partition. */
    int (*key)(void *ctx, const char *topic, struct span body, struct buf *room, struct span *out, struct err *err);
    /* Its name at the other system, without prefix; NULL: as here. */
    const char *(*topic_name)(void *ctx, const char *topic);
    /* Where messages of this topic's records may belong beside it: names there, ended by NULL. NULL: nowhere; may be left out. */
    const char *const *(*others)(void *ctx, const char *topic);
    /* What takes the place of a record that no message can hold: one record of at most bytes_max, appended to batch. */
    int (*too_large)(void *ctx, const char *topic, struct span body, size_t bytes_max, struct log_batch *batch, struct err *err);
    void *ctx;
};

/* All texts are borrowed for the log's life. */
struct log_kafka_options {
    const char    *brokers;       /* "host:port,host:port" */
    const char    *topic_prefix;  /* NULL: none */
    uint32_t       partitions;    /* of each topic; 0: 1 */
    uint32_t       replication;   /* of topics that are made; 0: as the brokers' own setting */
    enum log_form  form;          /* of what is written; readers take both */
    size_t         frame_bytes_max; /* 0: LOG_KAFKA_FRAME_BYTES */
    enum log_codec codec;         /* of committers' frames; LOG_CODEC_NONE: as their topics' options ask */
    const struct log_form_hooks *hooks;     /* NULL: frames only */
    const char *const *topics_shared;       /* NULL-terminated: topics with many writers; NULL: log_kafka_topics_shared */
    const char *const *client_properties;   /* NULL-terminated names and values by turns: librdkafka's own (TLS, SASL, ...) */
    const char    *spool_folder;  /* an embedded log that takes what the brokers do not; NULL: none */
    uint64_t       spool_bytes_max;
    int64_t        spool_after_us; /* 0: a second */
    int64_t        linger_us;     /* how long a record of a committer waits for others of its partition */
    uint32_t       insync_min;    /* min.insync.replicas of topics that are made; 0: one less than replication, at least 1 */
};
enum { LOG_KAFKA_FRAME_BYTES = 1000000 }; /* a broker's message.max.bytes is 1048588 unless told otherwise */
extern const char *const log_kafka_topics_shared[]; /* raw, raw_historical, replay, control */

struct log_options {
    const char                     *folder; /* embedded: DIR/log; created when missing */
    const struct log_kafka_options *kafka;  /* not NULL: the log is on Kafka */
};

int  log_open(const struct log_options *options, struct log **out, struct err *err) must_check;
void log_close(struct log *log); /* after its writers and readers */
/* How many partitions each topic has; embedded: 1. */
uint32_t log_partitions(const struct log *log);
/* Does now what the first writers of these topics (at most 32), and the first reader, would do: on Kafka, connects, and looks at the topics, all at
 * once. So whoever is given a partition need not do it while nobody works on that. ERR_*: as log_writer_open, which will do it then. */
int  log_prepare(struct log *log, const char *const *topics, size_t count, const struct log_topic_options *options, struct err *err) must_check;
/* On Kafka: others may write the same partition, so openings are told apart by epochs (log_topic_options). */
bool log_is_kafka(const struct log *log);
/* The offsets of this topic have holes: it has many writers, and is on Kafka. */
bool log_sparse(const struct log *log, const char *topic);

/* --- batches: records on their way in ---------------------------------------------------------- */

/* A buffer of records for one partition, already in stored form, so that appending copies nothing. */
struct log_batch;

struct log_batch *log_batch_new(void); /* NULL: no memory */
void log_batch_free(struct log_batch *batch);
void log_batch_reset(struct log_batch *batch); /* empty, memory kept up to a bound */

/* Room for a record body of up to body_bytes_max; NULL when the batch would pass LOG_BATCH_BYTES_MAX (or
 * no memory). Write there, then end it with the length really used; or begin again, which forgets it. */
uint8_t *log_batch_begin(struct log_batch *batch, size_t body_bytes_max);
void log_batch_end(struct log_batch *batch, size_t body_bytes);
/* Both in one, from a span. ERR_FULL as above. */
int log_batch_add(struct log_batch *batch, struct span body, struct err *err) must_check;

uint32_t log_batch_count(const struct log_batch *batch);
size_t log_batch_bytes(const struct log_batch *batch);
/* For taking back the records of a request that failed half-way. */
struct log_batch_mark { size_t bytes; uint32_t count; };
struct log_batch_mark log_batch_mark(const struct log_batch *batch);
void log_batch_rewind(struct log_batch *batch, struct log_batch_mark mark);

/* --- the writing end --------------------------------------------------------------------------- */

struct log_writer;

/* Opens (creates) the partition for writing and recovers it: a torn tail is cut silently (it was never
 * acknowledged), damage before it is kept and named (L6). ERR_RETRY: another writer has it. Opening
 * publishes nothing: what was recovered past the old published end is durable, and its owner cuts it or
 * publishes it (log_commit_start publishes). options may be NULL: all defaults. */
int  log_writer_open(struct log *log, const char *topic, uint32_t partition, const struct log_topic_options *options,
                     struct log_writer **out, struct err *err) must_check;
void log_writer_close(struct log_writer *writer);

/* Next offset to be given. */
uint64_t log_writer_end(const struct log_writer *writer);

/* Drops every record at and past `end`; before the first append only. For a stage whose outputs count
 * only up to what its own transaction recorded. ERR_CORRUPT when the log ends before `end`. */
int log_writer_cut(struct log_writer *writer, uint64_t end, struct err *err) must_check;

/* Appends the batch as one frame; *base_out is the offset of its first record. Not durable, not visible.
 * now_us stamps the frame (retention by age). ERR_FULL: no disk space; nothing was appended, the writer
 * goes on. ERR_STOP: the writer is finished (L2). An empty batch is no append. */
int log_writer_append(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out,
                      struct err *err) must_check;
/* Makes all earlier appends durable. */
int log_writer_sync(struct log_writer *writer, struct err *err) must_check;
/* Lets readers see up to `end` (<= what was synced) and wakes them. */
void log_writer_publish(struct log_writer *writer, uint64_t end);
/* Deletes what retention allows; cheap when there is nothing to do. Call now and then (seconds). */
int log_writer_retain(struct log_writer *writer, int64_t now_us, struct err *err) must_check;
/* After a jump of the clock who acts on what became due waits so long, so that somebody can look (source: spec/reliability.md G10). */
#define LOG_CLOCK_CALM_US ((int64_t)3600 * 1000000)
/* The clock without its jumps, as a writer with clock_guard saw them; others, and all on Kafka: the clock (ingest asks the server of its
 * persons, too: people_clock). */
struct log_clock {
    int64_t steady_us; /* now_us, less what it jumped */
    int64_t calm_us;   /* the machine ran so long since the clock last jumped forward by a minute or more; INT64_MAX: for ever */
};
void log_writer_clock(struct log_writer *writer, int64_t now_us, struct log_clock *out);
/* The clock is right and the time has passed: the writers, when they next call log_writer_retain, forget its jumps. One who does not
 * run does so when it does. */
int log_clock_confirm(struct log *log, const char *topic, uint32_t partition, struct err *err) must_check;

/* How far readers of a partition with one writer were shown it, by whoever wrote there: a store that has lost commits is behind that.
 * recorded: the end that the store knows of, and the epoch of who recorded it. *out: the highest end of a mark, and the highest epoch of
 * anybody, as far as was looked back; `end` is 0 where nothing is marked (the embedded log, topics in another system's form). */
struct log_marked { uint64_t end, epoch; };
int log_marked(struct log *log, const char *topic, uint32_t partition, const struct log_marked *recorded, struct log_marked *out,
               struct err *err) must_check;

/* --- group commit: many threads, one sync ------------------------------------------------------ */

/* Owns a writer and a thread. Batches submitted while a sync runs are appended together and share the
 * next one. */
struct log_commit;

struct log_commit_result {
    bool     ok;
    uint64_t base;    /* ok: offset of the batch's first record */
    struct err err;   /* not ok: ERR_FULL (disk, the writer goes on) or ERR_STOP */
};

/* Called on the committer's thread (log_commit_write: on the caller's), in order of submission, after the sync and the publish.
 * The batch is given back. Must not block. */
typedef void log_commit_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result);

struct log_commit_look; /* log/log_spool.h */
struct log_commit_options {
    size_t pending_bytes_max; /* submitted and not yet done, together; 0: 64 MiB */
    /* Kafka: how it goes, now and then, and with each change; NULL: nobody asks. @thread committer */
    void (*watch)(void *ctx, const struct log_commit_look *look);
    void  *watch_ctx;
};

int  log_commit_start(struct log_writer *writer_take, const struct log_commit_options *options,
                      struct log_commit **out, struct err *err) must_check;
/* Finishes what was submitted, then closes the writer. */
void log_commit_stop(struct log_commit *commit);

/* Hands over a filled batch. ERR_FULL: pending_bytes_max is reached; ERR_STOP: the writer is finished. On
 * failure the batch stays the caller's and done is not called. Never blocks. @thread any */
int log_commit_submit(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx,
                      struct err *err) must_check;

/* For one who would only wait for the committer: true when nobody writes now, nothing waits, and the batch needs no new segment.
 * The log is then the caller's, and the others' batches wait, until log_commit_write, which follows at once: it writes, syncs and
 * calls done itself, whatever comes of it, and takes as long as the disk does. On Kafka always false. @thread any */
bool log_commit_claim(struct log_commit *commit, const struct log_batch *batch) must_check;
void log_commit_write(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx);

/* --- handing a partition to another process ----------------------------------------------------
 *
 * The old process rests, the new one opens the partition and starts its committer, and what the old one still gets to
 * write it forwards to the new one over a stream socket, where `serve` takes it: so records of both have their order, and
 * nobody whose request is under way is refused. What is submitted between rest and forward is ERR_FULL, as for a queue that
 * is full: it is tried again.
 *
 *      running --- rest ---> resting --- forward ---> forwarding, to the end
 *         ^                     |
 *         +------- resume ------+   (the new process came to nothing) */

/* Returns when everything that was submitted is answered and the partition is free. ERR_STOP: the writer was finished. */
int log_commit_rest(struct log_commit *commit, struct err *err) must_check;
/* ERR_STOP: another process wrote since; this one is finished. */
int log_commit_resume(struct log_commit *commit, struct err *err) must_check;
/* fd_take: a connected stream socket, on whose other end log_commit_serve runs. */
void log_commit_forward(struct log_commit *commit, int fd_take);
/* In a thread of its own, on the side that writes: until the other end is closed, or shut down. What comes is checked like
 * what lies on a disk. fd stays the caller's. */
void log_commit_serve(struct log_commit *commit, int fd);

/* --- the reading end --------------------------------------------------------------------------- */

struct log_reader;

enum log_chunk_kind {
    LOG_RECORDS, /* count records from base on */
    LOG_GAP      /* count offsets from base on whose records are lost to damage, or were deleted by retention */
};

struct log_chunk {
    enum log_chunk_kind kind;
    uint64_t            base;
    uint32_t            count;
    int64_t             appended_us; /* when its frame was appended */
    const char         *why;         /* LOG_GAP: "damaged", "expired" */
    const uint8_t      *at, *end;    /* LOG_RECORDS: for log_chunk_next */
    uint32_t            next_index;
    bool                sparse;      /* offsets between chunks may be missing without anything being lost */
};

/* from: the first offset wanted; offsets that retention deleted come as a LOG_GAP. A topic that does not
 * exist yet is empty. Any number of readers. */
int  log_reader_open(struct log *log, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out,
                     struct err *err) must_check;
void log_reader_close(struct log_reader *reader);
/* For the reader that follows a topic, and after whom nobody is expected: what it has read leaves the page cache a while
 * behind it. Others who come later read from the disk. */
void log_reader_once(struct log_reader *reader);
/* The next so many stored bytes are asked of the disk, as far as they are in the open segment and not in memory: for who does
 * something else meanwhile. A wish. */
void log_reader_ahead(struct log_reader *reader, uint64_t bytes);

/* 1: the next chunk (its spans live until the next call); 0: nothing below the published end; -1: error. */
int log_reader_next(struct log_reader *reader, struct log_chunk *out, struct err *err) must_check;
/* Each record of a LOG_RECORDS chunk in order; false at its end. The body is valid as long as the chunk. */
bool log_chunk_next(struct log_chunk *chunk, uint64_t *offset_out, struct span *body_out);

/* Waits until something past the reader's place is published, at most timeout_us; true when there is. */
bool log_reader_wait(struct log_reader *reader, int64_t timeout_us);
/* How many records wait from offset `from` on, which is in the chunk given last or next to it. Kafka: an estimate, but 0 only
 * when there is none. */
uint64_t log_reader_lag(struct log_reader *reader, uint64_t from);
/* The published end. On Kafka this asks the brokers, and -1 with ERR_RETRY says that they do not answer; embedded it never fails. */
int log_reader_end(struct log_reader *reader, uint64_t *out, struct err *err) must_check;
/* The first offset still stored; on Kafka 0, too, when the brokers do not answer. */
uint64_t log_reader_start(struct log_reader *reader);

/* --- cursors: how far a consumer has come ------------------------------------------------------ */

/* A copy of the consumer's own, transactional cursor, for retention and for people to see: everything below
 * `offset` is no longer needed by it. Replaced atomically, need not be synced: an old value is harmless. */
int log_cursor_store(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t offset,
                     struct err *err) must_check;
/* 1: found, or stored by this log, though the brokers have not taken it yet; 0: this consumer has none; -1: error. */
int log_cursor_load(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t *offset_out,
                    struct err *err) must_check;
/* Where a reader that has no place yet is to begin, if somebody said so: on Kafka, in a topic with many writers that is in another system's
 * form, what the group PREFIXpenstock.begin has committed. 1; 0: nobody did; -1: nobody knows (ERR_RETRY), also when the topic ends before that. */
int log_begin(struct log *log, const char *topic, uint32_t partition, uint64_t *out, struct err *err) must_check;
/* Whoever is about to load the cursors of many topics (NULL: none) says so: then brokers are asked once. */
void log_cursors_expect(struct log *log, const char *const *topics, size_t count, uint32_t partition, const char *consumer);

/* --- erasing ------------------------------------------------------------------------------------
 *
 * Records whose bytes must go before retention deletes them. Their offsets stay, with an empty body, which no
 * appended record should have: whoever reads one passes it over. */

typedef bool log_erase_wanted(void *ctx, uint64_t offset, struct span body);
struct log_erased {
    uint64_t records, segments; /* erased; written anew */
    uint64_t segments_damaged;  /* left as they are */
    uint64_t done_below;        /* from here on nothing was done: at the latest where the segment begins that is being written */
};
/* Asks for each record of [from, below) (which every consumer should have passed) in the sealed segments, and erases
 * those that are wanted; asked twice when one in its segment is. At most segments_max segments (0: any number) are looked
 * at; done_below says how far it came. Works beside a running writer, in any process, one at a
 * time each partition. */
int log_erase(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below,
              size_t segments_max, log_erase_wanted *wanted, void *ctx,
              struct log_erased *out, struct err *err) must_check;
/* The partition's writer, when it next calls log_writer_retain, ends the segment that it writes. */
int log_roll_ask(struct log *log, const char *topic, uint32_t partition, struct err *err) must_check;

/* --- for people and tests: penstock log info | verify | dump ------------------------------------ */

struct log_partition_info {
    char     topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    uint32_t partition;
    uint64_t start, end; /* stored: [start, end) as published */
    uint64_t bytes;      /* on disk */
    uint32_t segments;
    uint32_t epoch;
    /* Embedded, clock_guard; as of the writer's last look: what is old by the clock and kept since it jumped, and by how much it did */
    uint32_t held_segments;
    uint64_t held_bytes;
    int64_t  held_us;
    bool     clock_jumped; /* log_clock_confirm would change something */
};
struct log_cursor_info {
    char     consumer[LOG_CURSOR_NAME_BYTES_MAX + 1];
    uint64_t offset;
};

/* Calls back for each partition (and its cursors). Works beside a running writer. */
typedef void log_info_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors,
                           size_t cursor_count);
int log_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err) must_check;
/* The same of partitions whose writer's last look found something: but for their names only the last four members are told, from the heads
 * alone, whatever the number of segments. Kafka: of none. */
int log_clock_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err) must_check;

struct log_verify_result {
    uint64_t frames, records, bytes;
    uint64_t records_damaged; /* 0: every byte below the end is as it was written */
};
/* Reads everything and checks every sum. `seen` (may be NULL) is called for each damaged range. */
typedef void log_damage_seen(void *ctx, const char *file, uint64_t file_at, uint64_t base, uint64_t count,
                             const char *what);
int log_verify(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
               struct log_verify_result *out, struct err *err) must_check;

#endif
