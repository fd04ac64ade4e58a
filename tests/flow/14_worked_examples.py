"""Worked examples that begin at the HTTP request: what capture and ingest make of an event together."""
import datetime
import json
import time
import uuid

from harness import Serve, command, uuid7
import rawjson

PERSONS = uuid.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")  # the namespace of person ids


def test_what_a_client_sent():
    # number, the event's own JSON (%s: its uuid), column or JSON path -> value of its row
    rows = [
        ("A06", '{"uuid":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11","event":"a06","distinct_id":"u"}', {"uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
        ("A09", '{"event":"a09","distinct_id":12345}', {"distinct_id": "12345", "person_mode": "full"}),
        ("A09", '{"event":"a09b","distinct_id":true}', {"distinct_id": "true", "person_mode": "full"}),
        ("B26", r'{"event":"b26","distinct_id":"a\u0000b"}',
         {"distinct_id": "a\ufffdb", "person_id": str(uuid.uuid5(PERSONS, "1:a\ufffdb"))}),
        ("B27", r'{"event":"b27","distinct_id":"b27","properties":{"$set":{"k":"\u0000"}}}', {"person_properties.k": '"\\ufffd"'}),
        ("B28", r'{"event":"b28 \ud83d","distinct_id":"u"}', {"event": "b28 \ufffd"}),
    ]
    with Serve() as serve:
        token = serve.token()
        for _, text, _ in rows:
            serve.post("/e/", '{"api_key":"%s",%s' % (token, text[1:]))
        serve.settle()
        stored = {row["event"].split()[0]: row for row in serve.sql("SELECT * FROM events")}
        for number, text, wants in rows:
            row = stored[json.loads(text)["event"].split()[0]]
            for path, want in wants.items():
                column, _, key = path.partition(".")
                value = rawjson.members(row[column])[key] if key else row[column]
                assert value == want, "%s: %s is %r, not %r" % (number, path, value, want)


def test_times():
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)

    def at(**ago):
        return (now - datetime.timedelta(**ago)).isoformat().replace("+00:00", "Z")

    # number, what the event says of its time, when it was sent, how long ago it is then (seconds)
    rows = [
        ("C01", {"timestamp": at(hours=1)}, at(seconds=-10), 3610),
        ("C03", {"timestamp": at(hours=1)}, None, 3600),
        ("C05", {}, at(seconds=-5), 0),
        ("C06", {"timestamp": "nonsense"}, at(seconds=-10), 0),
        ("C07", {"timestamp": at(hours=1), "offset": 5000}, at(seconds=-10), 5),
        ("C09", {"timestamp": at(hours=-26)}, at(hours=-26, minutes=-10), 600),
        ("C10", {"timestamp": at(hours=-22, minutes=-59)}, None, -82740),
        ("C10", {"timestamp": at(hours=-23, minutes=-1)}, None, 0),
        ("C13", {"timestamp": "garbage"}, None, 0),
        ("C14", {"timestamp": "+012345-01-01T00:00:00Z"}, None, 0),
    ]
    with Serve() as serve:
        token = serve.token()
        ids = []
        for _, event, sent_at, _ in rows:
            ids.append(uuid7())
            body = {"api_key": token, "batch": [dict(event, uuid=ids[-1], event="view", distinct_id="u")]}
            serve.post("/batch/", dict(body, sent_at=sent_at) if sent_at else body)
        took = time.time() - now.timestamp()  # until the last one was sent
        serve.settle()
        stored = {r["uuid"]: r["us"] / 1e6 for r in serve.sql("SELECT uuid, epoch_us(timestamp) AS us FROM events")}
        for (number, _, _, ago), one in zip(rows, ids):
            late = now.timestamp() - ago - stored[one]
            assert -5 - took < late < 5, "%s: %.1f s beside" % (number, late)  # "now" is when the request came
        warned = {r["event_uuid"] for r in serve.sql("SELECT event_uuid FROM ingestion_warnings WHERE type = 'ignored_invalid_timestamp'")}
        assert warned == {ids[3]}, "once an hour"


def test_an_address_is_looked_up_and_then_forgotten():
    """B07."""
    with Serve() as serve:
        token = serve.token()
        command("project", "set", "anonymize_ips=true", "--data", serve.data)
        serve.post("/e/", {"api_key": token, "event": "view", "distinct_id": "u", "properties": {"$ip": "8.8.8.8"}})
        serve.settle()
        row = json.loads(serve.sql("SELECT properties FROM events")[0]["properties"])
        assert "$ip" not in row and row["$geoip_country_name"] == "United States", row


def test_a_warning_is_not_told_again_by_a_restart():
    with Serve() as serve:
        token = serve.token()
        odd = {"api_key": token, "event": "view", "distinct_id": "u", "properties": {"$process_person_profile": "yes"}}
        serve.post("/e/", odd)
        serve.settle()
        serve.kill("ingest")
        serve.post("/e/", odd)
        serve.settle()
        serve.stop()
        serve.start()
        serve.post("/e/", odd)
        status = serve.settle()
        assert status["stored"] == 3
        assert serve.sql("SELECT count(*) AS n FROM ingestion_warnings") == [{"n": 1}]
