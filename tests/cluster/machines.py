"""Several machines of one cluster, each a folder and a process tree of its own: `penstock serve --roles ...` over the same Kafka,
PostgreSQL and ClickHouse (PENSTOCK_TEST_*, from tests/parts).

    with Site(["capture", "capture", "ingest", "ingest", "load", "load"], partitions=4) as site:
        site.port                        # of some capture that lives: what a load balancer would say
        site.machines[2].kill("all")     # as a power switch; kill("ingest"): its supervisor starts it again
        site.settle(); site.sql("SELECT ..."); site.cli("status")

What tests/flow and tests/reference ask of their one server, a Site answers, so their clients and checks work on it.
Every machine is ended by its process ids, and the databases are dropped, when the site is left."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for folder in ("flow", "parts", "reference"):
    sys.path.insert(0, os.path.join(ROOT, "tests", folder))
import deploy  # noqa: E402

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # machines are ended then, too
deploy.DEPLOY = deploy.read("cluster")
import harness  # noqa: E402
from harness import Serve  # noqa: E402


class Machine(Serve):
    """One of them. It starts without being waited for: what it needs may be away."""

    def __init__(self, site, name, roles):
        self.site, self.name, self.roles, self.wanted = site, name, roles, True
        data = os.path.join(site.folder, name, "data")
        os.makedirs(os.path.dirname(data), exist_ok=True)
        deploy.MADE[deploy.name_of(data)] = site.env
        super().__init__(data=data, config=site.config, env=site.env, extra=["--roles", roles], wait=False)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def pids(self):
        """Of the supervisor and all below it."""
        found, todo = [], [self.process.pid] if self.alive() else []
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid)) as children:
                    todo += [int(child) for child in children.read().split()]
            except OSError:
                pass
        return found

    def signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self, role):
        """"all": the supervisor first, so that it starts nothing again, then what it had."""
        if role != "all":
            return super().kill(role)
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def start(self, wait=False):
        super().start(wait=wait)

    def leave(self):
        """SIGTERM: its units go to others."""
        self.stop()


class Site:
    def __init__(self, machines, partitions=4, config="", front=None):
        self.folder = tempfile.mkdtemp(prefix="penstock-site-")
        os.chmod(self.folder, 0o755)
        self.config, self.random = config, random.Random(7)
        data = os.path.join(self.folder, "data")
        os.environ["PENSTOCK_DEPLOY_PARTITIONS"] = str(partitions)
        self.partitions, self.data = partitions, data
        self.env = deploy.make(data)
        os.environ.update(self.env)
        self.machines = []
        try:
            for roles in machines:
                self.add(roles)
                if len(self.machines) == 1:
                    self.first_ready()
        except BaseException:
            self.end()
            raise

    def add(self, roles):
        one = Machine(self, "%s-%d" % (roles.replace(",", "-"), len(self.machines)), roles)
        self.machines.append(one)
        return one

    def first_ready(self):
        """The first makes topics, tables and the first project's token; the others find them."""
        self.machines[0].wait_ready()

    def of(self, role):
        return [one for one in self.machines if role in one.roles.split(",")]

    # --- as one server -------------------------------------------------------------------------

    @property
    def port(self):
        """Where a load balancer would send the next connection."""
        ready = [one for one in self.of("capture") if one.alive()]
        return self.random.choice(ready or self.of("capture")).port

    def cli(self, *argv, **options):
        return self.machines[0].cli(*argv, **options)

    token = Serve.token
    sql = Serve.sql
    status = Serve.status
    settle = Serve.settle
    lines = Serve.lines
    check_lines = Serve.check_lines
    get = Serve.get
    post = Serve.post
    post_when_known = Serve.post_when_known

    def request(self, *argv, **options):
        """Of a capture that takes the connection: one that starts is passed over, as a load balancer does."""
        end = time.time() + 60
        while True:
            try:
                return Serve.request(self, *argv, **options)
            except ConnectionRefusedError:
                if time.time() > end:
                    raise
                time.sleep(0.05)

    def log(self):
        told = []
        for one in self.machines:
            try:
                told.append("--- %s\n%s" % (one.name, one.log()[-3000:]))
            except OSError:
                pass
        return "\n".join(told)

    # --- its end -------------------------------------------------------------------------------

    def end(self):
        for one in self.machines:
            one.signal(signal.SIGCONT)
            one.kill("all")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.end()
        if kind is None and not os.environ.get("KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
            deploy.drop(self.data)
        elif kind is not None:
            print("kept for a look: " + self.folder, flush=True)


def postgres(site, sql):
    """Rows of the site's database, as dictionaries."""
    done = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", deploy.postgres_url(site.data), "-c",
                           "SELECT coalesce(json_agg(t), '[]') FROM (%s) t" % sql], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
