"""Real Apache Kafka brokers for tests: KRaft mode, one or three of them, on free ports, in a folder of their own.

    part = Part("/tmp/somewhere", brokers=3)
    environment = part.start()          # PENSTOCK_TEST_KAFKA=127.0.0.1:4711,127.0.0.1:4712,...
    part.kill(2); part.start_one(2)     # SIGKILL and back again, with the same folder
    part.pause(); part.resume()         # SIGSTOP of all: connections stay open and nobody answers
    part.cut(1); part.mend(1)           # the same for clients alone, who reach brokers over a relay (relay=True): brokers see each other
    part.shift()                        # every partition gets another leader, while all brokers run
    part.stop()

They are of version 4.1.0, or what PENSTOCK_TEST_KAFKA_VERSION says (VERSIONS). With secure=True clients need TLS and a password
(SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN); kafka_tls.py is the part for that.

Brokers are numbered from 1; no number means all. Programs that are not Python say the same words to a socket whose path is
in PENSTOCK_TEST_KAFKA_CONTROL, a line each ("kill 2", "start 2", "pause 2", "resume 2", "cut 1", "mend 1", "stop 2", "shift"), and
get a line back: "ok", or what went wrong. Run by itself (kafka.py [BROKERS]) it holds brokers up until it is interrupted.

The jars lie in build/deps/kafka (of 3.9.1: kafka-3.9.1): fetch() brings them from Maven Central (tests/parts/pom.xml). Every broker ends with the process that
started it, however that ends."""
import collections
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

from parts import free_ports

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
DEPS = os.path.join(ROOT, "build", "deps")
VERSIONS = {"4.1.0": "kafka", "3.9.1": "kafka-3.9.1"}  # its folder, and before .sha256 the sums of its jars
USER, PASSWORD = "penstock", "password-of-tests"  # secure
SIZE = "brokers"  # of `kafka:3`
# A test's broker lives for seconds: the first compiler is enough, and one thread collects garbage.
JAVA_TEST = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
START_SECONDS = 300  # one takes five, where nobody else wants the processor
# A child that asks for it ends with the thread that started it: so one thread starts all, and lives as long as the process.
STARTER = concurrent.futures.ThreadPoolExecutor(1)


def version():
    wanted = os.environ.get("PENSTOCK_TEST_KAFKA_VERSION") or "4.1.0"
    if wanted not in VERSIONS:
        raise LookupError("PENSTOCK_TEST_KAFKA_VERSION is %s; there are %s" % (wanted, ", ".join(VERSIONS)))
    return wanted


def libs():
    return os.path.join(DEPS, VERSIONS[version()], "libs")


def fetch():
    """The jars, each as its SHA-256 in kafka.sha256 (kafka-3.9.1.sha256) says."""
    name = VERSIONS[version()]
    sums = os.path.join(HERE, name + ".sha256")
    with open(sums, "rb") as at:
        listed = at.read()
    state, stamp = hashlib.sha256(listed).hexdigest(), os.path.join(DEPS, name, ".version")
    if os.path.exists(stamp) and open(stamp).read().strip() == state:
        return
    os.makedirs(DEPS, exist_ok=True)
    work = tempfile.mkdtemp(prefix="fetch.", dir=os.path.realpath(DEPS))
    os.chmod(work, 0o755)
    try:
        jars = os.path.join(work, "libs")
        subprocess.run(["mvn", "-q", "-B", "-f", os.path.join(HERE, "pom.xml"), "dependency:copy-dependencies",
                        "-Dkafka.version=" + version(), "-DoutputDirectory=" + jars], check=True, stdout=sys.stderr)
        for line in listed.decode().splitlines():
            wanted, jar_name = line.split()
            with open(os.path.join(jars, jar_name), "rb") as jar:
                if hashlib.sha256(jar.read()).hexdigest() != wanted:
                    raise RuntimeError("%s is not what it was: its SHA-256 differs from that in %s" % (jar_name, sums))
        with open(os.path.join(work, ".version"), "w") as at:
            at.write(state + "\n")
        shutil.rmtree(os.path.join(DEPS, name), ignore_errors=True)
        os.rename(work, os.path.join(os.path.realpath(DEPS), name))
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Ended(RuntimeError):
    """A broker, right after its start."""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def say(line):
    """A test's word to the brokers that run for it, by PENSTOCK_TEST_KAFKA_CONTROL: "pause", "kill 2"."""
    with socket.socket(socket.AF_UNIX) as at:
        at.connect(os.environ["PENSTOCK_TEST_KAFKA_CONTROL"])
        with at.makefile("rw") as lines:
            lines.write(line + "\n")
            lines.flush()
            answer = lines.readline().strip()
    assert answer == "ok", "%s: %s" % (line, answer)


def described(address, seconds=20):
    """What kcat -L says of a cluster, or None."""
    try:
        done = subprocess.run(["kcat", "-L", "-J", "-m", "5", "-b", address], capture_output=True, timeout=seconds)
        return json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        return None


def leaders(told):
    """(topic, partition) -> its leader, of what described() gave; -1: there is none."""
    return {(topic["topic"], one["partition"]): one["leader"] for topic in told["topics"] for one in topic["partitions"]}


class Moves(threading.Thread):
    """Looks four times a second who leads, and counts by topic how often that is another one than before."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.over, self.last, self.counts = address, threading.Event(), {}, collections.Counter()

    def run(self):
        while not self.over.wait(0.25):
            for at, leader in leaders(described(self.address, 6) or {"topics": []}).items():
                if leader >= 0:
                    self.counts[at[0]] += self.last.setdefault(at, leader) != leader
                    self.last[at] = leader

    def stop(self):
        self.over.set()
        self.join()
        return self.counts


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

    def __init__(self, folder, brokers=None, relay=None, java=None, settings=None, secure=False):
        self.folder = os.path.join(os.path.abspath(folder), "kafka")
        self.count = brokers or int(os.environ.get("PENSTOCK_TEST_KAFKA_BROKERS", "1"))
        self.relay = relay if relay is not None else os.environ.get("PENSTOCK_TEST_KAFKA_RELAY") == "1"
        self.java = (java or os.environ.get("PENSTOCK_TEST_KAFKA_JAVA") or JAVA_TEST).split()
        self.settings = settings or {}  # more lines for server.properties
        self.secure = secure
        self.ids = range(1, self.count + 1)
        self.processes, self.relays, self.control = {}, {}, None
        self.lock = threading.Lock()

    # --- life ---------------------------------------------------------------------------------------

    def start(self):
        if not os.path.isdir(libs()):
            raise RuntimeError("no Kafka in %s: `tests/parts/with.py --fetch kafka` brings it" % libs())
        if self.control is not None:  # after kill()
            self.start_one()
            return self.environment()
        os.makedirs(self.folder, exist_ok=True)
        ports = free_ports(5 * self.count)
        self.ports = {n: ports[5 * (n - 1):5 * n] for n in self.ids}  # client, inside, controller, relay, with an old certificate
        if self.secure:
            self.certify()
        for n in self.ids:
            self.configure(n)
            if self.relay:
                self.relays[n] = Relay(self.ports[n][3], self.ports[n][0])
        # One step of a format makes a cluster id; it need not be a random one.
        formats = [self.run(n, "kafka.tools.StorageTool", "format", "-g", "-t", "cGVuc3RvY2stdGVzdHM0Mg", "-c", self.path(n, "server.properties"),
                            *(self.scram() if self.secure else []))
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
        return self.addresses_at(3 if self.relay else 0)

    def addresses_at(self, which):
        return ",".join("127.0.0.1:%d" % self.ports[n][which] for n in self.ids)

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

    def start_one(self, n=None, tries=3):
        for one in self.some(n):
            if self.processes[one].poll() is not None:
                self.processes[one] = self.run(one, "kafka.Kafka", self.path(one, "server.properties"))
        try:
            self.wait(self.some(n))
        except Ended:  # another set, which looks for free ports, may hold one of its for a moment
            if tries == 1:
                raise
            self.start_one(n, tries - 1)

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

    def shift(self):
        """As an operator does it: each partition's replicas get another order (a reassignment), and then the first of them leads (an
        election of those that are preferred)."""
        told = self.metadata()
        before, plan = leaders(told), []
        for topic in told["topics"]:
            for one in topic["partitions"]:
                replicas = [replica["id"] for replica in one["replicas"]]
                ready = [replica["id"] for replica in one["isrs"] if replica["id"] != one["leader"]]
                if ready:
                    first = min(ready, key=lambda n: (n < one["leader"], n))  # the next one, around
                    plan.append({"topic": topic["topic"], "partition": one["partition"],
                                 "replicas": [first] + [n for n in replicas if n != first]})
        with open(self.path("plan.json"), "w") as at:
            json.dump({"version": 1, "partitions": plan}, at)
        self.tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "--reassignment-json-file", self.path("plan.json"), "--execute")
        wanted = {(one["topic"], one["partition"]): one["replicas"][0] for one in plan}
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:  # one that fell behind meanwhile is not elected yet
            self.tool("org.apache.kafka.tools.LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions", check=False)
            now = leaders(self.metadata() or told)
            if all(now.get(at, first) == first for at, first in wanted.items()):
                return
        raise RuntimeError("the leaders of %s did not move" % sorted(at for at, first in wanted.items() if now.get(at) == before[at])[:5])

    # --- questions ----------------------------------------------------------------------------------

    def metadata(self, n=None):
        """What kcat -L says, or None. n: asked of this broker."""
        addresses = self.addresses_at(1) if self.secure else self.addresses()
        return described(addresses if n is None else addresses.split(",")[n - 1])

    def wait(self, started=None):
        """Until those that were started are up, and the others know it."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for n in started or self.ids:
                if self.processes[n].poll() is not None:
                    raise Ended("kafka %d ended:\n%s" % (n, self.log(n)))
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
        client, inside, controller, relay, old = self.ports[n]
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
        if self.secure:
            self.lock_up(lines, client, old)
        lines.update(self.settings)
        with open(self.path(n, "server.properties"), "w") as at:
            at.writelines("%s=%s\n" % line for line in lines.items())

    # --- TLS and passwords --------------------------------------------------------------------------

    def certify(self):
        """An authority, another one that signed nothing, and certificates of 127.0.0.1: one that is good and one that is not any more."""
        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=self.folder)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for name in ("ca", "stranger"):
            openssl("req", "-x509", *key, "-subj", "/CN=" + name, "-days", "30", "-keyout", name + ".key", "-out", name + ".pem")
        with open(self.path("ca.cnf"), "w") as at:
            at.write("[ca]\ndefault_ca = us\n[us]\ndatabase = index\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n"
                     "policy = any\nunique_subject = no\n[any]\ncommonName = supplied\n[names]\nsubjectAltName = IP:127.0.0.1\n")
        open(self.path("index"), "w").close()
        with open(self.path("serial"), "w") as at:
            at.write("01\n")
        for name, since, until in (("good", "20200101000000Z", "20990101000000Z"), ("old", "20200101000000Z", "20210101000000Z")):
            openssl("req", "-new", *key, "-subj", "/CN=broker", "-keyout", name + ".key", "-out", name + ".csr")
            openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-extensions", "names", "-notext",
                    "-startdate", since, "-enddate", until, "-in", name + ".csr", "-out", name + ".crt")
            with open(self.path(name + ".pem"), "w") as at:
                at.writelines(open(self.path(part)).read() for part in (name + ".key", name + ".crt", "ca.pem"))

    def scram(self):
        return [word for way in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for word in ("--add-scram", '%s=[name=%s,password=%s]' % (way, USER, PASSWORD))]

    def lock_up(self, lines, client, old):
        lines["listeners"] += ",OLD://127.0.0.1:%d" % old
        lines["advertised.listeners"] += ",OLD://127.0.0.1:%d" % old
        lines["listener.security.protocol.map"] = "CLIENT:SASL_SSL,OLD:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT"
        module = "org.apache.kafka.common.security"
        for listener, pair in (("client", "good"), ("old", "old")):
            for name, value in (
                    ("ssl.keystore.type", "PEM"), ("ssl.keystore.location", self.path(pair + ".pem")),
                    ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN"),
                    ("plain.sasl.jaas.config", '%s.plain.PlainLoginModule required user_%s="%s";' % (module, USER, PASSWORD)),
                    ("scram-sha-256.sasl.jaas.config", module + ".scram.ScramLoginModule required;"),
                    ("scram-sha-512.sasl.jaas.config", module + ".scram.ScramLoginModule required;")):
                lines["listener.name.%s.%s" % (listener, name)] = value

    def run(self, n, *argv):
        with open(self.path(n, "out.log"), "ab") as log:
            return STARTER.submit(subprocess.Popen, ["java", *self.java, "-cp", os.path.join(libs(), "*"), *argv], cwd=self.folder,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent).result()

    def tool(self, name, *argv, check=True):
        """One of Kafka's own, as its scripts start it."""
        done = subprocess.run(["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", os.path.join(libs(), "*"), name,
                               "--bootstrap-server", self.addresses(), *argv], capture_output=True, text=True, timeout=START_SECONDS)
        if check and done.returncode != 0:
            raise RuntimeError("%s: %s%s" % (name, done.stdout, done.stderr))

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
                 "cut": self.cut, "mend": self.mend, "shift": self.shift}
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
