#!/usr/bin/env python3
"""`./dev soak leaders [N [SEED]]`: the leaders of all partitions move N times, ten seconds from one to the next, under load.

Three brokers, two captures, three machines with ingest and load, of which one leaves or joins every other time. Leaders move by
turns: all of them as an operator moves them (a reassignment and an election of the preferred ones), those of a broker that is
stopped, all again, those of a broker that is killed; a broker that went comes back before the next turn. At the end everything
that was answered with 200 is one row, and each id's rows stand in the order of the answers (tests/flow/ledger.py). How often a
leader moved is counted by looking, by topic."""
import collections
import os
import random
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
import machines  # noqa: E402
import kafka  # noqa: E402  of tests/parts
import ledger  # noqa: E402  of tests/flow

ROLES = ["capture", "capture", "ingest,load", "ingest,load", "ingest,load"]
PARTITIONS = 4
CONFIG = "ingest:\n  geoip_folder: \"off\"\n  threads: 1\nload:\n  batch_wait: 250ms\n"


def move(kind, broker):
    """One turn; True: leaders of every partition have moved."""
    if kind == "shift":
        kafka.say("shift")
        return True
    kafka.say("%s %d" % (kind, broker))
    time.sleep(1)
    kafka.say("start %d" % broker)
    return False


def campaign(turns, seed, every=10, rate=150, say=print):
    rnd, kinds = random.Random(seed), collections.Counter()
    os.environ["PENSTOCK_DEPLOY_REPLICATION"] = "3"
    with machines.Site(ROLES, partitions=PARTITIONS, config=CONFIG) as site:
        clients = ledger.Crowd(site, site.token(), clients=8, rate=rate, seed=seed)
        for n, client in enumerate(clients.clients):  # order is kept by a capture, not between two
            client.serve = site.of("capture")[n % 2]
        clients.start()
        watch, worker, shifts = kafka.Moves(os.environ["PENSTOCK_TEST_KAFKA"]), site.machines[-1], 0
        watch.start()
        while not watch.counts:  # it has looked once
            time.sleep(0.1)
        for turn in range(turns):
            began = time.time()
            if turn % 4 == 1:
                worker.leave()
            elif turn % 4 == 3:
                worker.start()
            kind = ("shift", "stop", "shift", "kill")[turn % 4]
            shifts += move(kind, rnd.randrange(1, 4))
            kinds[kind] += 1
            time.sleep(max(0.0, began + every - time.time()))
            if turn % 6 == 5:
                say("turn %d: leaders moved %d times; %s" % (turn + 1, sum(watch.counts.values()), clients.summary()))
        if not worker.alive():
            worker.start()
        clients.stop()
        moves = watch.stop()
        healed = time.time()
        status = site.settle(300)
        settled = time.time() - healed
        rows = clients.check(site, status)
        prefix = site.env["PENSTOCK_LOG_TOPIC_PREFIX"]
        ours = {name[len(prefix):]: count for name, count in moves.items() if name.startswith(prefix)}
        for topic in ("raw", "events"):  # a partition whose other replicas are behind keeps its leader in that turn
            assert ours.get(topic, 0) >= shifts * PARTITIONS / 2, "leaders of %s moved %s times in %d turns" % (topic, ours.get(topic), shifts)
        return {"kinds": kinds, "moves": ours, "moved": sum(ours.values()), "rows": rows, "summary": clients.summary(), "settled": settled,
                "deduplicated": status["deduplicated"]}


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed %d" % seed, flush=True)
    done = campaign(turns, seed, say=lambda text: print(text, flush=True))
    print("by topic: %s" % ", ".join("%s %d" % pair for pair in sorted(done["moves"].items())))
    print("result: %s; leaders moved %d times; %s; %d rows, each once, in order; %d copies dropped; settled %.0f s after" % (
        ", ".join("%d x %s" % (n, kind) for kind, n in sorted(done["kinds"].items())), done["moved"], done["summary"], done["rows"],
        done["deduplicated"], done["settled"]))


if __name__ == "__main__":
    main()
