"""The warehouse is built anew from the log, beside live traffic and over kills: the same rows, each once."""
# embedded: warehouse: only a DuckDB file is built anew
import glob
import json
import os
import random
import re
import threading
import time

from harness import Serve, uuid7, wait_for

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
                begun(serve)  # one that waits is not asked for a second time, and of one that is not begun nothing is kept
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


def begun(serve):
    """The loader did what it was asked for, and there is a warehouse again."""
    wait_for(lambda: not os.path.exists(os.path.join(serve.data, "warehouse.rebuild")) and
             os.path.exists(os.path.join(serve.data, "warehouse.duckdb")), 120)


def kept(serve):
    """What the loader says that it kept."""
    return re.findall(r"what it was is (warehouse\.duckdb\.before-[\dTZ-]+)", serve.log())


def test_of_a_warehouse_that_is_not_there_nothing_is_told_to_be_kept():
    """As when the loader is killed before it begins the new one, and asked again."""
    with Serve() as serve:
        serve.post("/batch/", events(serve.token(), 0, 500))
        serve.settle()
        before = contents(serve)
        serve.stop()
        for path in glob.glob(os.path.join(serve.data, "warehouse.duckdb*")):
            os.unlink(path)
        serve.cli("warehouse", "rebuild", "--yes")
        serve.start()
        serve.settle()
        same(before, contents(serve))
        assert kept(serve) == [] and "there was none" in serve.log(), serve.log()
        assert glob.glob(os.path.join(serve.data, "warehouse.duckdb.before-*")) == []


def test_several_in_one_second_are_all_kept():
    with Serve() as serve:
        serve.post("/batch/", events(serve.token(), 0, 500))
        serve.settle()
        before = contents(serve)
        serve.stop()
        serve.env["PENSTOCK_CLOCK_US"] = "1767225600000000"
        for _ in range(3):  # the clock stands still
            serve.cli("warehouse", "rebuild", "--yes", env=serve.env)
            serve.start()
            serve.settle()
            same(before, contents(serve))
            serve.stop()
        names = ["warehouse.duckdb.before-20260101T000000Z" + more for more in ("", "-2", "-3")]
        assert kept(serve) == names, serve.log()
        assert sorted(os.path.basename(p) for p in glob.glob(os.path.join(serve.data, "warehouse.duckdb.before-*"))) == names


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



def test_by_several_threads_and_kills():
    """As when many rows wait, with so few that a test can afford it."""
    dice = random.Random(57)
    with Serve(config="load:\n  catch_up_rows: 1000\n  catch_up_threads: 3\n  batch_rows: 4000\n") as serve:
        token = serve.token()
        for start in range(0, 20000, 500):
            serve.post("/batch/", events(token, start, 500))
        serve.settle()
        before = contents(serve)
        serve.cli("warehouse", "rebuild", "--yes", "--wait")
        same(before, contents(serve))
        for _ in range(3):
            serve.cli("warehouse", "rebuild", "--yes")
            for _ in range(4):
                time.sleep(dice.uniform(0.02, 0.6))
                serve.kill("load")
            begun(serve)
        serve.settle(120)
        same(before, contents(serve))


def test_what_the_log_has_no_more_must_be_wanted():
    """The log keeps rows for a second after they were loaded: those of its first segments are in the old warehouse alone."""
    with Serve(config="ingest:\n  output_retention: 1s\ncapture:\n  retention: 1s\n") as serve:
        token, sent, first = serve.token(), 0, 0
        end = time.time() + 120
        while first == 0:  # until the first segment of rows is gone; noise, so that it fills one
            assert time.time() < end, serve.cli("log", "info").stdout
            for _ in range(10):
                serve.post("/batch/", {"api_key": token, "batch": [
                    {"event": "large", "distinct_id": "u%d" % sent, "uuid": uuid7(), "timestamp": "2026-01-01T00:00:00Z",
                     "properties": {"n": sent, "noise": os.urandom(300000).hex()}}]})
                sent += 1
            serve.settle()
            first = {t["topic"]: t["start"] for t in json.loads(serve.cli("log", "info", "--json").stdout)}["events"]
        assert serve.sql("SELECT count(*) AS n FROM events")[0]["n"] in (sent, str(sent))
        none = serve.cli("warehouse", "rebuild", "--yes", check=False)
        assert none.returncode == 1 and "--partial" in none.stderr and "%d older ones" % first in none.stderr, none.stderr
        assert serve.sql("SELECT count(*) AS n FROM events")[0]["n"] in (sent, str(sent))
        serve.cli("warehouse", "rebuild", "--yes", "--partial", "--wait")
        there = serve.sql("SELECT count(*) AS n, count(DISTINCT uuid) AS d, min(raw_offset) AS first, max(raw_offset) AS last FROM events")[0]
        assert [int(there[name]) for name in ("n", "d", "first", "last")] == [sent - first, sent - first, first, sent - 1], (there, sent, first)
        old = [name for name in glob.glob(os.path.join(serve.data, "warehouse.duckdb.before-*")) if not name.endswith(".wal")]
        assert len(old) == 1, old
        serve.post("/batch/", events(token, 0, 100, "later"))  # and it goes on
        end = time.time() + 60
        while int(serve.sql("SELECT count(*) AS n FROM events")[0]["n"]) < sent - first + 100:
            assert time.time() < end, (serve.status(), serve.log())
            time.sleep(0.1)
        status = serve.status()  # what went stands for lost: a gap of the log, told once
        assert (status["accepted"], status["stored"], status["dead_lettered"], status["pending"]) == (sent + 100, sent - first + 100, first, 0), status
        gap = serve.sql("SELECT type, details FROM ingestion_warnings")
        assert [row["type"] for row in gap] == ["log_damaged"], gap
        assert json.loads(gap[0]["details"]) == {"topic": "events", "first_offset": 0, "records": first, "why": "expired"}, gap
