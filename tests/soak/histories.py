#!/usr/bin/env python3
"""`./dev soak histories [N] [SEED]`: N random histories against the reference fold, 100 at a time."""
import importlib.util
import os
import sys

FLOW = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow")
sys.path.insert(0, FLOW)
spec = importlib.util.spec_from_file_location("histories", os.path.join(FLOW, "60_histories.py"))
histories = importlib.util.module_from_spec(spec)
spec.loader.exec_module(histories)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    for first in range(seed, seed + count, 100):
        histories.run(min(100, seed + count - first), 150, first)
        print("histories %d to %d equal the fold" % (first, min(first + 99, seed + count - 1)), flush=True)


if __name__ == "__main__":
    main()
