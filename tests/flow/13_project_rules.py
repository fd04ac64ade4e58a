"""What a project's people decide: settings, restrictions, filters; and heatmaps, which are rows of their own."""
import json
import re

from harness import Serve, command, uuid7, repeats

VIEWPORT = {"$viewport_height": 1000, "$viewport_width": 800}
POINT = {"x": 100, "y": 200, "target_fixed": True, "type": "click"}


def send(serve, token, event, who, properties=None, **more):
    uuid = uuid7()
    serve.post("/e/", dict({"api_key": token, "event": event, "distinct_id": who, "uuid": uuid, "properties": properties or {}}, **more))
    return uuid


def test_heatmaps_are_rows_of_their_own():
    with Serve() as serve:
        token = serve.token()
        seen = send(serve, token, "$$heatmap", "ada", {**VIEWPORT, "$set": {"no": 1}, "$session_id": "0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55",
                                                       "$heatmap_data": {"http://a.b/c": [POINT, dict(POINT, x=-9), {"x": "bad"}]}})
        event = send(serve, token, "$pageview", "ada", {**VIEWPORT, "$current_url": "http://a.b/d?q#h", "$prev_pageview_pathname": "/c",
                                                        "$prev_pageview_max_scroll": 1607.9, "$heatmap_data": {"http://a.b/d": [POINT]}})
        blind = send(serve, token, "$pageview", "ada", {"$heatmap_data": {"http://a.b/d": [POINT]}})
        lost = send(serve, token, "$$heatmap", "ada", {"$heatmap_data": {"http://a.b/d": [POINT]}})
        empty = send(serve, token, "$$heatmap", "bob", VIEWPORT)
        serve.settle()  # what waits is treated by the settings of the moment when its turn comes
        command("project", "set", "heatmaps_off=true", "--data", serve.data)
        off = send(serve, token, "$$heatmap", "ada", {**VIEWPORT, "$heatmap_data": {"u": [POINT]}})
        serve.settle()
        rows = serve.sql("SELECT type, x, y, pointer_target_fixed AS f, viewport_height AS h, viewport_width AS w, current_url AS u, "
                         "session_id AS s, scale_factor AS k, distinct_id AS d, event_uuid AS e FROM heatmaps ORDER BY u, x, e NULLS LAST")
        assert all((r["h"], r["w"], r["k"], r["d"]) == (63, 50, 16, "ada") for r in rows), rows
        assert [(r["type"], r["x"], r["y"], r["f"], r["u"], r["s"], r["e"]) for r in rows] == [
            ("click", -1, 13, True, "http://a.b/c", "0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55", seen),
            ("click", 6, 13, True, "http://a.b/c", "0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55", None),
            ("scrolldepth", 0, 100, False, "http://a.b/c?q#h", "undefined", None),
            ("click", 6, 13, True, "http://a.b/d", "undefined", None)], rows
        stored = serve.sql("SELECT uuid, properties FROM events")
        assert {r["uuid"] for r in stored} == {event, blind} and "$heatmap_data" not in str(stored)  # a bad part harms only itself
        assert serve.sql("SELECT count(*) AS n FROM persons WHERE properties LIKE '%no%'") == [{"n": 0}]  # and nobody's $set
        status = serve.settle()
        assert (status["accepted"], status["stored"], status["pending"]) == (6, 3, 0), status
        assert status["dropped"] == {"heatmap_invalid_viewport_dimensions": 1, "heatmap_empty": 1, "heatmaps_off": 1}, status
        command("status", "--by", "project,hour", "--check", "--data", serve.data)
        for uuid, fate in ((seen, "stored"), (event, "stored"), (blind, "stored"), (lost, "dropped"), (empty, "dropped"), (off, "dropped")):
            assert json.loads(command("trace", uuid, "--json", "--data", serve.data).stdout)["fate"].startswith(fate)
        command("project", "set", "heatmaps_off=false", "--data", serve.data)
        for _ in range(2):  # the same once more is a duplicate, as everywhere
            serve.post("/e/", {"api_key": token, "event": "$$heatmap", "distinct_id": "ada", "uuid": seen,
                               "properties": {**VIEWPORT, "$heatmap_data": {"u": [POINT]}}})
        status = serve.settle()
        assert status["deduplicated"] == 2 and len(serve.sql("SELECT 1 AS n FROM heatmaps")) == 4, status


def test_settings_and_restrictions_reach_a_running_server():
    with Serve() as serve:
        token, at = serve.token(), ["--data", serve.data]
        first = send(serve, token, "view", "ada", {"$ip": "9.9.9.9"})
        serve.settle()
        command("project", "set", "anonymize_ips=true", *at)
        second = send(serve, token, "view", "ada", {"$ip": "9.9.9.9"})

        rules = [("drop", "--distinct-id", "flood"), ("dead_letter", "--event", "broken"), ("skip_persons", "--distinct-id", "bot"),
                 ("filter", "--property", "$host=localhost"), ("filter", "--event", "noise")]
        ids = [command("restrict", "add", *rule, *at).stdout.strip() for rule in rules]
        gone = send(serve, token, "view", "flood")
        letter = send(serve, token, "broken", "ada")
        bot = send(serve, token, "view", "bot", {"$set": {"a": 1}})
        local = send(serve, token, "view", "ada", {"$host": "localhost"})
        noise = send(serve, token, "noise", "ada")
        serve.settle()
        for one in ids:
            command("restrict", "remove", one, *at)
        after = [send(serve, token, "view", "flood"), send(serve, token, "noise", "ada", {"$host": "localhost"})]
        status = serve.settle()
        rows = {r["uuid"]: r for r in serve.sql("SELECT uuid, properties, person_mode FROM events")}
        assert set(rows) == {first, second, bot, *after}, rows
        assert "$ip" in rows[first]["properties"] and "$ip" not in rows[second]["properties"]
        assert rows[bot]["person_mode"] == "propertyless"
        assert serve.sql("SELECT count(*) AS n FROM person_distinct_ids WHERE distinct_id = 'bot'") == [{"n": 0}]
        assert status["dropped"] == {"event_filtered": 2}, status
        assert status["accepted"] - repeats(status) == 8, status  # what a restriction drops at capture was never accepted
        assert [r["reason"] for r in serve.sql("SELECT reason FROM dead_letters WHERE uuid = '%s'" % letter)] == ["restricted_to_dlq"]
        for uuid in (local, noise):
            assert json.loads(command("trace", uuid, "--json", *at).stdout)["fate"].startswith("dropped")
        kept_out = re.search(r'^capture_events_dropped_total{role="capture",cause="event_restriction_drop"} (\d+)$',
                             serve.request("GET", "/metrics").text, re.M)
        assert kept_out is not None and kept_out.group(1) == "1" and gone not in rows
        # What was set aside is still there.
        assert json.loads(command("dlq", "replay", letter, "--json", *at).stdout)
        serve.settle()
        assert serve.sql("SELECT count(*) AS n FROM events WHERE event = 'broken'") == [{"n": 1}]


def test_a_secret_token_verifies():
    with Serve() as serve:
        token, at = serve.token(), ["--data", serve.data]
        secret = command("token", "create", "--secret", *at).stdout.strip()
        public = send(serve, token, "view", "ada", {"$verified": True})
        server = send(serve, secret, "view", "ada", {"$verified": "yes"})
        serve.settle()
        rows = {r["uuid"]: json.loads(r["properties"]) for r in serve.sql("SELECT uuid, properties FROM events")}
        assert "$verified" not in rows[public] and rows[server]["$verified"] is True, rows


def test_a_name_of_several_projects_names_none():
    """Who deletes a person in the wrong one of them cannot take it back."""
    with Serve() as serve:
        ids = [command("project", "create", "twins", "--data", serve.data).stdout.strip() for _ in range(2)]
        for argv in (["person", "delete", "ada", "--project", "twins"], ["project", "set", "--project", "twins", "retention_days=1"],
                     ["token", "create", "--project", "twins"], ["project", "show", "twins"], ["quota", "list", "--project", "twins"]):
            done = command(*argv, "--data", serve.data, check=False)
            assert done.returncode == 2 and "such as %s and %s; say the id" % tuple(ids) in done.stderr, (argv, done)
        assert command("project", "show", ids[1], "--data", serve.data).stdout.startswith("id                     %s\n" % ids[1])
        for name in ("a\x1b[2Jb", "a\nb", "a\x7f", "a\u009bb"):
            done = command("project", "create", name, "--data", serve.data, check=False)
            assert done.returncode == 2 and "without control characters" in done.stderr, (name, done)
        assert command("project", "create", "M\u00fcnchen \u2603", "--data", serve.data).returncode == 0
