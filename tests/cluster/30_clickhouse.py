#!/usr/bin/env python3
# parts: clickhouse alone
"""A whole Penstock that loads into ClickHouse, while the loader and the server are killed, answers are lost and the server
has too many parts: each accepted event is one row, parts stay few, and the loader small."""
import os
import random
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "flow")]
from harness import Serve, uuid7  # noqa: E402

URL = os.environ["PENSTOCK_TEST_CLICKHOUSE"]
SECONDS, SEED = int(os.environ.get("CLUSTER_SECONDS", "60")), int(os.environ.get("CLUSTER_SEED", "7"))
MIB = 1 << 20


def fault(what):
    try:
        urllib.request.urlopen(urllib.request.Request(URL + "/_fault", what.encode()), timeout=20).read()
    except OSError:
        pass  # it is down just now


def number(sql):
    request = urllib.request.Request(URL + "/", sql.encode())
    return int(urllib.request.urlopen(request, timeout=60).read().split()[0])


def rss(serve):
    pid = serve.role_pid("load")
    try:
        with open("/proc/%d/status" % pid) as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))
    except (OSError, TypeError, StopIteration):
        return 0


def trouble(serve, draw, end):
    """Until `end`: something goes wrong every second or two."""
    kinds = [lambda: serve.kill("load"),
             lambda: serve.kill("load"),
             lambda: fault('{"kind": "exit_in", "match": "FORMAT RowBinary", "ms": %d}' % draw.randrange(30)),
             lambda: fault('{"kind": "exit_after", "match": "FORMAT RowBinary"}'),
             lambda: fault('{"kind": "drop", "match": "FORMAT RowBinary", "times": 2}'),
             lambda: fault('{"kind": "drop", "match": "INTO penstock_blocks", "times": 2}'),
             lambda: fault('{"kind": "error", "match": "FORMAT RowBinary", "code": 241, "times": 3}'),
             lambda: fault('{"kind": "delay", "match": "FORMAT RowBinary", "ms": 1500}')]
    told = 0
    while time.time() < end:
        draw.choice(kinds)()
        told += 1
        time.sleep(0.5 + draw.random() * 2)
    return told


def main():
    draw = random.Random(SEED)
    sent, largest, parts_most, stop = [], [0], [0], threading.Event()
    with Serve(config="warehouse:\n  backend: clickhouse\n  url: %s\n  database: whole\nload:\n  batch_wait: 250ms\n" % URL) as serve:
        token = serve.token()

        def send():
            while not stop.is_set():
                batch = [{"event": "step", "uuid": uuid7(), "distinct_id": "p%d" % draw.randrange(50),
                          "properties": {"n": len(sent) + i, "$set": {"last": len(sent) + i}},
                          # a few are old: other months, other parts
                          "timestamp": "2026-%02d-01T00:00:00Z" % draw.randrange(1, 7) if draw.random() < 0.05 else None} for i in range(50)]
                for event in batch:
                    if event["timestamp"] is None:
                        del event["timestamp"]
                serve.post("/batch/", {"api_key": token, "batch": batch})
                sent.extend(event["uuid"] for event in batch)
                largest[0] = max(largest[0], rss(serve))
                time.sleep(0.02)

        sender = threading.Thread(target=send)
        sender.start()
        troubles = trouble(serve, draw, time.time() + SECONDS)
        fault('{"kind": "error", "match": "FORMAT RowBinary", "code": 252, "seconds": 10}')
        time.sleep(10)
        stop.set()
        sender.join()
        fault("{}")
        serve.settle(180)
        rows = serve.sql("SELECT count() AS n, uniqExact(uuid) AS d, uniqExact(raw_offset) AS o FROM events WHERE event = 'step'")[0]
        assert [int(rows[k]) for k in "ndo"] == [len(sent)] * 3, (rows, len(sent))
        missing = set(sent) - {row["uuid"] for row in serve.sql("SELECT uuid FROM events")}
        assert not missing, sorted(missing)[:3]
        # Persons are the newest: what the last event of each said.
        wrong = serve.sql("SELECT count() AS n FROM (SELECT distinct_id, argMax(JSONExtractInt(properties, 'n'), raw_offset) AS last FROM events "
                          "GROUP BY distinct_id) e JOIN person_distinct_ids d ON d.distinct_id = e.distinct_id JOIN persons p ON p.id = "
                          "d.person_id WHERE JSONExtractInt(p.properties, 'last') != e.last")[0]["n"]
        assert int(wrong) == 0, wrong
        parts_most[0] = number("SELECT count() FROM system.parts WHERE active AND database = 'whole'")
        assert parts_most[0] < 300, parts_most[0]
        assert largest[0] < 128 * MIB, largest[0]
        assert len(serve.sql("SELECT 1 AS n FROM dead_letters")) == 0
    print("%d events, %d troubles, %d active parts at the end, the loader at most %.0f MiB" % (
        len(sent), troubles, parts_most[0], largest[0] / MIB))
    print("30_clickhouse: 1 passed")


if __name__ == "__main__":
    main()
