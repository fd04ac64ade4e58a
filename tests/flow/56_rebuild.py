"""The warehouse is built anew from the log, beside live traffic and over kills: the same rows, each once."""
# embedded: warehouse: only a DuckDB file is built anew
import glob
import json
import os
import random
import threading
import time

from harness import Serve, uuid7

TABLES = {"events": "* EXCLUDE (inserted_at)", "persons": "*", "person_distinct_ids": "*", "groups": "*", "dead_letters": "*",
          "ingestion_warnings": "*", "event_definitions": "*", "property_definitions": "*", "event_properties": "*"}


def contents(serve):
    """Of each table, how many rows there are and a sum of what is in them; of events, those of before alone."""
    return {table: serve.sql("SELECT count(*) AS n, sum(hash(t)::HUGEINT)::VARCHAR AS h FROM (SELECT %s FROM %s %s) t" % (
        columns, table, "WHERE distinct_id NOT LIKE 'live%'" if table == "events" else "")) for table, columns in TABLES.items()
        if table not in ("persons", "person_distinct_ids", "event_definitions", "property_definitions")} | {
        "of persons": serve.sql("SELECT count(*) AS n, sum(hash(properties)::HUGEINT)::VARCHAR AS h FROM persons WHERE properties LIKE '%plan%'")}


def same(one, other):
    for table in one:
        assert one[table] == other[table], (table, one[table], other[table])


def events(token, start, count, prefix="u"):
    return {"api_key": token, "batch": [
        {"event": "step %d" % (n % 7), "distinct_id": "%s%d" % (prefix, n % 50), "uuid": uuid7(), "timestamp": "2026-01-01T00:00:00Z",
         "properties": {"n": n, "text": "x" * (n % 300), **({"$set": {"plan": n}} if prefix == "u" else {})}}
        for n in range(start, start + count)] + [{"event": "", "distinct_id": "bad"}] * (prefix == "u" and start % 1000 == 0)}


def test_beside_live_traffic_and_kills():
    dice = random.Random(56)
    with Serve() as serve:
        token = serve.token()
        for start in range(0, 20000, 500):
            serve.post("/batch/", events(token, start, 500))
        serve.settle()
        before = contents(serve)
        none = serve.cli("warehouse", "rebuild", check=False, stdin=-3)
        assert none.returncode == 1 and "--yes" in none.stderr, none.stderr
        stop, sent = threading.Event(), [0]

        def live():
            while not stop.is_set():
                serve.post("/batch/", events(token, sent[0], 10, "live"))
                sent[0] += 10
                time.sleep(0.005)

        thread = threading.Thread(target=live)
        thread.start()
        try:
            serve.cli("warehouse", "rebuild", "--yes", "--wait")
            same(before, contents(serve))
            for _ in range(3):  # and again, with the loader killed on its way
                serve.cli("warehouse", "rebuild", "--yes")
                for _ in range(3):
                    time.sleep(dice.uniform(0.05, 0.7))
                    serve.kill("load")
                time.sleep(1.1)  # names of the old files have seconds
        finally:
            stop.set()
            thread.join()
        status = serve.settle(120)
        same(before, contents(serve))
        assert status["stored"] == 20000 + sent[0], (status, sent)
        assert serve.sql("SELECT count(*) AS n, count(DISTINCT uuid) AS d FROM events") in (
            [{"n": str(20000 + sent[0]), "d": str(20000 + sent[0])}], [{"n": 20000 + sent[0], "d": 20000 + sent[0]}])
        assert not os.path.exists(os.path.join(serve.data, "warehouse.rebuild"))
        old = [name for name in glob.glob(os.path.join(serve.data, "warehouse.duckdb.before-*")) if not name.endswith(".wal")]
        assert len(old) == 4, old


def test_asked_for_while_nothing_runs():
    with Serve() as serve:
        serve.post("/batch/", events(serve.token(), 0, 500))
        serve.settle()
        before = contents(serve)
        serve.stop()
        cursor = json.loads(serve.cli("log", "info", "--json").stdout)
        asked = serve.cli("warehouse", "rebuild", "--yes", "--wait")
        assert "next `penstock serve`" in asked.stderr, asked.stderr
        with open(os.path.join(serve.data, "warehouse.duckdb"), "r+b") as old:  # the engine would not open it
            old.write(b"\0" * 8192)
        serve.start()
        serve.settle()
        same(before, contents(serve))
        assert {t["topic"]: t["cursors"] for t in cursor}["events"]["load"] == 500

