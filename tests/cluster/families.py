"""People whose ids lie in different partitions, and are merged while events of all of them come: traffic whose end does not depend
on which unit was sooner, so that the end can be told without knowing that.

A family has some ids, each written by one writer, in order. An id's n-th event sets properties of its own (`k_ID` to n, once
`o_ID` to n, in its person and in a group that all share), so whoever is merged into whom, the person of the family has of each id
the last n, and the first. Merges join all ids of a family to one person, whichever comes first.

one_partition() is the other way: histories of tests/reference, with their ids renamed so that a history lies in one
partition, whose order the log tells; the reference holds for these as they are."""
import collections
import datetime
import http.client
import json
import random
import re
import threading
import time
import uuid as uuids

from machines import harness
from partition import partition_of  # of tests/flow

PERSON_NAMESPACE = uuids.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")


def one_partition(stories, token, partitions):
    """The same histories; ids of one are in one partition, and its groups are its own."""
    names = {}

    def name(match):
        old, number = match[0], int(match[1])
        if old not in names:
            tail = 0
            while partition_of(token, "%sx%d" % (old, tail), partitions) != number % partitions:
                tail += 1
            names[old] = "%sx%d" % (old, tail)
        return names[old]

    def own(number, text):
        text = re.sub(r"\bh(\d+)-(\d+)\b", name, text)
        text = re.sub(r'"key(\d)"', '"h%d key\\1"' % number, text)
        return text.replace('"$group_key":42', '"$group_key":42%d' % number)

    return {number: [event._replace(who=own(number, event.who), properties=own(number, event.properties)) for event in events]
            for number, events in stories.items()}


class Family:
    def __init__(self, number, rnd):
        self.number = number
        self.ids = ["f%d-%d" % (number, i) for i in range(rnd.randrange(2, 7))]
        self.merged = {self.ids[0]}         # those that a merge was sent for
        self.sent = collections.Counter()   # id -> its last n

    def unmerged(self, who):
        """Whom an event of who may merge: the first id identifies every second of the others, which were never identified before;
        the others join the first by themselves."""
        if who == self.ids[0]:
            return next((one for one in self.ids[2::2] if one not in self.merged), None)
        return self.ids[0] if who in self.ids[1::2] and who not in self.merged else None

    def persons(self, team):
        """What the person may be called: by any of the ids that made it."""
        return {str(uuids.uuid5(PERSON_NAMESPACE, "%d:%s" % (team, who))): who for who in self.ids}


class Writer(threading.Thread):
    """Writes some ids' events, each batch until it is acknowledged, and now and then again after that."""

    def __init__(self, crowd, ids, seed):
        super().__init__(daemon=True)
        self.crowd, self.ids, self.random = crowd, ids, random.Random(seed)
        self.connection, self.failed, self.again, self.retries, self.to = None, None, [], 0, None

    def event(self, family, who):
        family.sent[who] += 1
        n = family.sent[who]
        sets = {"$set": {"k_" + who: n}, "$set_once": {"o_" + who: n}}
        event = {"uuid": harness.uuid7(), "event": "move", "distinct_id": who, "properties": {"n": n, **sets}}
        chance, other = self.random.random(), family.unmerged(who)
        if other is not None and chance < 0.25:
            family.merged.add(other if who == family.ids[0] else who)
            if who == family.ids[0]:
                event["event"], event["properties"]["$anon_distinct_id"] = "$identify", other
            else:
                event["event"], event["properties"]["alias"] = "$merge_dangerously", other
        elif chance > 0.9:
            event["event"] = "$groupidentify"
            event["properties"].update({"$group_type": "type0", "$group_key": "shared %d" % (family.number % 7),
                                        "$group_set": {"g_" + who: n}})
            del event["properties"]["$set"], event["properties"]["$set_once"]
        return event

    def post(self, body):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.to.port, timeout=15)
            self.connection.request("POST", "/batch/", body, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
            assert answer.status in (200, 503), "answered %d: %s" % (answer.status, text[:200])
            return answer.status == 200
        except (OSError, http.client.HTTPException):
            self.connection = None
            return False

    def deliver(self, events):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        body = json.dumps({"api_key": self.crowd.token, "sent_at": now, "batch": [{"timestamp": now, **one} for one in events]}).encode()
        while not self.post(body):
            self.retries += 1
            time.sleep(0.05)
            assert not self.crowd.patience_ended(), "an event was not taken for very long"

    def run(self):
        try:
            due = time.time()
            while not self.crowd.over.is_set():
                events = [self.event(*self.random.choice(self.ids)) for _ in range(self.random.choice([1, 1, 3, 10]))]
                due = max(due + len(events) / self.crowd.rate_each, time.time() - 1)
                time.sleep(max(0.0, due - time.time()))
                self.deliver(events)
                if self.random.random() < 0.05:
                    self.again.append(events)
                if self.again and self.random.random() < 0.05:
                    self.deliver(self.again.pop(self.random.randrange(len(self.again))))
        except Exception as failure:
            self.failed = failure


class Crowd:
    def __init__(self, site, token, team, families=40, writers=4, rate=100, seed=1):
        rnd = random.Random(seed)
        self.site, self.token, self.team, self.over = site, token, team, threading.Event()
        self.families = [Family(seed % 1000 * 1000 + i, rnd) for i in range(families)]
        self.rate_each, self.until = rate / writers, None
        hands = [[] for _ in range(writers)]
        for family in self.families:
            for who in family.ids:
                hands[rnd.randrange(writers)].append((family, who))
        self.writers = [Writer(self, ids, seed * 100 + i) for i, ids in enumerate(hands) if ids]
        for n, writer in enumerate(self.writers):  # a writer stays with a capture: between two no order is promised
            writer.to = site.of("capture")[n % len(site.of("capture"))]

    def start(self):
        for writer in self.writers:
            writer.start()

    def patience_ended(self):
        return self.until is not None and time.time() > self.until

    def stop(self):
        self.until = time.time() + 90
        self.over.set()
        for writer in self.writers:
            writer.join(100)
            if writer.failed:
                raise writer.failed
            assert not writer.is_alive(), "a writer does not end"

    def check(self, found):
        """found: rows, links, persons, groups of the team. [] or what is wrong; gives also how many rows there were."""
        wrong, count = [], 0
        of = {who: family for family in self.families for who in family.ids}
        free = {who for writer in self.writers if getattr(writer.to, "moved", False) for _, who in writer.ids}  # of order
        rows = collections.defaultdict(list)
        for row in found.rows:
            if row["distinct_id"] in of:
                rows[row["distinct_id"]].append((int(row["n"]), int(row["raw_offset"]), row))
        for who, family in of.items():
            mine = sorted(rows[who], key=lambda r: r[:2])
            count += len(mine)
            if [n for n, _, _ in mine] != list(range(1, family.sent[who] + 1)):
                numbers = collections.Counter(n for n, _, _ in mine)
                wrong.append("%s: of 1..%d missing %s, double %s" % (who, family.sent[who], [
                    n for n in range(1, family.sent[who] + 1) if n not in numbers][:5], [n for n, c in numbers.items() if c > 1][:5]))
            if who not in free and [r[1] for r in mine] != sorted(r[1] for r in mine):
                wrong.append("%s: its rows are out of order" % who)
            names = family.persons(self.team)
            for n, _, row in mine:
                if row["person_id"] not in names:
                    wrong.append("%s, %d: is of person %s, who is none of its family" % (who, n, row["person_id"]))
                elif row["event"] != "$groupidentify" and json.loads(row["person_properties"]).get("k_" + who) != n:
                    wrong.append("%s, %d: its person is %s" % (who, n, row["person_properties"]))
        for family in self.families:
            wrong += self.check_family(family, found)
        for who, family in of.items():
            group = found.groups.get((0, "shared %d" % (family.number % 7)), {})
            if found.grouped[who] and group.get("g_" + who) != found.grouped[who][-1]:
                wrong.append("the group of %s says %s of it, not %d" % (who, group.get("g_" + who), found.grouped[who][-1]))
        return wrong, count

    def check_family(self, family, found):
        wrong, merged = [], family.merged if len(family.merged) > 1 else set()
        leads = {who: found.links.get(who) for who in family.ids if family.sent[who] or who in merged}
        if merged and len({leads[who] for who in merged}) != 1:
            wrong.append("family %d: merged ids lead to %s" % (family.number, leads))
        for who, person in leads.items():
            if person not in found.persons:
                wrong.append("%s leads to %s, who is nobody" % (who, person))
                continue
            properties, identified = found.persons[person]
            plain = found.plain[who] or [None]  # its events that set properties, in the order in which they were accepted
            for key, n in (("k_" + who, plain[-1]), ("o_" + who, plain[0])):
                if properties.get(key) != n:
                    wrong.append("%s: %s of its person is %s, not %s" % (who, key, properties.get(key), n))
            if identified != (who in merged):
                wrong.append("the person of %s is %sidentified" % (who, "" if identified else "not "))
        return wrong


class Found:
    """What the warehouse has of a team."""

    def __init__(self, site, team):
        where = " WHERE team_id = %d" % team
        self.rows = site.sql("SELECT uuid, event, distinct_id, person_id, raw_offset, person_properties, JSONExtractInt(properties, 'n') AS n "
                             "FROM events" + where + " AND distinct_id LIKE 'f%'")
        links = site.sql("SELECT distinct_id, person_id FROM person_distinct_ids" + where + " AND NOT is_deleted")
        self.links = {row["distinct_id"]: row["person_id"] for row in links}
        assert len(self.links) == len(links), "an id stands twice in person_distinct_ids"
        self.persons = {row["id"]: (json.loads(row["properties"]), str(row["is_identified"]).lower() in ("true", "1")) for row in site.sql(
            "SELECT id, properties, is_identified FROM persons" + where + " AND NOT is_deleted")}
        self.groups = {(int(row["group_type_index"]), row["group_key"]): json.loads(row["group_properties"]) for row in site.sql(
            "SELECT group_type_index, group_key, group_properties FROM groups" + where)}
        self.plain, self.grouped = collections.defaultdict(list), collections.defaultdict(list)
        for row in sorted(self.rows, key=lambda row: int(row["raw_offset"])):
            (self.grouped if row["event"] == "$groupidentify" else self.plain)[row["distinct_id"]].append(int(row["n"]))
