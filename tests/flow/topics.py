"""Makes and deletes topics at the brokers, which kcat cannot: by librdkafka, which a Penstock that speaks with Kafka has beside it."""
import ctypes
import json
import subprocess
import time


def names(address, prefix):
    done = subprocess.run(["kcat", "-L", "-J", "-m", "5", "-b", address], capture_output=True, timeout=20)
    told = json.loads(done.stdout) if done.returncode == 0 else {"topics": []}
    return [topic["topic"] for topic in told["topics"] if topic["topic"].startswith(prefix)]


def admin(address, what, topics, seconds):
    """The request `what` about these, which librdkafka has made of names; whether an answer came."""
    lib, pointer, why = ctypes.CDLL("librdkafka.so.1"), ctypes.c_void_p, ctypes.create_string_buffer(200)
    for name in ("conf_new", "new", "queue_new", "queue_poll"):
        getattr(lib, "rd_kafka_" + name).restype = pointer
    conf = pointer(lib.rd_kafka_conf_new())
    lib.rd_kafka_conf_set(conf, b"bootstrap.servers", address.encode(), why, ctypes.c_size_t(len(why)))
    client = pointer(lib.rd_kafka_new(0, conf, why, ctypes.c_size_t(len(why))))
    if not client:
        raise OSError("librdkafka: " + why.value.decode())
    queue = pointer(lib.rd_kafka_queue_new(client))
    wanted = (pointer * len(topics))(*topics)
    getattr(lib, "rd_kafka_%sTopics" % what)(client, wanted, ctypes.c_size_t(len(topics)), None, queue)
    event = pointer(lib.rd_kafka_queue_poll(queue, seconds * 1000))
    if event:
        lib.rd_kafka_event_destroy(event)
    free = {"Delete": "DeleteTopic", "Create": "NewTopic"}[what]
    getattr(lib, "rd_kafka_%s_destroy_array" % free)(wanted, ctypes.c_size_t(len(topics)))
    lib.rd_kafka_queue_destroy(queue)
    lib.rd_kafka_destroy(client)
    return bool(event)


def delete(address, prefix, seconds=10):
    """Asks for it, and waits for the answer, but says nothing when there is none: brokers may be away."""
    found = names(address, prefix)
    lib = ctypes.CDLL("librdkafka.so.1")
    lib.rd_kafka_DeleteTopic_new.restype = ctypes.c_void_p
    if found:
        admin(address, "Delete", [lib.rd_kafka_DeleteTopic_new(name.encode()) for name in found], seconds)


def make(address, wanted, partitions, seconds=120):
    """Asks until they are there: the brokers may be busy."""
    lib, why, end = ctypes.CDLL("librdkafka.so.1"), ctypes.create_string_buffer(200), time.time() + seconds
    lib.rd_kafka_NewTopic_new.restype = ctypes.c_void_p
    while True:
        missing = sorted(set(wanted) - set(names(address, "")))
        if not missing:
            return
        assert time.time() < end, "not made: %s" % missing
        admin(address, "Create", [lib.rd_kafka_NewTopic_new(name.encode(), partitions, 1, why, ctypes.c_size_t(len(why))) for name in missing], 10)
        time.sleep(0.5)
