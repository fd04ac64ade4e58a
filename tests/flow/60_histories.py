"""Random histories, sent to a real Penstock and folded by the reference (tests/reference/fold.py): persons, the ids
that lead to them, groups, and each event's row must be the same."""
import json
import os
import random
import sys

import rawjson
from harness import Serve, uuid7

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reference"))
from fold import Fold, identical  # noqa: E402

ILLEGAL = ["null", "0", "anonymous", "Guest", "[object Object]", "undefined", "'None'", " "]
VALUES = ["1", "1.0", "2", '"a"', '"b"', "null", "true", "[1]", '{"x":1}', "12345678901234567890", '"\\u00e9"', '"é"']
KEYS = ["a", "b", "plan", "$browser", "$current_url", "utm_source", "$geoip_latitude", "$os_name", "email"]


def properties_of(rnd, ids, name):
    props = {}
    for key in rnd.sample(KEYS, rnd.randrange(4)):
        props[key] = rnd.choice(VALUES)
    for key in ("$set", "$set_once"):
        if rnd.random() < 0.4:
            props[key] = "{%s}" % ",".join('"%s":%s' % (k, rnd.choice(VALUES)) for k in rnd.sample(KEYS, rnd.randrange(1, 4)))
    if rnd.random() < 0.1:
        props["$unset"] = rnd.choice(['["a","zz"]', '{"plan":""}', '["email"]', '"a"', "[7]"])
    if rnd.random() < 0.12:
        props["$process_person_profile"] = "false"
    if rnd.random() < 0.05:
        props["$is_server"] = "true"
    if rnd.random() < 0.2:
        props["$groups"] = json.dumps({"type%d" % rnd.randrange(7): "key%d" % rnd.randrange(3)})
    other = rnd.choice(ids + ILLEGAL[:2]) if rnd.random() < 0.95 else rnd.choice(ILLEGAL)
    if name == "$identify" and rnd.random() < 0.9:
        props["$anon_distinct_id"] = json.dumps(other)
    if name in ("$create_alias", "$merge_dangerously"):
        props["alias"] = json.dumps(other) if rnd.random() < 0.95 else rnd.choice(["null", "0", "[1]", '""'])
    if name == "$groupidentify":
        props["$group_type"] = '"type%d"' % rnd.randrange(7)
        props["$group_key"] = rnd.choice(['"key0"', '"key1"', "42", '""'])
        props["$group_set"] = rnd.choice(['{"n":%d}' % rnd.randrange(3), '{"m":"x"}', "null", "{}"])
    return "{%s}" % ",".join("%s:%s" % (json.dumps(k), v) for k, v in props.items())


def history(rnd, prefix, count, start):
    """[(distinct id, name, properties text, uuid, time in s, top-level $set)]"""
    ids = ["%s-%d" % (prefix, i) for i in range(rnd.randrange(3, 12))]
    out = []
    for i in range(count):
        name = rnd.choices(["view", "$identify", "$create_alias", "$merge_dangerously", "$set", "$groupidentify", "$$heatmap"],
                           [40, 20, 8, 4, 8, 8, 2])[0]
        who = rnd.choice(ids)
        top = '{"top":%s}' % rnd.choice(VALUES) if rnd.random() < 0.1 else None
        event = (who, name, properties_of(rnd, ids, name), uuid7(), start + i * rnd.choice([1, 1, 40]), top)
        out.append(event)
        if rnd.random() < 0.05:
            out.append(rnd.choice(out))  # sent again
    return out


def send(serve, token, events, rnd):
    import datetime
    while events:
        size = rnd.choice([1, 2, 7, 40, 200])
        batch = []
        for who, name, props, uuid, at, top in events[:size]:
            when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            batch.append('{"distinct_id":%s,"event":%s,"properties":%s,"uuid":"%s","timestamp":"%s"%s}' % (
                json.dumps(who), json.dumps(name), props, uuid, when, ',"$set":' + top if top else ""))
        serve.post("/batch/", ('{"api_key":"%s","batch":[%s]}' % (token, ",".join(batch))).encode())
        events = events[size:]


def same(a, b):
    """Equal maps; a value that reads the same (1 and 1.0, an escape and its letter) may keep either text."""
    return a.keys() == b.keys() and all(a[k] == b[k] or identical(a[k], b[k]) for k in a)


def compare(serve, fold, prefix, seed):
    rows = {r["uuid"]: r for r in serve.sql("SELECT uuid, person_id, person_mode, person_properties FROM events "
                                            "WHERE distinct_id LIKE '%s-%%'" % prefix)}
    assert set(rows) == set(fold.rows), "seed %d: rows differ: %s" % (seed, set(rows) ^ set(fold.rows))
    for uuid, want in fold.rows.items():
        row = rows[uuid]
        assert row["person_id"] == want["person_id"] and row["person_mode"] == want["mode"], \
            "seed %d: %s of %s is %s %s, expected %s %s" % (seed, uuid, want["distinct_id"], row["person_id"],
                                                            row["person_mode"], want["person_id"], want["mode"])
        stored = rawjson.members(row["person_properties"])
        assert same(stored, want["person_properties"]), "seed %d: %s %s: stored %s, expected %s" % (
            seed, uuid, want["event"], stored, want["person_properties"])
    links = {r["distinct_id"]: r["person_id"] for r in serve.sql(
        "SELECT distinct_id, person_id FROM person_distinct_ids WHERE NOT is_deleted AND distinct_id LIKE '%s-%%'" % prefix)}
    assert links == {d: p.uuid for d, p in fold.links.items() if d.startswith(prefix + "-")}, "seed %d: links" % seed
    persons = {r["id"]: r for r in serve.sql("SELECT id, properties, is_identified FROM persons WHERE NOT is_deleted")}
    for person in fold.persons:
        if not any(d.startswith(prefix + "-") for d in fold.ids_of(person)):
            continue
        stored = rawjson.members(persons[person.uuid]["properties"])
        assert same(stored, person.properties), "seed %d: %s: stored %s, expected %s" % (seed, person.uuid, stored, person.properties)
        assert persons[person.uuid]["is_identified"] == person.identified, "seed %d: identified %s" % (seed, person.uuid)


def run(histories, events_each, first_seed):
    with Serve(config="ingest:\n  geoip_folder: \"off\"\n") as serve:
        token = serve.token()
        sent = []
        for seed in range(first_seed, first_seed + histories):
            rnd = random.Random(seed)
            fold = Fold(team=1)
            events = history(rnd, "h%d" % seed, events_each, 1770000000)
            for who, name, props, uuid, at, top in events:
                fold.event(who, name, props, uuid, at, top_set=top)
            send(serve, token, events, rnd)
            sent.append((seed, fold))
        serve.settle()
        for seed, fold in sent:
            compare(serve, fold, "h%d" % seed, seed)
        groups = serve.sql("SELECT group_type_index, group_key, group_properties FROM groups")
        assert groups, "no groups were made"


def test_random_histories_equal_the_fold():
    run(40, 120, 1)
