#!/usr/bin/env python3
# parts: kafka postgres clickhouse alone
"""A broker stands still while a batch is sent to it: the batch goes over the spool, and arrives all the same when the broker goes
on. The good event of it is stored once, and each bad one is one dead letter."""
import os
import sys
import time

os.environ["PENSTOCK_DEPLOY"] = "cluster"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for folder in ("flow", "parts"):
    sys.path.insert(0, os.path.join(ROOT, "tests", folder))
from kafka import say as control  # noqa: E402
from harness import Serve, uuid7  # noqa: E402

BAD, ROUNDS_MAX, REPEATS, WAIT_S = 3, 10, 2 * 4, 60


def send(serve):
    bad = [{"event": "", "distinct_id": "d%d" % n} for n in range(BAD)]
    serve.post("/batch/", {"api_key": serve.token(), "batch": [{"event": "good", "distinct_id": "u", "uuid": uuid7()}] + bad})


def wait(serve, rounds):
    """Until all of them are there; the counts."""
    until = time.monotonic() + WAIT_S
    while True:
        status = serve.settle()
        if (status["stored"] >= rounds and status["dead_lettered"] >= BAD * rounds) or time.monotonic() > until:
            return status
        time.sleep(0.2)


def main():
    with Serve() as serve:
        send(serve)  # connections to the brokers are there before they stand still
        status = wait(serve, 1)
        rounds = 1
        while status["deduplicated"] < REPEATS and rounds < ROUNDS_MAX:
            control("pause")
            try:
                send(serve)
                time.sleep(0.5)
            finally:
                control("resume")
            rounds += 1
            wait(serve, rounds)
            time.sleep(2)  # for what comes late
            status = wait(serve, rounds)
            assert (status["stored"], status["dead_lettered"]) == (rounds, BAD * rounds), (rounds, status)
        assert status["deduplicated"] > 0, "nothing came twice in %d rounds: this proved nothing" % rounds
        assert status["dead_letters"]["open"] == BAD * rounds, status
        print("%d rounds, %d repeats" % (rounds, status["deduplicated"]))


if __name__ == "__main__":
    main()
