#!/usr/bin/env python3
# parts: kafka postgres clickhouse alone
"""A standby of PostgreSQL that lacks the last commits takes over: what was acknowledged is there, once, in order, counts add up, and persons
are what the events say.

The standby stops receiving under load, the primary is killed, and the standby is promoted and stands at the primary's address. Each
round has a new standby. By turns it happens while clients send; while nobody does, so that only ingest itself can notice that commits are
gone; and with ingest killed beside it. PROMOTIONS, PROMOTION_KINDS and PROMOTION_SEED say how many and which."""
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

os.environ["PENSTOCK_DEPLOY"] = "cluster"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for folder in ("flow", "parts", "soak", "cluster"):
    sys.path.insert(0, os.path.join(ROOT, "tests", folder))
import deploy  # noqa: E402
import ledger  # noqa: E402
import machines  # noqa: E402
import postgres  # noqa: E402
from cluster_kills import Project, rows_once, stores_agree  # noqa: E402
from harness import Serve, uuid7, wait_for  # noqa: E402

CONFIG = "ingest:\n  geoip_folder: \"off\"\nload:\n  batch_wait: 250ms\n"
SETTINGS = {"wal_level": "replica", "max_wal_senders": "10", "wal_keep_size": "512MB", "hot_standby": "on"}


class Pair:
    """A primary, and who follows it; after fail_over() who followed is the primary, at the same address."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.primary = postgres.Part(self.made("first"), settings=SETTINGS)
        self.primary.start()
        self.standby = None

    def made(self, name):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        return folder

    def follow(self):
        self.count += 1
        self.standby = postgres.Part(self.made("standby-%d" % self.count), settings=SETTINGS)
        if self.standby.account is not None:
            os.chown(self.standby.folder, *self.standby.account)
        done = subprocess.run([os.path.join(postgres.programs(), "pg_basebackup"), "-D", self.standby.data, "-R", "-X", "stream", "-c", "fast",
                               "--no-sync", "-d", self.primary.url.rsplit("/", 1)[0]], capture_output=True, text=True, cwd="/",
                              **self.standby.as_account())
        assert done.returncode == 0, done.stderr
        self.standby.start()
        wait_for(lambda: self.standby.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1")

    def cut(self):
        """The standby receives nothing any more."""
        self.standby.sql("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
        self.standby.sql("SELECT pg_reload_conf()")
        wait_for(lambda: self.standby.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0")

    def commits(self, part):
        return int(part.sql("SELECT coalesce(sum(commits), 0) FROM penstock.places", "people"))

    def fail_over(self):
        """How many commits were lost."""
        before, port = self.commits(self.primary), self.primary.port
        self.primary.kill()
        shutil.rmtree(self.primary.data)
        self.standby.sql("SELECT pg_promote(true, 60)", "postgres")
        lost = before - self.commits(self.standby)
        self.standby.stop()
        self.standby.port = port
        self.standby.start()
        self.primary, self.standby = self.standby, None
        return lost

    def stop(self):
        for part in filter(None, (self.primary, self.standby)):
            part.kill()


def odd_ones(serve, token, rnd, count):
    """What leaves other rows than events: letters, points of pages, groups, merges. How many of each kind were acknowledged."""
    for n in range(count):
        page = {"$heatmap_data": {"https://a.example/": [{"x": rnd.randrange(900), "y": n, "target_fixed": False, "type": "click"}]},
                "$viewport_height": 900, "$viewport_width": 1000, "$session_id": uuid7()}
        batch = [{"event": "", "distinct_id": "bad", "uuid": uuid7()},
                 {"event": "$$heatmap", "distinct_id": "h%d" % n, "uuid": uuid7(), "properties": page},
                 {"event": "$identify", "distinct_id": "known%d" % n, "uuid": uuid7(), "properties": {"$anon_distinct_id": "anon%d" % n, "$set": {"n": n}}},
                 {"event": "$groupidentify", "distinct_id": "known%d" % n, "uuid": uuid7(),
                  "properties": {"$group_type": "company", "$group_key": "g%d" % (n % 7), "$group_set": {"n": n}}}]
        serve.post("/batch/", {"api_key": token, "batch": batch})
        time.sleep(0.02)


class Imports(threading.Thread):
    """Beside the crowd, by the other topic: in which order rows of the two come is another one each time."""

    def __init__(self, serve, token):
        super().__init__(daemon=True)
        self.serve, self.token, self.over, self.sent = serve, token, threading.Event(), set()

    def run(self):
        while not self.over.is_set():
            batch = [{"event": "import", "distinct_id": "i%d" % n, "uuid": uuid7(), "timestamp": "2025-01-01T00:00:00Z"} for n in range(10)]
            for event in batch:  # until it is acknowledged
                self.sent.add(event["uuid"])
            while self.serve.post("/batch/", {"api_key": self.token, "historical_migration": True, "batch": batch}, expect=None).status != 200:
                time.sleep(0.05)
            time.sleep(0.04)

    def stop(self):
        self.over.set()
        self.join(60)
        assert not self.is_alive()

    def check(self, serve, team):
        rows = collections.Counter(row["uuid"] for row in serve.sql("SELECT uuid FROM events WHERE event = 'import' AND team_id = %d" % team))
        lost, doubled = self.sent - set(rows), [one for one, count in rows.items() if count > 1]
        return ["team %d: of %d imported events %d are lost, %d doubled" % (team, len(self.sent), len(lost), len(doubled))] if lost or doubled else []


def state(serve, team):
    return {"letters": int(serve.sql("SELECT count(*) AS n FROM dead_letters WHERE team_id = %d" % team)[0]["n"]),
            "points": int(serve.sql("SELECT count(*) AS n FROM heatmaps WHERE team_id = %d" % team)[0]["n"]),
            "groups": {row["group_key"]: int(row["n"]) for row in serve.sql(
                "SELECT group_key, group_properties->>'$.n' AS n FROM groups WHERE team_id = %d" % team)}}


def one_round(serve, pair, rnd, number, kind):
    token = "phc_round_%d" % number
    serve.cli("project", "create", "round %d" % number)
    serve.cli("token", "create", "--token", token, "--project", "round %d" % number)
    team = number + 2
    serve.post_when_known(token, "/e/", {"api_key": token, "event": "ready", "distinct_id": "ready", "uuid": uuid7()})
    pair.follow()
    crowd = ledger.Crowd(serve, token, clients=4, rate=200, seed=rnd.randrange(1 << 30))
    imports = Imports(serve, token)
    crowd.start()
    imports.start()
    odd = 10 + rnd.randrange(20)
    odd_ones(serve, token, rnd, odd)
    pair.cut()
    end = time.monotonic() + rnd.choice([0.3, 1, 3]) * rnd.uniform(0.5, 1.5)
    more = 5 + rnd.randrange(20)
    odd_ones(serve, token, rnd, more)
    time.sleep(max(0.0, end - time.monotonic()))
    wait_for(lambda: pair.commits(pair.primary) > pair.commits(pair.standby))
    if kind == "idle":
        crowd.stop()
        imports.stop()
        serve.settle()
    lost = pair.fail_over()
    if kind == "killed":
        serve.kill("ingest")
    if kind != "idle":
        time.sleep(rnd.uniform(0.5, 3))
        crowd.stop()
        imports.stop()
    print("round %d, %s: %d commits lost; %s" % (number, kind, lost, crowd.summary()), flush=True)
    return team, token, crowd, imports, max(odd, more), odd + more, lost


def wrong_of(serve, rounds, status):
    """What is not as it should be, each by itself."""
    site = type("Site", (), {"env": deploy.MADE[deploy.name_of(serve.data)], "sql": staticmethod(serve.sql)})
    wrong = stores_agree(site)[:5] + rows_once(site)
    for team, token, crowd, imports, highest, odd, _ in rounds:
        found, project = state(serve, team), Project(serve, token, team)
        known = serve.sql("SELECT count(*) AS n FROM person_distinct_ids WHERE team_id = %d AND distinct_id LIKE 'known%%'" % team)
        for what, got, wanted in (("letters", found["letters"], odd), ("points", found["points"], odd), ("groups", len(found["groups"]), 7),
                                  ("known ids", int(known[0]["n"]), highest)):
            wrong += [] if got == wanted else ["team %d: %d %s of %d" % (team, got, what, wanted)]
        wrong += imports.check(serve, team)
        try:
            crowd.check(project, status)
        except AssertionError as said:
            wrong.append("team %d: %s" % (team, said))
    return wrong


def check(serve, rounds):
    """settle() does not wait for ingest to notice the loss: where nobody sends, nothing waits."""
    end = time.monotonic() + 60
    while True:
        try:
            status = serve.settle()
            wrong = wrong_of(serve, rounds, status)
        except AssertionError as said:
            wrong = [str(said)]
        if not wrong or time.monotonic() > end:
            break
        time.sleep(0.5)
    assert not wrong, "%s\n%s" % ("\n".join(wrong), serve.log()[-3000:])
    return status


def main():
    seed = int(os.environ.get("PROMOTION_SEED", "5"))
    rnd, kinds = random.Random(seed), os.environ.get("PROMOTION_KINDS", "busy idle killed").split()
    with tempfile.TemporaryDirectory(prefix="penstock-promoted-") as folder:
        os.chmod(folder, 0o755)
        pair = Pair(folder)
        machines.postgres = lambda site, sql: json.loads(pair.primary.sql("SELECT coalesce(json_agg(t), '[]') FROM (%s) t" % sql, "people"))
        data = os.path.join(folder, "site", "data")
        try:
            pair.primary.sql("CREATE DATABASE people", "postgres")
            env = deploy.make(data)
            env["PENSTOCK_PEOPLE_URL"] = pair.primary.url.rsplit("/", 1)[0] + "/people"
            os.makedirs(os.path.dirname(data))
            with Serve(data=data, config=CONFIG) as serve:
                rounds = [one_round(serve, pair, rnd, n, kinds[n % len(kinds)]) for n in range(int(os.environ.get("PROMOTIONS", "3")))]
                assert sum(one[6] for one in rounds) > 0, "no commit was lost: this proved nothing"
                status = check(serve, rounds)
                for told in ("has lost commits", "is made up for"):
                    assert told in serve.log(), "not told: %s\n%s" % (told, serve.log()[-3000:])
                print("seed %d: %s" % (seed, json.dumps({k: status[k] for k in ("accepted", "stored", "deduplicated", "dead_lettered")})))
        finally:
            pair.stop()
            deploy.drop(data)


if __name__ == "__main__":
    main()
