/* capture/client_ip.c - proxies append: what stands at the end of the list was written by the one who talks to us, and what
 * stands at its begin by anybody. So a list is believed from its end, as far as those are known who wrote it. */
#include "capture/client_ip.h"

#include "wire/forwarded.h"

static const char client_ip_private[] = "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10";
static const char *const client_ip_headers[] = { [CLIENT_IP_FORWARDED_FOR] = "x-forwarded-for",
                                                 [CLIENT_IP_FORWARDED] = "forwarded",
                                                 [CLIENT_IP_REAL_IP] = "x-real-ip" };

/* --- settings ----------------------------------------------------------------------------------- */

static int header_read(const char *name, enum client_ip_header *out, struct err *err)
{
    for (size_t i = 0; i < sizeof client_ip_headers / sizeof *client_ip_headers; i++)
        if (http_token_equal(span_text(name), client_ip_headers[i])) {
            *out = (enum client_ip_header)i;
            return 0;
        }
    return err_set(err, ERR_INPUT, "\"%.60s\" is none of X-Forwarded-For, Forwarded and X-Real-IP", name);
}

int client_ip_check_header(const char *name, struct err *err)
{
    enum client_ip_header header;

    return header_read(name, &header, err);
}

int client_ip_rules_read(const char *proxies, const char *header, bool any, struct client_ip_rules *out, struct err *err)
{
    *out = (struct client_ip_rules){ .any = any };
    if (header_read(header, &out->header, err) < 0 ||
        ip_prefixes_read(proxies, out->proxies, CLIENT_IP_PREFIXES_MAX, &out->proxies_count, err) < 0)
        return -1;
    out->set = out->proxies_count > 0;
    return out->set ? 0 : ip_prefixes_read(client_ip_private, out->proxies, CLIENT_IP_PREFIXES_MAX, &out->proxies_count, err);
}

int client_ip_check_proxies(const char *list, struct err *err)
{
    struct client_ip_rules rules;

    return client_ip_rules_read(list, client_ip_headers[0], false, &rules, err);
}

bool client_ip_may_proxy(const struct client_ip_rules *rules, const struct ip *peer)
{
    return peer == NULL || ip_prefixes_hold(rules->proxies, rules->proxies_count, peer);
}

enum client_ip_trust client_ip_trust(const struct client_ip_rules *rules, const struct ip *peer, bool proxied)
{
    if (!rules->set)
        return rules->any && !proxied ? CLIENT_IP_ANY : CLIENT_IP_PEER;
    if (peer == NULL) /* a unix socket of ours, or a client of a proxy's who has no address */
        return proxied ? CLIENT_IP_PEER : CLIENT_IP_WALK;
    return ip_prefixes_hold(rules->proxies, rules->proxies_count, peer) ? CLIENT_IP_WALK : CLIENT_IP_PEER;
}

/* --- the walk ----------------------------------------------------------------------------------- */

struct walk {
    const struct client_ip_rules *rules;
    struct ip                     ip;    /* of the last hop that could be read */
    bool                          found; /* there was one */
    bool                          over;
    int                           hops;
};

static struct span client_ip_trim(struct span text)
{
    while (text.bytes > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = span_from(text, 1);
    while (text.bytes > 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
        text.bytes--;
    return text;
}

static void walk_hop(struct walk *walk, struct span address)
{
    struct ip ip;

    walk->over = true;
    if (!ip_read(address, &ip))
        return;
    if (++walk->hops > CLIENT_IP_HOPS_MAX) {
        walk->found = false;
        return;
    }
    walk->ip = ip;
    walk->found = true;
    walk->over = !ip_prefixes_hold(walk->rules->proxies, walk->rules->proxies_count, &ip);
}

/* The entries between commas, from the last one. */
static void walk_list(struct walk *walk, struct span line)
{
    size_t end = line.bytes, at = line.bytes;

    if (end == 0)
        walk->over = true; /* a proxy that said nothing: what stands before it was not said by it */
    while (!walk->over && end > 0) {
        while (at > 0 && line.at[at - 1] != ',')
            at--;
        walk_hop(walk, forwarded_address(client_ip_trim(span_of(line.at + at, end - at))));
        if (at == 0)
            return;
        end = --at;
        if (end == 0) /* a comma at the begin of the line */
            walk->over = true;
    }
}

static void walk_forwarded(struct walk *walk, struct span line)
{
    struct span nodes[CLIENT_IP_HOPS_MAX + 1], node; /* the last ones, by turns */
    size_t      count = 0;
    int         rc;

    while ((rc = forwarded_next(&line, &node)) == 1)
        nodes[count++ % (CLIENT_IP_HOPS_MAX + 1)] = node;
    if (rc < 0)
        walk->over = true;
    for (size_t i = 0; i < count && !walk->over; i++) /* after so many the walk is over */
        walk_hop(walk, nodes[(count - 1 - i) % (CLIENT_IP_HOPS_MAX + 1)]);
}

bool client_ip_walk(const struct client_ip_rules *rules, const struct http_request *request, struct ip *out)
{
    struct walk walk = { .rules = rules };

    for (size_t i = request->header_count; i-- > 0 && !walk.over;) {
        struct span line = client_ip_trim(request->headers[i].value);

        if (!http_token_equal(request->headers[i].name, client_ip_headers[rules->header]))
            continue;
        if (rules->header == CLIENT_IP_FORWARDED) {
            walk_forwarded(&walk, line);
        } else if (rules->header == CLIENT_IP_REAL_IP) {
            walk.found = ip_read(forwarded_address(line), &walk.ip);
            walk.over = true; /* the last line is the nearest proxy's */
        } else {
            walk_list(&walk, line);
        }
    }
    if (walk.found)
        *out = walk.ip;
    return walk.found;
}

/* --- what anybody says -------------------------------------------------------------------------- */

static struct span client_ip_entry(struct span text)
{
    struct ip ip;

    text = forwarded_address(client_ip_trim(text));
    return ip_read(text, &ip) ? text : span_of(text.at, 0);
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
