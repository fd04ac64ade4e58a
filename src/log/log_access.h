/* log/log_access.h - from settings to a log that can be opened: the folder, or Kafka with its client's properties.
 *
 * The storage is the caller's and must live as long as the log, which borrows from it. */
#ifndef PENSTOCK_LOG_LOG_ACCESS_H
#define PENSTOCK_LOG_LOG_ACCESS_H

#include "base/stores.h"
#include "log/log.h"
#include "log/upstream_hooks.h"

enum { LOG_ACCESS_PROPERTIES_MAX = 16 };

struct log_access {
    struct log_options       options; /* for log_open */
    struct log_kafka_options kafka;
    struct upstream_hooks    upstream; /* counts when no other hooks are given */
    const char              *properties[2 * LOG_ACCESS_PROPERTIES_MAX + 1];
    char                     folder[4096], spool_folder[4096], linger[24], password[SECRET_BYTES_MAX + 1];
};

/* Of the data folder DIR: DIR/log. settings NULL: embedded. hooks NULL: those of PostHog's forms, as the settings say.
 * spools: this process keeps in DIR/spool what the brokers do not take, when the settings say so. ERR_INPUT: the password cannot be
 * read. */
int log_access_init(struct log_access *access, const char *data_folder, const struct log_settings *settings,
                    const struct log_form_hooks *hooks, bool spools, struct err *err) must_check;

#endif
