/* command/supervisor_sockets.c - which sockets the supervisor listens on: at its start, over an upgrade, over a reload.
 *
 * A listening socket is one thing that several processes have: shut down in one, it is dead in all of them. So it is shut
 * down only when no list in force has it, and a list never gives one socket to two entries: the other entry's would look
 * like one that nobody wants any more. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "capture/capture.h"
#include "command/supervisor_inner.h"

static void listeners_point(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->sockets_count; i++)
        supervisor->listeners[i] = supervisor->sockets[i].role;
}

/* --- at the start ------------------------------------------------------------------------------- */

/* Those that were taken over from another binary; what is said about them is read anew. */
static void listen_again(struct supervisor *supervisor, const struct listen_address *addresses, size_t count)
{
    int its[LISTEN_MAX];

    listen_match(supervisor->sockets, supervisor->sockets_count, addresses, count, its);
    for (size_t i = 0; i < count; i++)
        if (its[i] >= 0)
            listen_tell(&supervisor->sockets[its[i]], &addresses[i]);
    for (size_t i = 0; i < supervisor->sockets_count && supervisor->tls == NULL; i++)
        supervisor->sockets[i].role.tls = false; /* nothing to shake hands with: its entry is gone from the list */
    listeners_point(supervisor);
}

int supervisor_listen(struct supervisor *supervisor, struct err *err)
{
    struct listen_address *addresses;
    size_t                 count;
    bool                   needed = false;
    int                    rc = -1;

    for (size_t i = 0; i < supervisor->count; i++)
        needed |= supervisor->children[i].role == &capture_role;
    if (!needed)
        return 0;
    addresses = calloc(LISTEN_MAX, sizeof *addresses);
    if (addresses == NULL)
        return err_set(err, ERR_FULL, "no memory");
    if (listen_read(supervisor->config->listen, addresses, &count, err) < 0 ||
        supervisor_tls(supervisor->config, addresses, count, &supervisor->tls, err) < 0)
        goto done;
    if (supervisor->sockets_count > 0) {
        listen_again(supervisor, addresses, count);
        supervisor_listen_write(supervisor);
        rc = 0;
    } else if (listen_open(addresses, count, supervisor->sockets, err) == 0) {
        supervisor->sockets_count = count;
        listeners_point(supervisor);
        supervisor_listen_write(supervisor);
        rc = 0;
    }
done:
    free(addresses);
    return rc;
}

/* --- over a reload ------------------------------------------------------------------------------- */

static bool socket_among(const struct listen_socket *sockets, size_t count, int fd)
{
    for (size_t i = 0; i < count; i++)
        if (sockets[i].role.fd == fd)
            return true;
    return false;
}

/* Shut down, it is so in the process that answers what is under way too: nobody waits in its queue for ever. */
static void socket_end(struct listen_socket *socket)
{
    (void)shutdown(socket->role.fd, SHUT_RDWR);
    listen_close(socket, 1, true);
}

/* Those that were dropped and are listened on again. */
static void dropped_forget(struct supervisor *supervisor)
{
    size_t kept = 0;

    for (size_t i = 0; i < supervisor->dropped_count; i++)
        if (!socket_among(supervisor->sockets, supervisor->sockets_count, supervisor->dropped[i].role.fd))
            supervisor->dropped[kept++] = supervisor->dropped[i];
    supervisor->dropped_count = kept;
}

/* The sockets of a new list: those that there are, those that were dropped and are not closed yet, and new ones, which are
 * bound now. On failure nothing changed. */
int supervisor_sockets_renew(struct supervisor *supervisor, const struct config *config, struct err *err)
{
    struct tls_files      *tls = NULL;
    struct change         *change = &supervisor->change;
    struct listen_address *wanted = calloc(2 * LISTEN_MAX, sizeof *wanted), *fresh = wanted + LISTEN_MAX;
    struct listen_socket  *sockets = calloc(4 * LISTEN_MAX, sizeof *sockets), *bound = sockets + LISTEN_MAX,
                         *had = bound + LISTEN_MAX;
    size_t                 count, fresh_count = 0, used = 0;
    int                    rc = -1, its[LISTEN_MAX];

    if (wanted == NULL || sockets == NULL) {
        (void)err_set(err, ERR_FULL, "no memory");
        goto done;
    }
    if (listen_read(config->listen, wanted, &count, err) < 0 || supervisor_tls(config, wanted, count, &tls, err) < 0)
        goto done;
    memcpy(had, supervisor->sockets, supervisor->sockets_count * sizeof *had);
    memcpy(had + supervisor->sockets_count, supervisor->dropped, supervisor->dropped_count * sizeof *had);
    listen_match(had, supervisor->sockets_count + supervisor->dropped_count, wanted, count, its);
    for (size_t i = 0; i < count; i++)
        if (its[i] < 0)
            fresh[fresh_count++] = wanted[i];
    if (fresh_count > 0 && listen_open(fresh, fresh_count, bound, err) < 0)
        goto done;
    for (size_t i = 0; i < count; i++) {
        sockets[i] = its[i] >= 0 ? had[its[i]] : bound[used++];
        listen_tell(&sockets[i], &wanted[i]);
    }
    memcpy(change->sockets_old, supervisor->sockets, sizeof change->sockets_old);
    change->sockets_old_count = supervisor->sockets_count;
    change->sockets_changed = true;
    memcpy(supervisor->sockets, sockets, LISTEN_MAX * sizeof *sockets);
    supervisor->sockets_count = count;
    dropped_forget(supervisor);
    listeners_point(supervisor);
    change->tls_old = supervisor->tls;
    supervisor->tls = tls;
    tls = NULL;
    rc = 0;
done:
    tls_files_free(tls);
    free(wanted);
    free(sockets);
    return rc;
}

void supervisor_sockets_kept(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;

    for (size_t i = 0; i < change->sockets_old_count; i++) {
        struct listen_socket *old = &change->sockets_old[i];

        if (socket_among(supervisor->sockets, supervisor->sockets_count, old->role.fd))
            continue;
        if (supervisor->dropped_count == LISTEN_MAX) { /* the one that waits longest */
            socket_end(&supervisor->dropped[0]);
            memmove(supervisor->dropped, supervisor->dropped + 1, --supervisor->dropped_count * sizeof *supervisor->dropped);
        }
        supervisor->dropped[supervisor->dropped_count++] = *old;
        supervisor->drop_at_us = clock_mono_us() + CHANGE_DROP_US; /* somebody may still be taking from it */
    }
    supervisor_listen_write(supervisor);
}

void supervisor_sockets_back(struct supervisor *supervisor)
{
    struct change *change = &supervisor->change;

    if (!change->sockets_changed)
        return;
    for (size_t i = 0; i < supervisor->sockets_count; i++)
        if (!socket_among(change->sockets_old, change->sockets_old_count, supervisor->sockets[i].role.fd))
            socket_end(&supervisor->sockets[i]);
    memcpy(supervisor->sockets, change->sockets_old, sizeof change->sockets_old);
    supervisor->sockets_count = change->sockets_old_count;
    listeners_point(supervisor);
    tls_files_free(supervisor->tls);
    supervisor->tls = change->tls_old;
    change->tls_old = NULL;
    change->sockets_changed = false;
}

void supervisor_sockets_step(struct supervisor *supervisor, int64_t now_us, int64_t *next_us)
{
    if (supervisor->dropped_count == 0)
        return;
    if (now_us < supervisor->drop_at_us) {
        *next_us = supervisor->drop_at_us < *next_us ? supervisor->drop_at_us : *next_us;
        return;
    }
    for (size_t i = 0; i < supervisor->dropped_count; i++)
        socket_end(&supervisor->dropped[i]);
    supervisor->dropped_count = 0;
}
