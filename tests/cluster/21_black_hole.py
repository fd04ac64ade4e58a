#!/usr/bin/env python3
"""A whole Penstock on three brokers that nobody can reach for a while: connections stay open and nothing comes through
(PENSTOCK_OUTAGE_SECONDS of it); and on brokers that restart one after the other, so that leaders move. What was answered with 200 is
there once, in order of its key, and the spool empties at three times the rate of what comes, at least."""
import importlib.util
import json
import os
import re
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("flow", "parts"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
import kafka  # noqa: E402
from harness import Serve, contention  # noqa: E402

SECONDS = float(os.environ.get("PENSTOCK_OUTAGE_SECONDS", "8"))


def module_of(name):
    """A test beside this one, for its senders and checks."""
    spec = importlib.util.spec_from_file_location("test_" + name[:2], os.path.join(HERE, name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def whole(more=""):
    on_kafka.turn += 1
    prefix = "%s%d_" % (on_kafka.PREFIX, on_kafka.turn)
    config = ("log:\n  backend: kafka\n  brokers: [%s]\n  topic_prefix: %s\n  partitions: 1\n  replication: 3\n%scapture:\n  compress: false\n"
              % (", ".join('"%s"' % one for one in on_kafka.BROKERS.split(",")), prefix, more))
    return Serve(config=config), prefix


def told(serve):
    """(way, records, bytes of the spool), as capture's metrics say: without a look at the brokers."""
    text = serve.get("/metrics").text
    return [float(re.search(r'^%s\{[^}]*topic="raw"[^}]*\} (\S+)' % name, text, re.M)[1])
            for name in ("capture_kafka_way", "capture_spool_records", "capture_spool_bytes")]


def drained(serve):
    on_kafka.wait_for(lambda: told(serve)[:2] == [0, 0], 180)


class Watch(threading.Thread):
    """What waits in the spool, twice a second."""

    def __init__(self, serve, senders):
        super().__init__(daemon=True)
        self.serve, self.senders, self.over, self.seen = serve, senders, threading.Event(), []

    def run(self):
        while not self.over.wait(0.5):
            try:
                _, records, size = told(self.serve)
            except (OSError, TypeError):  # not at that moment
                continue
            self.seen.append((time.monotonic(), records, size, self.senders.count()))

    def drain(self, since):
        """(records a second that left the spool, records a second that came) from `since` until it was empty, in all."""
        self.over.set()
        self.join()
        self.seen.append((time.monotonic(), *told(self.serve)[1:], self.senders.count()))
        rows = [row for row in self.seen if row[0] >= since]
        first = max(rows, key=lambda row: row[1])
        last = next((row for row in rows if row[0] > first[0] and row[1] == 0), rows[-1])
        took = max(last[0] - first[0], 0.5)
        for at, records, size, _ in rows[::max(len(rows) // 20, 1)]:
            print("    %6.1f s: %6d records wait, %8.1f KB" % (at - since, records, size / 1e3))
        came = last[3] - first[3]
        return (first[1] - last[1] + came) / took, came / took


def settled(serve, senders, prefix):
    """Every event is a row, and no event is two."""
    drained(serve)
    on_kafka.check(senders, prefix)
    wanted = {one for ids in senders.yes.values() for one in ids}
    end, rows = time.time() + 180, []
    while time.time() < end and len(rows) < len(wanted):
        time.sleep(1)
        done = serve.cli("sql", "SELECT CAST(uuid AS VARCHAR) AS uuid FROM events", "--format", "json", check=False)
        rows = [row["uuid"] for row in json.loads(done.stdout)] if done.returncode == 0 else []  # there is no warehouse yet
    missing = wanted - set(rows)
    assert not missing, "%d of %d are no rows" % (len(missing), len(wanted))
    assert len(rows) == len(set(rows)), "%d rows of %d events" % (len(rows), len(set(rows)))
    print("    %d rows, each once" % len(rows))


def test_black_hole():
    serve, prefix = whole()
    with serve:
        senders = on_kafka.Senders(serve, pause=0.05)
        on_kafka.wait_for(lambda: senders.count() > 100 and told(serve)[0] == 0)
        watch = Watch(serve, senders)
        watch.start()
        part.cut()
        on_kafka.wait_for(lambda: told(serve)[0] == 1)
        before = senders.count()
        time.sleep(SECONDS)
        during = senders.count() - before
        status = serve.cli("status").stdout
        assert "cannot be counted now" in status and "the brokers are away" in status and "wait in the spool" in status, status
        assert during > 20 and not senders.no, (during, senders.no)
        since = time.monotonic()
        part.mend()
        drained(serve)
        drain, came = watch.drain(since)
        print("    %d answered by the disk in %.0f s; then %.0f records a second left the spool while %.0f came, %.1f s after the brokers were back"
              % (during, SECONDS, drain, came, time.monotonic() - since))
        time.sleep(1)
        senders.stop()
        assert not senders.no, (senders.no, senders.last_no)
        assert drain >= 3 * came, "the spool empties at %.0f records a second while %.0f come" % (drain, came)
        settled(serve, senders, prefix)


def test_black_hole_without_a_spool():
    serve, prefix = whole("  spool: false\n")
    with serve:
        senders = on_kafka.Senders(serve)
        on_kafka.wait_for(lambda: senders.count() > 50)
        part.cut()
        on_kafka.wait_for(lambda: sum(senders.no.values()) > 20)
        part.mend()
        refused = dict(senders.no)
        assert set(refused) == {503}, refused
        before = senders.count()
        on_kafka.wait_for(lambda: senders.count() > before + 50)
        senders.stop()
        print("    slowest refusal after %.2f s" % senders.slowest_no)
        assert senders.slowest_no < 2 * max(1.0, contention()), senders.slowest_no
        settled(serve, senders, prefix)


def test_leaders_move():
    serve, prefix = whole()
    with serve:
        senders = on_kafka.Senders(serve, pause=0.05)
        on_kafka.wait_for(lambda: senders.count() > 100 and told(serve)[0] == 0)
        for n in (1, 2, 3):  # each stops as an operator stops it, and comes back
            part.stop_one(n)
            time.sleep(1)
            part.start_one(n)
            time.sleep(2)
        drained(serve)
        senders.stop()
        assert not senders.no, (senders.no, senders.last_no)
        settled(serve, senders, prefix)


def main():
    global part, on_kafka
    failed = 0
    with tempfile.TemporaryDirectory(prefix="penstock-hole-") as folder:
        kafka.fetch()
        part = kafka.Part(folder, brokers=3, relay=True)
        try:
            os.environ.update(part.start())
            on_kafka = module_of("20_capture_on_kafka.py")
            for name, test in list(globals().items()):
                if not name.startswith("test_") or (len(sys.argv) > 1 and sys.argv[1] not in name):
                    continue
                print("[ RUN      ] " + name, flush=True)
                try:
                    part.mend()
                    test()
                    print("[       OK ] " + name, flush=True)
                except Exception as error:
                    failed += 1
                    print("[  FAILED  ] %s: %s: %s" % (name, type(error).__name__, error), flush=True)
        finally:
            part.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
