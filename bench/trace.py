#!/usr/bin/env python3
"""What `penstock trace` and `penstock status --by` take when the warehouse is large: trace.py [--rows N] [--json].

A real Penstock takes some events. Then rows are added to its warehouse by SQL, as if N more had followed, a thousand a
second: in the columns that a trace asks by (raw_offset, captured_at, uuid) they are what ingest would have written.
Then events are traced: through the running loader and from the file; an id that is known, one of a dropped event,
and one that nobody knows."""
import argparse
import ctypes
import json
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "flow"))
from harness import Serve, uuid7  # noqa: E402

REAL = 2000
COLUMNS = {
    "uuid": "uuid()", "event": "'$pageview'", "team_id": "1", "project_id": "1", "distinct_id": "'user-' || (i % 100000)",
    "properties": "'{\"$browser\":\"Chrome\",\"$current_url\":\"https://example.com/page/' || (i % 5000) || '\",\"n\":' || i || '}'",
    "timestamp": "make_timestamp({t} + i * 1000)", "created_at": "make_timestamp({t} + i * 1000 + 50000)",
    "captured_at": "make_timestamp({t} + i * 1000)", "inserted_at": "make_timestamp({t} + i * 1000 + 300000)",
    "person_id": "uuid()", "person_mode": "'full'", "person_properties": "'{\"plan\":\"pro\",\"n\":' || (i % 100000) || '}'",
    "historical_migration": "false", "raw_offset": "{base} + i",
}


class Duck:
    """Just enough of the engine's C interface to run statements."""

    def __init__(self):
        self.lib = ctypes.CDLL(os.path.join(ROOT, "build", "deps", "duckdb", "libduckdb.so"))
        self.db, self.connection = ctypes.c_void_p(), ctypes.c_void_p()
        assert self.lib.duckdb_open(None, ctypes.byref(self.db)) == 0
        assert self.lib.duckdb_connect(self.db, ctypes.byref(self.connection)) == 0

    def run(self, sql):
        result = (ctypes.c_byte * 256)()
        self.lib.duckdb_result_error.restype = ctypes.c_char_p
        bad = self.lib.duckdb_query(self.connection, sql.encode(), ctypes.byref(result))
        said = self.lib.duckdb_result_error(ctypes.byref(result))
        self.lib.duckdb_destroy_result(ctypes.byref(result))
        assert bad == 0, said

    def close(self):
        self.lib.duckdb_disconnect(ctypes.byref(self.connection))
        self.lib.duckdb_close(ctypes.byref(self.db))


def fill(path, rows, base, from_us):
    duck = Duck()
    duck.run("SET threads = 1; SET memory_limit = '2GB'")
    duck.run("ATTACH '%s' AS w (ROW_GROUP_SIZE 8192, STORAGE_VERSION 'v1.5.0'); USE w" % path)
    names, values = zip(*COLUMNS.items())
    for first in range(0, rows, 1000000):
        last = min(first + 1000000, rows)
        duck.run("INSERT INTO events(%s) SELECT %s FROM range(%d, %d) t(i)" % (
            ", ".join('"%s"' % n for n in names), ", ".join(values).replace("{t}", str(from_us)).replace("{base}", str(base)), first, last))
    duck.run("CHECKPOINT w")
    duck.close()


def timed(serve, *argv, rounds=7):
    took = []
    for _ in range(rounds):
        began = time.time()
        done = serve.cli(*argv, check=False)
        took.append((time.time() - began) * 1e3)
    return {"median_ms": round(statistics.median(took), 1), "max_ms": round(max(took), 1), "exit": done.returncode}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=1000000)
    options.add_argument("--json", action="store_true")
    options = options.parse_args()
    results = {"rows": options.rows}
    with Serve() as serve:
        token = serve.token()
        ids = [uuid7() for _ in range(REAL)]
        for first in range(0, REAL, 200):
            serve.post("/batch/", {"api_key": token, "batch": [
                {"event": "e", "distinct_id": "u%d" % (i % 50), "uuid": ids[i], "properties": {"n": i}} for i in range(first, first + 200)]})
        dropped = uuid7()
        serve.post("/e/", {"api_key": token, "event": "$groupidentify", "distinct_id": "u", "uuid": dropped,
                           "properties": {"$group_type": "t", "$group_key": "k" * 401}})
        serve.settle()
        serve.stop()
        warehouse = os.path.join(serve.data, "warehouse.duckdb")
        began = time.time()
        fill(warehouse, options.rows, REAL + 1, int(time.time() * 1e6))
        results["filled_s"] = round(time.time() - began, 1)
        results["warehouse_bytes"] = os.path.getsize(warehouse)
        asked = {"known id": ids[REAL // 2], "dropped id": dropped, "unknown id": uuid7(time.time() - 86400 * 40)}
        for name, uuid in asked.items():
            results["from the file, " + name] = timed(serve, "trace", uuid, "--json")
        serve.start()
        serve.sql("SELECT count(*) FROM events")
        for name, uuid in asked.items():
            results["through the loader, " + name] = timed(serve, "trace", uuid, "--json")
        for argv in (("status", "--by", "project"), ("status", "--by", "project,hour", "--check")):
            results["through the loader, " + " ".join(argv)] = timed(serve, *argv, "--json", rounds=3)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        for name, value in results.items():
            print("%-50s %s" % (name, value if not isinstance(value, dict) else "%8.1f ms (median), %8.1f ms (longest)" % (
                value["median_ms"], value["max_ms"])))


if __name__ == "__main__":
    main()
