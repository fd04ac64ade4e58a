/* command/supervisor_change.c - replacing roles while the rest goes on: a reload, and the second half of an upgrade.
 *
 * Ingest, load and the reader of the catalog are stopped and started: nobody waits for them but the log. Capture is replaced
 * by an heir that lives beside it for a moment (capture/heir.h); it comes last, so that a change which the other roles do
 * not survive never reaches it. Why a role is replaced at all and not told its new settings: a process that is made anew
 * has one way of coming to its settings, and it is the one that every start tests. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "capture/capture.h"
#include "command/config_stores.h"
#include "command/supervisor_inner.h"

static unsigned child_bit(const struct supervisor *supervisor, const struct child *child)
{
    return 1u << (child - supervisor->children);
}

/* --- settings ---------------------------------------------------------------------------------- */

static void options_point(struct supervisor *supervisor, const struct config *config)
{
    supervisor->config = config;
    for (size_t i = 0; i < supervisor->count; i++)
        for (size_t k = 0; k < role_count; k++)
            if (supervisor->children[i].role == roles[k])
                supervisor->children[i].options = config->options[k];
    supervisor_config_write(supervisor);
}

static void config_drop(struct config **config)
{
    if (*config == NULL)
        return;
    config_fini(*config);
    free(*config);
    *config = NULL;
}

/* Which children have to be replaced. */
static unsigned children_changed(const struct supervisor *supervisor, const struct config *old, const struct config *new)
{
    unsigned todo = 0;

    for (size_t c = 0; c < supervisor->count; c++) {
        const struct child *child = &supervisor->children[c];

        for (size_t i = 0; i < new->count; i++) { /* of the top-level ones, listen and tls are capture's, the stores everybody's */
            bool its = new->values[i].role == child->role || config_store_key(&new->values[i]) ||
                       (new->values[i].role == NULL && child->role == &capture_role);

            if (its && strcmp(new->values[i].text, old->values[i].text) != 0)
                todo |= child_bit(supervisor, child);
        }
    }
    return todo;
}

/* --- beginning and end ------------------------------------------------------------------------- */

static void change_begin(struct supervisor *supervisor, bool upgrade)
{
    struct change *change = &supervisor->change;

    change->upgrade = upgrade;
    change->back = false;
    change->todo = change->done = 0;
    change->child = NULL;
    change->why[0] = '\0';
    change->sockets_changed = false;
    change->begun++;
    supervisor_change_told(supervisor, false, "is under way");
}

/* Nothing was touched yet. */
void supervisor_change_fail_early(struct supervisor *supervisor, const char *why)
{
    struct change *change = &supervisor->change;

    say(SAY_ERROR, "%s: %s; everything stays as it was", change->upgrade ? "upgrade" : "reload", why);
    config_drop(&change->config_new);
    change->ended = change->begun;
    change->step = CHANGE_NONE;
    supervisor_change_told(supervisor, false, why);
    if (!change->upgrade)
        supervisor_notify("READY=1");
}

/* How many settings a file gave: their sources alone have a line (config.h); the environment and flags stay when it is empty. */
static size_t config_from_file(const struct config *config)
{
    size_t count = 0;

    for (size_t i = 0; i < config->count; i++)
        count += strchr(config->values[i].source, ':') != NULL;
    return count;
}

static void reload_begin(struct supervisor *supervisor)
{
    struct change      *change = &supervisor->change;
    struct err          err = { .kind = ERR_NONE };
    const struct config *old = supervisor->config;
    char                notify[80];
    const struct config_value *was, *is;

    change_begin(supervisor, false);
    (void)snprintf(notify, sizeof notify, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
    supervisor_notify(notify);
    change->config_new = calloc(1, sizeof *change->config_new);
    if (change->config_new == NULL) {
        supervisor_change_fail_early(supervisor, "no memory for the configuration");
        return;
    }
    if (config_of_args(change->config_new, supervisor->args, &err) < 0) {
        supervisor_change_fail_early(supervisor, err.text);
        return;
    }
    if (config_from_file(old) > 0 && change->config_new->file_blank) { /* as it is for a moment while somebody writes over it */
        (void)err_set(&err, ERR_INPUT, "the configuration file is empty, and %zu settings are in force from it: move a whole one into its place; "
                      "where the defaults are meant, write a comment into it, or remove it", config_from_file(old));
        supervisor_change_fail_early(supervisor, err.text);
        return;
    }
    was = config_find(old, "data");
    is = config_find(change->config_new, "data");
    if (strcmp(was->text, is->text) != 0) {
        supervisor_change_fail_early(supervisor, "data names another folder: stop this server, and start one for that folder");
        return;
    }
    for (size_t i = 0; i < old->count; i++)
        if (config_store_choice(&old->values[i]) && strcmp(old->values[i].text, change->config_new->values[i].text) != 0) {
            (void)err_set(&err, ERR_INPUT, "%s is another one (%s, not %s), and what is in a store does not move by itself: stop "
                          "this server, then start it again", old->values[i].option->name, change->config_new->values[i].text,
                          old->values[i].text);
            supervisor_change_fail_early(supervisor, err.text);
            return;
        }
    if (supervisor->sockets_count > 0 && supervisor_sockets_renew(supervisor, change->config_new, &err) < 0) {
        supervisor_change_fail_early(supervisor, err.text);
        return;
    }
    change->todo = children_changed(supervisor, old, change->config_new);
    for (size_t i = 0; i < supervisor->count; i++) /* the one that goes on has its certificates from the files of before */
        if (supervisor->children[i].role == &capture_role && (change->todo & 1u << i) == 0 && change->sockets_changed) {
            tls_files_free(supervisor->tls);
            supervisor->tls = change->tls_old;
            change->tls_old = NULL;
            if (supervisor->tls != NULL)
                (void)tls_files_look(supervisor->tls, true);
        }
    change->config_old = supervisor->config_own;
    options_point(supervisor, change->config_new);
    change->step = CHANGE_NEXT;
}

/* The old settings, for the way back. */
static const struct config *config_before(const struct supervisor *supervisor)
{
    return supervisor->change.config_old != NULL ? supervisor->change.config_old : supervisor->config_first;
}

void supervisor_change_fail(struct supervisor *supervisor, const char *why)
{
    struct change *change = &supervisor->change;
    struct err     err = { .kind = ERR_NONE };

    if (change->back) { /* and now? the role's own restarts go on trying */
        say(SAY_ERROR, "the way back: %s", why);
        change->step = CHANGE_NEXT;
        return;
    }
    (void)snprintf(change->why, sizeof change->why, "%s", why);
    say(SAY_ERROR, "%s: %s; going back to what was there before", change->upgrade ? "upgrade" : "reload", why);
    change->back = true;
    change->todo = change->done;
    if (change->child != NULL && change->child->role != &capture_role)
        change->todo |= child_bit(supervisor, change->child);
    change->child = NULL;
    change->step = CHANGE_NEXT;
    if (change->upgrade) {
        for (size_t i = 0; i < supervisor->count; i++) /* its certificates came from a supervisor that is no more */
            if (supervisor->children[i].role == &capture_role && supervisor->tls != NULL)
                change->todo |= 1u << i;
        supervisor_guard_dismiss(supervisor); /* that one has shown that it serves */
        supervisor_exec(supervisor, change->trial_fd, NULL, &err); /* trial_fd: the binary of before, see adopt */
        say(SAY_ERROR, "%s; this binary goes on", err.text);
        return;
    }
    supervisor_sockets_back(supervisor);
    options_point(supervisor, config_before(supervisor));
    for (size_t i = 0; i < supervisor->count; i++) /* one that ended as its heir did */
        if (supervisor->children[i].state == CHILD_STOPPED && (change->todo & 1u << i) == 0 &&
            supervisor_child_start(supervisor, &supervisor->children[i], &err) < 0)
            say(SAY_ERROR, "%s", err.text);
}

static void change_end(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;
    bool           ok = !change->back;
    char           text[120];

    change->step = CHANGE_NONE;
    change->ended = change->begun;
    if (change->upgrade) {
        if (change->trial_fd >= 0)
            (void)close(change->trial_fd);
        change->trial_fd = -1;
        supervisor_guard_dismiss(supervisor);
    } else if (ok) {
        config_drop(&supervisor->config_own); /* roles have copies of their own */
        supervisor->config_own = change->config_new;
        change->config_new = NULL;
        if (change->sockets_changed) {
            supervisor_sockets_kept(supervisor);
            tls_files_free(change->tls_old);
            change->tls_old = NULL;
        }
    } else {
        config_drop(&change->config_new);
    }
    change->config_old = NULL;
    (void)snprintf(text, sizeof text, change->upgrade ? "Penstock %s serves" : "the new settings are in force", PENSTOCK_VERSION);
    supervisor_change_told(supervisor, ok, ok ? text : change->why);
    say(ok ? SAY_INFO : SAY_WARN, "%s: %s", change->upgrade ? "upgrade" : "reload", ok ? text : change->why);
    supervisor_notify("READY=1");
}

/* --- one role ---------------------------------------------------------------------------------- */

static int64_t ready_us(const struct child *child)
{
    return child->role == &capture_role ? CHANGE_READY_US : CHANGE_READY_STORES_US;
}

/* What a role said: ROLE_READY, ROLE_TAKES; 0: nothing new. */
static char ready_read(int fd)
{
    char    byte = 0;
    ssize_t got = fd < 0 ? 0 : read(fd, &byte, 1);

    return got == 1 ? byte : 0;
}

static void child_fresh(struct supervisor *supervisor, struct child *child)
{
    struct err err = { .kind = ERR_NONE };

    if (supervisor_child_start(supervisor, child, &err) < 0) {
        supervisor_change_fail(supervisor, err.text);
        return;
    }
    supervisor->change.give_up_us = clock_mono_us() + ready_us(child);
    supervisor->change.step = CHANGE_READY;
}

static void heir_begin(struct supervisor *supervisor, struct child *child)
{
    struct err err = { .kind = ERR_NONE };

    if (supervisor_fork(supervisor, child, child->ends.heir_fd, &child->heir.ends, &child->heir.pid, &err) < 0) {
        child->heir.pid = 0;
        supervisor_change_fail(supervisor, err.text);
        return;
    }
    supervisor->change.give_up_us = clock_mono_us() + ready_us(child);
    supervisor->change.step = CHANGE_HEIR;
}

/* Where it is on the way of an event; the reader of the catalog, which is not on it: at the end. */
static size_t place_of(const struct child *child)
{
    size_t place = 0;

    while (place < role_count && roles[place] != child->role)
        place++;
    return place;
}

/* The next role, from the end of the way to its start: who writes in a newer form than before is replaced after those who read it. */
static void change_next(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;
    struct child  *child = NULL;

    for (size_t i = 0; i < supervisor->count; i++)
        if ((change->todo & 1u << i) != 0 && (child == NULL || place_of(&supervisor->children[i]) > place_of(child)))
            child = &supervisor->children[i];
    change->child = child;
    if (child == NULL) {
        change_end(supervisor);
        return;
    }
    if (child->role == &capture_role && child->state == CHILD_UP) {
        if (supervisor->leaving_count == LEAVING_MAX)
            return; /* when one of them is done */
        change->todo &= ~child_bit(supervisor, child);
        heir_begin(supervisor, child);
        return;
    }
    change->todo &= ~child_bit(supervisor, child);
    if (child->state == CHILD_UP) {
        supervisor_ends_stop(&child->ends);
        change->give_up_us = clock_mono_us() + SUPERVISOR_STOP_US_MAX;
        change->step = CHANGE_STOPPING;
        return;
    }
    if (child->state == CHILD_WAITING)
        supervisor_child_state(supervisor, child, CHILD_STOPPED);
    child_fresh(supervisor, child);
}

static void role_replaced(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;

    change->done |= child_bit(supervisor, change->child);
    change->child = NULL;
    change->step = CHANGE_NEXT;
}

static void fail_of(struct supervisor *supervisor, const struct child *child, const char *what)
{
    char why[400];

    (void)snprintf(why, sizeof why, "role %s %s%s%.200s; serve's messages say more", child->role->name, what,
                   child->last[0] != '\0' ? ": " : "", child->last);
    supervisor_change_fail(supervisor, why);
}

static void stopping_step(struct supervisor *supervisor, int64_t now_us)
{
    struct change *change = &supervisor->change;

    if (change->child->state == CHILD_STOPPED) {
        child_fresh(supervisor, change->child);
    } else if (now_us >= change->give_up_us) {
        say(SAY_WARN, "role %s did not stop in time; killing it", change->child->role->name);
        (void)kill(change->child->pid, SIGKILL);
        change->give_up_us = INT64_MAX;
    }
}

static void ready_step(struct supervisor *supervisor, int64_t now_us)
{
    struct child *child = supervisor->change.child;

    if (ready_read(child->ends.ready_fd) == ROLE_READY)
        role_replaced(supervisor);
    else if (child->state != CHILD_UP)
        fail_of(supervisor, child, "does not start");
    else if (now_us >= supervisor->change.give_up_us)
        fail_of(supervisor, child, "is not ready in time");
}

static void heir_forget(struct child *child)
{
    supervisor_ends_close(&child->heir.ends);
    child->heir.pid = 0;
}

/* It serves now; the one before answers what is under way. */
static void heir_serves(struct supervisor *supervisor, struct child *child)
{
    if (child->state == CHILD_UP)
        supervisor->leaving[supervisor->leaving_count++] =
            (struct leaving){ .pid = child->pid, .ends = child->ends,
                              .kill_at_us = clock_mono_us() + SUPERVISOR_STOP_US_MAX + 5000000 };
    else
        supervisor_ends_close(&child->ends);
    child->ends = child->heir.ends;
    if (child->state != CHILD_STOPPED)
        supervisor_child_state(supervisor, child, CHILD_STOPPED);
    child->pid = child->heir.pid;
    child->heir.pid = 0;
    child->started_us = clock_mono_us();
    supervisor_child_state(supervisor, child, CHILD_UP);
    role_replaced(supervisor);
}

static void heir_step(struct supervisor *supervisor, int64_t now_us)
{
    struct child *child = supervisor->change.child;
    char          said = ready_read(child->heir.ends.ready_fd);

    if (said == ROLE_TAKES && supervisor->change.give_up_us != INT64_MAX) {
        supervisor->change.give_up_us = now_us + CHANGE_TAKES_US;
    } else if (said == ROLE_READY && child->heir.pid != 0) {
        heir_serves(supervisor, child);
    } else if (child->heir.pid == 0) {
        fail_of(supervisor, child, "does not start");
    } else if (now_us >= supervisor->change.give_up_us) {
        (void)kill(child->heir.pid, SIGKILL); /* its end is seen by children_reap, and fails the change */
        (void)snprintf(child->last, sizeof child->last, "not ready in time");
        supervisor->change.give_up_us = INT64_MAX;
    }
}

/* --- for the loop ------------------------------------------------------------------------------ */

void supervisor_change_step(struct supervisor *supervisor, int64_t *next_us)
{
    struct change *change = &supervisor->change;
    int64_t        now_us = clock_mono_us();

    if (supervisor->stopping)
        return;
    for (int moves = 0; moves < 4 * ROLES_MAX; moves++) {
        enum change_step     step = change->step;
        const struct child  *child = change->child;

        switch (step) {
        case CHANGE_NONE:
            if ((change->asked & CHANGE_ASKED_RELOAD) != 0) {
                change->asked &= ~(unsigned)CHANGE_ASKED_RELOAD;
                reload_begin(supervisor);
            } else if ((change->asked & CHANGE_ASKED_UPGRADE) != 0) {
                change->asked &= ~(unsigned)CHANGE_ASKED_UPGRADE;
                change_begin(supervisor, true);
                supervisor_upgrade_begin(supervisor);
            }
            break;
        case CHANGE_TRIAL: supervisor_trial_step(supervisor); break;
        case CHANGE_NEXT: change_next(supervisor); break;
        case CHANGE_STOPPING: stopping_step(supervisor, now_us); break;
        case CHANGE_READY: ready_step(supervisor, now_us); break;
        case CHANGE_HEIR: heir_step(supervisor, now_us); break;
        }
        if (change->step == step && change->child == child && change->asked == 0)
            break;
        if (change->step == CHANGE_NONE && change->asked == 0)
            break;
    }
    supervisor_sockets_step(supervisor, now_us, next_us);
    if (change->step != CHANGE_NONE && change->give_up_us < *next_us)
        *next_us = change->give_up_us;
    if (change->step == CHANGE_NEXT) /* waits for one that leaves */
        *next_us = now_us + 20000 < *next_us ? now_us + 20000 : *next_us;
}

int supervisor_change_fd(const struct supervisor *supervisor)
{
    const struct change *change = &supervisor->change;

    switch (change->step) {
    case CHANGE_TRIAL: return change->trial_open ? change->trial_fd : -1;
    case CHANGE_READY: return change->child->ends.ready_fd;
    case CHANGE_HEIR: return change->child->heir.pid != 0 ? change->child->heir.ends.ready_fd : -1;
    default: return -1;
    }
}

bool supervisor_change_reap(struct supervisor *supervisor, pid_t pid, int status)
{
    struct change *change = &supervisor->change;

    if (change->trial_pid != 0 && change->trial_pid == pid) {
        supervisor_trial_ended(supervisor, status);
        return true;
    }
    for (size_t i = 0; i < supervisor->count; i++) {
        struct child *child = &supervisor->children[i];

        if (child->heir.pid == 0 || child->heir.pid != pid)
            continue;
        if (change->give_up_us != INT64_MAX && WIFSIGNALED(status))
            (void)snprintf(child->last, sizeof child->last, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        else if (WIFEXITED(status))
            (void)snprintf(child->last, sizeof child->last, "ended with code %d", WEXITSTATUS(status));
        heir_forget(child);
        return true;
    }
    return false;
}

bool supervisor_change_wants_stopped(const struct supervisor *supervisor, const struct child *child)
{
    return supervisor->change.step == CHANGE_STOPPING && supervisor->change.child == child;
}

void supervisor_change_abandon(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;

    if (change->step == CHANGE_NONE)
        return;
    say(SAY_WARN, "the %s that is under way ends with this", change->upgrade ? "upgrade" : "reload");
    if (change->trial_pid != 0)
        (void)kill(change->trial_pid, SIGKILL);
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i].heir.pid != 0)
            (void)kill(supervisor->children[i].heir.pid, SIGKILL);
    change->step = CHANGE_NONE;
    change->ended = change->begun;
    supervisor_change_told(supervisor, false, "the server was stopped in the middle of it");
}

void supervisor_change_forget(struct supervisor *supervisor)
{
    if (supervisor->change.trial_fd >= 0)
        (void)close(supervisor->change.trial_fd);
    listen_close(supervisor->dropped, supervisor->dropped_count, false);
    supervisor->change.trial_fd = -1;
    supervisor->dropped_count = 0;
}
