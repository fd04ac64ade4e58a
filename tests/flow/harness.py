"""Starts a real Penstock on a free port in a temporary folder, talks to it, stops it by its process id.

A flow test is a file NN_name.py (NN from simple to complex, so that the first failure is the useful one) with
functions `test_*`; tests/flow/run.py finds and runs them, each in a process of its own. A test fails by raising.

    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"})
        serve.settle()
        assert serve.sql("SELECT count(*) AS n FROM events")[0]["n"] == 1
"""
import collections
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import deploy
import dialect

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "tests", "parts"))
from parts import free_port  # noqa: E402,F401  for tests, too

BINARY = os.environ.get("PENSTOCK", os.path.join(ROOT, "build", "release", "penstock"))
ROLES = ("capture", "ingest", "load")


def uuid7(now=None):
    ms = int((now or time.time()) * 1000)
    bits = (ms << 80) | (7 << 76) | (uuid.uuid4().int & ((1 << 76) - 1))
    bits = bits & ~(3 << 62) | (2 << 62)
    return str(uuid.UUID(int=bits))


# What a command says when the brokers of a busy machine do not answer it, or have no leader: it says so and ends, and may be asked again.
BROKERS_AWAY = re.compile(r"kafka: .*\[(_TIMED_OUT|_TRANSPORT|_ALL_BROKERS_DOWN|NOT_LEADER_FOR_PARTITION|LEADER_NOT_AVAILABLE|NOT_COORDINATOR)\]")
QUESTIONS = ("status", "trace", "log", "tail", "sql", "dlq list", "dlq show")


def command(*argv, check=True, **options):
    """Runs `penstock ...`, gives the finished process; raises with its stderr when it failed and check."""
    if "--data" in argv[:-1]:
        options.setdefault("env", dict(os.environ, **deploy.make(argv[argv.index("--data") + 1])))
    end = time.time() + 120
    while True:
        done = subprocess.run([BINARY, *argv], capture_output=True, text=True, timeout=120, **options)
        if deploy.embedded("log") or not " ".join(argv).startswith(QUESTIONS) or time.time() > end or not (
                done.returncode in (1, 3) and BROKERS_AWAY.search(done.stderr)):
            break
    if check and done.returncode != 0:
        raise AssertionError("penstock %s: exit %d: %s" % (" ".join(argv), done.returncode, done.stderr))
    return done


def contention():
    """How much longer work takes now than the processor works on it: 1 when nobody else wants it."""
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.1:
        pass
    return (time.monotonic() - began) / 0.1


def repeats(status):
    """How many were accepted twice: brokers that did not answer in a second may have taken what then went over the disk."""
    return 0 if deploy.embedded("log") else status["deduplicated"]


def wait_for(what, seconds=60):
    """What it gives, once that is something."""
    end = time.time() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.time() < end, "not so after %d s" % seconds
        time.sleep(0.1)


class Serve:
    def __init__(self, data=None, config=None, env=None, extra=(), wait=True):
        self.own_folder = data is None
        self.folder = tempfile.mkdtemp(prefix="penstock-flow-") if data is None else os.path.dirname(data)
        self.data = data or os.path.join(self.folder, "data")
        self.port = 0 if wait else free_port()  # 0: the server finds one, and says which
        self.extra = list(extra)
        os.environ.update(deploy.make(self.data))  # for commands beside the server, too; a test is a process of its own
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        if "LD_PRELOAD" in (env or {}) and "--config" not in self.extra:  # what stands between the roles and the kernel needs calls and files of its own
            config = (config or "") + "capture.cage: false\n"
        if config is not None:
            os.makedirs(self.data, exist_ok=True)
            with open(os.path.join(self.data, "penstock.yaml"), "w") as out:
                out.write(config)
        self.start(wait)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.stop()
        finally:
            if kind is not None:  # where the folder cannot be looked at, this is all that is left of it
                print("kept for a look: %s; the end of its log:\n%s" % (self.folder, "\n".join(self.log().splitlines()[-40:])[-6000:]), flush=True)
        if self.own_folder and kind is None and not os.environ.get("KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
            deploy.drop(self.data)

    # --- the processes -------------------------------------------------------------------------

    def start(self, wait=True):
        self.log_path = os.path.join(self.folder, "serve.log")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.data, "run", "listen"))
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--data", self.data, "--listen", "127.0.0.1:%d" % self.port, *self.extra],
                stdout=log, stderr=log, env=self.env)
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill("all")  # nobody will stop it: there is no `with` around it yet
                raise

    def wait_ready(self, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                raise AssertionError("serve ended with %d:\n%s" % (self.process.returncode, self.log()))
            try:
                # The address is its own word: another server may have a port that was free a moment ago.
                with open(os.path.join(self.data, "run", "listen")) as listen:
                    self.port = int(listen.readline().rsplit(":", 1)[1])
                if self.get("/_readiness").status == 200:
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.01)
        raise AssertionError("not ready after %d s:\n%s" % (seconds, self.log()))

    def log(self):
        with open(self.log_path) as text:
            return text.read()

    def stop(self, seconds=40):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("serve did not stop within %d s:\n%s" % (seconds, self.log()))

    def role_pid(self, role):
        """The process id of a running role; None while it is down."""
        try:
            pid = int(open(os.path.join(self.data, "run", role + ".pid")).read())
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def kill(self, role):
        """SIGKILL to a role, or to the supervisor with all its roles ("all")."""
        if role == "all":
            pids = [self.role_pid(r) for r in ROLES]
            self.process.kill()
            self.process.wait()
            for pid in filter(None, pids):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return
        pid = self.role_pid(role)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    # --- talking to it -------------------------------------------------------------------------

    def request(self, method, target, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body).encode()
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            answer.text = answer.read().decode("utf-8", "replace")
            return answer
        finally:
            connection.close()

    def get(self, target, **options):
        return self.request("GET", target, **options)

    def post(self, target, body, headers=None, expect=200):
        """expect None: any status."""
        answer = self.request("POST", target, body, headers or {"Content-Type": "application/json"})
        if expect is not None and answer.status != expect:
            raise AssertionError("%s answered %d, not %d: %s" % (target, answer.status, expect, answer.text))
        return answer

    def post_when_known(self, token, target, body, seconds=60):
        """With a token that was just made: until capture knows it. What is answered 401 is not stored; what is answered 503 may
        be, so it is sent again where the event has an id, as SDKs do."""
        again = (401, 503) if "uuid" in body else (401,)
        end = time.time() + seconds
        while True:
            answer = self.post(target, body, expect=None)
            if answer.status == 200:
                return answer
            assert answer.status in again and time.time() < end, "%s: %d %s" % (token, answer.status, answer.text)
            time.sleep(0.02)

    def cli(self, *argv, **options):
        return command(*argv, "--data", self.data, **options)

    def token(self, value=None):
        """The first token, or this one made."""
        if value is not None:
            self.cli("token", "create", "--token", value)
            return value
        return json.loads(self.cli("token", "list", "--json").stdout)[0]["token"]

    def sql(self, query):
        """Rows as dictionaries."""
        if not deploy.embedded("warehouse"):
            query = dialect.clickhouse(query)
        return json.loads(self.cli("sql", query, "--format", "json").stdout)

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def settle(self, seconds=180):
        """Waits until nothing is pending and every row is loaded; checks the equation of fates; gives the status."""
        end = time.time() + seconds
        while True:
            try:
                status = self.status()
            except AssertionError:
                if time.time() > end:
                    raise
                time.sleep(0.1)
                continue
            if status["pending"] == 0 and not any(role["lag"] for role in status["roles"]):
                break
            if time.time() > end:
                raise AssertionError("still pending after %d s: %s\n%s" % (seconds, status, self.log()))
            time.sleep(0.05)
        dropped = sum(status["dropped"].values()) if isinstance(status["dropped"], dict) else status["dropped"]
        total = status["stored"] + dropped + status["deduplicated"] + status["dead_lettered"]
        assert status["accepted"] == total, "accepted is not the sum of fates: %s" % status
        self.check_lines(status)
        return status

    def lines(self, by="project,hour"):
        """The equation of fates line by line, with the warehouse's rows counted; raises when a line does not add up."""
        end = time.time() + 120
        while True:
            done = self.cli("status", "--by", by, "--check", "--json", check=False)
            if done.returncode != 3 or deploy.embedded("log") or time.time() > end:
                break  # 3: brokers that are silent for five seconds keep back what waits, and nobody can say where it belongs
        assert done.returncode == 0, "fates do not add up: %s%s" % (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def check_lines(self, status):
        """After settle: each project and hour adds up, holds as many rows as it says, and all together are `status`."""
        told = self.lines()
        sums = collections.Counter(unplaced=told["unplaced"])
        for line in told["lines"]:
            dropped = sum(line["dropped"].values())
            assert line["difference"] == 0 and line["rows"] == line["stored"] and line["pending"] == 0, line
            assert line["accepted"] == line["stored"] + dropped + line["deduplicated"] + line["dead_lettered"], line
            sums.update(dropped=dropped, **{k: line[k] for k in ("accepted", "stored", "deduplicated", "dead_lettered")})
        dropped = sum(status["dropped"].values())
        assert told["not_looked_at"] == 0 and sums["accepted"] == status["accepted"], (told, status)
        assert sums["stored"] - told["unplaced"] == status["stored"], (told, status)
        assert sums["dead_lettered"] + told["unplaced"] == status["dead_lettered"], (told, status)
        assert (sums["deduplicated"], sums["dropped"]) == (status["deduplicated"], dropped), (told, status)
