/* base/stores.c - secrets and what of them is shown; the rest of base/stores.h is its structs. */
#include "base/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int secret_of_file(const char *file, char to[SECRET_BYTES_MAX + 1], struct err *err)
{
    struct stat found;
    ssize_t     got = -1;
    int         fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, ERR_INPUT, "cannot read the secret in %.200s: %s", file, strerror(errno));
    if (fstat(fd, &found) == 0 && (found.st_mode & S_IROTH) != 0) {
        (void)close(fd);
        return err_set(err, ERR_INPUT, "%.200s holds a secret and every user may read it; chmod o-r it", file);
    }
    got = read(fd, to, SECRET_BYTES_MAX + 1);
    if (got < 0)
        (void)err_set(err, ERR_INPUT, "cannot read the secret in %.200s: %s", file, strerror(errno));
    (void)close(fd);
    if (got < 0)
        return -1;
    if (got > SECRET_BYTES_MAX)
        return err_set(err, ERR_INPUT, "the secret in %.200s has more than %d bytes", file, SECRET_BYTES_MAX);
    to[got] = '\0';
    to[strcspn(to, "\r\n")] = '\0';
    return 0;
}

int secret_read(const char *file, const char *name, char to[SECRET_BYTES_MAX + 1], struct err *err)
{
    char        variable[100];
    const char *value;

    if (file != NULL && file[0] != '\0')
        return secret_of_file(file, to, err);
    (void)snprintf(variable, sizeof variable, "PENSTOCK_%s", name);
    value = getenv(variable);
    if (value != NULL && strlen(value) > SECRET_BYTES_MAX)
        return err_set(err, ERR_INPUT, "the environment variable %s has more than %d bytes", variable, SECRET_BYTES_MAX);
    (void)snprintf(to, SECRET_BYTES_MAX + 1, "%s", value != NULL ? value : "");
    return 0;
}

void url_shown(const char *url, char to[URL_SHOWN_BYTES])
{
    const char *host = strstr(url, "://"), *end, *at = NULL, *colon, *query;
    char        plain[URL_SHOWN_BYTES];

    (void)snprintf(plain, sizeof plain, "%s", url);
    (void)snprintf(to, URL_SHOWN_BYTES, "%s", url);
    if (host == NULL)
        return;
    host += 3;
    end = host + strcspn(host, "/?#");
    for (const char *look = host; look < end; look++) /* the last one: a password may hold an @ that nobody escaped */
        if (*look == '@')
            at = look;
    colon = at != NULL ? memchr(host, ':', (size_t)(at - host)) : NULL;
    if (colon != NULL)
        (void)snprintf(to, URL_SHOWN_BYTES, "%.*s:***%.200s", (int)(colon - url < 90 ? colon - url : 90), url, at);
    query = strstr(to, "password="); /* libpq takes it as a parameter, too */
    if (query != NULL) {
        size_t from = (size_t)(query - to) + strlen("password=");
        size_t rest = from + strcspn(to + from, "&");

        (void)snprintf(plain, sizeof plain, "%s", to + rest);
        (void)snprintf(to + from, URL_SHOWN_BYTES - from, "***%s", plain);
    }
}

int store_absent(const char *key, const char *backend, struct err *err)
{
    return err_set(err, ERR_INPUT, "%s: %s: this Penstock has no such backend", key, backend);
}
