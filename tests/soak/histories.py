#!/usr/bin/env python3
"""`./dev soak stories [N [SEED]]`: N random histories through a whole Penstock against the reference fold.

A thousand at a time, by 1, 2 and 8 writers in turn (tests/reference/histories.py). `./dev soak merges [KILLS [SEED]]`: the same
with 25 random kills of roles, or of all, in each turn; in every third with small files of seen ids.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reference"))
import histories  # noqa: E402


def main():
    kind, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    turns = done = events = 0
    size, kills = (1000, 0) if kind == "stories" else (250, 25)
    while done < count:
        now = min(size, count - done) if kills == 0 else size
        # Every third turn with small files of seen ids, so that kills meet their making and merging.
        os.environ.pop("PENSTOCK_SEEN_RECENT_MAX", None)
        if kills and (turns + turns // 3) % 3 == 2:  # beside 8, 2, 1 writers in turn
            os.environ["PENSTOCK_SEEN_RECENT_MAX"] = "300"
        events += histories.run(seed + turns * size, now, 30 if kills == 0 else 60, writers=(1, 2, 8)[turns % 3], kills=kills)
        done, turns = done + (kills or now), turns + 1
        print("%d %s, %d events, all as the reference says" % (done, "kills" if kills else "histories", events), flush=True)
    print("result: %d %s in %d turns, %d events: rows, persons, ids and groups as the reference says" % (
        done, "kills while merging" if kills else "histories", turns, events))


if __name__ == "__main__":
    main()
