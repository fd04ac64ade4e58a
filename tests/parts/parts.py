"""Real servers beside the tests: a file tests/parts/NAME.py a server, each with a class

    class Part:
        def __init__(self, folder, **options)   # everything it writes goes into folder, its logs as *.log
        def start(self)                         # up and answering when it returns; a dict of environment variables
        def stop(self)                          # by process id; nothing is left behind, also when start() failed half-way
        def kill(self), pause(self), resume(self)  # SIGKILL, SIGSTOP, SIGCONT; start() again after kill() finds its data, on the same port

and, where Debian's packages are not enough, a function fetch(), which brings the rest into build/deps once and is quick
when it is there. Ports are free ones, loopback only, and bound by whoever asked for them.

A part is named `kafka`, or with a number, `kafka:3`, which goes to its constructor as the option SIZE names (`brokers`).

    with parts.running(["kafka:3", "postgres"]) as up:
        up.env["PENSTOCK_TEST_POSTGRES"]        # what the parts gave
        up["kafka"].kill(1)                     # a part by its name
"""
import concurrent.futures
import contextlib
import glob
import importlib.util
import os
import random
import re
import shutil
import socket
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COMMENT = re.compile(r"^\s*(?:/\*|#|\"\"\")\s*parts:\s*([\w: ]*?)\s*(?:\*/)?\s*$", re.M)


given = set()  # by free_ports: none twice, where one was not bound yet


def free_ports(count):
    """Ports that nobody listens at, below the range from which the kernel takes those of outgoing connections: also while the one who
    asked has not bound it yet, or is down for a moment, no connection of somebody else has it."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as at:
        below = int(at.read().split()[0])
    found, port = [], 10000 + random.randrange(max(below - 12000, 1000))  # two sets may look at the same time
    while len(found) < count:
        port = port + 1 if port < below - 1 else 10000
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            found.append(port)
            given.add(port)
    return found


def free_port():
    return free_ports(1)[0]


def wanted(path):
    """The parts that a test's source names in its first lines: `/* parts: kafka postgres */`; None when it names none."""
    with open(path) as source:
        found = COMMENT.search("".join(source.readline() for _ in range(20)))
    return found[1].split() if found else None


def known():
    names = (os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "*.py")))
    return sorted(name for name in names if name not in ("parts", "serve", "with") and not name.endswith("_front"))


def load(name):
    path = os.path.join(HERE, name + ".py")
    if name not in known():
        raise LookupError("there is no part \"%s\"; the parts are %s" % (name, ", ".join(known()) or "none yet"))
    spec = importlib.util.spec_from_file_location("part_" + name, path)
    module = importlib.util.module_from_spec(spec)
    if HERE not in sys.path:
        sys.path.insert(0, HERE)
    spec.loader.exec_module(module)
    return module


class Running:
    """Parts that are started together and stopped together."""

    def __init__(self, words, folder=None):
        self.own = folder is None
        self.folder = folder
        self.words = list(words)
        self.parts = {}
        self.env = {}

    def __getitem__(self, name):
        return self.parts[name]

    def start(self):
        if self.own:
            self.folder = tempfile.mkdtemp(prefix="penstock-parts.")
            os.chmod(self.folder, 0o755)  # PostgreSQL runs as somebody else when this is root
        for word in self.words:
            name, _, size = word.partition(":")
            module = load(name)
            if hasattr(module, "fetch"):
                module.fetch()
            folder = os.path.join(self.folder, name)
            os.makedirs(folder, exist_ok=True)
            self.parts[name] = module.Part(folder, **({module.SIZE: int(size)} if size else {}))
        # Side by side: each takes seconds, and most of them waiting.
        with concurrent.futures.ThreadPoolExecutor(max(len(self.parts), 1)) as pool:
            for job in [pool.submit(part.start) for part in self.parts.values()]:
                self.env.update(job.result())

    def stop(self):
        first = None
        for part in self.parts.values():
            try:
                part.stop()
            except Exception as wrong:  # the others are stopped all the same
                first = first or wrong
        if self.own and self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        if first:
            raise first

    def logs(self, lines=30):
        """The ends of what the parts logged."""
        told = []
        for path in sorted(glob.glob(os.path.join(self.folder or "", "**", "*.log"), recursive=True)):
            if os.sep + "data" + os.sep in path:  # Kafka's own segments are called so, too
                continue
            with contextlib.suppress(OSError):
                with open(path, "rb") as log:
                    log.seek(max(os.path.getsize(path) - 200 * lines, 0))
                    text = log.read().decode("utf-8", "replace").splitlines()[-lines:]
                told.append("--- %s\n%s" % (os.path.relpath(path, self.folder), "\n".join(text)))
        return "\n".join(told)


@contextlib.contextmanager
def running(words, folder=None):
    up = Running(words, folder)
    try:
        try:
            up.start()
        except BaseException:
            print(up.logs(), file=sys.stderr, flush=True)
            raise
        yield up
    finally:
        up.stop()
