#!/usr/bin/env python3
# parts: kafka:3 alone
"""Capture with its log on Kafka, under load, while brokers stand still and die, capture is killed, and settings change.

Senders have an id each, and send the next event when the last one was answered. At the end kcat reads the topic: every event
that was answered with 200 is there, and of each id the first copies stand in the order in which they were sent."""
import collections
import http.client
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

for folder in ("flow", "parts"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", folder))
import cases  # noqa: E402
from kafka import say as control  # noqa: E402
from harness import Serve, contention, wait_for  # noqa: E402

BROKERS = os.environ["PENSTOCK_TEST_KAFKA"]
SECONDS = float(os.environ.get("PENSTOCK_OUTAGE_SECONDS", "8"))
PREFIX = "c%d_" % os.getpid()
turn = 0


def capture(more=""):
    """A server with the role capture alone, and the prefix of its topics."""
    global turn
    turn += 1
    prefix = "%s%d_" % (PREFIX, turn)
    config = ("log:\n  backend: kafka\n  brokers: [%s]\n  topic_prefix: %s\n  partitions: 4\n  replication: 3\n%s"
              "capture:\n  compress: false\n  idle_timeout: 70s\n" % (", ".join('"%s"' % one for one in BROKERS.split(",")), prefix, more))
    return Serve(config=config, extra=["--roles", "capture"]), prefix


class Senders:
    """`count` of them, each with an id of its own and a pause after each answer."""

    def __init__(self, serve, count=8, pause=0.005):
        self.serve, self.pause, self.stopping = serve, pause, False
        self.token = serve.token()
        self.yes = collections.defaultdict(list)  # id -> uuids answered with 200, in order
        self.no = collections.Counter()
        self.slowest = self.slowest_no = 0.0
        self.last_no = b""
        self.threads = [threading.Thread(target=self.run, args=("u%d" % i,), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, who):
        conn = None
        while not self.stopping:
            one = str(uuid.uuid4())
            body = json.dumps({"api_key": self.token, "event": "e", "distinct_id": who, "uuid": one, "properties": {"n": len(self.yes[who])}})
            begun = time.monotonic()
            try:
                if conn is None:
                    conn = http.client.HTTPConnection("127.0.0.1", self.serve.port, timeout=30)
                conn.request("POST", "/e/", body, {"Content-Type": "application/json"})
                answer = conn.getresponse()
                text, status = answer.read(), answer.status
            except OSError as error:
                text, status, conn = b"", type(error).__name__, None
            except http.client.HTTPException as error:
                text, status, conn = b"", type(error).__name__, None
            took = time.monotonic() - begun
            if status == 200:
                self.yes[who].append(one)
                self.slowest = max(self.slowest, took)
            else:
                self.no[status] += 1
                self.slowest_no, self.last_no = max(self.slowest_no, took), text or self.last_no
                time.sleep(0.05)
            time.sleep(self.pause)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)
        return sum(len(ids) for ids in self.yes.values())

    def count(self):
        return sum(len(ids) for ids in self.yes.values())


def unpacked(block):
    """A block of LZ4's: literals and copies of what was there before, by turns."""
    out, at = bytearray(), 0

    def more(length):
        nonlocal at
        if length == 15:
            while True:
                at += 1
                length += block[at - 1]
                if block[at - 1] != 255:
                    break
        return length

    while at < len(block):
        token = block[at]
        at += 1
        literals = more(token >> 4)
        out += block[at:at + literals]
        at += literals
        if at < len(block):
            begin = len(out) - struct.unpack_from("<H", block, at)[0]
            at += 2
            for i in range(more(token & 15) + 4):
                out.append(out[begin + i])
    return bytes(out)


def records(value):
    """(uuid, distinct id) of each record in a frame (log/kafka_frame.h, log/frame.h, event/record.h)."""
    assert value[:4] == b"PNKF" and value[6] in (0, 1), value[:16]
    count, at = struct.unpack_from("<I", value, 8)[0], 64
    if value[6] == 1:
        value = value[:at] + unpacked(value[at:])
    for _ in range(count):
        size = struct.unpack_from("<I", value, at + 4)[0]
        body = value[at + 16:at + 16 + size]
        token, ip, distinct = struct.unpack_from("<BBH", body, 64)
        begin = 80 + token + ip
        yield str(uuid.UUID(bytes=body[8:24])), body[begin:begin + distinct].decode()
        at += 16 + (size + 7) // 8 * 8
    assert at == len(value)


def arrived(prefix, topic="raw"):
    """Partition -> [(uuid, id)], in order, as kcat reads them."""
    found = collections.defaultdict(list)
    with tempfile.TemporaryFile() as out:
        subprocess.run(["kcat", "-C", "-q", "-e", "-b", BROKERS, "-t", prefix + topic, "-o", "beginning", "-f", "%p %S\n%s"], stdout=out,
                       check=True, timeout=120)
        out.seek(0)
        data = out.read()
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        partition, size = (int(n) for n in data[at:end].split())
        found[partition] += records(data[end + 1:end + 1 + size])
        at = end + 1 + size
    return found


def arrived_all(senders, prefix):
    """Reads again for a while when something is missing: a broker that stood still believes for a moment that it leads."""
    wanted = {one for ids in senders.yes.values() for one in ids}
    end = time.time() + 40
    while True:
        found = arrived(prefix)
        if wanted <= {one for part in found.values() for one, _ in part} or time.time() > end:
            return found
        time.sleep(1)


def check(senders, prefix):
    places, copies, where = {}, 0, {}
    for partition, all_of_it in arrived_all(senders, prefix).items():
        for place, (one, who) in enumerate(all_of_it):
            assert where.setdefault(who, partition) == partition, "%s stands in two partitions" % who
            if one in places:
                copies += 1
            else:
                places[one] = place
    for who, ids in senders.yes.items():
        missing = [one for one in ids if one not in places]
        assert not missing, "%s: %d of %d were answered with 200 and are not there" % (who, len(missing), len(ids))
        order = [places[one] for one in ids]
        assert order == sorted(order), "%s: not in the order in which they were sent" % who
    print("    %d answered with 200, %d at the brokers, %d copies; slowest answer %.2f s; refused: %s" % (
        senders.count(), len(places), copies, senders.slowest, dict(senders.no) or "none"))


def kafka_of(serve):
    return json.loads(serve.cli("status", "--json").stdout)["kafka"]["raw"]


def drained(serve):
    wait_for(lambda: kafka_of(serve)["way"] == "direct" and kafka_of(serve)["spool_records"] == 0)


def test_all_arrives():
    serve, prefix = capture()
    with serve:
        senders = Senders(serve)
        time.sleep(3)
        senders.stop()
        drained(serve)
        assert not senders.no, senders.no
        check(senders, prefix)
        topics = {one["topic"]: one for one in json.loads(subprocess.run(
            ["kcat", "-L", "-J", "-b", BROKERS], capture_output=True, check=True).stdout)["topics"]}
        for topic in ("raw", "raw_historical", "replay"):
            shape = topics[prefix + topic]["partitions"]
            assert len(shape) == 4 and all(len(one["replicas"]) == 3 for one in shape), shape
        assert "kafka    the brokers take events" in serve.cli("status").stdout


def test_brokers_stand_still_and_die():
    serve, prefix = capture()
    with serve:
        senders = Senders(serve)
        time.sleep(1)
        control("pause")
        wait_for(lambda: kafka_of(serve)["way"] == "spooling")
        before = senders.count()
        time.sleep(SECONDS)
        assert senders.count() > before + 50 and not senders.no, (senders.count(), before, senders.no)
        status = serve.cli("status").stdout
        assert "the brokers are away" in status and "wait in the spool" in status, status
        metrics = serve.get("/metrics").text
        assert 'capture_kafka_way{role="capture",topic="raw"} 1' in metrics, metrics
        control("resume")
        drained(serve)
        control("kill 1")
        time.sleep(SECONDS / 2)
        control("start 1")
        drained(serve)
        time.sleep(1)
        senders.stop()
        drained(serve)
        assert not senders.no, (senders.no, senders.last_no)
        check(senders, prefix)


def test_what_silent_brokers_hold_is_not_nothing():
    """Who counts what waits in a topic of many writers asks the brokers; when they do not answer nobody knows, which is said."""
    serve, _ = capture()
    with serve:
        token = serve.token()
        for n in range(3):
            serve.post_when_known(token, "/e/", {"api_key": token, "event": "e", "distinct_id": "u%d" % n, "uuid": str(uuid.uuid4())})
        drained(serve)
        line, = json.loads(serve.cli("status", "--by", "project", "--json").stdout)["lines"]
        assert (line["accepted"], line["pending"]) == (3, 3), line
        control("pause")
        told = serve.cli("status", "--by", "project", "--check", "--json", check=False)
        assert told.returncode == 3, told
        control("resume")
        line, = json.loads(wait_for(lambda: (lambda again: again.returncode == 0 and again)(serve.cli("status", "--by", "project", "--json", check=False))).stdout)["lines"]
        assert (line["accepted"], line["pending"]) == (3, 3), line


def test_capture_is_killed_with_a_full_spool():
    serve, prefix = capture()
    with serve:
        senders = Senders(serve)
        time.sleep(1)
        control("pause")
        wait_for(lambda: kafka_of(serve)["spool_records"] > 100)
        for round in range(4):
            serve.kill("capture")
            time.sleep(1.5)
            if round == 1:
                control("resume")
        wait_for(lambda: serve.role_pid("capture") is not None)
        time.sleep(2)
        senders.stop()
        drained(serve)
        check(senders, prefix)


def test_settings_change_under_load():
    serve, prefix = capture()
    with serve:
        senders = Senders(serve)
        path = os.path.join(serve.data, "penstock.yaml")
        text = open(path).read()
        for round in range(4):
            time.sleep(1)
            if round == 2:
                control("pause")
            with open(path, "w") as out:
                out.write(text.replace("idle_timeout: 70s", "idle_timeout: %ds" % (71 + round)))
            serve.cli("reload")
            if round == 2:
                control("resume")
        time.sleep(1)
        senders.stop()
        drained(serve)
        assert not senders.no, (senders.no, senders.last_no)
        check(senders, prefix)


def test_without_a_spool_it_is_503_within_two_seconds():
    serve, prefix = capture("  spool: false\n")
    with serve:
        senders = Senders(serve)
        wait_for(lambda: senders.count() > 50)
        control("pause")
        crowd, until = 1.0, time.monotonic() + 4
        while time.monotonic() < until:
            crowd = max(crowd, contention())
            time.sleep(0.3)
        control("resume")
        refused = dict(senders.no)
        assert set(refused) == {503} and b"brokers" in senders.last_no, (refused, senders.last_no)
        assert senders.slowest_no < 2 * max(1.0, crowd), (senders.slowest_no, crowd)
        before = senders.count()
        wait_for(lambda: senders.count() > before + 50)
        senders.stop()
        assert serve.role_pid("capture") is not None and "restarts" not in serve.log()
        check(senders, prefix)


def test_capture_starts_without_brokers():
    control("pause")
    serve, prefix = capture()
    try:
        with serve:
            senders = Senders(serve)
            wait_for(lambda: senders.count() > 100)
            control("resume")
            drained(serve)
            senders.stop()
            assert not senders.no, senders.no
            drained(serve)
            check(senders, prefix)
    finally:
        control("resume")


if __name__ == "__main__":
    sys.exit(cases.run(globals(), before=lambda: control("resume")))
