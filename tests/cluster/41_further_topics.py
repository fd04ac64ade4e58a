#!/usr/bin/env python3
# parts: kafka postgres clickhouse
"""Events that a capture puts on topics beside the main one (`log.kinds_apart`, as PostHog's does) are rows, each once, although the
ingests that bring them over are killed again and again; so are messages without a key that stand in several partitions, twice, as a
capture that forces an id into overflow leaves them when its client sends again."""
import datetime
import json
import os
import random
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "cluster"), os.path.join(ROOT, "tests", "flow")]
import machines  # noqa: E402
import topics  # noqa: E402
from harness import uuid7, wait_for  # noqa: E402

BROKERS = os.environ["PENSTOCK_TEST_KAFKA"]
FURTHER = ["events_plugin_ingestion_overflow", "error_tracking_events", "heatmaps_ingestion", "ingestion-clientwarnings-main-1",
           "events_plugin_ingestion_ai"]
CONFIG = ("log:\n  form: upstream\n  kinds_apart: true\n  carry: [%s]\ningest:\n  geoip_folder: \"off\"\n  threads: 1\nload:\n  batch_wait: 250ms\n"
          % ", ".join(FURTHER))
VIEWPORT = {"$viewport_height": 1000, "$viewport_width": 800}
POINT = {"x": 100, "y": 200, "target_fixed": True, "type": "click"}
ROUNDS, KILLS = 150, 8


def overflow(token, who, one, prefix, partition, now):
    """By hand: no key."""
    value = {"uuid": one, "distinct_id": who, "ip": "203.0.113.7", "data": json.dumps({"event": "hot", "properties": {}, "uuid": one}),
             "now": now, "token": token, "event": "hot", "timestamp": now}
    subprocess.run(["kcat", "-P", "-b", BROKERS, "-t", prefix + FURTHER[0], "-p", str(partition), "-H", "token=" + token],
                   input=json.dumps(value), text=True, check=True, timeout=60)


class Sender(threading.Thread):
    def __init__(self, site, token, prefix):
        super().__init__(daemon=True)
        self.site, self.token, self.prefix, self.failed = site, token, prefix, None
        self.events, self.maps, self.warnings = set(), set(), 0

    def run(self):
        try:
            for n in range(ROUNDS):
                self.round(n)
        except Exception as failure:
            self.failed = failure

    def round(self, n):
        kinds = [("signup", {"n": n}), ("$exception", {"$exception_list": []}), ("$ai_generation", {"$ai_model": "m"}),
                 ("$$heatmap", {**VIEWPORT, "$heatmap_data": {"http://a.b/%d" % n: [POINT]}}),
                 ("$$client_ingestion_warning", {"$$client_ingestion_warning_message": "too big"}),
                 ("$pageview", {**VIEWPORT, "$current_url": "http://a.b/p%d" % n, "$heatmap_data": {"http://a.b/p%d" % n: [POINT]}})]
        batch = [{"event": event, "distinct_id": "d%d" % (n % 17), "uuid": uuid7(), "properties": properties} for event, properties in kinds]
        self.site.post("/batch/", {"api_key": self.token, "batch": batch})
        self.events |= {one["uuid"] for one in batch if not one["event"].startswith("$$")}
        self.maps |= {"http://a.b/%d" % n, "http://a.b/p%d" % n}
        self.warnings += 1
        if n % 5 == 0:
            one, now = uuid7(), datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            for partition in random.sample(range(3), 2):
                overflow(self.token, "hot%d" % (n % 3), one, self.prefix, partition, now)
            self.events.add(one)
        time.sleep(0.1)


def rows(site, column, table):
    return [row["v"] for row in site.sql("SELECT toString(%s) AS v FROM %s" % (column, table))]


def warned(site):
    """Of which events: a warning is told again when its event comes again."""
    return set(rows(site, "event_uuid", "ingestion_warnings WHERE type = 'client_ingestion_warning'"))


def main():
    draw = random.Random(int(os.environ.get("CLUSTER_SEED", "5")))
    with machines.Site(["capture", "ingest", "ingest", "load"], partitions=4, config=CONFIG) as site:
        prefix = site.env["PENSTOCK_LOG_TOPIC_PREFIX"]
        topics.make(BROKERS, [prefix + name for name in FURTHER], 3)
        sender = Sender(site, site.token(), prefix)
        sender.start()
        for _ in range(KILLS):
            time.sleep(draw.uniform(0.5, 3))
            machine = draw.choice(site.of("ingest"))
            machine.kill(draw.choice(["ingest", "ingest", "all"]))
            if not machine.alive():
                machine.start()
        sender.join(300)
        assert not sender.is_alive(), "the sender does not end"
        if sender.failed:
            raise sender.failed
        wait_for(lambda: set(rows(site, "uuid", "events")) >= sender.events and len(set(rows(site, "current_url", "heatmaps"))) >= len(sender.maps), 180)
        wait_for(lambda: len(warned(site)) >= sender.warnings, 180)
        status = site.settle()
        stored = rows(site, "uuid", "events")
        assert sorted(stored) == sorted(sender.events), (len(stored), len(sender.events), len(set(stored)))
        maps = rows(site, "current_url", "heatmaps")
        assert sorted(maps) == sorted(sender.maps), (len(maps), len(sender.maps))
        assert len(warned(site)) == sender.warnings, (len(warned(site)), sender.warnings)
        assert status["dead_lettered"] == 0 and status["deduplicated"] >= ROUNDS // 5, status
        print("%d events and %d points, each once; %d warnings; %d came again" % (len(stored), len(maps), sender.warnings, status["deduplicated"]))


if __name__ == "__main__":
    main()
