#!/usr/bin/env python3
"""`./dev soak cluster-kills [N [SEED]]`: SIGKILL of processes of a cluster, alone and in pairs, N times, under load.

Two captures, two ingests, two loaders, each a machine of its own, share four partitions on Kafka, PostgreSQL and ClickHouse. Three
crowds send: clients that remember what they were told (tests/flow/ledger.py), histories whose order is the log's
(tests/reference), and families whose ids lie in different partitions (tests/cluster/families.py). A process that was killed
comes back by its supervisor, a machine after a random pause; now and then one stands still for longer than its group waits
for it, and brokers stand still until captures write to their disks. At the end each of the three crowds' checks holds, and
what PostgreSQL has of persons, ids and groups is what ClickHouse has."""
import collections
import json
import os
import random
import re
import signal
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
import machines  # noqa: E402
import families  # noqa: E402
import histories  # noqa: E402  of tests/reference
import kafka  # noqa: E402  of tests/parts
import ledger  # noqa: E402  of tests/flow
from fold import Fold  # noqa: E402

ROLES = ["capture", "capture", "ingest", "ingest", "load", "load"]
PARTITIONS = 4
TABLES = re.compile(r"\b(FROM|JOIN) (events|persons|person_distinct_ids|groups|heatmaps|ingestion_warnings)\b")
CONFIG = "ingest:\n  geoip_folder: \"off\"\n  threads: 1\nload:\n  batch_wait: 250ms\n"


class Project:
    """The site, as far as one of its projects goes."""

    def __init__(self, site, token, team):
        self.site, self.value, self.team = site, token, team

    def __getattr__(self, name):
        return getattr(self.site, name)

    def token(self):
        return self.value

    def sql(self, query):
        query = query.replace(" EXCLUDE (", " EXCEPT (")
        return self.site.sql(TABLES.sub(r"\1 (SELECT * FROM \2 WHERE team_id = %d) AS \2" % self.team, query)
                             .replace("AS person_distinct_ids d ", "AS d ").replace("AS persons p ", "AS p "))


class Stories:
    """Histories sent by several writers, each history's ids in one partition."""

    def __init__(self, project, seed, count, events_each, writers, pace):
        self.project, rnd = project, random.Random(seed)
        made = histories.histories(seed % 100000 * 1000, count, events_each, shared=False)  # those would be in other partitions than the rest
        self.stories = families.one_partition(made, project.value, PARTITIONS)
        queues = [[] for _ in range(writers)]
        heads = {n: iter(events) for n, events in self.stories.items()}
        waiting = [n for n, events in self.stories.items() for _ in events]
        rnd.shuffle(waiting)
        for n in waiting:
            queues[rnd.randrange(writers)].append(next(heads[n]))
        self.writers = [histories.Writer(project, project.value, queue, seed + i, pace) for i, queue in enumerate(queues)]

    def types(self):
        """The project's kinds of groups, in an order that all units know before anything else comes."""
        self.first = [histories.Event(0, "types", "$groupidentify", '{"$group_type":"type%d","$group_key":"first","$group_set":{"n":%d}}' % (n, n),
                                      histories.uuid7(), histories.START, {}) for n in range(5)]
        for event in self.first:
            self.project.post_when_known(self.project.value, "/e/", {
                "api_key": self.project.value, "event": event.name, "distinct_id": event.who, "uuid": event.uuid,
                "properties": json.loads(event.properties)})
        self.project.settle()

    def start(self):
        for writer in self.writers:
            writer.start()

    def stop(self):
        """What was not sent yet is not."""
        self.queues = [writer.events for writer in self.writers]
        for writer in self.writers:
            writer.events = []
        for writer in self.writers:
            writer.join(100)
            if writer.failed:
                raise writer.failed
            assert not writer.is_alive(), "a writer of histories does not end"

    def check(self):
        """[] or what is wrong; how many events were accepted, with repeats."""
        by_uuid = {event.uuid: event for events in [self.first, *self.stories.values()] for event in events}
        accepted = [uuid for uuid in dumped(self.project) if uuid in by_uuid]
        fold = Fold(team=self.project.team)
        for uuid in [event.uuid for event in self.first] + accepted:
            histories.tell(fold, by_uuid[uuid])
        told = {event.uuid for writer, queue in zip(self.writers, self.queues) for event in queue[:writer.at]}
        missing = told - set(accepted)
        wrong = ["%s was acknowledged and is not in the log" % uuid for uuid in missing]
        names, histories.compare_names = histories.compare_names, lambda *_: []  # names of events are a unit's own
        try:
            wrong += [what for _, what in histories.compare(self.project, fold)]
        finally:
            histories.compare_names = names
        return wrong, len(accepted)


def dumped(site):
    end = time.time() + 120
    while True:
        done = site.cli("log", "dump", "raw", check=False)  # brokers may be busy yet
        if done.returncode == 0:
            return [json.loads(line)["uuid"] for line in done.stdout.splitlines()]
        assert time.time() < end, done.stderr


def first_words(site):
    """Two projects: histories are the first one's, all else the second's."""
    site.machines[0].cli("project", "create", "second")
    site.machines[0].cli("token", "create", "--token", "phc_second_of_%d" % os.getpid(), "--project", "second")
    return Project(site, site.token(), 1), Project(site, "phc_second_of_%d" % os.getpid(), 2)


# --- trouble ---------------------------------------------------------------------------------------

class Trouble:
    def __init__(self, site, rnd, log=print):
        self.site, self.random, self.kinds, self.backs, self.kills = site, rnd, collections.Counter(), [], 0
        self.say = log

    def back(self, machine, after):
        """Starts it again after a while, beside all else."""
        def run():
            time.sleep(after)
            machine.start()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.backs.append(thread)
        machine.returning = thread

    def up(self, role):
        return [one for one in self.site.of(role) if one.alive() and not (getattr(one, "returning", None) and one.returning.is_alive())]

    def kill(self, machine):
        """One kill: of the role, which its supervisor starts again, or of the machine."""
        self.kills += 1
        if self.random.random() < 0.5:
            machine.kill(machine.roles)
            return machine.roles
        machine.kill("all")
        self.back(machine, self.random.choice([0, self.random.uniform(0, 1), self.random.uniform(0, 4)]))
        return machine.roles + "'s machine"

    def draw(self, *roles):
        """A machine a role, none twice; None when there are not so many."""
        found = []
        for role in roles:
            free = [one for one in self.up(role) if one not in found]
            if not free:
                return None
            found.append(self.random.choice(free))
        return found

    def once(self):
        chance = self.random.random()
        if chance < 0.05:
            return self.stand_still()
        if chance < 0.10:
            return self.spool()
        pairs = [("ingest", "load"), ("capture", "ingest"), ("capture", "load"), ("ingest", "ingest"), ("load", "load"), ("capture", "capture")]
        roles = (self.random.choice(["capture", "ingest", "ingest", "load", "load"]),) if chance < 0.55 else self.random.choice(pairs)
        found = self.draw(*roles)
        if found is None:
            time.sleep(0.2)
            return
        self.kinds[" + ".join(sorted(self.kill(machine) for machine in found))] += 1

    def stand_still(self):
        """Longer than its group waits: others take its units, and then it goes on as if nothing had been."""
        found = self.draw(self.random.choice(["ingest", "load"]))
        if found is None:
            return
        found[0].signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(7, 11))
        found[0].signal(signal.SIGCONT)
        self.kinds[found[0].roles + " stood still"] += 1

    def spool(self):
        """Brokers stand still until captures write to their own disks; then a capture dies with what it has there."""
        found = self.draw("capture")
        if found is None:
            return
        kafka.say("pause")
        try:
            time.sleep(self.random.uniform(1.5, 3.5))
            self.kinds["brokers stood still + " + self.kill(found[0])] += 1
            time.sleep(self.random.uniform(0, 1))
        finally:
            kafka.say("resume")
        if self.random.random() < 0.5:  # again, while it sends what was there
            time.sleep(self.random.uniform(0.2, 1.5))
            again = self.draw("capture")
            if again is not None:
                self.kinds[self.kill(again[0]) + " while it drains"] += 1

    def heal(self):
        for thread in self.backs:
            thread.join(60)
        for one in self.site.machines:
            if one.wanted and not one.alive():
                one.start()


# --- what is held against what -----------------------------------------------------------------------

def differing(what, ours, theirs):
    return ["%s %s is %s in ClickHouse and %s in PostgreSQL" % (what, key, theirs.get(key), ours.get(key))
            for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]


def stores_agree(site):
    """Persons, ids and groups: of each the highest version, in both stores."""
    raw = site.env["PENSTOCK_WAREHOUSE_DATABASE"]
    wrong = differing("person", {
        row["uuid"]: (row["version"], row["is_identified"]) for row in machines.postgres(
            site, "SELECT uuid, version, is_identified FROM posthog_person WHERE is_deleted IS NOT TRUE")}, {
        row["id"]: (int(row["version"]), bool(int(row["i"]))) for row in site.sql(
            "SELECT id, version, toUInt8(is_identified) AS i FROM %s.person FINAL WHERE is_deleted = 0" % raw)})
    wrong += differing("distinct id", {
        (row["team_id"], row["distinct_id"]): (row["version"], row["uuid"]) for row in machines.postgres(
            site, "SELECT d.team_id, distinct_id, d.version, p.uuid FROM posthog_persondistinctid d JOIN posthog_person p ON p.id = d.person_id")}, {
        (int(row["team_id"]), row["distinct_id"]): (int(row["version"]), row["person_id"]) for row in site.sql(
            "SELECT team_id, distinct_id, version, person_id FROM %s.person_distinct_id2 FINAL WHERE is_deleted = 0" % raw)})
    wrong += differing("group", {
        (row["team_id"], row["group_type_index"], row["group_key"]): row["version"] for row in machines.postgres(
            site, "SELECT team_id, group_type_index, group_key, version FROM posthog_group")}, {
        (int(row["team_id"]), int(row["group_type_index"]), row["group_key"]): int(row["version"]) for row in site.sql(
            "SELECT team_id, group_type_index, group_key, version FROM %s.groups FINAL" % raw)})
    return wrong


def rows_once(site):
    """No event twice, also not where a merge of ClickHouse would still remove it."""
    raw = site.env["PENSTOCK_WAREHOUSE_DATABASE"]
    found = site.sql("SELECT toString(uuid) AS u, count() AS c FROM %s.events GROUP BY 1 HAVING c > 1" % raw)
    return ["%d ids of events stand twice, first %s" % (len(found), found[:3])] if found else []


def campaign(kills, seed, rate=150, say=print):
    rnd = random.Random(seed)
    with machines.Site(ROLES, partitions=PARTITIONS, config=CONFIG) as site:
        first, second = first_words(site)
        stories = Stories(first, seed, 40, 20 + kills * 10, 4, 4 / (rate / 3))
        stories.types()
        site.post_when_known(second.value, "/e/", {
            "api_key": second.value, "event": "ready", "distinct_id": "ready", "uuid": histories.uuid7()})
        clients = ledger.Crowd(second, second.value, clients=8, rate=rate / 3, seed=seed)
        for n, client in enumerate(clients.clients):  # order is kept by a capture, not between two, one of which has it on its disk
            client.serve = site.of("capture")[n % 2]
        crowd = families.Crowd(second, second.value, 2, families=40, writers=4, rate=rate / 3, seed=seed)
        for one in (clients, crowd, stories):
            one.start()
        trouble = Trouble(site, rnd)
        began = told = time.time()
        while trouble.kills < kills:
            trouble.once()
            time.sleep(rnd.choice([rnd.uniform(0.1, 1.5), rnd.uniform(1, 6)]))  # at times longer than a group waits for who is dead
            if time.time() - told > 30:
                told = time.time()
                say("%4.0f s: %d kills; %s" % (told - began, trouble.kills, clients.summary()))
        trouble.heal()
        for one in (clients, crowd, stories):
            one.stop()
        under_load, healed = time.time() - began, time.time()
        status = site.settle(300)
        settled = time.time() - healed
        wrong = rows_once(site) + stores_agree(site)
        rows = clients.check(second, status)
        found = families.Found(site, 2)
        more, family_rows = crowd.check(found)
        wrong += more
        more, story_rows = stories.check()
        wrong += more
        if wrong:
            raise AssertionError("seed %d: %d things are wrong:\n%s\n%s" % (seed, len(wrong), "\n".join(map(str, wrong[:20])), site.log()[-4000:]))
        return {"kills": trouble.kills, "kinds": trouble.kinds, "seconds": under_load, "settled": settled, "status": status,
                "summary": clients.summary(), "rows": (rows, family_rows, story_rows)}


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed %d" % seed, flush=True)
    done = campaign(kills, seed, say=lambda text: print(text, flush=True))
    for kind, count in sorted(done["kinds"].items()):
        print("  %4d  %s" % (count, kind))
    print("fates: %s" % {k: done["status"][k] for k in ("accepted", "stored", "deduplicated", "dead_lettered", "dropped", "pending")})
    print("result: %d kills in %.0f s, settled %.0f s after; %s; rows of clients, families, histories: %s" % (
        done["kills"], done["seconds"], done["settled"], done["summary"], done["rows"]))


if __name__ == "__main__":
    main()
