"""Answers as ClickHouse's HTTP interface does, with the engine of the package chdb-core in this process.

    python clickhouse_front.py FOLDER PORT [USER PASSWORD]

Data lie in FOLDER and are there again after a restart, also after kill -9. What of the interface is here: GET /ping, GET and
POST with the parameter `query` (the body is data), settings as parameters, `database`, `default_format`, user and password as
headers, Basic or parameters, bodies with Content-Encoding, errors as text with X-ClickHouse-Exception-Code,
X-ClickHouse-Query-Id, X-ClickHouse-Summary. A statement that data follow, as INSERT ... FORMAT RowBinary, is run by the
engine from a file that holds the body. Sessions, progress headers and multipart bodies are not here.

POST /_fault with a JSON object makes trouble for the next statements that contain `match`:
    {"kind": "error", "match": "INSERT", "code": 252, "seconds": 10}   refused, for so long (or `times`)
    {"kind": "drop", "match": ..., "times": 1}       done, and the connection ends without an answer
    {"kind": "exit_in", ..., "ms": 5}                the process is killed so long after the statement began
    {"kind": "exit_after", ...}                      the process is killed when it was done, before the answer
    {"kind": "delay", ..., "ms": 500}                answered so much later
POST /_fault with {} forgets them. GET /_fault tells how often each had its way, by kind; GET /_cpu the CPU seconds of this process.
"""
import base64
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import chdb

NAMES = {60: "UNKNOWN_TABLE", 159: "TIMEOUT_EXCEEDED", 202: "TOO_MANY_SIMULTANEOUS_QUERIES", 209: "SOCKET_TIMEOUT",
         210: "NETWORK_ERROR", 241: "MEMORY_LIMIT_EXCEEDED", 242: "TABLE_IS_READ_ONLY", 252: "TOO_MANY_PARTS",
         516: "AUTHENTICATION_FAILED"}
# Which status goes with which code, of those that are not 500.
STATUS = {6: 400, 26: 400, 27: 400, 33: 400, 38: 400, 41: 400, 53: 400, 62: 400, 72: 400, 117: 400, 43: 400, 115: 404,
          46: 404, 47: 404, 50: 404, 57: 404, 60: 404, 81: 404, 16: 404, 48: 501, 159: 408, 194: 401, 192: 403, 193: 403,
          516: 403, 229: 413, 439: 503, 209: 503, 76: 503}
OURS = {"query", "database", "default_format", "user", "password", "query_id", "session_id", "compress", "decompress",
        "quota_key", "session_timeout", "session_check", "wait_end_of_query", "buffer_size"}
COMPRESSIONS = {"gzip": "gz", "zstd": "zst", "lz4": "lz4", "deflate": "deflate", "br": "br", "xz": "xz", "bz2": "bz2"}
INSERT_DATA = re.compile(rb"^(\s*INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)[ \t;]*(?:\r?\n|$)(.*)$", re.I | re.S)
SETTINGS_TAIL = re.compile(r"^(.*?)\s+(SETTINGS\s+.*)$", re.I | re.S)


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.list = []
        self.done = {}

    def add(self, fault):
        with self.lock:
            if not fault:
                self.list = []
                return
            fault = dict(fault)
            fault["until"] = time.monotonic() + fault["seconds"] if "seconds" in fault else None
            fault.setdefault("times", 1 if fault["until"] is None else 1 << 60)
            self.list.append(fault)

    def find(self, sql):
        with self.lock:
            for fault in list(self.list):
                if fault["times"] <= 0 or (fault["until"] is not None and time.monotonic() > fault["until"]):
                    self.list.remove(fault)
                elif fault.get("match", "") in sql:
                    fault["times"] -= 1
                    self.done[fault["kind"]] = self.done.get(fault["kind"], 0) + 1
                    return fault
        return None


class EngineError(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Engine:
    def __init__(self, folder):
        self.folder = os.path.join(folder, "data")
        self.temporary = os.path.join(folder, "bodies")
        shutil.rmtree(self.temporary, ignore_errors=True)
        os.makedirs(self.temporary)
        self.keep = chdb.connect(self.folder)  # the engine lives as long as one connection does

    def run(self, sql, settings, database, form):
        connection = chdb.connect(self.folder)  # each has its own settings
        try:
            if database:
                connection.query("USE `%s`" % database.replace("`", "\\`"))
            said = {name: "%s = '%s'" % (name, value.replace("\\", "\\\\").replace("'", "\\'")) for name, value in settings.items()}
            last = said.pop("readonly", None)  # it forbids to change others
            for some in filter(None, (", ".join(said.values()), last)):
                connection.query("SET " + some)
            result = connection.query(sql, form)
            return result.bytes(), {"read_rows": str(result.rows_read()), "read_bytes": str(result.bytes_read()),
                                    "written_rows": str(result.rows_written()), "written_bytes": str(result.bytes_written())}
        except Exception as error:  # the package has one class for all that the engine says
            said = str(error)
            found = re.search(r"Code: (\d+)\. ", said)
            raise EngineError(int(found.group(1)) if found else 1001, said) from None
        finally:
            connection.close()

    def insert(self, head, form, data, encoding, settings, database):
        handle, path = tempfile.mkstemp(dir=self.temporary, suffix="." + COMPRESSIONS.get(encoding, "bin"))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            head = head.decode()
            tail = SETTINGS_TAIL.match(head)
            sql = "%s FROM INFILE '%s' %s FORMAT %s" % (tail.group(1) if tail else head, path, tail.group(2) if tail else "",
                                                       form.decode())
            return self.run(sql, settings, database, "TabSeparated")
        finally:
            os.unlink(path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "clickhouse-front"

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self, status, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, text, headers=()):
        self.answer(STATUS.get(code, 500), text.encode() + b"\n",
                    [("Content-Type", "text/plain; charset=UTF-8"), ("X-ClickHouse-Exception-Code", str(code)), *headers])

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                piece = self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
                data += piece
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionError("the body ends early")
        return data

    def user_is_right(self, given):
        user, password = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            user, _, password = base64.b64decode(basic[6:]).decode().partition(":")
        user, password = given.get("user", user), given.get("password", password)
        return (user or "default", password or "") == self.server.credentials

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path)
        if path.path == "/ping":
            return self.answer(200, b"Ok.\n")
        if path.path == "/_fault":
            return self.answer(200, json.dumps(self.server.faults.done).encode())
        if path.path == "/_cpu":
            return self.answer(200, b"%.3f" % sum(os.times()[:2]))
        return self.statement(path, b"", True)

    def do_POST(self):
        path = urllib.parse.urlsplit(self.path)
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass  # BaseHTTPRequestHandler has answered it
        body = self.body()
        if path.path == "/_fault":
            self.server.faults.add(json.loads(body))
            return self.answer(200, b"")
        return self.statement(path, body, False)

    def statement(self, path, body, reading):
        given = dict(urllib.parse.parse_qsl(path.query, keep_blank_values=True))
        id = given.get("query_id") or str(uuid.uuid4())
        headers = [("X-ClickHouse-Query-Id", id)]
        encoding = self.headers.get("Content-Encoding", "")
        if not self.user_is_right(given):
            return self.refuse(516, "Code: 516. DB::Exception: Authentication failed: password is incorrect, or there is no "
                                    "user with such name. (AUTHENTICATION_FAILED)", headers)
        if encoding and encoding not in COMPRESSIONS:
            return self.refuse(48, "Code: 48. DB::Exception: Unknown content encoding %s. (NOT_IMPLEMENTED)" % encoding, headers)
        settings = {name: value for name, value in given.items() if name not in OURS and not name.startswith("param_")}
        if reading:
            settings.setdefault("readonly", "2")
        database = given.get("database") or self.headers.get("X-ClickHouse-Database")
        form = given.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        head = given.get("query", "").encode()
        whole = head + b"\n" + body if head and not encoding else head or body
        if not whole.strip():
            return self.refuse(62, "Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)", headers)
        fault = self.server.faults.find(whole[:4096].decode("utf-8", "replace")) or {"kind": ""}
        if fault["kind"] == "error":
            code = fault["code"]
            return self.refuse(code, "Code: %d. DB::Exception: as asked for. (%s)" % (code, NAMES.get(code, "FAULT")), headers)
        if fault["kind"] == "exit_in":
            threading.Timer(fault.get("ms", 0) / 1000, die).start()
        try:
            output, counts = self.run(whole, encoding, body, head, settings, database, form)
        except EngineError as error:
            return self.refuse(error.code, str(error), headers)
        if fault["kind"] == "exit_after":
            die()
        if fault["kind"] == "drop":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if fault["kind"] == "delay":
            time.sleep(fault["ms"] / 1000)
        return self.answer(200, output, [("Content-Type", "text/tab-separated-values; charset=UTF-8"),
                                         ("X-ClickHouse-Summary", json.dumps(counts)),
                                         ("X-ClickHouse-Format", form), *headers])

    def run(self, whole, encoding, body, head, settings, database, form):
        match = INSERT_DATA.match(head if encoding else whole)
        if match and match.group(2).lower() != b"values":
            return self.server.engine.insert(match.group(1), match.group(2), body if encoding else match.group(3), encoding,
                                             settings, database)
        return self.server.engine.run(whole.decode(), settings, database, form)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def main():
    folder, port = sys.argv[1], int(sys.argv[2])
    server = Server(("127.0.0.1", port), Handler)
    server.credentials = (sys.argv[3], sys.argv[4]) if len(sys.argv) > 4 else ("default", "")
    server.faults = Faults()
    server.engine = Engine(folder)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
