"""What the measurements share: servers on chosen cores, CPU seconds out of /proc, wrk, nginx, ratios."""
import json
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.path.join(ROOT, "build", "release")
TICKS = os.sysconf("SC_CLK_TCK")
TOKEN = "phc_load000000000000000000000000000000000000"
SERVER_CORE, LOAD_CORE = "0", "1"
ROLES = ("capture", "ingest", "load")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("nothing listens on port %d after %d s" % (port, seconds))


def cpu_seconds(pids):
    """User + system time of processes with all their threads."""
    total = 0
    for pid in pids:
        try:
            fields = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mib(pids, field="VmRSS"):
    total = 0
    for pid in pids:
        try:
            text = open("/proc/%d/status" % pid).read()
        except OSError:
            continue
        found = re.search(field + r":\s+(\d+)", text)
        total += int(found.group(1)) if found else 0
    return total / 1024


def children(pid):
    """role name -> process id, of a supervisor."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if int(open("/proc/%s/stat" % name).read().rsplit(")", 1)[1].split()[1]) == pid:
                found[int(name)] = open("/proc/%s/comm" % name).read().strip()
        except OSError:
            pass
    return found


class MetricPage:
    """A role's metrics as they lie in run/ROLE.metrics (src/base/metric.c has the form). Who looks a hundred times a second asks no server: to
    render `/metrics` costs capture as much as a batch of events does."""

    HEAD, METRIC_HEAD, HISTOGRAM = 24, 16, 2

    def __init__(self, run_folder, role, seconds=10):
        name, end = os.path.join(run_folder, role + ".metrics"), time.time() + seconds
        while not os.path.exists(name) and time.time() < end:  # it is up before its page is
            time.sleep(0.01)
        with open(name, "rb") as page:
            self.page = mmap.mmap(page.fileno(), 0, prot=mmap.PROT_READ)
        count, self.slots_at = struct.unpack_from("<II", self.page, 12)
        self.places, at = {}, self.HEAD
        for _ in range(count):
            kind, bounds, slot, name, labels, told = struct.unpack_from("<BBHHHH", self.page, at)
            text = at + self.METRIC_HEAD + 8 * bounds
            if kind != self.HISTOGRAM:
                self.places[self.page[text:text + name].decode(), self.page[text + name:text + name + labels].decode()] = self.slots_at + 8 * slot
            at = (text + name + labels + told + 7) // 8 * 8

    def get(self, name, labels=""):
        return struct.unpack_from("<Q", self.page, self.places[name, labels])[0]

    def sum(self, name):
        return sum(self.get(*place) for place in self.places if place[0] == name)


class MemoryPeak(threading.Thread):
    """Watches the memory of processes while something runs."""

    def __init__(self, pids, field="VmRSS"):
        super().__init__(daemon=True)
        self.pids, self.field, self.peak, self.over = pids, field, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            self.peak = max(self.peak, memory_mib(self.pids, self.field))

    def end(self):
        self.over.set()
        self.join()
        return max(self.peak, memory_mib(self.pids, self.field))


class LetGo(threading.Thread):
    """Lets the page cache go of what a server wrote to its log and has ended, as ingest does behind itself: who measures capture alone would
    else take ever more of the machine's memory, and on a virtual one measure how the host finds it."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.over, self.done = folder, threading.Event(), set()

    def run(self):
        while not self.over.wait(0.1):
            names = sorted(os.path.join(path, name) for path, _, names in os.walk(self.folder) for name in names if name.endswith(".seg"))
            for name in names[:-1]:
                if name in self.done:
                    continue
                self.done.add(name)
                try:
                    fd = os.open(name, os.O_RDONLY)
                except OSError:
                    continue
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def end(self):
        self.over.set()
        self.join()


def wrk(port, target, bodies, connections, seconds, encoding=None, scheme="http"):
    env = dict(os.environ, BODIES=bodies, TARGET=target)
    if encoding:
        env["ENCODING"] = encoding
    run = subprocess.run(
        ["taskset", "-c", LOAD_CORE, "wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "10s",
         "-s", os.path.join(HERE, "wrk_bodies.lua"), "%s://127.0.0.1:%d" % (scheme, port)],
        env=env, capture_output=True, text=True)
    found = re.search(r"RESULT (.*)", run.stdout)
    if not found:
        raise SystemExit("wrk failed: " + run.stdout + run.stderr)
    return json.loads(found.group(1))


class Server:
    """A process group on one core, with a folder of its own; stopped by its process id."""

    def __init__(self, argv, port, cwd, core=SERVER_CORE):
        self.port = port
        pin = ["taskset", "-c", core] if core else []
        self.log = open(os.path.join(cwd, "stderr.log"), "w")
        self.process = subprocess.Popen(pin + argv, cwd=cwd, stdout=self.log, stderr=self.log)
        wait_port(port)

    def pids(self):
        own = children(self.process.pid)
        return [self.process.pid] + list(own)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def make_certificate(folder):
    """(certificate, key), P-256, for 127.0.0.1."""
    pair = os.path.join(folder, "tls.pem"), os.path.join(folder, "tls.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-out", pair[0], "-keyout", pair[1]],
                   check=True, capture_output=True)
    return pair


def start_nginx(folder, tls=None):
    port = free_port()
    conf = open(os.path.join(HERE, "nginx.conf")).read()
    if tls:
        conf = conf.replace("PORT backlog=1024;", "PORT backlog=1024 ssl;\n        ssl_certificate %s;\n"
                            "        ssl_certificate_key %s;" % tls)
    conf = conf.replace("PORT", str(port))
    os.makedirs(folder, exist_ok=True)
    if os.geteuid() == 0:
        conf = "user root;\n" + conf
    conf = conf.replace("load_module modules/", "load_module /usr/lib/nginx/modules/")
    with open(os.path.join(folder, "nginx.conf"), "w") as out:
        out.write(conf)
    return Server(["nginx", "-p", folder, "-c", os.path.join(folder, "nginx.conf")], port, folder)


def start_discard(folder):
    port = free_port()
    os.makedirs(folder, exist_ok=True)
    return Server([os.path.join(BUILD, "bench", "discard_server"), str(port)], port, folder)


def start_penstock(folder, core=SERVER_CORE, extra=(), tls=None, role=None, seconds=10):
    """All roles, or one alone, up within so many seconds; the load token made before."""
    port = free_port()
    data = os.path.join(folder, "data")
    binary = os.path.join(BUILD, "penstock")
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(os.path.join(data, "catalog.db")):
        subprocess.run([binary, "token", "create", "--token", TOKEN, "--data", data], check=True, capture_output=True)
    if tls:
        with open(os.path.join(folder, "tls.yaml"), "w") as out:
            out.write("tls: {certificate: %s, key: %s}\n" % tls)
        extra = [*extra, "--config", os.path.join(folder, "tls.yaml")]
    listen = "127.0.0.1:%d%s" % (port, " tls" if tls else "")
    only = ["--role", role] if role else []
    server = Server([binary, "serve", "--data", data, "--listen", listen] + only + list(extra), port, folder, core)
    server.data, server.binary = data, binary
    wait_roles(server, (role,) if role else ROLES, seconds)
    return server


def wait_roles(server, roles=ROLES, seconds=10):
    """The port is open before the roles have their names."""
    end = time.time() + seconds
    while time.time() < end:
        names = " ".join(children(server.process.pid).values())
        if all(role in names for role in roles):
            return
        time.sleep(0.02)
    server.stop()
    raise SystemExit("not all roles are up after %d s" % seconds)


def temporary_folder():
    """On a real disk: what is measured syncs."""
    base = os.path.join(ROOT, "build", "bench-data")
    os.makedirs(base, exist_ok=True)
    return tempfile.mkdtemp(dir=base)


def make_bodies(folder, clicks=None):
    """clicks: percent of the mix (bodies.py); None: its default."""
    subprocess.run(["python3", os.path.join(HERE, "bodies.py"), folder] + ([] if clicks is None else [str(clicks)]), check=True)


def machine_text():
    model = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    return "%d cores, %s, kernel %s" % (os.cpu_count(), model.group(1) if model else "?", os.uname().release)


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
