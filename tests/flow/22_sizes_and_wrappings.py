"""Large bodies, bombs, and the wrappings that old SDKs use, over real connections."""
import base64
import gzip
import http.client
import json
import urllib.parse
import zlib

from harness import Serve

PATHS = ["/i/v0/e", "/batch", "/e", "/capture", "/track", "/engage"]
MIB = 1 << 20


def padded(token, size):
    """A valid event whose body has this many bytes."""
    head = '{"api_key":"%s","event":"large","distinct_id":"u","properties":{"a":[' % token
    tail = "0]}}"
    return (head + "1," * ((size - len(head) - len(tail)) // 2) + tail).ljust(size).encode()


def test_bodies_over_20_mib_are_refused_and_the_connection_goes_on():
    with Serve() as serve:
        token = serve.token()
        small = json.dumps({"api_key": token, "event": "small", "distinct_id": "u"}).encode()
        for path in PATHS:
            connection = http.client.HTTPConnection("127.0.0.1", serve.port, timeout=60)
            connection.request("POST", path, padded(token, 20 * MIB + 1024), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 413 and answer.read().startswith(b"maximum event size exceeded: "), path
            connection.request("POST", path, small, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read(), path
            connection.close()
        assert serve.settle()["stored"] == len(PATHS)


def test_an_event_of_4_mib_when_the_limit_is_raised():
    with Serve(config="capture:\n  event_bytes_max: 8MiB\n") as serve:
        token = serve.token()
        for path in PATHS:
            serve.post(path, padded(token, 4 * MIB))
        assert serve.settle()["stored"] == len(PATHS)


def test_an_event_of_a_language_model_may_have_8_mib():
    with Serve() as serve:
        token = serve.token()

        def event(size, name):
            head = '{"api_key":"%s","event":"%s","distinct_id":"u","properties":{"a":"' % (token, name)
            return (head + "x" * (size - len(head) - 3) + '"}}').encode()

        large = {name: event(8 * MIB, name) for name in ("$ai_generation", "$ai_other")}
        over = event(8 * MIB + 1, "$ai_trace")
        serve.post("/i/v0/ai/batch/", large["$ai_generation"])
        answer = serve.post("/i/v0/ai/batch/", over, expect=413)
        assert answer.text == "maximum event size exceeded: the event has 8388609 bytes, the limit is 8388608", answer.text
        serve.post("/i/v0/ai/batch/", b'{"api_key":"%s","batch":[%s,%s]}' % (token.encode(), large["$ai_other"], over))
        serve.post("/batch/", event(1000001, "$ai_generation"), expect=413)
        serve.post("/i/v0/ai/batch/", padded(token, 20 * MIB + 1024), expect=413)
        status = serve.settle()
        assert status["stored"] == 2 and status["dead_lettered"] == 1, status
        rows = serve.sql("SELECT event, strlen(properties->>'$.a') AS bytes FROM events ORDER BY event")
        assert rows == [{"event": name, "bytes": len(json.loads(body)["properties"]["a"])} for name, body in sorted(large.items())], rows


def gzip_of_spaces(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = [packer.compress(b" " * MIB) for _ in range(size // MIB)]
    return b"".join(out) + packer.compress(b" " * (size % MIB)) + packer.flush()


def test_a_bomb_is_refused_and_costs_its_ceiling_at_most():
    with Serve() as serve:
        before = memory_of(serve)
        answer = serve.post("/batch", gzip_of_spaces(100 * MIB + 1), {}, expect=413)
        assert answer.text.startswith("maximum event size exceeded: "), answer.text
        bomb = gzip_of_spaces(512 * MIB)
        for _ in range(5):
            serve.post("/batch", bomb, {}, expect=413)
        assert memory_of(serve) - before < 8 * MIB, "memory stays after bombs: %d bytes" % (memory_of(serve) - before)


def memory_of(serve):
    for line in open("/proc/%d/status" % serve.role_pid("capture")):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def test_wrappings_of_old_sdks():
    with Serve() as serve:
        token = serve.token()

        def event(name):
            return json.dumps({"api_key": token, "event": name, "distinct_id": "u", "properties": {"t": "żółć"}},
                              ensure_ascii=False).encode()

        form = {"Content-Type": "application/x-www-form-urlencoded"}
        plain = {"Content-Type": "text/plain"}
        cut = event("cut emoji").replace("ż".encode(), b"\xed\xa0\xbd")  # an unpaired surrogate as raw bytes
        sent = {
            "form base64, unmarked": ("/i/v0/e/", b"data=" + urllib.parse.quote(base64.b64encode(event("a"))).encode(), form),
            "form base64, plus signs": ("/e/", b"data=" + base64.b64encode(event("b")), form),
            "gzip in base64 in a form": ("/e/", b"data=" + urllib.parse.quote(base64.b64encode(gzip.compress(event("c")))).encode(), form),
            "cut emoji in a form": ("/i/v0/e/", b"data=" + urllib.parse.quote(base64.b64encode(cut)).encode(), form),
            "cut emoji": ("/e/", cut.replace(b"cut emoji", b"cut plain"), plain),
            "pretty-printed base64": ("/capture/", base64.b64encode(json.dumps(json.loads(event("d")), indent=2).encode()), plain),
            "byte order mark": ("/e/", b"\xef\xbb\xbf" + event("e"), plain),
        }
        for what, (path, body, headers) in sent.items():
            assert serve.post(path, body, headers, expect=None).status == 200, what
        serve.settle()
        rows = {r["event"]: r["t"] for r in serve.sql("SELECT event, properties->>'$.t' AS t FROM events")}
        assert set(rows) == {"a", "b", "c", "d", "e", "cut emoji", "cut plain"}, rows
        assert rows["a"] == "żółć" and rows["cut emoji"] == "\ufffdółć" == rows["cut plain"], rows


def test_long_ids_are_cut_by_characters():
    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "€" * 250})
        serve.settle()
        row = serve.sql("SELECT distinct_id, strlen(distinct_id) AS bytes FROM events")[0]
        assert row["distinct_id"] == "€" * 200 and row["bytes"] == 600
