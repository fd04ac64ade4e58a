/* command/listen_owner.c - who has the address that we want. The kernel lists listening sockets by inode
 * (/proc/net/tcp, tcp6), and every process's files name theirs; those of other users cannot be seen, but whose they
 * are can. For a person who reads an error: whatever cannot be found out is left out. */
#include "command/listen.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TCP_LISTEN_STATE = 0x0a };

static void process_name(long pid, char *to, size_t room)
{
    char  path[64], name[32] = "";
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(name, sizeof name, file) == NULL)
            name[0] = '\0';
        (void)fclose(file);
    }
    name[strcspn(name, "\n")] = '\0';
    for (char *at = name; *at != '\0'; at++)
        if (!isprint((unsigned char)*at))
            *at = '?';
    (void)snprintf(to, room, "process %ld (%s)", pid, name[0] != '\0' ? name : "gone");
}

static bool process_holds(const char *pid, uint64_t inode)
{
    char           folder[64], wanted[64], path[400], link[64];
    DIR           *files;
    struct dirent *entry;
    bool           found = false;

    (void)snprintf(folder, sizeof folder, "/proc/%.20s/fd", pid);
    (void)snprintf(wanted, sizeof wanted, "socket:[%" PRIu64 "]", inode);
    files = opendir(folder);
    while (!found && files != NULL && (entry = readdir(files)) != NULL) {
        ssize_t bytes;

        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        bytes = readlink(path, link, sizeof link - 1);
        link[bytes > 0 ? bytes : 0] = '\0';
        found = strcmp(link, wanted) == 0;
    }
    if (files != NULL)
        (void)closedir(files);
    return found;
}

/* 0: none that we may see. */
static long process_of_inode(uint64_t inode)
{
    DIR           *processes = opendir("/proc");
    struct dirent *entry;
    long           pid = 0;

    while (pid == 0 && processes != NULL && (entry = readdir(processes)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]) && process_holds(entry->d_name, inode))
            pid = strtol(entry->d_name, NULL, 10);
    if (processes != NULL)
        (void)closedir(processes);
    return pid;
}

/* An address as the kernel prints it there: words of the machine's own order. */
static void address_hex(const void *address, size_t words, char *to)
{
    uint32_t word[4];

    memcpy(word, address, words * sizeof *word);
    for (size_t i = 0; i < words; i++)
        (void)snprintf(to + i * 8, 9, "%08" PRIX32, word[i]);
}

static bool address_zero(const char *hex)
{
    return hex[strspn(hex, "0")] == '\0';
}

/* The inode and user of the socket that listens on this port, there or everywhere. False: none in this table. */
static bool table_find(const char *table, const char *wanted, unsigned wanted_port, uint64_t *inode_out, unsigned *uid_out)
{
    FILE *file = fopen(table, "re");
    char  line[512];
    bool  found = false;

    while (!found && file != NULL && fgets(line, sizeof line, file) != NULL) {
        char     local[33];
        unsigned port, state;

        if (sscanf(line, " %*[^:]: %32[0-9A-F]:%4x %*s %2x %*s %*s %*s %u %*s %" SCNu64, local, &port, &state, uid_out,
                   inode_out) == 5)
            found = state == TCP_LISTEN_STATE && port == wanted_port &&
                    (address_zero(local) || address_zero(wanted) || strcmp(local, wanted) == 0);
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

static void owner_of_tcp(const char *hex4, const char *hex6, unsigned port, char *to, size_t room)
{
    uint64_t inode;
    unsigned uid;
    long     pid;

    if (!table_find("/proc/net/tcp", hex4, port, &inode, &uid) && !table_find("/proc/net/tcp6", hex6, port, &inode, &uid))
        return;
    pid = process_of_inode(inode);
    if (pid != 0)
        process_name(pid, to, room);
    else
        (void)snprintf(to, room, "a process of user %u", uid);
}

static void owner_of_unix(const struct sockaddr *address, char *to, size_t room)
{
    struct ucred who;
    socklen_t    bytes = sizeof who;
    int          fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, address, sizeof(struct sockaddr_un)) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && who.pid > 0)
        process_name(who.pid, to, room);
    if (fd >= 0)
        (void)close(fd);
}

void listen_owner(const struct sockaddr *address, char *to, size_t room)
{
    const struct sockaddr_in  *four = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
    char                       hex4[33] = "", hex6[33] = "";

    (void)snprintf(to, room, "another program");
    if (address->sa_family == AF_UNIX) {
        owner_of_unix(address, to, room);
    } else if (address->sa_family == AF_INET) {
        struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

        memcpy(&mapped.s6_addr[12], &four->sin_addr, 4);
        address_hex(&four->sin_addr, 1, hex4);
        address_hex(&mapped, 4, hex6);
        owner_of_tcp(hex4, hex6, ntohs(four->sin_port), to, room);
    } else if (address->sa_family == AF_INET6) {
        memset(hex4, '0', 8);
        address_hex(&six->sin6_addr, 4, hex6);
        owner_of_tcp(IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr) ? hex4 : "none", hex6, ntohs(six->sin6_port), to, room);
    }
}
