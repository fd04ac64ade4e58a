#!/usr/bin/env python3
# parts: kafka clickhouse
"""The Kafka-engine form on the real engine: what ingest writes in PostHog's forms (log.form_rows: upstream) is read by the tables of
`penstock warehouse ddl --form kafka-engine`, by an engine whose own clock is not UTC's. Each table is compared with rows that were written
by hand, from what the events say: also instants and places that no column holds, and an event that no message holds."""
import json
import os
import subprocess
import tempfile
import time
import urllib.request
import uuid

from served import BINARY, parts, served

BROKERS = os.environ["PENSTOCK_TEST_KAFKA"]
PREFIX, DATABASE, PATIENCE = "c%d_" % os.getpid(), "kafka_engine", 180
SETTINGS = """listen: 127.0.0.1:%d
log: {backend: kafka, brokers: [%s], topic_prefix: %s, form: upstream, form_rows: upstream, partitions: 1, replication: 1}
"""
PERSONS = uuid.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")


def person(distinct_id):
    return str(uuid.uuid5(PERSONS, "1:" + distinct_id))


def event_id(n):
    return "019c21ac-e950-7abc-8def-%012d" % n


FAR = {"https://x/é": [{"x": 33, "y": 100, "target_fixed": True, "type": "click"},
                       {"x": 1000000, "y": -1000000, "target_fixed": False, "type": "mousemove"}]}
EXACT = '{"a":9007199254740993,"b":-9223372036854775808,"c":1.10,"d":123456789012345678901234567890}'
# event, distinct id, its properties as JSON, its time
SENT = [
    ("exact", "d1", '{"v":%s,"$set":{"plan":"ünï 😀"}}' % EXACT, "2024-02-29T23:59:59.123456Z"),
    ("personless", "d3", '{"$process_person_profile":false}', "2024-01-01T00:00:00Z"),
    ("$groupidentify", "d4", '{"$group_type":"org","$group_key":"k\\"0","$group_set":{"n":1}}', "2023-05-05T05:05:05.678Z"),
    ("grouped", "d4", '{"$groups":{"org":"k\\"0"},"$session_id":"A1B2C3D4-E5F6-7890-ABCD-EF1234567890"}', "2024-01-02T00:00:00Z"),
    ("view", "anon", '{"$set":{"a":1}}', "2024-01-03T00:00:00.250Z"),
    ("view", "user", '{"$set":{"b":2}}', "2024-01-04T00:00:00.750Z"),
    ("$identify", "user", '{"$anon_distinct_id":"anon"}', "2024-01-05T00:00:00Z"),
    ("$$heatmap", "d6", json.dumps({"$heatmap_data": FAR, "$viewport_height": 1000, "$viewport_width": 40, "$session_id": "s1"}), "2024-01-07T00:00:00.5Z"),
    ("year 0", "old0", "{}", "0000-06-01T00:00:00Z"),
    ("1899", "old1", "{}", "1899-12-31T23:59:59.999Z"),
    ("1969", "old2", "{}", "1969-12-31T23:59:59.999Z"),
    ("large", "d8", json.dumps({"big": "x" * 600000, "$set": {"p": "y" * 300000}}), "2024-01-09T00:00:00Z"),
]


def post(port, token):
    for n, (event, distinct_id, properties, timestamp) in enumerate(SENT):
        body = '{"api_key":"%s","batch":[{"uuid":"%s","event":"%s","distinct_id":"%s","timestamp":"%s","properties":%s}]}' % (
            token, event_id(n), event, distinct_id, timestamp, properties)
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:%d/batch/" % port, data=body.encode(),
                                                      headers={"Content-Type": "application/json"}), timeout=60).read()


def rows(engine, table, more=""):
    text = engine.ask("SELECT * FROM %s.%s %s FORMAT JSONEachRow" % (DATABASE, table, more), output_format_json_quote_64bit_integers=0,
                      session_timezone="UTC")
    return [json.loads(line) for line in text.splitlines()]


def one(found, **by):
    got = [row for row in found if all(row[k] == v for k, v in by.items())]
    assert len(got) == 1, (by, got)
    return got[0]


def check(table, row, **wants):
    for column, want in wants.items():
        assert row[column] == want, "%s.%s: %r, not %r" % (table, column, row[column], want)


def events_are_right(engine):
    found = rows(engine, "events")
    for n, (event, distinct_id, _, timestamp) in enumerate(SENT):
        if event == "$$heatmap":
            continue
        year = int(timestamp[:4])
        want = "1900-01-01 00:00:00.000000" if year < 1900 else timestamp[:-1].replace("T", " ")[:23].ljust(19) + (
            "000" if "." in timestamp else ".000000")
        check("events", one(found, uuid=event_id(n)), event=event, distinct_id=distinct_id, team_id=1, project_id=1, timestamp=want)
    exact = one(found, event="exact")
    assert EXACT in exact["properties"], exact["properties"]
    check("events", exact, person_id=person("d1"), person_mode="full", person_created_at="2024-02-29 23:59:59.000", historical_migration=False,
          elements_chain="")
    check("events", one(found, event="personless"), person_id=person("d3"), person_mode="propertyless", person_properties="{}",
          person_created_at="1970-01-01 00:00:05.000")
    check("events", one(found, event="grouped"), **{"$group_0": 'k\\"0', "$session_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890"})
    check("events", one(found, event="$identify"), person_id=person("user"), person_created_at="2024-01-03 00:00:00.000")
    check("events", one(found, event="year 0"), person_created_at="1900-01-01 00:00:00.000")
    check("events", one(found, event="1969"), person_created_at="1969-12-31 23:59:59.000")
    large = one(found, event="large")  # what the person's own row has goes first, and the event keeps what is its own
    assert json.loads(large["properties"])["big"] == "x" * 600000, large["properties"][:80]
    assert list(json.loads(large["person_properties"])) == ["$left_out_bytes"], large["person_properties"][:80]
    return len(found)


def the_rest_is_right(engine):
    found = rows(engine, "person", "FINAL")
    check("person", one(found, id=person("d1")), team_id=1, version=0, is_identified=0, is_deleted=0, created_at="2024-02-29 23:59:59.000",
          last_seen_at=None)
    assert json.loads(one(found, id=person("d1"))["properties"])["plan"] == "ünï 😀"
    check("person", one(found, id=person("user")), is_identified=1, is_deleted=0, created_at="2024-01-03 00:00:00.000")
    gone = one(found, id=person("anon"))
    assert gone["is_deleted"] == 1 and gone["version"] >= 100, gone
    assert not [row for row in found if row["id"] == person("d3")]
    check("person", one(found, id=person("old0")), created_at="1900-01-01 00:00:00.000")
    ids = rows(engine, "person_distinct_id2", "FINAL")
    assert {row["distinct_id"]: row["person_id"] for row in ids} == {
        **{i: person(i) for i in ("d1", "d4", "user", "old0", "old1", "old2", "d8")}, "anon": person("user")}, ids
    check("person_distinct_id2", one(ids, distinct_id="anon"), version=1, is_deleted=0)
    check("person_distinct_id_overrides", one(rows(engine, "person_distinct_id_overrides", "FINAL"), distinct_id="anon"), person_id=person("user"))
    check("groups", one(rows(engine, "groups", "FINAL"), group_key='k"0'), group_type_index=0, team_id=1, version=1, group_properties='{"n":1}',
          created_at="2023-05-05 05:05:05.000")
    points = rows(engine, "heatmaps")
    check("heatmaps", one(points, type="click"), x=2, y=6, pointer_target_fixed=True, viewport_height=63, viewport_width=3, scale_factor=16,
          current_url="https://x/é", session_id="s1", distinct_id="d6", team_id=1, timestamp="2024-01-07 00:00:00.500000")
    check("heatmaps", one(points, type="mousemove"), x=32767, y=-32768, pointer_target_fixed=False)
    told = {(row["type"], row["event_uuid"]) for row in rows(engine, "ingestion_warnings")}
    names = [event for event, *_ in SENT]
    assert told == {("message_size_too_large", event_id(names.index("large"))), ("invalid_event_session_id", event_id(names.index("$$heatmap"))),
                    ("ignored_invalid_timestamp", event_id(names.index("year 0"))),
                    ("ignored_invalid_timestamp", event_id(names.index("1899")))}, told


def run(engine):
    ddl = subprocess.run([BINARY, "warehouse", "ddl", "--form", "kafka-engine", "--database", DATABASE, "--brokers", BROKERS, "--topic-prefix", PREFIX],
                         capture_output=True, text=True, check=True).stdout
    with served(SETTINGS, BROKERS, PREFIX, "capture,ingest", PATIENCE) as (port, token, _):
        post(port, token)
        end = time.time() + PATIENCE
        while True:  # topics first: the engine looks for them now and then only
            done = subprocess.run(["kcat", "-C", "-b", BROKERS, "-t", PREFIX + "clickhouse_events_json", "-o", "beginning", "-e", "-q", "-f", "x"],
                                  capture_output=True, text=True, timeout=60).stdout
            if len(done) >= len(SENT) - 1:
                break
            assert time.time() < end, "%d messages" % len(done)
            time.sleep(0.3)
        for statement in filter(str.strip, ddl.split(";\n")):
            try:
                engine.ask(statement)
            except RuntimeError as said:  # the engine in this package says so of its pool, and the table is there and reads
                assert "Shutdown was called" in str(said) and "ENGINE = Kafka" in statement, (statement, said)
        wanted = {"events": len(SENT) - 1, "person": 8, "person_distinct_id2": 8, "groups": 1, "heatmaps": 2, "ingestion_warnings": 4}
        end = time.time() + PATIENCE
        while any(int(engine.ask("SELECT count() FROM %s.%s" % (DATABASE, table))) < count for table, count in wanted.items()):
            assert time.time() < end, {table: engine.ask("SELECT count() FROM %s.%s" % (DATABASE, table)) for table in wanted}
            time.sleep(0.5)
        assert events_are_right(engine) == len(SENT) - 1
        the_rest_is_right(engine)


def main():
    module = parts.load("clickhouse")
    with tempfile.TemporaryDirectory(prefix="penstock-kafka-engine.") as folder:
        os.environ["TZ"] = "Asia/Tokyo"
        engine = module.Part(os.path.join(folder, "engine"))
        try:
            engine.start()
            del os.environ["TZ"]
            assert engine.ask("SELECT serverTimezone()").strip() == "Asia/Tokyo"
            run(engine)
        finally:
            engine.kill()
    print("31_kafka_engine: 1 passed")


if __name__ == "__main__":
    main()
