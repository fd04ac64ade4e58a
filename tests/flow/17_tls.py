"""TLS: unchanged clients over https, certificates that change under load, and hands that are never shaken."""
import collections
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import threading
import time

import sdks
from harness import BINARY, Serve, command, repeats


def openssl(*argv, cwd):
    done = subprocess.run(["openssl", *argv], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Authority:
    """A private CA in a folder; certificates that it signed."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.file = os.path.join(folder, "ca.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
                "ca.pem", "-days", "10", "-subj", "/CN=Penstock test CA", "-addext", "keyUsage=critical,keyCertSign",
                cwd=folder)

    def pair(self, name, host="localhost", days=5, rsa=False):
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        with open(os.path.join(self.folder, name + ".ext"), "w") as out:
            out.write("subjectAltName=DNS:%s,IP:127.0.0.1\n" % host)
        openssl("req", "-newkey", *kind, "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + host,
                cwd=self.folder)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                str(days), "-extfile", name + ".ext", "-out", name + ".pem", cwd=self.folder)
        os.chmod(os.path.join(self.folder, name + ".key"), 0o600)
        return os.path.join(self.folder, name + ".pem"), os.path.join(self.folder, name + ".key")

    def context(self):
        return ssl.create_default_context(cafile=self.file)


class Secure:
    """A server with a port of TLS beside the plain one, and its CA."""

    def __init__(self, capture="", rsa=False):
        self.serve = Serve(wait=False)  # for its folder; it is stopped before it has done anything
        self.serve.stop()
        self.ca = Authority(os.path.join(self.serve.folder, "ca"))
        self.certificate, self.key = (os.path.join(self.serve.folder, n) for n in ("now.pem", "now.key"))
        self.use(*self.ca.pair("first", rsa=rsa))
        os.makedirs(self.serve.data, exist_ok=True)
        with open(os.path.join(self.serve.data, "penstock.yaml"), "w") as out:
            out.write("listen: 127.0.0.1:0 tls\ntls:\n  certificate: %s\n  key: %s\n%s" % (self.certificate, self.key, capture))
        self.serve.port = 0
        self.serve.extra = ["--listen", "127.0.0.1:0 tls"]
        self.serve.start()
        self.url = next(url for url in self.serve.status()["listen"] if url.startswith("https:"))
        self.port = int(self.url.rsplit(":", 1)[1])
        self.https = "https://localhost:%d" % self.port

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.serve.__exit__(*what)

    def use(self, certificate, key):
        """As a tool for renewals does it: two files, one after the other, each in one instant."""
        for new, now in ((certificate, self.certificate), (key, self.key)):
            shutil.copy2(new, now + ".new")
            os.rename(now + ".new", now)

    def connection(self, context, timeout=20):
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=context)

    def serial(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as wire:
            with self.ca.context().wrap_socket(wire, server_hostname="localhost") as secure:
                return secure.getpeercert()["serialNumber"]

    def metric(self, name):
        for line in self.serve.get("/metrics").text.splitlines():
            if line.startswith(name + "{"):
                return int(float(line.rsplit(" ", 1)[1]))
        raise AssertionError("no " + name)


def post(connection, token, name, who="u"):
    connection.request("POST", "/e/", json.dumps({"api_key": token, "event": name, "distinct_id": who}),
                       {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (answer.status, text)


def test_clients():
    with Secure() as secure:
        serve, token = secure.serve, secure.serve.token()
        body = os.path.join(serve.folder, "body")
        with open(body, "w") as out:
            json.dump({"api_key": token, "event": "curl", "distinct_id": "u", "properties": {"a": "x" * 300000}}, out)
        for version in ("--tlsv1.2 --tls-max 1.2", "--tlsv1.3", "--http2", "--http1.0"):
            done = subprocess.run(["curl", "-sS", "--fail", *version.split(), "--cacert", secure.ca.file, "-d", "@" + body,
                                   "-H", "Content-Type: application/json", secure.https + "/e/"], capture_output=True,
                                  text=True)
            assert done.returncode == 0 and json.loads(done.stdout) == {"status": "Ok"}, done
        keep = secure.connection(secure.ca.context())
        for _ in range(3):
            post(keep, token, "python")
        keep.close()
        refused = subprocess.run(["curl", "-sS", secure.https + "/e/"], capture_output=True, text=True)
        assert refused.returncode == 60, refused  # who does not know the CA is not talked into it
        plain = subprocess.run(["curl", "-sS", "-w", "%{http_code}", "http://localhost:%d/e/" % secure.port],
                               capture_output=True, text=True)
        assert plain.stdout.endswith("400") and "https://" in plain.stdout, plain
        python = sdks.drive("python-7", "basic", serve, token, host=secure.https, ca=secure.ca.file)
        node = sdks.drive("node", "basic", serve, token, host=secure.https, ca=secure.ca.file)
        assert serve.settle()["dead_lettered"] == 0
        stored = {r["event"]: r["n"] for r in serve.sql("SELECT event, count(*) AS n FROM events GROUP BY event")}
        expected = collections.Counter({"curl": 4, "python": 3})
        expected.update(python["by_name"])
        expected.update(node["by_name"])
        expected["own id"] -= 1  # the drivers of both name the same id: the second one is the first again
        assert stored == dict(expected), (stored, expected)
        serve.kill("capture")  # the next one gets the certificate as this one did
        post(secure.connection(secure.ca.context()), token, "after")
        told = serve.cli("doctor", check=False).stdout
        assert "the certificate for localhost expires in 4 days: renew it" in told, told


def test_the_own_tools_find_their_way_over_tls_alone():
    with Secure() as secure:
        serve = secure.serve
        serve.stop()
        log = open(os.path.join(serve.folder, "tls-only.log"), "w")
        process = subprocess.Popen([BINARY, "serve", "--data", serve.data,
                                    "--listen", "127.0.0.1:0 tls"], stderr=log)
        try:
            end = time.time() + 60
            while not any(url.startswith("https") for url in serve.status()["listen"]) and time.time() < end:
                time.sleep(0.05)
            serve.cli("send", "hello")
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_what_is_wrong_is_told_before_anything_starts():
    with Secure() as secure:
        serve, ca = secure.serve, secure.ca
        serve.stop()
        good, other = ca.pair("good"), ca.pair("other")
        open_key = os.path.join(serve.folder, "open.key")
        shutil.copy(good[1], open_key)
        os.chmod(open_key, 0o644)
        rows = [
            ("{}", "tls.certificate is not set"),
            ("{tls: {certificate: %s}}" % good[0], "tls.key is not set"),
            ("{tls: {certificate: %s, key: %s}}" % (good[0], other[1]),
             "the key %s does not belong to the certificate %s (for localhost)" % (other[1], good[0])),
            ("{tls: {certificate: %s, key: %s}}" % (good[1], good[0]), "holds no certificate"),
            ("{tls: {certificate: %s, key: %s}}" % (good[0], open_key), "chmod o="),
            ("{tls: {certificate: %s.not, key: %s}}" % good, "No such file"),
            ("{tls: {certificate: [%s, %s], key: %s}}" % (good[0], other[0], good[1]), "names 2 files and tls.key 1"),
            ("{tls: {certificates: %s}}" % good[0], "did you mean \"tls.certificate\"?"),
        ]
        for text, says in rows:
            path = os.path.join(serve.folder, "wrong.yaml")
            with open(path, "w") as out:
                out.write(text)
            done = command("serve", "--config", path, "--data", serve.data, "--listen", "127.0.0.1:0 tls", check=False)
            assert done.returncode == 2 and says in done.stderr, (text, done.returncode, done.stderr)
            if not text.startswith("{}"):
                with open(path, "w") as out:
                    out.write("{listen: '127.0.0.1:0 tls', " + text[1:])
                done = command("config", "check", path, check=False)
                assert done.returncode == 2 and says in done.stderr, (text, done.returncode, done.stderr)
        with open(path, "w") as out:
            out.write("{listen: '127.0.0.1:0 tls', tls: {certificate: %s, key: %s}}" % good)
        assert ": fine; 3 of" in command("config", "check", path).stderr


def test_a_renewal_under_load_fails_nobody():
    with Secure("capture.threads: 2\n") as secure:
        serve, token = secure.serve, secure.serve.token()
        pairs = [secure.ca.pair("a"), secure.ca.pair("b", rsa=True)]
        stop, sent, failures = threading.Event(), collections.Counter(), []

        def client(number):
            context = secure.ca.context()
            keep = secure.connection(context) if number % 2 else None
            while not stop.is_set():
                try:
                    connection = keep or secure.connection(context)
                    post(connection, token, "renewal", "u%d" % number)
                    sent[number] += 1
                    if keep is None:
                        connection.close()
                except (OSError, AssertionError, http.client.HTTPException) as problem:
                    failures.append("%d after %d: %r" % (number, sent[number], problem))
                    return

        threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        before = secure.metric("capture_tls_certificate_loads_total")
        end = time.time() + 120
        for round_ in range(100):
            secure.use(*pairs[round_ % 2])
            serve.process.send_signal(signal.SIGHUP)
            time.sleep(0.02)
        while secure.metric("capture_tls_certificate_loads_total") - before < 50 and time.time() < end:
            secure.use(*pairs[round_ % 2])
            serve.process.send_signal(signal.SIGHUP)
            round_ += 1
            time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures, failures
        loads = secure.metric("capture_tls_certificate_loads_total") - before
        # Files that were replaced while they were read may be a bad pair for a moment: told, and nothing else.
        assert loads >= 50, loads
        print("%d renewals under %d requests: none failed" % (loads, sum(sent.values())))
        status = serve.settle()
        assert status["accepted"] - repeats(status) == sum(sent.values()), status


def test_a_renewal_without_a_word():
    with Secure() as secure:
        serial = secure.serial()
        a, b = secure.ca.pair("a"), secure.ca.pair("b")
        shutil.copy2(a[0], secure.certificate)  # half of a pair: what is in force stays
        end = time.time() + 60
        while secure.metric("capture_tls_certificate_loads_failed_total") == 0 and time.time() < end:
            time.sleep(0.1)
        assert secure.metric("capture_tls_certificate_loads_failed_total") == 1 and secure.serial() == serial
        assert "does not belong to the certificate" in secure.serve.log()
        shutil.copy2(a[1], secure.key)
        end = time.time() + 60
        while secure.serial() == serial and time.time() < end:
            time.sleep(0.1)
        assert secure.serial() != serial, secure.serve.log()
        os.unlink(secure.key)  # gone for a while
        end = time.time() + 60
        while "No such file" not in secure.serve.log() and time.time() < end:
            time.sleep(0.1)
        assert secure.serial() != serial and "No such file" in secure.serve.log()
        loads = secure.metric("capture_tls_certificate_loads_total")
        secure.use(*b)
        end = time.time() + 60
        while secure.metric("capture_tls_certificate_loads_total") == loads and time.time() < end:
            time.sleep(0.1)
        assert secure.metric("capture_tls_certificate_loads_total") == loads + 1


def test_who_never_shakes_hands_hurts_nobody():
    with Secure("capture:\n  hello_timeout: 2s\n", rsa=True) as secure:
        token = secure.serve.token()
        idle = []
        for number in range(400):
            wire = socket.create_connection(("127.0.0.1", secure.port), timeout=10)
            if number % 2:
                wire.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[:1 + number % 11])
            idle.append(wire)
        stop = threading.Event()

        def flood():  # as many whole handshakes as one thread can ask for, each left at once
            context = secure.ca.context()
            while not stop.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as wire:
                        context.wrap_socket(wire, server_hostname="localhost").close()
                except OSError:
                    pass

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()
        connection, took = secure.connection(secure.ca.context()), []
        for _ in range(100):
            began = time.time()
            post(connection, token, "calm")
            took.append(time.time() - began)
        stop.set()
        for thread in threads:
            thread.join()
        print("beside 400 silent ones and a flood: median %.1f ms, worst %.1f ms" % (statistics.median(took) * 1000,
                                                                                   max(took) * 1000))
        assert statistics.median(took) < 1, statistics.median(took)  # milliseconds, unless others have the machine
        end = time.time() + 20
        for wire in idle:  # closed for them, none stays
            wire.settimeout(max(end - time.time(), 0.1))
            try:
                assert wire.recv(100) in (b"", b"\x15\x03\x01\x00\x02\x02F"[:7])
            except ConnectionResetError:
                pass
            wire.close()
        assert secure.metric("capture_tls_handshakes_failed_total") >= 400
        end = time.time() + 60
        while secure.metric("capture_active_connections") > 3:  # it hears of the last of the flood when it comes to them
            assert time.time() < end
            time.sleep(0.05)
