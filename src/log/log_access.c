/* log/log_access.c - see log_access.h. The client's own properties are named here and nowhere else: what librdkafka calls
 * things is no business of a configuration that other clients may serve one day. */
#include "log/log_access.h"

#include <inttypes.h>
#include <stdio.h>

static void property(struct log_access *access, const char *name, const char *value)
{
    size_t at = 0;

    if (value[0] == '\0')
        return;
    while (access->properties[at] != NULL)
        at += 2;
    if (at + 2 <= 2 * LOG_ACCESS_PROPERTIES_MAX) {
        access->properties[at] = name;
        access->properties[at + 1] = value;
    }
}

static const char *protocol(const struct log_settings *settings, bool sasl)
{
    if (settings->tls)
        return sasl ? "sasl_ssl" : "ssl";
    return sasl ? "sasl_plaintext" : "plaintext";
}

static int properties_fill(struct log_access *access, const struct log_settings *settings, struct err *err)
{
    bool sasl = strcmp(settings->sasl, "none") != 0;

    property(access, "security.protocol", protocol(settings, sasl));
    if (settings->tls) {
        property(access, "ssl.ca.location", settings->tls_ca);
        property(access, "ssl.certificate.location", settings->tls_certificate);
        property(access, "ssl.key.location", settings->tls_key);
    }
    if (sasl) {
        if (secret_read(settings->sasl_password_file, "LOG_PASSWORD", access->password, err) < 0)
            return err_wrap(err, "log.sasl_password_file");
        property(access, "sasl.mechanisms", settings->sasl);
        property(access, "sasl.username", settings->sasl_user);
        property(access, "sasl.password", access->password);
    }
    (void)snprintf(access->linger, sizeof access->linger, "%" PRId64 ".%03d", settings->linger_us / 1000,
                   (int)(settings->linger_us % 1000));
    property(access, "linger.ms", access->linger);
    property(access, "compression.codec", settings->compression);
    return 0;
}

static bool is_upstream(const char *form)
{
    return strcmp(form, "upstream") == 0;
}

int log_access_init(struct log_access *access, const char *data_folder, const struct log_settings *settings,
                    const struct log_form_hooks *hooks, bool spools, struct err *err)
{
    *access = (struct log_access){ .options = { .folder = access->folder } };
    if (snprintf(access->folder, sizeof access->folder, "%s/log", data_folder) >= (int)sizeof access->folder)
        return err_set(err, ERR_INPUT, "the path of the data folder is too long: %.100s...", data_folder);
    if (!log_on_kafka(settings))
        return 0;
    if (snprintf(access->spool_folder, sizeof access->spool_folder, "%s/spool", data_folder) >= (int)sizeof access->spool_folder)
        return err_set(err, ERR_INPUT, "the path of the data folder is too long: %.100s...", data_folder);
    if (properties_fill(access, settings, err) < 0)
        return -1;
    upstream_hooks_init(&access->upstream, &(struct upstream_hooks_options){ .records = is_upstream(settings->form),
                                                                             .rows = is_upstream(settings->form_rows),
                                                                             .kinds_apart = settings->kinds_apart, .prefix = settings->topic_prefix });
    access->kafka = (struct log_kafka_options){
        .brokers = settings->brokers, .topic_prefix = settings->topic_prefix, .partitions = (uint32_t)settings->partitions,
        .replication = (uint32_t)settings->replication,
        .form = is_upstream(settings->form) || is_upstream(settings->form_rows) ? LOG_FORM_UPSTREAM : LOG_FORM_FRAMES,
        .frame_bytes_max = (size_t)settings->frame_bytes_max,
        .codec = strcmp(settings->compression, "none") == 0 ? LOG_CODEC_NONE : LOG_CODEC_LZ4, /* a frame has no other */
        .hooks = hooks != NULL ? hooks : &access->upstream.hooks,
        .client_properties = access->properties,
        .spool_folder = spools && settings->spool ? access->spool_folder : NULL,
        .linger_us = settings->linger_us, .insync_min = (uint32_t)settings->insync_min,
        .spool_bytes_max = (uint64_t)settings->spool_bytes_max, .spool_after_us = settings->spool_after_us,
    };
    access->options.kafka = &access->kafka;
    return 0;
}
