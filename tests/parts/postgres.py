"""A real PostgreSQL for tests: Debian's, in a folder of its own, on a free port of the loopback.

    part = Part("/tmp/some-folder")
    env = part.start()            # {"PENSTOCK_TEST_POSTGRES": "postgresql://penstock@127.0.0.1:PORT/penstock", ...}
    part.kill(); part.start()     # the same data, the same port
    part.pause(); part.resume()   # the whole server stands still (SIGSTOP), connections stay open
    part.stop()

PostgreSQL refuses to run as root: as root, it runs as `postgres` (or `nobody`). fsync is off unless asked for: a killed
server loses nothing by that (the kernel keeps what was written), only a machine without power would.

PENSTOCK_TEST_POSTGRES_PID is the server's process id: its children are its backends.
"""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import time

from parts import free_port

START_SECONDS_MAX = 60


def programs():
    """The folder of initdb and postgres: the newest that is installed."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda f: int(f.split("/")[4].split(".")[0]))
    if not folders:
        raise AssertionError("PostgreSQL is not installed (Debian: postgresql)")
    return folders[-1]


def account():
    """(uid, gid) that the server runs as, or None: as we do."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
        except KeyError:
            continue
    raise AssertionError("there is neither a user postgres nor nobody to run PostgreSQL as")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat) as f:
                line = f.read()
        except OSError:
            continue
        if int(line.rpartition(")")[2].split()[1]) == pid:
            found.append(int(line.split()[0]))
    return found


class Part:
    def __init__(self, folder, settings=None, fsync=False):
        self.folder = os.path.abspath(folder)
        self.data = os.path.join(self.folder, "postgres")
        self.account = account()
        self.port = None
        self.process = None
        self.settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "on" if fsync else "off",
                         "max_connections": "100", "shared_buffers": "128MB", "log_min_messages": "warning", "log_checkpoints": "off",
                         "deadlock_timeout": "200ms", **(settings or {})}

    @property
    def url(self):
        return "postgresql://penstock@127.0.0.1:%d/penstock" % self.port

    def environment(self):
        return {"PENSTOCK_TEST_POSTGRES": self.url, "PENSTOCK_TEST_POSTGRES_PID": str(self.process.pid)}

    def as_account(self):
        if self.account is None:
            return {}
        return {"user": self.account[0], "group": self.account[1], "extra_groups": []}

    def make(self):
        os.makedirs(self.data)
        if self.account is not None:
            os.chown(self.data, *self.account)
            at = self.folder  # the account must come as far as its folder
            while at != "/" and os.stat(at).st_uid == 0 and not os.stat(at).st_mode & 0o001:
                os.chmod(at, os.stat(at).st_mode & 0o7777 | 0o111)
                at = os.path.dirname(at)
        os.chmod(self.data, 0o700)
        done = subprocess.run([os.path.join(programs(), "initdb"), "-D", self.data, "-U", "penstock", "--auth=trust", "--no-sync",
                               "--encoding=UTF8", "--locale=C.UTF-8"], capture_output=True, text=True, cwd="/", **self.as_account())
        if done.returncode != 0:
            raise AssertionError("initdb: %s%s" % (done.stdout, done.stderr))

    def sql(self, text, database="penstock"):
        done = subprocess.run([os.path.join(programs(), "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                               "-p", str(self.port), "-U", "penstock", "-d", database, "-c", text],
                              capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError("psql: %s" % done.stderr)
        return done.stdout.strip()

    def start(self):
        if self.port is None:
            self.port = free_port()
        new = not os.path.exists(os.path.join(self.data, "PG_VERSION"))
        if new:
            self.make()
        argv = [os.path.join(programs(), "postgres"), "-D", self.data, "-p", str(self.port)]
        for name, value in self.settings.items():
            argv += ["-c", "%s=%s" % (name, value)]
        with open(os.path.join(self.folder, "postgres.log"), "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
                                            **self.as_account())
        self.wait()
        if new or not self.sql("SELECT 1 FROM pg_database WHERE datname = 'penstock'", "postgres"):
            self.sql("CREATE DATABASE penstock", "postgres")
        return self.environment()

    def wait(self):
        """Until it answers questions."""
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            if self.process.poll() is not None:
                with open(os.path.join(self.folder, "postgres.log"), errors="replace") as log:
                    raise AssertionError("PostgreSQL ended with %d: %s" % (self.process.returncode, log.read()[-2000:]))
            try:
                return self.sql("SELECT 1", "postgres")
            except (AssertionError, subprocess.TimeoutExpired):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def everything(self):
        return [self.process.pid, *children(self.process.pid)]

    def signal_all(self, number):
        for pid in self.everything():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def stop(self):
        """A clean end: connections are cut, nothing has to be recovered."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.resume()
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self):
        """No clean end: start() recovers."""
        if self.process is None:
            return
        pids = self.everything()
        for pid in pids:  # the first is the parent: it starts no others
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        until = time.monotonic() + START_SECONDS_MAX
        while any(alive(pid) for pid in pids) and time.monotonic() < until:
            time.sleep(0.01)
        self.process = None

    def pause(self):
        self.signal_all(signal.SIGSTOP)

    def resume(self):
        self.signal_all(signal.SIGCONT)

    def destroy(self):
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
