#!/usr/bin/env python3
"""`./dev soak memory [N] [SEED]`: memory that cannot be had.

First capture: for requests of each kind (all endpoints, wrappings, sizes) every allocation on their way fails once, the
first, the second, ... until none is left; then everything fails for a moment. Capture lives on, and answers 200, 503 or not at
all. Then it begins N times three, and the n-th allocation fails, or two or three from it on. Then ingest and load, while clients send: N times the n-th allocation fails, or several in a row, at random, also
while the role starts. A role may end itself, saying why, but never by a signal. At the end everything acknowledged is
there, once (tests/flow/ledger.py), and nothing that was refused.
"""
import collections
import datetime
import gzip
import http.client
import json
import os
import random
import re
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import allocations
from harness import ROLES, Serve, uuid7
from ledger import Crowd

EACH_MAX = 3000  # allocations on the way of one request; an endless loop otherwise


class Sender:
    """Requests of each kind; what became of their ids."""

    def __init__(self, serve, token, rnd):
        self.serve, self.token, self.rnd = serve, token, rnd
        self.acked, self.refused, self.statuses = set(), set(), collections.Counter()

    def event(self, **more):
        return {"event": "other", "distinct_id": "u%d" % self.rnd.randrange(30), "uuid": uuid7(),
                "properties": {"$set": {"n": self.rnd.random()}, "x": "y" * self.rnd.randrange(200)}, **more}

    def batch(self, count, **more):
        return json.dumps({"api_key": self.token, "batch": [self.event() for _ in range(count)], **more}).encode()

    def v1(self):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        body = {"created_at": now, "batch": [{**self.event(), "timestamp": now, "options": {}} for _ in range(5)]}
        return json.dumps(body).encode(), {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/json", "User-Agent": "memory/1",
            "PostHog-Sdk-Info": "memory/1", "PostHog-Attempt": "1", "PostHog-Request-Id": str(uuid.uuid4()),
            "PostHog-Request-Timestamp": now}

    def zstd(self, text):
        return subprocess.run(["zstd", "-q", "-c"], input=text, capture_output=True, check=True).stdout

    def kinds(self):
        """name -> (method, path, body, headers)"""
        js, form = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}
        v1, v1_headers = self.v1()
        recording = {"token": self.token, "event": "$snapshot", "distinct_id": "ada", "uuid": uuid7(),
                     "properties": {"$session_id": "s-1", "$snapshot_data": [{"n": 1, "x": "x" * 20000}]}}
        message = {"writeKey": self.token, "type": "track", "event": "other", "userId": "u1", "messageId": uuid7()}
        return {
            "one event": ("POST", "/e/", json.dumps(dict(self.event(), api_key=self.token)).encode(), {**js, "Origin": "https://shop.example"}),
            "a batch": ("POST", "/batch/", self.batch(50), js),
            "a large batch": ("POST", "/batch/", self.batch(2000), js),
            "an import": ("POST", "/batch/", self.batch(20, historical_migration=True), js),
            "gzip": ("POST", "/batch/", gzip.compress(self.batch(500), 1), {**js, "Content-Encoding": "gzip"}),
            "a form": ("POST", "/e/", b"data=" + self.batch(3).replace(b"%", b"%25").replace(b"&", b"%26").replace(b"+", b"%2B"), form),
            "v1": ("POST", "/i/v1/analytics/events", v1, v1_headers),
            "v1, zstd": ("POST", "/i/v1/analytics/events", self.zstd(v1), {**v1_headers, "Content-Encoding": "zstd"}),
            "a recording": ("POST", "/s/", json.dumps(recording).encode(), js),
            "Segment": ("POST", "/v1/batch", json.dumps({"writeKey": self.token, "batch": [message]}).encode(), js),
            "flags": ("POST", "/flags/?v=2", json.dumps({"token": self.token, "distinct_id": "u"}).encode(), js),
            "configuration": ("GET", "/array/%s/config.js" % self.token, None, {}),
            "metrics": ("GET", "/metrics", None, {}),
            "a preflight": ("OPTIONS", "/e/", None, {"Origin": "https://shop.example"}),
        }

    def send(self, method, path, body, headers, connect):
        """The status; None: the connection ended. Ids are known by their form, whatever is around them."""
        ids = set()
        if body is not None and path not in ("/s/", "/flags/?v=2"):
            text = body
            if headers.get("Content-Encoding") == "gzip":
                text = gzip.decompress(body)
            elif headers.get("Content-Encoding") == "zstd":
                text = subprocess.run(["zstd", "-q", "-d", "-c"], input=body, capture_output=True, check=True).stdout
            ids = set(re.findall(r'"(?:uuid|messageId)": ?"([0-9a-f-]{36})"', text.decode()))
        connection = connect()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200 and path.startswith("/i/v1"):
                assert all(v == {"result": "ok"} for v in json.loads(text)["results"].values()), text
            assert answer.status in (200, 503), "%s is answered %d: %s" % (path, answer.status, text[:300])
            (self.acked if answer.status == 200 else self.refused).update(ids)
            return answer.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def each_allocation(serve, memory, sender, kind, connect, stride, pid):
    """The n-th allocation fails, for each n (or each stride-th), while a request of this kind is served."""
    hits = 0
    for n in range(0, EACH_MAX, stride):
        request = sender.kinds()[kind]
        memory.arm("capture", countdown=n)
        status = sender.send(*request, connect)
        met = memory.hits()
        memory.disarm()
        sender.statuses[status] += 1
        assert serve.role_pid("capture") == pid, "capture ended at allocation %d of %s:\n%s" % (n, kind, serve.log()[-3000:])
        hits += met
        if not met:
            assert status == 200, "%s without a failure: %s" % (kind, status)
            return hits
    return hits


def plain(serve):
    return lambda: http.client.HTTPConnection("127.0.0.1", serve.port, timeout=20)


def capture_campaign(seed, stride):
    """Gives a line about it."""
    memory, rnd = allocations.Allocations(), random.Random(seed)
    with Serve(env=memory.environment()) as serve:
        sender = Sender(serve, serve.token(), rnd)
        pid, hits = serve.role_pid("capture"), {}
        for kind in sender.kinds():  # while nothing is made yet that is made once
            for n in (1, 0, 2, 0, 3, 1, 0):
                memory.arm("capture", countdown=n)
                sender.statuses[sender.send(*sender.kinds()[kind], plain(serve))] += 1
                hits["the first"] = hits.get("the first", 0) + memory.hits()
                memory.disarm()
        for kind in sender.kinds():
            hits[kind] = each_allocation(serve, memory, sender, kind, plain(serve), stride, pid)
        for kind in sender.kinds():  # nothing at all can be had
            memory.arm("capture", countdown=0, repeat=-1)
            sender.statuses[sender.send(*sender.kinds()[kind], plain(serve))] += 1
            memory.disarm()
        assert serve.role_pid("capture") == pid, serve.log()[-3000:]
        for kind, request in sender.kinds().items():
            assert sender.send(*request, plain(serve)) == 200, kind
        serve.settle()
        stored = collections.Counter(row["uuid"] for row in serve.sql("SELECT uuid FROM events"))
        assert not sender.acked - set(stored), "acknowledged and not there: %d" % len(sender.acked - set(stored))
        assert not sender.refused & set(stored), "refused and stored: %d" % len(sender.refused & set(stored))
        assert max(stored.values()) == 1
    memory.close()
    return "capture: %d failures (%s), answers %s" % (
        sum(hits.values()), ", ".join("%s %d" % pair for pair in hits.items()), dict(sender.statuses))


def starts_campaign(allocations_max, repeats, role="capture", user="nobody"):
    """Capture begins, and its n-th allocation fails, or that and some after it, for each n: it ends saying why and is started again,
    or goes on. It is told to become another user, and never takes it that there is none."""
    memory, ends = allocations.Allocations(), 0
    with Serve(env=memory.environment(), config="capture.user: %s\n" % user, extra=["--role", role], wait=False) as serve:
        serve.wait_ready()
        for n in range(allocations_max):
            for repeat in repeats:
                serve.kill("all")
                memory.arm(role, countdown=n, repeat=repeat)
                serve.start()
                assert memory.hits(), "a start has only %d allocations" % n
                memory.disarm()
        log = serve.log()
        ends = len(re.findall(r"role \w+ \(process \d+\) ended", log))
        bad = [line for line in log.splitlines() if "killed by signal" in line or "there is no user" in line]
        assert not bad, "of %d starts: %s\n%s" % (allocations_max * len(repeats), bad[:3], log[-3000:])
    memory.close()
    return "starts: %d, of them %d ended and were made again" % (allocations_max * len(repeats), ends)


def arm_at_random(memory, role, rnd, starts):
    """starts: each start that fails makes the supervisor wait longer, so few do."""
    memory.arm(role, countdown=rnd.choice((0, 1, 2, 3, 5, 8, rnd.randrange(30), rnd.randrange(300), rnd.randrange(3000))),
               repeat=rnd.choice((1, 2) if starts else (1, 1, 1, 3, 50)))


def give_work(serve, role, sender, rnd):
    """What makes this role allocate, besides the crowd."""
    if role == "catalog":
        serve.cli("token", "create", check=False)
    elif role == "capture":
        for kind in rnd.sample(sorted(sender.kinds()), 3):
            sender.send(*sender.kinds()[kind], plain(serve))


def roles_campaign(rounds, seed, seconds_max, starting=ROLES):
    """starting: who is killed now and then, to begin without memory."""
    memory, rnd = allocations.Allocations(), random.Random(seed)
    met = collections.Counter()
    with Serve(env=memory.environment()) as serve:
        token = serve.token()
        crowd, sender = Crowd(serve, token, clients=4, rate=400, seed=seed), Sender(serve, token, rnd)
        crowd.start()
        end = time.time() + seconds_max
        for turn in range(rounds):
            role = ("ingest", "load", "capture", "catalog")[turn % 4]
            starts = turn // 4 % 4 == 2 and role in starting
            if starts:
                serve.kill(role)  # what it does at its start meets it, too
            arm_at_random(memory, role, rnd, starts)
            give_work(serve, role, sender, rnd)
            until = time.time() + 1
            while not memory.hits() and time.time() < until:
                time.sleep(0.005)
            met[role] += memory.hits() > 0
            time.sleep(rnd.choice((0.01, 0.05, 0.1)))
            memory.disarm()
            if time.time() > end:
                break
        crowd.stop()
        rows = crowd.check(serve, serve.settle(240))  # after a kill load is careful: few rows a commit
        statuses = sum((client.statuses for client in crowd.clients), collections.Counter())
        assert set(statuses) <= {200, 503, None}, statuses
        stored = {row["uuid"] for row in serve.sql("SELECT uuid FROM events")}
        assert not sender.acked - stored, "acknowledged and not there: %d" % len(sender.acked - stored)
        log = serve.log()
        bad = [line for line in log.splitlines() if "killed by signal" in line and "signal 9" not in line]
        assert not bad, "ended by a signal: %s" % bad[:3]
        ends = collections.Counter(re.findall(r"role (\w+) \(process \d+\) ended", log))
    memory.close()
    return "roles: met %s, %s, %d rows, ends %s" % (dict(met), crowd.summary(), rows, dict(ends))


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1, 1 << 30)
    print(capture_campaign(seed, 1), flush=True)
    print(starts_campaign(rounds, (1, 2, 3)), flush=True)
    told = roles_campaign(rounds, seed, 3600)
    print(told)
    print("result: every allocation of capture failed once; " + told)


if __name__ == "__main__":
    main()
