#!/usr/bin/env python3
"""`./dev soak outages [N [SEED]]`: three brokers stand still, or cannot be reached, for N seconds under load, and a committer is
killed N times: what tests/cluster/20_capture_on_kafka.py, 21_black_hole.py, log/spool_cluster_test.c and log/spool_kill_cluster_test.c do for
some seconds and a few times."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = [sys.executable, os.path.join(ROOT, "tests", "parts", "with.py"), "kafka:3", "--"]
BUILD = os.path.join(ROOT, "build", "release")
RUNS = {
    "a committer": PARTS + [os.path.join(BUILD, "spool_cluster_test")],
    "a committer that is killed": PARTS + [os.path.join(BUILD, "spool_kill_cluster_test")],
    "capture": PARTS + [sys.executable, os.path.join(ROOT, "tests", "cluster", "20_capture_on_kafka.py")],
    "all of it behind a black hole": [sys.executable, os.path.join(ROOT, "tests", "cluster", "21_black_hole.py")],
}


def main():
    length = sys.argv[1] if len(sys.argv) > 1 else "60"
    env = dict(os.environ, PENSTOCK_OUTAGE_SECONDS=length, PENSTOCK_SPOOL_OUTAGE_SECONDS=length, PENSTOCK_SPOOL_KILLS=length)
    failed = []
    for name, argv in RUNS.items():
        print("--- " + name, flush=True)
        if subprocess.run(argv, env=env).returncode != 0:
            failed.append(name)
    print("result: outages of %s s: %s" % (length, "FAILED: " + ", ".join(failed) if failed else "nothing lost, nothing out of order"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
