#!/usr/bin/env python3
"""days.py [DAYS [SEED]]: a Penstock on one machine through so many days, a few seconds each (tests/shim/clock.c sets the wall clock).

What happens once a day, after a day, or after a month happens here, and what comes after it goes on: retention of the log, ids of
events that are forgotten after 28 days, hours and days in the account of fates, deletions and erasures that come due, projects that keep
their events for some days, the store of persons written anew; and every few days a role is killed, all of them, or nothing runs for two days.

Each day people of two projects send events, some of them again after days or weeks, one is not valid, and operators erase
people. A visitor without cookies comes every day, and is somebody new each time. Each evening: accepted = the sum of all
fates; of the project that keeps everything each event is one row, but for those of erased people, who have none a day later; sent again within 27 days it is a duplicate, after 30 it is a row of its own; of the project that keeps
five days no row is older than eleven, and none is missing that is younger than four. At the end each person's properties are those of its last event, the log
verifies, and no folder has grown for as long as it ran that should not have."""
import datetime
import json
import os
import random
import struct
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import shims
from harness import Serve

DAY = 86400
VIEWS = 3  # of a visitor without cookies, each day
KEEPS_DAYS, KEEPS_LATE = 5, 6  # of the second project; a restart or a jump makes the next day no day to expire on
CONFIG = """capture.segment_bytes: 1MiB
capture.retention: 3d
ingest.geoip_folder: "off"
load.idle: 1s
"""


class Clock(shims.Control):
    """The wall clock of the servers, the commands and the senders."""
    NAME = "clock"
    added = 0  # time that passes: the clock that tells jumps from it counts it, too
    jumped = 0

    def now(self):
        return time.time() + self.added + self.jumped

    def advance(self, seconds):
        self.added += seconds
        self.at[0:8] = struct.pack("<q", self.added * 1000000)

    def jump(self, seconds):
        """Somebody sets the wall clock."""
        self.jumped += seconds
        self.at[8:16] = struct.pack("<q", self.jumped * 1000000)

    def uuid7(self):
        number = bytearray(int(self.now() * 1000).to_bytes(6, "big") + os.urandom(10))
        number[6], number[8] = number[6] & 0x0F | 0x70, number[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(number)))


class Town:
    """Two projects, and what is known to have been sent to them."""

    def __init__(self, serve, clock, rnd):
        self.serve, self.clock, self.rnd = serve, clock, rnd
        self.tokens = [serve.token(), "phc_five_days"]
        self.command("project", "create", "five")
        self.command("token", "create", "--token", self.tokens[1], "--project", "five")
        self.command("project", "set", "--project", "five", "retention_days=%d" % KEEPS_DAYS)
        self.sent = [{}, {}]      # uuid -> (event, when it was sent last, rows)
        self.last = {}            # of the first project: distinct id -> n of its last event
        self.erasing, self.erased = {}, set()  # distinct id -> when it was asked
        self.duplicates = self.letters = self.count = self.erasures = 0
        self.again = self.forgotten = self.mornings = 0

    def command(self, *words, **options):
        return self.serve.cli(*words, env=self.serve.env, **options)

    def post(self, project, events):
        stamp = datetime.datetime.fromtimestamp(self.clock.now(), datetime.timezone.utc).isoformat()
        body = {"api_key": self.tokens[project], "batch": [dict(event, timestamp=event.get("timestamp", stamp)) for event in events]}
        self.serve.post_when_known(self.tokens[project], "/batch/", body)

    def morning(self, day):
        for project, people in (0, 40), (1, 10):
            events = []
            for _ in range(people):
                self.count += 1
                who = "d%d-%d" % (day, self.rnd.randrange(5)) if self.rnd.random() < 0.3 else "u%d" % self.rnd.randrange(30)
                if who in self.erasing or who in self.erased:
                    continue
                event = {"uuid": self.clock.uuid7(), "event": "visit", "distinct_id": who,
                         "properties": {"n": self.count, "$set": {"last": self.count}}}
                self.sent[project][event["uuid"]] = [event, self.clock.now(), 1]
                events.append(event)
                if project == 0:
                    self.last[who] = self.count
            if project == 0:
                events.append({"uuid": self.clock.uuid7(), "event": "", "distinct_id": "wrong"})
                self.letters += 1
                events += [{"uuid": self.clock.uuid7(), "event": "visit", "distinct_id": "$posthog_cookieless", "properties": {
                    "$cookieless_mode": True, "$raw_user_agent": "Firefox", "$host": "shop.example", "$timezone": "Europe/Berlin"}}
                    for _ in range(VIEWS)]
                self.mornings += 1
            self.post(project, events)

    def send_again(self):
        """Of the first project: some of the last four weeks, some of before."""
        now, chosen = self.clock.now(), []
        for entry in self.rnd.sample(sorted(self.sent[0].values(), key=lambda e: e[0]["uuid"]), min(12, len(self.sent[0]))):
            event, sent, _ = entry
            if event["distinct_id"] in self.erasing or event["distinct_id"] in self.erased:
                continue
            age = (now - sent) / DAY
            if age < 27:
                self.duplicates += 1
                self.again += 1
            elif age > 30:
                entry[1], entry[2] = now, entry[2] + 1
                self.last[event["distinct_id"]] = event["properties"]["n"]
                self.forgotten += 1
            else:
                continue
            chosen.append(event)
        if chosen:
            self.post(0, chosen)

    def operators(self, day):
        known = sorted(who for who in self.last if who not in self.erasing and who not in self.erased and who.startswith("d"))
        if day % 3 == 1 and known:
            who = self.rnd.choice(known)
            self.command("person", "delete", "--with-events", who)
            self.erasing[who] = self.clock.now()
        if day % 3 == 2 and self.erasing:  # at the end of a day, before it is due
            who = self.rnd.choice(sorted(self.erasing))
            asked = [r for r in json.loads(self.command("person", "show", who, "--json").stdout)["requests"]] \
                if self.clock.now() - self.erasing[who] < DAY - 3600 else []
            if asked:
                self.command("person", "undelete", str(asked[0]["request"]))
                del self.erasing[who]

    def row_counts(self, project):
        rows = self.serve.sql("SELECT uuid, count(*) AS n FROM events WHERE team_id = %d "
                              "AND distinct_id NOT LIKE 'cookieless%%' GROUP BY ALL" % (project + 1))
        return {row["uuid"]: int(row["n"]) for row in rows}

    def evening(self, day):
        status = self.serve.settle(120)
        assert status["deduplicated"] == self.duplicates, "day %d: %d duplicates, expected %d" % (day, status["deduplicated"], self.duplicates)
        assert status["dead_lettered"] == self.letters, "day %d: %d letters, expected %d" % (day, status["dead_lettered"], self.letters)
        visitors = self.serve.sql("SELECT count(*) AS n, count(DISTINCT distinct_id) AS ids FROM events WHERE distinct_id LIKE 'cookieless%'")[0]
        assert (int(visitors["n"]), int(visitors["ids"])) == (VIEWS * self.mornings, self.mornings), "day %d: %s" % (day, visitors)
        now = self.clock.now()
        for who, asked in list(self.erasing.items()):
            if now - asked > DAY + 3600:
                self.gone(who)
        rows = self.row_counts(0)
        for name, (event, _, count) in self.sent[0].items():
            who = event["distinct_id"]
            have = rows.pop(name, 0)
            if who in self.erased:
                assert have == 0, "day %d: %d rows of %s, who was erased" % (day, have, who)
            elif who not in self.erasing:
                assert have == count, "day %d: %d rows of event %s, expected %d" % (day, have, name, count)
        assert not rows, "day %d: rows that nobody sent: %s" % (day, list(rows.items())[:3])
        rows = self.row_counts(1)
        for name, (event, sent, _) in list(self.sent[1].items()):
            age = (now - sent) / DAY
            have = rows.get(name, 0)
            assert have == 1 or age > KEEPS_DAYS - 1, "day %d: an event of %.1f days has %d rows" % (day, age, have)
            assert have == 0 or age < KEEPS_DAYS + KEEPS_LATE, "day %d: an event of %.1f days is there still" % (day, age)

    def gone(self, who):
        """Waits for what is due; a minute of ours at most."""
        end = time.time() + 60
        while int(self.serve.sql("SELECT count(*) AS n FROM events WHERE team_id = 1 AND distinct_id = '%s'" % who)[0]["n"]) > 0:
            assert time.time() < end, "%s was to be erased, and has rows: %s" % (who, self.serve.sql("SELECT * FROM receipts ORDER BY id DESC LIMIT 3"))
            time.sleep(0.2)
        del self.erasing[who]
        self.last.pop(who, None)
        self.erased.add(who)
        self.erasures += 1


    def rewritten(self):
        """The store of persons is written anew some time after an erasure; what comes then is the test."""
        end = time.time() + 150
        while self.erasures > 0 and "the store of persons was written anew" not in self.serve.log():
            assert time.time() < end, "%d persons were erased, and their store was not written anew" % self.erasures
            time.sleep(0.5)


def folder_sizes(data):
    sizes = {}
    for name in "log", "people", "warehouse.duckdb":
        path = os.path.join(data, name)
        files = [path] if os.path.isfile(path) else [os.path.join(at, file) for at, _, names in os.walk(path) for file in names]
        sizes[name] = sum(os.stat(file).st_blocks * 512 for file in files if os.path.exists(file))
    return sizes


def night(serve, clock, day, rnd):
    """Until the next morning; sometimes something dies, sometimes nothing runs for two days."""
    if day % 11 == 10:
        serve.stop()
        clock.advance(2 * DAY)
        serve.start()
    elif day % 5 == 4:
        serve.kill(rnd.choice(["ingest", "load", "capture"]))
    elif day % 7 == 6:
        serve.kill("all")
        serve.start()
    for _ in range(4):
        clock.advance(6 * 3600)
        time.sleep(0.4)


def run(days, seed):
    rnd, clock = random.Random(seed), Clock()
    sizes = {}
    try:
        with Serve(config=CONFIG, env=clock.environment()) as serve:
            town = Town(serve, clock, rnd)
            for day in range(days):
                town.morning(day)
                town.send_again()
                serve.settle(120)
                town.operators(day)
                town.evening(day)
                if day in (days // 2, days - 1):
                    sizes[day] = folder_sizes(serve.data)
                    print("day %d: %s MiB" % (day, {name: size >> 20 for name, size in sizes[day].items()}), flush=True)
                night(serve, clock, day, rnd)
            town.rewritten()
            town.morning(days)
            town.evening(days)
            found = {row["distinct_id"]: int(row["last"]) for row in serve.sql(
                "SELECT d.distinct_id, p.properties->>'$.last' AS last FROM person_distinct_ids d JOIN persons p ON p.id = d.person_id AND p.team_id = d.team_id "
                "WHERE d.team_id = 1 AND NOT p.is_deleted AND NOT d.is_deleted AND (p.properties->>'$.last') IS NOT NULL")}
            wrong = {who: (n, found.get(who)) for who, n in town.last.items() if who not in town.erasing and found.get(who) != n}
            assert not wrong, "persons are not what was sent: %s" % list(wrong.items())[:3]
            town.command("log", "verify")
    finally:
        clock.close()
    grown = {name: sizes[days - 1][name] / max(sizes[days // 2][name], 1) for name in sizes[days - 1]}
    assert days < 60 or grown["log"] < 1.5, "the log has grown %.1f times in the second half" % grown["log"]
    return town


def main():
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed %d" % seed, flush=True)
    town = run(days, seed)
    print("result: %d days, %d events, %d sent again as duplicates and %d after their ids were forgotten, %d persons erased" % (
        days, town.count, town.again, town.forgotten, town.erasures))


if __name__ == "__main__":
    main()
