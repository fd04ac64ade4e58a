"""Behind other servers: HAProxy with PROXY headers of both versions, nginx with X-Forwarded-For over a unix socket, with and
without TLS between; and that nobody can say he is somebody else."""
import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import socket
import struct
import subprocess
import time

from harness import BINARY, Serve, free_port

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("tls", os.path.join(HERE, "17_tls.py"))
tls = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tls)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def request_bytes(token, name, more=""):
    body = json.dumps({"api_key": token, "event": name, "distinct_id": "u"})
    return ("POST /e/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (more, len(body), body)).encode()


def read_all(wire):
    got = b""
    try:
        while piece := wire.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def talk(port, *pieces, pause=0.0):
    """What is answered. The time for a PROXY header runs from the connect: who was kept from speaking for the half of it comes again."""
    while True:
        began = time.time()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    wire.sendall(piece)
                    time.sleep(pause)
            late = time.time() - began > 0.5
            answer = read_all(wire)
        if answer or not late:
            return answer


def ports(serve):
    """By the words behind the address."""
    return {url.partition(" ")[2] + ("tls" if url.startswith("https") else ""): int(url.split(" ")[0].rsplit(":", 1)[1])
            for url in serve.status()["listen"] if not url.startswith("unix:")}


def ips(serve):
    serve.settle()
    return {row["event"]: row["ip"] for row in serve.sql(
        "SELECT event, properties->>'$.\"$ip\"' AS ip FROM events")}


def metric(serve, name):
    return next(int(float(line.rsplit(" ", 1)[1])) for line in serve.get("/metrics").text.splitlines()
                if line.startswith(name + "{"))


def v2(command, family, payload):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(payload)) + payload


def test_proxy_headers_by_hand():
    with Serve(extra=["--listen", "127.0.0.1:0 proxy"], config="capture.hello_timeout: 1s\n") as serve:
        token, port = serve.token(), ports(serve)["proxy"]
        four = socket.inet_aton("203.0.113.9") + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 1234, 80)
        six = socket.inet_pton(socket.AF_INET6, "2001:db8::9") * 2 + struct.pack(">HH", 1234, 80)
        line = b"PROXY TCP4 203.0.113.1 127.0.0.1 1234 80\r\n"
        good = {
            "v1": (line, "203.0.113.1"),
            "v1 six": (b"PROXY TCP6 2001:db8::1 ::1 1234 80\r\n", "2001:db8::1"),
            "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            "v2 local": (v2(0, 0, b""), "127.0.0.1"),
            "v2 four": (v2(1, 0x11, four), "203.0.113.9"),
            "v2 six": (v2(1, 0x21, six + b"\x04\0\x02ab"), "2001:db8::9"),
            "v2 unix": (v2(1, 0x31, bytes(216)), None),
        }
        for name, (header, _) in good.items():
            # What the client says of himself is not believed where a PROXY header says it.
            answer = talk(port, header + request_bytes(token, name, "X-Forwarded-For: 1.1.1.1\r\n"))
            assert answer.startswith(b"HTTP/1.1 200"), (name, answer)
        assert talk(port, *[line[i:i + 1] for i in range(len(line))], request_bytes(token, "by bytes"),
                    pause=0.002).startswith(b"HTTP/1.1 200")
        bad = [b"PROXY TCP4 nonsense\r\n", v2(1, 0x11, four[:-1]), request_bytes(token, "none"), b"\x16\x03\x01",
               b"PROXY UNKNOWN" + b" " * 200]
        for header in bad:
            assert talk(port, header + request_bytes(token, "bad")) == b"", header
        assert talk(port, line[:20]) == b""  # and no more, until the time for it is over
        assert metric(serve, "capture_proxy_refused_total") == len(bad) + 1
        talk(port)  # who only looks whether the port is open is no trouble
        plain = ports(serve)[""]
        assert talk(plain, line + request_bytes(token, "bad")).startswith(b"HTTP/1.1 400")
        assert ips(serve) == {**{name: ip for name, (_, ip) in good.items()}, "by bytes": "203.0.113.1"}
        assert serve.cli("send", "hello").returncode == 0  # the own tools do not take that port


def test_for_proxies_alone():
    with Serve() as serve:
        serve.stop()
        with open(os.path.join(serve.folder, "alone.log"), "w") as log:
            process = subprocess.Popen([BINARY, "serve", "--data", serve.data, "--listen", "127.0.0.1:0 proxy"], stderr=log)
        try:
            end = time.time() + 60
            while not serve.status()["listen"] and time.time() < end:
                time.sleep(0.05)
            status = serve.status()
            assert len(status["listen"]) == 1 and status["listen"][0].endswith(" proxy") and status["url"] == "", status
            done = serve.cli("send", "hello", check=False)
            assert done.returncode == 1 and "listens for proxies alone" in done.stderr, done.stderr
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_only_trusted_peers_and_trusted_hops():
    path = "/tmp/penstock-flow-%d.front.sock" % os.getpid()
    config = "capture:\n  trusted_proxies: [203.0.113.0/24, 198.51.100.7]\n"
    with Serve(extra=["--listen", "127.0.0.1:0 proxy", "--listen", "unix:" + path], config=config) as serve:
        token, at = serve.token(), ports(serve)
        assert talk(at["proxy"], b"PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\n" + request_bytes(token, "no")) == b""
        assert metric(serve, "capture_proxy_refused_total") == 1
        assert talk(at[""], request_bytes(token, "liar", "X-Forwarded-For: 1.1.1.1\r\n")).startswith(b"HTTP/1.1 200")
        rows = {"one hop": ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
                "hops": ("X-Forwarded-For: 1.1.1.1, 192.0.2.1, 198.51.100.7\r\nX-Forwarded-For: 203.0.113.80\r\n", "192.0.2.1"),
                "junk": ("X-Forwarded-For: 1.1.1.1, ?, 203.0.113.80\r\n", "203.0.113.80"),
                "nothing": ("X-Real-IP: 1.1.1.1\r\n", None)}
        for name, (header, _) in rows.items():
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(60)
                wire.connect(path)
                wire.sendall(request_bytes(token, name, header))
                assert read_all(wire).startswith(b"HTTP/1.1 200")
        assert ips(serve) == {"liar": "127.0.0.1", **{name: ip for name, (_, ip) in rows.items()}}


class Front:
    """A server of others', with a configuration of ours, until the end of the block."""

    def __init__(self, argv, port, log):
        self.port = port
        self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        end = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.time() < end, "%s does not listen" % argv[0]
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def ask(port, token, name, headers=None, source=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0) if source else None)
    connection.request("POST", "/e/", json.dumps({"api_key": token, "event": name, "distinct_id": "u"}),
                       {"Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, (name, answer.status, text)


def test_behind_haproxy():
    assert shutil.which("haproxy"), "haproxy is missing: ./dev installs it"
    with tls.Secure("capture:\n  trusted_proxies: 127.0.0.1\n") as secure:
        serve = secure.serve
        serve.stop()
        serve.port, serve.extra = 0, ["--listen", "127.0.0.1:0 proxy", "--listen", "127.0.0.1:0 proxy tls"]
        serve.start()
        token, at, fronts = serve.token(), ports(serve), [free_port() for _ in range(4)]
        file = os.path.join(serve.folder, "haproxy.cfg")
        with open(file, "w") as out:
            out.write("""
global
    maxconn 100
defaults
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen one
    mode tcp
    bind 127.0.0.1:%d
    server it 127.0.0.1:%d send-proxy check
listen two
    mode tcp
    bind 127.0.0.1:%d
    server it 127.0.0.1:%d send-proxy-v2 check proxy-v2-options crc32c,unique-id
listen encrypted
    mode tcp
    bind 127.0.0.1:%d
    server it 127.0.0.1:%d send-proxy-v2 ssl verify required ca-file %s sni str(localhost) check
listen http
    mode http
    bind 127.0.0.1:%d
    option forwardfor
    server it 127.0.0.1:%d
""" % (fronts[0], at["proxy"], fronts[1], at["proxy"], fronts[2], at["proxytls"], secure.ca.file, fronts[3], at[""]))
        with open(os.path.join(serve.folder, "haproxy.log"), "w") as log, \
                Front([shutil.which("haproxy"), "-db", "-f", file], fronts[0], log):
            time.sleep(2.5)  # its checks of health, with PROXY LOCAL
            liar = {"X-Forwarded-For": "1.1.1.1"}
            ask(fronts[0], token, "one", liar, "127.0.0.5")
            ask(fronts[1], token, "two", liar, "127.0.0.6")
            ask(fronts[2], token, "encrypted", liar, "127.0.0.7")
            ask(fronts[3], token, "http", liar, "127.0.0.8")
            # While it runs: one that is ended in the middle of a check did not shake hands to the end.
            assert metric(serve, "capture_proxy_refused_total") == 0 and metric(serve, "capture_tls_handshakes_failed_total") == 0
        assert ips(serve) == {"one": "127.0.0.5", "two": "127.0.0.6", "encrypted": "127.0.0.7", "http": "127.0.0.8"}


def test_behind_nginx():
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    path = "/tmp/penstock-flow-%d.nginx.sock" % os.getpid()
    # Started by root, nginx's workers are another user.
    with Serve(extra=["--listen", "unix:%s mode=0666" % path], config="capture.trusted_proxies: 10.0.0.0/8\n") as serve:
        token, front = serve.token(), free_port()
        file = os.path.join(serve.folder, "nginx.conf")
        with open(file, "w") as out:
            out.write("""
daemon off; pid %s/nginx.pid; error_log %s/nginx.log;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path %s; proxy_temp_path %s;
    upstream it { server unix:%s; keepalive 4; }
    server {
        listen 127.0.0.1:%d;
        location / {
            proxy_pass http://it; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
    }
}
""" % (serve.folder, serve.folder, serve.folder, serve.folder, path, front))
        with open(os.path.join(serve.folder, "nginx.out"), "w") as log, Front([nginx, "-c", file], front, log):
            ask(front, token, "direct", None, "127.0.0.5")
            ask(front, token, "liar", {"X-Forwarded-For": "1.1.1.1"}, "127.0.0.6")
            for number in range(20):  # over connections that are kept
                ask(front, token, "kept %d" % number, None, "127.0.0.%d" % (10 + number))
        assert ips(serve) == {"direct": "127.0.0.5", "liar": "127.0.0.6",
                              **{"kept %d" % n: "127.0.0.%d" % (10 + n) for n in range(20)}}
