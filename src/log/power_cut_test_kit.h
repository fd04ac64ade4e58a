/* log/power_cut_test_kit.h - every file call of a log's partition written down, and disk images as a power cut may leave them.
 *
 * sim_start() ... io_hook_set(NULL): what happens in between stands in sim.ops, in its order, with marks of the test's own (sim_mark()).
 * image_build() makes a folder of everything up to a moment of that list, of which each page that was not synced may be there, be
 * missing, be as it was at some moment between, or be torn at 512 bytes; unsynced directory entries and sizes are there up to a
 * random one; the mapped head is any of its states since its last sync, or lost. One list a program; included by tests only. */
#ifndef PENSTOCK_LOG_POWER_CUT_TEST_KIT_H
#define PENSTOCK_LOG_POWER_CUT_TEST_KIT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

enum { PAGE = 4096, SECTOR = 512, FDS_MAX = 256, OPS_MAX = 20000, NAMES_MAX = 64, HEAD_BYTES = 4096 };

/* --- the list of what happened ------------------------------------------------------------------ */

enum op_kind { OP_WRITE, OP_SIZE, OP_SYNC, OP_LINK, OP_RENAME, OP_UNLINK, OP_DIRSYNC, OP_HEAD, OP_ACK, OP_CUT, OP_CUT_DONE, OP_RETAINED };

struct op {
    enum op_kind kind;
    int          inode;
    uint64_t     at, bytes; /* OP_ACK: first offset, count; OP_CUT: end */
    uint64_t     number;    /* OP_ACK: of the first record */
    uint8_t     *data;
    char         name[48], name_to[48];
};

struct sim {
    pthread_mutex_t lock;
    char            folder[128]; /* of the partition */
    struct op       ops[OPS_MAX];
    size_t          count;
    size_t          begun; /* ops before are what the folder held at the start */
    int             fd_inode[FDS_MAX]; /* -1: a directory, -2: not ours */
    struct { char name[48]; int inode; } names[NAMES_MAX];
    size_t          name_count;
    int             inodes;
    uint8_t         head[HEAD_BYTES];
};

static struct sim sim;

static inline struct op *sim_add(enum op_kind kind)
{
    struct op *op = &sim.ops[sim.count++];

    assert_true(sim.count < OPS_MAX);
    *op = (struct op){ .kind = kind };
    return op;
}

static inline int *sim_name(const char *name)
{
    for (size_t i = 0; i < sim.name_count; i++)
        if (strcmp(sim.names[i].name, name) == 0)
            return &sim.names[i].inode;
    return NULL;
}

static inline void sim_name_set(const char *name, int inode)
{
    int *at = sim_name(name);

    if (at == NULL) {
        assert_true(sim.name_count < NAMES_MAX);
        assert_true(strlen(name) < sizeof sim.names[0].name);
        memcpy(sim.names[sim.name_count].name, name, strlen(name) + 1);
        at = &sim.names[sim.name_count++].inode;
    }
    *at = inode;
}

static inline void sim_name_drop(const char *name)
{
    for (size_t i = 0; i < sim.name_count; i++)
        if (strcmp(sim.names[i].name, name) == 0)
            sim.names[i] = sim.names[--sim.name_count];
}

/* The head is written through a map, so it is looked at whenever something else happens. */
static inline void sim_look_at_head(void)
{
    uint8_t bytes[HEAD_BYTES];
    char    path[160];
    int     fd;

    (void)snprintf(path, sizeof path, "%s/head", sim.folder);
    fd = open(path, O_RDONLY);
    if (fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && memcmp(bytes, sim.head, sizeof bytes) != 0) {
        struct op *op = sim_add(OP_HEAD);

        op->data = malloc(HEAD_BYTES);
        memcpy(op->data, bytes, HEAD_BYTES);
        memcpy(sim.head, bytes, HEAD_BYTES);
    }
    if (fd >= 0)
        close(fd);
}

static inline int sim_before(void *ctx, struct io_call *call)
{
    (void)ctx;
    pthread_mutex_lock(&sim.lock);
    sim_look_at_head();
    if (call->op == IO_PWRITE && sim.fd_inode[call->fd] >= 0) { /* iov is used up by the call */
        struct op *op = sim_add(OP_WRITE);
        size_t     at = 0;

        op->inode = sim.fd_inode[call->fd];
        op->at = call->at;
        op->bytes = call->bytes;
        op->data = malloc(call->bytes + 1);
        for (int i = 0; i < call->iov_count && at < call->bytes; i++) { /* of a large write this is one piece */
            size_t step = call->iov[i].iov_len < call->bytes - at ? call->iov[i].iov_len : call->bytes - at;

            memcpy(op->data + at, call->iov[i].iov_base, step);
            at += step;
        }
    }
    pthread_mutex_unlock(&sim.lock);
    return 0;
}

static inline void sim_opened(const struct io_call *call, int fd)
{
    struct stat st;
    int        *inode;

    assert_in_range(fd, 0, FDS_MAX - 1);
    assert_int_equal(fstat(fd, &st), 0);
    sim.fd_inode[fd] = -1;
    if (S_ISDIR(st.st_mode))
        return;
    inode = sim_name(call->name);
    if (inode == NULL) {
        struct op *op = sim_add(OP_LINK);

        (void)snprintf(op->name, sizeof op->name, "%s", call->name);
        op->inode = sim.inodes++;
        sim_name_set(call->name, op->inode);
        inode = &op->inode;
    } else if (((int)call->bytes & O_TRUNC) != 0) {
        sim_add(OP_SIZE)->inode = *inode;
    }
    sim.fd_inode[fd] = *inode;
}

static inline void sim_after(void *ctx, const struct io_call *call, int64_t result)
{
    struct op *op;

    (void)ctx;
    if (result < 0)
        return;
    pthread_mutex_lock(&sim.lock);
    switch (call->op) {
    case IO_OPEN: sim_opened(call, (int)result); break;
    case IO_FSYNC:
    case IO_FDATASYNC:
        sim_look_at_head();
        op = sim_add(sim.fd_inode[call->fd] >= 0 ? OP_SYNC : OP_DIRSYNC);
        op->inode = sim.fd_inode[call->fd];
        break;
    case IO_FTRUNCATE:
        op = sim_add(OP_SIZE);
        op->inode = sim.fd_inode[call->fd];
        op->bytes = call->bytes;
        break;
    case IO_FALLOCATE:
        op = sim_add(OP_WRITE); /* zeros */
        op->inode = sim.fd_inode[call->fd];
        op->at = call->at;
        op->bytes = call->bytes;
        op->data = calloc(1, call->bytes);
        break;
    case IO_RESERVE: break; /* blocks behind the end: what is read there is what was written, or zeros before it */
    case IO_RENAME: {
        int *inode = sim_name(call->name);

        op = sim_add(OP_RENAME);
        (void)snprintf(op->name, sizeof op->name, "%s", call->name);
        (void)snprintf(op->name_to, sizeof op->name_to, "%s", call->name_to);
        if (inode != NULL) {
            int moved = *inode;

            sim_name_drop(call->name);
            sim_name_set(call->name_to, moved);
        }
        break;
    }
    case IO_UNLINK:
        op = sim_add(OP_UNLINK);
        (void)snprintf(op->name, sizeof op->name, "%s", call->name);
        sim_name_drop(call->name);
        break;
    default: break;
    }
    pthread_mutex_unlock(&sim.lock);
}

/* Something that the test did or was told, at its place in the list. */
static inline void sim_mark(enum op_kind kind, uint64_t at, uint64_t bytes, uint64_t number)
{
    pthread_mutex_lock(&sim.lock);
    sim_look_at_head();
    struct op *op = sim_add(kind);
    op->at = at;
    op->bytes = bytes;
    op->number = number;
    pthread_mutex_unlock(&sim.lock);
}

static const struct io_hook sim_hook = { sim_before, sim_after, NULL };

/* Starts a list; what is in the folder now counts as durable. */
static inline void sim_start(const char *path)
{
    DIR           *dir;
    struct dirent *entry;

    for (size_t i = 0; i < sim.count; i++)
        free(sim.ops[i].data);
    memset(&sim, 0, sizeof sim);
    pthread_mutex_init(&sim.lock, NULL);
    (void)snprintf(sim.folder, sizeof sim.folder, "%s/raw/0", path);
    dir = opendir(sim.folder);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char        file[400];
        struct stat st;
        struct op  *op;
        int         fd;

        (void)snprintf(file, sizeof file, "%s/%s", sim.folder, entry->d_name);
        if (stat(file, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        op = sim_add(OP_LINK);
        (void)snprintf(op->name, sizeof op->name, "%.47s", entry->d_name);
        op->inode = sim.inodes++;
        sim_name_set(op->name, op->inode);
        op = sim_add(OP_WRITE);
        op->inode = sim.inodes - 1;
        op->bytes = (uint64_t)st.st_size;
        op->data = calloc(1, op->bytes + 1);
        fd = open(file, O_RDONLY);
        assert_int_equal(read(fd, op->data, op->bytes), op->bytes);
        close(fd);
        if (strcmp(entry->d_name, "head") == 0 && op->bytes == HEAD_BYTES)
            memcpy(sim.head, op->data, HEAD_BYTES);
        sim_add(OP_SYNC)->inode = sim.inodes - 1;
    }
    if (dir != NULL)
        closedir(dir);
    sim_add(OP_DIRSYNC);
    sim.begun = sim.count;
    io_hook_set(&sim_hook);
}

/* --- images ------------------------------------------------------------------------------------- */

struct image_file {
    uint8_t *bytes;
    size_t   size, room;
    size_t   synced_at; /* index of the last sync before the cut */
    size_t   sizes_at;  /* changes of size count up to this index */
};

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2))) * UINT64_C(0xbf58476d1ce4e5b9);

    return x ^ (x >> 29);
}

/* Up to which op this sector had reached the disk. */
static inline size_t sector_cutoff(uint64_t seed, int inode, uint64_t at, size_t synced_at, size_t cut)
{
    uint64_t page = mix(mix(seed, (uint64_t)inode), at / PAGE);

    if (page % 8 == 0) /* torn */
        page = mix(page, at / SECTOR);
    switch (page / 8 % 4) {
    case 0: return synced_at;
    case 1: return cut;
    default: return synced_at + page / 32 % (cut - synced_at + 1);
    }
}

static inline void file_write(struct image_file *file, uint64_t at, const uint8_t *data, size_t bytes)
{
    if (at + bytes > file->size) {
        if (at + bytes > file->room) {
            file->room = (at + bytes) * 2;
            file->bytes = realloc(file->bytes, file->room);
        }
        memset(file->bytes + file->size, 0, at + bytes - file->size);
        file->size = at + bytes;
    }
    memcpy(file->bytes + at, data, bytes);
}

static inline void file_size(struct image_file *file, size_t size)
{
    if (size > file->size)
        file_write(file, size - 1, (const uint8_t *)"", 1);
    file->size = size;
}

static inline void image_write(struct image_file *file, const struct op *op, size_t index, uint64_t seed, size_t cut)
{
    for (uint64_t done = 0; done < op->bytes;) {
        uint64_t at = op->at + done, step = SECTOR - at % SECTOR;

        if (step > op->bytes - done)
            step = op->bytes - done;
        if (index <= file->synced_at || index <= sector_cutoff(seed, op->inode, at, file->synced_at, cut))
            file_write(file, at, op->data + done, step);
        done += step;
    }
}

/* Builds in `path` what a power cut just before op `cut` may leave. */
static inline void image_build(const char *path, size_t cut, uint64_t seed)
{
    struct image_file *files = calloc((size_t)sim.inodes + 1, sizeof *files);
    struct { char name[48]; int inode; } names[NAMES_MAX];
    size_t         name_count = 0, dirsync_at = 0, dir_upto, head_synced = 0, heads = 0, head_pick;
    const uint8_t *head = NULL;
    int            head_inode = -1;
    char           file[256];

    for (size_t i = 0; i < cut; i++) {
        const struct op *op = &sim.ops[i];

        if (op->kind == OP_SYNC)
            files[op->inode].synced_at = i;
        else if (op->kind == OP_DIRSYNC)
            dirsync_at = i;
    }
    for (int i = 0; i < sim.inodes; i++)
        files[i].sizes_at = files[i].synced_at + mix(seed, (uint64_t)i + 77) % (cut - files[i].synced_at + 1);
    for (size_t i = 0; i < cut; i++) {
        const struct op *op = &sim.ops[i];

        if (op->kind == OP_WRITE)
            image_write(&files[op->inode], op, i, seed, cut);
        else if (op->kind == OP_SIZE && i <= files[op->inode].sizes_at)
            file_size(&files[op->inode], op->bytes);
    }
    dir_upto = dirsync_at + mix(seed, 5) % (cut - dirsync_at + 1);
    for (size_t i = 0; i < cut && i <= dir_upto; i++) {
        const struct op *op = &sim.ops[i];
        const char      *gone = op->kind == OP_RENAME ? op->name_to : op->kind == OP_UNLINK ? op->name : NULL;

        for (size_t k = 0; gone != NULL && k < name_count; k++)
            if (strcmp(names[k].name, gone) == 0)
                names[k] = names[--name_count];
        if (op->kind == OP_LINK) {
            memcpy(names[name_count].name, op->name, sizeof names[name_count].name);
            names[name_count++].inode = op->inode;
        }
        for (size_t k = 0; op->kind == OP_RENAME && k < name_count; k++)
            if (strcmp(names[k].name, op->name) == 0)
                memcpy(names[k].name, op->name_to, sizeof names[k].name);
    }
    /* The head: any state since its last sync. */
    for (size_t k = 0; k < name_count; k++)
        if (strcmp(names[k].name, "head") == 0)
            head_inode = names[k].inode;
    for (size_t i = 0; i < cut; i++)
        if (sim.ops[i].kind == OP_SYNC && sim.ops[i].inode == head_inode)
            head_synced = i;
    for (size_t i = 0; i < cut; i++)
        if (sim.ops[i].kind == OP_HEAD) {
            if (i < head_synced)
                head = sim.ops[i].data;
            else
                heads++;
        }
    head_pick = mix(seed, 9) % (heads + 1);
    for (size_t i = head_synced; i < cut && head_pick > 0; i++)
        if (sim.ops[i].kind == OP_HEAD && head_pick-- > 0)
            head = sim.ops[i].data;
    (void)snprintf(file, sizeof file, "%s/raw", path);
    (void)mkdir(path, 0700);
    (void)mkdir(file, 0700);
    (void)snprintf(file, sizeof file, "%s/raw/0", path);
    (void)mkdir(file, 0700);
    for (size_t k = 0; k < name_count; k++) {
        struct image_file *from = &files[names[k].inode];
        int                fd;

        if (names[k].inode == head_inode && head != NULL)
            file_write(from, 0, head, HEAD_BYTES);
        if (names[k].inode == head_inode && mix(seed, 11) % 8 == 0)
            continue; /* lost */
        (void)snprintf(file, sizeof file, "%.100s/raw/0/%.47s", path, names[k].name);
        fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, from->bytes, from->size), from->size);
        close(fd);
    }
    for (int i = 0; i < sim.inodes; i++)
        free(files[i].bytes);
    free(files);
}

#endif
