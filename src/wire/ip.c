/* wire/ip.c - the text forms are inet_pton's and inet_ntop's: they refuse what other readers of addresses guess at (octal
 * numbers, missing parts), over which a filter and its user could disagree. */
#include "wire/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t ip_mapped[12] = { [10] = 0xff, [11] = 0xff };

bool ip_read(struct span text, struct ip *out)
{
    char           copy[IP_TEXT_BYTES_MAX + 1];
    struct in_addr four;

    if (text.bytes == 0 || text.bytes > IP_TEXT_BYTES_MAX || memchr(text.at, 0, text.bytes) != NULL)
        return false;
    memcpy(copy, text.at, text.bytes);
    copy[text.bytes] = 0;
    if (inet_pton(AF_INET, copy, &four) != 1)
        return inet_pton(AF_INET6, copy, out->at) == 1;
    memcpy(out->at, ip_mapped, sizeof ip_mapped);
    memcpy(out->at + 12, &four, 4);
    return true;
}

bool ip_is_four(const struct ip *ip)
{
    return memcmp(ip->at, ip_mapped, sizeof ip_mapped) == 0;
}

size_t ip_write(const struct ip *ip, char out[IP_TEXT_BYTES_MAX + 1])
{
    bool four = ip_is_four(ip);

    if (inet_ntop(four ? AF_INET : AF_INET6, four ? ip->at + 12 : ip->at, out, IP_TEXT_BYTES_MAX + 1) == NULL)
        out[0] = 0;
    return strlen(out);
}

bool ip_of_peer(const struct sockaddr_storage *peer, struct ip *out)
{
    if (peer->ss_family == AF_INET6) {
        memcpy(out->at, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
        return true;
    }
    if (peer->ss_family != AF_INET)
        return false;
    memcpy(out->at, ip_mapped, sizeof ip_mapped);
    memcpy(out->at + 12, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    return true;
}

static bool prefix_read(const char *word, size_t bytes, struct ip_prefix *out)
{
    const char   *slash = memchr(word, '/', bytes);
    struct span   address = span_of(word, slash != NULL ? (size_t)(slash - word) : bytes);
    bool          four = memchr(address.at, ':', address.bytes) == NULL;
    unsigned long bits;
    char         *end;

    if (!ip_read(address, &out->ip))
        return false;
    out->bits = 128;
    if (slash == NULL)
        return true;
    if (slash + 1 == word + bytes || slash[1] < '0' || slash[1] > '9')
        return false;
    bits = strtoul(slash + 1, &end, 10);
    if (end != word + bytes || bits > (four ? 32u : 128u))
        return false;
    out->bits = (unsigned)bits + (four ? 96 : 0);
    return true;
}

int ip_prefixes_read(const char *list, struct ip_prefix *out, size_t max, size_t *count_out, struct err *err)
{
    size_t count = 0;

    for (const char *at = list;;) {
        struct ip_prefix prefix;
        size_t           bytes;

        at += strspn(at, ", \t\n");
        bytes = strcspn(at, ", \t\n");
        if (bytes == 0)
            break;
        if (!prefix_read(at, bytes, &prefix))
            return err_set(err, ERR_INPUT, "\"%.*s\" is no address and no prefix like 10.0.0.0/8 or fc00::/7",
                           (int)(bytes < 80 ? bytes : 80), at);
        if (count == max)
            return err_set(err, ERR_INPUT, "more than %zu addresses", max);
        out[count++] = prefix;
        at += bytes;
    }
    *count_out = count;
    return 0;
}

bool ip_prefixes_hold(const struct ip_prefix *prefixes, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *wanted = prefixes[i].ip.at;
        unsigned       whole = prefixes[i].bits / 8, rest = prefixes[i].bits % 8;

        if (memcmp(wanted, ip->at, whole) == 0 && (rest == 0 || ((wanted[whole] ^ ip->at[whole]) >> (8 - rest)) == 0))
            return true;
    }
    return false;
}
