/* command/supervisor_told.c - what a supervisor tells others: in DIR/run of its roles, its addresses, its last reload or upgrade;
 * and systemd. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "command/config_stores.h"
#include "command/supervisor_inner.h"

/* One file for all roles of this supervisor: that of the first which people know. */
static const char *change_role(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (role_find(supervisor->children[i].role->name) != NULL)
            return supervisor->children[i].role->name;
    return "none";
}

void supervisor_change_told(const struct supervisor *supervisor, bool ok, const char *text)
{
    const struct change *change = &supervisor->change;
    char                 line[600];

    (void)snprintf(line, sizeof line, "%" PRIu32 " %" PRIu32 " %s %s %" PRId64 " %.400s\n", change->begun, change->ended,
                   change->upgrade ? "upgrade" : "reload", ok ? "ok" : "failed", clock_wall_us(), text);
    for (char *at = line; *at != '\0' && at[1] != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
    supervisor_run_write(supervisor, change_role(supervisor), "change", line);
}

bool supervisor_changed(const char *data, const struct role *role, struct supervisor_changed *out)
{
    char  path[4200], line[600], outcome[16];
    FILE *file;
    int   used = 0;
    bool  found = false;

    *out = (struct supervisor_changed){ .begun = 0 };
    (void)snprintf(path, sizeof path, "%s/run/%s.change", data, role->name);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(line, sizeof line, file) != NULL &&
        sscanf(line, "%" SCNu32 " %" SCNu32 " %15s %15s %" SCNd64 " %n", &out->begun, &out->ended, out->kind, outcome, &out->at_us,
               &used) >= 5) {
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(out->text, sizeof out->text, "%.399s", used > 0 ? line + used : "");
        out->ok = strcmp(outcome, "ok") == 0;
        found = true;
    }
    (void)fclose(file);
    return found;
}

bool supervisor_role_state(const char *data, const struct role *role, struct supervisor_role_state *out)
{
    char  path[4200], line[400];
    FILE *file;
    int   pid, used = 0;

    *out = (struct supervisor_role_state){ .pid = 0 };
    (void)snprintf(path, sizeof path, "%s/run/%s.state", data, role->name);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(line, sizeof line, file) != NULL &&
        sscanf(line, "%d %" SCNu64 " %" SCNd64 " %n", &pid, &out->restarts, &out->since_us, &used) >= 3) {
        line[strcspn(line, "\n")] = '\0';
        if (used > 0)
            (void)snprintf(out->last, sizeof out->last, "%.199s", line + used);
        out->up = pid > 0 && supervisor_owner(data, role) != 0 && kill((pid_t)pid, 0) == 0;
        out->pid = out->up ? (pid_t)pid : 0;
    }
    (void)fclose(file);
    return true;
}

size_t supervisor_urls(const char *data, char urls_out[LISTEN_MAX][LISTEN_URL_BYTES])
{
    char   path[4200];
    FILE  *file;
    size_t count = 0;

    (void)snprintf(path, sizeof path, "%s/run/listen", data);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (count < LISTEN_MAX && fgets(urls_out[count], LISTEN_URL_BYTES, file) != NULL) {
        urls_out[count][strcspn(urls_out[count], "\n")] = '\0';
        count += urls_out[count][0] != '\0';
    }
    (void)fclose(file);
    return count;
}

bool supervisor_url(const char *data, char *url_out, size_t room)
{
    static const char *const kinds[] = { "http:", "unix:", "" };
    char   urls[LISTEN_MAX][LISTEN_URL_BYTES];
    size_t count = supervisor_urls(data, urls);

    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (size_t i = 0; i < count; i++)
            if (strncmp(urls[i], kinds[kind], strlen(kinds[kind])) == 0 && strchr(urls[i], ' ') == NULL) {
                (void)snprintf(url_out, room, "%s", urls[i]);
                return true;
            }
    return false;
}

/* sd_notify(3), without its library: a datagram to the socket that systemd named. Nobody listens: nothing happens. */
void supervisor_notify(const char *text)
{
    const char        *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t             bytes = name != NULL ? strlen(name) : 0;
    int                fd;

    if (bytes == 0 || bytes >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@'))
        return;
    memcpy(address.sun_path, name, bytes);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)(void *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)) < 0)
        errno = 0; /* told, or not: the roles do not depend on it */
    (void)close(fd);
}

/* --- its settings ------------------------------------------------------------------------------ */

/* "key: value", as a file of settings has it. */
static void store_line(struct buf *out, const char *key, const char *value)
{
    buf_add_format(out, "%s: \"", key);
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\')
            buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)*value);
    }
    buf_add_text(out, "\"\n");
}

/* For its owner alone: a URL may hold a password. Replaced whole, as the others. */
static void stores_write(const struct supervisor *supervisor, struct span text)
{
    char path[4200], fresh[4210];
    int  fd;

    (void)snprintf(path, sizeof path, "%s/stores.yaml", supervisor->run_folder);
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    (void)unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.at, text.bytes) != (ssize_t)text.bytes || rename(fresh, path) < 0)
        say(SAY_WARN, "cannot write %s: %s", path, strerror(errno)); /* commands take what penstock.yaml says */
    if (fd >= 0)
        (void)close(fd);
}

void supervisor_config_write(const struct supervisor *supervisor)
{
    const char *given = args_text(supervisor->args, "--config");
    char       *whole = given != NULL ? realpath(given, NULL) : NULL;
    char        path[PATH_MAX + 2];
    struct buf  text;

    (void)snprintf(path, sizeof path, "%s\n", whole != NULL ? whole : "");
    supervisor_run_write(supervisor, "config", "", path);
    free(whole);
    buf_init(&text, 1 << 20);
    buf_add_text(&text, "# what the running server has; for the commands beside it\n");
    for (size_t i = 0; i < supervisor->config->count; i++) {
        const struct config_value *value = &supervisor->config->values[i];

        if (config_store_key(value) && strcmp(value->source, "default") != 0)
            store_line(&text, value->option->name, value->text);
    }
    if (!text.failed)
        stores_write(supervisor, buf_span(&text));
    buf_fini(&text);
}

/* --- which roles --------------------------------------------------------------------------------- */

/* The n-th word of all that was given, NULL at the end. */
static const char *role_word(const struct command_args *args, size_t n, size_t *bytes_out)
{
    static const char *const flags[] = { "--roles", "--role" };
    const char              *text;

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        for (size_t k = 0; (text = args_text_nth(args, flags[i], k)) != NULL; k++)
            for (;;) {
                text += strspn(text, ", ");
                *bytes_out = strcspn(text, ", ");
                if (*bytes_out == 0)
                    break;
                if (n-- == 0)
                    return text;
                text += *bytes_out;
            }
    return NULL;
}

bool supervisor_role_chosen(const struct command_args *args, const char *name)
{
    const char *word;
    size_t      bytes, n = 0;

    for (; (word = role_word(args, n, &bytes)) != NULL; n++)
        if (strlen(name) == bytes && memcmp(word, name, bytes) == 0)
            return true;
    return n == 0;
}

bool supervisor_roles_known(const struct command_args *args, char *wrong, size_t room)
{
    const char *word;
    size_t      bytes;

    for (size_t n = 0; (word = role_word(args, n, &bytes)) != NULL; n++) {
        (void)snprintf(wrong, room, "%.*s", (int)(bytes < 59 ? bytes : 59), word);
        if (role_find(wrong) == NULL)
            return false;
    }
    return true;
}
