#!/usr/bin/env python3
"""`./dev soak kills [N] [SEED]`: SIGKILL of a role, or of all, N times under 2,000 events/s from 8 clients.

70 % of the kills come at a random moment, 30 % right before or after the n-th write, sync or rename of a role.
The ledger (tests/flow/ledger.py) then decides. Prints the seed, the kills by kind, and how long the first answer
after each kill took.
"""
import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import faults
from harness import ROLES, Serve
from ledger import Crowd


def ready_after(serve, since, seconds=60):
    """Seconds from `since` to the first answer of a probe that says it is taking events."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            if serve.get("/_readiness", timeout=1).status == 200:
                return time.time() - since
        except OSError:
            pass
        time.sleep(0.005)
    raise AssertionError("no answer %d s after the kill:\n%s" % (seconds, serve.log()[-3000:]))


def kill_once(serve, fault, rnd):
    """Does one kill; gives (kind, seconds until answering again)."""
    role = rnd.choice(ROLES + ("capture", "all"))
    if rnd.random() < 0.7 or role == "all":
        time.sleep(rnd.uniform(0, 0.8))
        began = time.time()
        serve.kill(role)
        if role == "all":
            serve.start(wait=False)
        kind = "%s at a random moment" % role
    else:
        mode, call = rnd.choice([faults.KILL_BEFORE, faults.KILL_AFTER]), rnd.choice(["write", "fdatasync", "rename", "fsync"])
        fault.arm(mode, role=role, call=call, countdown=rnd.randrange(30))
        end = time.time() + 2
        while not fault.hits() and time.time() < end:
            time.sleep(0.005)
        began = time.time()
        fault.disarm()
        kind = "%s %s the n-th %s" % (role, "before" if mode == faults.KILL_BEFORE else "after", call)
        if not fault.hits():
            return "(no %s came)" % call, 0
    return kind, ready_after(serve, began)


def campaign(kills, seed, rate=2000, check_every=25):
    rnd = random.Random(seed)
    fault = faults.Faults()
    kinds, waits = collections.Counter(), []
    with Serve(env=fault.environment()) as serve:
        crowd = Crowd(serve, serve.token(), rate=rate, seed=seed)
        crowd.start()
        for n in range(kills):
            kind, wait = kill_once(serve, fault, rnd)
            kinds[kind] += 1
            waits.append(wait)
            time.sleep(rnd.uniform(0.05, 0.4))
            if check_every and n % check_every == check_every - 1:
                print("%d kills, %s" % (n + 1, crowd.summary()), flush=True)
        crowd.stop()
        rows = crowd.check(serve)
        status = serve.status()
    fault.close()
    waits.sort()
    return {"rows": rows, "kinds": kinds, "summary": crowd.summary(), "wait_p50": waits[len(waits) // 2],
            "wait_max": waits[-1], "status": status}


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed %d" % seed, flush=True)
    result = campaign(kills, seed)
    for kind, count in sorted(result["kinds"].items()):
        print("  %4d  %s" % (count, kind))
    print("result: %s; %d rows; answering again after %.0f ms (median), %.0f ms (longest)" % (
        result["summary"], result["rows"], result["wait_p50"] * 1e3, result["wait_max"] * 1e3))
    print("fates: %s" % {k: result["status"][k] for k in ("accepted", "stored", "deduplicated", "dead_lettered", "dropped", "pending")})


if __name__ == "__main__":
    main()
