/* capture/cage_drill.c - see cage_drill.h. A drill ends with exit code 0 when it could do its thing; with the errno that
 * it was refused with; or it does not end itself, but the kernel does. What must be refused how is a column of the table. */
#include "capture/cage_drill.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/say.h"
#include "capture/capture_cage.h"
#include "log/log.h"

struct site {
    char               folder[64], run[80], log[80];
    int                run_fd, listen_fd, socket_fd;
    struct log        *writing;
    struct log_writer *writer;
};

static int refused(int rc)
{
    return rc < 0 ? errno : 0;
}

static int open_reading(const struct site *site, const char *name)
{
    char path[200];

    (void)snprintf(path, sizeof path, "%s/%s", site->folder, name);
    return refused(open(path, O_RDONLY));
}

/* --- what it must be able to do ---------------------------------------------------------------- */

/* More than a segment holds, so that one is sealed and the next is made. */
static int do_append(const struct site *site)
{
    struct log_batch *batch = log_batch_new();
    static char       body[60000];
    struct err        err = { 0 };
    uint64_t          base;

    for (int i = 0; batch != NULL && i < 100; i++) {
        log_batch_reset(batch);
        if (log_batch_add(batch, span_of(body, sizeof body), &err) < 0 ||
            log_writer_append(site->writer, batch, 1000000, &base, &err) < 0 || log_writer_sync(site->writer, &err) < 0)
            return EIO;
        log_writer_publish(site->writer, log_writer_end(site->writer));
    }
    log_batch_free(batch);
    return batch == NULL ? ENOMEM : log_writer_retain(site->writer, INT64_C(1) << 60, &err) < 0 ? EIO : 0;
}

/* As the loops do, to see how far ingest is. */
static int do_read_cursor(const struct site *site)
{
    struct err err = { 0 };
    uint64_t   offset;

    return log_cursor_load(site->writing, "raw", 0, "ingest", &offset, &err) < 0 ? EIO : 0;
}

static int do_read_run(const struct site *site)
{
    return refused(openat(site->run_fd, "told", O_RDONLY));
}

/* --- what it must not -------------------------------------------------------------------------- */

static int do_read_segment(const struct site *site)
{
    return open_reading(site, "log/raw/0/00000000000000000000.seg");
}

static int do_read_history(const struct site *site)
{
    return open_reading(site, "log/raw_historical/0/00000000000000000000.seg");
}

/* The descriptors that it has: none of a segment can be read from. */
static int do_read_descriptors(const struct site *site)
{
    char head[16];

    (void)site;
    for (int fd = 3; fd < 200; fd++)
        if (pread(fd, head, sizeof head, 0) > 0 && memcmp(head, "PNSTSEG", 7) == 0)
            return 0;
    return EBADF;
}

static int do_read_catalog(const struct site *site)
{
    return open_reading(site, "catalog.db");
}

static int do_read_passwd(const struct site *site)
{
    (void)site;
    return refused(open("/etc/passwd", O_RDONLY));
}

static int do_read_memory(const struct site *site)
{
    (void)site;
    return refused(open("/proc/self/mem", O_RDWR));
}

static int do_write_beside(const struct site *site)
{
    char path[200];

    (void)snprintf(path, sizeof path, "%s/catalog.db", site->folder);
    return refused(open(path, O_WRONLY));
}

static int do_write_run(const struct site *site)
{
    return refused(openat(site->run_fd, "new", O_WRONLY | O_CREAT, 0600));
}

static int do_read_events(const struct site *site)
{
    return open_reading(site, "log/events/0/secret");
}

static int do_socket(const struct site *site)
{
    (void)site;
    return refused(socket(AF_INET, SOCK_STREAM, 0));
}

static int do_connect(const struct site *site)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          bytes = sizeof address;

    (void)getsockname(site->listen_fd, (struct sockaddr *)(void *)&address, &bytes);
    return refused(connect(site->socket_fd, (struct sockaddr *)(void *)&address, sizeof address));
}

static int do_exec(const struct site *site)
{
    char *const words[] = { (char *)"/bin/true", NULL };

    (void)site;
    return refused(execv(words[0], words));
}

static int do_fork(const struct site *site)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

    (void)site;
    if (pid == 0)
        _exit(0);
    return refused(pid);
}

static int do_ptrace(const struct site *site)
{
    (void)site;
    return refused((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int do_kill(const struct site *site)
{
    (void)site;
    return refused(kill(getppid(), SIGCONT));
}

static int do_code(const struct site *site)
{
    (void)site;
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int do_handler(const struct site *site)
{
    (void)site;
    return signal(SIGSYS, SIG_IGN) == SIG_ERR ? errno : 0;
}

enum drill_end { WORKS = 0, DIES = -1 /* or the errno */ };

/* call: what the kernel ends the process for, as the log names it. */
static const struct { const char *what; int end; const char *call; int (*run)(const struct site *site); } drills[] = {
    { "append events, begin a segment, retire an old one", WORKS, "", do_append },
    { "ask how far a consumer is", WORKS, "", do_read_cursor },
    { "read what lies in DIR/run", WORKS, "", do_read_run },
    { "open a segment of past events for reading", EACCES, "", do_read_segment },
    { "open a segment of past imports for reading", EACCES, "", do_read_history },
    { "read a segment through a descriptor that is open", EBADF, "", do_read_descriptors },
    { "open another topic", EACCES, "", do_read_events },
    { "open the catalog for reading", EACCES, "", do_read_catalog },
    { "open the catalog for writing", EACCES, "", do_write_beside },
    { "make a file in DIR/run", EACCES, "", do_write_run },
    { "open /etc/passwd", EACCES, "", do_read_passwd },
    { "open its own memory as a file", EACCES, "", do_read_memory },
    { "make a socket", DIES, "(socket)", do_socket },
    { "connect to another program", DIES, "(connect)", do_connect },
    { "start a program", DIES, "(execve)", do_exec },
    { "make a process", DIES, "(clone)", do_fork },
    { "look into another process", DIES, "", do_ptrace }, /* the deadly one: nobody is told */
    { "signal another process", DIES, "(kill)", do_kill },
    { "make memory that can be run", DIES, "(mmap)", do_code },
    { "take over the handler that ends it", DIES, "(rt_sigaction)", do_handler },
};

/* --- the site ---------------------------------------------------------------------------------- */

static int site_file(const struct site *site, const char *name, struct err *err)
{
    char path[200];
    int  fd;

    (void)snprintf(path, sizeof path, "%s/%s", site->folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, "told", 4) != 4)
        return err_errno(err, errno, "drill: %s", path);
    (void)close(fd);
    return 0;
}

static int site_folder(const struct site *site, const char *name, struct err *err)
{
    char path[200];

    (void)snprintf(path, sizeof path, "%s/%s", site->folder, name);
    return mkdir(path, 0755) < 0 ? err_errno(err, errno, "drill: %s", path) : 0;
}

static int site_open(struct site *site, struct err *err)
{
    static const char *const cursors[] = { "ingest", NULL };
    struct log_topic_options topic = { .segment_bytes = 1 << 20, .retention_us = 1, .cursors_needed = cursors };
    struct log_options       options = { .folder = site->log };
    struct log_writer       *history;

    site->run_fd = open(site->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    site->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    site->socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (site->run_fd < 0 || site->listen_fd < 0 || site->socket_fd < 0 || listen(site->listen_fd, 1) < 0)
        return err_errno(err, errno, "drill: folder, sockets");
    return log_open(&options, &site->writing, err) < 0 ||
                   log_writer_open(site->writing, "raw", 0, &topic, &site->writer, err) < 0 ||
                   log_writer_open(site->writing, "raw_historical", 0, &topic, &history, err) < 0 ||
                   log_cursor_store(site->writing, "raw", 0, "ingest", 0, err) < 0 ? -1 : 0;
}

static int site_make(struct site *site, struct err *err)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(site->folder, sizeof site->folder, "%.40s/penstock-cage-XXXXXX", tmp != NULL && strlen(tmp) <= 40 ? tmp : "/tmp");
    if (mkdtemp(site->folder) == NULL)
        return err_errno(err, errno, "drill: %s", site->folder);
    (void)snprintf(site->run, sizeof site->run, "%s/run", site->folder);
    (void)snprintf(site->log, sizeof site->log, "%s/log", site->folder);
    if (site_folder(site, "run", err) < 0 || site_folder(site, "log", err) < 0 || site_folder(site, "log/events", err) < 0 ||
        site_folder(site, "log/events/0", err) < 0 || site_file(site, "log/events/0/secret", err) < 0 ||
        site_file(site, "catalog.db", err) < 0 || site_file(site, "run/told", err) < 0)
        return -1;
    return 0;
}

static int path_remove(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* --- one drill --------------------------------------------------------------------------------- */

enum { EXIT_NO_SITE = 255 };

static void drill_child(struct site *site, const char *user, int (*run)(const struct site *site), int tell_fd)
{
    struct capture_settings settings = { .user = user, .cage = true };
    struct role_env         env = { .data_folder = site->folder, .run_folder = site->run, .options = &settings };
    struct capture_user     found;
    struct err              err = { 0 };

    say_init("drill", SAY_ERROR);
    (void)dup2(tell_fd, STDERR_FILENO);
    if (site_open(site, &err) == 0 && capture_cage_find_user(&settings, &found, &err) == 0 &&
        capture_cage_enter(&env, site->run_fd, &settings, &found, false, NULL, &err) == 0)
        _exit(run(site));
    say(SAY_ERROR, "%s", err.text);
    _exit(EXIT_NO_SITE);
}

/* told: what the process said before it ended. */
static void drill_judge(struct cage_drill_result *result, size_t which, int status, const char *told)
{
    int         code = WIFEXITED(status) ? WEXITSTATUS(status) : -1, end = drills[which].end;
    const char *about = strstr(told, "drill: ");

    about = about != NULL ? about + 7 : "";
    if (WIFSIGNALED(status))
        (void)snprintf(result->how, sizeof result->how, "ended with signal %d; %.*s", WTERMSIG(status), (int)strcspn(about, "\n"), about);
    else if (code == EXIT_NO_SITE)
        (void)snprintf(result->how, sizeof result->how, "it could not begin: %.*s", (int)strcspn(about, "\n"), about);
    else
        (void)snprintf(result->how, sizeof result->how, "%s", code == 0 ? "it can" : strerror(code));
    result->good = end == DIES ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && strstr(told, drills[which].call) != NULL
                               : code == end;
}

static int drill(size_t which, const char *user, struct cage_drill_result *result, struct err *err)
{
    struct site site = { .run_fd = -1 };
    char        told[400] = "";
    int         status, ends[2];
    ssize_t     bytes = 0;
    pid_t       pid;

    if (site_make(&site, err) < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, errno, "drill: pipe");
    pid = fork();
    if (pid == 0)
        drill_child(&site, user, drills[which].run, ends[1]);
    (void)close(ends[1]);
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        bytes = read(ends[0], told, sizeof told - 1);
    else
        bytes = err_errno(err, errno, "drill: process");
    (void)close(ends[0]);
    (void)nftw(site.folder, path_remove, 16, FTW_DEPTH | FTW_PHYS);
    if (bytes < 0)
        return -1;
    drill_judge(result, which, status, told);
    return 0;
}

int cage_drill_run(const char *user, void (*seen)(void *ctx, const struct cage_drill_result *result), void *ctx, struct err *err)
{
    for (size_t i = 0; i < sizeof drills / sizeof *drills; i++) {
        struct cage_drill_result result = { .what = drills[i].what };

        if (drill(i, user, &result, err) < 0)
            return -1;
        seen(ctx, &result);
    }
    return 0;
}
