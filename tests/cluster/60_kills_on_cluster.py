#!/usr/bin/env python3
# parts: kafka postgres clickhouse alone
"""Processes of a cluster are killed, alone and in pairs, under load: what was acknowledged is there, once, in order, and persons are
what the reference says. A short round; larger ones: `./dev soak cluster-kills`."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import cluster_kills  # noqa: E402


def main():
    done = cluster_kills.campaign(8, int(os.environ.get("CLUSTER_SEED", "11")))
    print("%d kills, %s; %s; rows %s, settled after %.0f s" % (done["kills"], dict(done["kinds"]), done["summary"], done["rows"], done["settled"]))
    assert done["kills"] >= 8 and min(done["rows"]) > 100, done


if __name__ == "__main__":
    main()
