/* log/kafka_client.c - see kafka_client.h.
 *
 * Times: a broker that is gone must be noticed by whoever waits for it (a second: kafka_commit.c), not by librdkafka, whose
 * own times only say how soon a dead connection is replaced. So a message never times out (0), and connections are tried
 * again after 50 ms to a second. Frames are compressed before they come here, and joined, so producers wait for nothing. */
#include "log/kafka_client.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"


static const char *const settings_common[][2] = {
    { "client.id", "penstock" },
    { "client.software.name", "penstock" },
    { "client.software.version", PENSTOCK_VERSION },
    { "socket.keepalive.enable", "true" },
    { "socket.nagle.disable", "true" },
    { "socket.timeout.ms", "6000" },
    { "socket.connection.setup.timeout.ms", "2000" },
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

static void client_logs(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    static const char *const quiet[] = { "FAIL", "GETPID", "TERMINATE", "CONFWARN" };
    static struct say_gate   gate;

    (void)client;
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

const char *kafka_client_text(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT: return "a broker is away";
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
    int64_t until_us = clock_mono_us() + wait_us;

    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        int64_t                         left_us = until_us - clock_mono_us();
        rd_kafka_resp_err_t             code = rd_kafka_metadata(client, 0, NULL, &metadata, left_us < 100000 ? 100 : (int)(left_us / 1000));

        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            return 0;
        }
        if (code != RD_KAFKA_RESP_ERR__TRANSPORT || clock_mono_us() >= until_us) {
            kafka_client_err(err, brokers, code);
            return -1;
        }
        (void)rd_kafka_poll(client, 50);
    }
}
