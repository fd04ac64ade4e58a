/* capture/settings.c - the table of options. Where a default comes from another system's limit it is the
 * same number, so that a client which works there works here. */
#include "capture/settings.h"

#include "capture/addresses.h"

#define AT(field) offsetof(struct capture_settings, field)
#define MIB       ((int64_t)1 << 20)
#define SECOND    ((int64_t)1000000)
#define DAY       (86400 * SECOND)

const struct option capture_options[] = {
    { "threads", OPTION_COUNT, "1", 1, 64, "event loops, each with a thread of its own", AT(threads) },
    { "connections_max", OPTION_COUNT, "20000", 1, 1000000,
      "open connections; one more is answered 503 and closed", AT(connections_max) },
    { "body_bytes_max", OPTION_BYTES, "20MiB", 1024, 32 * MIB, "largest request body as sent", AT(body_bytes_max) },
    { "inflated_bytes_max", OPTION_BYTES, "100MiB", 1024, 1024 * MIB, "largest request body after decompression",
      AT(inflated_bytes_max) },
    { "v1_body_bytes_max", OPTION_BYTES, "10MiB", 1024, 32 * MIB,
      "largest request body as sent to /i/v1/analytics/events; body_bytes_max holds too", AT(v1_body_bytes_max) },
    { "v1_inflated_bytes_max", OPTION_BYTES, "50MiB", 1024, 1024 * MIB,
      "size from which such a body is too large after decompression", AT(v1_inflated_bytes_max) },
    { "event_bytes_max", OPTION_BYTES, "1000000", 1024, 16 * MIB, "largest single event", AT(event_bytes_max) },
    { "batch_events_max", OPTION_COUNT, "100000", 1, 1000000, "events in one request", AT(batch_events_max) },
    { "request_memory_max", OPTION_BYTES, "64MiB", 1 * MIB, 1024 * MIB,
      "working memory of one request beside its body", AT(request_memory_max) },
    { "memory_max", OPTION_BYTES, "512MiB", 32 * MIB, 1024 * 1024 * MIB,
      "bodies and records held at one time; above it requests are answered 503", AT(memory_max) },
    { "header_timeout", OPTION_DURATION, "10s", 1000, 600 * SECOND, "from a request's first byte to its last header",
      AT(header_timeout_us) },
    { "body_stall", OPTION_DURATION, "20s", 1000, 600 * SECOND,
      "a body that brings less than 1 KiB a second over this time is answered 408", AT(body_stall_us) },
    { "idle_timeout", OPTION_DURATION, "75s", 1000, 3600 * SECOND, "a kept connection without a request is closed",
      AT(idle_timeout_us) },
    { "reply_timeout", OPTION_DURATION, "20s", 1000, 600 * SECOND, "a reply that nobody reads ends the connection",
      AT(reply_timeout_us) },
    { "commit_wait", OPTION_DURATION, "5s", 1000, 600 * SECOND,
      "events that are not on disk after this time are answered 503 (the disk is stalled)", AT(commit_wait_us) },
    { "queue_wait", OPTION_DURATION, "40ms", 0, 60 * SECOND,
      "when requests wait longer than this for their turn, and go on doing so, new ones are answered 503: docs/overload.md; "
      "0: never", AT(queue_wait_us) },
    { "address_connections_max", OPTION_COUNT, "1000", 0, 1000000,
      "open connections of one address (of one /64 of IPv6); one more is answered 503 and closed; 0: any number",
      AT(address_connections_max) },
    { "address_connects_per_second", OPTION_COUNT, "500", 0, 1000000,
      "new connections of one address a second, five seconds' worth at once; more are answered 503 and closed; 0: any number",
      AT(address_connects_per_second) },
    { "address_requests_per_second", OPTION_COUNT, "0", 0, 1000000000,
      "requests with events from one address a second, five seconds' worth at once; more are answered 503; 0: any number",
      AT(address_requests_per_second) },
    { "address_bytes_per_second", OPTION_BYTES, "0", 0, INT64_MAX,
      "bytes of their bodies a second, likewise", AT(address_bytes_per_second) },
    { "address_exempt", OPTION_LIST, "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10", 0, 0,
      "addresses and prefixes to which the four limits above do not apply: add those of your proxies", AT(address_exempt),
      addresses_check_exempt },
    { "drain", OPTION_DURATION, "30s", 0, 600 * SECOND, "at a stop: how long requests in flight may take",
      AT(drain_us) },
    { "trust_forwarded", OPTION_BOOL, "true", 0, 0, "take the client's address from X-Forwarded-For, X-Real-IP",
      AT(trust_forwarded) },
    { "compress", OPTION_BOOL, "false", 0, 0,
      "store raw events LZ4-compressed: about a quarter of the disk for about 1 us more CPU an event", AT(compress) },
    { "segment_bytes", OPTION_BYTES, "64MiB", 1 * MIB, 4096 * MIB, "size of one file of the topics that capture writes",
      AT(segment_bytes) },
    { "retention", OPTION_DURATION, "7d", 0, 3650 * DAY, "raw events that were ingested are kept this long; 0: for ever",
      AT(retention_us) },
    { "retention_bytes", OPTION_BYTES, "0", 0, INT64_MAX, "and up to this size; 0: no limit", AT(retention_bytes) },
    { "disk_reserve_bytes", OPTION_BYTES, "64MiB", 0, INT64_MAX,
      "disk space that capture leaves free for those who must go on: 503 storage_full before it is touched",
      AT(disk_reserve_bytes) },
    { 0 },
};
