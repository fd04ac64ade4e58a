"""Everything bad that comes over the wire, through a whole Penstock: what it is answered, and that it harms nothing else.
The table for people is docs/bad-input.md; rows that are about one parser alone stand in that parser's test."""
import base64
import gzip
import json
import re
import socket
import urllib.parse

from harness import Serve, repeats

MIB = 1 << 20
GOOD = '{"api_key":"TOKEN","event":"good","distinct_id":"u"}'
OK = '{"status":"Ok"}'


def raw(text, token):
    data = text.encode("latin-1") if isinstance(text, str) else text
    return data.replace(b"TOKEN", token.encode())


def talk(port, data, wait=5):
    """Sends bytes, gives everything that comes until the server closes, or until it is silent for a moment."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as wire:
        try:
            wire.sendall(data)
        except OSError:
            pass  # it was answered and closed before the end
        closed = False
        try:
            while True:
                wire.settimeout(0.5 if got else wait)
                part = wire.recv(65536)
                if not part:
                    closed = True
                    break
                got += part
        except socket.timeout:
            pass
        except ConnectionResetError:
            closed = True
    return got, closed


def statuses(got):
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


GET = "GET /_liveness HTTP/1.1\r\nHost: t\r\n"
POST = "POST /e/ HTTP/1.1\r\nHost: t\r\n"


def posted(body=GOOD, headers="", length=None):
    """The token that replaces TOKEN has 44 bytes."""
    size = len(body.replace("TOKEN", "x" * 44)) if length is None else length
    return POST + headers + "Content-Length: %d\r\n\r\n" % size + body


# What comes, the bytes, the statuses of the answers, whether the connection is closed then, what the answer says.
HTTP = [
    ("both lengths; what follows is never read", POST + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + "\r\n", [400], True, "ambiguous_length"),
    ("two lengths", POST + "Content-Length: 10\r\nContent-Length: 11\r\n\r\n", [400], True, "bad_content_length"),
    ("a length with a sign", POST + "Content-Length: +5\r\n\r\nxxxxx", [400], True, "bad_content_length"),
    ("2^64+5", POST + "Content-Length: 18446744073709551621\r\n\r\nxxxxx", [400], True, "bad_content_length"),
    ("chunked twice", POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400], True, "bad_transfer_encoding"),
    ("chunked on HTTP/1.0", "POST /e/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400], True, "bad_transfer_encoding"),
    ("a chunk size of 16 digits", POST + "Transfer-Encoding: chunked\r\n\r\n0000000000000005\r\nxxxxx\r\n0\r\n\r\n", [400], True, "bad_chunk"),
    ("a chunk size with a space", POST + "Transfer-Encoding: chunked\r\n\r\n5 \r\nxxxxx\r\n0\r\n\r\n", [400], True, "bad_chunk"),
    ("a chunk longer than its size", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxxx\r\n0\r\n\r\n", [400], True, "bad_chunk"),
    ("a chunk extension of 5 KiB", POST + "Transfer-Encoding: chunked\r\n\r\n5;" + "x" * 5000 + "\r\n", [400], True, "chunk_overhead"),
    ("a million chunks of one byte", POST + "Transfer-Encoding: chunked\r\n\r\n" + "1\r\n \r\n" * 1000000 + "0\r\n\r\n", [400], True, "chunk_overhead"),
    ("LF as line end", "POST /e/ HTTP/1.1\nHost: t\n\n", [400], True, "bad_line_ending"),
    ("LF behind a chunk size", POST + "Transfer-Encoding: chunked\r\n\r\n5\nxxxxx\r\n", [400], True, "bad_line_ending"),
    ("a space before the colon", "POST /e/ HTTP/1.1\r\nHost : t\r\n\r\n", [400], True, "bad_header"),
    ("a folded line", GET + "X: a\r\n b\r\n\r\n", [400], True, "bad_header"),
    ("NUL in a value", GET + "X: a\0b\r\n\r\n", [400], True, "bad_header"),
    ("no Host", "GET /_liveness HTTP/1.1\r\n\r\n", [400], True, "bad_host"),
    ("Host with a user", "GET /_liveness HTTP/1.1\r\nHost: me@t\r\n\r\n", [400], True, "bad_host"),
    ("a request line of 9 KiB", "GET /?" + "x" * 9000 + " HTTP/1.1\r\nHost: t\r\n\r\n", [414], True, "request_line_too_long"),
    ("101 headers", GET + "X: y\r\n" * 101 + "\r\n", [431], True, "too_many_headers"),
    ("a head of 33 KiB", GET + "X: " + "y" * 33000 + "\r\n\r\n", [431], True, "head_too_large"),
    ("an unknown method", "BREW / HTTP/1.1\r\nHost: t\r\n\r\n", [501], True, "unknown_method"),
    ("a method in lower case", "post /e/ HTTP/1.1\r\nHost: t\r\n\r\n", [501], True, "unknown_method"),
    ("TRACE", "TRACE / HTTP/1.1\r\nHost: t\r\n\r\n", [405], True, "bad_method"),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: t\r\n\r\n", [505], True, "bad_version"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505], True, "bad_version"),
    ("HTTP/0.9", "GET /\r\n", [400], True, "bad_request_line"),
    ("a TLS hello on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500, [400], True, "bad_request_line"),
    ("a PROXY header that nobody asked for", "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n" + GET + "\r\n", [400], True, "bad_request_line"),
    ("Upgrade: h2c is not done", GET + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n", [200], False, "alive"),
    ("an upgrade to a websocket is not done", GET + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", [200], False, "alive"),
    ("another expectation", GET + "Expect: 200-ok\r\n\r\n", [417], True, "bad_expectation"),
    ("100-continue with a body that is too large", POST + "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", [413], True, "20971520"),
    ("a body that is far too large, announced", POST + "Content-Length: 999999999999\r\n\r\n", [413], True, "20971520"),
    ("more than was announced: the rest is the next request", posted() + " nonsense\r\n\r\n", [200, 400], True, "bad_request_line"),
    ("dots in the path", "GET /e/../_liveness HTTP/1.1\r\nHost: t\r\n\r\n", [404], False, ""),
    ("escaped dots in the path", "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: t\r\n\r\n", [404], False, ""),
    ("an escaped NUL in the path", "GET /_liveness%00 HTTP/1.1\r\nHost: t\r\n\r\n", [404], False, ""),
    ("an overlong slash in the path", "GET /%c0%af_liveness HTTP/1.1\r\nHost: t\r\n\r\n", [404], False, ""),
    ("a backslash in the path", "GET \\_liveness HTTP/1.1\r\nHost: t\r\n\r\n", [400], True, "bad_target"),
    ("a backslash behind a slash", "GET /\\_liveness HTTP/1.1\r\nHost: t\r\n\r\n", [404], False, ""),
    ("501 parameters", "POST /e/?" + "a=1&" * 500 + "a=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}", [400], False, "more than 500"),
    ("no content type", posted(), [200], False, OK),
    ("a wrong content type", posted(headers="Content-Type: image/png\r\n"), [200], False, OK),
    ("a range, conditions", posted(headers="Range: bytes=0-5\r\nIf-Match: \"x\"\r\nIf-None-Match: *\r\nIf-Modified-Since: x\r\nTE: trailers\r\n"), [200], False, OK),
    ("X-Forwarded-For of a thousand hops", posted(headers="X-Forwarded-For: " + "junk, " * 1000 + "\r\n"), [200], False, OK),
    ("a target with another host", "GET http://other.example/_liveness HTTP/1.1\r\nHost: t\r\n\r\n", [200], False, "alive"),
    ("* without OPTIONS", "GET * HTTP/1.1\r\nHost: t\r\n\r\n", [400], True, "bad_target"),
    ("Content-Length with a hyphen of Unicode", POST.encode() + b"Content\xe2\x80\x90Length: 5\r\n\r\n", [400], True, "bad_header"),
    ("underscores are other headers", posted(headers="Content_Length: 9\r\nTransfer_Encoding: chunked\r\n"), [200], False, OK),
    ("trailers are dropped", POST + "Transfer-Encoding: chunked\r\n\r\n5b\r\n" + GOOD + "\r\n0\r\nContent-Length: 5\r\nHost: x\r\nAuthorization: y\r\n\r\n", [200], False, OK),
    ("an odd origin is echoed", posted(headers="Origin: weird://x y\r\n"), [200], False, "access-control-allow-origin: weird://x y"),
    ("a preflight of a null origin", "OPTIONS /e/ HTTP/1.1\r\nHost: t\r\nOrigin: null\r\nAccess-Control-Request-Method: POST\r\n\r\n", [200], False, "access-control-allow-origin: null"),
]


def test_http():
    with Serve() as serve:
        token = serve.token("phc_" + "t" * 40)
        wrong, stored = [], 0
        for what, text, want, closes, says in HTTP:
            got, closed = talk(serve.port, raw(text, token))
            if text[:4] in ("POST", b"POST"):
                stored += statuses(got).count(200)
            if statuses(got) != want or closed != closes or says not in got.decode("latin-1"):
                wrong.append("%s: %s %s, expected %s %s and \"%s\": %.300r" % (
                    what, statuses(got), "closed" if closed else "open", want, "closed" if closes else "open", says, got))
        # Half a request, and half a chunked one, whose clients vanish: nothing is stored, and it is counted.
        for text in (posted(length=500), POST + "Transfer-Encoding: chunked\r\n\r\n5b\r\n" + GOOD):
            with socket.create_connection(("127.0.0.1", serve.port)) as wire:
                wire.sendall(raw(text, token))
        assert not wrong, "\n".join(wrong)
        status = serve.settle()
        assert status["accepted"] - repeats(status) == stored, (status, stored)
        metrics = {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in serve.get("/metrics").text.splitlines() if " " in line}
        assert int(metrics['capture_client_aborted_total{role="capture"}']) >= 2
        assert int(metrics['capture_events_dropped_total{role="capture",cause="bad_http"}']) >= 30
        assert len(serve.log().splitlines()) < 40, "bad requests fill the log: " + serve.log()


def zipped(text, level=6):
    return gzip.compress(text if isinstance(text, bytes) else text.encode(), level)


def b64(data):
    return base64.b64encode(data).decode()


def token_of(good):
    return json.loads(good)["api_key"]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
DEEP = '{"api_key":"TOKEN","event":"good","distinct_id":"u","properties":%s}'

# What comes, the target, headers, the body (a function of the token's text: bytes), the status, what the answer says.
BODIES = [
    ("a gzip that ends early", "/e/", {}, lambda good: zipped(good)[:-9], 400, "invalid GZIP data"),
    ("a gzip with a wrong checksum", "/e/", {}, lambda good: zipped(good)[:-8] + b"\0\0\0\0" + zipped(good)[-4:], 400, "invalid GZIP data"),
    ("a gzip with a wrong length", "/e/", {}, lambda good: zipped(good)[:-4] + b"\0\0\0\0", 400, "invalid GZIP data"),
    ("a gzip with reserved flags", "/e/", {}, lambda good: zipped(good)[:3] + b"\xe0" + zipped(good)[4:], 400, "invalid GZIP data"),
    ("rubbish behind a gzip", "/e/", {}, lambda good: zipped(good) + b"rubbish", 400, "invalid GZIP data"),
    ("two members that are one text", "/e/", {}, lambda good: zipped(good[:20]) + zipped(good[20:]), 200, OK),
    ("a small member, then a bomb", "/e/", {}, lambda good: zipped(good) + zipped(b" " * (101 * MIB), 9), 413, "104857600"),
    ("a bomb", "/e/", {}, lambda good: zipped(b" " * (101 * MIB), 9), 413, "104857600"),
    ("a name of 70 KiB in a gzip's head", "/e/", {}, lambda good: zipped(good)[:3] + b"\x08" + zipped(good)[4:10] + b"n" * 70000 + b"\0" + zipped(good)[10:], 400, "invalid GZIP data"),
    ("gzip in gzip", "/e/", {}, lambda good: zipped(zipped(good)), 400, "failed to"),
    ("gzip in gzip in base64", "/e/", {}, lambda good: b64(zipped(zipped(good))).encode(), 400, "failed to"),
    ("the hint says gzip, the body is plain", "/e/?compression=gzip", {}, lambda good: good.encode(), 200, OK),
    ("gzip that nobody announced", "/e/", {}, lambda good: zipped(good), 200, OK),
    ("an empty gzip", "/e/", {}, lambda good: zipped(b""), 400, "request missing data payload"),
    ("Content-Encoding: br", "/e/", {"Content-Encoding": "br"}, lambda good: b"\x0b\x02\x80xxx\x03", 400, "failed to"),
    ("Content-Encoding: gzip, gzip", "/e/", {"Content-Encoding": "gzip, gzip"}, lambda good: zipped(good), 200, OK),
    ("an unknown compression", "/e/?compression=rar", {}, lambda good: good.encode(), 200, OK),
    ("two compressions: the first counts", "/e/?compression=lz64&compression=gzip", FORM,
     lambda good: b"data=" + urllib.parse.quote(" " + good).encode(), 400, "lz64"),
    ("two compressions, the other way", "/e/?compression=gzip&compression=lz64", FORM,
     lambda good: b"data=" + urllib.parse.quote(" " + good).encode(), 200, OK),
    ("base64 with a bad character", "/e/", {}, lambda good: b64(good.encode()).replace("e", "!", 1).encode(), 400, "failed to parse request"),
    ("base64 of the other alphabet, no padding", "/e/", {}, lambda good: base64.urlsafe_b64encode(good.encode()).rstrip(b"="), 200, OK),
    ("base64 in base64 in base64", "/e/", {}, lambda good: b64(b64(b64(good.encode()).encode()).encode()).encode(), 400, "failed to parse request"),
    ("a form without data", "/e/", FORM, lambda good: b"_=1&ip=1", 400, "failed to parse request"),
    ("a broken escape in a form", "/e/", FORM, lambda good: b"data=%zz", 400, "invalid urlencoded form data"),
    ("a broken escape in a query", "/e/?data=%7", {}, lambda good: b"", 400, "invalid urlencoded form data"),
    ("multipart", "/e/", {"Content-Type": "multipart/form-data; boundary=x"}, lambda good: ("--x\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n%s\r\n--x--\r\n" % good).encode(), 400, "failed to parse request"),
    ("an lz64 text that is none", "/e/?compression=lz64", {}, lambda good: b"!!!!", 400, "lz64"),
    ("nothing", "/e/", {}, lambda good: b"", 400, "request missing data payload"),
    ("white space", "/e/", {}, lambda good: b" \r\n\t", 400, "failed to parse request"),
    ("null", "/e/", {}, lambda good: b"null", 400, "failed to"),
    ("a string", "/e/", {}, lambda good: b'"x"', 400, "failed to parse request"),
    ("100,000 brackets", "/e/", {}, lambda good: b"[" * 100000, 400, "64"),
    ("65 objects deep", "/e/", {}, lambda good: (DEEP % ('{"a":' * 65 + "1" + "}" * 65)).encode(), 400, "64"),
    ("NaN", "/e/", {}, lambda good: (DEEP % '{"a":NaN}').encode(), 400, "null"),
    ("-Infinity", "/e/", {}, lambda good: (DEEP % '{"a":-Infinity}').encode(), 400, "failed to parse request"),
    ("overlong UTF-8", "/e/", {}, lambda good: (DEEP % '{"a":"X"}').encode().replace(b'"X"', b'"\xc0\xaf"'), 400, "UTF8"),
    ("a byte order mark", "/e/", {}, lambda good: b"\xef\xbb\xbf" + good.encode(), 200, OK),
    ("UTF-16", "/e/", {}, lambda good: good.encode("utf-16"), 400, "UTF"),
    ("a comment", "/e/", {}, lambda good: b"/* hello */" + good.encode(), 400, "failed to parse request"),
    ("a trailing comma", "/e/", {}, lambda good: good[:-1].encode() + b",}", 400, "failed to parse request"),
    ("single quotes", "/e/", {}, lambda good: good.replace('"', "'").encode(), 400, "failed to parse request"),
    ("keys without quotes", "/e/", {}, lambda good: good.replace('"event"', "event").encode(), 400, "failed to parse request"),
    ("two documents", "/e/", {}, lambda good: (good + good).encode(), 400, "failed to parse request"),
    ("lines of documents", "/batch/", {}, lambda good: (good + "\n" + good).encode(), 400, "newline"),
    ("a string of 19 MiB", "/e/", {}, lambda good: (DEEP % ('{"a":"%s"}' % ("x" * (19 * MIB)))).encode(), 413, "maximum event size exceeded"),
    ("a string of 21 MiB", "/e/", {}, lambda good: (DEEP % ('{"a":"%s"}' % ("x" * (21 * MIB)))).encode(), 413, "maximum event size exceeded"),
    ("100,001 events", "/batch/", {}, lambda good: ('{"api_key":"TOKEN","batch":[%s]}' % ",".join(['{"event":"e","distinct_id":"u"}'] * 100001)).encode(), 413, "100000"),
    ("an object where the batch should be", "/batch/", {}, lambda good: b'{"api_key":"TOKEN","batch":{"event":"good"}}', 400, "missing event name"),
    ("01", "/e/", {}, lambda good: (DEEP % '{"a":01}').encode(), 400, "failed to parse request"),
    ("a control character in a string", "/e/", {}, lambda good: (DEEP % '{"a":"\x01"}').encode(), 400, "failed to parse request"),
    ("names in another case", "/e/", {}, lambda good: good.replace("event", "Event").replace("distinct_id", "distinctId").encode(), 400, "event"),
    ("no token", "/e/", {}, lambda good: good.replace(good[1:good.index('"event"')], "").encode(), 401, "without an api_key"),
    ("a token that is a number", "/e/", {}, lambda good: good.replace('"' + token_of(good) + '"', "5").encode(), 400, "api_key is a number"),
    ("a token of 65 bytes", "/e/", {}, lambda good: good.replace(token_of(good), "x" * 65).encode(), 401, "too_long"),
    ("a personal key", "/e/", {}, lambda good: good.replace(token_of(good), "phx_secret").encode(), 401, "personal_api_key"),
    ("an unknown token", "/e/", {}, lambda good: good.replace(token_of(good), "phc_unknown").encode(), 401, "no project has it"),
    ("two tokens", "/e/", {}, lambda good: ("[%s,%s]" % (good, good.replace(token_of(good), "phc_other"))).encode(), 401, "inconsistent api_key"),
    ("no event name", "/e/", {}, lambda good: good.replace('"event":"good",', "").encode(), 400, "event name"),
    ("an empty event name", "/e/", {}, lambda good: good.replace("good", "").encode(), 400, "empty event name"),
    ("no distinct id", "/e/", {}, lambda good: good.replace(',"distinct_id":"u"', "").encode(), 400, "without a distinct_id"),
    ("properties that are a list", "/e/", {}, lambda good: (DEEP % "[]").encode(), 400, "failed to parse request"),
    ("historical_migration that is a text", "/batch/", {}, lambda good: ('{"api_key":"TOKEN","historical_migration":"yes","batch":[%s]}' % good).encode(), 400, "failed to"),
    ("a secret in the refusal: a personal key is not echoed", "/e/", {}, lambda good: good.replace(token_of(good), "phx_echo").encode(), 401, "!phx_echo"),
]


def test_bodies():
    with Serve() as serve:
        token = serve.token()
        wrong, stored = [], 0
        for what, target, headers, make, status, says in BODIES:
            body = make(GOOD.replace("TOKEN", token))
            body = raw(body, token) if b"TOKEN" in body else body
            answer = serve.request("POST", target, body, headers)
            fine = says[1:] not in answer.text if says.startswith("!") else says in answer.text
            stored += answer.status == 200
            if answer.status != status or not fine:
                wrong.append("%s: %d %.200s; expected %d \"%s\"" % (what, answer.status, answer.text, status, says))
        assert not wrong, "\n".join(wrong)
        status = serve.settle()
        assert status["accepted"] - repeats(status) == stored == status["stored"] + status["dead_lettered"], (status, stored)
