/* command/listen.c - reads and binds the addresses that SDKs send to.
 *
 * Why a path is bound with no mode at all and gets its mode before listen(2): a socket file whose mode is set after
 * somebody could connect has let him in. Why a socket file that is in the way is asked before it is removed: the file
 * of a killed server stays behind and refuses connections; one that answers belongs to somebody. */
#include "command/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum { LISTEN_BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
       LISTEN_RETRY_US = 1000000 };

/* --- reading ------------------------------------------------------------------------------------ */

static int address_wrong(const char *text, struct err *err)
{
    return err_set(err, ERR_INPUT, "\"%.80s\" is no address; it takes HOST:PORT, such as 127.0.0.1:8000, 0.0.0.0:8000 or "
                   "[::1]:8000, or unix:/PATH", text);
}

/* HOST:PORT, [V6]:PORT or :PORT. */
static int address_read_inet(const char *text, struct listen_address *out, struct err *err)
{
    const char *colon = strrchr(text, ':');
    size_t      bytes = colon != NULL ? (size_t)(colon - text) : 0;
    bool        fine = colon != NULL && colon[1] != '\0' && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
                       strlen(colon + 1) <= 5 && strtoul(colon + 1, NULL, 10) <= 65535;

    if (bytes >= 2 && text[0] == '[' && text[bytes - 1] == ']') {
        text++;
        bytes -= 2;
    } else if (memchr(text, ':', bytes) != NULL) {
        fine = false;
    }
    if (!fine || bytes >= sizeof out->host)
        return address_wrong(out->text, err);
    memcpy(out->host, text, bytes);
    out->host[bytes] = '\0';
    (void)snprintf(out->port, sizeof out->port, "%.5s", colon + 1);
    return 0;
}

static int address_read_unix(const char *path, struct listen_address *out, struct err *err)
{
    size_t bytes = strlen(path);

    out->local = true;
    out->mode = LISTEN_MODE_DEFAULT;
    if (path[0] == '@')
        return err_set(err, ERR_INPUT, "\"%.80s\": an abstract socket has no owner and no mode; name a file, such as "
                       "unix:/run/penstock/capture.sock", out->text);
    if (path[0] != '/' || path[bytes - 1] == '/')
        return err_set(err, ERR_INPUT, "\"%.80s\": the path of a unix socket begins with / and names a file, such as "
                       "unix:/run/penstock/capture.sock", out->text);
    if (bytes > LISTEN_PATH_BYTES_MAX)
        return err_set(err, ERR_INPUT, "\"%.80s...\": the path of a unix socket has at most %d bytes, this one %zu", out->text,
                       (int)LISTEN_PATH_BYTES_MAX, bytes);
    memcpy(out->path, path, bytes + 1);
    return 0;
}

static int address_read_word(const char *word, struct listen_address *out, struct err *err)
{
    if (strncmp(word, "mode=", 5) == 0 && out->local) {
        char         *end;
        unsigned long mode = strtoul(word + 5, &end, 8);

        if (word[5] < '0' || word[5] > '7' || *end != '\0' || mode > 0777)
            return err_set(err, ERR_INPUT, "\"%.80s\": %.40s; mode takes octal digits, such as mode=0660", out->text, word);
        out->mode = (mode_t)mode;
        return 0;
    }
    if (strcmp(word, "proxy") == 0) {
        out->proxy = true;
        return 0;
    }
    if (strcmp(word, "tls") == 0 && !out->local) {
        out->tls = true;
        return 0;
    }
    return err_set(err, ERR_INPUT, "\"%.80s\": \"%.40s\" says nothing here; %s", out->text, word,
                   out->local ? "after a path may come mode=0660 and proxy" : "after a port may come tls and proxy");
}

static int address_read(char *entry, struct listen_address *out, struct err *err)
{
    char *rest = NULL, *place = strtok_r(entry, " \t\n", &rest), *word;

    *out = (struct listen_address){ .local = false };
    if (place == NULL)
        return err_set(err, ERR_INPUT, "there is an empty address in the list; one is such as 127.0.0.1:8000");
    if (strlen(place) >= sizeof out->text)
        return err_set(err, ERR_INPUT, "\"%.80s...\" is longer than %zu bytes", place, sizeof out->text - 1);
    memcpy(out->text, place, strlen(place) + 1);
    if ((strncmp(place, "unix:", 5) == 0 ? address_read_unix(place + 5, out, err) : address_read_inet(place, out, err)) < 0)
        return -1;
    while ((word = strtok_r(NULL, " \t\n", &rest)) != NULL)
        if (address_read_word(word, out, err) < 0)
            return -1;
    return 0;
}

static bool address_same(const struct listen_address *a, const struct listen_address *b)
{
    if (a->local || b->local)
        return a->local && b->local && strcmp(a->path, b->path) == 0;
    return strtoul(a->port, NULL, 10) != 0 && strcmp(a->text, b->text) == 0;
}

int listen_read(const char *list, struct listen_address out[LISTEN_MAX], size_t *count_out, struct err *err)
{
    char  *copy = strdup(list), *at = copy;
    size_t count = 0;
    int    rc = -1;

    if (copy == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    while (at != NULL) {
        char *comma = strchr(at, ',');

        if (comma != NULL)
            *comma++ = '\0';
        if (count == LISTEN_MAX) {
            (void)err_set(err, ERR_INPUT, "more than %d addresses", LISTEN_MAX);
            goto done;
        }
        if (address_read(at, &out[count], err) < 0)
            goto done;
        for (size_t i = 0; i < count; i++)
            if (address_same(&out[i], &out[count])) {
                (void)err_set(err, ERR_INPUT, "\"%.80s\" stands twice in the list", out[count].text);
                goto done;
            }
        count++;
        at = comma;
    }
    *count_out = count;
    rc = 0;
done:
    free(copy);
    return rc;
}

int listen_check(const char *list, struct err *err)
{
    struct listen_address *addresses = calloc(LISTEN_MAX, sizeof *addresses);
    size_t                 count;
    int                    rc;

    if (addresses == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    rc = listen_read(list, addresses, &count, err);
    free(addresses);
    return rc;
}

/* --- binding ------------------------------------------------------------------------------------ */

static int bind_failed(int problem, const struct sockaddr *address, const char *text, struct err *err)
{
    char owner[200];

    switch (problem) {
    case EADDRINUSE:
        listen_owner(address, owner, sizeof owner);
        return err_set(err, ERR_RETRY, "%.100s is in use by %s; stop that one, or choose another address with --listen "
                       "HOST:PORT", text, owner);
    case EACCES:
        return err_set(err, ERR_INPUT, "no permission to listen on %.100s: ports below 1024 need root or "
                       "CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); or choose a higher port",
                       text);
    case EADDRNOTAVAIL:
        return err_set(err, ERR_INPUT, "cannot listen on %.100s: no network of this machine has that address; `ip address` "
                       "lists them", text);
    default:
        return err_errno(err, problem, "cannot listen on %.100s", text);
    }
}

static int inet_bind(const struct addrinfo *found, const char *text, bool six_only, struct err *err)
{
    int64_t give_up_us = clock_mono_us() + LISTEN_RETRY_US;
    int     fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int     on = 1, only = six_only;

    if (fd < 0)
        return err_errno(err, errno, "cannot make a socket for %.100s", text);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (found->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    while (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        int problem = errno;

        if (problem == EADDRINUSE && clock_mono_us() < give_up_us) {
            (void)poll(NULL, 0, 20);
            continue;
        }
        (void)close(fd);
        return bind_failed(problem, found->ai_addr, text, err);
    }
    return fd;
}

static void inet_url(int fd, const struct listen_address *from, char *url_out, size_t room)
{
    struct sockaddr_storage address;
    socklen_t               bytes = sizeof address;
    char                    port[16] = "?";
    const char             *host = from->host;

    if (getsockname(fd, (struct sockaddr *)&address, &bytes) == 0)
        (void)getnameinfo((struct sockaddr *)&address, bytes, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    if (host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        host = "127.0.0.1"; /* every address of this machine: name one that works here */
    (void)snprintf(url_out, room, strchr(host, ':') != NULL ? "%s://[%s]:%s" : "%s://%s:%s", from->tls ? "https" : "http",
                   host, port);
}

static int inet_open(const struct listen_address *address, bool six_only, struct listen_socket *out, struct err *err)
{
    const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo      *found;
    int                   rc = getaddrinfo(address->host[0] != '\0' ? address->host : NULL, address->port, &wanted, &found);

    if (rc != 0)
        return err_set(err, ERR_INPUT, "listen: the host \"%.100s\" is not known here: %s", address->host, gai_strerror(rc));
    out->role.tls = address->tls;
    out->role.fd = inet_bind(found, address->text, six_only && strcmp(address->host, "::") == 0, err);
    freeaddrinfo(found);
    if (out->role.fd < 0)
        return -1;
    inet_url(out->role.fd, address, out->url, sizeof out->url);
    return 0;
}

/* *problem_out: why nobody takes a connection there; 0: somebody does. */
static int unix_knock(const struct sockaddr_un *place, int *problem_out, struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_errno(err, errno, "cannot make a socket");
    *problem_out = connect(fd, (const struct sockaddr *)place, sizeof *place) == 0 ? 0 : errno;
    if (*problem_out == EAGAIN) /* its queue is full */
        *problem_out = 0;
    (void)close(fd);
    return 0;
}

/* Removes the socket file that a server left behind; -1: somebody answers there, or it is no socket. */
static int unix_clear(const struct sockaddr_un *place, struct err *err)
{
    int64_t     give_up_us = clock_mono_us() + LISTEN_RETRY_US;
    struct stat file;
    int         problem;

    if (lstat(place->sun_path, &file) < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "cannot look at %.150s", place->sun_path);
    if (!S_ISSOCK(file.st_mode))
        return err_set(err, ERR_INPUT, "cannot listen on %.150s: a file that is no socket stands there; move it away, or name "
                       "another path", place->sun_path);
    for (;;) {
        if (unix_knock(place, &problem, err) < 0)
            return -1;
        if (problem != 0 || clock_mono_us() >= give_up_us)
            break;
        (void)poll(NULL, 0, 20); /* the last owner may be dying */
    }
    if (problem == ECONNREFUSED && unlink(place->sun_path) < 0 && errno != ENOENT)
        return err_errno(err, errno, "cannot remove %.150s, which a server left behind", place->sun_path);
    if (problem == ECONNREFUSED || problem == ENOENT)
        return 0;
    if (problem == 0)
        return bind_failed(EADDRINUSE, (const struct sockaddr *)place, place->sun_path, err);
    return err_errno(err, problem, "cannot listen on %.150s: a socket stands there, and asking who has it fails",
                     place->sun_path);
}

static int unix_failed(int problem, const char *path, struct err *err)
{
    if (problem == ENOENT || problem == ENOTDIR)
        return err_set(err, ERR_INPUT, "cannot listen on unix:%.150s: its folder does not exist; make it first", path);
    if (problem == EACCES || problem == EPERM || problem == EROFS)
        return err_set(err, ERR_INPUT, "cannot listen on unix:%.150s: its folder cannot be written (%s)", path,
                       strerror(problem));
    return err_errno(err, problem, "cannot listen on unix:%.150s", path);
}

static int unix_open(const struct listen_address *address, struct listen_socket *out, struct err *err)
{
    struct sockaddr_un place = { .sun_family = AF_UNIX };
    struct stat        file;
    mode_t             mask;
    int                fd, rc;

    memcpy(place.sun_path, address->path, sizeof address->path);
    if (unix_clear(&place, err) < 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, errno, "cannot make a socket for %.100s", address->text);
    mask = umask(0777);
    rc = bind(fd, (struct sockaddr *)&place, sizeof place);
    (void)umask(mask);
    if (rc < 0) {
        rc = unix_failed(errno, address->path, err);
        (void)close(fd);
        return rc;
    }
    if (chmod(address->path, address->mode) < 0 || listen(fd, LISTEN_BACKLOG) < 0 || lstat(address->path, &file) < 0) {
        rc = unix_failed(errno, address->path, err);
        (void)unlink(address->path);
        (void)close(fd);
        return rc;
    }
    out->role.fd = fd;
    out->role.local = true;
    out->device = file.st_dev;
    out->inode = file.st_ino;
    memcpy(out->path, address->path, sizeof out->path);
    (void)snprintf(out->url, sizeof out->url, "unix:%s", address->path);
    return 0;
}

/* Whether an IPv4 address of the list has the same port: then [::] must leave it alone. */
static bool port_is_shared(const struct listen_address *addresses, size_t count, const char *port)
{
    for (size_t i = 0; i < count; i++)
        if (!addresses[i].local && strchr(addresses[i].host, ':') == NULL && strcmp(addresses[i].port, port) == 0 &&
            strtoul(port, NULL, 10) != 0)
            return true;
    return false;
}

void listen_match(const struct listen_socket *sockets, size_t count, const struct listen_address *wanted, size_t wanted_count,
                  int *index_out)
{
    for (size_t i = 0; i < wanted_count; i++)
        index_out[i] = -1;
    for (int words = 1; words >= 0; words--) /* with the same words, then whatever they were */
        for (size_t i = 0; i < wanted_count; i++)
            for (size_t k = 0; k < count && index_out[i] < 0; k++) {
                const struct role_listener *had = &sockets[k].role;
                bool                        taken = false;

                for (size_t j = 0; j < wanted_count; j++)
                    taken |= index_out[j] == (int)k;
                if (!taken && had->fd >= 0 && strcmp(had->name, wanted[i].text) == 0 &&
                    (words == 0 || (had->tls == wanted[i].tls && had->proxy == wanted[i].proxy)))
                    index_out[i] = (int)k;
            }
}

void listen_tell(struct listen_socket *socket, const struct listen_address *address)
{
    socket->role.proxy = address->proxy;
    if (!socket->role.local) {
        socket->role.tls = address->tls;
        inet_url(socket->role.fd, address, socket->url, sizeof socket->url);
    } else {
        (void)snprintf(socket->url, sizeof socket->url, "unix:%s", address->path);
    }
    if (address->proxy)
        (void)snprintf(socket->url + strlen(socket->url), sizeof socket->url - strlen(socket->url), " proxy");
}

int listen_open(const struct listen_address *addresses, size_t count, struct listen_socket *out, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct listen_address *address = &addresses[i];

        out[i] = (struct listen_socket){ .role.fd = -1 };
        out[i].role.proxy = address->proxy;
        (void)snprintf(out[i].role.name, sizeof out[i].role.name, "%s", address->text);
        if ((address->local ? unix_open(address, &out[i], err)
                            : inet_open(address, port_is_shared(addresses, count, address->port), &out[i], err)) < 0) {
            listen_close(out, i, true);
            return -1;
        }
        if (address->proxy) /* nobody else should try to send there */
            (void)snprintf(out[i].url + strlen(out[i].url), sizeof out[i].url - strlen(out[i].url), " proxy");
    }
    return 0;
}

void listen_close(struct listen_socket *sockets, size_t count, bool remove)
{
    for (size_t i = 0; i < count; i++) {
        struct stat file;

        if (sockets[i].role.fd < 0)
            continue;
        if (remove && sockets[i].path[0] != '\0' && lstat(sockets[i].path, &file) == 0 &&
            file.st_dev == sockets[i].device && file.st_ino == sockets[i].inode)
            (void)unlink(sockets[i].path);
        (void)close(sockets[i].role.fd);
        sockets[i].role.fd = -1;
    }
}
