/* command/config_stores.c - see config_stores.h. Why keys of their own and not one URL a store (kafka://, postgresql://):
 * a list of brokers with TLS and SASL does not fit into one, and each of these has a limit and a help to tell. */
#include "command/config_stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command/command.h"
#include "command/supervisor.h"
#include "event/record.h"
#include "event/row.h"
#include "event/upstream_message.h"

#define AT(field) offsetof(struct config, stores.field)
enum { SECOND = 1000000, KIB = 1 << 10 };
#define MIB ((int64_t)1 << 20)

/* --- checks of one key ------------------------------------------------------------------------- */

static int word_check(const char *text, const char *const *words, struct err *err)
{
    char list[200] = "";

    for (size_t i = 0; words[i] != NULL; i++) {
        size_t used = strlen(list);

        if (strcmp(text, words[i]) == 0)
            return 0;
        (void)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ", words[i]);
    }
    return err_set(err, ERR_INPUT, "\"%.60s\" is not one of them; it takes %s", text, list);
}

#define WORDS_CHECK(name, ...)                                                \
    static int name(const char *text, struct err *err)                        \
    {                                                                         \
        static const char *const words[] = { __VA_ARGS__, NULL };             \
        return word_check(text, words, err);                                  \
    }
WORDS_CHECK(log_backend_check, "embedded", "kafka")
WORDS_CHECK(form_check, "frames", "upstream")
WORDS_CHECK(compression_check, "none", "lz4", "zstd")
WORDS_CHECK(sasl_check, "none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
WORDS_CHECK(people_backend_check, "lmdb", "postgres")
WORDS_CHECK(warehouse_backend_check, "duckdb", "clickhouse")
WORDS_CHECK(catalog_backend_check, "sqlite", "postgres")

/* HOST:PORT, several parted by commas; [::1]:9092 for IPv6. */
static int brokers_check(const char *text, struct err *err)
{
    for (const char *at = text; *at != '\0';) {
        size_t      bytes = strcspn(at, ",");
        const char *colon = memrchr(at, ':', bytes);
        size_t      digits = colon != NULL ? (size_t)(at + bytes - colon - 1) : 0;
        long        port = digits > 0 && digits <= 5 ? strtol(colon + 1, NULL, 10) : 0;

        if (colon == NULL || colon == at || strspn(colon + 1, "0123456789") != digits || port < 1 || port > 65535)
            return err_set(err, ERR_INPUT, "\"%.*s\" is no address of a broker; such as kafka-1:9092",
                           (int)(bytes < 80 ? bytes : 80), at);
        at += bytes;
        at += strspn(at, ", ");
    }
    return 0;
}

/* What Kafka lets stand in a topic's name. */
static const char topic_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

static int prefix_check(const char *text, struct err *err)
{
    size_t bytes = strlen(text);

    if (bytes > 100 || strspn(text, topic_letters) != bytes)
        return err_set(err, ERR_INPUT, "\"%.60s\": at most 100 letters, digits and . _ -, as Kafka's names of topics", text);
    return 0;
}

/* What Penstock itself reads or writes would go around for ever, or come twice. */
static bool topic_carried(struct span name)
{
    if (span_is(name, "replay"))
        return false;
    for (int input = 0; input < INPUT_COUNT; input++)
        if (span_is(name, input_topic((enum input)input)))
            return false;
    for (int table = 0; table < ROW_TABLE_COUNT; table++)
        if (span_is(name, row_tables[table].topic))
            return false;
    for (int topic = 0; topic < UPSTREAM_TOPIC_COUNT; topic++)
        if (span_is(name, upstream_topic_name((enum upstream_topic)topic)))
            return topic == UPSTREAM_OVERFLOW || topic == UPSTREAM_EXCEPTIONS || topic == UPSTREAM_HEATMAPS ||
                   topic == UPSTREAM_CLIENT_WARNINGS || topic == UPSTREAM_LLM;
    return true;
}

static int carry_check(const char *text, struct err *err)
{
    for (const char *at = text; *at != '\0'; at += strspn(at, ", ")) {
        size_t bytes = strcspn(at, ", ");

        if (bytes == 0 || bytes > 100 || strspn(at, topic_letters) < bytes)
            return err_set(err, ERR_INPUT, "\"%.*s\": at most 100 letters, digits and . _ -, as Kafka's names of topics",
                           (int)(bytes < 80 ? bytes : 80), at);
        if (!topic_carried(span_of(at, bytes)))
            return err_set(err, ERR_INPUT, "%.*s is read or written anyway; further topics are such as %s", (int)bytes, at,
                           upstream_topic_name(UPSTREAM_OVERFLOW));
        at += bytes;
    }
    return 0;
}

static int url_check(const char *text, const char *const *schemes, const char *example, struct err *err)
{
    char shown[URL_SHOWN_BYTES];

    if (text[0] == '\0')
        return 0;
    for (size_t i = 0; schemes[i] != NULL; i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0 && text[strlen(schemes[i])] != '\0')
            return 0;
    url_shown(text, shown);
    return err_set(err, ERR_INPUT, "\"%.100s\" is no address of it; such as %s", shown, example);
}

static int postgres_check(const char *text, struct err *err)
{
    static const char *const schemes[] = { "postgresql://", "postgres://", NULL };

    return url_check(text, schemes, "postgresql://penstock@db-1:5432/penstock", err);
}

static int http_check(const char *text, struct err *err)
{
    static const char *const schemes[] = { "http://", "https://", NULL };

    return url_check(text, schemes, "http://clickhouse-1:8123", err);
}

/* --- the table --------------------------------------------------------------------------------- */

const struct option store_options[] = {
    { "log.backend", OPTION_TEXT, "embedded", 0, 0,
      "where topics are kept: embedded, in the data folder; kafka, for several machines (docs/cluster.md)", AT(log.backend),
      log_backend_check },
    { "log.brokers", OPTION_LIST, "", 0, 0, "Kafka's addresses to begin with, HOST:PORT, one or several", AT(log.brokers),
      brokers_check },
    { "log.topic_prefix", OPTION_TEXT, "penstock_", 0, 0,
      "in front of the names of topics and groups: two installations on the same brokers have different ones",
      AT(log.topic_prefix), prefix_check },
    { "log.partitions", OPTION_COUNT, "8", 1, 10000,
      "of each topic, when they are made; at most so many ingests and loaders work side by side", AT(log.partitions) },
    { "log.replication", OPTION_COUNT, "3", 1, 15, "copies of each topic, when they are made", AT(log.replication) },
    { "log.insync_min", OPTION_COUNT, "0", 0, 15,
      "copies that must have an event before it is answered; 0: one less than log.replication, at least 1",
      AT(log.insync_min) },
    { "log.form", OPTION_TEXT, "frames", 0, 0,
      "of accepted events on Kafka: frames, many events a record, or upstream, one record an event in PostHog's form "
      "(docs/replace-posthog.md). Both are read", AT(log.form), form_check },
    { "log.form_rows", OPTION_TEXT, "frames", 0, 0,
      "of what ingest writes to Kafka: frames, or upstream, as PostHog's ClickHouse tables read it; then the role load has nothing to "
      "read", AT(log.form_rows), form_check },
    { "log.carry", OPTION_LIST, "", 0, 0,
      "further topics of PostHog's capture, without the prefix, such as events_plugin_ingestion_overflow: ingest's machines bring their "
      "messages over to those that are read (docs/replace-posthog.md)", AT(log.carry), carry_check },
    { "log.kinds_apart", OPTION_BOOL, "false", 0, 0,
      "with log.form: upstream, exceptions, heatmaps, clients' warnings and LLM events go to topics of their own, as PostHog's "
      "ingestion has them; Penstock's ingest reads those that log.carry names", AT(log.kinds_apart) },
    { "log.compression", OPTION_TEXT, "lz4", 0, 0, "of what is written to Kafka: none, lz4 or zstd (frames: lz4 then, too)", AT(log.compression),
      compression_check },
    { "log.frame_bytes_max", OPTION_BYTES, "1000KiB", 64 * KIB, 64 * MIB,
      "largest record written to Kafka; the topics' max.message.bytes must be larger", AT(log.frame_bytes_max) },
    { "log.linger", OPTION_DURATION, "5ms", 0, 1 * SECOND, "how long an event waits at most for others that go to the brokers with it",
      AT(log.linger_us) },
    { "log.spool", OPTION_BOOL, "true", 0, 0,
      "when the brokers do not answer, capture keeps events in its own log and answers from there; false: 503 within 2 s",
      AT(log.spool) },
    { "log.spool_bytes_max", OPTION_BYTES, "10GiB", 64 * MIB, INT64_MAX, "so much of it; then 503", AT(log.spool_bytes_max) },
    { "log.spool_after", OPTION_DURATION, "1s", 50000, 60 * SECOND, "how long the brokers may take for a batch before it is spooled",
      AT(log.spool_after_us) },
    { "log.tls", OPTION_BOOL, "false", 0, 0, "connections to the brokers are TLS", AT(log.tls) },
    { "log.tls_ca", OPTION_TEXT, "", 0, 0, "a file with the authorities that brokers' certificates are held against (PEM); "
      "empty: the system's", AT(log.tls_ca) },
    { "log.tls_certificate", OPTION_TEXT, "", 0, 0, "a file with the certificate that Penstock shows to brokers (PEM)",
      AT(log.tls_certificate) },
    { "log.tls_key", OPTION_TEXT, "", 0, 0, "a file with its private key", AT(log.tls_key) },
    { "log.sasl", OPTION_TEXT, "none", 0, 0, "how Penstock logs in at the brokers: none, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
      AT(log.sasl), sasl_check },
    { "log.sasl_user", OPTION_TEXT, "", 0, 0, "the name that it logs in with", AT(log.sasl_user) },
    { "log.sasl_password_file", OPTION_TEXT, "", 0, 0,
      "a file with the password; empty: the environment variable PENSTOCK_LOG_PASSWORD", AT(log.sasl_password_file) },

    { "people.backend", OPTION_TEXT, "lmdb", 0, 0,
      "where persons are kept: lmdb, in the data folder; postgres, for several machines", AT(people.backend), people_backend_check },
    { "people.url", OPTION_TEXT, "", 0, 0,
      "of PostgreSQL 15 or later, as libpq takes it: postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full", AT(people.url),
      postgres_check },
    { "people.password_file", OPTION_TEXT, "", 0, 0,
      "a file with the password; empty: the environment variable PENSTOCK_PEOPLE_PASSWORD, or what libpq finds",
      AT(people.password_file) },

    { "warehouse.backend", OPTION_TEXT, "duckdb", 0, 0,
      "where rows are kept to be queried: duckdb, in the data folder; clickhouse, for several machines", AT(warehouse.backend),
      warehouse_backend_check },
    { "warehouse.url", OPTION_TEXT, "", 0, 0, "of ClickHouse's HTTP interface: http://HOST:8123, https://HOST:8443",
      AT(warehouse.url), http_check },
    { "warehouse.user", OPTION_TEXT, "default", 0, 0, "the name that Penstock logs in with", AT(warehouse.user) },
    { "warehouse.password_file", OPTION_TEXT, "", 0, 0,
      "a file with the password; empty: the environment variable PENSTOCK_WAREHOUSE_PASSWORD", AT(warehouse.password_file) },
    { "warehouse.database", OPTION_TEXT, "penstock", 0, 0, "the database of the tables; made when it is missing",
      AT(warehouse.database) },
    { "warehouse.cluster", OPTION_TEXT, "", 0, 0,
      "name of a ClickHouse cluster: tables are replicated ones and made on all of it; empty: one server", AT(warehouse.cluster) },
    { "warehouse.tls_ca", OPTION_TEXT, "", 0, 0, "a file with the authorities for https (PEM); empty: the system's",
      AT(warehouse.tls_ca) },

    { "catalog.backend", OPTION_TEXT, "sqlite", 0, 0,
      "where projects, tokens and settings are kept: sqlite, in the data folder; postgres, for several machines",
      AT(catalog.backend), catalog_backend_check },
    { "catalog.url", OPTION_TEXT, "", 0, 0, "of PostgreSQL 15 or later; may be the same as people.url", AT(catalog.url), postgres_check },
    { "catalog.password_file", OPTION_TEXT, "", 0, 0,
      "a file with the password; empty: the environment variable PENSTOCK_CATALOG_PASSWORD, or what libpq finds",
      AT(catalog.password_file) },
    { NULL, OPTION_TEXT, NULL, 0, 0, NULL, 0, NULL },
};

bool config_store_key(const struct config_value *value)
{
    for (const struct option *option = store_options; option->name != NULL; option++)
        if (value->role == NULL && value->option == option)
            return true;
    return false;
}

bool config_store_choice(const struct config_value *value)
{
    return config_store_key(value) && strstr(value->option->name, ".backend") != NULL;
}

int config_stores_environment(struct config *config, struct err *err)
{
    for (const struct option *option = store_options; option->name != NULL; option++) {
        char        name[80] = "PENSTOCK_";
        size_t      at = strlen(name);
        const char *value;

        for (const char *from = option->name; *from != '\0' && at + 1 < sizeof name; from++)
            name[at++] = *from == '.' ? '_' : (char)(*from >= 'a' && *from <= 'z' ? *from - 'a' + 'A' : *from);
        name[at] = '\0';
        value = getenv(name);
        if (value != NULL && config_set(config, option->name, value, name, err) < 0)
            return err_wrap(err, name);
    }
    return 0;
}

/* --- all of them together ---------------------------------------------------------------------- */

static int needs(const char *backend, const char *key, const char *value, const char *example, struct err *err)
{
    return value[0] != '\0' ? 0 : err_set(err, ERR_INPUT, "%s needs %s, such as `%s`", backend, key, example);
}

int config_stores_check(const struct config *config, struct err *err)
{
    const struct stores *stores = &config->stores;

    if (log_on_kafka(&stores->log) && needs("log.backend: kafka", "log.brokers", stores->log.brokers,
                                            "brokers: [kafka-1:9092, kafka-2:9092]", err) < 0)
        return -1;
    if (!log_on_kafka(&stores->log) && stores->log.carry[0] != '\0')
        return err_set(err, ERR_INPUT, "log.carry names topics of Kafka, and log.backend is embedded: nobody would read them. "
                       "Say `backend: kafka`, or take log.carry out");
    if (stores->log.insync_min > stores->log.replication)
        return err_set(err, ERR_INPUT, "log.insync_min is %lld and log.replication %lld: an event can have no more copies than "
                       "there are", (long long)stores->log.insync_min, (long long)stores->log.replication);
    if (strcmp(stores->log.sasl, "none") != 0 && needs("log.sasl", "log.sasl_user", stores->log.sasl_user, "sasl_user: penstock", err) < 0)
        return -1;
    if ((stores->log.tls_certificate[0] != '\0') != (stores->log.tls_key[0] != '\0'))
        return err_set(err, ERR_INPUT, "log.tls_certificate and log.tls_key go together: one of them is empty");
    if (people_on_postgres(&stores->people) && needs("people.backend: postgres", "people.url", stores->people.url,
                                                     "url: postgresql://penstock@db-1:5432/penstock", err) < 0)
        return -1;
    if (warehouse_on_clickhouse(&stores->warehouse) && needs("warehouse.backend: clickhouse", "warehouse.url",
                                                             stores->warehouse.url, "url: http://clickhouse-1:8123", err) < 0)
        return -1;
    if (catalog_on_postgres(&stores->catalog) && needs("catalog.backend: postgres", "catalog.url", stores->catalog.url,
                                                       "url: postgresql://penstock@db-1:5432/penstock", err) < 0)
        return -1;
    return 0;
}

/* --- for commands ------------------------------------------------------------------------------ */

/* Written by command_main before a command runs, read by command_stores; one command a process. */
static const char *file_of_command;

void command_stores_file(const char *path)
{
    file_of_command = path;
}

bool config_file_of_server(const char *data, char *to, size_t room)
{
    char       path[4096];
    struct err ignored = { .kind = ERR_NONE };
    FILE      *file = data_path(data, "run/config", path, sizeof path, &ignored) == 0 ? fopen(path, "re") : NULL;
    bool       read = file != NULL && fgets(to, (int)room, file) != NULL && to[0] != '\n';

    if (file != NULL)
        (void)fclose(file);
    if (read)
        to[strcspn(to, "\n")] = '\0';
    return read;
}

/* What counts while a server runs is what it took over, whatever somebody has written into the file since. */
static bool served(const char *data, char *to, size_t room)
{
    struct err ignored = { .kind = ERR_NONE };
    bool       runs = false;

    for (size_t i = 0; i < role_count; i++)
        runs |= supervisor_owner(data, roles[i]) != 0;
    return runs && data_path(data, "run/stores.yaml", to, room, &ignored) == 0 && access(to, R_OK) == 0;
}

static bool settings_find(const char *data, char *to, size_t room)
{
    struct err ignored = { .kind = ERR_NONE };

    if (file_of_command != NULL)
        return snprintf(to, room, "%s", file_of_command) < (int)room;
    return served(data, to, room) || config_file_of_server(data, to, room) ||
           (data_path(data, "penstock.yaml", to, room, &ignored) == 0 && access(to, F_OK) == 0);
}

int command_stores(const char *data, const struct stores **out, struct err *err)
{
    static struct config *kept; /* texts are borrowed from it for the process's life */
    struct config        *config;
    char                  path[4096];
    bool                  found;

    if (kept != NULL) {
        *out = &kept->stores;
        return 0;
    }
    config = calloc(1, sizeof *config);
    if (config == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    if (file_of_command != NULL && strlen(file_of_command) >= sizeof path) {
        free(config);
        return err_set(err, ERR_INPUT, "the path of the configuration has %zu bytes; it may have %zu: %.100s...", strlen(file_of_command),
                       sizeof path - 1, file_of_command);
    }
    found = settings_find(data, path, sizeof path);
    if (config_init(config, err) < 0 || (found && config_load_file(config, path, err) < 0) ||
        config_stores_environment(config, err) < 0 || config_check(config, err) < 0) {
        config_fini(config);
        free(config);
        return -1;
    }
    kept = config;
    *out = &kept->stores;
    return 0;
}
