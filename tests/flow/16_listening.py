"""Where it listens: several addresses at once, a unix socket, and what a person is told when one cannot be had."""
import http.client
import json
import os
import socket
import stat
import subprocess

from harness import BINARY, Serve, command


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def post(connection, token, name):
    body = json.dumps({"api_key": token, "event": name, "distinct_id": "u"})
    connection.request("POST", "/e/", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, (answer.status, answer.read())
    connection.close()


def urls(serve):
    with open(os.path.join(serve.data, "run", "listen")) as listen:
        return listen.read().split("\n")[:-1]


def test_several_addresses_at_once():
    path = "/tmp/penstock-flow-%d.sock" % os.getpid()
    with Serve(extra=["--listen", "[::1]:0", "--listen", "unix:%s mode=0600" % path], config="capture.threads: 2\n") as serve:
        token = serve.token()
        four, six, local = urls(serve)
        assert four.startswith("http://127.0.0.1:") and six.startswith("http://[::1]:") and local == "unix:" + path
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        for _ in range(3):
            post(http.client.HTTPConnection("127.0.0.1", int(four.rsplit(":", 1)[1]), timeout=60), token, "four")
            post(http.client.HTTPConnection("::1", int(six.rsplit(":", 1)[1]), timeout=60), token, "six")
            post(UnixConnection(path), token, "local")
        serve.kill("capture")  # all three stay open
        post(UnixConnection(path), token, "local")
        post(http.client.HTTPConnection("::1", int(six.rsplit(":", 1)[1]), timeout=60), token, "six")
        serve.settle()
        rows = {row["event"]: row["n"] for row in serve.sql("SELECT event, count(*) AS n FROM events GROUP BY event")}
        assert rows == {"four": 3, "six": 4, "local": 4}, rows
        status = serve.status()
        assert status["listen"] == [four, six, local] and status["url"] == four, status
        assert all(url in serve.cli("status").stdout for url in (four, six, local))
        serve.stop()
        assert not os.path.exists(path) and urls(serve) == []
        assert serve.status()["listen"] == []


def test_a_unix_socket_alone():
    path = "/tmp/penstock-flow-%d.only.sock" % os.getpid()
    with Serve() as serve:
        serve.stop()
        for killed in (False, True):  # the second time over the file that a killed one left
            process = subprocess.Popen([BINARY, "serve", "--data", serve.data, "--listen", "unix:" + path],
                                       stderr=subprocess.PIPE, text=True)
            try:
                while "SELECT" not in (line := process.stderr.readline()):
                    assert line, "it ended: %s" % process.wait()
                    if line.strip().startswith("curl"):
                        assert "--unix-socket %s http://localhost/i/v0/e/" % path in line, line
                done = serve.cli("send", "hello")
                assert "200" in done.stdout + done.stderr or done.returncode == 0, done
                assert serve.status()["url"] == "unix:" + path
            finally:
                process.kill() if not killed else process.terminate()
                process.wait()
            assert os.path.exists(path) is not killed
        serve.start()
        assert serve.settle()["stored"] == 2


def test_what_cannot_be_had_is_told():
    with Serve() as serve, Serve() as other:
        other.stop()
        file = os.path.join(other.folder, "file")
        open(file, "w").close()
        pid = serve.process.pid
        rows = [
            (["127.0.0.1:%d" % serve.port], 1, "127.0.0.1:%d is in use by process %d (" % (serve.port, pid)),
            (["127.0.0.1:0", "[::]:%d" % serve.port], 1, "in use by process %d (" % pid),
            (["192.0.2.1:0"], 2, "no network of this machine has that address"),
            (["unix:" + file], 2, "a file that is no socket stands there"),
            (["unix:/no/such/folder/s"], 2, "its folder does not exist"),
            (["unix:/" + "x" * 200], 2, "at most 107 bytes"),
            (["nonsense"], 2, "it takes HOST:PORT"),
        ]
        for addresses, code, says in rows:
            flags = [word for address in addresses for word in ("--listen", address)]
            done = command("serve", "--data", other.data, *flags, check=False)
            assert done.returncode == code and says in done.stderr, (addresses, done.returncode, done.stderr)
        assert serve.get("/_readiness").status == 200
