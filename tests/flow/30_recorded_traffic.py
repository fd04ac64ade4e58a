"""Every recorded request of real SDKs, replayed: what they sent is what is stored."""
import collections
import json
import time

import deploy
import rawjson
import recorded
from harness import Serve

# What ingestion's documented rules take off an event's properties, or write anew (docs/ingest.md).
REMOVED = {"$elements", "$elements_chain", "$process_person_profile", "$cookieless_mode", "$heatmap_data"}
GONE = ("$heatmap_data", "$elements", "$elements_chain", "$verified")
ASKED = {"$feature_flag", "$feature_flag_response", "$lib", "$lib_version", "$session_id", "$device_id", "$browser", "$browser_version"}
REWRITTEN = {"$set", "$set_once", "$session_id"}
# Of cookieless visitors: for the hash alone, or made of it.
VISITOR = {"$ip", "$raw_user_agent", "$distinct_id", "$device_id", "$session_id"}
PERSONAL = {"$set", "$set_once", "$unset"}  # not on events that must not touch a person


def replay(serve, requests):
    """Posts them in order; {run: {uuid or raw event: event}} of what was answered 2xx."""
    sent = collections.defaultdict(dict)
    for request in requests:
        headers = {k: v for k, v in request.headers.items() if k not in ("content-length", "connection", "host")}
        answer = serve.request(request.method, request.target, request.body if request.method == "POST" else None, headers)
        if request.is_replay():
            assert (answer.status, answer.text) == (200, '{"status":"Ok"}'), answer.text
        if not (request.is_capture() or request.is_v1()):
            continue
        assert answer.status == 200, "%s %s: %d %s" % (request.run(), request.target, answer.status, answer.text)
        for text in request.events():
            event = rawjson.members(text)
            event["added"] = added(request, event) if request.is_v1() else {}
            key = json.loads(event["uuid"]).lower() if "uuid" in event else text
            sent[request.run()].setdefault(key, event)
    return sent


def added(request, event):
    """What capture appends to the properties of a v1 event, from beside them: {key: raw text}."""
    library, version = request.headers["posthog-sdk-info"].rsplit("/", 1)
    found = {"$lib": json.dumps(library), "$lib_version": json.dumps(version)}
    options = rawjson.members(event.get("options", "{}"))
    for key, value in (("$window_id", event.get("window_id")), ("$product_tour_id", options.get("product_tour_id")),
                       ("$ignore_sent_at", options.get("disable_skew_correction"))):
        if value is not None:
            found[key] = value
    event["personless"] = options.get("process_person_profile") == "false"
    return found


def check_properties(row, event):
    stored = rawjson.members(row["properties"])
    sent = rawjson.members(event.get("properties", "{}"))
    assert not any(key in stored for key in GONE), stored
    stripped = row["event"] == "$feature_flag_called" and not sent.get("$feature_flag_response", "null").startswith('"')
    cookieless = sent.get("$cookieless_mode") == "true"
    assert not cookieless or "$raw_user_agent" not in stored and row["distinct_id"].startswith("cookieless_"), row
    personless = event.get("personless") or sent.get("$process_person_profile") == "false"
    for key, raw in {**sent, **event["added"]}.items():
        raw = rawjson.repaired(raw)
        if stripped and key not in ASKED:
            assert stored.get(key, raw) == raw or key in REWRITTEN, key
            continue
        if key in REMOVED or (cookieless and key in VISITOR) or (personless and key in PERSONAL):
            continue
        if key in REWRITTEN:
            if raw.startswith("{"):
                inner = rawjson.members(stored[key])
                for k, v in rawjson.members(raw).items():
                    assert inner.get(k) == v, "%s.%s of %s: %r is stored as %r" % (key, k, row["uuid"], v, inner.get(k))
            continue
        assert stored.get(key) == raw, "%s of %s: %r is stored as %r" % (key, row["uuid"], raw, stored.get(key))


def run_modes(wanted):
    requests = [r for r in recorded.requests() if wanted(r.mode)]
    assert len(requests) > 50
    with Serve() as serve:
        serve.token(recorded.TOKEN)
        sent = replay(serve, requests)
        status = serve.settle()
        everything = {}
        for events in sent.values():
            everything = {**events, **everything}  # runs share a uuid: the first to come counts
        rows = serve.sql("SELECT uuid, event, distinct_id, properties FROM events")
        with_uuid = {k: v for k, v in everything.items() if "uuid" in v}
        points = {row["uuid"]: row["n"] for row in serve.sql(
            "SELECT event_uuid AS uuid, count(*) AS n FROM heatmaps WHERE event_uuid IS NOT NULL GROUP BY 1")}
        heatmaps = {k for k, v in everything.items() if v["event"] == '"$$heatmap"'}
        assert {k: 1 for k in heatmaps} == points, "heatmap events are not once in heatmaps"
        assert status["stored"] == len(rows) + len(points)
        by_uuid = {row["uuid"]: row for row in rows}
        assert len(by_uuid) == len(rows), "a uuid stands in two rows"
        elsewhere = heatmaps | {k for k, v in everything.items() if v["event"] == '"$$client_ingestion_warning"'}
        # A cookieless event of a day without a salt is dropped: the SDK's scenario has one of years ago.
        over = {k for k, v in with_uuid.items() if k not in by_uuid and k not in elsewhere and
                rawjson.members(v["properties"]).get("$cookieless_mode") == "true"}
        assert len(over) == status["dropped"].get("cookieless_timestamp_out_of_range", 0), status["dropped"]
        elsewhere |= over
        missing = [k for k in with_uuid if k not in by_uuid and k not in elsewhere]
        assert not missing, "not stored: %s" % missing[:3]
        assert len(rows) == len(everything) - len(elsewhere), "%d rows of %d events" % (len(rows), len(everything))
        assert status["dead_lettered"] == 0
        for uuid, event in with_uuid.items():
            if uuid in elsewhere:
                continue
            row = by_uuid[uuid]
            assert json.loads(event["event"]) == row["event"]
            check_properties(row, event)
        return sent, rows


def test_clean_runs_are_stored_as_sent():
    sent, _ = run_modes(lambda mode: mode == "ok")
    for run, driver in recorded.runs().items():
        if run[2] == "ok" and driver and driver.get("events") is not None:
            recordings = sum(len(r.events()) for r in recorded.requests() if r.is_replay() and r.run() == run)
            assert len(sent[run]) + recordings == driver["events"], "%s: the driver captured %d" % (run, driver["events"])


def test_retried_requests_store_each_event_once():
    sent, rows = run_modes(lambda mode: mode != "ok")
    assert len(rows) < sum(1 for r in recorded.requests() if r.mode != "ok" and (r.is_capture() or r.is_v1()) for _ in r.events())


def test_recordings_are_kept_whole():
    """Each request to /s is one record of the topic `replay`, with what was recorded byte for byte."""
    requests = [r for r in recorded.requests() if r.is_replay()]
    assert len(requests) > 5
    with Serve() as serve:
        serve.token(recorded.TOKEN)
        replay(serve, requests)
        records, end = [], time.time() + 60
        while len(records) < len(requests) and time.time() < end:  # on a cluster some may be on their way from the spool
            records = [json.loads(line) for line in serve.cli("log", "dump", "replay").stdout.split("\n") if line]
        assert len(records) == len(requests) or (not deploy.embedded("log") and len(records) > len(requests))
        if not deploy.embedded("log"):  # each session has its partition, and repeats are possible
            found = {(record["uuid"], json.dumps(record["data"], sort_keys=True)): record for record in records}
            assert len(found) == len(requests), "%d recordings of %d requests" % (len(found), len(requests))
            records = []
            for request in requests:
                first = rawjson.members(request.events()[0])
                key = next(key for key in found if key[0] == json.loads(first["uuid"]))
                records.append(found.pop(key))
        for request, record in zip(requests, records):
            events = [rawjson.members(text) for text in request.events()]
            properties = [rawjson.members(event["properties"]) for event in events]
            items = [item for each in properties for item in
                     (rawjson.elements(each["$snapshot_data"]) if each["$snapshot_data"].startswith("[") else [each["$snapshot_data"]])]
            stored = record["data"]["properties"]
            assert record["event"] == "$snapshot_items" and record["session_id"] == json.loads(properties[0]["$session_id"])
            wanted = [json.loads(item) for item in items]
            assert len(items) > 0 and stored["$snapshot_items"] == wanted
            assert record["uuid"] == json.loads(events[0]["uuid"]) and record["token"] == recorded.TOKEN
            assert stored["$window_id"] == json.loads(properties[0]["$window_id"]) and stored["$lib"] == "web"
        assert serve.settle()["accepted"] == 0  # none of them is an event


def test_events_without_uuid_come_back_the_same():
    """posthog-python 3 sends no uuid: the whole scenario twice is the scenario once."""
    requests = [r for r in recorded.requests() if r.sdk == "posthog-python-3.25.0" and r.mode == "ok" and r.is_capture()]
    with Serve() as serve:
        serve.token(recorded.TOKEN)
        events = set()
        for _ in range(2):
            for request in requests:
                headers = {k: v for k, v in request.headers.items() if k not in ("content-length", "connection", "host")}
                assert serve.request("POST", request.target, request.body, headers).status == 200
                for text in request.events():
                    events.add(rawjson.members(text).get("uuid", text))
        status = serve.settle()
        assert status["stored"] == len(events)
        assert status["deduplicated"] == status["accepted"] - len(events) >= len(events)
