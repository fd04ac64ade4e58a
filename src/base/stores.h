/* base/stores.h - which backend each of the four stores has, and how it is reached: what the configuration says.
 *
 * The keys `log.*`, `people.*`, `warehouse.*` and `catalog.*` (docs/config.md) are these fields; the tables with their
 * defaults and limits are in command/config_stores.c. A role finds them in role_env.stores and passes a store's part on
 * in its options (log_options.settings and so on); a command asks command_stores(). Texts live as long as the
 * configuration. NULL, of the whole or of a part, is the embedded backend, so that nobody who wants no more needs to know.
 *
 * Passwords are not here: secret_read() takes them from a file or from the environment when a connection is made, so
 * that a new one counts without a restart, and nothing that prints settings can print one. Only a URL may hold one; who
 * shows a URL passes it through url_shown(). */
#ifndef PENSTOCK_BASE_STORES_H
#define PENSTOCK_BASE_STORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct log_settings {
    const char *backend;      /* "embedded", "kafka" */
    const char *brokers;      /* "HOST:PORT,HOST:PORT"; blanks may stand after commas */
    const char *topic_prefix; /* in front of every topic's and group's name */
    int64_t     partitions;   /* of each topic: the number of units */
    int64_t     replication;
    int64_t     insync_min;   /* min.insync.replicas; 0: one less than replication, at least 1 */
    const char *form;         /* "frames", "upstream": of accepted events, as capture writes them. Readers take both */
    const char *form_rows;    /* the same of what ingest writes; "upstream": for other services' tables, not for load */
    const char *carry;        /* further topics whose messages ingest brings over to `raw`: "a,b"; "": none */
    bool        kinds_apart;  /* form "upstream": exceptions, heatmaps, ... have topics of their own */
    const char *compression;  /* "none", "lz4", "zstd" */
    int64_t     frame_bytes_max;
    int64_t     linger_us;
    bool        spool;        /* capture answers from its own disk when the brokers do not */
    int64_t     spool_bytes_max;
    int64_t     spool_after_us; /* no answer of the brokers for so long: the batch is spooled */
    bool        tls;
    const char *tls_ca, *tls_certificate, *tls_key; /* files; "": the system's authorities; no client certificate */
    const char *sasl;         /* "none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" */
    const char *sasl_user;
    const char *sasl_password_file;
};

struct people_settings {
    const char *backend;      /* "lmdb", "postgres" */
    const char *url;          /* postgresql://USER@HOST:PORT/DATABASE?sslmode=... */
    const char *password_file;
};

struct warehouse_settings {
    const char *backend;      /* "duckdb", "clickhouse" */
    const char *url;          /* http://HOST:8123, https://HOST:8443 */
    const char *user, *password_file;
    const char *database;     /* made when missing */
    const char *cluster;      /* "": tables of one server; else replicated ones, ON CLUSTER */
    const char *tls_ca;       /* a file; "": the system's authorities */
};

struct catalog_settings {
    const char *backend;      /* "sqlite", "postgres" */
    const char *url, *password_file;
};

struct stores {
    struct log_settings       log;
    struct people_settings    people;
    struct warehouse_settings warehouse;
    struct catalog_settings   catalog;
};

/* A part of the whole; NULL: embedded. */
static inline const struct log_settings *stores_log(const struct stores *stores)
{
    return stores != NULL ? &stores->log : NULL;
}

static inline const struct people_settings *stores_people(const struct stores *stores)
{
    return stores != NULL ? &stores->people : NULL;
}

static inline const struct warehouse_settings *stores_warehouse(const struct stores *stores)
{
    return stores != NULL ? &stores->warehouse : NULL;
}

static inline const struct catalog_settings *stores_catalog(const struct stores *stores)
{
    return stores != NULL ? &stores->catalog : NULL;
}

/* "this Penstock was built without ..."; -1. */
int store_absent(const char *key, const char *backend, struct err *err);

static inline bool log_on_kafka(const struct log_settings *settings)
{
    return settings != NULL && strcmp(settings->backend, "kafka") == 0;
}

/* Whether what ingest writes goes to the tables of other services, as messages of their form. */
static inline bool log_rows_upstream(const struct log_settings *log)
{
    return log_on_kafka(log) && log->form_rows != NULL && strcmp(log->form_rows, "upstream") == 0;
}

/* Partitions that belong together, each with a place of its own in people and in the warehouse. */
static inline uint32_t stores_units(const struct stores *stores)
{
    return stores != NULL && log_on_kafka(&stores->log) ? (uint32_t)stores->log.partitions : 1;
}

static inline bool people_on_postgres(const struct people_settings *settings)
{
    return settings != NULL && strcmp(settings->backend, "postgres") == 0;
}

static inline bool warehouse_on_clickhouse(const struct warehouse_settings *settings)
{
    return settings != NULL && strcmp(settings->backend, "clickhouse") == 0;
}

static inline bool catalog_on_postgres(const struct catalog_settings *settings)
{
    return settings != NULL && strcmp(settings->backend, "postgres") == 0;
}

enum { SECRET_BYTES_MAX = 1024, URL_SHOWN_BYTES = 300 };

/* The first line of `file`, or with file "" the environment variable PENSTOCK_NAME (NAME such as "PEOPLE_PASSWORD"), or "".
 * ERR_INPUT: the file cannot be read, is open to every user, or holds more. */
int secret_read(const char *file, const char *name, char to[SECRET_BYTES_MAX + 1], struct err *err) must_check;

/* `url` without the password that may stand in it, for people. Other texts stay as they are. */
void url_shown(const char *url, char to[URL_SHOWN_BYTES]);

#endif
