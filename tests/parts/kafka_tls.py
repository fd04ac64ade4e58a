"""A Kafka broker whose clients need TLS and a password (kafka.py, secure).

    PENSTOCK_TEST_KAFKA_TLS=127.0.0.1:4711        TLS and SASL: SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN
    PENSTOCK_TEST_KAFKA_TLS_OLD=127.0.0.1:4712    the same broker, with a certificate that has expired
    PENSTOCK_TEST_KAFKA_TLS_INSIDE=127.0.0.1:4713 the same without either, for tools
    PENSTOCK_TEST_KAFKA_TLS_FOLDER=...            ca.pem, which signed both, and stranger.pem, which signed neither
    PENSTOCK_TEST_KAFKA_TLS_USER, _PASSWORD
    PENSTOCK_TEST_KAFKA_TLS_CONTROL               as PENSTOCK_TEST_KAFKA_CONTROL"""
import kafka

SIZE = kafka.SIZE
fetch = kafka.fetch


class Part(kafka.Part):
    name = "kafka_tls"

    def __init__(self, folder, brokers=1, **more):
        super().__init__(folder, brokers=brokers, relay=False, secure=True, **more)

    def environment(self):
        name = "PENSTOCK_TEST_KAFKA_TLS"
        return {name: self.addresses(), name + "_OLD": self.addresses_at(4), name + "_INSIDE": self.addresses_at(1), name + "_FOLDER": self.folder,
                name + "_USER": kafka.USER, name + "_PASSWORD": kafka.PASSWORD, name + "_CONTROL": self.path("control")}
