"""The equation of fates line by line: by project, by hour, by fate, at every moment."""
import collections
import json
import os
import re
import threading

import deploy
from harness import Serve, free_port, uuid7, wait_for


def second_project(serve):
    serve.cli("project", "create", "other")
    serve.cli("token", "create", "--token", "phc_other", "--project", "other")
    return "phc_other"


def fates_of(text):
    """{(project, fate): count}: of several partitions the sum."""
    found = collections.Counter()
    for project, fate, count in re.findall(
            r'^penstock_fates_total\{role="ingest",project="(\d+)",fate="(\w+)"(?:,unit="\d+")?\} (\d+)$', text, re.M):
        found[int(project), fate] += int(count)
    return found


def test_lines_by_project_hour_and_fate():
    with Serve() as serve:
        token, other = serve.token(), second_project(serve)
        twice = {"uuid": uuid7(), "event": "twice", "distinct_id": "u"}
        serve.post("/batch/", {"api_key": token, "batch": [
            {"event": "one", "distinct_id": "u"}, twice, {"event": "no user"},
            {"event": "$groupidentify", "distinct_id": "u", "properties": {"$group_type": "company", "$group_key": "k" * 401}}]})
        serve.post("/e/", dict(twice, api_key=token))
        serve.post("/e/", dict(twice, api_key=other))   # the same id in another project is another event
        serve.settle()

        first, second = serve.lines("project")["lines"]
        assert (first["project"], second["project"], second["name"]) == (1, 2, "other"), (first, second)
        # What brokers took late and the spool sent again came twice: the second time it is a repeat, and what is dropped is dropped again.
        again, again_second = (0, 0) if deploy.embedded("log") else (first["accepted"] - 5, second["accepted"] - 1)
        dropped = first["dropped"].get("group_key_too_long", 0)
        repeats = 1 + again - (dropped - 1)
        assert 1 <= dropped <= 1 + again and again >= 0 and again_second >= 0, first
        assert (first["accepted"], first["stored"], first["deduplicated"], first["dead_lettered"]) == (5 + again, 2, repeats, 1), first
        assert first["dropped"] == {"group_key_too_long": dropped} and first["rows"] == 2, first
        assert (second["accepted"], second["stored"], second["deduplicated"], second["dropped"]) == (1 + again_second, 1, again_second, {}), second
        hours = serve.lines("hour")["lines"]
        assert sum(line["accepted"] for line in hours) == 6 + again + again_second and all(line["hour"].endswith(":00:00Z") for line in hours), hours
        assert all("project" not in line for line in hours), hours

        text = serve.cli("status", "--by", "project").stdout
        assert "other" in text and "difference" in text and "does not add up" not in text, text
        text = serve.cli("status", "--by", "project,fate").stdout
        for fate in ("stored", "deduplicated", "dead_lettered", "group_key_too_long"):
            assert fate in text, text
        wrong = serve.cli("status", "--by", "day", check=False)
        assert wrong.returncode == 2 and "--by takes project, hour, fate" in wrong.stderr, wrong.stderr

        samples = {(1, "stored"): 2, (1, "deduplicated"): repeats, (1, "dead_lettered"): 1, (1, "group_key_too_long"): dropped, (2, "stored"): 1,
                   **({(2, "deduplicated"): again_second} if again_second else {})}
        text = serve.get("/metrics").text
        assert fates_of(text) == samples, text
        assert text.count("# TYPE penstock_fates_total") == 1 and text.count('penstock_role_up{role="ingest') == 1, text

        serve.stop()
        assert serve.cli("status", "--by", "project", "--check").returncode == 0, "while nothing runs"
        serve.start()
        serve.post("/e/", {"api_key": other, "event": "after", "distinct_id": "u"})
        serve.settle()
        text = serve.get("/metrics").text
        found = fates_of(text)
        late = 0 if deploy.embedded("log") else found[2, "deduplicated"] - again_second
        expected = {**samples, (2, "stored"): 2, **({(2, "deduplicated"): again_second + late} if again_second + late else {})}
        assert late >= 0 and found == expected, "a restart sets nothing back: " + text
        assert text.count("# TYPE penstock_fates_total") == 1, text


def test_lines_add_up_at_every_moment():
    with Serve() as serve:
        tokens = [serve.token(), second_project(serve)]
        over, waits = threading.Event(), [0]

        def send():
            n = 0
            while not over.is_set():
                while waits[0] > 20000 and not over.is_set():  # what a slow machine could not finish for minutes
                    over.wait(0.02)
                serve.post("/batch/", {"api_key": tokens[n % 2], "batch": [
                    {"event": "e", "distinct_id": "u%d" % (i % 7)} for i in range(100)] + [{"event": "nobody"}]})
                n += 1

        crowd = [threading.Thread(target=send) for _ in range(2)]
        for thread in crowd:
            thread.start()
        seen_pending = 0
        try:
            for _ in range(25):
                told = serve.lines()["lines"]
                waits[0] = sum(line["pending"] for line in told)
                for line in told:
                    assert line["difference"] == 0 and line["rows"] == line["stored"], line
                    sum_of = line["stored"] + line["deduplicated"] + line["dead_lettered"] + sum(line["dropped"].values())
                    assert line["accepted"] == sum_of + line["pending"], line
                    seen_pending += line["pending"] > 0
        finally:
            over.set()
            for thread in crowd:
                thread.join()
        serve.settle()
        assert seen_pending > 0, "no line ever had an event on its way: the test proves nothing"


def test_what_waits_is_in_its_line():
    with Serve(extra=["--role", "capture"]) as serve:
        token = serve.token("phc_waits")
        serve.post_when_known(token, "/batch/", {"api_key": token, "batch": [{"event": "e", "distinct_id": "u"}] * 3})
        line, = json.loads(serve.cli("status", "--by", "project", "--json").stdout)["lines"]
        assert (line["project"], line["accepted"], line["pending"], line["stored"]) == (1, 3, 3, 0), line
        serve.stop()
        serve.extra = []
        serve.start()
        assert serve.settle()["stored"] == 3


# embedded: log: it is taken for one on brokers that are away
def test_what_cannot_be_looked_at_is_not_known():
    with Serve(extra=["--role", "capture,ingest"]) as serve:
        token = serve.token("phc_unknown")
        serve.post_when_known(token, "/batch/", {"api_key": token, "batch": [{"event": "e", "distinct_id": "u"}] * 3})
        wait_for(lambda: serve.status()["roles"][1]["lag"] == 0)  # finished, and nobody loads them
        line, = json.loads(serve.cli("status", "--by", "project", "--check", "--json").stdout)["lines"]
        assert (line["accepted"], line["pending"], line["rows"]) == (3, 3, 0), line
        serve.stop()
        os.unlink(os.path.join(serve.data, "run", "stores.yaml"))
        with open(os.path.join(serve.data, "penstock.yaml"), "w") as config:
            config.write("log.backend: kafka\nlog.brokers: 127.0.0.1:%d\nlog.partitions: 1\n" % free_port())
        told = serve.cli("status", "--by", "project", "--check", check=False)
        assert told.returncode == 3 and "does not add up" not in told.stdout and "kafka" in told.stderr, told
        os.unlink(os.path.join(serve.data, "penstock.yaml"))
