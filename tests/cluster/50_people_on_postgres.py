#!/usr/bin/env python3
# parts: postgres alone
"""Persons in a PostgreSQL that is killed, stopped and made to stand still, while histories of people are sent and Penstock's
roles are killed too: at the end persons, ids, groups and rows are what the reference says of the accepted events, and each
event has one fate."""
import os
import random
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for folder in ("flow", "parts", "reference"):
    sys.path.insert(0, os.path.join(ROOT, "tests", folder))
import cases  # noqa: E402
import histories  # noqa: E402
import postgres  # noqa: E402

KILLS = 6  # of Penstock's roles, while events are sent


class Trouble(threading.Thread):
    """What happens to a server: killed, stopped, or still for some seconds; and it comes back each time."""

    def __init__(self, part, seed):
        super().__init__(daemon=True)
        self.part, self.random, self.over, self.done = part, random.Random(seed), threading.Event(), 0

    def run(self):
        while not self.over.wait(self.random.uniform(0.3, 1.0)):
            what = self.random.choice(["kill", "stop", "pause"])
            getattr(self.part, what)()
            time.sleep(self.random.uniform(0.1, 1.5))
            if what == "pause":
                self.part.resume()
            else:
                self.part.start()
            self.done += 1

    def end(self):
        self.over.set()
        self.join()


def run(seed):
    with tempfile.TemporaryDirectory(prefix="penstock-postgres-") as folder:
        part = postgres.Part(folder)
        part.start()
        os.environ.update(PENSTOCK_PEOPLE_BACKEND="postgres", PENSTOCK_PEOPLE_URL=part.url)
        trouble = Trouble(part, seed)
        stories, settled = histories.histories(seed, 60, 60), histories.Serve.settle

        def settle(serve, *args):  # all was sent; a while later the server is well
            time.sleep(8)
            trouble.end()
            return settled(serve, *args)

        histories.Serve.settle = settle
        trouble.start()
        try:
            wrong = histories.check(stories, writers=4, kills=KILLS, seed=seed, threads=2)
        finally:
            histories.Serve.settle = settled
            trouble.end()
            part.stop()
        assert not wrong, wrong[:8]
        assert trouble.done > 0
        print("    %d events, %d times in trouble" % (sum(map(len, stories.values())), trouble.done))


def test_server_in_trouble():
    run(3001)


def test_server_in_trouble_again():
    run(3002)


if __name__ == "__main__":
    sys.exit(cases.run(globals()))
