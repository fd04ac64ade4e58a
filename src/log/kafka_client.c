/* log/kafka_client.c - see kafka_client.h.
 *
 * Times: a broker that is gone must be noticed by whoever waits for it (a second: kafka_commit.c), not by librdkafka, whose
 * own times only say how soon a dead connection is replaced. So a message never times out (0), and connections are tried
 * again after 50 ms to a second. Frames are compressed before they come here, and joined, so producers wait for nothing. */
#include "log/kafka_client.h"

#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"

enum { REFUSAL_US = 15000000, REACH_FIRST_US = 1000000, SCRAM_VERSION_MIN = 0x02060100 };

/* Why brokers and we do not come together, when one of us said so: to whoever waits, librdkafka then says that they are away. Of the
 * process, whose clients have the same brokers and settings. */
static struct {
    pthread_mutex_t lock;
    int64_t         at_us; /* @lock lock; 0: nobody did */
    char            text[400];
} refusal = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const settings_common[][2] = {
    { "client.id", "penstock" },
    { "client.software.name", "penstock" },
    { "client.software.version", PENSTOCK_VERSION },
    { "socket.keepalive.enable", "true" },
    { "socket.nagle.disable", "true" },
    { "socket.timeout.ms", "6000" },
    { "socket.connection.setup.timeout.ms", "6000" },
    { "reconnect.backoff.ms", "50" },
    { "reconnect.backoff.max.ms", "1000" },
    { "retry.backoff.ms", "50" },
    { "topic.metadata.refresh.interval.ms", "60000" },
    { "topic.metadata.refresh.fast.interval.ms", "100" },
    { "topic.metadata.propagation.max.ms", "10000" },
    { "log.connection.close", "false" },
};

static const char *const settings_producer[][2] = {
    { "enable.idempotence", "true" },
    { "acks", "all" },
    { "request.timeout.ms", "5000" },
    { "message.timeout.ms", "0" },
    { "max.in.flight.requests.per.connection", "5" },
    { "linger.ms", "0" },
    { "queue.buffering.max.messages", "10000000" },
    { "queue.buffering.max.kbytes", "2097151" }, /* who submits has a bound of his own */
    { "message.max.bytes", "33619968" },         /* KAFKA_MESSAGE_BYTES_MAX */
    { "compression.codec", "none" },
    { "allow.auto.create.topics", "false" }, /* whose own default for producers is true: brokers would make it as they like, with one partition */
};
_Static_assert(KAFKA_MESSAGE_BYTES_MAX == 33619968, "as message.max.bytes above");

static const char *const settings_consumer[][2] = {
    { "enable.auto.commit", "false" },
    { "enable.auto.offset.store", "false" },
    { "enable.partition.eof", "false" },
    { "allow.auto.create.topics", "false" },
    { "check.crcs", "true" },
    { "isolation.level", "read_uncommitted" },
    { "fetch.error.backoff.ms", "100" },
    { "receive.message.max.bytes", "110000000" },
};

/* --- what it says ------------------------------------------------------------------------------ */

static void refusal_note(const char *text)
{
    pthread_mutex_lock(&refusal.lock);
    refusal.at_us = clock_mono_us();
    (void)snprintf(refusal.text, sizeof refusal.text, "%s", text);
    pthread_mutex_unlock(&refusal.lock);
}

static bool refusal_recent(int64_t since_us, char *to, size_t room)
{
    bool recent;

    pthread_mutex_lock(&refusal.lock);
    recent = refusal.at_us != 0 && refusal.at_us >= since_us;
    if (recent)
        (void)snprintf(to, room, "%s", refusal.text);
    pthread_mutex_unlock(&refusal.lock);
    return recent;
}

static void refusal_over(void)
{
    pthread_mutex_lock(&refusal.lock);
    refusal.at_us = 0;
    pthread_mutex_unlock(&refusal.lock);
}

/* librdkafka 2.6.0 and older answer a broker's SCRAM challenge in a way that brokers took until 3.9 and refuse since 4.0. */
static const char *scram_hint(const char *reason)
{
    return strstr(reason, "SCRAM") != NULL && rd_kafka_version() < SCRAM_VERSION_MIN
               ? "; or they are of version 4.0 or newer, which need librdkafka 2.6.1 for SCRAM: install that, or use log.sasl: PLAIN with log.tls" : "";
}

/* Said on the way to a broker, and nowhere else as soon. */
static void refusal_hear(const char *line)
{
    const char *sasl = strstr(line, "SASL authentication error"), *tls = strstr(line, "SSL handshake failed");
    char        text[400];

    if (sasl != NULL)
        (void)snprintf(text, sizeof text, "%s%s (%.*s)", kafka_client_text(RD_KAFKA_RESP_ERR__AUTHENTICATION), scram_hint(sasl),
                       (int)strcspn(sasl, "("), sasl);
    else if (tls != NULL && strstr(tls, "certificate verify failed") == NULL) /* client_trusts knew more */
        (void)snprintf(text, sizeof text, "%s (%.*s)", kafka_client_text(RD_KAFKA_RESP_ERR__SSL), (int)strcspn(tls, "("), tls);
    else
        return;
    refusal_note(text);
}

static void client_logs(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    static const char *const quiet[] = { "FAIL", "GETPID", "TERMINATE", "CONFWARN", "SSLCERTVRFY" };
    static struct say_gate   gate;

    (void)client;
    if (strcmp(facility, "FAIL") == 0)
        refusal_hear(text);
    /* Who waits for a connection tells that it failed in better words, and client_fails why. */
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        if (strcmp(facility, quiet[i]) == 0)
            level = 7;
    say_seldom(&gate, level <= 4 ? SAY_WARN : SAY_DEBUG, "kafka: %s: %s", facility, text);
}

static void client_fails(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    static struct say_gate gate;

    (void)client;
    (void)opaque;
    say_seldom(&gate, code == RD_KAFKA_RESP_ERR__FATAL ? SAY_ERROR : SAY_WARN, "kafka: %s (%s)",
               kafka_client_text((rd_kafka_resp_err_t)code), reason);
}

/* OpenSSL's verdict about a broker's certificate stands; here it gets words. */
static int client_trusts(rd_kafka_t *client, const char *broker, int32_t broker_id, int *wrong, int depth, const char *certificate,
                         size_t bytes, char *to, size_t room, void *opaque)
{
    const char *mend;
    char        text[400];

    (void)client;
    (void)broker_id;
    (void)depth;
    (void)certificate;
    (void)bytes;
    (void)opaque;
    switch (*wrong) {
    case X509_V_OK: return 1;
    case X509_V_ERR_CERT_HAS_EXPIRED: mend = "the broker needs a new one"; break;
    case X509_V_ERR_CERT_NOT_YET_VALID: mend = "is the clock right, here and there?"; break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: mend = "it must name the address in the broker's advertised.listeners"; break;
    default: mend = "log.tls_ca must hold the authority that signed it"; break;
    }
    (void)snprintf(text, sizeof text, "the certificate of %.100s is not taken: %s; %s", broker, X509_verify_cert_error_string(*wrong), mend);
    refusal_note(text);
    (void)snprintf(to, room, "%s", text);
    return 0;
}

const char *kafka_client_text(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT: return "a broker is away";
    case RD_KAFKA_RESP_ERR__DESTROY: return "a broker or a partition went away meanwhile";
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: return "all brokers are away";
    case RD_KAFKA_RESP_ERR__RESOLVE: return "a broker's name is not found (log.brokers, or advertised.listeners of a broker)";
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT: return "no answer in time";
    case RD_KAFKA_RESP_ERR__SSL: return "TLS failed (log.tls_ca, and the names in the brokers' certificates)";
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED: return "the brokers refuse our name or password (log.sasl_user, log.sasl_password_file)";
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM: return "the brokers do not take this way of proving who we are (log.sasl)";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED: return "we may not use this topic: it needs Describe, Read and Write";
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return "we may not do this: it needs IdempotentWrite, and Create to make topics, of the cluster";
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: return "we may not use this consumer group";
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC: return "there is no such topic";
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return "there is no such partition";
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND: return "fewer replicas are in sync than min.insync.replicas asks for";
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION: return "a partition has no leader at the moment";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return "a message is larger than the topic takes (max.message.bytes)";
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return "a message is larger than a segment of the topic (segment.bytes)";
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP: return "this machine's clock is too far ahead of the brokers' (message.timestamp.after.max.ms)";
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR: return "there are fewer brokers than log.replication asks for";
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR: return "a broker cannot write to its disk";
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION: return "the cluster's policy forbids it";
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return "too much waits for the brokers already";
    case RD_KAFKA_RESP_ERR__FATAL: return "the client cannot go on";
    case RD_KAFKA_RESP_ERR_NO_ERROR: return "no error";
    default: return rd_kafka_err2str(code);
    }
}

static enum err_kind client_kind(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE: return ERR_STOP;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return ERR_FULL;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return ERR_INPUT;
    default: return ERR_RETRY; /* also what an administrator mends while we wait: permissions, passwords, topics */
    }
}

int kafka_client_err(struct err *err, const char *where, rd_kafka_resp_err_t code)
{
    const char *text = kafka_client_text(code), *theirs = rd_kafka_err2name(code);
    bool        silent = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__TIMED_OUT;
    char        why[400];

    if (silent && refusal_recent(clock_mono_us() - REFUSAL_US, why, sizeof why))
        return err_set(err, ERR_RETRY, "kafka: %s: %s", where, why);
    return err_set(err, client_kind(code), "kafka: %s: %s [%s]", where, text, theirs);
}

/* --- making ------------------------------------------------------------------------------------ */

int kafka_client_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
    char text[200];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return 0;
    return err_set(err, ERR_INPUT, "kafka: %s: %s", name, text); /* never the value: it may be a password */
}

static int client_set_all(rd_kafka_conf_t *conf, const char *const table[][2], size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (kafka_client_set(conf, table[i][0], table[i][1], err) < 0)
            return -1;
    return 0;
}

int kafka_client_conf(const char *brokers, const char *const *properties, enum kafka_client_kind kind, rd_kafka_conf_t **out,
                      struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int              rc;

    rd_kafka_conf_set_log_cb(conf, client_logs);
    rd_kafka_conf_set_error_cb(conf, client_fails);
    (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, client_trusts);
    rc = client_set_all(conf, settings_common, sizeof settings_common / sizeof *settings_common, err);
    if (rc == 0)
        rc = kind == KAFKA_CLIENT_PRODUCER ? client_set_all(conf, settings_producer, sizeof settings_producer / sizeof *settings_producer, err)
                                           : client_set_all(conf, settings_consumer, sizeof settings_consumer / sizeof *settings_consumer, err);
    if (rc == 0)
        rc = kafka_client_set(conf, "bootstrap.servers", brokers, err);
    for (; rc == 0 && properties != NULL && properties[0] != NULL && properties[1] != NULL; properties += 2)
        rc = kafka_client_set(conf, properties[0], properties[1], err);
    if (rc < 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    *out = conf;
    return 0;
}

int kafka_client_new(enum kafka_client_kind kind, rd_kafka_conf_t *conf_take, rd_kafka_t **out, struct err *err)
{
    char        text[200] = "";
    rd_kafka_t *client = rd_kafka_new(kind == KAFKA_CLIENT_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf_take, text, sizeof text);

    if (client == NULL) {
        rd_kafka_conf_destroy(conf_take);
        return err_set(err, ERR_INPUT, "kafka: a client cannot be made: %s", text);
    }
    *out = client;
    return 0;
}

int kafka_client_reach(rd_kafka_t *client, const char *brokers, int64_t wait_us, struct err *err)
{
    int64_t from_us = clock_mono_us(), until_us = from_us + wait_us;

    for (int turn = 0;; turn++) {
        const struct rd_kafka_metadata *metadata = NULL;
        int64_t                         left_us = until_us - clock_mono_us();
        rd_kafka_resp_err_t             code;
        char                            why[400];

        if (turn == 0 && left_us > REACH_FIRST_US) /* so that a refusal is told soon */
            left_us = REACH_FIRST_US;
        code = rd_kafka_metadata(client, 0, NULL, &metadata, left_us < 100000 ? 100 : (int)(left_us / 1000));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            refusal_over();
            return 0;
        }
        (void)rd_kafka_poll(client, 50); /* what went wrong is told here */
        if ((code != RD_KAFKA_RESP_ERR__TRANSPORT && code != RD_KAFKA_RESP_ERR__TIMED_OUT) || clock_mono_us() >= until_us ||
            refusal_recent(from_us, why, sizeof why)) {
            kafka_client_err(err, brokers, code);
            return -1;
        }
    }
}
