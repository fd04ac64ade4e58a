#!/usr/bin/env python3
# parts: kafka:3 postgres clickhouse alone
"""Leaders of all partitions move under load, and a worker leaves and comes: what was acknowledged is one row, in order. A short round;
larger ones: `./dev soak leaders`."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import leaders  # noqa: E402


def main():
    done = leaders.campaign(6, int(os.environ.get("CLUSTER_SEED", "13")), every=6)
    print("%s; leaders moved %d times (%s); %s; %d rows" % (dict(done["kinds"]), done["moved"], done["moves"], done["summary"], done["rows"]))


if __name__ == "__main__":
    main()
