/* ingest/root_domain.c - see root_domain.h. */
#include "ingest/root_domain.h"

#include <arpa/inet.h>
#include <libpsl.h>
#include <stdio.h>
#include <stdlib.h>

enum { HOST_BYTES_MAX = 253, PORT_DIGITS_MAX = 5 };

struct parts {
    char host[HOST_BYTES_MAX + 1];
    char port[PORT_DIGITS_MAX + 2]; /* with its colon */
};

/* "[v6]" with the address in its usual form; false: not an address of version 6. */
static bool as_v6(struct span text, char *out, size_t room)
{
    char            plain[INET6_ADDRSTRLEN + 1];
    struct in6_addr address;

    if (text.bytes >= sizeof plain || memchr(text.at, 0, text.bytes) != NULL)
        return false;
    memcpy(plain, text.at, text.bytes);
    plain[text.bytes] = '\0';
    if (inet_pton(AF_INET6, plain, &address) != 1 || inet_ntop(AF_INET6, &address, plain, sizeof plain) == NULL)
        return false;
    (void)snprintf(out, room, "[%s]", plain);
    return true;
}

static struct span until(struct span text, const char *stops)
{
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] != '\0' && strchr(stops, text.at[i]) != NULL)
            return span_of(text.at, i);
    return text;
}

static bool port_read(struct span text, bool https, struct parts *out)
{
    unsigned port = 0;

    out->port[0] = '\0';
    if (text.bytes == 0)
        return true;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        port = port * 10 + (text.at[i] - '0');
        if (port > 65535)
            return false;
    }
    if (port != (https ? 443u : 80u))
        (void)snprintf(out->port, sizeof out->port, ":%u", port);
    return true;
}

/* scheme://user@host:port/path?query; false: not that. */
static bool parts_read(struct span text, struct parts *out)
{
    const uint8_t *scheme = memmem(text.at, text.bytes, "://", 3), *user, *close;
    bool           https = scheme != NULL && span_is(span_of(text.at, (size_t)(scheme - text.at)), "https");
    struct span    host;

    if (scheme != NULL)
        text = span_from(text, (size_t)(scheme - text.at) + 3);
    text = until(text, "/?#\\");
    user = memrchr(text.at, '@', text.bytes);
    if (user != NULL)
        text = span_from(text, (size_t)(user - text.at) + 1);
    if (text.bytes > 0 && text.at[0] == '[') {
        close = memchr(text.at, ']', text.bytes);
        if (close == NULL || !as_v6(span_of(text.at + 1, (size_t)(close - text.at) - 1), out->host, sizeof out->host))
            return false;
        text = span_from(text, (size_t)(close - text.at) + 1);
        return (text.bytes == 0 || text.at[0] == ':') && port_read(span_from(text, 1), https, out);
    }
    host = until(text, ":");
    if (host.bytes == 0 || host.bytes > HOST_BYTES_MAX || memchr(host.at, 0, host.bytes) != NULL)
        return false;
    for (size_t i = 0; i < host.bytes; i++) {
        uint8_t c = host.at[i];

        if (c <= ' ' || c == 0x7f || strchr("<>^|%\"`{}", c) != NULL)
            return false;
        out->host[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out->host[host.bytes] = '\0';
    return port_read(span_from(text, host.bytes + 1), https, out);
}

static bool is_v4(const char *host)
{
    struct in_addr address;

    return inet_pton(AF_INET, host, &address) == 1;
}

/* What was registered: one label more than the longest suffix of a registry. The host when it is itself one. */
static const char *registered(const char *host)
{
    const psl_ctx_t *list = psl_builtin();
    const char      *before = host;

    if (list == NULL)
        return host;
    for (const char *at = host;;) {
        const char *dot = strchr(at, '.');

        if (psl_is_public_suffix2(list, at, PSL_TYPE_ICANN))
            return before;
        if (dot == NULL || dot[1] == '\0')
            return host;
        before = at;
        at = dot + 1;
    }
}

struct span root_domain(struct span host, struct arena *arena)
{
    struct parts parts = { .port = "" };
    char         text[HOST_BYTES_MAX + sizeof parts.port];
    const char  *domain;
    int          bytes;

    if (as_v6(host, text, sizeof text))
        return arena_copy(arena, span_text(text));
    if (!parts_read(host, &parts))
        return arena_copy(arena, host);
    domain = parts.host[0] == '[' || is_v4(parts.host) ? parts.host : registered(parts.host);
    bytes = snprintf(text, sizeof text, "%s%s", strcmp(domain, "localhost") == 0 ? "127.0.0.1" : domain, parts.port);
    return arena_copy(arena, span_of(text, (size_t)bytes));
}
