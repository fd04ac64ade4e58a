#!/usr/bin/env python3
"""`./dev soak elasticity [N [SEED]]`: machines join and leave a cluster N times, one every 20 s, under steady load.

Two captures, two ingests, two loaders; then one joins, or one leaves: asked to (SIGTERM), or by a power switch (every fourth).
Each accepted event is one row, of each id in the order of the answers. How long it took from the answer until a query found
the row is measured all the time by events of their own, and told for the whole and after each change; and for units that moved beside
those that did not in the same seconds, which is what a change costs, whatever else holds the machine up."""
import collections
import datetime
import http.client
import json
import os
import random
import re
import sys
import threading
import time
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cluster_kills  # noqa: E402
import families  # noqa: E402
import ledger  # noqa: E402  of tests/flow
import machines  # noqa: E402

PARTITIONS = 6
PROBES = 12
LOOK = 0.1
SETTLED = 10  # seconds after a change in which units that moved are told apart


class Probes:
    """An event of each of some ids in turn; when it was answered, and when a query found it."""

    def __init__(self, site, token, every=0.05):
        self.site, self.token, self.every, self.over = site, token, every, threading.Event()
        self.ids, self.unit = [], {}
        for n in range(10000):  # as many in each unit
            unit = families.partition_of(token, "p%d" % n, PARTITIONS)
            if list(self.unit.values()).count(unit) < PROBES // PARTITIONS:
                self.ids.append("p%d" % n)
                self.unit["p%d" % n] = unit
        self.acked = collections.defaultdict(list)  # id -> when its n-th was answered
        self.seen = collections.defaultdict(list)   # id -> when its n-th was found
        self.failed, self.blind = None, 0
        self.threads = [threading.Thread(target=self.guard, args=(run,), daemon=True) for run in (self.send, self.look)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def guard(self, run):
        try:
            run()
        except Exception as failure:
            self.failed = failure

    def send(self):
        connection, turn, due = None, 0, time.time()
        while not self.over.is_set():
            who = self.ids[turn % len(self.ids)]
            turn += 1
            body = json.dumps({"api_key": self.token, "event": "probe", "distinct_id": who, "uuid": machines.harness.uuid7(),
                               "properties": {"n": len(self.acked[who]) + 1}})
            while True:
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.site.machines[0].port, timeout=15)
                    connection.request("POST", "/e/", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        break
                except (OSError, http.client.HTTPException):
                    connection = None
                time.sleep(0.02)
            self.acked[who].append(time.time())
            due = max(due + self.every, time.time() - 1)
            time.sleep(max(0.0, due - time.time()))

    def ask(self):
        sql = "SELECT distinct_id, max(JSONExtractInt(properties, 'n')) FROM %s.events WHERE event = 'probe' GROUP BY 1 FORMAT TSV" % (
            self.site.env["PENSTOCK_WAREHOUSE_DATABASE"])
        with urllib.request.urlopen(os.environ["PENSTOCK_TEST_CLICKHOUSE"] + "/?" + urllib.parse.urlencode({"query": sql}), timeout=60) as answer:
            return [line.split("\t") for line in answer.read().decode().splitlines()]

    def look(self):
        while not (self.over.is_set() and self.all_seen()):
            began = time.time()
            for who, n in self.ask():
                now = time.time()
                self.seen[who] += [now] * (int(n) - len(self.seen[who]))
            self.blind = max(self.blind, time.time() - began)
            time.sleep(LOOK)

    def all_seen(self):
        return all(len(self.seen[who]) >= len(times) for who, times in self.acked.items())

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(120)
            if self.failed:
                raise self.failed
        assert self.all_seen(), "not every event that was answered is found"

    def lags(self):
        """[(answered, unit, seconds until found)]"""
        return sorted((acked, self.unit[who], seen - acked) for who, times in self.acked.items()
                      for acked, seen in zip(times, self.seen[who]))


class Seat:
    """A client's capture: its own while that is there, else the first, which stays."""

    def __init__(self, site, n):
        self.site, self.n, self.moved = site, n, False

    @property
    def port(self):
        there = [one for one in self.site.of("capture") if one.wanted and one.alive()]
        one = there[self.n % len(there)] if self.n % 2 and there else self.site.machines[0]
        self.moved = self.moved or self.n % 2 == 1
        return one.port


def quantile(lags, part):
    values = sorted(lag for _, _, lag in lags)
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0


class Changes:
    """Who joins and leaves: of each role two to three, one of which at least stays."""

    def __init__(self, site, rnd):
        self.site, self.random, self.done, self.turn = site, rnd, [], 0

    def once(self):
        self.turn += 1
        role = ["ingest", "load", "capture"][self.turn % 3] if self.turn % 7 else "ingest"
        there = [one for one in self.site.of(role) if one.wanted]
        if len(there) >= 3 or (len(there) == 2 and self.random.random() < 0.4):
            one = self.random.choice(there[1:] if role == "capture" else there)  # the first answers our questions
            one.wanted = False
            began = time.time()
            if self.turn % 4 == 0 and role != "capture":  # what a capture has on its disk waits there until it comes back
                what = "killed"
                one.kill("all")
            else:
                what = "left"
                one.leave()
            self.done.append((began, "%s %s (%.1f s)" % (role, what, time.time() - began), one.name))
        else:
            gone = [one for one in self.site.of(role) if not one.wanted]
            began = time.time()
            if gone:
                gone[0].wanted = True
                gone[0].start()
                one = gone[0]
            else:
                one = self.site.add(role)
            self.done.append((began, "%s joined" % role, one.name))


STOPPED = re.compile(r"^(\S+) info (\w+): unit (\d+) is (another's|ours)", re.M)


def owners(site):
    """(role, unit) -> [(when, whether somebody took it, or gave it away)]"""
    told = collections.defaultdict(list)
    for one in site.machines:
        for when, role, unit, whose in STOPPED.findall(one.log()):
            told[role, int(unit)].append((datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp(), whose == "ours"))
    return told


def gaps(site):
    """role -> seconds for which a unit was nobody's, each time; those that began with a kill are not known."""
    found = collections.defaultdict(list)
    for (role, _), times in owners(site).items():
        times.sort()
        for (at, ours), (then, ours_then) in zip(times, times[1:]):
            if not ours and ours_then:
                found[role].append(then - at)
    return found


def campaign(changes, seed, every=20.0, rate=150, say=print):
    rnd = random.Random(seed)
    with machines.Site(cluster_kills.ROLES, partitions=PARTITIONS, config=cluster_kills.CONFIG) as site:
        token = site.token()
        site.post_when_known(token, "/e/", {"api_key": token, "event": "ready", "distinct_id": "ready", "uuid": machines.harness.uuid7()})
        site.settle()
        probes, clients = Probes(site, token), ledger.Crowd(site, token, clients=8, rate=rate * 0.9, seed=seed)
        crowd = families.Crowd(site, token, 1, families=40, writers=4, rate=rate * 0.1, seed=seed)
        for n, client in enumerate(clients.clients):
            client.serve = Seat(site, n)
        for n, writer in enumerate(crowd.writers):
            writer.to = Seat(site, n)
        for one in (probes, clients, crowd):
            one.start()
        time.sleep(every)  # nothing changes: what this machine gives
        change = Changes(site, rnd)
        for _ in range(changes):
            change.once()
            say(change.done[-1][1])
            time.sleep(every)
        for one in site.machines:  # a capture that left may have something on its disk still
            if "capture" in one.roles and not one.alive():
                one.wanted = True
                one.start()
        for one in (clients, crowd, probes):
            one.stop()
        for client in clients.clients:  # between two captures, of which one wrote to its disk, no order is promised
            if client.serve.moved:
                client.order.clear()
        status = site.settle(300)
        wrong = cluster_kills.rows_once(site) + cluster_kills.stores_agree(site)
        rows = clients.check(site, status)
        more, family_rows = crowd.check(families.Found(site, 1))
        wrong += more
        if wrong:
            raise AssertionError("seed %d: %d things are wrong:\n%s\n%s" % (seed, len(wrong), "\n".join(map(str, wrong[:20])), site.log()[-4000:]))
        return report(site, probes, change, {"rows": rows + family_rows, "status": status, "summary": clients.summary()})


def report(site, probes, change, done):
    lags = probes.lags()
    first = change.done[0][0] if change.done else time.time()
    done["calm"] = [quantile([lag for lag in lags if lag[0] < first], part) for part in (0.5, 0.99, 1)]
    done["all"] = [quantile([lag for lag in lags if lag[0] >= first], part) for part in (0.5, 0.99, 1)]
    done["graceful"] = lags
    done["lines"], unkilled, told, stayed = [], [], owners(site), []
    done["moved"] = []
    for (at, what, name), (then, _, _) in zip(change.done, change.done[1:] + [(time.time(), "", "")]):
        some = [lag for lag in lags if at - 2 <= lag[0] < then - 2]
        done["lines"].append("%-24s %-12s p50 %.2f s, p99 %.2f, longest %.2f" % (what, name, *(quantile(some, part) for part in (0.5, 0.99, 1))))
        if "killed" not in what:
            unkilled += some
            moved = {unit for (_, unit), times in told.items() if any(at - 0.5 < when < at + SETTLED - 2 for when, _ in times)}
            near = [lag for lag in some if moved and lag[0] < at + SETTLED]
            done["moved"] += [lag for lag in near if lag[1] in moved]
            stayed += [lag for lag in near if lag[1] not in moved]
    done["moved"], done["stayed"] = ([quantile(lags, part) for part in (0.5, 0.99, 1)] for lags in (done["moved"], stayed))
    done["graceful"] = [quantile(unkilled, part) for part in (0.5, 0.99, 1)]
    done["gaps"] = {role: [round(quantile([(0, 0, gap) for gap in found], part), 2) for part in (0.5, 0.99, 1)] for role, found in gaps(site).items()}
    done["blind"] = probes.blind
    return done


def main():
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed %d" % seed, flush=True)
    done = campaign(changes, seed, say=lambda text: print(text, flush=True))
    for line in done["lines"]:
        print("  " + line)
    print("a unit was nobody's (not counting kills), p50, p99, longest: %s; the longest question took %.2f s" % (done["gaps"], done["blind"]))
    print("fates: %s" % {k: done["status"][k] for k in ("accepted", "stored", "deduplicated", "dead_lettered", "dropped", "pending")})
    print("units that moved, without kills, from 2 s before to %d s after: p50/p99/longest %.2f/%.2f/%.2f s; the others meanwhile: %.2f/%.2f/%.2f s" % (
        SETTLED, *done["moved"], *done["stayed"]))
    told = ["%.2f/%.2f/%.2f s" % tuple(done[which]) for which in ("calm", "all", "graceful")]
    print("result: %d changes, %s, %d rows; from answer to row p50/p99/longest: %s with no change, %s all, %s without kills" % (
        changes, done["summary"], done["rows"], *told))


if __name__ == "__main__":
    main()
