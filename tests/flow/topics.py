"""Deletes topics at the brokers, which kcat cannot: by librdkafka, which a Penstock that speaks with Kafka has beside it."""
import ctypes
import json
import subprocess


def names(address, prefix):
    done = subprocess.run(["kcat", "-L", "-J", "-m", "5", "-b", address], capture_output=True, timeout=20)
    told = json.loads(done.stdout) if done.returncode == 0 else {"topics": []}
    return [topic["topic"] for topic in told["topics"] if topic["topic"].startswith(prefix)]


def delete(address, prefix, seconds=10):
    """Asks for it, and waits for the answer, but says nothing when there is none: brokers may be away."""
    found = names(address, prefix)
    if not found:
        return
    lib, pointer, why = ctypes.CDLL("librdkafka.so.1"), ctypes.c_void_p, ctypes.create_string_buffer(200)
    for name in ("conf_new", "new", "queue_new", "DeleteTopic_new", "queue_poll"):
        getattr(lib, "rd_kafka_" + name).restype = pointer
    conf = pointer(lib.rd_kafka_conf_new())
    lib.rd_kafka_conf_set(conf, b"bootstrap.servers", address.encode(), why, ctypes.c_size_t(len(why)))
    client = pointer(lib.rd_kafka_new(0, conf, why, ctypes.c_size_t(len(why))))
    if not client:
        raise OSError("librdkafka: " + why.value.decode())
    queue = pointer(lib.rd_kafka_queue_new(client))
    wanted = (pointer * len(found))(*[lib.rd_kafka_DeleteTopic_new(name.encode()) for name in found])
    lib.rd_kafka_DeleteTopics(client, wanted, ctypes.c_size_t(len(found)), None, queue)
    event = pointer(lib.rd_kafka_queue_poll(queue, seconds * 1000))
    if event:
        lib.rd_kafka_event_destroy(event)
    lib.rd_kafka_DeleteTopic_destroy_array(wanted, ctypes.c_size_t(len(found)))
    lib.rd_kafka_queue_destroy(queue)
    lib.rd_kafka_destroy(client)
