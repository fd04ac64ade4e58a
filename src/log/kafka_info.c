/* log/kafka_info.c - what people ask a log on Kafka: what is in it, and is it whole; and what cannot be asked of one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_producer.h"
#include "log/kafka_reader.h"
#include "log/part.h"

enum { ASK_MS = 5000, INFO_CURSORS = 2 };

/* --- places ------------------------------------------------------------------------------------ */

struct kafka_place {
    char     name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int32_t  partition;
    uint64_t offset;
    int64_t  message;
};

static struct kafka_place *place_of(struct kafka_log *log, const char *name, int32_t partition)
{
    for (size_t i = 0; i < log->place_count; i++)
        if (log->places[i].partition == partition && strcmp(log->places[i].name, name) == 0)
            return &log->places[i];
    return NULL;
}

void kafka_places_set(struct kafka_log *log, const char *name, int32_t partition, uint64_t offset, int64_t message)
{
    struct kafka_place *place, *grown;

    pthread_mutex_lock(&log->lock);
    place = place_of(log, name, partition);
    if (place == NULL && (grown = realloc(log->places, (log->place_count + 1) * sizeof *grown)) != NULL) {
        log->places = grown;
        place = &grown[log->place_count++];
        place->partition = partition;
        (void)snprintf(place->name, sizeof place->name, "%s", name);
    }
    if (place != NULL) {
        place->offset = offset;
        place->message = message;
    }
    pthread_mutex_unlock(&log->lock);
}

int64_t kafka_places_get(struct kafka_log *log, const char *name, int32_t partition)
{
    struct kafka_place *place;
    int64_t             message;

    pthread_mutex_lock(&log->lock);
    place = place_of(log, name, partition);
    message = place == NULL ? 0 : place->message;
    pthread_mutex_unlock(&log->lock);
    return message;
}

int kafka_places_before(struct kafka_log *log, const char *name, int32_t partition, uint64_t offset, int64_t *out)
{
    struct kafka_place *place;
    int                 known;

    pthread_mutex_lock(&log->lock);
    place = place_of(log, name, partition);
    known = place != NULL && place->message > 0 && place->offset <= offset;
    if (known)
        *out = place->message;
    pthread_mutex_unlock(&log->lock);
    return known;
}

void kafka_places_close(struct kafka_log *log)
{
    free(log->places);
}

/* --- verify ------------------------------------------------------------------------------------ */

int kafka_verify(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
                 struct log_verify_result *out, struct err *err)
{
    struct log_verify_result result = { 0 };
    struct log_reader       *reader;
    struct log_chunk         chunk;
    uint64_t                 end;
    int                      rc;

    if (kafka_reader_open(log, topic, partition, 0, &reader, err) < 0)
        return -1;
    rc = kafka_reader_end(reader, &end, err);
    while (rc >= 0 && (rc = kafka_reader_next(reader, &chunk, err)) == 1) {
        if (chunk.kind == LOG_RECORDS) {
            result.frames++;
            result.records += chunk.count;
            result.bytes += (uint64_t)(chunk.end - chunk.at);
        } else if (strcmp(chunk.why, "damaged") == 0) {
            result.records_damaged += chunk.count;
            if (seen != NULL)
                seen(ctx, kafka_reader_of(reader)->source.name, chunk.base, chunk.base, chunk.count, chunk.why);
        }
        if (chunk.base + chunk.count >= end)
            break;
    }
    kafka_reader_close(reader);
    if (rc >= 0)
        *out = result;
    return rc < 0 ? -1 : 0;
}

/* --- info -------------------------------------------------------------------------------------- */

/* *ask: whether cursors are asked for; not any more when nobody answers. */
static int info_partition(struct log *log, const char *topic, uint32_t partition, log_info_seen *seen, void *ctx, bool *ask, struct err *err)
{
    static const char *const  consumers[INFO_CURSORS] = { "ingest", "load" };
    struct log_partition_info info = { .partition = partition };
    struct log_cursor_info    cursors[INFO_CURSORS];
    struct log_reader        *reader;
    size_t                    count = 0;
    bool                      foreign = false;
    int                       rc = 1;

    if (kafka_reader_open(log, topic, partition, 0, &reader, err) < 0)
        return -1;
    (void)snprintf(info.topic, sizeof info.topic, "%s", topic);
    if (!kafka_reader_of(reader)->shared)
        rc = kafka_place_foreign(&kafka_reader_of(reader)->source, &foreign, err);
    if (foreign) {
        info.start = (uint64_t)kafka_reader_of(reader)->source.low;
        info.end = (uint64_t)kafka_reader_of(reader)->source.high;
    } else if (rc >= 0) {
        rc = kafka_reader_end(reader, &info.end, err);
        info.start = kafka_reader_start(reader);
    }
    kafka_reader_close(reader);
    if (rc < 0)
        return -1;
    for (size_t i = 0; *ask && i < INFO_CURSORS; i++) {
        rc = kafka_cursor_load(log, topic, partition, consumers[i], &cursors[count].offset, err);

        if (rc < 0 && err->kind != ERR_RETRY)
            return -1;
        if (rc < 0) { /* a copy, for people: what it stands beside is told without it */
            say(SAY_WARN, "how far the topics were read is not known: %s", err->text);
            *ask = false;
        }
        if (rc == 1 && foreign) /* a record a message */
            cursors[count].offset = (cursors[count].offset + ((uint64_t)1 << KAFKA_INDEX_BITS) - 1) >> KAFKA_INDEX_BITS;
        if (rc == 1)
            (void)snprintf(cursors[count++].consumer, sizeof cursors->consumer, "%s", consumers[i]);
    }
    seen(ctx, &info, cursors, count);
    return 0;
}

static int compare_topics(const void *a, const void *b)
{
    return strcmp(((const rd_kafka_metadata_topic_t *)a)->topic, ((const rd_kafka_metadata_topic_t *)b)->topic);
}

int kafka_info(struct log *of, log_info_seen *seen, void *ctx, struct err *err)
{
    struct kafka_log               *log = kafka_log_of(of);
    struct kafka_producer          *producer;
    const struct rd_kafka_metadata *meta;
    const char                     *prefix = log->options->topic_prefix != NULL ? log->options->topic_prefix : "";
    rd_kafka_resp_err_t             error;
    bool                            ask = true;
    int                             rc = 0;

    if (kafka_producer_of(log, &producer, err) < 0)
        return -1;
    error = rd_kafka_metadata(kafka_producer_client(producer), 1, NULL, &meta, ASK_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, "topics", error);
    qsort(meta->topics, (size_t)meta->topic_cnt, sizeof *meta->topics, compare_topics);
    for (int i = 0; rc == 0 && i < meta->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *topic = &meta->topics[i];

        if (strncmp(topic->topic, prefix, strlen(prefix)) != 0 || topic->topic[0] == '_' ||
            !part_name_valid(topic->topic + strlen(prefix), LOG_TOPIC_NAME_BYTES_MAX))
            continue;
        for (int p = 0; rc == 0 && p < topic->partition_cnt; p++)
            rc = info_partition(of, topic->topic + strlen(prefix), (uint32_t)p, seen, ctx, &ask, err);
    }
    rd_kafka_metadata_destroy(meta);
    return rc;
}

/* --- not here ---------------------------------------------------------------------------------- */

int kafka_erase(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below, size_t segments_max,
                log_erase_wanted *wanted, void *ctx, struct log_erased *out, struct err *err)
{
    (void)log, (void)partition, (void)from, (void)below, (void)segments_max, (void)wanted, (void)ctx, (void)out;
    return err_set(err, ERR_INPUT, "%s: what is on Kafka cannot be written anew; it goes with the topic's retention", topic);
}

int kafka_roll_ask(struct log *log, const char *topic, uint32_t partition, struct err *err)
{
    (void)log, (void)topic, (void)partition, (void)err;
    return 0;
}
