"""One event ends the process that works on it: it is set aside alone, with its bytes, and its neighbours hardly wait."""
import base64
import json
import os
import threading
import time

import deploy
from harness import Serve, contention, uuid7
from partition import partition_of

# On a cluster each death costs a turn of the consumer group, too.
NEIGHBOURS_WAIT_S_MAX = 5 if deploy.embedded() else 60


def dead_lettered(serve):
    """0 also while the loader, which is asked, is away for longer than a question waits."""
    try:
        return serve.status()["dead_lettered"]
    except AssertionError:
        return 0


def poisoned(env, step, unit=0):
    """Events before, beside and after a poisonous one, in that unit of a cluster; gives (its letter, what a replay of it says)."""
    own = uuid7()
    with Serve(env=env, config="ingest:\n  threads: %d\n" % (4 if step == "ingest" else 1)) as serve:
        token = serve.token()
        over = threading.Event()
        sent = []

        def neighbours():
            while not over.is_set():
                ids = [uuid7() for _ in range(20)]
                serve.post("/batch/", {"api_key": token, "batch": [
                    {"event": "neighbour", "distinct_id": "u%d" % (i % 5), "uuid": u} for i, u in enumerate(ids)]})
                sent.extend(ids)
                time.sleep(0.02)

        crowd = threading.Thread(target=neighbours)
        crowd.start()
        time.sleep(0.5)
        who = next("p%d" % n for n in range(1000) if deploy.embedded("log") or partition_of(token, "p%d" % n, 2) == unit)
        beside = [{"event": "neighbour", "distinct_id": who, "uuid": uuid7()} for _ in range(4)]
        serve.post("/batch/", {"api_key": token, "batch": beside[:2] + [
            {"event": "poison", "distinct_id": who, "uuid": own, "properties": {"n": 9007199254740993}}] + beside[2:]})
        end = time.time() + 180
        busy = 1
        try:
            while dead_lettered(serve) == 0:
                busy = max(busy, contention())
                assert time.time() < end, serve.log()[-3000:]
                time.sleep(0.1)
            time.sleep(1)
        finally:
            over.set()
            crowd.join()
        status = serve.settle()
        sent += [event["uuid"] for event in beside]
        assert (status["dead_lettered"], status["stored"]) == (1, len(sent)), (status, len(sent))
        letter, = [json.loads(line) for line in serve.cli("dlq", "download").stdout.splitlines()]
        assert (letter["uuid"], letter["step"], letter["reason"]) == (own, step, "crashed"), letter
        wait, = serve.sql("SELECT max(epoch_us(inserted_at) - epoch_us(captured_at)) / 1e6 AS s FROM events WHERE event = 'neighbour'")
        told = json.loads(serve.cli("trace", own, "--json").stdout)
        assert told["fate"] == "dead-lettered" and told["letter"]["reason"] == "crashed", told
        restarts = {role["role"]: role["restarts"] for role in serve.status()["roles"]}
        print("%s: neighbours waited %.2f s at most, %s" % (step, float(wait["s"]), restarts))
        assert float(wait["s"]) <= NEIGHBOURS_WAIT_S_MAX * busy, "a neighbour waited %s s" % wait["s"]
        replay = serve.cli("dlq", "replay", own, check=False)
        if step == "load":
            # The editor begins with what the client sent; with a new uuid and another name it is taken.
            new = uuid7()
            env = dict(os.environ, VISUAL="", EDITOR="sed -i 's/%s/%s/; s/\"poison\"/\"mended\"/'" % (own, new))
            done = serve.cli("dlq", "edit", own, env=env)
            assert "new uuid" in done.stderr, done.stderr
            serve.cli("dlq", "replay", own)
            serve.settle()
            row, = serve.sql("SELECT uuid, properties->>'$.n' AS n FROM events WHERE event = 'mended'")
            assert (row["uuid"], row["n"]) == (new, "9007199254740993"), row
        return letter, replay


def test_in_ingest():
    letter, replay = poisoned({"PENSTOCK_CRASH_ON": "poison"}, "ingest")
    assert json.loads(letter["data"])["properties"]["n"] == 9007199254740993, "byte for byte"
    assert replay.returncode == 0, replay.stderr


def test_in_load():
    for unit, when in enumerate(("poison", "commit:poison")):
        letter, replay = poisoned({"PENSTOCK_CRASH_LOAD_ON": when}, "load", unit)
        assert letter["encoding"] == "base64" and b"9007199254740993" in base64.b64decode(letter["data"]), letter
        # What failed is a finished row: it says what to do instead.
        assert replay.returncode == 1 and "penstock dlq edit" in replay.stderr and "new uuid" in replay.stderr, replay.stderr


def test_an_erased_letter_stays_counted():
    """A letter of the loader goes with its person; the event that it was of is still one that was dead-lettered."""
    with Serve(env={"PENSTOCK_CRASH_LOAD_ON": "poison"}) as serve:
        serve.post("/batch/", {"api_key": serve.token(), "batch": [{"event": name, "distinct_id": "p"} for name in ("a", "poison", "b")]})
        end = time.time() + 180
        while dead_lettered(serve) == 0:
            assert time.time() < end, serve.log()[-3000:]
            time.sleep(0.1)
        serve.settle()
        serve.cli("person", "delete", "--with-events", "--now", "p")
        while serve.sql("SELECT count(*) AS n FROM dead_letters")[0]["n"] != 0:
            assert time.time() < end, serve.log()[-3000:]
            time.sleep(0.1)
        status = serve.settle()
        assert (status["stored"], status["dead_lettered"]) == (2, 1), status
