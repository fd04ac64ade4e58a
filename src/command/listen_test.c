/* command/listen_test.c - which addresses can be written, what each mistake is answered with, and what is bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "command/listen.h"

#define PATH_LONG "/tmp/a-path-that-is-longer-than-a-socket-address-has-room-for-which-is-one-hundred-and-seven-bytes-and-no-more-x"

static struct listen_address addresses[LISTEN_MAX];
static struct listen_socket  sockets[LISTEN_MAX];

static void lists_that_are_right(void **state)
{
    static const struct {
        const char *list;
        size_t      count;
        const char *place; /* of the last one: host|port or path|mode */
    } rows[] = {
        { "127.0.0.1:8000", 1, "127.0.0.1|8000" },
        { ":8000", 1, "|8000" },
        { "[::]:8000", 1, "::|8000" },
        { "[fe80::1]:65535", 1, "fe80::1|65535" },
        { "localhost:0", 1, "localhost|0" },
        { " 127.0.0.1:8000 ,[::1]:8000", 2, "::1|8000" },
        { "127.0.0.1:0,127.0.0.1:0", 2, "127.0.0.1|0" },
        { "unix:/run/x.sock", 1, "/run/x.sock|660" },
        { ":1, unix:/run/x.sock mode=0600", 2, "/run/x.sock|600" },
        { "unix:/run/x.sock   mode=666", 1, "/run/x.sock|666" },
        { ":1,:2,:3,:4,:5,:6,:7,:8,:9,:10,:11,:12,:13,:14,:15,:16", 16, "|16" },
    };
    struct err err = { .kind = ERR_NONE };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct listen_address *last;
        char                         place[600];
        size_t                       count = 0;

        if (listen_read(rows[i].list, addresses, &count, &err) < 0)
            fail_msg("%s: %s", rows[i].list, err.text);
        assert_int_equal(count, rows[i].count);
        last = &addresses[count - 1];
        if (last->local)
            (void)snprintf(place, sizeof place, "%s|%o", last->path, (unsigned)last->mode);
        else
            (void)snprintf(place, sizeof place, "%s|%s", last->host, last->port);
        assert_string_equal(place, rows[i].place);
        assert_int_equal(listen_check(rows[i].list, &err), 0);
    }
}

static void lists_that_are_wrong(void **state)
{
    static const struct { const char *list, *says; } rows[] = {
        { "", "an empty address" },
        { ":1,", "an empty address" },
        { ":1,,:2", "an empty address" },
        { "8000", "\"8000\" is no address; it takes HOST:PORT" },
        { "127.0.0.1", "is no address" },
        { "127.0.0.1:", "is no address" },
        { "127.0.0.1:http", "is no address" },
        { "127.0.0.1:+1", "is no address" },
        { "127.0.0.1:65536", "is no address" },
        { "127.0.0.1:000001", "is no address" },
        { "::1:8000", "is no address" },
        { "[::1:8000", "is no address" },
        { "http://127.0.0.1:8000", "is no address" },
        { ":1 mode=0600", "says nothing here" },
        { ":1 fast", "\"fast\" says nothing here" },
        { ":1, :2, :1", "\":1\" stands twice" },
        { "unix:/a, unix:/a", "stands twice" },
        { "unix:", "begins with /" },
        { "unix:run/x", "begins with /" },
        { "unix:/run/", "names a file" },
        { "unix:@x", "abstract" },
        { "unix:/x mode=", "octal" },
        { "unix:/x mode=0888", "octal" },
        { "unix:/x mode=01777", "octal" },
        { "unix:/x mode=-1", "octal" },
        { "unix:" PATH_LONG, "at most 107 bytes, this one 112" },
        { ":1,:2,:3,:4,:5,:6,:7,:8,:9,:10,:11,:12,:13,:14,:15,:16,:17", "more than 16" },
    };

    (void)state;
    assert_int_equal(strlen(PATH_LONG), 112);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { .kind = ERR_NONE };
        size_t     count = 99;

        if (listen_read(rows[i].list, addresses, &count, &err) == 0)
            fail_msg("\"%s\" was taken", rows[i].list);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_int_equal(count, 99);
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("\"%s\": %s", rows[i].list, err.text);
    }
}

/* -1 with the error's text; else how many are bound. */
static int open_list(const char *list, struct err *err)
{
    size_t count;

    *err = (struct err){ .kind = ERR_NONE };
    if (listen_read(list, addresses, &count, err) < 0)
        fail_msg("%s: %s", list, err->text);
    return listen_open(addresses, count, sockets, err) < 0 ? -1 : (int)count;
}

static int knock(const char *path)
{
    struct sockaddr_un place = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM, 0), rc;

    (void)snprintf(place.sun_path, sizeof place.sun_path, "%s", path);
    rc = connect(fd, (struct sockaddr *)&place, sizeof place);
    (void)close(fd);
    return rc;
}

static void socket_files(void **state)
{
    char                 folder[] = "/tmp/penstock-listen-XXXXXX", path[100], list[200];
    struct listen_socket first;
    struct stat          file;
    struct err           err;
    FILE                *other;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/s", folder);
    (void)snprintf(list, sizeof list, "127.0.0.1:0, unix:%s mode=0640", path);
    assert_int_equal(open_list(list, &err), 2);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0640);
    assert_int_equal(knock(path), 0);
    assert_true(sockets[1].role.local && !sockets[0].role.local);
    assert_int_equal(strncmp(sockets[0].url, "http://127.0.0.1:", 17), 0);
    assert_int_equal(strncmp(sockets[1].url, "unix:/tmp/", 10), 0);

    /* Somebody answers there: it stays his, and he is named. What was bound before it in the list is given back. */
    first = sockets[1];
    (void)snprintf(list, sizeof list, "127.0.0.1:0, unix:%s", path);
    assert_int_equal(open_list(list, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    (void)snprintf(list, sizeof list, "in use by process %d (", (int)getpid());
    assert_non_null(strstr(err.text, list));
    assert_int_equal(sockets[0].role.fd, -1);
    assert_int_equal(knock(path), 0);

    /* A dead server's file is replaced, and the dead one's close does not take the new one's away. */
    (void)close(first.role.fd);
    assert_int_equal(knock(path), -1);
    (void)snprintf(list, sizeof list, "unix:%s", path);
    assert_int_equal(open_list(list, &err), 1);
    first.role.fd = dup(0);
    first.inode += 1;
    listen_close(&first, 1, true);
    assert_int_equal(knock(path), 0);
    listen_close(sockets, 1, true);
    assert_int_equal(access(path, F_OK), -1);

    other = fopen(path, "w");
    assert_non_null(other);
    (void)fclose(other);
    assert_int_equal(open_list(list, &err), -1);
    assert_non_null(strstr(err.text, "no socket"));
    assert_int_equal(access(path, F_OK), 0);
    (void)unlink(path);
    (void)rmdir(folder);
    assert_int_equal(open_list(list, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "its folder does not exist"));
}

static void ports(void **state)
{
    struct listen_socket first;
    struct err           err;
    char                 list[400], says[100];

    (void)state;
    assert_int_equal(open_list("127.0.0.1:0", &err), 1);
    first = sockets[0];
    (void)snprintf(list, sizeof list, "127.0.0.1:0, 127.0.0.1:%s", strrchr(first.url, ':') + 1);
    assert_int_equal(open_list(list, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    (void)snprintf(says, sizeof says, "in use by process %d (listen_test)", (int)getpid());
    if (strstr(err.text, says) == NULL || strstr(err.text, "--listen") == NULL)
        fail_msg("%s", err.text);
    listen_close(&first, 1, true);
    assert_int_equal(open_list("192.0.2.77:0", &err), -1);
    assert_non_null(strstr(err.text, "no network of this machine has that address"));
    assert_int_equal(open_list("no.such.host.invalid:0", &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "is not known here"));
    /* [::] takes IPv4 too, but not from one who asked for it. */
    (void)snprintf(list, sizeof list, "[::]:%s, 0.0.0.0:%s", strrchr(first.url, ':') + 1, strrchr(first.url, ':') + 1);
    assert_int_equal(open_list(list, &err), 2);
    listen_close(sockets, 2, true);
}

/* Which socket is whose: had are sockets by descriptor 10, 11 ...; gets: the descriptor of each entry, "-": a new one. */
static void entries_find_their_sockets(void **state)
{
    static const struct { const char *had, *wanted, *gets; } rows[] = {
        { "a:1, a:2", "a:1, a:2", "10 11 " },
        { "a:1, a:2", "a:2, a:1", "11 10 " },
        { "a:1, a:2", "a:2", "11 " },
        { "a:1", "a:1, a:2", "10 - " },
        { "a:1", "a:1 tls", "10 " },
        { "unix:/s", "unix:/s mode=600 proxy", "10 " },
        { "a:0, a:0", "a:0, a:0", "10 11 " },
        { "a:0, a:0", "a:0", "10 " },
        { "a:0", "a:0, a:0", "10 - " },
        { "a:0, a:0 tls", "a:0, a:0 tls", "10 11 " },
        { "a:0, a:0 tls", "a:0 tls, a:0", "11 10 " },
        { "a:0, a:0 tls", "a:0 tls", "11 " },
        { "a:0 proxy, a:0 tls, a:0", "a:0, a:0 proxy, a:0 tls", "12 10 11 " },
        { "a:0, a:0 tls", "a:0 proxy, a:0 tls", "10 11 " },
        { "a:0, a:0 tls", "a:0 proxy tls, a:0", "11 10 " },
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char   gets[200] = "";
        size_t count;
        int    its[LISTEN_MAX];

        assert_int_equal(listen_read(rows[i].had, addresses, &count, &err), 0);
        for (size_t k = 0; k < count; k++) {
            sockets[k] = (struct listen_socket){ .role = { .fd = 10 + (int)k, .tls = addresses[k].tls, .proxy = addresses[k].proxy } };
            memcpy(sockets[k].role.name, addresses[k].text, sizeof addresses[k].text);
        }
        its[0] = (int)count;
        assert_int_equal(listen_read(rows[i].wanted, addresses, &count, &err), 0);
        listen_match(sockets, (size_t)its[0], addresses, count, its);
        for (size_t k = 0; k < count; k++)
            (void)snprintf(gets + strlen(gets), sizeof gets - strlen(gets), its[k] < 0 ? "- " : "%d ",
                           its[k] < 0 ? 0 : sockets[its[k]].role.fd);
        if (strcmp(gets, rows[i].gets) != 0)
            fail_msg("%s -> %s: %s, not %s", rows[i].had, rows[i].wanted, gets, rows[i].gets);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(lists_that_are_right), cmocka_unit_test(lists_that_are_wrong),
                                        cmocka_unit_test(socket_files), cmocka_unit_test(ports),
                                        cmocka_unit_test(entries_find_their_sockets) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
