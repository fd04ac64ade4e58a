"""A week in half a minute, with what is done once a day or after one (tests/soak/days.py); and a clock that jumps."""
# embedded: log people warehouse catalog: the clock that is set forward is that of Penstock's own processes
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import days  # noqa: E402
import harness  # noqa: E402


def test_a_week():
    town = days.run(8, seed=1)
    assert town.erasures > 0 and town.again > 20


def test_capture_knows_the_start_of_the_machine():
    """Which it must have read before it locked itself in; ingest, which is not locked in, has read the same."""
    def told(serve, topic):
        with open(os.path.join(serve.data, "log", topic, "0", "head"), "rb") as head:
            return head.read()[216:224]

    with harness.Serve() as serve:
        harness.wait_for(lambda: told(serve, "raw").strip(b"\0") and told(serve, "raw") == told(serve, "events"))


def raw_start(serve):
    return next(topic for topic in json.loads(serve.cli("log", "info", "--json", env=serve.env).stdout) if topic["topic"] == "raw")["start"]


def test_a_clock_that_is_set_forward_deletes_nothing():
    """Retention, the ids of events and an undo window go by time that passed, until somebody says that the clock is right."""
    clock = days.Clock()
    try:
        with harness.Serve(config=days.CONFIG, env=clock.environment()) as serve:
            token = serve.token()
            first = {"uuid": clock.uuid7(), "event": "first", "distinct_id": "a"}
            serve.post_when_known(token, "/batch/", {"api_key": token, "batch": [first]})
            for n in range(6):  # each about a segment of its own
                serve.post("/batch/", {"api_key": token, "batch": [
                    {"uuid": clock.uuid7(), "event": "wide", "distinct_id": "a", "properties": {"text": ("%d %d " % (n, k)) * 4000}} for k in range(40)]})
            serve.settle()
            serve.cli("person", "delete", "a", env=serve.env)
            clock.advance(3600)  # time passes, and the machine knows it
            clock.jump(40 * 86400)
            held = harness.wait_for(lambda: serve.status()["retention"]["held_segments"])
            assert raw_start(serve) == 0
            assert serve.status()["retention"]["clock_jumped_seconds"] in range(39 * 86400, 41 * 86400)
            assert "held     %d segments" % held in serve.cli("status", env=serve.env).stdout
            doctor = json.loads(serve.cli("doctor", "--json", env=serve.env, check=False).stdout)
            assert [line["verdict"] for line in doctor if line["part"] == "retention"] == ["warn"], doctor
            assert "penstock retention confirm" in serve.log()
            harness.wait_for(lambda: re.search(r"^\S*ingest_retention_held_bytes\{[^}]*\} [1-9]", serve.get("/metrics").text, re.M))
            serve.post("/batch/", {"api_key": token, "batch": [first]})
            assert serve.settle()["deduplicated"] == 1, "the id was forgotten"
            assert int(serve.sql("SELECT count(*) AS n FROM person_distinct_ids WHERE distinct_id = 'a' AND NOT is_deleted")[0]["n"]) == 1
            serve.kill("all")  # and a start changes nothing
            serve.start()
            serve.post("/batch/", {"api_key": token, "batch": [dict(first, uuid=clock.uuid7())]})
            serve.settle()
            assert raw_start(serve) == 0 and serve.status()["retention"]["held_segments"] == held
            assert "held go" in serve.cli("retention", "confirm", env=serve.env).stdout
            harness.wait_for(lambda: serve.status()["retention"]["held_segments"] == 0)
            harness.wait_for(lambda: raw_start(serve) > 200)
            harness.wait_for(lambda: "nothing to confirm" in serve.cli("retention", "confirm", env=serve.env).stdout)
            serve.cli("log", "verify", env=serve.env)
    finally:
        clock.close()
