"""Real Apache Kafka brokers for tests: KRaft mode, one or three of them, on free ports, in a folder of their own.

    part = Part("/tmp/somewhere", brokers=3)
    environment = part.start()          # PENSTOCK_TEST_KAFKA=127.0.0.1:4711,127.0.0.1:4712,...
    part.kill(2); part.start_one(2)     # SIGKILL and back again, with the same folder
    part.pause(); part.resume()         # SIGSTOP of all: connections stay open and nobody answers
    part.cut(1); part.mend(1)           # the same for clients alone, who reach brokers over a relay (relay=True): brokers see each other
    part.stop()

Brokers are numbered from 1; no number means all. Programs that are not Python say the same words to a socket whose path is
in PENSTOCK_TEST_KAFKA_CONTROL, a line each ("kill 2", "start 2", "pause 2", "resume 2", "cut 1", "mend 1", "stop 2"), and
get a line back: "ok", or what went wrong. Run by itself (kafka.py [BROKERS]) it holds brokers up until it is interrupted.

The jars lie in build/deps/kafka: fetch() brings them from Maven Central (tests/parts/pom.xml). Every broker ends with the process that
started it, however that ends."""
import concurrent.futures
import ctypes
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
DEPS = os.path.join(ROOT, "build", "deps")
LIBS = os.path.join(DEPS, "kafka", "libs")
SIZE = "brokers"  # of `kafka:3`
# A test's broker lives for seconds: the first compiler is enough, and one thread collects garbage.
JAVA_TEST = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
START_SECONDS = 300  # one takes five, where nobody else wants the processor
# A child that asks for it ends with the thread that started it: so one thread starts all, and lives as long as the process.
STARTER = concurrent.futures.ThreadPoolExecutor(1)


def fetch():
    """The jars, each as its SHA-256 in kafka.sha256 says."""
    sums = os.path.join(HERE, "kafka.sha256")
    with open(sums, "rb") as at:
        listed = at.read()
    version, stamp = hashlib.sha256(listed).hexdigest(), os.path.join(DEPS, "kafka", ".version")
    if os.path.exists(stamp) and open(stamp).read().strip() == version:
        return
    os.makedirs(DEPS, exist_ok=True)
    work = tempfile.mkdtemp(prefix="fetch.", dir=os.path.realpath(DEPS))
    os.chmod(work, 0o755)
    try:
        libs = os.path.join(work, "libs")
        subprocess.run(["mvn", "-q", "-B", "-f", os.path.join(HERE, "pom.xml"), "dependency:copy-dependencies",
                        "-DoutputDirectory=" + libs], check=True, stdout=sys.stderr)
        for line in listed.decode().splitlines():
            wanted, name = line.split()
            with open(os.path.join(libs, name), "rb") as jar:
                if hashlib.sha256(jar.read()).hexdigest() != wanted:
                    raise RuntimeError("%s is not what it was: its SHA-256 differs from that in %s" % (name, sums))
        with open(os.path.join(work, ".version"), "w") as at:
            at.write(version + "\n")
        shutil.rmtree(os.path.join(DEPS, "kafka"), ignore_errors=True)
        os.rename(work, os.path.join(os.path.realpath(DEPS), "kafka"))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def free_ports(count):
    """Ports that nobody listens at, below the range from which the kernel takes those of outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as at:
        below = int(at.read().split()[0])
    found, port = [], 10000 + (os.getpid() * 37 + int(time.time() * 1000) * 13) % max(below - 12000, 1000)
    while len(found) < count:
        port = port + 1 if port < below - 1 else 10000
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Relay:
    """Carries bytes between clients and one broker, until it is cut: then nothing comes through and nothing is closed."""

    def __init__(self, port, to):
        self.to, self.open = to, threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        self.open.wait()
        try:
            broker = socket.create_connection(("127.0.0.1", self.to), timeout=5)
            broker.settimeout(None)
        except OSError:
            client.close()
            return
        for one in (client, broker):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.pump, args=(broker, client), daemon=True).start()
        self.pump(client, broker)

    def pump(self, source, sink):
        try:
            while True:
                data = source.recv(1 << 18)
                self.open.wait()
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.open.set()
        self.listener.close()


class Part:
    name = "kafka"

    def __init__(self, folder, brokers=None, relay=None, java=None, settings=None):
        self.folder = os.path.join(os.path.abspath(folder), "kafka")
        self.count = brokers or int(os.environ.get("PENSTOCK_TEST_KAFKA_BROKERS", "1"))
        self.relay = relay if relay is not None else os.environ.get("PENSTOCK_TEST_KAFKA_RELAY") == "1"
        self.java = (java or os.environ.get("PENSTOCK_TEST_KAFKA_JAVA") or JAVA_TEST).split()
        self.settings = settings or {}  # more lines for server.properties
        self.ids = range(1, self.count + 1)
        self.processes, self.relays, self.control = {}, {}, None
        self.lock = threading.Lock()

    # --- life ---------------------------------------------------------------------------------------

    def start(self):
        if not os.path.isdir(LIBS):
            raise RuntimeError("no Kafka in %s: `tests/parts/with.py --fetch kafka` brings it" % LIBS)
        if self.control is not None:  # after kill()
            self.start_one()
            return self.environment()
        os.makedirs(self.folder, exist_ok=True)
        ports = free_ports(4 * self.count)
        self.ports = {n: ports[4 * (n - 1):4 * n] for n in self.ids}  # client, inside, controller, relay
        for n in self.ids:
            self.configure(n)
            if self.relay:
                self.relays[n] = Relay(self.ports[n][3], self.ports[n][0])
        # One step of a format makes a cluster id; it need not be a random one.
        formats = [self.run(n, "kafka.tools.StorageTool", "format", "-g", "-t", "cGVuc3RvY2stdGVzdHM0Mg", "-c", self.path(n, "server.properties"))
                   for n in self.ids]
        for n, process in zip(self.ids, formats):
            if process.wait(START_SECONDS) != 0:
                raise RuntimeError("kafka %d cannot be formatted:\n%s" % (n, self.log(n)))
        for n in self.ids:
            self.processes[n] = self.run(n, "kafka.Kafka", self.path(n, "server.properties"))
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        self.listen()
        return self.environment()

    def environment(self):
        return {"PENSTOCK_TEST_KAFKA": self.addresses(), "PENSTOCK_TEST_KAFKA_CONTROL": self.path("control"),
                "PENSTOCK_TEST_KAFKA_PIDS": ",".join(str(self.processes[n].pid) for n in self.ids)}

    def addresses(self):
        return ",".join("127.0.0.1:%d" % self.ports[n][3 if self.relay else 0] for n in self.ids)

    def stop(self):
        for relay in self.relays.values():
            relay.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()  # its folder is thrown away
                process.wait()
        self.processes.clear()
        if self.control is not None:
            self.control.close()
            self.control = None

    # --- trouble ------------------------------------------------------------------------------------

    def some(self, n):
        return self.ids if n is None else [int(n)]

    def kill(self, n=None):
        for one in self.some(n):
            self.processes[one].kill()
            self.processes[one].wait()

    def stop_one(self, n, seconds=60):
        """As an operator stops one: its leaderships move first."""
        self.processes[int(n)].terminate()
        self.processes[int(n)].wait(seconds)

    def start_one(self, n=None):
        for one in self.some(n):
            if self.processes[one].poll() is not None:
                self.processes[one] = self.run(one, "kafka.Kafka", self.path(one, "server.properties"))
        self.wait(self.some(n))

    def pause(self, n=None):
        for one in self.some(n):
            self.processes[one].send_signal(signal.SIGSTOP)

    def resume(self, n=None):
        for one in self.some(n):
            self.processes[one].send_signal(signal.SIGCONT)

    def cut(self, n=None):
        for one in self.some(n):
            self.relays[one].open.clear()

    def mend(self, n=None):
        for one in self.some(n):
            self.relays[one].open.set()

    # --- questions ----------------------------------------------------------------------------------

    def metadata(self, n=None):
        """What kcat -L says, or None. n: asked of this broker."""
        address = self.addresses() if n is None else self.addresses().split(",")[n - 1]
        try:
            done = subprocess.run(["kcat", "-L", "-J", "-m", "5", "-b", address], capture_output=True, timeout=20)
            return json.loads(done.stdout) if done.returncode == 0 else None
        except (subprocess.TimeoutExpired, ValueError):
            return None

    def wait(self, started=None):
        """Until those that were started are up, and the others know it."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for n in started or self.ids:
                if self.processes[n].poll() is not None:
                    raise RuntimeError("kafka %d ended:\n%s" % (n, self.log(n)))
            running = [n for n in self.ids if n in self.processes and self.processes[n].poll() is None]
            found = [self.metadata(n) for n in running]  # of each: a broker that is gone is in the others' lists for a while
            if all(one is not None and len(one["brokers"]) == len(running) for one in found):
                return
            time.sleep(0.1)
        raise RuntimeError("kafka is not up after %d s:\n%s" % (START_SECONDS, self.log(1)))

    def cpu_seconds(self):
        """Of all brokers so far, user and kernel."""
        ticks = 0
        for process in self.processes.values():
            with open("/proc/%d/stat" % process.pid) as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    # --- inside -------------------------------------------------------------------------------------

    def path(self, *names):
        return os.path.join(self.folder, *(str(name) for name in names))

    def log(self, n):
        try:
            with open(self.path(n, "out.log"), errors="replace") as at:
                return at.read()[-4000:]
        except OSError:
            return ""

    def configure(self, n):
        client, inside, controller, relay = self.ports[n]
        os.makedirs(self.path(n, "data"), exist_ok=True)
        copies = min(3, self.count)
        lines = {
            "node.id": n, "process.roles": "broker,controller",
            "controller.quorum.voters": ",".join("%d@127.0.0.1:%d" % (i, self.ports[i][2]) for i in self.ids),
            "listeners": "CLIENT://127.0.0.1:%d,INSIDE://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d" % (client, inside, controller),
            "advertised.listeners": "CLIENT://127.0.0.1:%d,INSIDE://127.0.0.1:%d" % (relay if self.relay else client, inside),
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "INSIDE",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.path(n, "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": copies, "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies, "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4, "share.coordinator.state.topic.replication.factor": copies,
            "group.initial.rebalance.delay.ms": 0, "group.min.session.timeout.ms": 1000,
            # A dead broker's partitions move within seconds; one that is alone and had no processor for a while keeps them.
            "broker.session.timeout.ms": 3000 if self.count > 1 else 9000, "broker.heartbeat.interval.ms": 500, "replica.lag.time.max.ms": 4000,
            "controller.quorum.election.timeout.ms": 500, "controller.quorum.fetch.timeout.ms": 2000,
        }
        lines.update(self.settings)
        with open(self.path(n, "server.properties"), "w") as at:
            at.writelines("%s=%s\n" % line for line in lines.items())

    def run(self, n, *argv):
        with open(self.path(n, "out.log"), "ab") as log:
            return STARTER.submit(subprocess.Popen, ["java", *self.java, "-cp", os.path.join(LIBS, "*"), *argv], cwd=self.folder,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent).result()

    def listen(self):
        path = self.path("control")
        if os.path.exists(path):
            os.unlink(path)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(path)
        self.control.listen(8)
        threading.Thread(target=self.obey, daemon=True).start()

    def obey(self):
        words = {"kill": self.kill, "start": self.start_one, "stop": self.stop_one, "pause": self.pause, "resume": self.resume,
                 "cut": self.cut, "mend": self.mend}
        while True:
            try:
                client, _ = self.control.accept()
            except OSError:
                return
            with client, client.makefile("rw") as lines:
                for line in lines:
                    asked = line.split()
                    try:
                        words[asked[0]](*[int(n) for n in asked[1:]])
                        answer = "ok"
                    except Exception as error:
                        answer = "%s: %s" % (type(error).__name__, str(error).replace("\n", " "))
                    try:
                        lines.write(answer + "\n")
                        lines.flush()
                    except OSError:
                        break


def main():
    folder = tempfile.mkdtemp(prefix="penstock-kafka.")
    part = Part(folder, brokers=int(sys.argv[1]) if len(sys.argv) > 1 else None)
    try:
        for name, value in part.start().items():
            print("export %s=%s" % (name, value), flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        part.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
