/* command/change_command.c - penstock reload | upgrade: asks the running supervisor by a signal, waits, tells what came of it.
 * What came of it stands in DIR/run with a number: the one that began after we looked is ours. A server that starts at this moment
 * takes away what the one before it left, and begins with 1. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "command/command.h"
#include "command/supervisor.h"

enum { CHANGE_POLL_MS = 5, CHANGE_WAIT_US = 180000000, CHANGE_GUARD_US = 10000000 };

/* The role by which a supervisor is known: the first that it serves. */
static const struct role *server_role(const char *data, const struct role *const *from, pid_t *pid_out)
{
    for (; *from != NULL; from++) {
        *pid_out = supervisor_owner(data, *from);
        if (*pid_out != 0)
            return *from;
    }
    return NULL;
}

/* Whether the record of before was another server's: the one that was asked has just started, and counts from its start. */
static bool is_anew(const struct supervisor_changed *before, const struct supervisor_changed *now)
{
    return now->begun < before->begun ||
           (now->begun == before->begun && before->ended == before->begun && now->at_us != before->at_us);
}

static int change_wait(const char *data, const struct role *role, pid_t pid, struct supervisor_changed before, struct err *err)
{
    struct supervisor_changed now;
    int64_t                   give_up_us = clock_mono_us() + CHANGE_WAIT_US, gone_us = 0;

    for (;;) {
        if (!supervisor_changed(data, role, &now) || is_anew(&before, &now))
            before = (struct supervisor_changed){ .begun = 0 };
        if (now.ended > before.begun && now.ended == now.begun) /* what others asked for since then may be under way: its end says both */
            break;
        if (gone_us == 0 && kill(pid, 0) < 0 && errno == ESRCH)
            gone_us = clock_mono_us();
        if (gone_us != 0 && clock_mono_us() - gone_us > CHANGE_GUARD_US) /* its guard had time to serve, and to say so */
            return err_set(err, ERR_STOP, "the server (process %d) ended in the middle of it", (int)pid);
        if (clock_mono_us() > give_up_us)
            return err_set(err, ERR_RETRY, "the server (process %d) says nothing; look at what serve prints", (int)pid);
        (void)poll(NULL, 0, CHANGE_POLL_MS);
    }
    if (!now.ok)
        return err_set(err, ERR_STOP, "%s", now.text);
    fprintf(stderr, "%s: %s\n", now.kind, now.text);
    return 0;
}

/* Where the supervisor will look for the path; made beside and renamed, as it may look at any moment. */
static int binary_write(const char *data, const char *binary, struct err *err)
{
    char  full[PATH_MAX], path[4200], fresh[4210];
    FILE *file;

    if (realpath(binary, full) == NULL)
        return err_set(err, ERR_INPUT, "there is no program %.200s: %s", binary, strerror(errno));
    if (access(full, X_OK) < 0)
        return err_set(err, ERR_INPUT, "%.200s cannot be run: %s", full, strerror(errno));
    (void)snprintf(path, sizeof path, "%.4100s/run/upgrade.ask", data);
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    file = fopen(fresh, "we");
    if (file == NULL || fprintf(file, "%s\n", full) < 0 || fclose(file) != 0 || rename(fresh, path) < 0)
        return err_errno(err, errno, "cannot write %.200s", path);
    return 0;
}

/* One for each supervisor: who serves is looked for before the first is asked, as that one may be another process behind it. */
struct asked { const struct role *role; pid_t pid; };

static size_t servers_find(const char *data, struct asked out[ROLES_MAX])
{
    const struct role *const *from = roles;
    const struct role        *role;
    size_t                    count = 0;
    pid_t                     pid;

    while ((role = server_role(data, from, &pid)) != NULL && count < ROLES_MAX) {
        bool again = false;

        while (*from != role)
            from++;
        from++;
        for (size_t i = 0; i < count; i++)
            again |= out[i].pid == pid;
        if (!again)
            out[count++] = (struct asked){ role, pid };
    }
    return count;
}

static int change_ask(const struct command_args *args, int number, const char *binary)
{
    const char  *data = args_data(args);
    struct err   err = { .kind = ERR_NONE };
    struct asked asked[ROLES_MAX];
    size_t       count = servers_find(data, asked);
    int          code = EXIT_DONE;

    for (size_t i = 0; i < count; i++) {
        struct supervisor_changed before = { .begun = 0 };

        (void)supervisor_changed(data, asked[i].role, &before);
        if ((binary != NULL && binary_write(data, binary, &err) < 0) ||
            (kill(asked[i].pid, number) < 0 && err_errno(&err, errno, "cannot ask process %d", (int)asked[i].pid) < 0) ||
            change_wait(data, asked[i].role, asked[i].pid, before, &err) < 0)
            code = command_failed(&err);
    }
    if (count > 0)
        return code;
    (void)err_set(&err, ERR_RETRY, "nothing serves %.200s; start it: penstock serve --data %.200s", data, data);
    return command_failed(&err);
}

int reload_run(const struct command_args *args)
{
    return change_ask(args, SIGHUP, NULL);
}

int upgrade_run(const struct command_args *args)
{
    return change_ask(args, SIGUSR2, args_text(args, "--binary"));
}
