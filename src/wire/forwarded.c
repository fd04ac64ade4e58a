/* wire/forwarded.c - RFC 7239 section 4. Commas and semicolons may stand in quotes, so the header is read from its begin,
 * although the last hop is the one that is believed first. */
#include "wire/forwarded.h"

static bool is_token(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void blanks_skip(struct span *at)
{
    while (at->bytes > 0 && (at->at[0] == ' ' || at->at[0] == '\t'))
        *at = span_from(*at, 1);
}

static struct span token_take(struct span *at)
{
    struct span token = span_of(at->at, 0);

    while (token.bytes < at->bytes && is_token(at->at[token.bytes]))
        token.bytes++;
    *at = span_from(*at, token.bytes);
    return token;
}

/* Without its quotes. A backslash makes it something else than an address. False: it has no end. */
static bool quoted_take(struct span *at, struct span *out, bool *plain_out)
{
    size_t i = 1;

    *plain_out = true;
    for (; i < at->bytes && at->at[i] != '"'; i++)
        if (at->at[i] == '\\') {
            *plain_out = false;
            i++;
        }
    if (i >= at->bytes)
        return false;
    *out = span_of(at->at + 1, i - 1);
    *at = span_from(*at, i + 1);
    return true;
}

static bool is_for(struct span name)
{
    return name.bytes == 3 && (name.at[0] | 32) == 'f' && (name.at[1] | 32) == 'o' && (name.at[2] | 32) == 'r';
}

static bool pair_take(struct span *at, struct span *node_out, bool *seen)
{
    struct span name = token_take(at), value;
    bool        plain = true;

    if (name.bytes == 0 || at->bytes < 2 || at->at[0] != '=')
        return false;
    *at = span_from(*at, 1);
    if (at->at[0] == '"') {
        if (!quoted_take(at, &value, &plain))
            return false;
    } else {
        value = token_take(at);
        while (at->bytes > 0 && at->at[0] == ':') { /* not by the letter of the RFC, but what proxies write: for=1.2.3.4:80 */
            size_t before = value.bytes + 1;

            *at = span_from(*at, 1);
            value = span_of(value.at, before + token_take(at).bytes);
        }
        if (value.bytes == 0)
            return false;
    }
    if (!is_for(name))
        return true;
    if (*seen)
        return false; /* each name at most once in an element */
    *seen = true;
    *node_out = plain ? forwarded_address(value) : span_of(value.at, 0);
    return true;
}

int forwarded_next(struct span *at, struct span *node_out)
{
    bool seen = false;

    *node_out = span_of(at->at, 0);
    blanks_skip(at);
    while (at->bytes > 0 && at->at[0] == ',') { /* empty elements: RFC 9110 section 5.6.1 */
        *at = span_from(*at, 1);
        blanks_skip(at);
    }
    if (at->bytes == 0)
        return 0;
    for (;;) {
        if (at->at[0] != ';' && at->at[0] != ',' && !pair_take(at, node_out, &seen))
            return -1;
        blanks_skip(at);
        if (at->bytes == 0)
            return 1;
        if (at->at[0] == ',') {
            *at = span_from(*at, 1);
            return 1;
        }
        if (at->at[0] != ';')
            return -1;
        *at = span_from(*at, 1);
        blanks_skip(at);
        if (at->bytes == 0)
            return 1;
    }
}

struct span forwarded_address(struct span node)
{
    const uint8_t *mark;

    if (node.bytes > 0 && node.at[0] == '[') {
        mark = memchr(node.at, ']', node.bytes);
        if (mark == NULL || (mark + 1 < node.at + node.bytes && mark[1] != ':'))
            return span_of(node.at, 0);
        return span_of(node.at + 1, (size_t)(mark - node.at) - 1);
    }
    mark = node.bytes > 0 ? memchr(node.at, ':', node.bytes) : NULL;
    if (mark != NULL && memchr(mark + 1, ':', (size_t)(node.at + node.bytes - mark) - 1) == NULL)
        node.bytes = (size_t)(mark - node.at);
    return node;
}
