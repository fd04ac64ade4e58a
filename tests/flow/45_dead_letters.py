"""A dead letter is read, repaired, replayed, put away; twice replayed is once stored."""
import json
import os

import deploy
from harness import Serve, uuid7


def letters(serve, *flags):
    """In the order in which they were sent: on a cluster partitions fail each at its own time."""
    found = [json.loads(line) for line in serve.cli("dlq", "list", "--json", *flags).stdout.splitlines()]
    return sorted(found, key=lambda letter: (letter["received_at"], letter["index"]))


def send_bad(serve, bad):
    serve.post("/batch/", {"api_key": serve.token(),
                           "batch": [{"event": "good", "distinct_id": "u", "uuid": uuid7()}] + bad})
    return serve.settle()


def repair(serve, letter, event):
    path = os.path.join(serve.folder, "repaired.json")
    with open(path, "w") as out:
        out.write(event if isinstance(event, str) else json.dumps(event))
    return serve.cli("dlq", "edit", letter, "--set", path, check=False)


def test_repaired_and_replayed():
    own = uuid7()
    bad = [{"event": "", "distinct_id": "ada", "uuid": own, "properties": {"n": 9007199254740993}},
           {"event": "no user"}, {"event": "", "distinct_id": "gone"}]
    with Serve() as serve:
        status = send_bad(serve, bad)
        assert status["dead_letters"] == {"open": 3, "replayed": 0, "discarded": 0}, status
        first, second, third = letters(serve)
        assert first["uuid"] == own and first["reason"] == "no_event_name" and first["index"] == 1, first
        assert len(letters(serve, "--reason", "no_distinct_id")) == 1 and len(letters(serve, "--limit", "2")) == 2
        assert len(letters(serve, "--since", "1h")) == 3 and not letters(serve, "--since", "2099-01-01T00:00:00Z")

        shown = json.loads(serve.cli("dlq", "show", own, "--json").stdout)
        assert json.loads(shown["data"]) == bad[0] and shown["letter"] == first["letter"]
        text = serve.cli("dlq", "show", str(first["raw_offset"]) if deploy.embedded("log") else first["letter"]).stdout
        assert own in text and "9007199254740993" in text and "no_event_name" in text

        # As it is it is refused again: nothing new is made, it stays open.
        again = serve.cli("dlq", "replay", first["letter"], check=False)
        assert again.returncode == 1 and "stays open" in again.stderr, again.stderr
        assert serve.settle()["accepted"] == 4

        wrong = repair(serve, first["letter"], "{no json")
        assert wrong.returncode == 2 and "not stored" in wrong.stderr, wrong.stderr
        fixed = '{"event":"mended","distinct_id":"ada","properties":{"n":9007199254740993,"d":1.50E+03}}'
        assert repair(serve, first["letter"], fixed).returncode == 0
        for n in (1, 2):
            done = json.loads(serve.cli("dlq", "replay", first["letter"], "--json").stdout)
            assert done == {"replayed": 1, "refused": 0}
            status = serve.settle()
            assert (status["accepted"], status["stored"], status["deduplicated"]) == (4 + n, 2, n - 1), status
        row, = serve.sql("SELECT uuid, event, properties, epoch_us(timestamp) = epoch_us((SELECT received_at FROM "
                         "dead_letters WHERE event IS NULL AND distinct_id = 'ada')) AS same FROM events WHERE event = 'mended'")
        assert row["uuid"] == own and '"n":9007199254740993' in row["properties"] and "1.50E+03" in row["properties"]
        assert row["same"] in (True, "true"), "an event without a time keeps that of its arrival"
        shown = json.loads(serve.cli("dlq", "show", own, "--json").stdout)
        assert shown["state"] == "replayed" and shown["replays"] == 2 and shown["repaired"] == fixed
        assert json.loads(shown["data"]) == bad[0], "the original stays as it was"

        serve.cli("dlq", "discard", str(third["raw_offset"]) if deploy.embedded("log") else third["letter"])
        assert serve.cli("dlq", "discard", own, check=False).returncode == 1, "what was replayed is not discarded"
        assert serve.settle()["dead_letters"] == {"open": 1, "replayed": 1, "discarded": 1}
        assert [letter["letter"] for letter in letters(serve)] == [second["letter"]]

        lines = [json.loads(line) for line in serve.cli("dlq", "download").stdout.splitlines()]
        lines.sort(key=lambda line: line["index"])
        assert [json.loads(line["data"]) for line in lines] == bad and {line["encoding"] for line in lines} == {"text"}


def test_editor():
    with Serve() as serve:
        send_bad(serve, [{"event": "", "distinct_id": "ada"}])
        letter, = letters(serve)
        env = dict(os.environ, EDITOR="sed -i 's/\"event\": *\"\"/\"event\":\"edited\"/'", VISUAL="")
        serve.cli("dlq", "edit", letter["letter"], env=env)
        serve.cli("dlq", "replay", letter["letter"])
        assert serve.settle()["stored"] == 2
        assert serve.sql("SELECT uuid FROM events WHERE event = 'edited'")[0]["uuid"] == letter["uuid"]


def test_poison_is_replayed_when_the_cause_is_gone():
    own = uuid7()
    event = {"event": "poison", "distinct_id": "u", "uuid": own, "timestamp": "2026-02-03T04:05:06.789Z"}
    with Serve(env={"PENSTOCK_CRASH_ON": "poison"}) as serve:
        status = send_bad(serve, [event])
        assert status["dead_lettered"] == 1, status
        first, = letters(serve)
        assert first["reason"] == "crashed", first
        none = serve.cli("dlq", "replay", "--reason", "crashed", "--all", check=False, stdin=-3)
        assert none.returncode == 1 and "--yes" in none.stderr, none.stderr
        # Still there: it fails again, and is a new letter that knows the old one.
        serve.cli("dlq", "replay", "--reason", "crashed", "--all", "--yes")
        status = serve.settle(400)  # three deaths, on a cluster with a turn of the consumer group each
        assert status["dead_lettered"] == 2 and status["dead_letters"]["open"] == 1, status
        second, = letters(serve)
        assert second["uuid"] == own and second["replay_of"] == first["letter"], second
        serve.stop()
        serve.env.pop("PENSTOCK_CRASH_ON")
        serve.start()
        serve.cli("dlq", "replay", "--all", "--yes", "--rate", "1000")
        status = serve.settle()
        assert status["stored"] == 2 and status["dead_letters"]["open"] == 0, status
        row, = serve.sql("SELECT uuid, timestamp FROM events WHERE event = 'poison'")
        assert row["uuid"] == own and row["timestamp"].replace("T", " ").startswith("2026-02-03 04:05:06.789"), row


def test_a_merge_that_was_too_large_is_replayed():
    """Its id was noted before the persons were looked at; still the letter's event is taken, once the limit is higher."""
    def event(name, distinct_id, **properties):
        return {"event": name, "distinct_id": distinct_id, "uuid": uuid7(), "properties": properties}

    merge = event("$merge_dangerously", "n", alias="a")
    with Serve(config="ingest:\n  merge_ids_max: 2\n") as serve:
        serve.post("/batch/", {"api_key": serve.token(), "batch": [
            event("view", "a"), event("$create_alias", "a", alias="b"), event("$create_alias", "a", alias="c"), event("view", "n")]})
        serve.settle()  # events of other ids have no order among themselves on a cluster
        serve.post("/batch/", {"api_key": serve.token(), "batch": [merge]})
        status = serve.settle()
        letter, = letters(serve)
        assert status["stored"] == 4 and letter["reason"] == "Merge limit exceeded" and letter["uuid"] == merge["uuid"], status
        serve.stop()
        os.unlink(os.path.join(serve.data, "penstock.yaml"))
        serve.start()
        for n in (1, 2):
            serve.cli("dlq", "replay", letter["letter"])
            status = serve.settle()
            assert (status["stored"], status["deduplicated"], status["dead_lettered"]) == (5, n - 1, 1), status
        assert len(serve.sql("SELECT 1 FROM events WHERE uuid = '%s'" % merge["uuid"])) == 1
        assert len(serve.sql("SELECT DISTINCT person_id FROM person_distinct_ids WHERE distinct_id IN ('n', 'a', 'b', 'c')")) == 1


def test_letters_of_different_partitions_are_different_letters():
    """On Kafka each partition counts for itself, so two letters may have one offset."""
    with Serve() as serve:
        for n in range(6):
            serve.post("/batch/", {"api_key": serve.token(), "batch": [
                {"event": "good", "distinct_id": "u%d" % n}, {"event": "", "distinct_id": "u%d" % n, "uuid": uuid7()}]})
        serve.settle()
        told = letters(serve)
        assert len({letter["letter"] for letter in told}) == len({letter["uuid"] for letter in told}) == 6, told
        for letter in told:
            shown = json.loads(serve.cli("dlq", "show", letter["letter"], "--json").stdout)
            assert shown["uuid"] == letter["uuid"], (letter, shown)
        serve.cli("dlq", "discard", told[0]["letter"])
        assert serve.status()["dead_letters"] == {"open": 5, "replayed": 0, "discarded": 1}
        assert {letter["letter"] for letter in letters(serve)} == {letter["letter"] for letter in told[1:]}
