/* bench/log_bench.c - what the log costs over the bare disk.
 *
 * Batches of 1, 64 and 1000 records of 1 KB, each with its sync, beside pwrite and fdatasync of the same
 * number of bytes to a file that was filled before. CPU is the whole process's, helper thread included.
 * usage: log_bench [FOLDER [SECONDS]] */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"

enum { RECORD_BYTES = 1000, RAW_FILE_BYTES = 64 << 20 };

static double cpu_us(void)
{
    struct rusage use;

    (void)getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void die(const char *what)
{
    (void)fprintf(stderr, "log_bench: %s\n", what);
    exit(1);
}

struct figures {
    double mb_s, cpu_us, syncs_s;
};

static struct figures figures(uint64_t records, uint64_t syncs, int64_t us, double cpu)
{
    return (struct figures){ (double)records * RECORD_BYTES / (double)us, cpu / (double)records, (double)syncs * 1e6 / (double)us };
}

static struct figures bench_raw(const char *folder, unsigned batch, int64_t run_us)
{
    char     path[300];
    size_t   bytes = (size_t)batch * RECORD_BYTES;
    uint8_t *from = malloc(bytes), *zeros = calloc(1, 1 << 20);
    uint64_t at = 0, syncs = 0;
    int64_t  began_us;
    double   cpu;
    int      fd;

    (void)snprintf(path, sizeof path, "%s/raw.bin", folder);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || from == NULL || zeros == NULL)
        die("cannot make the file");
    memset(from, 'x', bytes);
    for (uint64_t done = 0; done < RAW_FILE_BYTES; done += 1 << 20)
        if (pwrite(fd, zeros, 1 << 20, (off_t)done) < 0)
            die("fill");
    if (fsync(fd) < 0)
        die("fsync");
    began_us = clock_mono_us();
    cpu = cpu_us();
    while (clock_mono_us() - began_us < run_us) {
        if (at + bytes > RAW_FILE_BYTES)
            at = 0;
        if (pwrite(fd, from, bytes, (off_t)at) != (ssize_t)bytes || fdatasync(fd) < 0)
            die("write");
        at += bytes;
        syncs++;
    }
    cpu = cpu_us() - cpu;
    began_us = clock_mono_us() - began_us;
    close(fd);
    (void)unlink(path);
    free(from);
    free(zeros);
    return figures(syncs * batch, syncs, began_us, cpu);
}

static struct figures bench_log(const char *folder, unsigned batch_count, int64_t run_us, enum log_codec codec, uint8_t *body)
{
    char                     path[300];
    struct log_options       options = { path };
    struct log_topic_options topic = { .codec = codec, .retention_bytes = 256 << 20 };
    struct log              *log;
    struct log_writer       *writer = NULL;
    struct log_batch        *batch = log_batch_new();
    struct err               err = { 0 };
    uint64_t                 base, syncs = 0;
    int64_t                  began_us;
    double                   cpu;

    (void)snprintf(path, sizeof path, "%s/log-%u-%d", folder, batch_count, (int)codec);
    if (log_open(&options, &log, &err) < 0 || log_writer_open(log, "bench", 0, &topic, &writer, &err) < 0)
        die(err.text);
    (void)usleep(100000); /* as in a running process, the helper is ahead */
    began_us = clock_mono_us();
    cpu = cpu_us();
    while (clock_mono_us() - began_us < run_us) {
        log_batch_reset(batch);
        for (unsigned i = 0; i < batch_count; i++)
            if (log_batch_add(batch, span_of(body + i % 16 * 64, RECORD_BYTES), &err) < 0)
                die(err.text);
        if (log_writer_append(writer, batch, 1, &base, &err) < 0 || log_writer_sync(writer, &err) < 0)
            die(err.text);
        log_writer_publish(writer, log_writer_end(writer));
        if (++syncs % 1000 == 0 && log_writer_retain(writer, 2, &err) < 0)
            die(err.text);
    }
    cpu = cpu_us() - cpu;
    began_us = clock_mono_us() - began_us;
    log_writer_close(writer);
    log_batch_free(batch);
    log_close(log);
    return figures(syncs * batch_count, syncs, began_us, cpu);
}

/* Reading back what the last run wrote: MB/s and CPU a record. */
static void bench_read(const char *folder)
{
    char               path[300];
    struct log_options options = { path };
    struct log        *log;
    struct log_reader *reader = NULL;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    struct span        body;
    uint64_t           records = 0, offset;
    int64_t            began_us;
    double             cpu;
    int                rc;

    (void)snprintf(path, sizeof path, "%s/log-1000-0", folder);
    if (log_open(&options, &log, &err) < 0 || log_reader_open(log, "bench", 0, 0, &reader, &err) < 0)
        die(err.text);
    began_us = clock_mono_us();
    cpu = cpu_us();
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1)
        while (log_chunk_next(&chunk, &offset, &body))
            records++;
    if (rc < 0)
        die(err.text);
    cpu = cpu_us() - cpu;
    began_us = clock_mono_us() - began_us;
    (void)printf("read back (page cache)        %8.0f MB/s  %6.3f us CPU a record\n", (double)records * RECORD_BYTES / (double)began_us,
                 cpu / (double)records);
    log_reader_close(reader);
    log_close(log);
}

static void bench_open(const char *folder)
{
    char               path[300];
    struct log_options options = { path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct err         err = { 0 };
    int64_t            began_us;

    (void)snprintf(path, sizeof path, "%s/log-1000-0", folder);
    if (log_open(&options, &log, &err) < 0)
        die(err.text);
    for (int i = 0; i < 2; i++) {
        if (i == 1) {
            char head[400];

            (void)snprintf(head, sizeof head, "%s/bench/0/head", path);
            (void)unlink(head);
        }
        began_us = clock_mono_us();
        if (log_writer_open(log, "bench", 0, NULL, &writer, &err) < 0)
            die(err.text);
        (void)printf("opening, %s      %8.1f ms\n", i == 0 ? "clean        " : "head was lost", (double)(clock_mono_us() - began_us) / 1000);
        log_writer_close(writer);
    }
    log_close(log);
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = { 1, 64, 1000 };
    char                  folder[200];
    int64_t               run_us = argc > 2 ? (int64_t)(atof(argv[2]) * 1e6) : 2000000;
    uint8_t               body[RECORD_BYTES + 1024];
    char                  command[300];

    (void)snprintf(folder, sizeof folder, "%.150s/penstock-log-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (mkdtemp(folder) == NULL)
        die("cannot make a folder");
    for (size_t i = 0; i < sizeof body; i++) /* JSON-like: half of it repeats */
        body[i] = (uint8_t)(i % 128 < 64 ? "{\"event\":\"$pageview\",\"properties\":{\"$browser\":\"Chrome\",\"$os\":\"L"[i % 64]
                                         : 'a' + (int)((i * 2654435761u >> 7) % 26));
    (void)printf("records of 1000 bytes          log MB/s  us CPU/rec  syncs/s | raw MB/s  us CPU/rec  syncs/s | log/raw\n");
    for (size_t i = 0; i < 3; i++) {
        struct figures raw = bench_raw(folder, batches[i], run_us);

        for (int codec = 0; codec < 2; codec++) {
            struct figures log = bench_log(folder, batches[i], run_us, (enum log_codec)codec, body);

            (void)printf("batch of %4u, %s           %8.1f  %10.3f  %7.0f | %8.1f  %10.3f  %7.0f | %6.2f\n", batches[i], codec ? "LZ4 " : "none",
                         log.mb_s, log.cpu_us, log.syncs_s, raw.mb_s, raw.cpu_us, raw.syncs_s, log.mb_s / raw.mb_s);
            (void)fflush(stdout);
        }
    }
    bench_read(folder);
    bench_open(folder);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? 0 : 1;
}
