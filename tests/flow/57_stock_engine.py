"""The warehouse's file in an engine that is nobody's but DuckDB's: no function of ours stands in front of its own, as in a process of
somebody who opens the file with a client of DuckDB. What was sent is read there, in every column, also after that engine wrote the file
anew."""
# embedded: warehouse: only a DuckDB file is opened by others
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys

from harness import BINARY, ROOT, Serve, uuid7, wait_for

PERSONS, EVENTS, BATCH = 40, 18000, 500  # two row groups, and a piece of one
REPLACED = b"_ZN11duckdb_zstd22ZSTD_CCtx_setParameterEPNS_11ZSTD_CCtx_sENS_15ZSTD_cParameterEi"  # one of those of src/warehouse/zstd_level.h
WORDS = ["seite", "größe", "日本語", "🙂", "quote \" and \\", "plain", "tab\tline\nend", "x" * 300, "Ω" * 200, ""]
LONG = "a text of 256 bytes and more " * 10


class Engine:
    """libduckdb.so alone in this process."""

    class Result(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in "abc"] + [(name, ctypes.c_void_p) for name in "def"]

    def __init__(self, path):
        places = [os.path.join(os.path.dirname(os.path.realpath(BINARY)), "..", "deps", "duckdb"), os.path.join(ROOT, "build", "deps", "duckdb")]
        library = next(file for file in (os.path.join(place, "libduckdb.so") for place in places) if os.path.exists(file))
        assert not hasattr(ctypes.CDLL(None), REPLACED.decode()), "this process replaces a function of the engine"
        self.lib = ctypes.CDLL(library)
        self.lib.duckdb_value_varchar.restype = ctypes.c_void_p
        self.lib.duckdb_result_error.restype = ctypes.c_char_p
        self.lib.duckdb_value_varchar.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]
        self.lib.duckdb_row_count.restype = self.lib.duckdb_column_count.restype = ctypes.c_uint64
        self.lib.duckdb_free.argtypes = [ctypes.c_void_p]
        self.database, self.connection = ctypes.c_void_p(), ctypes.c_void_p()
        assert self.lib.duckdb_open(path.encode(), ctypes.byref(self.database)) == 0, "%s does not open" % path
        assert self.lib.duckdb_connect(self.database, ctypes.byref(self.connection)) == 0

    def rows(self, sql):
        """Each a list of texts, None for NULL."""
        result = Engine.Result()
        state = self.lib.duckdb_query(self.connection, sql.encode(), ctypes.byref(result))
        assert state == 0, (sql, self.lib.duckdb_result_error(ctypes.byref(result)))
        found = []
        for row in range(self.lib.duckdb_row_count(ctypes.byref(result))):
            found.append([])
            for column in range(self.lib.duckdb_column_count(ctypes.byref(result))):
                at = self.lib.duckdb_value_varchar(ctypes.byref(result), column, row)
                found[-1].append(None if at is None else ctypes.string_at(at).decode())
                self.lib.duckdb_free(at)
        self.lib.duckdb_destroy_result(ctypes.byref(result))
        return found

    def close(self):
        self.lib.duckdb_disconnect(ctypes.byref(self.connection))
        self.lib.duckdb_close(ctypes.byref(self.database))


def chain(dice, n):
    """As SDKs write it; some repeat. What is not ASCII stands in long texts alone, here and below: of those our engine is told that they may hold
    it, without a look (src/warehouse/text_checked.h)."""
    texts, few = (["Kaufen", "größe %d" % (n % 50), "go"], 7) if n % 2 else (["buy", "go"], 1)
    return ";".join('%s.c%d:nth-child="%d"nth-of-type="1"attr__class="large"text="%s"' % (tag, dice.randrange(5), dice.randrange(9), dice.choice(texts))
                    for tag in dice.choices(["a", "div", "span", "button", "body"], k=few + dice.randrange(4)))


def event(dice, n):
    return {"event": dice.choice(["seen", "größer", "$autocapture"]), "distinct_id": "u%d" % (n % PERSONS), "uuid": uuid7(),
            "timestamp": "2026-01-01T00:00:%02dZ" % (n % 60),
            "properties": {"n": n, "word": dice.choice(WORDS), "many": [dice.choice(WORDS) for _ in range(dice.randrange(6))], "number": dice.random(),
                           "long": LONG, "$elements_chain": "" if n % 3 == 0 else chain(dice, n), "$set": {"last": n, "of": dice.choice(WORDS), "about": LONG}}}


def columns(ask, tables):
    """{(table, column): (rows, how many are there, sum of hashes)}"""
    found = {}
    for table, names in tables.items():
        values = ask("SELECT count(*)::VARCHAR AS n%s FROM %s" % ("".join(
            ", count(\"%s\")::VARCHAR || ' ' || sum(hash(\"%s\"::VARCHAR)::HUGEINT)::VARCHAR AS c%d" % (name, name, i) for i, name in enumerate(names)), table))
        found.update({(table, name): (values[0], value) for name, value in zip(names, values[1:])})
    return found


def look(path, sent_path, ours_path):
    """In a process of its own: what was sent, and what our engine said of the same file, held against what this one reads."""
    sent, ours = json.load(open(sent_path)), json.load(open(ours_path))
    engine = Engine(path)

    def as_sent():
        rows = engine.rows("SELECT uuid::VARCHAR, event, distinct_id, properties, elements_chain, length(properties), length(elements_chain),"
                           " length(person_properties), person_properties FROM events")
        assert len(rows) == len(sent) == len({row[0] for row in rows}), (len(rows), len(sent))
        for uuid, name, distinct_id, properties, elements, length, elements_length, person_length, person in rows:
            want = sent[uuid]
            got = json.loads(properties)
            assert (name, distinct_id, elements) == (want["event"], want["distinct_id"], want["properties"]["$elements_chain"]), (want, elements)
            for key, value in want["properties"].items():
                if key not in ("$elements_chain", "$set"):
                    assert got[key] == value, (key, want, properties)
            assert json.loads(person)["last"] == want["properties"]["$set"]["last"], (want, person)
            assert json.loads(person)["of"] == want["properties"]["$set"]["of"], (want, person)
            # By what the engine knows of a column: whether its texts are ASCII alone.
            assert (int(length), int(elements_length), int(person_length)) == (len(properties), len(elements), len(person)), (uuid, length, properties)
        for wanted in list(sent.values())[::2000]:  # by the least and greatest text of each piece
            text = wanted["properties"]["$elements_chain"]
            count = sum(one["properties"]["$elements_chain"] == text for one in sent.values())
            literal = text.replace("'", "''")
            assert engine.rows("SELECT count(*)::VARCHAR FROM events WHERE elements_chain = '%s'" % literal) == [[str(count)]], text
        said = columns(lambda sql: engine.rows(sql)[0], ours["tables"])
        for key, value in said.items():
            assert list(value) == ours["columns"]["%s.%s" % key], (key, value, ours["columns"]["%s.%s" % key])

    as_sent()
    assert {row[0] for row in engine.rows("SELECT DISTINCT compression FROM pragma_storage_info('events') WHERE column_name IN"
                                          " ('properties', 'elements_chain', 'person_properties') AND segment_type = 'VARCHAR'"
                                          " AND compression <> 'Constant' AND compression <> 'Uncompressed'")} == {"ZSTD"}
    engine.rows("CREATE TABLE twice AS FROM events; DROP TABLE events CASCADE; ALTER TABLE twice RENAME TO events; CHECKPOINT")
    as_sent()
    engine.close()


def test_every_column_as_it_was_sent():
    dice, sent = random.Random(57), {}
    with Serve() as serve:
        token = serve.token()
        os.kill(serve.role_pid("load"), signal.SIGSTOP)  # so that it finds whole row groups, which it writes itself: not a checkpoint later
        for start in range(0, EVENTS, BATCH):
            batch = [event(dice, n) for n in range(start, start + BATCH)]
            sent.update({one["uuid"]: one for one in batch})
            serve.post("/batch/", json.dumps({"api_key": token, "batch": batch}, ensure_ascii=False).encode())
        wait_for(lambda: {t["topic"]: t["end"] for t in json.loads(serve.cli("log", "info", "--json").stdout)}.get("events") == EVENTS)
        os.kill(serve.role_pid("load"), signal.SIGCONT)
        serve.settle()
        tables = {}
        for row in serve.sql("SELECT table_name AS t, column_name AS c FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal"
                             " AND table_name NOT LIKE 'penstock%' ORDER BY t, column_index"):
            tables.setdefault(row["t"], []).append(row["c"])
        assert {"events", "persons", "person_distinct_ids", "event_definitions"} <= set(tables), tables
        ours = columns(lambda sql: [None if v is None else str(v) for v in serve.sql(sql)[0].values()], tables)
        serve.stop()
        path = os.path.join(serve.folder, "copy.duckdb")
        shutil.copy(os.path.join(serve.data, "warehouse.duckdb"), path)
        for name, content in (("sent", sent), ("ours", {"tables": tables, "columns": {"%s.%s" % key: value for key, value in ours.items()}})):
            with open(os.path.join(serve.folder, name + ".json"), "w") as out:
                json.dump(content, out)
        looked = subprocess.run([sys.executable, os.path.abspath(__file__), path, *(os.path.join(serve.folder, name) for name in ("sent.json", "ours.json"))],
                                capture_output=True, text=True, timeout=300)
        assert looked.returncode == 0, looked.stderr


if __name__ == "__main__":
    look(*sys.argv[1:])
