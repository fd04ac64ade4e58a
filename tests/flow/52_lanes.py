"""Imports go a way of their own: a topic, a place, a speed. Everything of both lanes is stored once, in its order."""
import json
import os
import random
import re
import signal
import threading
import time

import deploy
from harness import ROLES, Serve, uuid7, wait_for

HISTORICAL = 1 << 60  # places of imports begin here


def batch(token, names, historical, distinct_id="u"):
    body = {"api_key": token, "batch": [{"event": "step", "uuid": uuid7(), "distinct_id": distinct_id,
                                         "properties": {"n": n}, "timestamp": "2024-01-01T00:00:00Z"} for n in names]}
    if historical:
        body["historical_migration"] = True
    return body


def test_imports_have_a_lane():
    with Serve() as serve:
        token = serve.token()
        serve.post("/batch/", batch(token, range(3), False))
        serve.post("/batch/", batch(token, range(100, 105), True))
        v1 = {"created_at": "2026-01-01T00:00:00Z", "historical_migration": True, "batch": [
            {"uuid": uuid7(), "event": "step", "distinct_id": "u", "timestamp": "2024-01-01T00:00:00Z", "properties": {"n": 200}}]}
        headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json", "PostHog-Sdk-Info": "x/1", "User-Agent": "x/1",
                   "PostHog-Attempt": "1", "PostHog-Request-Id": uuid7(), "PostHog-Request-Timestamp": "2026-01-01T00:00:00Z"}
        serve.post("/i/v1/analytics/events", v1, headers=headers)
        serve.settle()
        rows = serve.sql("SELECT raw_offset, historical_migration AS h, (properties->>'$.n')::INT AS n FROM events ORDER BY n")
        places = {int(row["n"]): int(row["raw_offset"]) for row in rows}
        live, imported = [places[n] for n in range(3)], [places[n] - HISTORICAL for n in (100, 101, 102, 103, 104, 200)]
        if deploy.embedded("log"):
            assert live == [0, 1, 2] and imported == [0, 1, 2, 3, 4, 5]
        else:  # Kafka's offsets rise, and have holes
            assert 0 <= live[0] < live[1] < live[2] < HISTORICAL and imported[0] >= 0, (live, imported)
            assert all(a < b for a, b in zip(imported, imported[1:])), imported
        assert all(str(row["h"]).lower() == ("false" if int(row["n"]) < 100 else "true") for row in rows)
        topics = {t["topic"]: t for t in json.loads(serve.cli("log", "info", "--json").stdout)}
        if deploy.embedded("log"):
            assert topics["raw"]["end"] == 3 and topics["raw_historical"]["end"] == 6, topics
        assert "raw_overflow" not in topics  # made when it is needed
        dump = {}
        for line in serve.cli("log", "dump", "raw_historical").stdout.splitlines():
            dump.setdefault(json.loads(line)["uuid"], json.loads(line))  # the first of repeats
        dump = list(dump.values())
        assert [line["offset"] for line in dump] == imported and dump[0]["kind"] == "event"
        status = serve.status()
        repeats = 0 if deploy.embedded("log") else status["deduplicated"]  # what slow brokers took, and the spool sent again
        assert status["accepted"] - repeats == 9 and status["stored"] == 9, status
        assert [lane["topic"] for lane in status["lanes"]] == ["raw", "raw_historical", "raw_overflow"]
        assert all(lane["lag"] == 0 for lane in status["lanes"])
        metrics = serve.get("/metrics").text
        read = float(re.search(r'ingest_records_total{role="ingest",topic="raw_historical"} (\d+)', metrics)[1])
        assert 6 <= read <= 6 + repeats, metrics


def test_kills_lose_nothing_of_either_lane():
    dice = random.Random(52)
    with Serve() as serve:
        token, sent, stop = serve.token(), {False: [], True: []}, threading.Event()

        def feed(historical):
            n = 0
            while not stop.is_set():
                body = batch(token, range(n, n + 20), historical, distinct_id="import" if historical else "live")
                while not stop.is_set():  # the same events until they are accepted
                    try:
                        if serve.request("POST", "/batch/", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}).status == 200:
                            sent[historical] += [event["uuid"] for event in body["batch"]]
                            n += 20
                            break
                    except OSError:
                        pass
                    time.sleep(0.02)

        threads = [threading.Thread(target=feed, args=(historical,)) for historical in (False, True)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            time.sleep(dice.uniform(0.2, 0.8))
            serve.kill(dice.choice(ROLES))
        stop.set()
        for thread in threads:
            thread.join()
        serve.settle(120)
        for historical, name in ((False, "live"), (True, "import")):
            rows = serve.sql("SELECT uuid, raw_offset FROM events WHERE distinct_id = '%s' ORDER BY raw_offset" % name)
            stored = [row["uuid"] for row in rows]
            assert len(set(stored)) == len(stored)
            # a request whose answer was lost may be there without having been counted: only at its place
            missing = set(sent[historical]) - set(stored)
            assert not missing, (name, len(missing))
            order = {uuid: n for n, uuid in enumerate(stored)}
            places = [order[uuid] for uuid in sent[historical]]
            assert places == sorted(places), name
            assert all((int(row["raw_offset"]) >= HISTORICAL) == historical for row in rows)


def test_recordings_survive_kills():
    """What was answered 200 is in the topic `replay`, in order; and none of it is an event."""
    dice = random.Random(8)
    with Serve() as serve:
        token, sent, stop = serve.token(), [], threading.Event()

        def feed():
            while not stop.is_set():
                uuid = uuid7()
                body = {"token": token, "event": "$snapshot", "distinct_id": "ada", "uuid": uuid,
                        "properties": {"$session_id": "s-1", "$snapshot_data": [{"n": len(sent), "x": "x" * 2000}]}}
                while not stop.is_set():
                    try:
                        if serve.request("POST", "/s/", json.dumps(body).encode(), {"Content-Type": "application/json"}).status == 200:
                            sent.append(uuid)
                            break
                    except OSError:
                        pass
                    time.sleep(0.02)

        thread = threading.Thread(target=feed)
        thread.start()
        for _ in range(5):
            count, end = len(sent), time.time() + 60
            time.sleep(dice.uniform(0.2, 0.6))
            while len(sent) < count + 5:  # and each time in the middle of some
                assert time.time() < end, serve.log()[-3000:]
                time.sleep(0.01)
            serve.kill("capture")
        stop.set()
        thread.join()
        assert len(sent) > 20
        stored, end = [], time.time() + (0 if deploy.embedded("log") else 60)
        while True:  # what brokers had no time for waits in the spool, and may come twice
            lines = serve.cli("log", "dump", "replay").stdout.split("\n")
            stored = [json.loads(line)["uuid"] for line in lines if line]
            if not set(sent) - set(stored) or time.time() > end:
                break
            time.sleep(0.2)
        order = {uuid: n for n, uuid in reversed(list(enumerate(stored)))}
        assert not set(sent) - set(stored)
        places = [order[uuid] for uuid in sent]
        assert places == sorted(places)
        assert serve.settle()["accepted"] == 0


# embedded: warehouse: rows at ClickHouse stand in the order of its keys, not of their coming
def test_hot_ids_keep_their_order():
    """Vector J12. Small batches, a small burst, and an ingest that is killed over a backlog: one id is moved aside, more than once."""
    dice = random.Random(53)
    with Serve(config="ingest:\n  batch_records: 20\n  overflow_burst: 30\n  overflow_per_second: 1\n") as serve:
        token, accepted, pid = serve.token(), 0, None
        for turn in range(6):
            pid = wait_for(lambda: serve.role_pid("ingest") if serve.role_pid("ingest") != pid else None)
            os.kill(pid, signal.SIGSTOP)  # however long it takes to send: all of it waits
            for _ in range(20):
                names = ["hot" if dice.random() < 0.6 else "id%d" % dice.randrange(20) for _ in range(20)]
                body = batch(token, range(20), False)
                for event, name in zip(body["batch"], names):
                    event["distinct_id"] = name
                serve.post("/batch/", body)
                accepted += 20
            os.kill(pid, signal.SIGKILL)
            if turn == 2:
                serve.settle(120)  # nothing is aside any more
        status = serve.settle(120)
        assert status["accepted"] == status["stored"] == accepted, status
        topics = {t["topic"]: t for t in json.loads(serve.cli("log", "info", "--json").stdout)}
        assert 100 < topics["raw_overflow"]["end"] < accepted, topics
        dump = json.loads(serve.cli("log", "dump", "raw_overflow", "--count", "1").stdout)
        assert dump["accepted_in"] == "raw" and dump["distinct_id"] == "hot", dump
        rows = serve.sql("SELECT distinct_id, raw_offset FROM events ORDER BY rowid")
        last = {}
        for row in rows:
            place = int(row["raw_offset"])
            assert place > last.get(row["distinct_id"], -1), row
            last[row["distinct_id"]] = place
        assert sorted(int(row["raw_offset"]) for row in rows) == list(range(accepted))
