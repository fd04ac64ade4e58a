/* capture/capture_cage.c - see capture_cage.h. The folders belong to the user before it is one: later nobody here could
 * give them away, and whoever opens the log next may be root again. */
#include "capture/capture_cage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cage.h"
#include "base/say.h"
#include "base/users.h"
#include "capture/loop.h"

enum { CAGE_PATHS_MAX = 3 * CAPTURE_LANES + 16 };

struct cage_folders {
    struct cage_path paths[CAGE_PATHS_MAX];
    size_t           count;
};

static int folder_add(struct cage_folders *folders, int dir_fd, const char *name, unsigned may, struct err *err)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "cage: %.200s", name);
    folders->paths[folders->count++] = (struct cage_path){ .fd = fd, .may = may };
    return fd;
}

/* On Kafka the log's folder is the spool, which is read, too: what is in it goes on to the brokers. */
static int folders_open(struct cage_folders *folders, const struct role_env *env, int run_fd, bool reading, struct err *err)
{
    bool     kafka = log_on_kafka(stores_log(env->stores));
    unsigned topic = CAGE_WRITE | CAGE_LIST | (reading || kafka ? CAGE_READ : 0);
    unsigned cursors = CAGE_READ | CAGE_LIST | (kafka ? CAGE_WRITE : 0);
    char     path[4200];
    int      log_fd;

    (void)snprintf(path, sizeof path, "%s/%s", env->data_folder, kafka ? "spool" : "log");
    log_fd = folder_add(folders, AT_FDCWD, path, CAGE_LIST, err);
    if (log_fd < 0 || folder_add(folders, run_fd, ".", CAGE_READ | CAGE_LIST, err) < 0)
        return -1;
    for (int i = 0; i < CAPTURE_LANES && log_fd > 0; i++) {
        int topic_fd = folder_add(folders, log_fd, lane_topic(i), CAGE_LIST, err);
        int part_fd = topic_fd <= 0 ? topic_fd : folder_add(folders, topic_fd, "0", topic, err);

        if (part_fd < 0 || (part_fd > 0 && folder_add(folders, part_fd, "cursors", cursors, err) < 0))
            return -1;
    }
    return 0;
}

/* What a client of Kafka's reads: names of hosts, and what it checks the brokers' certificates with. After the user is what it
 * stays: none of this is given to anybody. */
static int folders_open_client(struct cage_folders *folders, const struct log_settings *log, struct err *err)
{
    const char *const paths[] = { "/etc", "/run/systemd/resolve", log->tls_ca, log->tls_certificate, log->tls_key };

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = paths[i][0] == '\0' ? -1 : open(paths[i], O_PATH | O_CLOEXEC);

        if (fd >= 0)
            folders->paths[folders->count++] = (struct cage_path){ .fd = fd, .may = CAGE_READ | CAGE_LIST };
        else if (i >= 2 && paths[i][0] != '\0')
            return err_errno(err, errno, "cage: %.200s", paths[i]);
    }
    return 0;
}

static void folders_close(struct cage_folders *folders)
{
    for (size_t i = 0; i < folders->count; i++)
        (void)close(folders->paths[i].fd);
}

/* A folder and the files in it, to user and group; what is not written keeps its owner, and files that are made in it
 * later have the group too. */
static int folder_give(const struct cage_path *path, uid_t uid, gid_t gid, struct err *err)
{
    bool           whole = (path->may & CAGE_WRITE) != 0;
    uid_t          owner = whole ? uid : (uid_t)-1;
    int            copy = (path->may & (CAGE_WRITE | CAGE_READ)) != 0 ? openat(path->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR           *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    struct stat    st;

    if (fchown(path->fd, owner, gid) < 0 || fstat(path->fd, &st) < 0 ||
        fchmod(path->fd, (st.st_mode & 07777) | S_IRGRP | S_IXGRP | (whole ? 0 : S_ISGID)) < 0) {
        (void)err_errno(err, errno, "cage: cannot give a folder to user %u", (unsigned)uid);
        if (dir != NULL)
            (void)closedir(dir);
        return -1;
    }
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_type == DT_REG && fchownat(path->fd, entry->d_name, owner, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
            say(SAY_WARN, "cage: %s stays root's: %s", entry->d_name, strerror(errno));
    if (dir != NULL)
        (void)closedir(dir);
    return 0;
}

int capture_cage_find_user(const struct capture_settings *settings, struct capture_user *out, struct err *err)
{
    struct user user;
    bool        there;

    *out = (struct capture_user){ .told = "" };
    if (geteuid() != 0)
        return 0;
    out->told = "root: set capture.user to another one";
    if (settings->user[0] == '\0' || strcmp(settings->user, "root") == 0)
        return 0;
    if (users_find(settings->user, &user, &there, err) < 0) /* or it would stay root where it is not to */
        return -1;
    if (!there && strcmp(settings->user, "penstock") == 0) {
        out->told = "root, for there is no user penstock: useradd --system penstock";
        return 0;
    }
    if (!there)
        return err_set(err, ERR_INPUT, "capture.user: there is no user \"%.60s\" on this machine", settings->user);
    *out = (struct capture_user){ .other = true, .uid = user.uid, .gid = user.gid, .told = settings->user };
    return 0;
}

static int user_become(const struct cage_folders *folders, const struct capture_user *user, struct err *err)
{
    if (!user->other)
        return 0;
    for (size_t i = 0; i < folders->count; i++)
        if (folder_give(&folders->paths[i], user->uid, user->gid, err) < 0)
            return -1;
    return cage_drop_user(user->uid, user->gid, err);
}

static void cage_tell(const struct cage *cage, const char *user, bool reading)
{
    say(cage->seccomp && cage->landlock > 0 ? SAY_INFO : SAY_WARN, "cage: system calls %s; files %s%d%s%s%s%s%s",
        cage->seccomp ? "by list" : "not limited", cage->landlock > 0 ? "by Landlock " : "not limited, Landlock ", cage->landlock,
        cage->why[0] != '\0' ? "; " : "", cage->why, user[0] != '\0' ? "; user " : "", user,
        reading ? "; the log can be read until the next start, as the disk was full at this one" : "");
}

int capture_cage_enter(const struct role_env *env, int run_fd, const struct capture_settings *settings, const struct capture_user *user,
                       bool reading, struct capture_metrics *metrics, struct err *err)
{
    struct cage_folders folders = { .count = 0 };
    struct cage         cage = { .seccomp = false };
    int                 rc = -1;

    if (folders_open(&folders, env, run_fd, reading, err) < 0 || user_become(&folders, user, err) < 0)
        goto done;
    if (settings->cage && log_on_kafka(stores_log(env->stores)))
        rc = folders_open_client(&folders, stores_log(env->stores), err) < 0
                 ? -1 : cage_enter_connecting(folders.paths, folders.count, &cage, err);
    else if (settings->cage)
        rc = cage_enter(folders.paths, folders.count, &cage, err);
    else
        rc = snprintf(cage.why, sizeof cage.why, "capture.cage is false") < 0 ? -1 : 0;
    if (rc < 0)
        goto done;
    cage_tell(&cage, user->told, reading);
    if (metrics != NULL) {
        capture_gauge(metrics, CAPTURE_METRIC_CAGE_SECCOMP, cage.seccomp);
        capture_gauge(metrics, CAPTURE_METRIC_CAGE_LANDLOCK, cage.landlock);
    }
done:
    folders_close(&folders);
    return rc;
}
