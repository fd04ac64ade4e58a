/* command/doctor_stores.c - penstock doctor, the part about Kafka, PostgreSQL and ClickHouse. What it asks is what the roles cannot
 * know of: they see that an answer came, not that a server would forget it when its power goes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>

#include "base/buf.h"
#include "command/doctor.h"
#include "log/log_access.h"

enum { WAIT_MS = 5000, POSTGRES_MIN = 150000, ANSWER_BYTES_MAX = 1 << 16 };

/* --- PostgreSQL -------------------------------------------------------------------------------- */

static void setting_check(struct doctor *doctor, PGconn *conn, enum verdict what, const char *part, const char *name, const char *wrong,
                          const char *why)
{
    char      sql[100];
    PGresult *result;

    (void)snprintf(sql, sizeof sql, "SHOW %s", name);
    result = PQexec(conn, sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), wrong) == 0)
        verdict(doctor, what, part, "%s is %s: %s", name, wrong, why);
    PQclear(result);
}

/* Who may not see their state sees that they are there. */
static void standbys_check(struct doctor *doctor, PGconn *conn, const char *part)
{
    PGresult *result = PQexec(conn, "SELECT count(*) FROM pg_stat_replication WHERE current_setting('synchronous_standby_names') = ''");

    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "0") != 0)
        verdict(doctor, WARN, part, "standbys follow (%s) and a commit waits for none of them: one that takes over may lack what was committed, "
                "and ingest has to make up for that; name them in synchronous_standby_names", PQgetvalue(result, 0, 0));
    PQclear(result);
}

static void postgres_check(struct doctor *doctor, const char *part, const char *url, const char *file, const char *variable)
{
    const char *names[] = { "dbname", "connect_timeout", "options", "password", NULL };
    char        password[SECRET_BYTES_MAX + 1], shown[URL_SHOWN_BYTES];
    const char *values[] = { url, "5", "-c statement_timeout=5000", password, NULL };
    struct err  err = { .kind = ERR_NONE };
    PGconn     *conn;

    url_shown(url, shown);
    if (secret_read(file, variable, password, &err) < 0) {
        verdict(doctor, FAIL, part, "%s", err.text);
        return;
    }
    if (password[0] == '\0')
        names[3] = NULL;
    conn = PQconnectdbParams(names, values, 1);
    explicit_bzero(password, sizeof password);
    if (PQstatus(conn) != CONNECTION_OK) {
        const char *said = PQerrorMessage(conn);

        verdict(doctor, FAIL, part, "%s is not reached: %.*s", shown, (int)strcspn(said, "\n"), said);
    } else if (PQserverVersion(conn) < POSTGRES_MIN) {
        verdict(doctor, FAIL, part, "%s is PostgreSQL %d; 15 or later is needed", shown, PQserverVersion(conn) / 10000);
    } else {
        verdict(doctor, FINE, part, "%s, PostgreSQL %s", shown, PQparameterStatus(conn, "server_version"));
        setting_check(doctor, conn, WARN, part, "fsync", "off", "what it has acknowledged is lost when its machine loses power; set it on");
        setting_check(doctor, conn, FINE, part, "synchronous_commit", "off", "what other programs committed last is lost when it dies; Penstock's "
                      "sessions insist on theirs");
        setting_check(doctor, conn, WARN, part, "full_page_writes", "off", "a loss of power can damage pages; set it on");
        standbys_check(doctor, conn, part);
        setting_check(doctor, conn, WARN, part, "transaction_read_only", "on", "nothing can be written: is this a standby?");
    }
    PQfinish(conn);
}

/* --- Kafka ------------------------------------------------------------------------------------- */

static rd_kafka_t *kafka_client(const struct log_access *access, char *why, size_t room)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t      *client;
    bool             fine = rd_kafka_conf_set(conf, "bootstrap.servers", access->kafka.brokers, why, room) == RD_KAFKA_CONF_OK;

    for (size_t i = 0; fine && access->properties[i] != NULL; i += 2)
        fine = rd_kafka_conf_set(conf, access->properties[i], access->properties[i + 1], why, room) == RD_KAFKA_CONF_OK;
    (void)rd_kafka_conf_set(conf, "log_level", "0", NULL, 0); /* what it has to say is in the verdict */
    client = fine ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, room) : NULL;
    if (client == NULL)
        rd_kafka_conf_destroy(conf);
    return client;
}

static void topics_check(struct doctor *doctor, const struct log_settings *settings, const struct rd_kafka_metadata *found)
{
    int     wrong = 0, ours = 0, few = found->broker_cnt;
    size_t  bytes = strlen(settings->topic_prefix);

    for (int i = 0; i < found->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &found->topics[i];

        if (bytes == 0 || strncmp(topic->topic, settings->topic_prefix, bytes) != 0)
            continue;
        ours++;
        if (topic->partition_cnt != settings->partitions && wrong++ == 0)
            verdict(doctor, FAIL, "kafka", "topic %s has %d partitions and log.partitions is %lld: events of one person would go to "
                    "different ones", topic->topic, topic->partition_cnt, (long long)settings->partitions);
        for (int p = 0; p < topic->partition_cnt; p++) {
            if (topic->partitions[p].leader < 0 && wrong++ == 0)
                verdict(doctor, FAIL, "kafka", "partition %d of %s has no leader: nothing can be written there", p, topic->topic);
            if (topic->partitions[p].isr_cnt < topic->partitions[p].replica_cnt && wrong++ == 0)
                verdict(doctor, WARN, "kafka", "partition %d of %s has %d of its %d copies in sync", p, topic->topic,
                        topic->partitions[p].isr_cnt, topic->partitions[p].replica_cnt);
        }
    }
    if (few < settings->replication)
        verdict(doctor, FAIL, "kafka", "%d brokers and log.replication is %lld: topics cannot be made", few,
                (long long)settings->replication);
    if (wrong == 0)
        verdict(doctor, FINE, "kafka", "%d brokers; %d topics beginning with \"%s\"%s", few, ours, settings->topic_prefix,
                ours == 0 ? ": they are made at the first start" : "");
}

static void kafka_check(struct doctor *doctor, const struct log_settings *settings)
{
    static struct log_access        access;
    const struct rd_kafka_metadata *found;
    struct err                      err = { .kind = ERR_NONE };
    char                            why[300] = "";
    rd_kafka_t                     *client;
    rd_kafka_resp_err_t             rc;

    if (log_access_init(&access, doctor->data, settings, NULL, false, &err) < 0) {
        verdict(doctor, FAIL, "kafka", "%s", err.text);
        return;
    }
    client = kafka_client(&access, why, sizeof why);
    if (client == NULL) {
        verdict(doctor, FAIL, "kafka", "%s", why);
        return;
    }
    rc = rd_kafka_metadata(client, 1, NULL, &found, WAIT_MS);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
        verdict(doctor, FAIL, "kafka", "%s: no answer within %d s: %s", settings->brokers, WAIT_MS / 1000, rd_kafka_err2str(rc));
    } else {
        topics_check(doctor, settings, found);
        rd_kafka_metadata_destroy(found);
    }
    rd_kafka_destroy(client);
}

/* --- ClickHouse -------------------------------------------------------------------------------- */

static size_t answer_take(char *at, size_t size, size_t count, void *ctx)
{
    buf_add(ctx, span_of(at, size * count));
    return size * count;
}

/* The answer of one statement as text; NULL: there was none, `why` says it. */
static const char *clickhouse_ask(const struct warehouse_settings *settings, const char *password, const char *sql, struct buf *answer,
                                  char *why, size_t room)
{
    CURL              *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    char               line[SECRET_BYTES_MAX + 60];
    long               status = 0;
    CURLcode           rc;

    if (curl == NULL)
        return NULL;
    (void)snprintf(line, sizeof line, "X-ClickHouse-User: %.200s", settings->user);
    headers = curl_slist_append(headers, line);
    (void)snprintf(line, sizeof line, "X-ClickHouse-Key: %s", password);
    if (password[0] != '\0')
        headers = curl_slist_append(headers, line);
    explicit_bzero(line, sizeof line);
    curl_easy_setopt(curl, CURLOPT_URL, settings->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sql);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (settings->tls_ca[0] != '\0')
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings->tls_ca);
    rc = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    buf_add_byte(answer, '\0');
    if (answer->failed || rc != CURLE_OK || status != 200) {
        (void)snprintf(why, room, "%.200s", rc != CURLE_OK ? curl_easy_strerror(rc) : answer->failed ? "its answer is too long" : (const char *)answer->at);
        return NULL;
    }
    ((char *)answer->at)[strcspn((const char *)answer->at, "\n")] = '\0';
    return (const char *)answer->at;
}

static void clickhouse_check(struct doctor *doctor, const struct warehouse_settings *settings)
{
    char        password[SECRET_BYTES_MAX + 1], shown[URL_SHOWN_BYTES], why[220] = "no memory";
    const char *version;
    struct err  err = { .kind = ERR_NONE };
    struct buf  answer;

    url_shown(settings->url, shown);
    if (secret_read(settings->password_file, "WAREHOUSE_PASSWORD", password, &err) < 0) {
        verdict(doctor, FAIL, "clickhouse", "%s", err.text);
        return;
    }
    buf_init(&answer, ANSWER_BYTES_MAX);
    version = clickhouse_ask(settings, password, "SELECT version()", &answer, why, sizeof why);
    explicit_bzero(password, sizeof password);
    if (version == NULL)
        verdict(doctor, FAIL, "clickhouse", "%s is not reached: %.*s", shown, (int)strcspn(why, "\n"), why);
    else
        verdict(doctor, FINE, "clickhouse", "%s, version %.40s, database %.60s%s%.60s", shown, version, settings->database,
                settings->cluster[0] != '\0' ? ", cluster " : "", settings->cluster);
    buf_fini(&answer);
}

/* ----------------------------------------------------------------------------------------------- */

void doctor_stores(struct doctor *doctor, const struct stores *stores)
{
    if (log_on_kafka(&stores->log))
        kafka_check(doctor, &stores->log);
    if (people_on_postgres(&stores->people))
        postgres_check(doctor, "people", stores->people.url, stores->people.password_file, "PEOPLE_PASSWORD");
    if (catalog_on_postgres(&stores->catalog))
        postgres_check(doctor, "catalog", stores->catalog.url, stores->catalog.password_file, "CATALOG_PASSWORD");
    if (warehouse_on_clickhouse(&stores->warehouse))
        clickhouse_check(doctor, &stores->warehouse);
    if (log_on_kafka(&stores->log) && !people_on_postgres(&stores->people))
        verdict(doctor, WARN, "people", "the log is on Kafka and persons are in this data folder: only one machine may run ingest");
    if (log_on_kafka(&stores->log) && !catalog_on_postgres(&stores->catalog))
        verdict(doctor, WARN, "catalog", "the log is on Kafka and the catalog is in this data folder: other machines do not see its changes");
}
