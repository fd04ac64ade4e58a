/* command/tls_files.c - opens, watches, sends. Looking at the files once a second with stat(2) finds every way in which
 * people replace them: rename, a symlink that turns (certbot), writing over; inotify does not see the second one. */
#include "command/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "capture/tls.h"

enum { FILES_MAX = 2 * TLS_PAIRS_MAX };

/* What changes when a file does. */
struct mark { dev_t device; ino_t inode; off_t bytes; struct timespec written, changed; };

struct tls_files {
    char       *text;             /* owned; names point into it */
    const char *names[FILES_MAX]; /* certificate, key, certificate, key, ... */
    size_t      count;
    struct mark sent[FILES_MAX], seen[FILES_MAX];
    int64_t     look_us;          /* the next look */
    int         fd;               /* to capture; -1: none is there */
};

/* --- names -------------------------------------------------------------------------------------- */

/* Cuts a list at its commas, in place. */
static int list_cut(char *list, const char *names[TLS_PAIRS_MAX], size_t *count_out, struct err *err)
{
    size_t count = 0;

    for (char *at = list; at != NULL;) {
        char *comma = strchr(at, ','), *end;

        if (comma != NULL)
            *comma = '\0';
        at += strspn(at, " \t");
        end = at + strlen(at);
        while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
            *--end = '\0';
        if (*at == '\0')
            return err_set(err, ERR_INPUT, "there is an empty name in the list of files");
        if (count == TLS_PAIRS_MAX)
            return err_set(err, ERR_INPUT, "more than %d files", TLS_PAIRS_MAX);
        names[count++] = at;
        at = comma != NULL ? comma + 1 : NULL;
    }
    *count_out = count;
    return 0;
}

int tls_files_list_check(const char *list, struct err *err)
{
    const char *names[TLS_PAIRS_MAX];
    char       *copy;
    size_t      count;
    int         rc;

    if (list[0] == '\0')
        return 0;
    copy = strdup(list);
    if (copy == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    rc = list_cut(copy, names, &count, err);
    free(copy);
    return rc;
}

int tls_files_new(const char *certificates, const char *keys, struct tls_files **out, struct err *err)
{
    struct tls_files *files;
    const char       *each[2][TLS_PAIRS_MAX];
    size_t            counts[2], bytes = strlen(certificates) + 1;

    if (certificates[0] == '\0' || keys[0] == '\0')
        return err_set(err, ERR_INPUT, "%s is not set, and an address of `listen` says tls; it names a file in PEM form",
                       certificates[0] == '\0' ? "tls.certificate" : "tls.key");
    files = calloc(1, sizeof *files);
    if (files == NULL || (files->text = malloc(bytes + strlen(keys) + 1)) == NULL) {
        free(files);
        return err_set(err, ERR_FULL, "no memory for the configuration");
    }
    files->fd = -1;
    memcpy(files->text, certificates, bytes);
    memcpy(files->text + bytes, keys, strlen(keys) + 1);
    if (list_cut(files->text, each[0], &counts[0], err) < 0 || list_cut(files->text + bytes, each[1], &counts[1], err) < 0)
        goto failed;
    if (counts[0] != counts[1]) {
        (void)err_set(err, ERR_INPUT, "tls.certificate names %zu files and tls.key %zu: each certificate needs its key, in "
                      "the same order", counts[0], counts[1]);
        goto failed;
    }
    for (size_t i = 0; i < counts[0]; i++) {
        files->names[files->count++] = each[0][i];
        files->names[files->count++] = each[1][i];
    }
    *out = files;
    return 0;
failed:
    tls_files_free(files);
    return -1;
}

void tls_files_free(struct tls_files *files)
{
    if (files == NULL)
        return;
    tls_files_disconnect(files);
    free(files->text);
    free(files);
}

/* --- opening ------------------------------------------------------------------------------------ */

static void fds_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)close(fds[i]);
}

/* All of them, or none. */
static int files_open(const struct tls_files *files, int fds[FILES_MAX], struct err *err)
{
    for (size_t i = 0; i < files->count; i++) {
        fds[i] = open(files->names[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fds[i] < 0) {
            int problem = errno;

            fds_close(fds, i);
            return err_set(err, ERR_INPUT, "cannot open %.150s (%s): %s", files->names[i],
                           i % 2 == 0 ? "tls.certificate" : "tls.key", strerror(problem));
        }
    }
    return 0;
}

int tls_files_read(const struct tls_files *files, int64_t *expires_us_out, char *names_out, size_t room, struct err *err)
{
    int fds[FILES_MAX], rc = 0;

    *expires_us_out = INT64_MAX;
    if (files_open(files, fds, err) < 0)
        return -1;
    for (size_t i = 0; i < files->count && rc == 0; i += 2) {
        struct tls_source source = { fds[i], fds[i + 1], files->names[i], files->names[i + 1] };
        struct tls_pair   pair;

        rc = tls_pair_read(&source, &pair, err);
        if (rc < 0)
            break;
        if (pair.expires_us < *expires_us_out) {
            *expires_us_out = pair.expires_us;
            (void)snprintf(names_out, room, "%s", pair.names);
        }
        tls_pair_fini(&pair);
    }
    fds_close(fds, files->count);
    return rc;
}

int tls_files_check(const struct tls_files *files, struct err *err)
{
    struct err told = { .kind = ERR_NONE };
    int        ends[2], status;
    int64_t    expires_us;
    char       names[TLS_NAMES_BYTES];
    pid_t      pid;
    ssize_t    got;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, errno, "pipe");
    pid = fork();
    if (pid == 0) {
        int rc = tls_files_read(files, &expires_us, names, sizeof names, &told);

        (void)!write(ends[1], &told, sizeof told);
        _exit(rc < 0);
    }
    (void)close(ends[1]);
    got = pid > 0 ? read(ends[0], &told, sizeof told) : -1;
    (void)close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || got != (ssize_t)sizeof told || !WIFEXITED(status))
        return err_set(err, ERR_RETRY, "the certificate could not be looked at");
    if (WEXITSTATUS(status) == 0)
        return 0;
    told.text[sizeof told.text - 1] = '\0';
    *err = told;
    return -1;
}

/* --- sending ------------------------------------------------------------------------------------ */

static void files_mark(const struct tls_files *files, struct mark marks[FILES_MAX])
{
    memset(marks, 0, FILES_MAX * sizeof *marks);
    for (size_t i = 0; i < files->count; i++) {
        struct stat file;

        if (stat(files->names[i], &file) == 0)
            marks[i] = (struct mark){ file.st_dev, file.st_ino, file.st_size, file.st_mtim, file.st_ctim };
    }
}

static bool marks_same(const struct mark *a, const struct mark *b)
{
    for (size_t i = 0; i < FILES_MAX; i++)
        if (a[i].device != b[i].device || a[i].inode != b[i].inode || a[i].bytes != b[i].bytes ||
            a[i].written.tv_sec != b[i].written.tv_sec || a[i].written.tv_nsec != b[i].written.tv_nsec ||
            a[i].changed.tv_sec != b[i].changed.tv_sec || a[i].changed.tv_nsec != b[i].changed.tv_nsec)
            return false;
    return true;
}

/* count: of fds, none or all. */
static int message_send(const struct tls_files *files, const int fds[FILES_MAX], size_t count)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(FILES_MAX * sizeof(int))]; } control;
    struct iovec   parts[FILES_MAX];
    struct msghdr  message = { .msg_iov = parts, .msg_iovlen = files->count, .msg_control = &control,
                               .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    struct cmsghdr head = { .cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS };

    memset(&control, 0, sizeof control);
    control.head = head;
    memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
    if (count == 0)
        message.msg_control = NULL, message.msg_controllen = 0;
    for (size_t i = 0; i < files->count; i++)
        parts[i] = (struct iovec){ (void *)(uintptr_t)files->names[i], strlen(files->names[i]) + 1 };
    return sendmsg(files->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

static void files_send(struct tls_files *files)
{
    struct err err = { .kind = ERR_NONE };
    int        fds[FILES_MAX];

    memcpy(files->sent, files->seen, sizeof files->sent);
    if (files_open(files, fds, &err) < 0) {
        say(SAY_ERROR, "TLS: %s", err.text);
        (void)message_send(files, fds, 0); /* nobody waits for what will not come; what is in force stays */
        return;
    }
    if (message_send(files, fds, files->count) < 0) {
        if (errno == EAGAIN || errno == ENOBUFS) /* capture has not read the last ones yet */
            memset(files->sent, 0xff, sizeof files->sent);
        else if (errno != EPIPE && errno != ECONNRESET) /* it ended; the next one gets the files at its start */
            say(SAY_ERROR, "TLS: cannot send the certificate to capture: %s", strerror(errno));
    }
    fds_close(fds, files->count);
}

int tls_files_connect(struct tls_files *files, int *far_fd_out, struct err *err)
{
    int ends[2];

    tls_files_disconnect(files);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return err_errno(err, errno, "socketpair");
    files->fd = ends[0];
    *far_fd_out = ends[1];
    files_mark(files, files->seen);
    files_send(files);
    files->look_us = clock_mono_us() + TLS_LOOK_US;
    return 0;
}

void tls_files_disconnect(struct tls_files *files)
{
    if (files->fd >= 0)
        (void)close(files->fd);
    files->fd = -1;
}

int64_t tls_files_look(struct tls_files *files, bool now)
{
    struct mark marks[FILES_MAX];
    int64_t     now_us = clock_mono_us();

    if (files->fd < 0)
        return INT64_MAX;
    if (!now && now_us < files->look_us)
        return files->look_us;
    files->look_us = now_us + TLS_LOOK_US;
    files_mark(files, marks);
    if (now || (!marks_same(marks, files->sent) && marks_same(marks, files->seen))) {
        memcpy(files->seen, marks, sizeof marks);
        files_send(files);
    }
    memcpy(files->seen, marks, sizeof marks);
    return files->look_us;
}
