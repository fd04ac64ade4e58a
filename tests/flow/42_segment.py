"""Unchanged SDKs of Segment's API, of two vendors, against a running Penstock: every message is one row, with the right
person and groups, also when answers get lost on the way and the SDKs send again."""
import collections
import concurrent.futures
import http.client
import http.server
import importlib
import json
import threading

import deploy
import sdks
from harness import Serve, repeats

# A message that Segment's browser SDK sends again has the name that its user has by then. Where the log is apart, one uuid under two
# ids may be two rows (docs/compat.md): there the user is named when nothing is left to be sent again.
SEGMENT_RETRIES = "retries" if deploy.embedded("log") else "retries-named-later"


class Lossy:
    """Between an SDK and Penstock: of the first requests with events, one is stored and answered 500, one is not stored and
    answered 503, one is stored and never answered; the others pass."""
    def __init__(self, serve):
        self.serve, self.lock, self.requests = serve, threading.Lock(), 0
        self.done = collections.Counter()
        lossy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                events = self.command == "POST" and "/v1/" in self.path
                fault = lossy.fault() if events else "none"
                cors = [("access-control-allow-origin", self.headers["Origin"] or "*"), ("access-control-allow-credentials", "true")]
                if fault == "refused":
                    return self.answer(503, cors, b"")
                up = http.client.HTTPConnection("127.0.0.1", lossy.serve.port, timeout=30)
                up.request(self.command, self.path, body, dict(self.headers))
                got = up.getresponse()
                text = got.read()
                up.close()
                if fault != "none":
                    assert got.status == 200, text
                if fault == "lost":
                    self.close_connection = True
                    return None
                if fault == "broken":
                    return self.answer(500, cors, b"")
                return self.answer(got.status, got.getheaders(), text)
            do_GET = do_POST = do_OPTIONS = do_HEAD = forward

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # an SDK may leave while it is answered
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fault(self):
        with self.lock:
            self.requests += 1
            kind = {1: "broken", 2: "refused", 3: "lost"}.get(self.requests, "none")
            self.done[kind] += 1
            return kind

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def person_of(serve, distinct_id):
    return serve.sql("SELECT person_id FROM person_distinct_ids WHERE distinct_id = '%s'" % distinct_id)[0]["person_id"]


def check_persons(serve, anonymous, late=False):
    """Ada was anonymous, then known, and had an older id: one person, with what was said of her. late: a message that was
    sent again may name who she is by then."""
    ada = person_of(serve, "ada")
    ids = {row["distinct_id"] for row in serve.sql("SELECT distinct_id FROM person_distinct_ids WHERE person_id = '%s'" % ada)}
    assert ids == {"ada", anonymous, "older-ada"}, ids
    person = serve.sql("SELECT properties, is_identified FROM persons WHERE id = '%s'" % ada)[0]
    properties = json.loads(person["properties"])
    assert person["is_identified"] and properties["email"] == "ada@example.com" and properties["age"] == 36, person
    rows = serve.sql("SELECT event, distinct_id FROM events WHERE event IN ('seen before', 'bought')")
    assert {row["event"]: row["distinct_id"] for row in rows} in [
        {"seen before": before, "bought": "ada"} for before in ([anonymous, "ada"] if late else [anonymous])], rows


def check_groups(serve):
    groups = serve.sql("SELECT group_type, group_key, group_properties FROM groups")
    assert [(g["group_type"], g["group_key"]) for g in groups] == [("segment_group", "acme")], groups
    assert json.loads(groups[0]["group_properties"]) == {"name": "Acme", "seats": 12}
    row = json.loads(serve.sql("SELECT properties FROM events WHERE event = 'in group'")[0]["properties"])
    assert row["$groups"] == {"segment_group": "acme"} and row["$group_0"] == "acme", row


def check_server(serve):
    row = json.loads(serve.sql("SELECT properties FROM events WHERE event = 'bought'")[0]["properties"])
    assert (row["price"], row["$ip"], row["$locale"]) == (12.5, "8.8.8.8", "pl-PL"), row
    row = json.loads(serve.sql("SELECT properties FROM events WHERE event = 'bare'")[0]["properties"])
    assert "$ip" not in row and row["$lib"] and row["$lib_version"], row  # a server's address is nobody's
    row = json.loads(serve.sql("SELECT properties FROM events WHERE event = '$pageview'")[0]["properties"])
    assert row["$current_url"] == "https://shop.example/home?x=1" and row["$host"] == "shop.example", row
    assert (row["name"], row["title"]) == ("Home", "Home"), row
    row = serve.sql("SELECT CAST(timestamp AS VARCHAR) AS t FROM events WHERE event = 'long ago'")[0]
    assert row["t"].startswith("2021-03-04 05:06:0"), row  # the clocks of both sides differ by milliseconds


def check_browser(serve, sdk):
    row = json.loads(serve.sql("SELECT properties FROM events WHERE event = '$pageview'")[0]["properties"])
    assert (row["$browser"], row["$browser_version"], row["$device_type"]) == ("Chrome", 150, "Desktop"), row
    assert (row["utm_source"], row["utm_campaign"]) == ("letter", "spring"), row
    assert row["$pathname"] == "/one" and row["$current_url"].startswith("http://localhost:") and row["$referrer"] == "$direct", row
    assert (row["name"], row["category"]) == ("One", "Shop") and row["$ip"] == "127.0.0.1", row
    assert row["$lib"] == {"segment": "analytics.js", "rudder": "RudderLabs JavaScript SDK"}[sdk.split("-")[0]], row
    row = json.loads(serve.sql("SELECT properties FROM events WHERE event = 'seen before'")[0]["properties"])
    assert row["accents"] == "Zażółć" and row["large"] == 9007199254740992 and row["tree"] == {"a": [1, {"b": "c"}]}, row


def scenario_is_stored(sdk, scenario):
    with Serve() as serve:
        lossy = Lossy(serve) if scenario.startswith("retries") else None
        said = sdks.drive_segment(sdk, scenario, "http://127.0.0.1:%d" % (lossy or serve).port, serve.token())
        status = serve.settle()
        if lossy:
            lossy.close()
            assert (lossy.done["broken"], lossy.done["refused"], lossy.done["lost"]) == (1, 1, 1), lossy.done
        rows = serve.sql("SELECT event, count(*) AS n, count(DISTINCT uuid) AS ids FROM events GROUP BY event")
        stored = {row["event"]: row["n"] for row in rows}
        assert stored == said["by_name"], "%s %s: sent %s, stored %s" % (sdk, scenario, said["by_name"], stored)
        assert all(row["n"] == row["ids"] for row in rows)
        assert status["dead_lettered"] == 0 and not status["dropped"], status
        assert status["deduplicated"] > 0 if lossy else status["deduplicated"] == repeats(status), status
        if scenario != "batch":
            check_persons(serve, said.get("anonymous") or "anonymous-ada",
                          late=sdk == "segment-browser" and scenario == "retries")
            check_groups(serve)
            if sdk.endswith("browser"):
                check_browser(serve, sdk)
            else:
                check_server(serve)
        return said["events"]


def all_stored(sdk, scenarios, jobs=2):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        print(sdk, dict(zip(scenarios, pool.map(lambda scenario: scenario_is_stored(sdk, scenario), scenarios))))


def test_segment_node():
    all_stored("segment-node", ["basic", "single", "batch", "retries"])


def test_rudder_node():
    all_stored("rudder-node", ["basic", "plain", "batch", "retries"])


def test_segment_python():
    all_stored("segment-python", ["basic", "gzip", "batch", "retries"])


def test_rudder_python():
    all_stored("rudder-python", ["basic", "gzip", "batch", "retries"])


def test_segment_browser():
    all_stored("segment-browser", ["settings", "host", "batching", "leave", SEGMENT_RETRIES])


def test_segment_browser_by_tls():
    """A page that knows nothing but where its settings are asks by TLS, and sends by TLS."""
    with importlib.import_module("17_tls").Secure() as secure:
        said = sdks.drive_segment("segment-browser", "settings", secure.https, secure.serve.token())
        secure.serve.settle()
        rows = secure.serve.sql("SELECT event, count(*) AS n FROM events GROUP BY event")
        assert {row["event"]: row["n"] for row in rows} == said["by_name"], rows
        settings = json.loads(secure.serve.get("/v1/projects/%s/settings" % secure.serve.token()).text)
        assert settings["integrations"]["Segment.io"]["protocol"] == "http", settings


def test_rudder_browser():
    all_stored("rudder-browser", ["host", "batching", "leave", "retries"])
