/* capture/client_ip.c - proxies append, so the leftmost entry is the client as the first proxy saw it. A
 * client can write it too; where that matters, capture.trust_forwarded is switched off. */
#include "capture/client_ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

enum { CLIENT_IP_HOPS_MAX = 64 }; /* more entries than any chain of proxies has: stop looking */

static struct span client_ip_trim(struct span text)
{
    while (text.bytes > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = span_from(text, 1);
    while (text.bytes > 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
        text.bytes--;
    return text;
}

static bool client_ip_valid(struct span text)
{
    char           copy[CLIENT_IP_BYTES_MAX + 1];
    struct in_addr four;
    struct in6_addr six;

    if (text.bytes == 0 || text.bytes > CLIENT_IP_BYTES_MAX || memchr(text.at, 0, text.bytes) != NULL)
        return false;
    memcpy(copy, text.at, text.bytes);
    copy[text.bytes] = 0;
    return inet_pton(AF_INET, copy, &four) == 1 || inet_pton(AF_INET6, copy, &six) == 1;
}

/* `a.b.c.d`, `a.b.c.d:port`, `h:h::h`, `[h:h::h]`, `[h:h::h]:port`. bytes 0: none of these. */
static struct span client_ip_entry(struct span text)
{
    const uint8_t *mark;

    text = client_ip_trim(text);
    if (text.bytes > 0 && text.at[0] == '[') {
        mark = memchr(text.at, ']', text.bytes);
        if (mark == NULL)
            return span_of(text.at, 0);
        text = span_of(text.at + 1, (size_t)(mark - text.at) - 1);
    } else {
        mark = memchr(text.at, ':', text.bytes);
        if (mark != NULL && memchr(mark + 1, ':', (size_t)(text.at + text.bytes - mark) - 1) == NULL)
            text.bytes = (size_t)(mark - text.at);
    }
    return client_ip_valid(text) ? text : span_of(text.at, 0);
}

struct span client_ip_choose(struct span forwarded_for, struct span real_ip, struct span peer)
{
    struct span rest = forwarded_for;

    for (int hop = 0; hop < CLIENT_IP_HOPS_MAX && rest.bytes > 0; hop++) {
        const uint8_t *comma = memchr(rest.at, ',', rest.bytes);
        size_t         bytes = comma == NULL ? rest.bytes : (size_t)(comma - rest.at);
        struct span    entry = client_ip_entry(span_of(rest.at, bytes));

        if (entry.bytes > 0)
            return entry;
        rest = span_from(rest, bytes + 1);
    }
    if (real_ip.bytes > 0) {
        struct span entry = client_ip_entry(real_ip);

        if (entry.bytes > 0)
            return entry;
    }
    return peer;
}

size_t client_ip_format(const struct sockaddr_storage *peer, char out[CLIENT_IP_BYTES_MAX + 1])
{
    const struct sockaddr_in  *four = (const struct sockaddr_in *)(const void *)peer;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)peer;
    const void                *address = &four->sin_addr;
    int                        family = peer->ss_family;

    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        family = AF_INET;
        address = &six->sin6_addr.s6_addr[12];
    } else if (family == AF_INET6) {
        address = &six->sin6_addr;
    } else if (family != AF_INET) {
        return 0;
    }
    return inet_ntop(family, address, out, CLIENT_IP_BYTES_MAX + 1) == NULL ? 0 : strlen(out);
}
