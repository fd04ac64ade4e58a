/* fuzz/proxy.c - PROXY headers: the answer for all bytes is the answer for fewer of them, or MORE; what is DONE keeps its
 * bounds and can be written and read again. And lines of Forwarded and X-Forwarded-For, by the same bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "capture/client_ip.h"
#include "fuzz.h"
#include "wire/forwarded.h"
#include "wire/proxy.h"

static void headers(const uint8_t *data, size_t bytes)
{
    struct proxy_header whole, part;
    const char         *problem;
    enum proxy_answer   answer = proxy_parse(span_of(data, bytes), &whole, &problem);

    for (size_t i = 0; i < bytes && i < 300; i++) {
        enum proxy_answer early = proxy_parse(span_of(data, i), &part, &problem);

        MUST(early == PROXY_MORE || early == answer);
        MUST(early != PROXY_DONE || (part.bytes == whole.bytes && part.kind == whole.kind && part.bytes <= i));
    }
    if (answer == PROXY_DONE) {
        char source[IP_TEXT_BYTES_MAX + 1], destination[IP_TEXT_BYTES_MAX + 1], line[200];
        bool four = ip_is_four(&whole.source) && ip_is_four(&whole.destination);

        MUST(whole.bytes <= bytes && whole.bytes <= PROXY_BYTES_MAX && (whole.version == 2 || whole.bytes <= PROXY_LINE_BYTES_MAX));
        if (whole.kind != PROXY_INET || (!four && (ip_is_four(&whole.source) || ip_is_four(&whole.destination))))
            return;
        (void)ip_write(&whole.source, source);
        (void)ip_write(&whole.destination, destination);
        (void)snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n", four ? '4' : '6', source, destination,
                       whole.source_port, whole.destination_port);
        MUST(proxy_parse(span_text(line), &part, &problem) == PROXY_DONE);
        MUST(memcmp(&part.source, &whole.source, sizeof part.source) == 0 && part.source_port == whole.source_port);
    }
    MUST(answer != PROXY_MORE || bytes < PROXY_BYTES_MAX);
}

static void hops(const uint8_t *data, size_t bytes)
{
    static struct http_request   request;
    static const char *const     names[] = { "x-forwarded-for", "forwarded", "x-real-ip" };
    struct client_ip_rules       rules;
    struct err                   err;
    struct span                  rest = span_of(data, bytes), node;
    size_t                       half = bytes / 2;

    while (forwarded_next(&rest, &node) == 1)
        MUST(node.at >= data && node.at + node.bytes <= data + bytes);
    for (size_t i = 0; i < 3; i++) {
        struct ip ip;

        request.header_count = 2;
        request.headers[0] = request.headers[1] = (struct http_header){ .name = span_text(names[i]) };
        request.headers[0].value = span_of(data, half);
        request.headers[1].value = span_of(data + half, bytes - half);
        MUST(client_ip_rules_read("10.0.0.0/8,::1", names[i], false, &rules, &err) == 0);
        (void)client_ip_walk(&rules, &request, &ip);
    }
    MUST(client_ip_choose(span_of(data, half), span_of(data + half, bytes - half), SPAN("peer")).bytes > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    headers(data, bytes);
    hops(data, bytes);
    return 0;
}
