"""Cookieless mode: visitors told apart without an id of theirs, over kills; what each setting does; no address is stored."""
import datetime
import json
import re

from harness import Serve, uuid7

AGENTS = ["Firefox", "Safari", "Chrome"]


BEGAN = datetime.datetime.now(datetime.timezone.utc).isoformat()  # one day of all events, also around midnight


def event(name, agent, more=None, distinct_id="$posthog_cookieless"):
    props = {"$cookieless_mode": True, "$raw_user_agent": agent, "$host": "www.shop.example:8000", "$timezone": "Europe/Berlin"}
    props.update(more or {})
    return {"event": name, "distinct_id": distinct_id, "uuid": uuid7(), "timestamp": BEGAN, "properties": props}


def send(serve, token, events):
    serve.post("/batch/", {"api_key": token, "batch": events})


def test_visitors_are_told_apart():
    with Serve() as serve:
        token = serve.token()
        sent = {}
        for i in range(12):
            batch = [event("view", agent, {"$browser": agent}) for agent in AGENTS]
            sent.update({e["uuid"]: e["properties"]["$raw_user_agent"] for e in batch})
            send(serve, token, batch + batch[:1])
            if i % 4 == 1:
                serve.kill("ingest")
        status = serve.settle()
        assert (status["stored"], status["deduplicated"]) == (36, 12), status
        rows = serve.sql("SELECT uuid, distinct_id, \"$session_id\" AS session, person_id, properties, person_properties FROM events")
        visitors = {}
        for row in rows:
            props = json.loads(row["properties"])
            visitors.setdefault(sent[row["uuid"]], set()).add(
                (row["distinct_id"], row["session"], row["person_id"], props["$device_id"], props["$session_id"]))
            assert re.fullmatch(r"cookieless_[A-Za-z0-9+/]{22}", row["distinct_id"]), row
            assert props["$device_id"] == row["distinct_id"].replace("cookieless_", "cookielessd_") and "$ip" not in props
            assert not any("raw_user_agent" in key for key in list(props) + list(props["$set"]) + list(json.loads(row["person_properties"])))
        assert len(visitors) == 3 and all(len(ids) == 1 for ids in visitors.values()), visitors
        assert len({min(ids)[0] for ids in visitors.values()}) == 3
        assert serve.sql("SELECT count(*) AS n FROM persons WHERE NOT is_deleted")[0]["n"] == 3
        for table in ("events", "persons", "person_distinct_ids", "property_definitions"):
            found = serve.sql("SELECT count(*) AS n FROM %s t WHERE t::VARCHAR LIKE '%%127.0.0.1%%'" % table)[0]["n"]
            assert found == 0, (table, found)

        # Who identifies keeps what was before; who comes back without an id is somebody new.
        send(serve, token, [event("$identify", "Firefox", {"$anon_distinct_id": "$posthog_cookieless"}, "ada"), event("later", "Firefox", {}, "ada"),
                            event("after", "Firefox")])
        serve.settle()
        got = {r["event"]: r for r in serve.sql("SELECT event, distinct_id, person_id FROM events WHERE event != 'view'")}
        before, = visitors["Firefox"]
        assert got["$identify"]["person_id"] == got["later"]["person_id"] == before[2]
        assert got["after"]["distinct_id"].startswith("cookieless_") and got["after"]["distinct_id"] != before[0]
        ids = {r["distinct_id"] for r in serve.sql("SELECT distinct_id FROM person_distinct_ids WHERE person_id = '%s'" % before[2])}
        assert ids == {"ada", before[0]}, ids


def test_settings_and_drops():
    with Serve() as serve:
        token = serve.token()
        serve.cli("project", "set", "cookieless=stateless")
        send(serve, token, [event("a", "Firefox"), event("$identify", "Firefox", {}, "ada"), event("$create_alias", "Firefox", {"alias": "x"}),
                            event("b", "", {}), event("c", "Firefox", {"$host": None})])
        status = serve.settle()
        assert (status["stored"], sum(status["dropped"].values())) == (1, 4), status
        row, = serve.sql("SELECT distinct_id, \"$session_id\" AS session, properties->>'$.$distinct_id' AS own FROM events")
        assert row["own"] == row["distinct_id"] and row["session"][14] == "7", row
        told = {r["type"] for r in serve.sql("SELECT type FROM ingestion_warnings")}
        assert told == {"cookieless_missing_user_agent", "cookieless_missing_host"}, told
        serve.cli("project", "set", "cookieless=off")
        send(serve, token, [event("d", "Firefox"), {"event": "e", "distinct_id": "u"}])
        status = serve.settle()
        assert (status["stored"], sum(status["dropped"].values())) == (2, 5), status
