/* capture/settings.h - what can be set for the role capture; the table in settings.c is the manual. */
#ifndef PENSTOCK_CAPTURE_SETTINGS_H
#define PENSTOCK_CAPTURE_SETTINGS_H

#include <stdbool.h>

#include "base/role.h"

struct capture_settings {
    int64_t threads;
    int64_t connections_max;
    int64_t body_bytes_max;
    int64_t inflated_bytes_max;
    int64_t v1_body_bytes_max;
    int64_t v1_inflated_bytes_max;
    int64_t replay_body_bytes_max;
    int64_t replay_inflated_bytes_max;
    int64_t replay_retention_us;
    int64_t replay_retention_bytes;
    int64_t replay_reserve_bytes;
    int64_t event_bytes_max;
    int64_t llm_event_bytes_max;
    int64_t historical_after_us;
    int64_t batch_events_max;
    int64_t request_memory_max;
    int64_t memory_max;
    int64_t hello_timeout_us;
    int64_t header_timeout_us;
    int64_t body_stall_us;
    int64_t idle_timeout_us;
    int64_t reply_timeout_us;
    int64_t commit_wait_us;
    int64_t drain_us;
    int64_t queue_wait_us;
    int64_t address_connections_max;
    int64_t address_connects_per_second;
    int64_t address_requests_per_second;
    int64_t address_bytes_per_second;
    const char *address_exempt;
    const char *trusted_proxies;
    const char *forwarded_header;
    bool    trust_forwarded;
    bool    compress;
    int64_t segment_bytes;
    int64_t retention_us;
    int64_t retention_bytes;
    int64_t disk_reserve_bytes;
    const char *user;
    bool        cage;
};

extern const struct option capture_options[];

#endif
