"""Names of events and properties: each is told once, with the type of its first value, however often ingest is killed."""
import json
import random
import re

from harness import Serve, uuid7

PASSED_OVER = {"$set", "$set_once", "$unset", "$groups"} | {"$group_%d" % i for i in range(5)}
VALUES = ["1", '"pro"', "true", '"TRUE"', "null", "[1]", '"2024-03-01"', '"2024-13-99"', '{"x":1}', "1e3", '"  "']


def type_of(name, value):
    if re.match(r"utm_|\$initial_utm_|\$feature/", name):
        return "String"
    if value is None or isinstance(value, (list, dict)):
        return None
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, (int, float)):
        return "Numeric"
    if value.strip() in ("true", "false", "TRUE", "FALSE"):
        return "Boolean"
    return "DateTime" if re.match(r"\d{4}[/-][0-2]\d[/-][0-3]\d$", value.strip()) else "String"


def expected(rows):
    """What stored events, in order, tell: (event names, {(name, parent, group): type}, pairs)."""
    names, properties, pairs = set(), {}, set()

    def tell(parent, group, members):
        for name, value in members.items():
            key = (name, parent, group)
            properties[key] = properties.get(key) or type_of(name, value)

    for row in rows:
        members = json.loads(row["properties"])
        names.add(row["event"])
        if row["event"] == "$groupidentify":
            tell(3, 0, members["$group_set"])
            continue
        own = {k: v for k, v in members.items() if k not in PASSED_OVER}
        pairs |= {(row["event"], k) for k in own if not k.startswith("$feature/")}
        tell(1, -1, own)
        tell(2, -1, members.get("$set", {}))
        tell(2, -1, members.get("$set_once", {}))
    return names, properties, pairs


def event_of(rnd, number):
    def some(names):
        return ",".join('"%s":%s' % (name, rnd.choice(VALUES)) for name in rnd.sample(names, rnd.randrange(1, 4)))
    names = ["key%d" % rnd.randrange(number // 8 + 1) for _ in range(2)] + ["plan", "utm_source", "$feature/x", "late"]
    name = rnd.choice(["view", "click", "event %d" % (number // 40), "$groupidentify"])
    props = some(sorted(set(names)))
    if name == "$groupidentify":
        props = '"$group_type":"company","$group_key":"k","$group_set":{%s}' % some(["seats", "plan", "founded"])
    elif rnd.random() < 0.5:
        props += ',"$set":{%s},"$set_once":{%s}' % (some(["email", "plan", "age"]), some(["first", "plan", "seen"]))
    return '{"event":"%s","distinct_id":"u","uuid":"%s","properties":{%s}}' % (name, uuid7(), props)


def test_each_name_once_over_kills():
    rnd = random.Random(4711)
    with Serve() as serve:
        token = serve.token()
        for batch in range(24):
            events = ",".join(event_of(rnd, batch * 20 + i) for i in range(20))
            serve.post("/batch/", ('{"api_key":"%s","batch":[%s]}' % (token, events)).encode())
            if batch % 4 == 1:
                serve.kill("ingest")
        status = serve.settle()
        assert status["stored"] == 480, status
        names, properties, pairs = expected(serve.sql("SELECT event, properties FROM events ORDER BY raw_offset"))
        got = serve.sql("SELECT name, count(*) AS n FROM event_definitions GROUP BY 1")
        assert {row["name"]: row["n"] for row in got} == {name: 1 for name in names}, got
        got = serve.sql("SELECT name, type, group_type_index AS g, property_type AS t, is_numerical AS num FROM property_definitions")
        assert len(got) == len(properties)
        for row in got:
            want = properties[(row["name"], row["type"], row["g"])]
            assert row["t"] == want and row["num"] == (want == "Numeric"), (row, want)
        got = serve.sql("SELECT event, property FROM event_properties")
        assert sorted((row["event"], row["property"]) for row in got) == sorted(pairs)
        late, = serve.sql("SELECT count(*) AS n FROM event_definitions e WHERE last_seen_at > created_at OR "
                          "last_seen_at <= created_at - INTERVAL 1 HOUR")
        assert late["n"] == 0
