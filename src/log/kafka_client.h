/* log/kafka_client.h - the one place that makes handles of librdkafka, and puts what it says into our words; for the log's own
 * files only.
 *
 * Every client gets the same settings here: how long it tries to connect, how soon it tries again, what it checks of TLS.
 * Producers are idempotent and wait for all replicas in sync; they never give a message up by time: whoever waits for one
 * abandons the client (kafka_line.h). Consumers commit nothing by themselves.
 * What librdkafka logs becomes lines of ours, a second apart at most; nothing of it is printed elsewhere. */
#ifndef PENSTOCK_LOG_KAFKA_CLIENT_H
#define PENSTOCK_LOG_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "base/err.h"

enum kafka_client_kind { KAFKA_CLIENT_PRODUCER, KAFKA_CLIENT_CONSUMER };

enum {
    /* What a client sends or takes at most. Ordinary frames are KAFKA's frame_bytes_max; one record may need a frame of its own:
     * source: LOG_RECORD_BYTES_MAX, and room for headers. Topics that Penstock makes take as much. */
    KAFKA_MESSAGE_BYTES_MAX = (32 << 20) + (64 << 10),
    KAFKA_CONNECT_MS = 6000, /* TCP, TLS and who we are; then the next address is tried. Brokers that all come back to need seconds */
    KAFKA_SOCKET_MS = 6000,  /* a request without an answer: the connection is given up */
    KAFKA_REQUEST_MS = 5000, /* that replicas have to confirm */
    /* What an idempotent producer sends of a partition before an answer comes: so many frames, each a request; or one request of plain
     * messages (a volley), of which it counts five as well, however many a request holds. Who gives it more makes its thread ask again and
     * again, without a pause, whether it may send (librdkafka 2.0: a whole core while brokers take their time). */
    KAFKA_FRAMES_UNDER_WAY = 5,
    KAFKA_VOLLEY_BYTES = 900000,  /* less than the client's batch.size, */
    KAFKA_VOLLEY_MESSAGES = 9000, /* and than its batch.num.messages */
    KAFKA_KNOWN_MS = 3600 * 1000  /* brokers know a producer for longer than this without a message; then the next one goes alone again */
};

/* Settings of a client of this kind; the caller adds what is its own (callbacks, opaque, group.id). properties:
 * NULL-terminated names and values of librdkafka's by turns, over ours; NULL: none. ERR_INPUT: names what is wrong. */
int kafka_client_conf(const char *brokers, const char *const *properties, enum kafka_client_kind kind, rd_kafka_conf_t **out,
                      struct err *err) must_check;
int kafka_client_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err) must_check;
/* Makes the client; conf_take is gone in either case. Connects nowhere yet. */
int kafka_client_new(enum kafka_client_kind kind, rd_kafka_conf_t *conf_take, rd_kafka_t **out, struct err *err) must_check;

/* err from a code of librdkafka or of a broker: "where: what it means, and what may help". The kind says what may be done:
 * ERR_RETRY for what passes by itself (brokers away, leaders moving, too few replicas), ERR_INPUT for settings and
 * permissions and messages that are too large, ERR_STOP for clients that cannot go on. Always -1. */
int kafka_client_err(struct err *err, const char *where, rd_kafka_resp_err_t code);
/* The same words alone. */
const char *kafka_client_text(rd_kafka_resp_err_t code);

/* Waits until somebody among the brokers answers, at most wait_us; ERR_RETRY names them, and what was tried. */
int kafka_client_reach(rd_kafka_t *client, const char *brokers, int64_t wait_us, struct err *err) must_check;

#endif
