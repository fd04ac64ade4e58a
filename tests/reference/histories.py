"""Random histories of people, sent to a real Penstock by several writers at once, and folded by the reference.

A history is some people and what happens to them: events of all kinds, merges in chains, stars, rings and cycles, illegal
ids, groups, late events, events that are sent again. Writers send them side by side; what order they were accepted in
says the log itself, and in that order the reference (fold.py) reads them. Then persons, the ids that lead to them, groups and
each event's row must be what the reference says, and no id may lead to two persons.

    problems = check(Story.random(seed, count), writers=8, kills=3)   # [] when all is well
    small = shrink(story, ...)                                        # the same trouble with fewer events
"""
import collections
import datetime
import http.client
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import rawjson
from fold import Fold, identical
from harness import ROLES, Serve, uuid7
from names import Names

ILLEGAL = ["null", "0", "anonymous", "Guest", "[object Object]", "undefined", "'None'", " "]
VALUES = ["1", "1.0", "2", '"a"', '"b"', "null", "true", "[1]", '{"x":1}', "12345678901234567890", '"\\u00e9"', '"é"']
DATES = ["9999999999", "1000000000", '"2024-03-01"', '"2024-13-39"', '"2024-13-99"', '"12/31/2024"', '"31/12/2024"', '"2024/03/01 29:69:69 or so"',
         '"01/03/2024 10:11:12"', '"2024-03-01T10:20:30.5Z"', '"2024-3-1"',
         '"Thu, 01 Feb 2024 10:00:00 +0000"', '" TRUE "', '"true"', "-1", "2.5e9", "null"]
DATED = ["signup_date", "last_seen_at", "Timezone", "when", "utm_date"]
PAGES = ["https://a.example/p", "https://a.example:8443/q?x=1", "", " ", "not a url"]
POINTS = ['{"x":%d,"y":%d,"target_fixed":true,"type":"click"}', '{"x":%d,"y":%d,"type":"rageclick"}', '{"x":%d.5,"y":-%d,"type":"mousemove"}',
          '{"x":"%d","y":%d,"type":"click"}', '{"x":%d,"z":%d,"type":"click"}', '{"x":%d,"y":%d,"type":7}', "[%d,%d]"]
KEYS = ["a", "b", "plan", "$browser", "$current_url", "utm_source", "$geoip_latitude", "$os", "$os_name", "email"]
NAMES = {"view": 40, "$identify": 20, "$create_alias": 8, "$merge_dangerously": 4, "$set": 8, "$groupidentify": 8, "$exception": 2,
         "$feature_flag_called": 5, "$$heatmap": 4, "survey shown": 2, "$snapshot": 1}
NO_OBJECTS = ['"oops"', "[1]", "null", "7", "{}"]
GROUP_KEYS = ['"key0"', '"key1"', '"key2"', "42", "null", '["key0"]', '{"a":1}', '""', "true"]
START = 1770000000

Event = collections.namedtuple("Event", "history who name properties uuid at top")


def pages_of(rnd, props):
    """Points of pages, and what is none."""
    def points():
        if rnd.random() < 0.1:
            return rnd.choice(["7", '"x"', "{}", "null"])
        return "[%s]" % ",".join(rnd.choice(POINTS) % (rnd.randrange(2000), rnd.randrange(2000)) for _ in range(rnd.randrange(4)))
    if rnd.random() < 0.9:
        props["$heatmap_data"] = "{%s}" % ",".join("%s:%s" % (json.dumps(url), points()) for url in rnd.sample(PAGES, rnd.randrange(3)))
    for key in ("$viewport_height", "$viewport_width"):
        if rnd.random() < 0.95:
            props[key] = rnd.choice(["900", "1080.5", "8", "24"]) if rnd.random() < 0.95 else '"900"'
    if rnd.random() < 0.5:
        props["$session_id"] = rnd.choice(['"s1"', '"s2"', "null"])
    if rnd.random() < 0.4:
        props["$current_url"] = json.dumps(rnd.choice(PAGES[:2] + ["https://b.example", "no address"]))
        props["$prev_pageview_pathname"] = rnd.choice(['"/before"', '"before"', '""', '"/a/b"'])
        props["$prev_pageview_max_scroll"] = rnd.choice(["0", "800", "807.9", '"x"', "null"])


def some_object(rnd):
    return "{%s}" % ",".join('"%s":%s' % (k, rnd.choice(VALUES)) for k in rnd.sample(KEYS, rnd.randrange(1, 4)))


def properties_of(rnd, ids, name):
    props = {}
    for key in rnd.sample(KEYS, rnd.randrange(4)):
        props[key] = rnd.choice(VALUES)
    for key in ("$set", "$set_once"):
        if rnd.random() < 0.4:
            props[key] = some_object(rnd)
        elif rnd.random() < 0.03:
            props[key] = rnd.choice(NO_OBJECTS)
    for key in rnd.sample(DATED, rnd.choice([0, 0, 1, 2])):
        props[key] = rnd.choice(DATES)
    if name == "$$heatmap" or (name in ("view", "$set") and rnd.random() < 0.1):
        pages_of(rnd, props)
    if rnd.random() < 0.1:
        props["$unset"] = rnd.choice(['["a","zz"]', '{"plan":""}', '["email"]', '"a"', "[7]"])
    if rnd.random() < 0.12:
        props["$process_person_profile"] = "false"
    elif rnd.random() < 0.05:
        props["$process_person_profile"] = rnd.choice(["true", '"false"', "0", "null", "{}"])
    if rnd.random() < 0.05:
        props["$is_server"] = rnd.choice(["true", "true", '"true"', "1"])
    if rnd.random() < 0.2:
        props["$groups"] = "{%s}" % ",".join('"type%d":%s' % (i, rnd.choice(GROUP_KEYS)) for i in rnd.sample(range(7), rnd.choice([1, 1, 2])))
    other = rnd.choice(ids + ILLEGAL[:2]) if rnd.random() < 0.95 else rnd.choice(ILLEGAL)
    if name == "$identify" and rnd.random() < 0.9:
        props["$anon_distinct_id"] = json.dumps(other) if rnd.random() < 0.97 else rnd.choice(["null", "0", '""', "{}"])
    if name in ("$create_alias", "$merge_dangerously"):
        props["alias"] = json.dumps(other) if rnd.random() < 0.95 else rnd.choice(["null", "0", "[1]", '""'])
    if name == "$groupidentify":
        props["$group_type"] = '"type%d"' % rnd.randrange(7) if rnd.random() < 0.97 else rnd.choice(['""', "null", "{}"])
        props["$group_key"] = rnd.choice(['"key0"', '"key1"', "42", '""', "null"])
        props["$group_set"] = rnd.choice(['{"n":%d}' % rnd.randrange(3), '{"m":"x"}', "null", "{}", '"x"', "[1]",
                                          '{"%s":%s}' % (rnd.choice(DATED), rnd.choice(DATES))])
    return props


def merge(shape, ids, step, rnd):
    """Who is merged into whom, in a shape that random pairs seldom make."""
    n = len(ids)
    if shape == "chain":
        return ids[step % n], ids[(step + 1) % n]
    if shape == "star":
        return ids[0], ids[step % n]
    if shape == "inward star":
        return ids[step % n], ids[0]
    return ids[step % n], ids[(step + rnd.randrange(1, n)) % n]  # ring, with cycles


def history(rnd, number, count, shared=True):
    """shared: some events are of ids that all histories have."""
    ids = ["h%d-%d" % (number, i) for i in range(rnd.randrange(3, 12))]
    shape = rnd.choice(["any"] * 3 + ["chain", "star", "inward star", "ring"])
    out = []
    for i in range(count):
        name = rnd.choices(list(NAMES), list(NAMES.values()))[0]
        who, props = rnd.choice(ids), properties_of(rnd, ids, name)
        if shape != "any" and name in ("$identify", "$create_alias", "$merge_dangerously"):
            who, other = merge(shape, ids, i, rnd)
            props["$anon_distinct_id" if name == "$identify" else "alias"] = json.dumps(other)
        at = START + i * rnd.choice([1, 1, 40]) - (rnd.randrange(30 * 86400) if rnd.random() < 0.05 else 0)
        top = {}  # beside the properties
        for key in ("$set", "$set_once", "$unset"):
            if rnd.random() < 0.06:
                top[key] = some_object(rnd)
        if shared and rnd.random() < 0.02:
            who = rnd.choice(ILLEGAL[:-1])  # capture takes no blank one
        text = "{%s}" % ",".join("%s:%s" % (json.dumps(k), v) for k, v in props.items())
        out.append(Event(number, who, name, text, uuid7(), at, top))
        if rnd.random() < 0.05:
            out.append(rnd.choice(out))  # sent again
    return out


def histories(seed, count, events_each, shared=True):
    """{number: [event]}; the numbers are the seeds of the histories."""
    return {n: history(random.Random(n), n, events_each, shared) for n in range(seed, seed + count)}


def tell(fold, event):
    fold.event(event.who, event.name, event.properties, event.uuid, event.at, event.top.get("$set"), event.top.get("$set_once"))


# --- sending -------------------------------------------------------------------------------------

class Writer(threading.Thread):
    """Sends its events in order; a batch that was not acknowledged is sent again until it is."""

    def __init__(self, serve, token, events, seed, pace):
        super().__init__(daemon=True)
        self.serve, self.token, self.events, self.random, self.pace = serve, token, events, random.Random(seed), pace
        self.connection, self.failed, self.at = None, None, 0  # at: so many were acknowledged

    def text_of(self, event):
        when = datetime.datetime.fromtimestamp(event.at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return '{"distinct_id":%s,"event":%s,"properties":%s,"uuid":"%s","timestamp":"%s"%s}' % (
            json.dumps(event.who), json.dumps(event.name), event.properties, event.uuid, when,
            "".join(',"%s":%s' % item for item in event.top.items()))

    def post(self, body):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.serve.port, timeout=15)
            self.connection.request("POST", "/batch/", body, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status not in (200, 503):
                raise AssertionError("answered %d: %s" % (answer.status, text[:200]))
            return answer.status == 200
        except (OSError, http.client.HTTPException):
            self.connection = None
            time.sleep(0.05)
            return False

    def run(self):
        try:
            while self.at < len(self.events):
                some = self.events[self.at:self.at + self.random.choice([1, 2, 7, 40, 200])]
                body = ('{"api_key":"%s","batch":[%s]}' % (self.token, ",".join(map(self.text_of, some)))).encode()
                while not self.post(body):
                    pass
                self.at += len(some)
                if self.pace:
                    time.sleep(len(some) * self.pace)
        except Exception as failure:  # told by play()
            self.failed = failure


def play(serve, stories, writers, kills, seed):
    """Sends all of it; each history's events stand in order with their writer. Gives the uuids as they were accepted."""
    rnd, token = random.Random(seed), serve.token()
    queues = [[] for _ in range(writers)]
    heads = {n: iter(events) for n, events in stories.items()}
    waiting = [n for n, events in stories.items() for _ in events]
    rnd.shuffle(waiting)
    for n in waiting:
        queues[rnd.randrange(writers)].append(next(heads[n]))
    threads = [Writer(serve, token, queue, seed + i, 0.0005 * writers if kills else 0) for i, queue in enumerate(queues)]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(rnd.uniform(0.05, 0.5))
        role = rnd.choice(ROLES + ("ingest", "load", "all"))
        serve.kill(role)
        if role == "all":
            serve.start(wait=False)
    for thread in threads:
        thread.join()
        if thread.failed:
            raise thread.failed
    if kills:
        serve.wait_ready()
    serve.settle(120)
    dumped = serve.cli("log", "dump", "raw").stdout
    return [json.loads(line)["uuid"] for line in dumped.splitlines()]


# --- comparing -----------------------------------------------------------------------------------

def same(a, b):
    """Equal maps; a value that reads the same (1 and 1.0, an escape and its letter) may keep either text."""
    return a.keys() == b.keys() and all(a[k] == b[k] or identical(a[k], b[k]) for k in a)


def compare(serve, fold):
    """[(history or None, what is wrong)]"""
    wrong, history_of = [], lambda distinct_id: int(distinct_id[1:].split("-")[0]) if distinct_id.startswith("h") else None
    rows = {r["uuid"]: r for r in serve.sql("SELECT uuid, distinct_id, person_id, person_mode, person_properties, properties FROM events")}
    for uuid in set(rows) ^ set(fold.rows):
        who = (rows.get(uuid) or fold.rows.get(uuid))["distinct_id"]
        wrong.append((history_of(who), "%s is %s row" % (uuid, "an unexpected" if uuid in rows else "a missing")))
    for uuid, want in fold.rows.items():
        row = rows.get(uuid)
        if row is None:
            continue
        if (row["person_id"], row["person_mode"]) != (want["person_id"], want["mode"]):
            wrong.append((history_of(want["distinct_id"]), "%s of %s is of %s %s, expected %s %s" % (
                uuid, want["distinct_id"], row["person_id"], row["person_mode"], want["person_id"], want["mode"])))
        elif not same(rawjson.members(row["person_properties"]), want["person_properties"]):
            wrong.append((history_of(want["distinct_id"]), "%s %s: its person is %s, expected %s" % (
                uuid, want["event"], row["person_properties"], want["person_properties"])))
        numbered = {k: v for k, v in rawjson.members(row["properties"]).items() if k.startswith("$group_") and k[7:].isdigit()}
        if numbered != want["numbered"]:
            wrong.append((None, "%s has %s, expected %s" % (uuid, numbered, want["numbered"])))
    links = serve.sql("SELECT distinct_id, person_id FROM person_distinct_ids WHERE NOT is_deleted")
    if len({r["distinct_id"] for r in links}) != len(links):
        wrong.append((None, "an id stands twice in person_distinct_ids"))
    links, expected = {r["distinct_id"]: r["person_id"] for r in links}, {d: p.uuid for d, p in fold.links.items()}
    for who in links.keys() | expected.keys():
        if links.get(who) != expected.get(who):
            wrong.append((history_of(who), "%s leads to %s, expected %s" % (who, links.get(who), expected.get(who))))
    persons = {r["id"]: r for r in serve.sql("SELECT id, properties, is_identified FROM persons WHERE NOT is_deleted")}
    for person in fold.persons:
        stored, owner = persons.pop(person.uuid, None), history_of(next(iter(fold.ids_of(person))))
        if stored is None or stored["is_identified"] != person.identified or not same(
                rawjson.members(stored["properties"]), person.properties):
            wrong.append((owner, "person %s is %s, expected identified %s, %s" % (
                person.uuid, stored, person.identified, person.properties)))
    wrong += [(None, "person %s should not be there: %s" % item) for item in persons.items()]
    groups = {(int(r["group_type_index"]), r["group_key"]): r["group_properties"] for r in serve.sql(
        "SELECT group_type_index, group_key, group_properties FROM groups")}
    for key in groups.keys() | fold.groups.keys():
        want = fold.groups.get(key)
        if key not in groups or want is None or not same(rawjson.members(groups[key]), want["properties"]):
            wrong.append((None, "group %s is %s, expected %s" % (key, groups.get(key), want)))
    return wrong + compare_points(serve, fold) + compare_names(serve, fold) + compare_warnings(serve, fold)


def differing(what, found, expected):
    return [(None, "%s %s is %s, expected %s" % (what, key, found.get(key), expected.get(key)))
            for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]


def compare_points(serve, fold):
    rows = serve.sql("SELECT * EXCLUDE (team_id, timestamp, captured_at) FROM heatmaps")
    if any(row["scale_factor"] not in (16, "16") for row in rows):
        return [(None, "a point with another scale than 16")]
    return differing("point", collections.Counter(
        (row["type"], int(row["x"]), int(row["y"]), str(row["pointer_target_fixed"]).lower() == "true", row["current_url"],
         int(row["viewport_height"]), int(row["viewport_width"]), row["session_id"], row["distinct_id"], row["event_uuid"])
        for row in rows), collections.Counter(fold.points))


def compare_warnings(serve, fold):
    """Of the types that always come."""
    types = ("cannot_merge_already_identified", "cannot_merge_with_illegal_distinct_id", "invalid_event_when_process_person_profile_is_false")
    rows = serve.sql("SELECT type, event_uuid FROM ingestion_warnings WHERE type IN ('%s')" % "', '".join(types))
    return differing("warning", collections.Counter((row["type"], row["event_uuid"]) for row in rows),
                     collections.Counter(warning for warning in fold.warnings if warning[0] in types))


def compare_names(serve, fold):
    """From the events as they are stored, in the order in which they were accepted."""
    names = Names(time.time())
    for row in serve.sql("SELECT uuid, event, properties FROM events ORDER BY raw_offset"):
        names.event(row["event"], row["properties"], fold.rows.get(row["uuid"], {}).get("group"))
    events = collections.Counter(row["name"] for row in serve.sql("SELECT name FROM event_definitions"))
    pairs = collections.Counter((row["event"], row["property"]) for row in serve.sql("SELECT event, property FROM event_properties"))
    rows = serve.sql("SELECT name, type, group_type_index AS g, property_type AS t, is_numerical AS n FROM property_definitions")
    found = {(row["name"], int(row["type"]), int(row["g"])): row["t"] or None for row in rows}
    wrong = differing("event name", events, collections.Counter(names.events)) + differing("pair", pairs, collections.Counter(names.pairs))
    if len(rows) != len(found) or any((str(row["n"]).lower() == "true") != (row["t"] == "Numeric") for row in rows):
        wrong.append((None, "a property stands twice in property_definitions, or its is_numerical is wrong"))
    # None as a value and no entry are two things here
    return wrong + differing("property", {k: (v,) for k, v in found.items()}, {k: (v,) for k, v in names.properties.items()})


def check(stories, writers=1, kills=0, seed=1, threads=0):
    """Plays, folds, compares: [] or what is wrong. threads: of ingest; 0: its default."""
    with Serve(config="ingest:\n  geoip_folder: \"off\"\n  threads: %d\n" % threads) as serve:
        accepted = play(serve, stories, writers, kills, seed)
        by_uuid = {event.uuid: event for events in stories.values() for event in events}
        fold = Fold(team=1)
        for uuid in accepted:
            tell(fold, by_uuid[uuid])
        missing = by_uuid.keys() - set(accepted)
        return [(by_uuid[u].history, "%s was acknowledged and is not in the log" % u) for u in missing] + compare(serve, fold)


def shrink(stories, wrong, tries=60, **how):
    """The first wrong history alone, with as few events as still go wrong; or all of it, when one alone goes well."""
    number = next((n for n, _ in wrong if n in stories), None)
    if number is None or not check({number: stories[number]}, **how):
        return stories
    events, size = stories[number], max(1, len(stories[number]) // 2)
    while size >= 1 and tries > 0:
        at, before = 0, len(events)
        while at < len(events) and tries > 0:
            fewer = events[:at] + events[at + size:]
            tries -= 1
            if fewer and check({number: fewer}, **how):
                events = fewer
            else:
                at += size
        if size == 1 and len(events) == before:
            break
        size = max(1, size // 2)
    return {number: events}


def run(seed, count, events_each, writers=1, kills=0, threads=0):
    """Raises, with the smallest history that goes wrong, when one does."""
    stories = histories(seed, count, events_each)
    wrong = check(stories, writers, kills, seed, threads)
    if not wrong:
        return sum(map(len, stories.values()))
    small = shrink(stories, wrong, writers=1, kills=0, seed=seed)
    told = ["%s" % (event,) for events in small.values() for event in events[:40]] if len(small) == 1 else []
    raise AssertionError("seed %d, %d writers, %d kills: %d things differ:\n%s\nhistory:\n%s" % (
        seed, writers, kills, len(wrong), "\n".join("  %s: %s" % w for w in wrong[:8]), "\n".join(told)))
