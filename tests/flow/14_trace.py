"""penstock trace: the story of one event, told by what each stage recorded."""
import glob
import json
import os
import pty
import re
import subprocess
import time

import deploy
from harness import BINARY, Serve, uuid7


def trace(serve, uuid, *flags, check=True):
    return json.loads(serve.cli("trace", uuid, "--json", *flags, check=check).stdout)


def test_a_stored_event():
    own = uuid7()
    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "first", "distinct_id": "ada", "properties": {"$set_once": {"plan": "free"}}})
        serve.settle()
        serve.post("/batch/", {"api_key": token, "batch": [{"event": "other", "distinct_id": "x"}, {
            "event": "$pageview", "distinct_id": "ada", "uuid": own,
            "properties": {"a": 1, "$elements": [], "$session_id": "0190A6C8-9F5E-7C3A-B6F1-2F0D6C1A9E55", "$ip": "8.8.8.8",
                           "$groups": {"company": "acme"}, "$set": {"seats": 3}, "$set_once": {"plan": "pro", "via": "ad"}}}]})
        serve.settle()
        told = trace(serve, own)
        assert told["fate"] == "stored" and told["project"] == 1 and told["topic"] == "raw", told
        # On Kafka: the second message of ada's partition, which "other" may stand in too (docs/log.md).
        assert told["offset"] in ([2] if deploy.embedded("log") else [1 << 20, (1 << 20) + 1]), told
        record = told["record"]
        assert record["index"] == 1 and record["ip"] == "127.0.0.1" and record["distinct_id"] == "ada" and record["token"] == token, record
        assert record["timestamp_is"].startswith("the request's arrival") and record["uuid_is"] == "the client's", record
        assert [step["step"] for step in told["steps"]] == ["accepted", "written", "processed", "stored"], told["steps"]
        assert all(0 <= step["after_ms"] < 30000 for step in told["steps"][1:]), told["steps"]
        changes = told["changes"]
        assert "$elements" in changes["removed"] and "$session_id" in changes["changed"], changes
        assert "$group_0" in changes["added"] and "a" not in changes["added"] + changes["removed"] + changes["changed"], changes
        assert "$geoip_country_code" in changes["place"] or changes["place"] == {}, changes
        person = told["person"]
        assert "seats" in person["set"] and "via" in person["set_once"] and "plan" in person["set_once_there_before"], person
        assert person["properties_after"]["plan"] == "free" and person["now"] == person["id"], person
        assert person["made_by_this_event"] is False, person
        assert told["events_offset"] in ([2] if deploy.embedded("log") else [1, 2]) and told["rows"][0]["$group_0"] == "acme" and told["warnings"] == [], told
        assert told["no_row_times"] == 0 and told["letter"] is None, told
        text = serve.cli("trace", own).stdout
        for part in ("is stored", "accepted", "written", "processed", "stored", "event 1 of it", "acme", "ms from acceptance"):
            assert part in text, (part, text)


def test_repeats_and_drops_are_told():
    own, long_key = uuid7(), uuid7()
    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "once", "distinct_id": "u", "uuid": own})
        for _ in range(2):
            serve.post("/e/", {"api_key": token, "event": "again", "distinct_id": "u", "uuid": own})
        serve.post("/e/", {"api_key": token, "event": "$groupidentify", "distinct_id": "u", "uuid": long_key,
                           "properties": {"$group_type": "company", "$group_key": "k" * 401}})
        serve.settle()
        told = trace(serve, own)
        assert told["fate"] == "stored" and told["record"]["event"] == "once", told
        gone = [(e["fate"], e["topic"], e["offset"]) for e in told["no_row"]]
        if deploy.embedded("log"):
            assert gone == [("deduplicated", "raw", 1), ("deduplicated", "raw", 2)] and told["no_row_times"] == 2, told
        else:  # one message or several, and what slow brokers made go over the disk came once more
            offsets = [offset for _, _, offset in gone]
            assert {one[:2] for one in gone} == {("deduplicated", "raw")} and told["no_row_times"] >= 2, told
            assert sorted(set(offsets)) == offsets and offsets[0] > told["offset"], told
        assert "deduplicated, project 1, topic raw, offset %d" % gone[1][2] in serve.cli("trace", own).stdout
        told = trace(serve, long_key)
        assert (told["fate"], told["reason"], told["recomputed"]) == ("dropped", "group_key_too_long", False), told
        assert told["record"]["event"] == "$groupidentify", told
        assert told["offset"] == 3 if deploy.embedded("log") else told["offset"] > gone[0][2], told
        assert told["warnings"][0]["type"] == "group_key_too_long", told
        assert "dropped" in serve.cli("trace", long_key).stdout
        unknown = serve.cli("trace", uuid7(), check=False)
        assert unknown.returncode == 1 and "is unknown" in unknown.stdout, unknown


def test_a_merge_and_a_refused_merge():
    own, refused = uuid7(), uuid7()
    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "anon", "uuid": own})
        serve.settle()  # the order of two ids' events is nobody's where they are in two partitions
        serve.post("/batch/", {"api_key": token, "batch": [
            {"event": "$identify", "distinct_id": "ada", "properties": {"$anon_distinct_id": "early"}},
            {"event": "$identify", "distinct_id": "ada", "properties": {"$anon_distinct_id": "anon"}},
            {"event": "$identify", "distinct_id": "ada", "uuid": refused, "properties": {"$anon_distinct_id": "undefined"}}]})
        serve.settle()
        told = trace(serve, own)
        assert told["person"]["now"] != told["person"]["id"], told["person"]
        assert "merged since" in serve.cli("trace", own).stdout
        told = trace(serve, refused)
        assert [w["type"] for w in told["warnings"]] == ["cannot_merge_with_illegal_distinct_id"], told


def test_a_heatmap_has_only_points():
    own = uuid7()
    with Serve() as serve:
        serve.post("/e/", {"api_key": serve.token(), "event": "$$heatmap", "distinct_id": "ada", "uuid": own, "properties": {
            "$viewport_width": 1000, "$viewport_height": 800,
            "$heatmap_data": {"http://a.b/c": [{"x": 10, "y": 20, "target_fixed": False, "type": "click"}]}}})
        serve.settle()
        told = trace(serve, own)
        assert told["fate"] == "stored" and told["rows"][0]["current_url"] == "http://a.b/c" and told["person"] is None, told
        assert "heatmaps" in serve.cli("trace", own).stdout


def test_a_dead_letter_and_its_replay():
    own = uuid7()
    with Serve() as serve:
        token = serve.token()
        serve.post("/batch/", {"api_key": token, "batch": [{"event": "ok", "distinct_id": "u"}, {"event": "", "distinct_id": "u", "uuid": own}]})
        serve.settle()
        told = trace(serve, own)
        assert told["fate"] == "dead-lettered" and told["reason"] == "no_event_name", told
        letter = told["letter"]["letter"]  # where the record stands: on Kafka of the message, and of a partition
        assert letter == "capture:1" if deploy.embedded("log") else letter.split("/")[0] == "capture:%d" % told["offset"], told
        assert "penstock dlq show " + letter in serve.cli("trace", own).stdout
        path = os.path.join(serve.folder, "repaired.json")
        with open(path, "w") as out:
            out.write('{"event":"mended","distinct_id":"u"}')
        serve.cli("dlq", "edit", own, "--set", path)
        serve.cli("dlq", "replay", own)
        serve.settle()
        told = trace(serve, own)
        assert told["fate"] == "stored" and told["record"]["event"] == "mended" and told["letter"]["state"] == "replayed", told


def test_on_the_way():
    own, bad = uuid7(), uuid7()
    with Serve(extra=["--role", "capture"]) as serve:
        token = serve.token("phc_trace")
        serve.post_when_known(token, "/batch/", {"api_key": token, "batch": [{"event": "x", "distinct_id": "u", "uuid": own},
                                                                             {"event": "", "distinct_id": "u", "uuid": bad}]})
        told = trace(serve, own)
        assert told["fate"] == "pending" and told["note"] == "accepted, waits for ingest" and told["record"]["event"] == "x", told
        end = time.time() + 60
        while serve.status()["roles"][0]["lag"] > 0:  # slow brokers: what is on its disk, capture alone sends
            assert time.time() < end, serve.log()
            time.sleep(0.1)
        serve.stop()
        serve.extra = ["--role", "ingest"]
        serve.start(wait=False)
        end = time.time() + 60
        while trace(serve, own)["note"] == "accepted, waits for ingest":
            assert time.time() < end, serve.log()
            time.sleep(0.1)
        for uuid, offset in ((own, 0), (bad, 1)):
            told = trace(serve, uuid)
            assert told["fate"] == "pending" and told["note"] == "processed, waits for the warehouse" and told["offset"] == offset, told
        assert trace(serve, own)["rows"][0]["distinct_id"] == "u"
        serve.stop()
        serve.extra = []
        serve.start()
        serve.settle()
        assert trace(serve, own)["fate"] == "stored" and trace(serve, bad)["fate"] == "dead-lettered"


# embedded: log: segments of the log are deleted
def test_the_record_is_gone():
    own = uuid7()
    with Serve() as serve:
        serve.post("/e/", {"api_key": serve.token(), "event": "x", "distinct_id": "u", "uuid": own})
        serve.settle()
        serve.stop()
        for topic in ("raw", "events"):
            for path in glob.glob(os.path.join(serve.data, "log", topic, "0", "*.seg")):
                os.unlink(path)
        told = trace(serve, own)
        assert told["fate"] == "stored" and told["record"] is None and told["changes"] is None, told
        assert told["rows"][0]["distinct_id"] == "u" and told["person"]["mode"] == "full" and told["events_offset"] is None, told


def test_an_import():
    own = uuid7()
    with Serve() as serve:
        serve.post("/batch/", {"api_key": serve.token(), "historical_migration": True, "batch": [
            {"event": "x", "distinct_id": "u", "uuid": own, "timestamp": "2020-01-01T00:00:00Z"}] * 2})
        serve.settle()
        told = trace(serve, own)
        assert (told["fate"], told["topic"], told["offset"]) == ("stored", "raw_historical", 0), told
        assert told["record"]["historical_migration"] is True and told["events_offset"] == 0, told
        assert [(e["topic"], e["offset"]) for e in told["no_row"]] == [("raw_historical", 1)], told


def test_the_same_id_in_two_projects():
    own = uuid7()
    with Serve() as serve:
        token = serve.token()
        serve.cli("project", "create", "other")
        serve.cli("token", "create", "--token", "phc_other", "--project", "other")
        for which, name in ((token, "here"), ("phc_other", "there")):
            serve.post("/e/", {"api_key": which, "event": name, "distinct_id": "u", "uuid": own})
        serve.settle()
        told = trace(serve, own)
        assert told["project"] == 1 and told["also_in_projects"] == [2] and told["record"]["event"] == "here", told
        assert trace(serve, own, "--project", "2")["record"]["event"] == "there"


STEERS = "\x7f\u009b31m\u202eevil\u2066\u200f"  # what JSON lets pass and a terminal obeys


def at_a_terminal(*argv):
    """What a command writes when its stdout is one."""
    master, slave = pty.openpty()
    child = subprocess.Popen([BINARY, *argv], stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    text = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # nobody has its other end
            break
        if not piece:
            break
        text += piece
    os.close(master)
    error = child.stderr.read()
    assert child.wait() == 0, (argv, error)
    return text.decode().replace("\r\n", "\n")


def test_no_text_of_a_stranger_steers_a_terminal():
    own, who, bad = uuid7(), "who" + STEERS, uuid7()
    with Serve() as serve:
        token = serve.token()
        body = {"api_key": token, "batch": [
            {"event": "name" + STEERS, "distinct_id": who, "uuid": own, "properties": {"key" + STEERS: STEERS, "$set": {"p" + STEERS: STEERS}}},
            {"event": "lost" + STEERS, "uuid": bad, "distinct_id": ""}]}
        serve.post("/batch/", json.dumps(body, ensure_ascii=False).encode())
        serve.settle()
        for argv in (["trace", own], ["trace", own, "--json"], ["trace", bad], ["person", "show", who], ["person", "show", who, "--json"],
                     ["dlq", "list"], ["dlq", "list", "--json"], ["dlq", "show", bad], ["dlq", "show", bad, "--json"], ["dlq", "download"],
                     ["tail", "--from", "start", "--count", "1"], ["log", "dump", "raw", "--count", "1"],
                     ["sql", "SELECT event, distinct_id, properties FROM events"]):
            text = at_a_terminal(*argv, "--data", serve.data)
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", text), (argv, text)
            assert "31m" in text, (argv, text)  # it does tell of it
        # The data are what they were, there and elsewhere.
        assert json.loads(at_a_terminal("trace", own, "--json", "--data", serve.data))["record"]["event"] == "name" + STEERS
        assert trace(serve, own)["record"]["event"] == "name" + STEERS
