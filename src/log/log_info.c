/* log/log_info.c - what people ask a log: what is in it (info), and is it whole (verify). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "log/log_cursor.h"
#include "log/log_reader.h"
#include "log/steady.h"

enum { INFO_CURSORS_MAX = 64 };

/* --- verify ------------------------------------------------------------------------------------ */

/* Without a head nothing says where the log ends: the last frame that is there does. */
static int end_by_scan(struct log_reader *reader, uint64_t *end_out, struct err *err)
{
    char               name[PART_NAME_BYTES];
    struct frame_place place;
    struct frame       frame;
    struct window      window;
    struct stat        st;
    uint64_t           at = SEGMENT_DATA_AT;
    int                fd, rc;

    *end_out = 0;
    if (part_list(&reader->part, &reader->segments, err) < 0)
        return -1;
    if (reader->segments.count == 0)
        return 0;
    place.seg_base = *end_out = reader->segments.bases[reader->segments.count - 1];
    place.id = reader->id;
    part_segment_name(name, place.seg_base, ".seg");
    fd = io_open(reader->part.dir_fd, name, O_RDONLY, 0);
    if (fd < 0 || fstat(fd, &st) < 0) {
        (void)err_errno(err, errno, "%s: open %s", reader->part.label, name);
        io_close(fd);
        return -1;
    }
    window_init(&window, fd);
    while ((rc = window_find_frame(&window, at, (uint64_t)st.st_size, &place, &at, &frame, err)) == 1) {
        if (frame.base + frame.count > *end_out)
            *end_out = frame.base + frame.count;
        at += frame_bytes(&frame);
    }
    window_fini(&window);
    io_close(fd);
    return rc;
}

/* 1: there is something to read up to *end_out; 0: nothing. */
static int verify_end(struct log_reader *reader, uint64_t *end_out, struct err *err)
{
    uint32_t seq, epoch;
    int      rc = log_reader_published(reader, end_out, &seq, err);

    if (rc != 0 || !reader->part_open)
        return rc;
    if (part_epoch_load(&reader->part, &reader->id, &epoch, err) != 1) {
        if (part_list(&reader->part, &reader->segments, err) < 0)
            return -1;
        if (reader->segments.count == 0 ||
            part_segment_id(&reader->part, reader->segments.bases[reader->segments.count - 1], &reader->id, err) != 1)
            return 0;
    }
    rc = end_by_scan(reader, end_out, err);
    reader->end_fixed = *end_out; /* and the head is not asked again */
    return rc < 0 ? -1 : *end_out > 0;
}

int embedded_verify(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
               struct log_verify_result *out, struct err *err)
{
    struct log_verify_result result = { 0 };
    struct log_reader       *reader;
    struct log_chunk         chunk;
    uint64_t                 end;
    char                     name[PART_NAME_BYTES];
    int                      rc;

    if (embedded_reader_open(log, topic, partition, 0, &reader, err) < 0)
        return -1;
    rc = verify_end(reader, &end, err);
    if (rc == 1)
        reader->next = embedded_reader_start(reader);
    while (rc == 1 && (rc = embedded_reader_next(reader, &chunk, err)) == 1) {
        if (chunk.kind == LOG_RECORDS) {
            result.records += chunk.count;
            result.bytes += (uint64_t)(chunk.end - chunk.at);
        } else if (strcmp(chunk.why, "damaged") == 0) {
            result.records_damaged += chunk.count;
            part_segment_name(name, reader->seg_base, ".seg");
            if (seen != NULL)
                seen(ctx, name, reader->gap_file_at, chunk.base, chunk.count, chunk.why);
        }
    }
    result.frames = reader->frames;
    embedded_reader_close(reader);
    if (rc == 0)
        *out = result;
    return rc < 0 ? -1 : 0;
}

/* --- info -------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct log_cursor_info *)a)->consumer, ((const struct log_cursor_info *)b)->consumer);
}

static size_t info_cursors(const struct part *part, struct log_cursor_info *cursors, size_t count_max)
{
    struct err     err;
    int            folder = log_cursor_folder(part, false, &err);
    int            copy = folder < 0 ? -1 : io_open(folder, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR           *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    size_t         count = 0;

    if (dir == NULL)
        io_close(copy);
    while (dir != NULL && count < count_max && (entry = readdir(dir)) != NULL) {
        if (!part_name_valid(entry->d_name, LOG_CURSOR_NAME_BYTES_MAX) ||
            log_cursor_read(folder, entry->d_name, &cursors[count].offset) != 1)
            continue;
        (void)snprintf(cursors[count++].consumer, sizeof cursors->consumer, "%.64s", entry->d_name);
    }
    if (dir != NULL)
        (void)closedir(dir);
    if (folder >= 0)
        io_close(folder);
    qsort(cursors, count, sizeof *cursors, compare_names);
    return count;
}

static void info_clock(const struct log_reader *reader, struct log_partition_info *info)
{
    struct err    ignored = { .kind = ERR_NONE };
    struct steady steady;
    struct head   head;
    uint64_t      id;
    uint32_t      epoch, owner;

    if (head_open_reader(&head, &reader->part, &ignored) < 1)
        return;
    if (head_identity(&head, &id, &epoch, &owner) && steady_load(&head, id, &steady)) {
        info->held_segments = steady.held_segments;
        info->held_bytes = steady.held_bytes;
        info->held_us = steady.held_us;
        info->clock_jumped = steady.count > 0 || (steady.jumped_us != INT64_MIN && steady_us(&steady) - steady.jumped_us < LOG_CLOCK_CALM_US);
    }
    head_close(&head);
}

static int info_partition(struct log *log, const char *topic, uint32_t partition, log_info_seen *seen, void *ctx,
                          struct err *err)
{
    struct log_partition_info info = { .partition = partition };
    struct log_cursor_info    cursors[INFO_CURSORS_MAX];
    struct log_reader        *reader;
    size_t                    cursor_count;

    (void)snprintf(info.topic, sizeof info.topic, "%.64s", topic);
    if (embedded_reader_open(log, topic, partition, 0, &reader, err) < 0)
        return -1;
    info.end = embedded_reader_end(reader);
    info.epoch = reader->epoch;
    if (!reader->part_open) { /* gone meanwhile */
        embedded_reader_close(reader);
        return 0;
    }
    if (part_list(&reader->part, &reader->segments, err) < 0) {
        embedded_reader_close(reader);
        return -1;
    }
    info.segments = (uint32_t)reader->segments.count;
    info.start = reader->segments.count > 0 ? reader->segments.bases[0] : 0;
    for (size_t i = 0; i < reader->segments.count; i++) {
        char        name[PART_NAME_BYTES];
        struct stat st;

        part_segment_name(name, reader->segments.bases[i], ".seg");
        if (fstatat(reader->part.dir_fd, name, &st, 0) == 0)
            info.bytes += (uint64_t)st.st_blocks * 512;
    }
    info_clock(reader, &info);
    cursor_count = info_cursors(&reader->part, cursors, INFO_CURSORS_MAX);
    seen(ctx, &info, cursors, cursor_count);
    embedded_reader_close(reader);
    return 0;
}

/* The names of the folders in dir_fd, sorted; NULL-terminated, freed with name_list_free. */
static char **name_list(int dir_fd, const char *name)
{
    int            fd = io_open(dir_fd, name, O_RDONLY | O_DIRECTORY, 0);
    DIR           *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    char         **names = calloc(1, sizeof *names);
    size_t         count = 0;

    if (dir == NULL)
        io_close(fd);
    while (dir != NULL && names != NULL && (entry = readdir(dir)) != NULL) {
        char **grown;

        if (!part_name_valid(entry->d_name, LOG_TOPIC_NAME_BYTES_MAX))
            continue;
        grown = realloc(names, (count + 2) * sizeof *names);
        if (grown == NULL)
            break;
        names = grown;
        names[count++] = strdup(entry->d_name);
        names[count] = NULL;
    }
    if (dir != NULL)
        (void)closedir(dir);
    return names;
}

static void name_list_free(char **names)
{
    for (char **name = names; name != NULL && *name != NULL; name++)
        free(*name);
    free(names);
}

static int compare_texts(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t      x_bytes = strlen(x), y_bytes = strlen(y);

    if (x[0] >= '0' && x[0] <= '9' && x_bytes != y_bytes) /* numbers by their value */
        return x_bytes < y_bytes ? -1 : 1;
    return strcmp(x, y);
}

static void name_list_sort(char **names)
{
    size_t count = 0;

    while (names != NULL && names[count] != NULL)
        count++;
    if (count > 1)
        qsort(names, count, sizeof *names, compare_texts);
}

static int clock_of_partition(struct log *log, const char *topic, uint32_t partition, log_info_seen *seen, void *ctx, struct err *err)
{
    struct log_partition_info info = { .partition = partition };
    struct log_reader        *reader;

    (void)snprintf(info.topic, sizeof info.topic, "%.64s", topic);
    if (embedded_reader_open(log, topic, partition, 0, &reader, err) < 0)
        return -1;
    (void)embedded_reader_end(reader); /* opens the partition */
    if (reader->part_open)
        info_clock(reader, &info);
    embedded_reader_close(reader);
    if (info.held_segments > 0 || info.clock_jumped)
        seen(ctx, &info, NULL, 0);
    return 0;
}

typedef int partition_ask(struct log *log, const char *topic, uint32_t partition, log_info_seen *seen, void *ctx, struct err *err);

static int each_partition(struct log *log, partition_ask *ask, log_info_seen *seen, void *ctx, struct err *err)
{
    char **topics = name_list(log->dir_fd, ".");
    int    rc = topics == NULL ? err_set(err, ERR_FULL, "no memory to list topics") : 0;

    name_list_sort(topics);
    for (char **topic = topics; rc == 0 && topic != NULL && *topic != NULL; topic++) {
        char **partitions = name_list(log->dir_fd, *topic);

        name_list_sort(partitions);
        for (char **name = partitions; rc == 0 && name != NULL && *name != NULL; name++) {
            char         *end;
            unsigned long partition = strtoul(*name, &end, 10);

            if (*end == 0 && partition <= UINT32_MAX)
                rc = ask(log, *topic, (uint32_t)partition, seen, ctx, err);
        }
        name_list_free(partitions);
    }
    name_list_free(topics);
    return rc;
}

int embedded_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err)
{
    return each_partition(log, info_partition, seen, ctx, err);
}

int embedded_clock_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err)
{
    return each_partition(log, clock_of_partition, seen, ctx, err);
}
