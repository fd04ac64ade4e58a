"""The real ClickHouse engine for the tests: chdb-core from PyPI, behind an HTTP front (clickhouse_front.py).

The package goes into build/deps/chdb, a virtual environment (fetch). One engine a process; a process that ends without
being asked to, as the faults of the front make it, is started again after a moment, over the same folder, at the same port."""
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from parts import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE = 120  # seconds: a busy machine
AGAIN_AFTER = 0.5


FOLDER = os.path.join(ROOT, "build", "deps", "chdb")
PYTHON = os.path.join(FOLDER, "bin", "python")


def fetch():
    """The environment that has the engine: 180 MB to fetch, 590 MB on disk."""
    wanted = os.path.join(HERE, "clickhouse.txt")
    mark = os.path.join(FOLDER, ".version")
    with open(wanted, encoding="utf-8") as file:
        version = file.read()
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as file:
            if file.read() == version:
                return
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
                    "--require-hashes", "-r", wanted], check=True)
    with open(mark, "w", encoding="utf-8") as file:
        file.write(version)


class Part:
    def __init__(self, folder, user="default", password=""):
        self.folder, self.user, self.password = folder, user, password
        self.port = None
        self.process = None
        self.wanted = False
        self.starts = 0
        self.lock = threading.Lock()

    def _spawn(self):
        self.starts += 1
        # Its own session: a signal to the terminal is not for it.
        self.process = subprocess.Popen([PYTHON, os.path.join(HERE, "clickhouse_front.py"), self.folder, str(self.port),
                                         self.user, self.password], stdin=subprocess.DEVNULL, start_new_session=True,
                                        stdout=open(os.path.join(self.folder, "front.log"), "ab"), stderr=subprocess.STDOUT)

    def _watch(self):
        while self.wanted:
            process = self.process
            process.wait()
            with self.lock:
                if not self.wanted or self.process is not process:
                    return
                time.sleep(AGAIN_AFTER)
                self._spawn()

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        self.port = self.port or free_port()
        self.wanted = True
        self._spawn()
        threading.Thread(target=self._watch, daemon=True).start()
        self.wait()
        return {"PENSTOCK_TEST_CLICKHOUSE": "http://127.0.0.1:%d" % self.port}

    def wait(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:%d/ping" % self.port, timeout=5) as answer:
                    assert answer.read() == b"Ok.\n"
                    return
            except (OSError, urllib.error.URLError):
                if time.monotonic() > end or not self.wanted:
                    raise
                time.sleep(0.05)

    def _end(self, signal):
        with self.lock:
            self.wanted = False
        if self.process.poll() is None:
            self.process.send_signal(signal)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self._end(15)

    def kill(self):
        self._end(9)

    def pause(self):
        self.process.send_signal(19)

    def resume(self):
        self.process.send_signal(18)

    def fault(self, **what):
        """Makes trouble for the next statements: see clickhouse_front.py. Without arguments: no more of it."""
        request = urllib.request.Request("http://127.0.0.1:%d/_fault" % self.port, json.dumps(what).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()

    def ask(self, sql, data=b"", **settings):
        """The answer as text; a refusal raises with what the engine said."""
        request = urllib.request.Request("http://127.0.0.1:%d/?%s" % (self.port, urllib.parse.urlencode({"query": sql, **settings})),
                                         data, {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None
