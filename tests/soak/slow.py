#!/usr/bin/env python3
"""slow.py [N [SEED]]: N connections (10,000) that drip heads, drip bodies, do not read, or are idle, and a thousand new ones a
second, each beside a healthy client. Fails when a slow one lives longer than its deadline and 3 s, when the memory of
capture grows by more than 64 MiB for 10,000 (of few readers: 36, the bound of all replies that wait), when more than one in fifty healthy requests is refused (a burst on a busy machine); prints the healthy one's p99 without and
with them, by turns. The seed is not used: nothing here is random."""
import json
import os
import random
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.path.insert(0, os.path.join(ROOT, "tests", "flow"))
import bodies
import machine
from harness import Serve

FLOOD = os.path.join(machine.BUILD, "bench", "flood")
# What they do, the deadline (an idle connection's is 75 s, longer than this takes), as configured below.
KINDS = (("head", 10), ("body", 20), ("read", 20), ("idle", None))


def flood(*words):
    return subprocess.Popen([FLOOD, *map(str, words)], stdout=subprocess.PIPE, text=True)


def end(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, "flood failed"
    return json.loads(out)


def memory(serve):
    for line in open("/proc/%d/status" % serve.role_pid("capture")):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def healthy(serve, made, seconds):
    return end(flood("open", "-w", 1, serve.port, "/e/", made, 50, seconds + 1, 200))


def slow(serve, made, kind, deadline, count, seconds, wait):
    before, alone = memory(serve), healthy(serve, made, seconds)
    holders = flood("hold", kind, serve.port, count, wait + seconds + 2.5)
    time.sleep(wait)
    beside = healthy(serve, made, seconds)
    grown = memory(serve) - before
    held = end(holders)
    time.sleep(0.5)
    assert beside["shed"] <= beside["due"] / 50 and beside["broken"] == 0, "beside %s: %s" % (kind, beside)
    most = 64 * count / 10000
    assert grown < (max(most, 36) if kind == "read" else most + 4), "%d connections (%s) took %.0f MiB" % (count, kind, grown)
    assert held["opened"] >= count and held["refused"] == 0, held
    if deadline is not None:
        assert held["oldest_s"] < deadline + 3, "%s: one lived for %.1f s, its deadline is %d s" % (kind, held["oldest_s"], deadline)
        assert held["closed"] >= count * 0.9, "%s: only %d were closed" % (kind, held["closed"])
    return grown, alone["p99_us"] / 1e3, beside["p99_us"] / 1e3, held


def run(count, config, kinds, seconds, wait, churn):
    """A line for each kind."""
    lines = []
    with Serve(config=config, extra=["--role", "capture"]) as serve:
        serve.token(machine.TOKEN)
        time.sleep(0.5)
        made = os.path.join(serve.folder, "w1.bodies")
        rnd = random.Random(3)
        bodies.write(serve.folder, "w1", [bodies.text(dict(bodies.event(rnd), api_key=machine.TOKEN)) for _ in range(200)])
        healthy(serve, made, 1)
        for kind, deadline in kinds:
            grown, alone, beside, held = slow(serve, made, kind, deadline, count, seconds, wait(deadline))
            lines.append("%s: +%.0f MiB, p99 %.1f -> %.1f ms, %d closed, oldest %.0f s" % (
                kind, grown, alone, beside, held["closed"], held["oldest_s"]))
        before, alone = memory(serve), healthy(serve, made, seconds)
        comers = flood("churn", serve.port, churn, seconds + 3)
        time.sleep(1)
        beside = healthy(serve, made, seconds)
        came = end(comers)
        assert beside["shed"] <= beside["due"] / 50 and beside["broken"] == 0 and came["broken"] == 0, (beside, came)
        lines.append("%d new ones/s: +%.0f MiB, p99 %.1f -> %.1f ms" % (churn, memory(serve) - before, alone["p99_us"] / 1e3, beside["p99_us"] / 1e3))
    return lines


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    for line in run(count, "", KINDS, 8, lambda deadline: (deadline or 6) + 6, 1000):
        print(line, flush=True)
    print("result: %d connections of each kind stayed within their bounds" % count)


if __name__ == "__main__":
    main()
