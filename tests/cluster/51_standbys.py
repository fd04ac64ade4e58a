#!/usr/bin/env python3
# parts: postgres
"""`penstock doctor` warns of standbys that no commit waits for: one that takes over may lack what was committed."""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "parts"), os.path.join(ROOT, "tests", "flow")]
import postgres  # noqa: E402
from harness import command, wait_for  # noqa: E402

URL = os.environ["PENSTOCK_TEST_POSTGRES"]


def warnings(config, folder):
    lines = json.loads(command("doctor", "--json", "--config", config, "--data", folder, check=False).stdout)
    assert any(line["part"] == "people" and line["verdict"] == "ok" for line in lines), lines
    return [line["text"] for line in lines if line["part"] == "people" and "standbys" in line["text"]]


def main():
    with tempfile.TemporaryDirectory(prefix="penstock-standbys-") as folder:
        config = os.path.join(folder, "penstock.yaml")
        with open(config, "w") as file:
            file.write("people: {backend: postgres, url: \"%s\"}\n" % URL)
        before = warnings(config, folder)
        assert before == [], before
        follower = subprocess.Popen([os.path.join(postgres.programs(), "pg_receivewal"), "-D", folder, "-d", URL, "--no-loop"],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: follower.poll() is not None or warnings(config, folder))
            text, = warnings(config, folder)
            assert "synchronous_standby_names" in text, text
        finally:
            follower.terminate()
            follower.wait()
        wait_for(lambda: not warnings(config, folder))
    print("ok: a standby that no commit waits for is told of")


main()
